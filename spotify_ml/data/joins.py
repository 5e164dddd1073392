"""Tracks joined with other tables, many rows to one, and what these tables add."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.join_tables import JoinTable, adds_nothing, join_keys, read_join_files, read_table
from spotify_ml.data.joined_columns import MATCHED, Joined, columns_by_flag
from spotify_ml.data.schema import FURTHER_NAMES, LIST_SEPARATOR, TARGET, Kind
from spotify_ml.data.texts import read_texts
from spotify_ml.utils.errors import DataError


def join_tracks(raw: pd.DataFrame, tables: Sequence[JoinTable]) -> list[Joined]:
    """Add the columns of tables to raw rows, in place, and return what each has added, for all of them.

    A column that no row has a value of is left out.

    Raises
    ------
    DataError
        If rows have no key, none is in a table, or two tables have columns that cannot be told apart.
    """
    added = [_join(raw, table) for table in tables]
    given = columns_by_flag(map(str, raw))
    for each in added:
        strangers = sorted(set(each.columns) - set(given[MATCHED + each.name]))
        if strangers:
            raise DataError(
                f"data.join: the column {strangers[0]} of the table {each.name!r} could be one of another table; "
                "rename a file, as columns begin with its name"
            )
    return added


def joined_tables(raw: pd.DataFrame, paths: Sequence[str] | None) -> tuple[Joined, ...]:
    """Return what the tables in files would add to raw rows, which stay as they are; errors as of `join_tracks`."""
    copy = raw.copy(deep=False)
    return as_found(join_tracks(copy, [read_table(each) for each in read_join_files(paths)]), copy)


def _join(raw: pd.DataFrame, table: JoinTable) -> Joined:
    name, path = table.file.name, table.file.path
    if raw[table.key].isna().all():
        raise DataError(f"{path} is joined by {table.key}, which the tracks do not have; leave out data.join=…")
    flag = MATCHED + name
    taken = [each for each in (*table.columns, flag) if each in raw and each not in FURTHER_NAMES]
    if taken:
        raise DataError(f"{path}: {', '.join(taken)} is a column of another joined table; rename a file or the column")
    rows = matching_rows(raw, table)
    if (rows < 0).all():
        raise DataError(
            f"{path}: none of its {len(table.keys):,} values of {table.key} is that of a track, such as "
            f"{str(table.keys[0])[:60]!r} beside {str(raw[table.key].dropna().iloc[0])[:60]!r}; join another table"
        )
    left_out, columns, filled = dict(table.left_out), [], []
    for column, values in table.columns.items():
        own = take(values, rows)
        if pd.isna(own).all():
            left_out[column.removeprefix(f"{name}_")] = "has no value for a track"
        elif column in FURTHER_NAMES:
            raw[column] = filled_up(raw[column], own) if column in raw else own
            filled.append(column)
        else:
            raw[column] = own
            columns.append(column)
    if not columns and not filled:
        raise adds_nothing(table.file, table.key, left_out)
    raw[flag] = (rows >= 0).astype(np.float64)
    return Joined(name, table.key, table.file.sha256, len(table.keys), columns, filled, left_out)


def read_for(paths: Sequence[str] | None, taken: Mapping[str, Kind], model: str) -> list[JoinTable]:
    """Read the tables in files whose columns a model takes; a `DataError` names one of which it can take none."""
    tables = [read_table(each) for each in read_join_files(paths)]
    for table in tables:
        known = ", ".join(taken) or "none"
        if not {*table.columns, MATCHED + table.file.name} & set(taken):
            raise DataError(
                f"{table.file.path}: {model} takes no column of a table {table.file.name!r}; beside those of tracks "
                f"it takes {known}; name the file as in training"
            )
        for name, values in table.columns.items():
            if taken.get(name, Kind.TEXT) is not Kind.TEXT and not isinstance(values, np.ndarray):
                raise DataError(f"{table.file.path}: {name} is text, where {model} takes numbers; mend the column")
    return tables


def add_columns(rows: pd.DataFrame, tables: Sequence[JoinTable], taken: Collection[str]) -> pd.DataFrame:
    """Return rows to be scored with the columns of tables that a model takes; what rows have themselves counts first.

    A `DataError` names a table by whose key they cannot be joined.
    """
    added: dict[str, Any] = {}
    for table in tables:
        if table.key not in rows:
            raise DataError(f"{table.file.path} is joined by {table.key}, which the rows to score do not have")
        positions = matching_rows(rows, table)
        columns = {name: take(values, positions) for name, values in table.columns.items()}
        columns[MATCHED + table.file.name] = (positions >= 0).astype(np.float64)
        own = {**{name: rows[name] for name in columns if name in rows}, **added}
        added |= {
            name: filled_up(pd.Series(own[name]), values) if name in own else values
            for name, values in columns.items()
            if name in taken
        }
    return rows.assign(**added) if added else rows


def matching_rows(raw: pd.DataFrame, table: JoinTable) -> np.ndarray:
    """Return the position in a table of each row's key, -1 where it is not there, shape (n_rows,)."""
    given = raw[table.key]
    if given.dtype == object:
        given = pd.Series(read_texts(given.tolist(), LIST_SEPARATOR)[0], dtype=object)
    keys = join_keys(given, table.key)
    found: np.ndarray = table.keys.get_indexer(pd.Index(keys, dtype=object))
    return np.where(pd.isna(keys), -1, found)


def take(values: Any, rows: np.ndarray) -> Any:
    """Return the values at positions, missing where one is -1."""
    if isinstance(values, np.ndarray):
        return np.append(values, np.nan)[rows]
    return values.take(rows, allow_fill=True)


def filled_up(column: pd.Series, values: Any) -> pd.Series:
    """Return a column with other values where it has none."""
    return column.where(column.notna(), pd.Series(values, index=column.index))


def as_found(added: Sequence[Joined], tracks: pd.DataFrame) -> tuple[Joined, ...]:
    """Return what tables have added to clean tracks, with how many of these are in each."""
    return tuple(_counted(each, tracks) for each in added)


def _counted(joined: Joined, tracks: pd.DataFrame) -> Joined:
    matched = tracks[MATCHED + joined.name].to_numpy() > 0
    popularity = tracks[TARGET].to_numpy(dtype=np.float64)
    means = [_mean(popularity[matched]), _mean(popularity[~matched])]
    return replace(
        joined, n_matched=int(matched.sum()), n_tracks=len(tracks), popularity=means[0], others_popularity=means[1]
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if np.isfinite(values).any() else None
