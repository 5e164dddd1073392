"""Which layout a file has, by its header, and its rows as raw rows."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.config.layouts import ColumnConfig, LayoutConfig, known_layouts
from spotify_ml.data.contract import check_columns
from spotify_ml.data.header import is_written_otherwise, repeated_names
from spotify_ml.data.layout_checks import check_looks
from spotify_ml.data.layout_values import WrongValueError, converted, kind_of
from spotify_ml.data.schema import (
    AUDIO,
    COLUMNS,
    FURTHER,
    FURTHER_NAMES,
    NAMES,
    NEEDED,
    OPTIONAL,
    REQUIRED_AUDIO,
    TARGET,
    Gaps,
    Kind,
    check_names,
    shown_names,
)
from spotify_ml.utils.errors import DataError, did_you_mean

KINDS = {column.name: column.kind for column in (*COLUMNS, *FURTHER)}
# Integers may be written as floats, but not as hexadecimal numbers.
_READ_AS_KIND = {kind: pa.float64() if kind is Kind.INTEGER else kind.value for kind in Kind}
_READ_AS = {name: _READ_AS_KIND[kind] for name, kind in KINDS.items()}
# A layout that lacks so few columns may be meant.
_NEAR = 2
_HALF = 0.5


@dataclass(frozen=True)
class Layout:
    """The layout of one file: for every raw column that it has, the name in the file, and what its values are.

    `unknown` are names in the file that the format does not have.
    """

    name: str
    columns: Mapping[str, tuple[str, ColumnConfig]] = field(default_factory=dict)
    encoding: str | None = None
    unknown: tuple[str, ...] = ()
    # Of raw columns, those of `FURTHER_NAMES` that the file has.
    further: tuple[str, ...] = ()
    collected: str | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the file has raw columns by their own names."""
        return not self.columns

    @property
    def absent(self) -> tuple[str, ...]:
        """The raw columns that the file does not have."""
        return () if self.is_raw else tuple(name for name in NAMES if name not in self.columns)

    def gaps(self, empty: Sequence[str] = ()) -> Gaps:
        """Return what may be empty in a file whose columns `empty` are so as a whole."""
        return Gaps(tuple(empty)) if self.is_raw else Gaps((*OPTIONAL, *self.absent), rows=True)

    def __str__(self) -> str:
        """Return the layout in a line."""
        parts = [f"layout={self.name}"]
        parts += [f"no {', '.join(self.absent)}"] if self.absent else []
        parts += [f"not used: {shown_names(self.unknown)}"] if self.unknown else []
        return "; ".join(parts)

    def decided_by(self) -> dict[str, object]:
        """Return what decides the raw rows of a file beside its bytes; nothing for raw columns."""
        columns = {raw: [name, rule.model_dump(by_alias=True)] for raw, (name, rule) in self.columns.items()}
        own: dict[str, object] = {}
        if self.further:
            own["further"] = list(self.further)
        if self.collected:
            own["collected"] = self.collected
        return own if self.is_raw else own | {"layout": {"columns": columns, "encoding": self.encoding}}

    def without_further(self) -> "Layout":
        """Return the same layout without the columns that not all tracks have, such as the release date."""
        columns = {raw: column for raw, column in self.columns.items() if raw not in FURTHER_NAMES}
        return replace(self, columns=columns, further=())

    def kinds(self) -> dict[str, Kind]:
        """Return the kinds of the file's columns that are read as they are, or as numbers; others are text."""
        if self.is_raw:
            return KINDS
        return {name: kind for raw, (name, rule) in self.columns.items() if (kind := kind_of(rule, KINDS[raw]))}

    def types(self) -> dict[str, pa.DataType]:
        """Return the types that columns of a CSV are read as; all others are text."""
        if self.is_raw:
            return _READ_AS
        kinds = self.kinds()
        return {name: _READ_AS_KIND[kinds.get(name, Kind.TEXT)] for name in self.own_names()}

    def own_name(self, raw: str) -> str:
        """Return the file's name of a raw column."""
        return self.columns[raw][0] if raw in self.columns else raw

    def own_names(self) -> list[str]:
        """Return the names of the columns that are read."""
        if self.is_raw:
            return [*NAMES, *self.further]
        return [each for name, rule in self.columns.values() for each in (name, *rule.then)]

    def raw_rows(self, table: pa.Table, origin: str, first_row: int = 1, *, every: bool = True) -> pa.Table:
        """Return rows of the file with raw columns, empty where the file does not have them.

        With `every`, these are all raw columns; without it, absent text is left out. Raises `DataError` if values are
        those of another layout.
        """
        check_looks(self, table, origin, first_row)
        if self.is_raw:
            return table
        columns: dict[str, pa.ChunkedArray | pa.Array] = {}
        for raw in (*NAMES, *FURTHER_NAMES):
            if raw not in self.columns:
                if raw in NAMES and (every or raw in AUDIO):
                    columns[raw] = pa.nulls(table.num_rows, KINDS[raw].value)
                continue
            name, rule = self.columns[raw]
            try:
                columns[raw] = converted(_with_parts(table, name, rule), rule)
            except WrongValueError as error:
                raise DataError(
                    f"{origin}: {name!r} holds {error.text!r} (row {first_row + error.row:,}), where "
                    f"layout={self.name} has {_HOLDS[rule.values or '']}; mend it, or set another layout=…"
                ) from error
        return pa.table(columns)


def _with_parts(table: pa.Table, name: str, rule: ColumnConfig) -> pa.ChunkedArray:
    """Return a column of a file, or a date whose month and day are in columns of their own."""
    if not rule.then:
        return table.column(name)
    parts = [table.column(each).cast(pa.string()) for each in (name, *rule.then)]
    return pc.binary_join_element_wise(*parts, "-", null_handling="skip")


_HOLDS = {"python_list": "lists such as ['A', 'B']"}
RAW = Layout("raw")


def find_layout(
    names: Sequence[str], origin: str, config: LayoutConfig | Layout, *, for_training: bool = False
) -> Layout:
    """Return the layout of a file by its header, or as configured.

    Parameters
    ----------
    names : sequence of str
        The header.
    origin : str
        The name of the file in messages.
    config : LayoutConfig or Layout
        ``auto`` finds it among all known ones; ``custom`` has raw columns under their own names where it names none. A
        layout that was found before is returned.
    for_training : bool
        Whether the tracks are to be trained on or looked at; raw columns other than audio features may then be absent.

    Raises
    ------
    DataError
        If no layout or more than one fits, or a needed column is absent or there twice; it shows the nearest layout.
    """
    if isinstance(config, Layout):
        return config
    if config.name == "raw":
        return _raw(names, origin, for_training=for_training)
    if config.name == "auto":
        found = _recognised(names, origin, for_training=for_training)
    else:
        found = _as_named(config, names, origin)
    return found


def check_target(layout: Layout, origin: str) -> None:
    """Check that a file has popularity, which training needs."""
    if TARGET in layout.absent:
        raise DataError(
            f"{origin} (layout={layout.name}) has no popularity, which training needs; it can be scored by predict"
        )


def _raw(names: Sequence[str], origin: str, *, for_training: bool) -> Layout:
    """Return the layout of raw columns, of which training may do without some."""
    absent = [name for name in NAMES if name not in names]
    spare = [name for name in names if name not in NAMES]
    repeated = any(name in NAMES for name in repeated_names(names))
    # A column of a similar name is rather meant than absent.
    is_optional = not any(name not in OPTIONAL or is_written_otherwise(name, spare) for name in absent)
    if for_training and absent and is_optional and not repeated:
        own = _by_own_names([*(name for name in NAMES if name not in absent), *_further(names)])
        return replace(_found(LayoutConfig(name="raw"), own, names, origin), unknown=())
    (check_names if for_training else check_scoring_names)(names, origin)
    return replace(RAW, further=_further(names))


def _further(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in FURTHER_NAMES if names.count(name) == 1)


def _by_own_names(names: Iterable[str]) -> dict[str, ColumnConfig]:
    return {name: ColumnConfig.model_validate({"from": name}) for name in names}


def check_scoring_names(names: Sequence[str], origin: str) -> None:
    """Check that a file has the columns that a model needs, and no raw column twice."""
    repeated = [name for name in repeated_names(names) if name in KINDS]
    if repeated:
        raise DataError(f"{origin} has columns of one name: {', '.join(map(repr, repeated))}; rename or remove them")
    check_columns(names, f"rows of {origin}")


def _normal(name: str) -> str:
    """Return a name in the form in which headers are compared."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True)
class _Variant:
    """A layout in one language, by normal names: what a header must have, what it may have, and its raw columns."""

    layout: LayoutConfig
    columns: Mapping[str, ColumnConfig]
    needed: tuple[tuple[str, ...], ...]
    known: frozenset[str]

    def missing(self, header: Mapping[str, object]) -> list[str]:
        """Return the needed columns that a header does not have, by their first name."""
        return [names[0] for names in self.needed if not any(_normal(name) in header for name in names)]


@cache
def _variants() -> tuple[_Variant, ...]:
    return tuple(_variant(layout, columns) for layout in known_layouts() for columns in layout.variants())


def _variant(layout: LayoutConfig, columns: Mapping[str, ColumnConfig]) -> _Variant:
    needed = [tuple(column.names) for raw, column in columns.items() if raw not in layout.optional]
    needed += [(name,) for column in columns.values() for name in column.then]
    needed += [(name,) for name in layout.others]
    known = [name for column in columns.values() for name in (*column.names, *column.then)]
    known += layout.others + layout.extra
    return _Variant(layout, columns, tuple(needed), frozenset(map(_normal, known)))


@dataclass(frozen=True)
class _Match:
    """How a header fits a variant: the columns that it lacks, and those that are left over."""

    variant: _Variant
    missing: list[str]
    left: frozenset[str]

    @property
    def name(self) -> str:
        return self.variant.layout.name

    @property
    def share(self) -> float:
        return 1 - len(self.missing) / len(self.variant.needed)

    def contests(self, other: "_Match") -> bool:
        """Return whether what another match leaves over makes this layout likely too."""
        shared = other.left & self.variant.known
        return self.name != other.name and bool(shared) and len(self.missing) <= max(_NEAR, len(shared))


def _recognised(names: Sequence[str], origin: str, *, for_training: bool) -> Layout:
    there = set(names)
    # Files with all raw columns are what they always were, whatever else they have.
    if there.issuperset(NAMES):
        return _raw(names, origin, for_training=for_training)
    header = _by_normal_name(names)
    own = _raw_variant(for_training=for_training)
    raw = _Match(
        own, [name for (name,) in own.needed if name not in there], frozenset(map(_normal, there - set(NAMES)))
    )
    matches = [_Match(each, each.missing(header), frozenset(header) - each.known) for each in _variants()]
    fitting = [each for each in (raw, *matches) if not each.missing]
    sure = [each for each in fitting if not any(other.contests(each) for other in matches)]
    if len({each.name for each in sure}) == 1:
        best = min(sure, key=lambda each: len(each.left))
        if best is raw:
            return _raw(names, origin, for_training=for_training)
        return _found(best.variant.layout, best.variant.columns, names, origin)
    nearest = max(matches, key=lambda each: (each.share, -len(each.left)))
    # Raw columns have their names exactly; whether they are meant does not depend on case and blanks.
    wanted = NAMES if for_training else AUDIO
    likeness = sum(name in header for name in wanted) / len(wanted)
    if likeness >= nearest.share or nearest.share < _HALF:
        # Rows to be scored may lack some audio columns, but not where what is left over is of another layout.
        others = frozenset[str]().union(*(each.variant.known for each in matches)) - {""}
        spare = [name for name in names if name not in NAMES]
        is_renamed = any(is_written_otherwise(name, spare) for name in AUDIO if name not in there)
        is_clear = for_training or is_renamed or not there.issuperset(REQUIRED_AUDIO) or not raw.left & others
        if not fitting and is_clear:
            return _raw(names, origin, for_training=for_training)
        if for_training:
            check_names(names, origin)
    raise _unclear(nearest, names, origin, [each.name for each in fitting if each.name != nearest.name])


@cache
def _raw_variant(*, for_training: bool) -> _Variant:
    needed = (*NEEDED, TARGET) if for_training else AUDIO
    return _Variant(LayoutConfig(name="raw"), {}, tuple((name,) for name in needed), frozenset(NAMES))


def _unclear(nearest: _Match, names: Sequence[str], origin: str, others: Sequence[str]) -> DataError:
    left = [name for name in names if _normal(name) in nearest.left]
    lines = [f"missing: {', '.join(map(repr, nearest.missing))}"] if nearest.missing else []
    lines += [f"left over: {shown_names(left)}"] if left else []
    also = f"; {', '.join(dict.fromkeys(others))} would fit as well" if others else ""
    listing = "".join(f"\n  {line}" for line in lines)
    return DataError(
        f"{origin} has the header of no known layout; the nearest is {nearest.name}{also}{listing}\n"
        f"Set layout={nearest.name} to read it as that, name its columns with layout=custom "
        "'+layout.columns={artists: …}', or rename them"
    )


def _as_named(config: LayoutConfig, names: Sequence[str], origin: str) -> Layout:
    """Return the configured layout, in the language in which the header has most of its columns."""
    if config.name == "custom":
        own = _by_own_names(name for name in (*NAMES, *FURTHER_NAMES) if name in names)
        return _found(config, own | dict(config.variants()[0]), names, origin)
    header = _by_normal_name(names)
    columns = max(
        config.variants(),
        key=lambda each: sum(any(_normal(name) in header for name in column.names) for column in each.values()),
    )
    return _found(config, columns, names, origin)


def _by_normal_name(names: Sequence[str]) -> dict[str, list[str]]:
    header: dict[str, list[str]] = defaultdict(list)
    for name in names:
        header[_normal(name)].append(name)
    return header


def _found(config: LayoutConfig, columns: Mapping[str, ColumnConfig], names: Sequence[str], origin: str) -> Layout:
    """Return a layout with the names of a header; a `DataError` names what is absent or there twice."""
    header = _by_normal_name(names)
    found: dict[str, tuple[str, ColumnConfig]] = {}
    further = () if config.name == "custom" else FURTHER_NAMES
    absent = []
    for raw, column in columns.items():
        there = [name for wanted in dict.fromkeys(map(_normal, column.names)) for name in header.get(wanted, ())]
        # Of names that differ in case alone, the exact one counts.
        exact = [name for name in there if name in column.names]
        if len(there) > 1 and len(exact) != 1:
            listing = ", ".join(map(repr, there))
            raise DataError(
                f"{origin} (layout={config.name}) has {raw} more than once: {listing}; rename or remove one"
            )
        parts = [header.get(_normal(name), [""])[0] for name in column.then]
        if there and all(parts):
            found[raw] = (exact or there)[0], column.model_copy(update={"then": parts})
        elif there:
            absent += [(raw, name) for name, part in zip(column.then, parts, strict=True) if not part]
        elif raw not in (*config.optional, *further):
            absent.append((raw, column.names[0]))
    if config.name == "custom":
        absent += [(name, name) for name in NEEDED if name not in (*found, *config.lacks, *dict(absent))]
    if absent:
        listing = ", ".join(f"{name!r} ({raw})" if raw != name else repr(name) for raw, name in absent)
        hint = did_you_mean(absent[0][1], list(names))
        raise DataError(
            f"{origin} does not have the columns of layout={config.name}:\n  missing: {listing}{hint}\n"
            f"Its header is: {shown_names(names)}; rename columns, or set another layout=…"
        )
    _check_own(found, config, origin)
    known = {_normal(name) for column in columns.values() for name in (*column.names, *column.then)}
    known |= set(map(_normal, (*config.others, *config.extra)))
    unknown = () if config.name == "custom" else tuple(name for name in names if _normal(name) not in known)
    return Layout(config.name, found, config.encoding, unknown, collected=config.collected)


def _check_own(found: Mapping[str, tuple[str, ColumnConfig]], config: LayoutConfig, origin: str) -> None:
    """Check that no column of the file stands for two raw ones."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for raw, (name, _) in found.items():
        by_name[name].append(raw)
    for name, raws in by_name.items():
        if len(raws) > 1:
            raise DataError(f"{origin} (layout={config.name}): {name!r} stands for {' and '.join(raws)}; name another")
