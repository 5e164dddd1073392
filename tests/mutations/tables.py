"""Tables: what may become of the columns of one in Python and in Parquet, and what that means."""

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from tests.mutations.case import AUDIO, FLAG, RANGES, SHARES, TEXT, WHOLE, Right

SAME, REFUSED, EITHER, ANSWERED = Right.SCORED, Right.REFUSED, Right.EITHER, Right.ANSWERED
# A change of plain rows: what is given, what is right, the rows that it is equal to, and what a refusal names.
Change = tuple[str, Callable[[pd.DataFrame], tuple[Any, Right, pd.DataFrame | None, str]]]


def _names(rows: pd.DataFrame, name: str, other: Any) -> pd.DataFrame:
    return rows.set_axis([other if each == name else each for each in rows.columns], axis=1)


def of_columns() -> Iterator[Change]:
    """Yield changes of which columns there are and how they are called."""
    for name in AUDIO:
        yield f"without {name}", lambda rows, name=name: (rows.drop(columns=name), REFUSED, None, name)
        for form in ("{} ", " {}", "\ufeff{}", "{}\0", "{}s", "x{}", "{}.1", "'{}'"):
            other = form.format(name)
            yield (
                f"{name} as {other!r}",
                lambda rows, name=name, other=other: (_names(rows, name, other), REFUSED, None, name),
            )
        for change in (str.upper, str.title):
            yield (
                f"{name} as {change(name)!r}",
                lambda rows, name=name, change=change: (_names(rows, name, change(name)), REFUSED, None, name),
            )
        for value in (np.nan, None, ""):
            yield f"{name} all {value!r}", partial(_constant, name=name, value=value)
        yield f"{name} constant out of range", partial(_constant, name=name, value=1e9)
    for name in TEXT:
        yield (
            f"without {name}",
            lambda rows, name=name: (rows.drop(columns=name), SAME, rows.assign(**{name: None}), ""),
        )
        for value in (None, np.nan, pd.NA, ""):
            yield f"{name} all {value!r}", partial(_constant, name=name, value=value)
    yield "without text", lambda rows: (rows[list(AUDIO)], SAME, rows.assign(**dict.fromkeys(TEXT, None)), "")
    yield "only text", lambda rows: (rows[list(TEXT)], REFUSED, None, "tempo")
    yield "no columns", lambda rows: (rows[[]], REFUSED, None, "tempo")
    yield "reversed", lambda rows: (rows[list(rows.columns)[::-1]], SAME, rows, "")
    yield "with a column of every odd name", lambda rows: (_odd_names(rows), SAME, rows, "")
    yield (
        "explicit and mode swapped",
        lambda rows: (
            rows.rename(columns={FLAG: "mode", "mode": FLAG}),
            SAME,
            rows.assign(mode=rows[FLAG], explicit=rows["mode"]),
            "",
        ),
    )
    yield (
        "duration_ms and tempo swapped",
        lambda rows: (rows.rename(columns={"duration_ms": "tempo", "tempo": "duration_ms"}), REFUSED, None, "tempo"),
    )
    yield (
        "artists and energy swapped",
        lambda rows: (rows.rename(columns={"artists": "energy", "energy": "artists"}), REFUSED, None, "energy"),
    )


def _odd_names(rows: pd.DataFrame) -> pd.DataFrame:
    names = (
        "",
        " ",
        "\0",
        "\n",
        '"',
        ",",
        "😀",
        "x" * 100_000,
        "index",
        "level_0",
        "__index_level_0__",
        "row",
        "reason",
    )
    return rows.assign(**dict.fromkeys(names, "x"))


def _constant(rows: pd.DataFrame, name: str, value: Any) -> tuple[Any, Right, pd.DataFrame | None, str]:
    given = rows.assign(**{name: pd.Series([value] * len(rows), dtype=object)})
    if value is not pd.NA and value == 1e9:
        return given, REFUSED, None, name
    return given, SAME, rows.assign(**{name: None if name in TEXT else np.nan}), ""


def of_python() -> Iterator[Change]:
    """Yield changes of the types of columns and tables in pandas, Polars and plain Python."""
    for name in AUDIO:
        for label, cast, is_sure in _dtypes(name):
            yield f"{name} as {label}", partial(_cast, name=name, cast=cast, right=SAME if is_sure else EITHER)
        for label, cast in _OTHER_DTYPES.items():
            yield (
                f"{name} as {label}",
                lambda rows, name=name, cast=cast: (rows.assign(**{name: cast(rows[name])}), REFUSED, None, name),
            )
        yield f"{name} twice", lambda rows, name=name: (pd.concat([rows, rows[[name]]], axis=1), REFUSED, None, name)
    for name in TEXT:
        for label, cast in _TEXT_DTYPES.items():
            yield f"{name} as {label}", partial(_cast, name=name, cast=cast, right=SAME)
        for label, cast in (_OTHER_DTYPES | {"flags": lambda values: values == ""}).items():
            yield (
                f"{name} as {label}",
                lambda rows, name=name, cast=cast: (rows.assign(**{name: cast(rows["tempo"])}), REFUSED, None, name),
            )
        yield f"{name} twice", lambda rows, name=name: (pd.concat([rows, rows[[name]]], axis=1), REFUSED, None, name)
    yield from ((label, partial(_table, make=make, right=right)) for label, (make, right) in _TABLES.items())


def _cast(
    rows: pd.DataFrame, name: str, cast: Callable[[pd.Series], Any], right: Right
) -> tuple[Any, Right, pd.DataFrame, str]:
    fit = rows
    if name not in TEXT:
        # Values that every type holds.
        fit = rows.assign(**{name: ([1.0, 0.0, 1.0, 0.0] * len(rows))[: len(rows)]})
    given = cast(fit[name])
    if name not in TEXT and pd.isna(given).any():
        fit = fit.assign(**{name: fit[name].mask(np.asarray(pd.isna(given)))})
    return fit.assign(**{name: given}), right, fit, ""


def _holed(values: pd.Series) -> pd.Series:
    return values.mask([row == 1 for row in range(len(values))])


def _dtypes(name: str) -> Iterator[tuple[str, Callable[[pd.Series], Any], bool]]:
    for kind in (
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint64",
        "float16",
        "float32",
        "float64",
        "object",
        "str",
    ):
        yield kind, lambda values, kind=kind: values.astype(kind), True
    for kind in ("Int8", "Int64", "UInt32", "Float32", "Float64", "string", "string[pyarrow]"):
        yield kind, lambda values, kind=kind: values.astype(kind), True
        yield f"{kind} with a hole", lambda values, kind=kind: _holed(values.astype(kind)), True
    for kind in ("longdouble", ">f8", ">i4", "Sparse[float]", "Sparse[int]"):
        yield kind, lambda values, kind=kind: values.astype(kind), kind.startswith(">")
    for kind in (pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(5, 2), pa.decimal256(40, 3)):
        yield f"Arrow {kind}", lambda values, kind=kind: values.astype(pd.ArrowDtype(kind)), True
    yield "Arrow text", lambda values: values.astype(str).astype(pd.ArrowDtype(pa.large_string())), True
    yield "Arrow null", lambda values: pd.array([None] * len(values), dtype=pd.ArrowDtype(pa.null())), False
    yield "Arrow dictionary", lambda values: _arrow_series(pa.array(values).dictionary_encode()), False
    yield "categories", lambda values: values.astype("category"), True
    yield "ordered categories", lambda values: pd.Categorical(values, ordered=True), True
    yield "categories of text", lambda values: values.astype(str).astype("category"), True
    yield "categories with a hole", lambda values: _holed(values.astype("category")), True
    yield "categories not used", lambda values: pd.Categorical(values, categories=[0.0, 1.0, 7.0, "x"]), True
    yield "decimals", lambda values: pd.Series([Decimal(value) for value in values]), True
    yield (
        "mixed objects",
        lambda values: pd.Series([str(each) if row % 2 else each for row, each in enumerate(values)], dtype=object),
        True,
    )
    if name == FLAG:
        for kind in ("bool", "boolean", pd.ArrowDtype(pa.bool_())):
            yield f"{kind}", lambda values, kind=kind: values.astype("bool").astype(kind), True
        yield "categories of flags", lambda values: values.astype("bool").astype("category"), True
        yield "sparse flags", lambda values: values.astype("bool").astype("Sparse[bool]"), False
        yield "words", lambda values: values.astype("bool").astype(str).str.upper(), True


def _arrow_series(values: pa.Array) -> pd.Series:
    return pd.Series(pd.array(values, dtype=pd.ArrowDtype(values.type)))


_OTHER_DTYPES: dict[str, Callable[[pd.Series], Any]] = {
    "times": lambda values: pd.to_datetime([0] * len(values)),
    "times of a zone": lambda values: pd.to_datetime([0] * len(values), utc=True),
    "durations": lambda values: pd.to_timedelta([1] * len(values)),
    "periods": lambda values: pd.period_range("2022", periods=len(values), freq="D"),
    "intervals": lambda values: pd.interval_range(0, len(values)),
    "complex": lambda values: np.asarray(values) + 1j,
    "lists of numbers": lambda values: pd.Series([[1.0]] * len(values)),
    "Arrow lists": lambda values: _arrow_series(pa.array([[1.0]] * len(values))),
    "Arrow objects": lambda values: _arrow_series(pa.array([{"a": 1}] * len(values))),
    "Arrow dates": lambda values: _arrow_series(pa.array([dt.date(2022, 1, 1)] * len(values))),
    "Arrow times": lambda values: _arrow_series(pa.array([dt.time(1)] * len(values))),
    "Arrow durations": lambda values: _arrow_series(pa.array([dt.timedelta(1)] * len(values))),
    "Arrow bytes": lambda values: _arrow_series(pa.array([b"\xff"] * len(values))),
    "sets": lambda values: pd.Series([{1, 2}] * len(values)),
    "tables": lambda values: pd.Series([pd.DataFrame()] * len(values)),
}
_TEXT_DTYPES: dict[str, Callable[[pd.Series], Any]] = {
    **{kind: partial(pd.Series.astype, dtype=kind) for kind in ("object", "str", "string", "category")},
    "string[pyarrow]": lambda values: values.astype("string[pyarrow]"),
    "string[python]": lambda values: values.astype("string[python]"),
    "ordered categories": lambda values: pd.Categorical(values, ordered=True),
    "np.str_": lambda values: pd.Series([np.str_(each) for each in values], dtype=object),
    "Arrow large text": lambda values: values.astype(pd.ArrowDtype(pa.large_string())),
    "Arrow dictionary": lambda values: _arrow_series(pa.array(values, pa.string()).dictionary_encode()),
    "Arrow views": lambda values: _arrow_series(pa.array(values.tolist(), pa.string_view())),
}


class _Columns(dict):  # type: ignore[type-arg]
    """A mapping of columns of a type of its own."""


def _levels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_axis(pd.MultiIndex.from_product([["a"], rows.columns]), axis=1)


_TABLES: dict[str, tuple[Callable[[pd.DataFrame], Any], Right]] = {
    "records": (lambda rows: rows.to_dict("records"), SAME),
    "records from a generator": (lambda rows: (row for row in rows.to_dict("records")), SAME),
    "records of Series": (lambda rows: [row for _, row in rows.iterrows()], EITHER),
    "a tuple of records": (lambda rows: tuple(rows.to_dict("records")), SAME),
    "records in other orders": (lambda rows: [dict(reversed(row.items())) for row in rows.to_dict("records")], SAME),
    "columns": (lambda rows: rows.to_dict("list"), SAME),
    "columns of Series": (dict, SAME),
    "columns of arrays": (lambda rows: {name: np.asarray(rows[name]) for name in rows}, SAME),
    "columns of tuples": (lambda rows: {name: tuple(rows[name]) for name in rows}, SAME),
    "columns of generators": (lambda rows: {name: iter(rows[name].tolist()) for name in rows}, EITHER),
    "a mapping of its own": (lambda rows: _Columns(rows.to_dict("list")), SAME),
    "columns of other lengths": (lambda rows: rows.to_dict("list") | {"tempo": [1.0]}, REFUSED),
    "columns of rows by name": (lambda rows: rows.to_dict(), EITHER),
    "one row": (lambda rows: rows.iloc[0].to_dict(), REFUSED),
    "a Series": (lambda rows: rows.iloc[0], REFUSED),
    "a list of lists": (lambda rows: rows.to_numpy().tolist(), REFUSED),
    "an array": (lambda rows: rows.to_numpy(), REFUSED),
    "a record array": (lambda rows: rows.to_records(), EITHER),
    "CSV": (lambda rows: rows.to_csv(), REFUSED),
    "JSON": (lambda rows: rows.to_json().encode(), REFUSED),
    "None": (lambda rows: None, REFUSED),
    "no records": (lambda rows: [], REFUSED),
    "an empty mapping": (lambda rows: {}, REFUSED),
    "records and something else": (lambda rows: [*rows.to_dict("records"), 5], REFUSED),
    "Arrow": (pa.Table.from_pandas, SAME),
    "Arrow of several chunks": (lambda rows: pa.concat_tables([_arrow(rows[:1]), _arrow(rows[1:])]), SAME),
    "an Arrow batch": (pa.RecordBatch.from_pandas, SAME),
    "an Arrow reader": (lambda rows: _arrow(rows).to_reader(), SAME),
    "Arrow of floats for text": (lambda rows: pa.table({**rows.to_dict("list"), "tempo": ["x"] * len(rows)}), REFUSED),
    "Polars": (pl.from_pandas, SAME),
    "Polars of categories": (
        lambda rows: pl.from_pandas(rows).with_columns(pl.col("artists").cast(pl.Categorical)),
        SAME,
    ),
    "Polars, not computed": (lambda rows: pl.from_pandas(rows).lazy(), REFUSED),
    "Polars of float32": (lambda rows: pl.from_pandas(rows).with_columns(pl.col("key").cast(pl.Float32)), SAME),
    "Polars of lists": (lambda rows: pl.from_pandas(rows).with_columns(pl.col("artists").str.split(";")), SAME),
    "Polars of nulls": (lambda rows: pl.from_pandas(rows).with_columns(note=pl.lit(None)), SAME),
    "names in two levels": (_levels, REFUSED),
    "names as categories": (lambda rows: rows.set_axis(pd.CategoricalIndex(rows.columns), axis=1), SAME),
    "names as objects": (lambda rows: rows.set_axis(rows.columns.astype(object), axis=1), SAME),
    "names as np.str_": (lambda rows: rows.set_axis([np.str_(name) for name in rows.columns], axis=1), SAME),
    "names as bytes": (lambda rows: rows.set_axis([name.encode() for name in rows.columns], axis=1), REFUSED),
    "names as numbers": (lambda rows: rows.set_axis(range(rows.shape[1]), axis=1), REFUSED),
    "names of many kinds beside": (
        lambda rows: pd.concat(
            [rows, pd.DataFrame(1, rows.index, [0, None, np.nan, ("a", 1), b"x", 1.5, pd.NaT])], axis=1
        ),
        SAME,
    ),
    "unhashable records": (lambda rows: [{**row, ("a",): [1]} for row in rows.to_dict("records")], SAME),
    "another index": (lambda rows: rows.set_axis([7] * len(rows)), SAME),
    "an index of times": (lambda rows: rows.set_axis(pd.date_range("2022", periods=len(rows))), SAME),
    "an index of columns": (lambda rows: rows.set_index(["tempo", "artists"]), SAME),
    "an index by name": (lambda rows: rows.set_index("tempo", drop=False), SAME),
    "an index of one name twice": (
        lambda rows: rows.set_index(["tempo", "key"]).rename_axis(["tempo", "tempo"]),
        REFUSED,
    ),
    "an index of flags": (lambda rows: rows.set_index("explicit"), SAME),
    "attributes": (lambda rows: _with_attrs(rows), SAME),
    "a slice": (lambda rows: pd.concat([rows, rows]).iloc[: len(rows)], SAME),
    "every second row": (lambda rows: rows.loc[rows.index.repeat(2)].iloc[::2], SAME),
    "in another block order": (lambda rows: pd.DataFrame({name: rows[name].copy() for name in rows}), SAME),
    "objects": (lambda rows: rows.astype(object), SAME),
    "convert_dtypes": (lambda rows: rows.convert_dtypes(), SAME),
    "pyarrow dtypes": (lambda rows: rows.convert_dtypes(dtype_backend="pyarrow"), SAME),
    "text of everything": (lambda rows: rows.astype(dict.fromkeys(AUDIO, "str")), SAME),
    "a view that cannot be written": (lambda rows: _frozen(rows), SAME),
}


def _table(rows: pd.DataFrame, make: Callable[[pd.DataFrame], Any], right: Right) -> tuple[Any, Right, Any, str]:
    given = rows.astype(dict.fromkeys(WHOLE, "int64")).astype({FLAG: bool})
    return make(given), right, None if right is REFUSED else rows, ""


def _arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False)


def _with_attrs(rows: pd.DataFrame) -> pd.DataFrame:
    rows.attrs["frame"] = np.zeros(3)
    return rows


def _frozen(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows[list(SHARES)].to_numpy()
    values.flags.writeable = False
    return pd.concat([rows.drop(columns=list(SHARES)), pd.DataFrame(values, columns=list(SHARES))], axis=1)


def arrow_types(name: str, values: list[Any]) -> Iterator[tuple[str, pa.Array, Right, list[Any] | None]]:
    """Yield columns of a Parquet file: of a type, and the plain values that they are equal to."""
    n_rows = len(values)
    if name in TEXT:
        for kind in (
            pa.string(),
            pa.large_string(),
            pa.string_view(),
            pa.binary(),
            pa.large_binary(),
            pa.binary_view(),
        ):
            given = [value and value.encode() for value in values] if "binary" in str(kind) else values
            yield str(kind), pa.array(given, kind), SAME, values
        yield "dictionary", pa.array(values, pa.string()).dictionary_encode(), SAME, values
        yield "numbers", pa.array(range(n_rows)), SAME, [str(row) for row in range(n_rows)]
        yield "halves", pa.array([row + 0.5 for row in range(n_rows)]), SAME, [f"{row}.5" for row in range(n_rows)]
        yield "decimals", pa.array([Decimal("1.50")] * n_rows), EITHER, ["1.50"] * n_rows
        yield "flags", pa.array([True] * n_rows), REFUSED, None
    else:
        fit = [row % 2 for row in range(n_rows)]
        kinds = (
            pa.int8(),
            pa.int32(),
            pa.uint64(),
            pa.float16(),
            pa.float32(),
            pa.decimal128(25, 2),
            pa.decimal256(50, 3),
        )
        for kind in kinds:
            yield str(kind), pa.array(fit, pa.int64()).cast(kind), SAME, fit
        yield "text", pa.array([str(value) for value in fit]), SAME, fit
        yield "dictionary of text", pa.array([str(value) for value in fit]).dictionary_encode(), SAME, fit
        yield "dictionary of numbers", pa.array(fit).dictionary_encode(), SAME, fit
        yield "text views", pa.array([str(value) for value in fit], pa.string_view()), SAME, fit
        yield "bytes", pa.array([str(value).encode() for value in fit], pa.binary()), EITHER, fit
        flags = pa.array([value == 1 for value in fit])
        yield "flags", flags, SAME if name == FLAG else REFUSED, fit if name == FLAG else None
    yield "nulls", pa.nulls(n_rows), SAME, [None] * n_rows
    yield "times", pa.array([0] * n_rows, pa.timestamp("us")), REFUSED, None
    yield "dates", pa.array([0] * n_rows, pa.int32()).cast(pa.date32()), REFUSED, None
    yield "times of a day", pa.array([0] * n_rows, pa.time64("us")), REFUSED, None
    yield "durations", pa.array([0] * n_rows, pa.duration("us")), REFUSED, None
    yield "times that Python has none for", pa.array([2**62] * n_rows, pa.timestamp("us")), REFUSED, None
    yield "days that Python has none for", pa.array([2**31 - 1] * n_rows, pa.int32()).cast(pa.date32()), REFUSED, None
    yield "long durations", pa.array([2**62] * n_rows, pa.duration("s")), REFUSED, None
    yield "times of no known zone", pa.array([5] * n_rows, pa.timestamp("us", "Nowhere/X")), REFUSED, None
    yield "objects", pa.array([{"a": 1}] * n_rows), REFUSED, None
    yield "lists of numbers", pa.array([[1.0]] * n_rows), REFUSED, None
    yield "maps", pa.array([[("a", 1)]] * n_rows, pa.map_(pa.string(), pa.int64())), REFUSED, None
    yield "bytes that are no text", pa.array([b"\xff\xfe"] * n_rows), REFUSED, None
    yield "lists of bytes", pa.array([[b"\xff"]] * n_rows), REFUSED, None
    yield "fixed bytes", pa.array([b"\xff" * 4] * n_rows, pa.binary(4)), REFUSED, None


def out_of_range(name: str) -> float:
    """Return a number that a column cannot hold."""
    return RANGES.get(name, (0, 1))[1] + 1.0
