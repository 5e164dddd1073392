"""The judge: gives mutated inputs to the real things, and says what became of them."""

import csv
import io
import json
import re
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import spotify_ml
from spotify_ml.cli.messages import explain, is_mendable
from spotify_ml.config.run import DataConfig
from spotify_ml.data.arrow import listed
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import read_tracks
from spotify_ml.scoring import rejected_path
from spotify_ml.scoring.files import score_file, score_folder
from spotify_ml.scoring.rows import Scorer, Tally
from tests.mutations.case import AUDIO, TEXT, Case, Right
from tests.mutations.requests import Request, send

RIGHT, REFUSED, SILENT, TRACEBACK, HANG, UNCLEAR = "right", "refused", "silent", "traceback", "hang", "unclear"
PATIENCE_S = 20
# A field may be a megabyte.
csv.field_size_limit(2**30)
_TOLERANCE = 1e-9
# A message longer than this is not read by anybody.
_LONGEST = 4_000
_CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f\x85\u2028\u2029\u202e]")
ADDED = ("popularity_predicted", "model_version")


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes
    ----------
    kind : str
        One of the constants of this module.
    detail : str
        What was said, or what is wrong.
    """

    kind: str
    detail: str = ""


class Judge:
    """Gives cases to a registered version.

    Parameters
    ----------
    model : str
        Its address.
    store : str
        Of its store.
    folder : Path
        For files.
    port : int
        Of its server.
    """

    def __init__(self, model: str, store: str, folder: Path, port: int) -> None:
        self._model = spotify_ml.load_model(model, store)
        self._folder, self._port = folder, port

    def judge(self, case: Case) -> Outcome:
        """Return what became of a case."""
        run = {"train": self._train, "predict": self._predict, "python": self._python, "http": self._http}[case.mode]
        folder = self._folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            given = run(case, folder)
        except Exception as error:
            if not is_mendable(error):
                return Outcome(TRACEBACK, "".join(traceback.format_exception(error)[-3:]))
            given = explain(error, "train")
            # What stands in a pipe has left.
            wrong = "" if case.settings.get("place") == "pipe" else self._left_behind(folder)
            if wrong:
                return Outcome(SILENT, f"half-written: {wrong}; {given}")
        if isinstance(given, Outcome):
            return given
        return _refusal(case, given) if isinstance(given, str) else _scored(case, given, self._expected(case))

    @staticmethod
    def _left_behind(folder: Path) -> str:
        return ", ".join(
            path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("tracks.")
        )

    def _expected(self, case: Case) -> np.ndarray:
        if case.plain is None or case.mode == "train":
            return np.empty(0)
        return self._model.predict(case.plain.drop(columns="popularity", errors="ignore"))

    def _train(self, case: Case, folder: Path) -> Any:
        path = folder / f"tracks.{case.settings['input']}"
        path.write_bytes(case.given)
        frame = read_tracks(DataConfig(name="file", path=str(path))).frame
        clean(frame, "tracks")
        clean(frame, "rows")
        if case.plain is None:
            return np.zeros(len(frame))
        # The frames themselves are compared: 0 where a row is equal.
        return Rows(_different(frame, case.plain))

    def _python(self, case: Case, folder: Path) -> Any:
        return np.asarray(self._model.predict(case.given, dict(case.settings)))

    def _http(self, case: Case, folder: Path) -> Any:
        request: Request = case.given
        try:
            status, body = send(self._port, request, PATIENCE_S)
        except TimeoutError:
            return Outcome(HANG, "no answer")
        if status == 200:
            predicted = json.loads(body)["predictions"]
            return np.array([each["popularity"] if isinstance(each, dict) else each for each in predicted], dtype=float)
        if status == 0:
            # A connection that is closed without an answer is right only where the request was no HTTP, or broken off.
            return "closed params" if request.raw is not None else Outcome(TRACEBACK, "no answer at all")
        if status >= 500:
            return Outcome(TRACEBACK, f"{status}: {body[:300]!r}")
        if request.raw is not None:
            return "refused by params"
        return str(json.loads(body)["message"])

    def _predict(self, case: Case, folder: Path) -> Any:
        settings = case.settings
        name = f"tracks.{settings['input']}"
        place, output = settings["place"], settings["output"]
        source = folder / name
        if place == "folder":
            (folder / "in").mkdir()
            source, output = folder / "in" / name, settings["input"]
        source.write_bytes(case.given)
        scorer = Scorer(partial(self._model.predict, params={}), 1, (), settings["on_error"], settings["out_of_range"])
        target, tally = folder / "out" / f"scored.{output}", Tally()
        target.parent.mkdir()
        if place == "folder":
            target = target.with_name(name)
            score_folder(source.parent, target.parent, scorer, tally, lambda _: None, {})
        elif place in ("stdin", "pipe"):
            with _standard(source, target if place == "pipe" else None):
                score_file(None, None if place == "pipe" else target, scorer, tally, lambda _: None)
            if place == "pipe":
                target = target.with_suffix(".csv")
        else:
            score_file(source, target, scorer, tally, lambda _: None)
        return _written(case, source, target)


class Rows(np.ndarray):
    """How far the rows of training are from the plain ones: 0, or NaN."""

    def __new__(cls, values: np.ndarray) -> "Rows":
        """Return values as rows."""
        return np.asarray(values, dtype=float).view(cls)


@contextmanager
def _standard(source: Path, target: Path | None) -> Iterator[None]:
    """Let standard input be a file, and standard output as well."""
    given, out = sys.stdin, sys.stdout
    with (
        source.open("rb") as read,
        (target or Path("/dev/null")).with_suffix(".csv" if target else "").open("wb") as wrote,
    ):
        sys.stdin = io.TextIOWrapper(io.BufferedReader(read.raw))
        if target:
            sys.stdout = io.TextIOWrapper(wrote)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stdin, sys.stdout = given, out


# --- what is wrong


def _refusal(case: Case, message: str) -> Outcome:
    if case.right is Right.SCORED and not case.bad and not case.maybe:
        return Outcome(SILENT, f"refused, but right: {message[:600]}")
    if case.mode == "predict" and case.settings["on_error"] != "fail" and case.bad and case.settings["place"] != "pipe":
        return Outcome(SILENT, f"ends the job: {message[:600]}")
    if not message.strip() or len(message) > _LONGEST or _CONTROL.search(message):
        return Outcome(UNCLEAR, f"{len(message)} characters: {message[:600]!r}")
    if case.tells and case.tells not in message and not re.search(r"zero byte|UTF-8|quote|is empty", message):
        return Outcome(UNCLEAR, f"does not name {case.tells}: {message[:600]}")
    return Outcome(REFUSED, message[:300])


def _scored(case: Case, given: np.ndarray, expected: np.ndarray) -> Outcome:
    if case.right is Right.ANSWERED:
        return Outcome(RIGHT)
    if case.right is Right.REFUSED:
        return Outcome(SILENT, f"scored: {given[:5]}")
    if isinstance(given, Rows):
        expected = np.zeros(len(case.plain if case.plain is not None else ()))
    if len(given) != len(expected):
        return Outcome(SILENT, f"{len(given)} rows for {len(expected)}")
    empty = set(map(int, np.flatnonzero(np.isnan(given))))
    may_be_empty = case.mode == "predict" and case.settings["on_error"] != "fail"
    if not isinstance(given, Rows) and (empty - set(case.bad) - set(case.maybe) or (empty and not may_be_empty)):
        return Outcome(SILENT, f"rows {sorted(empty)} without a prediction")
    if set(case.bad) - empty:
        return Outcome(SILENT, f"rows {case.bad} scored: {given}")
    compared = [row for row in range(len(given)) if isinstance(given, Rows) or row not in empty]
    far = np.abs(np.asarray(given)[compared] - expected[compared])
    if not (far <= _TOLERANCE).all():
        return Outcome(SILENT, f"{given} is not {expected}")
    return Outcome(RIGHT)


def _different(frame: pd.DataFrame, plain: pd.DataFrame) -> np.ndarray:
    if len(frame) != len(plain):
        return np.zeros(len(frame))
    wrong = np.zeros(len(plain))
    for name in (*AUDIO, *TEXT, "popularity"):
        values, expected = frame[name], plain[name]
        if name in TEXT:
            same = (values == expected) | (values.isna() & expected.replace("", None).isna())
        else:
            numbers = values.to_numpy(float), expected.to_numpy(float)
            same = np.isclose(*numbers, rtol=1e-12, atol=0) | (np.isnan(numbers[0]) & np.isnan(numbers[1]))
        wrong[~np.asarray(same, dtype=bool)] = np.nan
    return wrong


def _written(case: Case, source: Path, target: Path) -> Any:
    """Return the predictions of all rows, NaN where there are none, once nothing is seen to be lost."""
    added = list(ADDED)
    lost: list[dict[str, str]] = []
    if target.suffix == ".csv":
        header, *lines = list(csv.reader(io.StringIO(target.read_bytes().decode("utf-8-sig"), newline="")))
        lines = [line for line in lines if line]
        values = [line[-2] for line in lines]
        written = [line[:-2] for line in lines]
        names = header[:-2]
        if header[-2:] != added:
            return Outcome(SILENT, f"header {header[-5:]}")
    else:
        table = pq.read_table(target)
        names = [name for name in table.column_names if name not in (*added, "unreadable")]
        values = table["popularity_predicted"].to_pylist()
        written = [list(row) for row in zip(*(listed(table[name]) for name in names), strict=True)]
        if "unreadable" in table.column_names:
            lost = [json.loads(text) if text else {} for text in table["unreadable"].to_pylist()]
    predicted = np.array([float(value) if value not in (None, "") else np.nan for value in values])
    aside: list[int] = []
    rejected = rejected_path(target)
    if rejected.exists():
        text = rejected.read_bytes().decode("utf-8-sig")
        aside = [int(line[0]) - 1 for line in list(csv.reader(io.StringIO(text, newline="")))[1:] if line]
        whole = np.full(len(predicted) + len(aside), np.nan)
        whole[[row for row in range(len(whole)) if row not in aside]] = predicted
        predicted = whole
    if case.right is Right.SCORED and case.plain is not None:
        wrong = _lost(case, source, names, written, aside, lost, target.suffix)
        if wrong:
            return Outcome(SILENT, wrong)
    return predicted


def _lost(
    case: Case, source: Path, names: list[str], written: list[list[Any]], aside: list[int], lost: list[Any], suffix: str
) -> str:
    """Say what of the input is not in the output, if anything."""
    if source.suffix == ".csv":
        header, *lines = list(csv.reader(io.StringIO(source.read_bytes().decode("utf-8-sig"), newline="")))
        lines = [line for line in lines if line]
    else:
        table = pq.read_table(source)
        header = table.column_names
        lines = [list(row) for row in zip(*(listed(column) for column in table.columns), strict=True)]
    lines = [line for row, line in enumerate(lines) if row not in aside]
    if names != header:
        return f"columns {names[:30]} of {header[:30]}"
    if len(lines) != len(written):
        return f"{len(written)} rows of {len(lines)}"
    for row, (before, after) in enumerate(zip(lines, written, strict=True)):
        for name, one, other in zip(header, before, after, strict=True):
            unreadable = lost[row].get(name) if lost else None
            if not _is_kept(name, one, other, unreadable, source.suffix, suffix):
                return f"{name} of row {row}: {str(one)[:60]!r} became {str(other)[:60]!r}"
    return ""


def _is_kept(name: str, before: Any, after: Any, unreadable: str | None, source: str, target: str) -> bool:
    if source == target:
        return repr(before) == repr(after)
    if target == ".csv":
        is_json = not isinstance(before, str | int | float | bool | None)
        return is_json or after == ("" if before is None else str(before)) or _number(before) == _number(after)
    if unreadable is not None:
        return unreadable == before
    if after is None:
        return before.strip().lower() in ("", "nan", "+nan", "-nan") and (name not in TEXT or before == "")
    if isinstance(after, str):
        return after == before
    return _number(before) == _number(after) or (isinstance(after, float) and np.isnan(after))


def _number(value: Any) -> float | None:
    text = str(value).strip().lower()
    try:
        return {"true": 1.0, "false": 0.0}.get(text) if text in ("true", "false") else float(text)
    except ValueError:
        return None
