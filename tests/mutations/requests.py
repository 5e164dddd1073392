"""Requests: what may be sent to a served model, and what that means."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from spotify_ml.data.schema import OPTIONAL_AUDIO
from tests.mutations.bodies import BODIES
from tests.mutations.case import AUDIO, FLAG, TEXT, WHOLE, Right
from tests.mutations.csv_forms import as_csv
from tests.mutations.parquet_forms import as_parquet
from tests.mutations.raw import RAW

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
SAME, REFUSED, EITHER, ANSWERED = Right.SCORED, Right.REFUSED, Right.EITHER, Right.ANSWERED
FORMS = ("dataframe_records", "dataframe_split", "inputs", "inputs of columns", "instances")


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes
    ----------
    body : bytes
        Its body.
    content_type : str or None
        The header of that name.
    headers : dict of str to str
        Others.
    raw : bytes, optional
        All that is sent, in place of a request that is well formed.
    """

    body: bytes
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    def sent(self) -> bytes:
        """Return what is sent."""
        if self.raw is not None:
            return self.raw
        headers = {"Host": "127.0.0.1", "Content-Length": str(len(self.body)), "Connection": "close"}
        headers |= {"Content-Type": self.content_type} if self.content_type is not None else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in (headers | self.headers).items())
        return b"POST /invocations HTTP/1.1\r\n" + head.encode("latin-1") + b"\r\n" + self.body


def send(port: int, request: Request, patience_s: float) -> tuple[int, bytes]:
    """Send a request and return the status and the body of the answer; status 0 is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request.sent())
        parts = []
        try:
            while part := connection.recv(1 << 20):
                parts.append(part)
        except ConnectionResetError:
            pass
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return plain rows as JSON has them."""
    typed = rows.astype({name: "Int64" for name in WHOLE if name in rows}).astype(object)
    typed = typed.where(rows.notna(), None)
    return [{name: _plain(value) for name, value in row.items()} for row in typed.to_dict("records")]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def body_of(form: str, records: list[dict[str, Any]], params: Any = None) -> bytes:
    """Return rows in one of the forms of JSON; values that are bytes are tokens as they are."""
    tokens: dict[str, bytes] = {}

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(each) for name, each in value.items()}
        if isinstance(value, bytes):
            tokens[f"@@{len(tokens)}@@"] = value
            return f"@@{len(tokens) - 1}@@"
        return value

    rows = [{name: kept(value) for name, value in row.items()} for row in records]
    names = list(rows[0])
    table: Any = rows
    if form == "dataframe_split":
        table = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    elif form == "inputs of columns":
        table = {name: [row[name] for row in rows] for name in names}
    document = {form.split()[0]: table} | ({} if params is None else {"params": kept(params)})
    body = json.dumps(document).encode()
    for mark, token in tokens.items():
        body = body.replace(b'"%b"' % mark.encode(), token)
    return body


Change = tuple[str, Callable[[pd.DataFrame], tuple[Request, Right, pd.DataFrame | None, str]]]


def of_request() -> Iterator[Change]:
    """Yield changes of a request."""
    for form in FORMS:
        yield f"{form}", lambda rows, form=form: (Request(body_of(form, records_of(rows))), SAME, rows, "")
        for label, change in _ROWS.items():
            yield f"{form} {label}", lambda rows, form=form, change=change: _changed(rows, form, *change)
        for name in AUDIO:
            yield (
                f"{form} without {name}",
                lambda rows, form=form, name=name: (
                    Request(body_of(form, records_of(rows.drop(columns=name)))),
                    *((SAME, rows.assign(**{name: None}), "") if name in OPTIONAL_AUDIO else (REFUSED, None, name)),
                ),
            )
    for label, body in BODIES.items():
        yield f"body {label}", lambda rows, body=body: (Request(body), REFUSED, None, "")
    for label, (content_type, right) in _TYPES.items():
        yield (
            f"type {label}",
            lambda rows, content_type=content_type, right=right: (
                Request(body_of("inputs", records_of(rows)), content_type),
                right,
                rows if right is not REFUSED else None,
                "",
            ),
        )
    for label, content_type in {"CSV": "text/csv; charset=utf-8", "CSV in capitals": "TEXT/CSV"}.items():
        yield (
            f"type {label}",
            lambda rows, content_type=content_type: (Request(as_csv(rows), content_type), SAME, rows, ""),
        )
    for label, (params, right, tells) in _PARAMS.items():
        yield (
            f"params {label}",
            lambda rows, params=params, right=right, tells=tells: (
                Request(body_of("dataframe_records", records_of(rows), params)),
                right,
                rows if right is not REFUSED else None,
                tells,
            ),
        )
    for label, (make, right) in RAW.items():
        yield (
            f"raw {label}",
            lambda rows, make=make, right=right: (
                Request(b"", raw=make(body_of("inputs", records_of(rows)))),
                right,
                rows if right is SAME else None,
                "",
            ),
        )
    for encoding in ("gzip", "deflate", "br", "zstd", "identity", "x"):
        right = SAME if encoding == "identity" else REFUSED
        yield (
            f"encoding {encoding}",
            lambda rows, encoding=encoding, right=right: (
                Request(body_of("inputs", records_of(rows)), headers={"Content-Encoding": encoding}),
                right,
                rows if right is SAME else None,
                "",
            ),
        )
    for label, crossed in {
        "CSV as Parquet": (CSV, PARQUET),
        "Parquet as CSV": (PARQUET, CSV),
        "Parquet as JSON": (PARQUET, JSON),
        "CSV as JSON": (CSV, JSON),
        "JSON as CSV": (JSON, CSV),
        "JSON as Parquet": (JSON, PARQUET),
    }.items():
        yield label, lambda rows, crossed=crossed: (Request(_of(rows, crossed[0]), crossed[1]), REFUSED, None, "")


def _of(rows: pd.DataFrame, kind: str) -> bytes:
    return {
        JSON: lambda: body_of("inputs", records_of(rows)),
        CSV: lambda: as_csv(rows),
        PARQUET: lambda: as_parquet(rows),
    }[kind]()


def _changed(rows: pd.DataFrame, form: str, change: Any, right: Right, tells: str) -> tuple[Request, Right, Any, str]:
    return Request(body_of(form, change(records_of(rows)))), right, rows if right is not REFUSED else None, tells


def _each(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda records: [row | values for row in records]


def _named(name: str, value: Any = 1) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda records: [row | {name: value} for row in records]


_ROWS: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], Right, str]] = {
    "with a surrogate for a name": (_named("\ud800"), EITHER, ""),
    "with a surrogate in another column": (_named("note", "\ud800"), SAME, ""),
    "with an empty name": (_named(""), SAME, ""),
    "with a zero byte for a name": (_named("\0"), SAME, ""),
    "with a long name": (_named("x" * 100_000), SAME, ""),
    "with nested values beside": (_named("note", {"a": [1, {"b": None}]}), SAME, ""),
    "with a huge integer beside": (_named("note", 10**400), SAME, ""),
    "with 5,000 digits beside": (_named("note", b"1" * 5_000), EITHER, ""),
    "with popularity": (_named("popularity", "n/a"), SAME, ""),
    "with a name of a column in capitals": (_named("TEMPO", 7), SAME, ""),
    "of flags for numbers": (_each(tempo=True), REFUSED, "tempo"),
    "of text for a number": (_each(tempo="fast"), REFUSED, "tempo"),
    "of text with a line end": (_each(tempo="a\nb\r\x1b[31m"), REFUSED, "tempo"),
    "of long text for a number": (_each(tempo="x" * 1_000_000), REFUSED, "tempo"),
    "of a surrogate for a number": (_each(tempo="\ud83d"), REFUSED, "tempo"),
    "of infinite numbers": (_each(tempo=b"Infinity"), REFUSED, "tempo"),
    "of minus infinity": (_each(key=b"-1e999"), REFUSED, "key"),
    "of objects": (_each(artists={"name": "A"}), REFUSED, "artists"),
    "of lists of lists": (_each(artists=[["A"]]), REFUSED, "artists"),
    "of mixed types": (lambda records: [records[0] | {"tempo": str(records[0]["tempo"])}, *records[1:]], SAME, ""),
    "of mixed objects": (lambda records: [records[0] | {"tempo": {}}, *records[1:]], REFUSED, "tempo"),
    "of all numbers as text": (
        lambda records: [
            {name: value if name in TEXT else str(value) for name, value in row.items()} for row in records
        ],
        SAME,
        "",
    ),
    "of flags as numbers": (lambda records: [row | {FLAG: int(row[FLAG])} for row in records], SAME, ""),
    "in another order": (lambda records: [dict(reversed(row.items())) for row in records], SAME, ""),
}
_TYPES: dict[str, tuple[str | None, Right]] = {
    "with a charset": ("application/json; charset=utf-8", SAME),
    "with a charset in quotes": ('application/json; charset="UTF-8"', SAME),
    "with blanks": ("  application/json  ;  charset=utf-8 ", SAME),
    "in capitals": ("APPLICATION/JSON", SAME),
    "with a format": ("application/json; format=pandas-split", EITHER),
    "with an empty parameter": ("application/json;", SAME),
    "with a blank around =": ("application/json; charset = utf-8", EITHER),
    "of another charset": ("application/json; charset=latin-1", REFUSED),
    "of UTF-16": ("application/json; charset=utf-16", REFUSED),
    "of another charset twice": ("application/json; charset=utf-8; charset=latin-1", REFUSED),
    "ASCII": ("application/json; charset=us-ascii", EITHER),
    "none": (None, REFUSED),
    "empty": ("", REFUSED),
    **{
        kind: (kind, REFUSED)
        for kind in (
            "text/plain",
            "application/xml",
            "json",
            "*/*",
            ";",
            "application/json, text/csv",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
            "application/jsonl",
            "application/octet-stream",
            "application/\xe9",
            "x" * 10_000,
        )
    },
}
_PARAMS: dict[str, tuple[Any, Right, str]] = {
    "null": (None, SAME, ""),
    "none": ({}, SAME, ""),
    "refuse": ({"out_of_range": "refuse"}, SAME, ""),
    "clip": ({"out_of_range": "clip"}, SAME, ""),
    "interval": ({"interval": 0.9}, SAME, ""),
    "reasons": ({"explain": 2}, SAME, ""),
    "both": ({"interval": 0.5, "explain": 1, "out_of_range": "clip"}, SAME, ""),
    **{
        f"{name}={value!r}"[:60]: ({name: value}, REFUSED, name)
        for name, values in {
            "interval": (
                0,
                1,
                1.5,
                -1,
                "0.9",
                "x",
                True,
                [],
                [0.9],
                {},
                {"a": 1},
                b"NaN",
                b"Infinity",
                10**400,
                "x" * 100_000,
            ),
            "explain": (0, -1, 1.5, "2", True, [], [1], {}, 10**9, 10**30, b"NaN", "x" * 100_000),
            "out_of_range": ("Clip", "", 1, True, [], ["clip"], {}, {"clip": 1}, "x" * 100_000),
            "intervall": (0.9,),
            "": (1,),
            "out_of_range ": ("clip",),
        }.items()
        for value in values
    },
    **{
        f"of another kind {value!r}"[:60]: (value, REFUSED, "params")
        for value in (5, "x", [1], True, [{"interval": 0.9}], "clip")
    },
    **{f"empty of another kind {value!r}": (value, EITHER, "params") for value in (0, "", [], False)},
    "a surrogate": ({"\ud800": 1}, REFUSED, ""),
    "a surrogate for a value": ({"out_of_range": "\ud800"}, REFUSED, "out_of_range"),
    "many": ({f"key {number}": 1 for number in range(5_000)}, REFUSED, ""),
    "a long one": ({"x" * 1_000_000: 1}, REFUSED, ""),
    "nulls": ({"interval": None, "explain": None}, EITHER, ""),
    "a null": ({"out_of_range": None}, EITHER, "out_of_range"),
}
