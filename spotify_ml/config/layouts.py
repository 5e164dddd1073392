"""The schema of ``conf/layout``: how the header of a format is recognised, and what its columns hold."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Self

import yaml
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from spotify_ml.config.section import Day, Section
from spotify_ml.utils.paths import CONF

ValueRule = Literal[
    "percent", "seconds", "minutes", "key_letters", "mode_words", "beats", "list", "python_list", "spotify_uri"
]
# The names of `spotify_ml.data.schema.NAMES`, which is slower to import.
RawColumn = Literal[
    "track_id",
    "artists",
    "album_name",
    "track_name",
    "popularity",
    "duration_ms",
    "explicit",
    "danceability",
    "energy",
    "key",
    "loudness",
    "mode",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
    "time_signature",
    "track_genre",
    # Beside them, of `FURTHER_NAMES`.
    "release_date",
    "label",
]
# Choices that are no format.
_NO_FORMAT = ("auto", "raw", "custom")


class ColumnConfig(Section):
    """The column of a file that a raw column comes from, and what is done to its values."""

    # Several names are those of different versions of a format; a file has one of them.
    source: str | list[str] = Field(alias="from", min_length=1)
    # Of a date, the columns with its month and its day.
    then: list[str] = Field(default_factory=list)
    values: ValueRule | None = None
    separator: str | None = Field(None, min_length=1)
    escape: str | None = Field(None, min_length=1, max_length=1)
    missing: list[str] = Field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names that the column may have."""
        return [self.source] if isinstance(self.source, str) else self.source

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what layouts from before did not know, where it is not there."""
        dumped: dict[str, Any] = serialize(self)
        return {key: value for key, value in dumped.items() if key != "then" or value}


class LayoutConfig(Section):
    """A layout: the file's column for each raw one, and other names by which its header is recognised."""

    name: str = Field(min_length=1)
    columns: dict[RawColumn, str | ColumnConfig] | None = None
    # Raw columns that some files of the format do not have, and those that none has.
    optional: list[RawColumn] = Field(default_factory=list)
    lacks: list[RawColumn] = Field(default_factory=list)
    # Columns by which the header is recognised, and others that it may have; neither is read.
    others: list[str] = Field(default_factory=list)
    extra: list[str] = Field(default_factory=list)
    # The day on which popularity was counted, if it is the same for all files of the format.
    collected: Day | None = None
    # What a file is in if it is not in UTF-8.
    encoding: Literal["latin-1"] | None = None
    # By language, the names of columns that are translated.
    translations: dict[str, dict[RawColumn, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_columns(self) -> Self:
        if self.columns and self.name in ("auto", "raw"):
            raise ValueError(f"layout={self.name} has no columns to set; set layout=custom as well")
        if not self.columns and self.name not in _NO_FORMAT:
            raise ValueError("a layout needs columns")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys without a value: a format's file names only what it needs."""
        dumped: dict[str, Any] = serialize(self)
        return {key: value for key, value in dumped.items() if value or key == "name"}

    def __hash__(self) -> int:
        """Return a hash of the content, since dictionaries have none."""
        return hash(self.model_dump_json())

    def raw_columns(self) -> dict[str, ColumnConfig]:
        """Return where every raw column comes from."""
        return {
            raw: ColumnConfig.model_validate({"from": column}) if isinstance(column, str) else column
            for raw, column in (self.columns or {}).items()
        }

    def variants(self) -> list[Mapping[str, ColumnConfig]]:
        """Return the columns in every language."""
        own = self.raw_columns()
        translated: list[Mapping[str, ColumnConfig]] = [
            own | {raw: own[raw].model_copy(update={"source": name}) for raw, name in names.items()}
            for names in self.translations.values()
        ]
        return [own, *translated]


AUTO = LayoutConfig(name="auto")


@cache
def known_layouts() -> tuple[LayoutConfig, ...]:
    """Return the layout of every format in ``conf/layout``, by name."""
    paths = sorted(path for path in (CONF / "layout").glob("*.yaml") if path.stem not in _NO_FORMAT)
    return tuple(LayoutConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) for path in paths)
