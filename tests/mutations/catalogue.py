"""The catalogue of all mutations, and cases that are drawn from it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.schema import OPTIONAL_AUDIO
from tests.mutations import cells, files, requests, tables
from tests.mutations.case import (
    AUDIO,
    LACKABLE,
    NULLABLE,
    TEXT,
    Case,
    Meaning,
    Missing,
    Right,
    picked,
    plain_rows,
    told,
    with_cell,
)
from tests.mutations.csv_forms import as_csv
from tests.mutations.parquet_forms import as_parquet
from tests.mutations.requests import CSV, FORMS, PARQUET, Request, body_of, records_of

MODES = ("train", "predict", "python", "http")
# What is given to a mode, drawn afresh: rows and a generator to a case.
Draw = Callable[[pd.DataFrame, np.random.Generator], Case]
_N_ROWS = 5
SETTINGS = {
    "on_error": ("fail", "skip", "null"),
    "out_of_range": ("refuse", "clip"),
    "output": ("csv", "parquet"),
    "place": ("file", "file", "folder", "stdin", "pipe"),
}


def cases(tracks: pd.DataFrame, seed: int, start: int, stop: int) -> Iterator[Case]:
    """Yield the cases of some numbers: every mode and family in turn, drawn by a seed from all mutations."""
    plain = plain_rows(tracks)
    order = np.random.default_rng(seed)
    queues = [
        [draws[position] for position in order.permutation(len(draws))] for _, draws in sorted(families().items())
    ]
    for number in range(start, stop):
        turn, family = divmod(number, len(queues))
        draw = queues[family][turn % len(queues[family])]
        rng = np.random.default_rng([seed, number])
        rows = plain.iloc[rng.choice(len(plain), _N_ROWS, replace=False)].reset_index(drop=True)
        yield _of_used_columns(draw(rows, rng))


def _of_used_columns(case: Case) -> Case:
    """A model does not take the id of a track: what is wrong with it, a caller need not be told."""
    is_ignored = case.mode in ("http", "python") and "track_id" in case.name
    if not is_ignored:
        return case
    if case.right is Right.REFUSED:
        return replace(case, right=Right.ANSWERED)
    return replace(case, bad=(), maybe=case.bad + case.maybe)


def families() -> dict[str, list[Draw]]:
    """Return all mutations by mode and kind; a family whose name begins with another's comes more often."""
    found: dict[str, list[Draw]] = {}
    columns = (*AUDIO, *TEXT)
    text = [(name, *cell) for name in columns for cell in cells.of_text(name)]
    audio = [each for each in text if each[0] in AUDIO]
    names = [each for each in text if each[0] in TEXT]
    for mode in ("train", "predict", "http"):
        found[f"{mode} cells of numbers"] = [partial(_cell_in_file, mode, *each) for each in audio]
        found[f"{mode} cells of text"] = [partial(_cell_in_file, mode, *each) for each in names]
        found[f"{mode} CSV"] = [partial(_file, mode, "csv", *each) for each in files.of_csv()]
        found[f"{mode} Parquet"] = [partial(_file, mode, "parquet", *each) for each in files.of_parquet()]
    json_cells = [(name, *cell) for name in columns for cell in (*cells.of_json(name), *cells.of_text(name))]
    found["http cells of JSON"] = [partial(_cell_in_json, *each) for each in json_cells]
    found["http requests"] = [partial(_request, *each) for each in requests.of_request()]
    python_cells = [
        (name, *cell)
        for name in columns
        for cell in (*cells.of_python(name), *cells.of_json(name), *cells.of_text(name))
        if not (isinstance(cell[1], bytes) and cell[0] != "bytes")
    ]
    found["python cells"] = [partial(_cell_in_python, *each) for each in python_cells]
    found["python tables"] = [partial(_table, *each) for each in (*tables.of_columns(), *tables.of_python())]
    return found


def _cell_in_file(
    mode: str, column: str, label: str, text: str, meaning: Meaning, rows: pd.DataFrame, rng: np.random.Generator
) -> Case:
    settings = picked(SETTINGS, rng)
    row = int(rng.integers(len(rows)))
    given = with_cell(rows, column, row, text)
    as_file = rng.choice(["csv", "quoted", "parquet"])
    out_of_range = settings["out_of_range"] if mode == "predict" else "refuse"
    if as_file == "parquet":
        given[column] = [value if isinstance(value, str) else f"{value:g}" for value in given[column]]
        content = as_parquet(given.astype({column: "str"}))
        if column not in TEXT:
            rows = rows.assign(**{column: [float(f"{value:g}") for value in rows[column]]})
    else:
        given[column] = [value if isinstance(value, str) else repr(value) for value in given[column]]
        content = as_csv(given, quoting=1 if as_file == "quoted" or "\r" in text else 0)
    plain, bad, maybe = told(rows, column, row, meaning, mode, out_of_range)
    # In CSV a bare return within quotes and a zero byte may be refused.
    if as_file != "parquet" and ("\0" in text or "\r" in text.replace("\r\n", "")):
        maybe = maybe or (() if bad else (row,))
    case = Case(f"{column} {label} in {as_file}", mode, content, Right.SCORED, plain, bad, maybe, column, settings)
    return _sent(case, "parquet" if as_file == "parquet" else "csv")


def _sent(case: Case, kind: str) -> Case:
    if case.mode == "http":
        return replace(case, given=Request(case.given, PARQUET if kind == "parquet" else CSV))
    settings = dict(case.settings)
    if kind == "parquet" and settings.get("place") in ("stdin", "pipe"):
        settings["place"] = "file"
    # To standard output nothing can be set aside.
    if settings.get("place") == "pipe" and settings["on_error"] == "skip":
        settings["on_error"] = "null"
    return replace(case, settings=settings | {"input": kind})


def _file(
    mode: str, kind: str, label: str, make: Callable[..., Any], rows: pd.DataFrame, rng: np.random.Generator
) -> Case:
    content, right, plain, tells = make(rows, rng)
    settings = picked(SETTINGS, rng)
    if right is not Right.SCORED:
        settings |= {"on_error": "fail", "out_of_range": "refuse"}
    lacked = label.split(" ", 1)[1].removeprefix("without ")
    if mode == "train" and lacked in LACKABLE:
        right, plain, tells = Right.SCORED, rows.assign(**{lacked: None}), ""
    taken = label.rpartition("without ")[2]
    if mode != "train" and "without " in label and taken in OPTIONAL_AUDIO:
        right, plain, tells = Right.SCORED, rows.assign(**{taken: None}), ""
    if right is not Right.REFUSED and plain is not None and mode == "train" and not _is_complete(plain, label):
        right, plain = Right.REFUSED, None
    case = Case(label, mode, content, right, plain, tells=tells, settings=settings)
    return _sent(case, kind)


def _is_complete(plain: pd.DataFrame, label: str) -> bool:
    what = label.split(" ", 1)[1]
    if (
        what.startswith("without")
        and what.removeprefix("without ") not in (*LACKABLE, "text")
        and "schema" not in label
        and "dict" not in label
        and "stat" not in label
    ):
        return False
    empty = [name for name in LACKABLE if name in plain and plain[name].isna().all()]
    needed = [name for name in plain.columns if name not in (*NULLABLE, *empty)]
    return bool(plain[needed].notna().all(axis=None))


def _cell_in_json(
    column: str, label: str, value: Any, meaning: Meaning, rows: pd.DataFrame, rng: np.random.Generator
) -> Case:
    row = int(rng.integers(len(rows)))
    records = records_of(rows)
    records[row][column] = value
    out_of_range = str(rng.choice(["refuse", "clip"]))
    form = str(rng.choice(list(FORMS)))
    plain, bad, maybe = told(rows, column, row, meaning, "http", out_of_range)
    request = Request(body_of(form, records, {"out_of_range": out_of_range}))
    # A number that the reader of JSON itself refuses is named by that.
    tells = column if not (isinstance(value, bytes) and len(value) > 4_000) else ""
    return Case(f"{column} {label} in {form}", "http", request, Right.SCORED, plain, bad, maybe, tells)


def _request(label: str, make: Callable[..., Any], rows: pd.DataFrame, rng: np.random.Generator) -> Case:
    request, right, plain, tells = make(rows)
    return Case(label, "http", request, right, plain, tells=tells)


def _cell_in_python(
    column: str, label: str, value: Any, meaning: Meaning, rows: pd.DataFrame, rng: np.random.Generator
) -> Case:
    row = int(rng.integers(len(rows)))
    settings = picked({"out_of_range": SETTINGS["out_of_range"]}, rng)
    given = with_cell(rows, column, row, value)
    plain, bad, maybe = told(rows, column, row, meaning, "python", settings["out_of_range"])
    if column in TEXT and meaning.value is Missing.REFUSED:
        plain = rows
    return Case(f"{column} {label}", "python", given, Right.SCORED, plain, bad, maybe, column, settings)


def _table(label: str, make: Callable[..., Any], rows: pd.DataFrame, rng: np.random.Generator) -> Case:
    given, right, plain, tells = make(rows)
    return Case(label, "python", given, right, plain, tells=tells)
