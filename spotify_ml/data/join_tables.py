"""Tables of more columns that tracks are joined with: found, and read as numbers and text by their key."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.config.layouts import AUTO, ColumnConfig
from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import CsvInput, Input, ParquetInput
from spotify_ml.data.dates import EXPECTED, read_dates
from spotify_ml.data.header import column_hint, repeated_names
from spotify_ml.data.joined_columns import OWN, Key
from spotify_ml.data.layout_values import LIKE_A_LIST, WrongValueError, converted
from spotify_ml.data.layouts import RAW, Layout, find_layout
from spotify_ml.data.names import normal_list
from spotify_ml.data.parts import is_packed, join_name, parts_of, plain_name
from spotify_ml.data.place import check_joins
from spotify_ml.data.schema import EXAMPLES, FURTHER_NAMES, LIST_SEPARATOR, NAMES, TARGET, in_rows, shown_names
from spotify_ml.data.texts import STRING, read_numbers, read_texts
from spotify_ml.utils.errors import DataError, shown

_KEYS: tuple[Key, ...] = ("track_id", "artists")
_PARQUET_MAGIC = b"PAR1"
_EMPTY_LIST = r"^\[\s*\]$"
# A column of text of which so many values are numbers is one of numbers, and the others are mistakes.
_MOSTLY = 0.9
# What pandas calls the numbers of rows.
_NUMBERS = ("Unnamed", "__index_level_")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class JoinFile:
    """A file to be joined: its path, its name in columns, and its bytes with their digest."""

    path: Path
    name: str
    sha256: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class JoinTable:
    """A table with one row a key: its columns by the names that they get, and why others are left out."""

    file: JoinFile
    key: Key
    keys: pd.Index
    columns: Mapping[str, Any]
    left_out: Mapping[str, str]


def read_join_files(paths: Sequence[str] | None) -> list[JoinFile]:
    """Read and hash the files to be joined; a `DataError` if one is absent or cannot be read."""
    check_joins(paths or ())
    files = []
    for path in paths or ():
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); check the join") from error
        files.append(JoinFile(Path(path), join_name(path), hashlib.sha256(content).hexdigest(), content))
    return files


def read_table(file: JoinFile) -> JoinTable:
    """Read a table to be joined, in any layout or none.

    Raises
    ------
    DataError
        If it is no table, or has no key, columns of one name, unreadable values, or rows of one key that differ.
    """
    given = _own_columns(file)
    key = _key_of(file, given)
    keys = join_keys(_key_texts(file, key, given.pop(key)), key)
    columns, left_out = _used(file, given)
    if not columns:
        raise adds_nothing(file, key, left_out)
    rows = _one_row_per_key(file, key, keys, columns)
    return JoinTable(file, key, pd.Index(keys[rows]), {name: each[rows] for name, each in columns.items()}, left_out)


def adds_nothing(file: JoinFile, key: Key, left_out: Mapping[str, str]) -> DataError:
    """Return the error for a table of which no column is used."""
    reasons = "".join(f", {name!r} {reason}" for name, reason in left_out.items())
    return DataError(
        f"{file.path} has no column to add beside {key}{reasons}; if being in it is what counts, give it a column "
        "that is 1 in every row"
    )


def _key_of(file: JoinFile, given: Mapping[str, Any]) -> Key:
    for name in _KEYS:
        if name in given:
            return name
    hints = "".join(column_hint(name, list(given)) for name in _KEYS)
    raise DataError(
        f"{file.path} has neither track_id nor artists to be joined by{hints}; its header is: "
        f"{shown_names(list(given))}; rename the column that is one of them"
    )


def _used(file: JoinFile, given: Mapping[str, pa.ChunkedArray]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the columns that are used, by the names that they get, and why others are left out."""
    columns: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, values in given.items():
        read = _unused(name) or _values(file, name, values)
        if isinstance(read, str):
            left_out[name] = read
            continue
        is_further = name in FURTHER_NAMES
        final = name if is_further else f"{file.name}_{plain_name(name)}"
        if final in columns or (final in OWN and not is_further):
            raise DataError(
                f"{file.path}: the column {name!r} would be {final!r}, a name that another column has; rename it, "
                "or the file"
            )
        columns[final] = read
    return columns, left_out


def join_keys(values: Any, key: Key) -> np.ndarray:
    """Return the keys that rows are joined by, None where there is none: ids, or first artists in normal form."""
    codes, distinct = pd.factorize(values)
    texts = [str(each).strip() for each in distinct]
    if key == "artists":
        texts = [normal_list(each).partition(LIST_SEPARATOR)[0] for each in texts]
    found: np.ndarray = np.array([*(each or None for each in texts), None], dtype=object)[codes]
    return found


def _unused(name: str) -> str:
    """Return why a column is left out, or an empty string."""
    if not plain_name(name) or name.startswith(_NUMBERS):
        return "numbers the rows"
    return "is a column of the tracks themselves" if name in NAMES and name != TARGET else ""


def _own_columns(file: JoinFile) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a table, raw ones by their raw names where it has a layout; a CSV has text alone."""
    origin = str(file.path)
    names = _opened(file, RAW).schema.names
    repeated = repeated_names(names)
    if repeated:
        raise DataError(f"{origin} has columns of one name: {', '.join(map(repr, repeated))}; rename or remove them")
    layout = _layout_of(names, origin)
    table = pa.concat_tables(list(_tables(_opened(file, layout or RAW), origin)), promote_options="default")
    if not table.num_rows:
        raise DataError(f"{origin} has a header but no rows; join a table with rows in it")
    if layout is None:
        return dict(zip(table.column_names, table.columns, strict=True))
    raw = layout.raw_rows(table, origin, every=False)
    found = {name: raw.column(name) for name in layout.columns}
    others = [name for name in table.column_names if name not in layout.own_names() and name not in found]
    return found | {name: table.column(name) for name in others}


def _opened(file: JoinFile, layout: Layout) -> Input:
    origin = str(file.path)
    if file.content.startswith(_PARQUET_MAGIC):
        return ParquetInput(io.BytesIO(file.content), origin, layout)
    packed = is_packed(file.path)
    opened: Any = parts_of(origin)[0].open(file.content) if packed else io.BytesIO(file.content)
    return CsvInput(opened, origin, layout)


def _layout_of(names: Sequence[str], origin: str) -> Layout | None:
    """Return the layout that a header has, None for raw columns and any other table."""
    try:
        found = find_layout(names, origin, AUTO, for_training=True)
    except DataError:
        return None
    return None if found.name == RAW.name else found


def _tables(rows: Input, origin: str) -> Iterator[pa.Table]:
    yield rows.schema.empty_table() if isinstance(rows, ParquetInput) else _no_text(rows.schema.names)
    for batch in rows.batches():
        if batch.broken:
            first = batch.broken[0]
            raise DataError(f"{origin}: row {first.number} has {first.problem}; mend or remove it")
        yield batch.table if batch.content is None else batch.as_text()


def _no_text(names: Sequence[str]) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _key_texts(file: JoinFile, key: Key, values: pa.ChunkedArray) -> Any:
    texts, wrong = read_texts(_series(_as_lists(values)).tolist(), LIST_SEPARATOR)
    _check(file, key, "is not text", wrong, values)
    return pd.array([text or None for text in texts], dtype=STRING)


def _values(file: JoinFile, name: str, values: pa.ChunkedArray) -> Any:
    """Return a column as float64 or text, or why it is left out; unreadable values are errors."""
    if name == "release_date":
        dates, wrong = read_dates(values)
        _check(file, name, f"is not {EXPECTED}", wrong, values)
        return _some(dates.to_pandas().astype(STRING).array)
    if pa.types.is_temporal(values.type) or pa.types.is_struct(values.type) or pa.types.is_binary(values.type):
        return f"holds {values.type}, neither numbers nor text"
    series = _series(_as_lists(values))
    if name != "label" and not pa.types.is_nested(values.type):
        floats, unreadable = read_numbers(series, is_flag=True)
        given = ~np.isnan(floats)
        # XGBoost has no infinity, which larger numbers become.
        wrong = np.abs(floats, where=given, out=np.zeros(len(floats))) > _LARGEST
        wrong |= False if unreadable is None else unreadable
        if (given & ~wrong).sum() >= _MOSTLY * (given | wrong).sum():
            _check(file, name, "is no number", wrong, values)
            return _some(floats)
    texts, wrong = read_texts(series.tolist(), LIST_SEPARATOR)
    _check(file, name, "is neither a number nor text", wrong, values)
    return _some(pd.array([text or None for text in texts], dtype=STRING))


def _some(values: Any) -> Any:
    """Return values, or that all of them are missing."""
    return "has no value" if pd.isna(values).all() else values


def _series(values: pa.ChunkedArray) -> pd.Series:
    return arrow_frame(pa.table({"values": values}))["values"]


def _as_lists(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that is lists as Python writes them as ``;``-joined lists; other values as they are."""
    if not pa.types.is_string(values.type):
        return values
    given = values.drop_null()
    if not len(given) or not pc.all(pc.match_substring_regex(given, f"{LIKE_A_LIST}|{_EMPTY_LIST}")).as_py():
        return values
    try:
        return converted(values, ColumnConfig.model_validate({"from": "values", "values": "python_list"}))
    except WrongValueError:
        return values


def _check(file: JoinFile, name: str, problem: str, wrong: np.ndarray, values: pa.ChunkedArray) -> None:
    """Raise a `DataError` with the first rows in which a column is wrong, if there are any."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        examples = [f"row {row + 1}: {shown(str(values[int(row)].as_py()))!r}" for row in rows[:EXAMPLES]]
        raise DataError(
            f"{file.path}: {name} {problem}{in_rows(len(rows), examples)}; mend these values, or leave them empty"
        )


def _one_row_per_key(file: JoinFile, key: Key, keys: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray:
    """Return the first row of each key; a `DataError` if the rows of a key differ."""
    table = pd.DataFrame({"": keys, **columns}, copy=False)
    table = table[table[""].notna()].drop_duplicates()
    twice = table[""].duplicated(keep=False)
    if twice.any():
        name = table.loc[twice, ""].iloc[0]
        rows = table.index[table[""] == name]
        differing = [each for each in columns if not table.loc[rows, each].duplicated().iloc[1:].all()]
        listed = ", ".join(f"{row + 1:,}" for row in rows[:EXAMPLES])
        n_keys = table.loc[twice, ""].nunique()
        raise DataError(
            f"{file.path} has several rows for {key} {shown(name)!r} (rows {listed}) that differ in "
            f"{shown_names(differing)}, as {n_keys:,} key{'s' * (n_keys > 1)} in all; keep one row a key"
        )
    if table.empty:
        raise DataError(f"{file.path} has no value of {key}; fill the column, or join another table")
    first: np.ndarray = table.index.to_numpy()
    return first
