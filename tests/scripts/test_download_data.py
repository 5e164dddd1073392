"""Tests of ``scripts/download_data.py`` against a real HTTP server on the loopback interface."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "download_data.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("download_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()

BODY = random.Random(0).randbytes(5 * script.CHUNK + 123)
HALF = len(BODY) // 2
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = BODY[::-1]
PATIENCE = 30.0
OVERLONG = 1000


@dataclass
class Exchange:
    """What one request asked for and how many bytes of a body answered it."""

    range: str | None
    encoding: str | None
    sent: int = 0


@dataclass
class Site:
    """The server: answers each request with the next of its `replies`, then with `ranged`."""

    replies: deque[Reply] = field(default_factory=deque)
    exchanges: list[Exchange] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def plan(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    @property
    def ranges(self) -> list[str | None]:
        return [exchange.range for exchange in self.exchanges]


class Answer:
    """The means of a reply: what was asked, and how to send a head and a body."""

    def __init__(self, site: Site, handler: BaseHTTPRequestHandler) -> None:
        self.site = site
        self.handler = handler
        self.exchange = Exchange(handler.headers["Range"], handler.headers["Accept-Encoding"])
        site.exchanges.append(self.exchange)

    @property
    def start(self) -> int:
        return int(self.exchange.range.removeprefix("bytes=").removesuffix("-")) if self.exchange.range else 0

    def head(self, status: int, **headers: object) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), str(value))
        self.handler.end_headers()

    def head_from(self, start: int) -> None:
        length = len(BODY) - start
        if start:
            content_range = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            self.head(206, Content_Length=length, Content_Range=content_range)
        else:
            self.head(200, Content_Length=length)

    def send(self, data: bytes) -> None:
        self.exchange.sent += len(data)
        self.handler.wfile.write(data)


Reply = Callable[[Answer], None]


def ranged(answer: Answer) -> None:
    if answer.start >= len(BODY):
        answer.head(416, Content_Length=0, Content_Range=f"bytes */{len(BODY)}")
    else:
        answer.head_from(answer.start)
        answer.send(BODY[answer.start :])


def whole(answer: Answer) -> None:
    answer.head_from(0)
    answer.send(BODY)


def elsewhere(answer: Answer) -> None:
    answer.head_from(answer.start + 1)
    answer.send(BODY[answer.start + 1 :])


def silent(answer: Answer) -> None:
    answer.site.released.wait(PATIENCE)


def stalled(answer: Answer) -> None:
    """Send a half, and the rest only once the site is released."""
    answer.head_from(0)
    answer.send(BODY[:HALF])
    answer.site.released.wait(PATIENCE)
    answer.send(BODY[HALF:])


def cut(answer: Answer) -> None:
    answer.head_from(0)
    answer.send(BODY[:HALF])


def cut_of_unknown_length(answer: Answer) -> None:
    answer.head(200)
    answer.send(BODY[:HALF])


def unfinished(answer: Answer) -> None:
    """Send the whole file, yet not the end mark of the chunked transfer."""
    answer.handler.protocol_version = "HTTP/1.1"
    answer.head(200, Transfer_Encoding="chunked", Connection="close")
    answer.send(b"%x\r\n%b\r\n" % (len(BODY), BODY))


def other(answer: Answer) -> None:
    answer.head(200, Content_Length=len(OTHER))
    answer.send(OTHER)


def overlong(answer: Answer) -> None:
    """Send far more than the file, yet not so much that a script that swallows all of it would fill the disk."""
    answer.head(200)
    for _ in range(OVERLONG):
        answer.send(BODY)


def compressed(answer: Answer) -> None:
    """Compress the body although that was not asked for."""
    data = gzip.compress(BODY)
    answer.head(200, Content_Encoding="gzip", Content_Length=len(data))
    answer.send(data)


def status(code: int) -> Reply:
    return lambda answer: answer.head(code, Content_Length=0)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = site.replies.popleft() if site.replies else ranged
            reply(Answer(site, self))

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that hangs up is a part of the tests.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/dataset.csv"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "dataset.csv"


@pytest.fixture
def part(target: Path) -> Path:
    """Give the path of the partial file, in a directory that exists."""
    target.parent.mkdir()
    return part_of(target)


@pytest.fixture
def unused_url(site: Site) -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture
def start(site: Site, target: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start the script in a process, from another directory than the project's."""
    processes = []

    def run() -> subprocess.Popen[str]:
        # A caught signal is reset to its default in a child, whereas one ignored (as in a background job) stays so.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                command(site, target), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        finally:
            signal.signal(signal.SIGINT, previous)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def part_of(target: Path) -> Path:
    return target.with_name("dataset.csv.part")


def command(site: Site, target: Path, sha256: str = SHA256) -> list[str]:
    arguments = ["--url", site.url, "--output", str(target), "--sha256", sha256]
    return [sys.executable, "-B", str(SCRIPT), *arguments]


def download(site: Site, target: Path, **options: Any) -> None:
    options = {"sha256": SHA256, "timeout": PATIENCE, "pause": 0.001, **options}
    assert script.download(site.url, target, **options) == target


def assert_done(target: Path) -> None:
    assert target.read_bytes() == BODY
    assert not part_of(target).exists()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_download(site: Site, target: Path, size: int | None) -> None:
    download(site, target, size=size)
    assert_done(target)
    assert site.exchanges == [Exchange(range=None, encoding="identity", sent=len(BODY))]


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_compressed_answer(site: Site, target: Path, size: int | None) -> None:
    site.plan(compressed)
    download(site, target, size=size)
    assert_done(target)
    assert len(site.exchanges) == 1


def test_digest_in_capitals(site: Site, target: Path) -> None:
    download(site, target, sha256=SHA256.upper())
    assert_done(target)


def test_good_target_needs_no_request(site: Site, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY)
    with caplog.at_level(logging.INFO):
        download(site, target)
    assert site.exchanges == []
    assert caplog.messages == [f"{target} is up to date, nothing to download"]
    assert list(target.parent.iterdir()) == [target]


def test_other_target_is_replaced(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(OTHER)
    download(site, target)
    assert_done(target)


@pytest.mark.parametrize("reply", [silent, stalled])
def test_slow_server_is_asked_again(site: Site, target: Path, reply: Reply) -> None:
    site.plan(reply)
    download(site, target, timeout=0.3)
    assert_done(target)
    assert len(site.exchanges) > 1


@pytest.mark.parametrize(("reply", "size"), [(cut, None), (cut, len(BODY)), (cut_of_unknown_length, len(BODY))])
def test_cut_off_body_is_resumed(site: Site, target: Path, reply: Reply, size: int | None) -> None:
    site.plan(reply)
    download(site, target, size=size)
    assert_done(target)
    _, second = site.exchanges
    assert second.range is not None
    match = re.fullmatch(r"bytes=(\d+)-", second.range)
    assert match is not None
    assert 0 < int(match[1]) <= HALF
    assert second.sent == len(BODY) - int(match[1])


def test_part_is_kept_when_all_attempts_fail(site: Site, target: Path) -> None:
    site.plan(cut, status(503))
    with pytest.raises(script.DownloadError, match=r"503 .*run again to resume"):
        download(site, target, attempts=2)
    kept = part_of(target).read_bytes()
    assert kept
    assert BODY.startswith(kept)
    download(site, target)
    assert_done(target)
    assert site.ranges[-1] == f"bytes={len(kept)}-"


def test_part_of_an_earlier_run_is_resumed(site: Site, target: Path, part: Path) -> None:
    part.write_bytes(BODY[:1000])
    download(site, target, size=len(BODY))
    assert_done(target)
    assert site.exchanges == [Exchange(range="bytes=1000-", encoding="identity", sent=len(BODY) - 1000)]


def test_part_that_is_a_link_is_not_written_through(site: Site, target: Path, part: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(OTHER)
    part.symlink_to(kept)
    download(site, target)
    assert_done(target)
    assert kept.read_bytes() == OTHER


def test_complete_part_needs_no_request(site: Site, target: Path, part: Path) -> None:
    part.write_bytes(BODY)
    download(site, target)
    assert_done(target)
    assert site.exchanges == []


def test_complete_part_of_a_failed_transfer_is_taken(site: Site, target: Path) -> None:
    site.plan(unfinished)
    download(site, target)
    assert_done(target)
    assert len(site.exchanges) == 1


def test_server_without_ranges_starts_over(site: Site, target: Path, part: Path) -> None:
    site.plan(whole)
    part.write_bytes(BODY[:1000])
    download(site, target)
    assert_done(target)
    assert site.ranges == ["bytes=1000-"]


def test_refused_range_starts_over(site: Site, target: Path, part: Path) -> None:
    part.write_bytes(OTHER)
    download(site, target, attempts=1)
    assert_done(target)
    assert site.ranges == [f"bytes={len(BODY)}-", None]


def test_range_that_begins_elsewhere_starts_over(site: Site, target: Path, part: Path) -> None:
    site.plan(elsewhere)
    part.write_bytes(BODY[:1000])
    download(site, target, attempts=1)
    assert_done(target)
    assert site.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("old", [None, b"old"])
def test_wrong_bytes_are_not_put_in_place(site: Site, target: Path, part: Path, old: bytes | None) -> None:
    if old is not None:
        target.write_bytes(old)
    site.plan(other)
    with pytest.raises(script.DownloadError) as caught:
        download(site, target)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert not part.exists()
    assert (target.read_bytes() if target.exists() else None) == old
    assert len(site.exchanges) == 1


def test_damaged_part_is_deleted(site: Site, target: Path, part: Path) -> None:
    part.write_bytes(OTHER[:1000])
    with pytest.raises(script.DownloadError, match="run again"):
        download(site, target)
    assert not part.exists()
    download(site, target)
    assert_done(target)


def test_other_size_is_refused_before_the_transfer(site: Site, target: Path, part: Path) -> None:
    with pytest.raises(script.DownloadError, match=f"has {len(BODY)} bytes instead of 10;"):
        download(site, target, size=10)
    assert not part.exists()
    assert len(site.exchanges) == 1


def test_overlong_body_is_not_read_to_its_end(site: Site, target: Path, part: Path) -> None:
    site.plan(overlong)
    with pytest.raises(script.DownloadError, match="sha256"):
        download(site, target, size=len(BODY))
    assert not part.exists()
    assert site.exchanges[0].sent < OVERLONG * len(BODY)


@pytest.mark.parametrize("code", [403, 404, 206])
def test_refusal_fails_at_once(site: Site, target: Path, code: int) -> None:
    site.plan(status(code))
    with pytest.raises(script.DownloadError, match=f"answered {code} "):
        download(site, target)
    assert len(site.exchanges) == 1
    assert not target.exists()


@pytest.mark.parametrize("code", [429, 500, 503])
def test_passing_failure_is_retried(
    site: Site, target: Path, code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(script.time, "sleep", waits.append)
    site.plan(status(code), status(code), status(code))
    download(site, target, attempts=4, pause=1)
    assert_done(target)
    assert len(site.exchanges) == 4
    assert waits == [1, 2, 4]
    assert f"attempt 1 of 4 failed ({code} " in caplog.text


def test_refused_connection(target: Path, unused_url: str) -> None:
    with pytest.raises(script.DownloadError, match="check the connection") as caught:
        script.download(unused_url, target, sha256=SHA256, attempts=2, pause=0.001)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "dataset.csv", "gopher://127.0.0.1/"])
def test_bad_address(target: Path, url: str) -> None:
    with pytest.raises(script.DownloadError, match="check the address"):
        script.download(url, target, sha256=SHA256)


def test_target_below_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"")
    with pytest.raises(script.DownloadError, match=r"cannot write .*: Not a directory"):
        download(site, tmp_path / "raw" / "dataset.csv")


def test_target_is_a_directory(site: Site, tmp_path: Path) -> None:
    with pytest.raises(script.DownloadError, match=r"cannot write .*: Is a directory"):
        download(site, tmp_path)


def test_disk_error(site: Site, target: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", *command(site, target)]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot write {target}: File too large; check its directory and the free disk space\n"
    )
    assert not target.exists()


def test_module_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.TARGET == ROOT / "data" / "raw" / "dataset.csv"
    assert re.fullmatch("[0-9a-f]{64}", script.SHA256)
    with pytest.raises(SystemExit) as caught:
        script.main(["--help"])
    assert caught.value.code == 0
    assert script.URL in "".join(capsys.readouterr().out.split())


def test_every_dataset_has_its_own_digest_and_place() -> None:
    assert len({each.target for each in script.DATASETS.values()}) == len(script.DATASETS)
    for each in script.DATASETS.values():
        assert re.fullmatch("[0-9a-f]{64}", each.sha256)
        assert each.target.parent == ROOT / "data" / "raw"


def test_another_dataset_has_its_own_size(site: Site, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--dataset", "tidytuesday_2020", "--url", site.url, "--output", str(target)]) == 1
    size = script.DATASETS["tidytuesday_2020"].size
    assert f"has {len(BODY)} bytes instead of {size};" in capsys.readouterr().err


def test_main(site: Site, target: Path) -> None:
    assert script.main(command(site, target)[3:]) == 0
    assert_done(target)


def test_main_reports_an_error_in_one_line(site: Site, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.plan(status(404))
    assert script.main(command(site, target)[3:]) == 1
    assert capsys.readouterr() == ("", f"error: {site.url} answered 404 Not Found; check the address\n")


def test_dataset_has_its_own_size(site: Site, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--url", site.url, "--output", str(target)]) == 1
    assert f"has {len(BODY)} bytes instead of {script.SIZE};" in capsys.readouterr().err


def test_command_line(site: Site, target: Path, start: Callable[[], subprocess.Popen[str]]) -> None:
    process = start()
    assert process.communicate(timeout=PATIENCE) == ("", f"saved {target}\n")
    assert process.returncode == 0
    assert_done(target)


def test_interrupt_leaves_a_part_to_resume(
    site: Site, target: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    site.plan(stalled)
    part = part_of(target)
    process = start()
    wait_until(lambda: part.exists() and part.stat().st_size > 0)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == ("", "interrupted; run again to resume\n")
    assert process.returncode == 130
    size = part.stat().st_size
    assert not target.exists()

    again = start()
    again.communicate(timeout=PATIENCE)
    assert again.returncode == 0
    assert_done(target)
    assert site.ranges == [None, f"bytes={size}-"]


def test_two_at_once(site: Site, target: Path, start: Callable[[], subprocess.Popen[str]]) -> None:
    site.plan(stalled)
    first = start()
    wait_until(lambda: bool(site.exchanges))
    second = start()
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for another download of {target}\n"
    site.released.set()
    assert first.communicate(timeout=PATIENCE) == ("", f"saved {target}\n")
    assert second.communicate(timeout=PATIENCE) == ("", f"{target} is up to date, nothing to download\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert_done(target)
    assert len(site.exchanges) == 1
