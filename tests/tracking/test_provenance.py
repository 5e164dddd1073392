"""Tests of what callers notice when a version takes the place of another."""

import re

import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from spotify_ml.tracking.provenance import rows_digest, schema_changes

TEMPO, GENRE = ColSpec(DataType.double, "tempo"), ColSpec(DataType.string, "track_genre", required=False)
NEEDED_GENRE = ColSpec(DataType.string, "track_genre")
OUTPUT, INTERVAL = ColSpec(DataType.double), ParamSpec("interval", DataType.double, 0.9)


def signature(
    *inputs: ColSpec, outputs: tuple[ColSpec, ...] = (OUTPUT,), params: tuple[ParamSpec, ...] = ()
) -> ModelSignature:
    return ModelSignature(Schema(list(inputs)), Schema(list(outputs)), ParamSchema(list(params)) if params else None)


BEFORE = signature(TEMPO, GENRE)


@pytest.mark.parametrize(
    ("after", "before"),
    [
        (signature(TEMPO, GENRE), BEFORE),
        (signature(GENRE, TEMPO), BEFORE),
        (signature(TEMPO, GENRE, params=(INTERVAL,)), BEFORE),
        (BEFORE, signature(TEMPO)),
        (BEFORE, signature(TEMPO, NEEDED_GENRE)),
    ],
    ids=[
        "the same",
        "another order",
        "a new parameter, which has a default",
        "a new column, which may be absent",
        "a column that is not needed any more",
    ],
)
def test_what_nobody_notices_is_no_change(after: ModelSignature, before: ModelSignature):
    assert schema_changes(after, before) == []


@pytest.mark.parametrize(
    ("after", "before", "said"),
    [
        (signature(TEMPO), BEFORE, "inputs lack track_genre"),
        (signature(TEMPO, NEEDED_GENRE), signature(TEMPO), "inputs have track_genre, which is new"),
        (signature(ColSpec(DataType.long, "tempo"), GENRE), BEFORE, "tempo is .*long, required, not"),
        (signature(TEMPO, ColSpec(DataType.string, "track_genre")), BEFORE, "track_genre is .* required, not"),
        (signature(TEMPO, GENRE, outputs=(ColSpec(DataType.double, "Low"),)), BEFORE, "outputs lack None"),
        (BEFORE, signature(TEMPO, GENRE, params=(INTERVAL,)), "the parameter interval is gone or changed"),
    ],
)
def test_every_other_change_is_named(after: ModelSignature, before: ModelSignature, said: str):
    changes = "; ".join(schema_changes(after, before))
    assert re.search(said, changes), changes


def test_a_digest_knows_the_file_the_cleaning_and_the_rows():
    rows = np.array([1, 2, 5])
    digests = {
        rows_digest("a", "tracks", rows),
        rows_digest("b", "tracks", rows),
        rows_digest("a", "rows", rows),
        rows_digest("a", "tracks", rows[:2]),
    }
    assert len(digests) == 4
    assert rows_digest("a", "tracks", rows.astype(np.int32)) in digests
