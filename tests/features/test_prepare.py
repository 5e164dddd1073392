"""The stages of a run through the cache: the same as without it, bit for bit, and nothing of other data or settings."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import RunConfig
from spotify_ml.data import prepare as data_prepare
from spotify_ml.data.cache import StageCache
from spotify_ml.data.etl import CleanTracks
from spotify_ml.data.prepare import prepare_split, prepare_tracks
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.sources import RawFile, RawTracks
from spotify_ml.data.splits import Split
from spotify_ml.features import on_disk, subsets
from spotify_ml.features import prepare as features_prepare
from spotify_ml.features.prepare import prepare_matrices
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.families import xgboost_matrices
from spotify_ml.utils.errors import DataError, OutputError
from tests import support

OFF = StageCache(None)


@dataclass(frozen=True)
class Prepared:
    """What the stages before the fit give."""

    raw: RawFile
    tracks: CleanTracks
    quality: QualityReport
    split: Split
    subsets: Subsets


def configured(*overrides: str) -> RunConfig:
    return support.configured("model.n_estimators=15", "model.n_jobs=1", *overrides)


def prepare(config: RunConfig, cache: StageCache) -> Prepared:
    raw, tracks, quality = prepare_tracks(config, cache)
    split = prepare_split(config, raw, tracks.frame, cache)
    return Prepared(raw, tracks, quality, split, prepare_matrices(config, raw, tracks.frame, split, cache))


def assert_equal(one: Prepared, other: Prepared) -> None:
    assert (one.raw, one.quality, one.tracks.dropped) == (other.raw, other.quality, other.tracks.dropped)
    pd.testing.assert_frame_equal(one.tracks.frame, other.tracks.frame, check_exact=True)
    np.testing.assert_equal(asdict(one.split), asdict(other.split))
    for name in ("train", "validation", "trainval", "test"):
        part, same = getattr(one.subsets, name), getattr(other.subsets, name)
        pd.testing.assert_frame_equal(part.features, same.features, check_exact=True)
        assert part.features.to_numpy().tobytes() == same.features.to_numpy().tobytes()
        np.testing.assert_array_equal(part.target, same.target)
    some = other.tracks.frame.iloc[other.split.test]
    np.testing.assert_array_equal(one.subsets.transformer.transform(some), other.subsets.transformer.transform(some))


def model(config: RunConfig, prepared: Prepared) -> bytes:
    fitted = fit_estimators(config.model, config.task, prepared.subsets, config.seed)
    return fitted.refit.get_booster().save_raw("json")


def never(*arguments: object) -> Any:
    raise AssertionError("made again")


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What lets every stage fail that would be made."""

    def forbid() -> None:
        for module, name in (
            (data_prepare, "parse_tracks"),
            (data_prepare, "split_tracks"),
            (features_prepare, "build_subsets"),
        ):
            monkeypatch.setattr(module, name, never)

    return forbid


@pytest.fixture(scope="module")
def path(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some tracks, a few of them more than once."""
    some = sample.frame.iloc[::8]
    path = tmp_path_factory.mktemp("tracks") / "tracks.parquet"
    pd.concat([some, some.head(9).assign(track_genre="another")]).to_parquet(path, index=False)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache", 10**9)


CASES = {
    "default": [],
    "artist": ["split=artist", "seed=7"],
    "larger test part": ["split.test_size=0.3"],
    "reference": ["experiment=reference"],
    "audio": ["features=audio", "cleaning=rows"],
}


@pytest.mark.parametrize("overrides", CASES.values(), ids=list(CASES))
def test_a_run_is_the_same_with_and_without_the_cache(
    overrides: list[str], path: Path, cache: StageCache, nothing_is_made: Callable[[], None]
):
    config = configured("data=file", f"data.path={path}", *overrides)
    expected = prepare(config, OFF)
    made = prepare(config, cache)
    nothing_is_made()
    kept = prepare(config, cache)
    for prepared in (made, kept):
        assert_equal(prepared, expected)
    assert model(config, kept) == model(config, expected)


@pytest.fixture
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsets, "BATCH_ROWS", 100)
    monkeypatch.setattr(on_disk, "BATCH_ROWS", 100)


@functools.cache
def made_in_memory(*overrides: str) -> tuple[Prepared, bytes]:
    config = configured(*overrides, "matrices=memory")
    prepared = prepare(config, OFF)
    return prepared, model(config, prepared)


@pytest.mark.usefixtures("few_rows_at_a_time")
@pytest.mark.parametrize("overrides", [*CASES.values(), ["task=classification", "task.weights=balanced"]])
@pytest.mark.parametrize("kind", ["disk", "external"])
def test_features_in_files_are_those_in_memory_and_so_are_the_trees(
    kind: str, overrides: list[str], path: Path, cache: StageCache, tmp_path: Path
):
    given = ["data=file", f"data.path={path}", *overrides]
    in_files = configured(*given, f"matrices={kind}", f"cache.folder={tmp_path / 'bins'}")
    expected, trees = made_in_memory(*given)
    for used in (OFF, cache, cache):
        made = prepare(in_files, used)
        assert_equal(made, expected)
        assert made.subsets.trainval.storage.kind == kind
    assert model(in_files, made) == trees
    assert not (tmp_path / "bins").exists() or not list((tmp_path / "bins").iterdir())


def test_a_disk_with_too_little_room_for_bins_is_refused_before_xgboost_fills_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = ["data=file", f"data.path={path}", f"cache.folder={tmp_path / 'bins'}"]
    prepared = prepare(configured(*given, "matrices=external"), OFF)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(xgboost_matrices.shutil, "disk_usage", lambda place: usage._replace(free=10**5))
    config = configured(*given, "matrices=external")
    with pytest.raises(OutputError, match=r"bins has 0\.0 GB left.*rows take up to.*cache\.folder="):
        model(config, prepared)
    assert list((tmp_path / "bins").iterdir()) == []


def test_an_entry_serves_features_in_memory_and_in_files(
    path: Path, cache: StageCache, nothing_is_made: Callable[[], None]
):
    given = ["data=file", f"data.path={path}"]
    for seed, kind in enumerate(("memory", "external")):
        prepare(configured(*given, f"matrices={kind}", f"seed={seed}"), cache)
    nothing_is_made()
    for seed, kind in enumerate(("disk", "memory")):
        prepare(configured(*given, f"matrices={kind}", f"seed={seed}"), cache)


@pytest.mark.parametrize(
    ("overrides", "memory_bytes", "kind"),
    [
        ([], 2**34, "memory"),
        ([], 2**24, "external"),
        (["matrices=memory"], 2**24, "memory"),
        (["matrices=disk"], 2**34, "disk"),
        # What features in files cannot do stays in memory, however small that is.
        (["baselines=full"], 2**24, "memory"),
        (["cv=3"], 2**24, "memory"),
    ],
)
def test_features_are_in_files_where_memory_is_small(
    overrides: list[str], memory_bytes: int, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(features_prepare, "_memory_bytes", lambda: memory_bytes)
    assert features_prepare.storage_of(configured(*overrides), 10_000).kind == kind


def test_the_memory_of_this_machine_is_known():
    assert 2**28 < features_prepare._memory_bytes() < 2**50


def test_members_of_a_stack_see_the_same_folds(path: Path, cache: StageCache):
    config = configured("data=file", f"data.path={path}")
    expected = list(prepare(config, OFF).subsets.builder.train_folds(2))
    prepare(config, cache)
    kept = list(prepare(config, cache).subsets.builder.train_folds(2))
    assert len(kept) == 2
    for pair, same in zip(kept, expected, strict=True):
        for part, other in zip(pair, same, strict=True):
            pd.testing.assert_frame_equal(part.features, other.features, check_exact=True)


def test_runs_that_share_a_cache_do_not_mix(path: Path, cache: StageCache, tmp_path: Path):
    changed = tmp_path / "changed.parquet"
    frame = pd.read_parquet(path)
    frame.loc[0, "energy"] = 1 - frame.loc[0, "energy"]
    frame.to_parquet(changed, index=False)
    configs = [
        configured("data=file", f"data.path={where}", "features=audio", *overrides)
        for where in (path, changed)
        for overrides in CASES.values()
    ]
    for config in configs:
        assert_equal(prepare(config, cache), prepare(config, OFF))


def test_a_copy_of_the_file_is_used_under_its_own_name(
    path: Path, cache: StageCache, tmp_path: Path, nothing_is_made: Callable[[], None]
):
    prepare(configured("data=file", f"data.path={path}"), cache)
    nothing_is_made()
    copy = shutil.copy(path, tmp_path / "copy.parquet")
    prepared = prepare(configured("data=file", f"data.path={copy}"), cache)
    assert (prepared.raw.path, prepared.quality.source) == (tmp_path / "copy.parquet", "copy.parquet")


def test_another_model_uses_the_same_features(path: Path, cache: StageCache, nothing_is_made: Callable[[], None]):
    prepare(configured("data=file", f"data.path={path}"), cache)
    nothing_is_made()
    prepare(configured("data=file", f"data.path={path}", "model.max_depth=3", "task=classification"), cache)


def test_a_broken_file_is_refused_as_without_a_cache(cache: StageCache, tmp_path: Path):
    broken = tmp_path / "broken.csv"
    broken.write_text("track_id,artists\n1,2\n")
    config = configured("data=file", f"data.path={broken}")
    said = []
    for used in (OFF, cache, cache):
        with pytest.raises(DataError) as caught:
            prepare_tracks(config, used)
        said.append(str(caught.value))
    assert len(set(said)) == 1
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
