"""Tests of tracks, splits and features on a cluster: they are those of one process, whatever the partitions."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.backends.dask import features as engine_features
from spotify_ml.backends.dask.evaluate import collect_subset
from spotify_ml.backends.dask.features import FittedFeatures, fit_partitions
from spotify_ml.backends.dask.partitions import mapped
from spotify_ml.backends.dask.reading import ROW
from spotify_ml.backends.dask.splits import group_partitions, split_partitions
from spotify_ml.backends.dask.tracks import TrackPartitions, clean_rows, collect_tracks
from spotify_ml.config.run import CleaningConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.etl import clean
from spotify_ml.data.prepare import prepare_tracks
from spotify_ml.data.quality import quality_report
from spotify_ml.data.schema import MEASURED, TARGET
from spotify_ml.data.sources import RawFile, RawTracks
from spotify_ml.data.splits import Split, group_codes, split_tracks
from spotify_ml.features.builder import fit_features
from spotify_ml.utils.errors import DataError
from tests.support import configured


def partitions(client, raw: RawTracks, cleaning: str = "tracks"):
    """Clean raw rows that come in slices of a few hundred."""
    numbered = raw.frame.assign(**{ROW: np.arange(len(raw.frame))})
    slices = [numbered.iloc[start : start + 700] for start in range(0, len(numbered), 700)]
    frames = mapped(pd.DataFrame.copy, slices)
    return clean_rows(client, RawFile(raw.path, raw.sha256), frames, len(numbered), CleaningConfig(name=cleaning))


@pytest.fixture(scope="module")
def raw(sample: RawTracks) -> RawTracks:
    """Rows with copies under the same id, empty names, and a zero below zero."""
    frame = sample.frame.copy()
    frame.loc[10:15, ["artists", "album_name", "track_name"]] = None
    frame.loc[20:25, "artists"] = None
    frame.loc[30:40, "instrumentalness"] = -0.0
    again = frame.iloc[::9].assign(track_genre="another genre", popularity=lambda rows: rows["popularity"] / 2)
    return RawTracks(pd.concat([frame, again], ignore_index=True), sample.path, sample.sha256)


@pytest.fixture(scope="module")
def tracks(client, raw) -> TrackPartitions:
    return partitions(client, raw)[0]


@pytest.fixture(scope="module")
def local(raw) -> pd.DataFrame:
    return clean(raw.frame, "tracks").frame


def test_a_file_without_any_name_is_refused_as_in_one_process(client, raw, tmp_path):
    nameless = raw.frame.head(30).assign(artists=None, album_name="", track_name=None)
    path = tmp_path / "tracks.csv"
    nameless.to_csv(path, index=False)
    config = configured("data=file", f"data.path={path}")
    message = f"{path} has no row with artists, album_name or track_name.*set cleaning=rows"
    with pytest.raises(DataError, match=message):
        prepare_tracks(config, StageCache(tmp_path / "cache", 10**9))
    frame = nameless.assign(album_name=None)
    with pytest.raises(DataError, match=message):
        partitions(client, RawTracks(frame, path, raw.sha256))
    assert partitions(client, RawTracks(frame, path, raw.sha256), "rows")[0].n_tracks == len(frame)


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_clean_tracks_and_their_report_are_those_of_one_process(client, raw, cleaning):
    found, quality = partitions(client, raw, cleaning)
    expected = clean(raw.frame, cleaning)
    collected = collect_tracks(client, found, quality.dropped)
    assert len(found.frames) > 1
    assert_frame_equal(collected.frame, expected.frame)
    report = asdict(quality_report(raw, expected))
    means = {name: bounds.pop("mean") for name, bounds in report["ranges"].items()}
    found_report = asdict(quality)
    assert {name: bounds.pop("mean") for name, bounds in found_report["ranges"].items()} == pytest.approx(means)
    assert found_report == report
    assert [list(found_report[name]) for name in ("nulls", "zeros")] == [
        list(report[name]) for name in ("nulls", "zeros")
    ]


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_tracks_with_gaps_are_those_of_one_process(client, raw, cleaning):
    gaps = raw.frame.assign(
        key=np.nan,
        loudness=np.nan,
        track_genre=raw.frame["track_genre"].where(raw.frame.index % 5 > 0),
        explicit=raw.frame["explicit"].astype(float).where(raw.frame.index > 3000),
        track_id=raw.frame["track_id"].where(raw.frame.index % 50 > 0),
    )
    gaps.loc[100:110, list(MEASURED)] = np.nan
    given = RawTracks(gaps, raw.path, raw.sha256)
    found, quality = partitions(client, given, cleaning)
    expected = clean(gaps, cleaning)
    collected = collect_tracks(client, found, quality.dropped)
    assert_frame_equal(collected.frame, expected.frame)
    assert collected.dropped["no audio feature"] == 11
    report, told = quality_report(given, expected), asdict(quality)
    assert {name: bounds["mean"] for name, bounds in told["ranges"].items()} == pytest.approx(
        {name: bounds["mean"] for name, bounds in report.ranges.items()}
    )
    assert (told["nulls"], told["dropped"], told["zeros"]) == (report.nulls, report.dropped, report.zeros)
    config = configured("split=recording").split
    np.testing.assert_array_equal(
        group_partitions(client, found, config), group_codes(expected.frame, "recording", config.names)
    )


@pytest.mark.parametrize("split", ["recording", "album", "artist", "random"])
def test_groups_and_parts_are_those_of_one_process(client, tracks, local, split):
    for names in ("normal", "exact"):
        config = configured(f"split={split}", f"split.names={names}").split
        expected = group_codes(local, split, names)
        np.testing.assert_array_equal(group_partitions(client, tracks, config), expected)
    found, expected = split_partitions(client, tracks, config, 7), split_tracks(local, config, 7)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


# --- features --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def split(local) -> Split:
    return split_tracks(local, configured().split, 42)


def fitted(client, name: str, tracks: TrackPartitions, local: pd.DataFrame, split: Split) -> FittedFeatures:
    target = local[TARGET].to_numpy(dtype=np.float64)
    return fit_partitions(client, name, tracks, target, split.groups, split.train, split.validation, 42, None)


@pytest.mark.parametrize("name", ["full", "audio", "reference"])
def test_features_are_those_of_one_process(client, tracks, local, split, name):
    found = fitted(client, name, tracks, local, split)
    seen, unseen, transformer = fit_features(name, local, split.groups, split.train, split.validation, 42)
    for parts, expected in ((found.seen, seen), (found.unseen, unseen)):
        part = collect_subset(client, parts)
        assert_frame_equal(part.features, expected.features, rtol=1e-6)
        np.testing.assert_array_equal(part.target, expected.target)
    # The model that leaves is given raw tracks.
    test = local.iloc[split.test]
    np.testing.assert_allclose(found.transformer.transform(test), transformer.transform(test), rtol=1e-6)


def test_statistics_that_leave_are_the_sums_of_all_partitions(client, tracks, local, split):
    found = fitted(client, "full", tracks, local, split).transformer.named_transformers_["catalogue"]
    _, _, transformer = fit_features("full", local, split.groups, split.train, split.validation, 42)
    for name, level in transformer.named_transformers_["catalogue"].levels_.items():
        np.testing.assert_array_equal(found.levels_[name].keys_, level.keys_)
        np.testing.assert_allclose(found.levels_[name].totals_, level.totals_, rtol=1e-12)
        assert found.levels_[name].prior_ == level.prior_


# --- leakage ---------------------------------------------------------------------------------------------------------


def changed(tracks: TrackPartitions, local: pd.DataFrame, rows: np.ndarray) -> tuple[TrackPartitions, pd.DataFrame]:
    """Give rows a popularity that no other has."""
    table = local.copy()
    table.loc[rows, TARGET] = 1000.0
    return replace(tracks, frames=mapped(pd.DataFrame.copy, [table.loc[own] for own in tracks.positions])), table


def assert_blind(client, tracks: TrackPartitions, local: pd.DataFrame, split: Split) -> None:
    """Rows that are not seen change nothing that is fitted; rows that are, nothing that their own group is told."""
    before = fitted(client, "full", tracks, local, split)
    told = collect_subset(client, before.seen).features
    unseen = np.concatenate([split.validation, split.test])
    after = fitted(client, "full", *changed(tracks, local, unseen), split)
    assert_frame_equal(collect_subset(client, after.seen).features, told)
    assert_frame_equal(collect_subset(client, after.unseen).features, collect_subset(client, before.unseen).features)
    (own,) = np.nonzero(split.groups == split.groups[split.train[100]])
    again = fitted(client, "full", *changed(tracks, local, own), split)
    assert_frame_equal(collect_subset(client, again.seen).features.loc[own], told.loc[own])


def test_nothing_fitted_sees_validation_or_test_rows_and_no_row_its_own_group(client, tracks, local, split):
    assert_blind(client, tracks, local, split)


def told_all(encoder, tracks, folds, fold_priors, totals):
    return encoder.transform(tracks)


def seen_by_mistake(tracks, folds):
    return _level_cells(tracks, np.maximum(folds, 0))


_level_cells = engine_features.sum_levels.__globals__["level_cells"]


@pytest.mark.parametrize("leak", ["own statistics", "unseen rows"])
def test_planted_leak_is_caught(client, tracks, local, split, monkeypatch, leak):
    if leak == "own statistics":
        monkeypatch.setattr(engine_features, "own_statistics", told_all)
    else:
        monkeypatch.setitem(engine_features.sum_levels.__globals__, "level_cells", seen_by_mistake)
    with pytest.raises(AssertionError, match="are different"):
        assert_blind(client, tracks, local, split)
