"""Tests of ``scripts/benchmark.py``: the catalogues it measures on, what it makes of the figures, and the whole."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import DataConfig
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.data.sources import RawTracks, read_tracks
from spotify_ml.data.splits import group_codes
from spotify_ml.utils.paths import PACKAGE, PROJECT

SAMPLE = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"
sys.path.insert(0, str(PROJECT / "scripts"))
benchmark: Any = import_module("benchmark")
parts: Any = import_module("benchmark_parts")
report: Any = import_module("benchmark_report")


# --- catalogues


def catalogue(tmp_path: Path, n_rows: int) -> pd.DataFrame:
    target = tmp_path / f"{n_rows}.csv"
    parts.write_catalogue(SAMPLE, target, n_rows)
    # It keeps to the schema, or this would raise.
    return read_tracks(DataConfig(name="file", path=str(target))).frame


def test_a_catalogue_no_larger_than_the_file_is_the_file(tmp_path: Path, sample: RawTracks):
    pd.testing.assert_frame_equal(catalogue(tmp_path, 500), sample.frame.head(500))


def test_cardinalities_grow_with_the_rows(tmp_path: Path, sample: RawTracks):
    tracks = catalogue(tmp_path, 3 * len(sample.frame))

    def sizes(frame: pd.DataFrame) -> np.ndarray:
        first_artists = frame["artists"].str.partition(LIST_SEPARATOR)[0]
        columns = [frame["track_id"], frame["artists"], first_artists, frame["album_name"]]
        groups = [pd.Series(group_codes(frame, split)) for split in ("recording", "album", "artist")]
        return np.array([column.nunique() for column in (*columns, *groups)])

    np.testing.assert_array_equal(sizes(tracks), 3 * sizes(sample.frame))
    assert tracks["track_genre"].nunique() == sample.frame["track_genre"].nunique()


def test_audio_is_jittered_and_popularity_is_not(tmp_path: Path, sample: RawTracks):
    copy = catalogue(tmp_path, 2 * len(sample.frame)).tail(len(sample.frame)).reset_index(drop=True)
    assert (copy["energy"] != sample.frame["energy"]).mean() > 0.95
    assert np.corrcoef(copy["energy"], sample.frame["energy"])[0, 1] > 0.99
    pd.testing.assert_series_equal(copy["popularity"], sample.frame["popularity"])
    assert copy["track_name"].equals(sample.frame["track_name"])


# --- the report


def processes(seconds: dict[str, float], factors: tuple[float, ...] = (1.0, 2.0, 0.5)) -> list[Any]:
    return [report.Measured({name: factor * value for name, value in seconds.items()}, 100.0) for factor in factors]


@pytest.fixture
def results() -> Any:
    """Three rounds of two sizes, where all that takes time takes ten times as long for ten times the rows."""
    made = report.Results("python scripts/benchmark.py", [1000, 10_000], 100)
    stages = ("start", "etl", "split", "features", "fit", "evaluate", "intervals", "explain")
    stages += ("outputs", "record", "register", "outside")
    fits = ("read", "quantise for the first fit", "first fit", "quantise for the fit", "fit", "predict")
    for n_rows, seconds in ((1000, 1.0), (10_000, 10.0)):
        for name, own in {
            "stages": (*stages, "total"),
            "cached": (*stages, "total"),
            "reference-stages": (*stages, "total"),
            "bare": (*fits, "outside", "total"),
            "reference-etl": ("read", "clean", "write", "total"),
            "reference-features": ("read", "features", "write", "total"),
        }.items():
            for measured in processes(dict.fromkeys(own, seconds / (20 if name == "cached" else 1))):
                made.add(name, n_rows, measured)
    for name, total in {"reference": 12.0, "default": 9.0}.items():
        for measured in processes({"total": total}):
            made.add(name, 1000, measured)
        for measured in processes(dict.fromkeys((*fits, "outside"), 1.0)):
            made.add(f"{name}-bare", 1000, measured)
    return made


def cells(markdown: str, beginning: str) -> list[str]:
    """Return the cells of the first line of a table that begins so."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {beginning}"))
    return line.strip("| ").split(" | ")


def test_commands_are_set_beside_imports_and_fits(results: Any):
    row = cells(report.markdown(results), "`train experiment=reference`")
    assert row[1:5] == ["12 (6.00 to 24)", "1.00 (0.50 to 2.00)", "2.00 (1.00 to 4.00)", "4.00 (2.00 to 8.00)"]
    assert row[5:] == ["4.00", "2.40", "6.00"]


def test_stages_have_medians_ranges_and_an_exponent(results: Any):
    row = cells(report.markdown(results), "etl")
    assert row[1:] == ["1.00 (0.50 to 2.00)"] * 2 + ["10 (5.00 to 20)"] * 2 + ["1.00"]


def test_the_cache_and_the_reference_way_are_set_beside_the_data_stages(results: Any):
    row = cells(report.markdown(results), "10,000 | 30")
    assert row[1:4] == ["30 (15 to 60)", "1.50 (0.75 to 3.00)", "5.0%"]
    assert row[-2:] == ["2.00", "0.67"]


def test_what_failed_is_named_and_counts_for_nothing(results: Any):
    results.processes["stages", 10_000] = [report.Measured({"total": 1.0}, 5.0, "MemoryError")]
    markdown = report.markdown(results)
    assert "- stages, 10,000 rows: MemoryError" in markdown
    assert cells(markdown, "split") == ["split", "1.00 (0.50 to 2.00)", "–", "–", "–", "–"]


def test_the_files_are_written_together(results: Any, tmp_path: Path):
    report.write_report(tmp_path / "docs", results)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["docs/benchmarks.json", "docs/benchmarks.md", "docs/images/benchmarks.png"]
    kept = json.loads((tmp_path / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
    assert len(kept["processes"]) == sum(len(group) for group in results.processes.values())
    assert (tmp_path / "docs" / "images" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


# --- the command


def test_a_process_that_asks_for_too_much_memory_fails_alone(tmp_path: Path):
    measured, _ = benchmark.Bench(tmp_path, 0.5, [])._measure("-c", "bytearray(10**9)")
    assert measured.failed == "MemoryError"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--quick", "--rows", "10", "5"], "from small to large"),
        (["--quick", "--rows", "5", "10", "--rounds", "1"], "from small to large"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], said: str):
    with pytest.raises(SystemExit, match=said):
        benchmark.main(arguments)


@pytest.mark.slow
def test_a_small_benchmark_measures_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # Whole commands are measured as stages are, and take as long.
    monkeypatch.setattr(benchmark, "COMMANDS", {})
    benchmark.main(["--quick", "--rows", "1500", "--trees", "3", "--output", str(tmp_path)])
    kept = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))["processes"]
    assert [each for each in kept if each["failed"]] == []
    ways = ["reference-stages", "reference-etl", "reference-features"]
    assert [each["what"] for each in kept] == ["stages", "bare", "cached", *ways]
    assert all(each["peak_mb"] > 50 for each in kept)
    assert capsys.readouterr().out.strip() == (tmp_path / "benchmarks.md").read_text(encoding="utf-8").strip()
