"""Tests of which tracks are new to versions of splits that do not go together."""

import pytest

from spotify_ml.config.check import validate_as
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.tracking.judging import NoFairTracksError, _kept_apart
from tests.support import composed


def config(*overrides: str) -> PromoteConfig:
    return validate_as(composed("promote", *overrides), PromoteConfig)


@pytest.mark.parametrize("split", ["release", "source"])
def test_versions_of_other_splits_are_compared_by_force_alone(split: str):
    splits = ["recording", split]
    with pytest.raises(NoFairTracksError, match="is not compared with split=recording; force=true compares"):
        _kept_apart(config(), splits)
    kept_apart, why = _kept_apart(config("force=true"), splits)
    assert kept_apart == "recording"
    assert "is not compared" in why[0]


@pytest.mark.parametrize("split", ["release", "source", "artist"])
def test_versions_of_one_split_are_compared_by_it(split: str):
    assert _kept_apart(config(), [split, split]) == (split, [])
