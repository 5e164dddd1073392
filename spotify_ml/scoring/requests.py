"""Requests to a served model: raw rows in one of MLflow's formats, and parameters of the prediction."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any

import pandas as pd

from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import CsvInput, Input, ParquetInput
from spotify_ml.data.schema import AUDIO, TEXT, Kind
from spotify_ml.data.tables import check_keys
from spotify_ml.utils.errors import DataError, did_you_mean, shown

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_ORIGIN = "the request"
_PARAMS = "params"
# No known name is longer.
_LONGEST_NAME = 100
_TABLES = ("dataframe_records", "dataframe_split", "instances", "inputs")


class UnsupportedFormatError(DataError):
    """A request in an unknown format or encoding."""


def read_request(
    content: bytes,
    content_type: str,
    max_rows: int | None = None,
    further: Mapping[str, Kind] = MappingProxyType({}),
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the raw rows of a request, and the parameters of the prediction.

    Text stays text: only a null and an empty field of a CSV are missing, as in `spotify_ml.predict`. The content type
    is JSON in one of MLflow's forms, CSV, or Parquet, or else an `UnsupportedFormatError` is raised; a `DataError` if
    the body cannot be read, or has more than ``max_rows`` rows: a small Parquet file may have very many. `further` are
    the columns that the model takes beside those of all models.
    """
    kind = _kind(content_type)
    if kind == JSON:
        rows, params = _read_json(content, further)
        _check_number(len(rows), max_rows)
        return rows, params
    source = CsvInput(BytesIO(content), _ORIGIN) if kind == CSV else ParquetInput(BytesIO(content), _ORIGIN)
    return _rows(source, max_rows, further), {}


def _check_number(n_rows: int, most: int | None) -> None:
    if most is not None and n_rows > most:
        raise DataError(f"{_ORIGIN} has more than {most:,} rows (max_rows); send fewer at a time")


def _kind(content_type: str) -> str:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in (JSON, CSV, PARQUET):
        raise UnsupportedFormatError(
            f"Content-Type: {shown(kind) or 'none'} is not read; send {JSON}, {CSV} or {PARQUET}"
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedFormatError(f"Content-Type: {shown(parameter)} is not read; send UTF-8")
    return kind


def _rows(source: Input, max_rows: int | None, further: Collection[str]) -> pd.DataFrame:
    """Return all rows of a CSV or Parquet file; broken or too many rows are an error."""
    known = [name for name in source.schema.names if name in (*AUDIO, *TEXT, *further)]
    frames, n_rows = [], 0
    for batch in source.batches():
        n_rows += batch.table.num_rows
        _check_number(n_rows, max_rows)
        if batch.broken:
            first = batch.broken[0]
            raise DataError(f"{_ORIGIN}: row {first.number} has {first.problem}; send a field for every column")
        frames.append(arrow_frame(batch.table.select(known)))
    if not frames:
        raise DataError(f"{_ORIGIN} has columns but no rows; send rows to score")
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _read_json(content: bytes, further: Mapping[str, Kind]) -> tuple[pd.DataFrame, dict[str, Any]]:
    try:
        document = json.loads(content, object_pairs_hook=_object)
    except RecursionError as error:
        raise DataError(f"{_ORIGIN} is JSON that is nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{_ORIGIN} is not JSON in UTF-8 ({shown(error, 300)})") from error
    given = [key for key in document if key in _TABLES] if isinstance(document, dict) else []
    if len(given) != 1:
        raise DataError(f"{_ORIGIN} must be a JSON object with one of {', '.join(_TABLES)}, and perhaps {_PARAMS}")
    name = given[0]
    unknown = [key for key in document if key not in (name, _PARAMS)]
    if unknown:
        hint = did_you_mean(unknown[0][:_LONGEST_NAME], [_PARAMS])
        raise DataError(
            f"{_ORIGIN} has the unknown key '{shown(unknown[0])}'{hint}; beside {name} it may have {_PARAMS}"
        )
    params = {} if document.get(_PARAMS) is None else document[_PARAMS]
    if not isinstance(params, dict):
        raise DataError(f'{_ORIGIN}: {_PARAMS} is not an object; write {{"interval": 0.9}}, for example')
    columns = _columns(name, document[name])
    if not any(len(values) for values in columns.values()):
        raise DataError(f"{_ORIGIN}: {name} has no rows; send rows to score")
    texts = {*TEXT, *(name for name, kind in further.items() if kind is Kind.TEXT)}
    try:
        return pd.DataFrame({name: _typed(name, values, texts) for name, values in columns.items()}), params
    except UnicodeEncodeError as error:
        raise DataError(f"{_ORIGIN}: {name} has a column whose name is no text ({error}); rename it") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{_ORIGIN} has the key '{shown(twice)}' twice in one object; send each once")
    return found


def _columns(name: str, table: Any) -> dict[str, list[Any]]:
    """Return the values of each column of a JSON table."""
    read: Callable[[Any], dict[str, list[Any]]] = _of_records
    form = "a list of objects, one a row"
    if name == "dataframe_split":
        read, form = _of_split, 'a table as {"columns": ["…"], "data": [[…]]} with a value for every column'
    elif name == "inputs" and isinstance(table, dict):
        read, form = _of_columns, "an object of columns of one length"
    try:
        return read(table)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{_ORIGIN}: {name} is not {form}") from error


def _of_split(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    if set(table) - {"columns", "data", "index"}:
        raise KeyError
    names, rows = table["columns"], table["data"]
    if len(set(names)) < len(names) or not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise ValueError
    return {str(name): [row[position] for row in rows] for position, name in enumerate(names)}


def _of_columns(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    if not all(isinstance(values, list) for values in table.values()) or len(set(map(len, table.values()))) > 1:
        raise ValueError
    return dict(table)


def _of_records(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each column of a list of mappings; absent values are None."""
    if isinstance(records, str | bytes) or not all(isinstance(record, Mapping) for record in records):
        raise TypeError
    check_keys(records)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _typed(name: str, values: Sequence[Any], texts: Collection[str]) -> pd.Series:
    """Return a column with unchanged text: beside a missing value, pandas would turn 25 into 25.0."""
    try:
        return pd.Series(values, dtype=object if name in texts else None)
    # Half of a character (a surrogate): the contract's error names its column and row.
    except UnicodeEncodeError:
        return pd.Series(values, dtype=object)
