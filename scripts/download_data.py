"""Fetch the Spotify Tracks dataset into ``data/raw/dataset.csv``, or another dataset beside it.

The file is the "Spotify Tracks Dataset" of Maharshi Pandya (2022, doi 10.34740/KAGGLE/DSV/4372070), taken from
https://huggingface.co/datasets/maharshipandya/spotify-tracks-dataset and published under the Open Database License
(ODbL) 1.0.

A download that was cut off is resumed by the next run, and the file is put in place only once its sha256 is right::

    python scripts/download_data.py
    python scripts/download_data.py --dataset tidytuesday_2020    # "Spotify Songs", MIT, to data/raw/spotify_songs.csv
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

URL = "https://huggingface.co/datasets/maharshipandya/spotify-tracks-dataset/resolve/main/dataset.csv"
SHA256 = "b202fa49909b2d5cef71a04b1d21243cfeb36414535f2ca9272aa646721177bd"
SIZE = 20_118_244
FOLDER = Path(__file__).resolve().parent.parent / "data" / "raw"
TARGET = FOLDER / "dataset.csv"


class Dataset(NamedTuple):
    """A file to fetch: its address, its digest, its size, and where it goes."""

    url: str
    sha256: str
    size: int
    target: Path


DATASETS = {
    "spotify_tracks": Dataset(URL, SHA256, SIZE, TARGET),
    # rfordatascience/tidytuesday, 2020-01-21, MIT licence.
    "tidytuesday_2020": Dataset(
        "https://raw.githubusercontent.com/rfordatascience/tidytuesday/main/data/2020/2020-01-21/spotify_songs.csv",
        "9902920cfe4940f0914ebb6716801a42f7f19ac88fbd6693eaae7e2822b16845",
        7_971_379,
        FOLDER / "spotify_songs.csv",
    ),
}

CHUNK = 1 << 14

log = logging.getLogger(__name__)


class DownloadError(Exception):
    """The file could not be downloaded; the message says what to do."""


class _TransientError(Exception):
    """The server failed in a way that may pass."""


_RETRIED = (
    _TransientError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
) -> Path:
    """Download a file, unless it is there already, and put it in place once its digest is right.

    The bytes are gathered in ``<target>.part``, which a later call resumes, under the lock ``<target>.lock``.

    Parameters
    ----------
    url : str
        Address of the file.
    target : Path
        Where to put the file; its directory is made if needed, and a file with another digest is replaced.
    sha256 : str
        Expected digest of the whole file, in hexadecimal.
    size : int, optional
        Expected number of bytes.
    timeout : float
        Seconds to wait for a connection, and for each piece of the answer.
    attempts : int
        How often to try in all when the connection or the server fails.
    pause : float
        Seconds before the second attempt, doubled before each further one.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DownloadError
        If the file cannot be fetched or written, or is not the expected one.
    """
    sha256 = sha256.lower()
    try:
        # Checked ahead of the lock too, so that a good file in a read-only directory is enough.
        if _is_in_place(target, sha256):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not _is_in_place(target, sha256):
                part = target.with_name(f"{target.name}.part")
                # What a link leads to is nothing that was downloaded.
                if part.is_symlink():
                    part.unlink()
                _fetch(url, part, sha256=sha256, size=size, timeout=timeout, attempts=attempts, pause=pause)
                _verify(url, part, sha256)
                _put_in_place(part, target)
                log.info("saved %s", target)
    except OSError as error:
        message = f"cannot write {target}: {error.strerror or error}; check its directory and the free disk space"
        raise DownloadError(message) from error
    return target


def _is_in_place(target: Path, sha256: str) -> bool:
    if _digest(target) != sha256:
        return False
    log.info("%s is up to date, nothing to download", target)
    return True


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    lock = FileLock(f"{target}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("waiting for another download of %s", target)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, part: Path, *, sha256: str, size: int | None, timeout: float, attempts: int, pause: float) -> None:
    for attempt in itertools.count(1):
        # A part may be complete although its transfer failed: asking for what follows it would only be refused.
        if _digest(part) == sha256:
            return
        try:
            _receive(url, part, size=size, timeout=timeout)
            return
        except _RETRIED as error:
            if attempt >= attempts:
                message = f"cannot download {url} ({_one_line(error)}); check the connection and run again to resume"
                raise DownloadError(message) from error
            wait = pause * 2 ** (attempt - 1)
            log.warning("attempt %d of %d failed (%s), next in %g s", attempt, attempts, _one_line(error), wait)
            time.sleep(wait)
        except requests.RequestException as error:
            raise DownloadError(f"cannot download {url} ({_one_line(error)}); check the address") from error


def _receive(url: str, part: Path, *, size: int | None, timeout: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    with _request(url, have, timeout) as response:
        start = have if response.status_code == requests.codes.partial_content else 0
        announced = _announced_size(response, start)
        expected = announced if size is None else size
        if announced not in (None, expected):
            raise DownloadError(f"{url} has {announced} bytes instead of {expected}; check the address")
        with (
            part.open("ab" if start else "wb") as file,
            # `disable=None` draws the bar on a terminal only.
            tqdm(total=expected, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            received = start
            for chunk in response.iter_content(CHUNK):
                received += file.write(chunk)
                bar.update(len(chunk))
                # An endless body must not fill the disk; the digest is what rejects it.
                if expected is not None and received > expected:
                    break
    if expected is not None and received < expected:
        raise _TransientError(f"cut off after {received} of {expected} bytes")


def _request(url: str, start: int, timeout: float) -> requests.Response:
    """Ask for the bytes from `start` on, or for all of them (status 200) if the server will not send just those."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    response = requests.get(url, headers=headers, stream=True, timeout=timeout)
    status = response.status_code
    if status == requests.codes.ok or (start and _range_start(response) == start):
        return response
    response.close()
    if start and status in (requests.codes.partial_content, requests.codes.requested_range_not_satisfiable):
        return _request(url, 0, timeout)
    answer = f"{status} {response.reason}"
    if status == requests.codes.too_many_requests or status >= requests.codes.internal_server_error:
        raise _TransientError(answer)
    raise DownloadError(f"{url} answered {answer}; check the address")


def _range_start(response: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match and response.status_code == requests.codes.partial_content else None


def _announced_size(response: requests.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    # The length of a compressed body says nothing about the file.
    return start + int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _verify(url: str, part: Path, sha256: str) -> None:
    digest = _digest(part)
    if digest != sha256:
        part.unlink()
        message = f"{url} has the sha256 {digest} instead of {sha256}; run again, or check the address if this stays"
        raise DownloadError(message)


def _put_in_place(part: Path, target: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, those of the process by default.

    Returns
    -------
    int
        Exit code: 0 if the file is in place, 1 on an error, 130 on Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="Fetch the Spotify Tracks dataset (ODbL 1.0, Maharshi Pandya, 2022).")
    parser.add_argument("--dataset", choices=DATASETS, default="spotify_tracks", help="which, default: %(default)s")
    parser.add_argument("--output", type=Path, metavar="PATH", help=f"default: {TARGET}, or beside it")
    parser.add_argument("--url", help=f"default: {URL}, or that of the dataset")
    parser.add_argument("--sha256", help="digest the file must have, default: that of the dataset")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    chosen = DATASETS[args.dataset]
    sha256 = args.sha256 or chosen.sha256
    size = chosen.size if sha256 == chosen.sha256 else None
    try:
        download(args.url or chosen.url, args.output or chosen.target, sha256=sha256, size=size)
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
