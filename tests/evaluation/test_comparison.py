"""Tests of the comparison of a sweep's jobs, from summaries made by hand."""

from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from spotify_ml.errors import OutputError
from spotify_ml.evaluation.comparison import FILES, compare, write_comparison
from spotify_ml.report import Summary


def job(*overrides: str, task: str = "regression", name: str = "run", **parts: tuple[float, ...]) -> Summary:
    """Give a finished run whose parts have the figures of the task, as many as are given."""
    names = {
        "regression": ("r2", "rmse", "mae"),
        "classification": ("log_loss", "macro_f1", "roc_auc", "average_precision"),
    }[task]
    metrics = {
        f"{part}/{metric}": value
        for part, values in parts.items()
        for metric, value in zip(names, values, strict=False)
    }
    return Summary(
        "id", name, "uri", "model", "registered", None, "folder", task, "recording", list(overrides), metrics
    )


def test_swept_keys_become_columns():
    table = compare(
        [
            job("split=recording", "model.max_depth=4", test=(0.5, 10.0, 7.0), baseline_mean=(0.0, 15.0, 12.0)),
            job("split=artist", "model.max_depth=4", test=(0.3, 12.0, 8.0), baseline_mean=(-0.1, 16.0, 13.0)),
        ]
    )
    assert table.columns.tolist() == [
        "split",
        "predictor",
        "seeds",
        "r2",
        "r2_std",
        "rmse",
        "rmse_std",
        "mae",
        "mae_std",
    ]
    assert table[["split", "predictor", "seeds", "r2", "rmse", "mae"]].to_numpy().tolist() == [
        ["recording", "model", 1, 0.5, 10.0, 7.0],
        ["recording", "mean", 1, 0.0, 15.0, 12.0],
        ["artist", "model", 1, 0.3, 12.0, 8.0],
        ["artist", "mean", 1, -0.1, 16.0, 13.0],
    ]
    assert table[["r2_std", "rmse_std", "mae_std"]].isna().all(axis=None)


def test_several_swept_keys_make_a_row_per_combination():
    jobs = [
        job("data=full", f"split={split}", f"model.max_depth={depth}", test=(0.1 * depth, 1.0, 1.0))
        for split in ("album", "artist")
        for depth in (4, 6)
    ]
    table = compare(jobs)
    assert table[["split", "model.max_depth"]].to_numpy().tolist() == [
        ["album", "4"],
        ["album", "6"],
        ["artist", "4"],
        ["artist", "6"],
    ]
    assert table["r2"].tolist() == pytest.approx([0.4, 0.6, 0.4, 0.6])


def test_a_key_that_only_some_jobs_name_is_a_column_and_empty_elsewhere():
    table = compare([job("+model.gamma=1", test=(0.5,)), job(test=(0.4,))])
    assert table["model.gamma"].tolist() == ["1", ""]


def test_values_may_hold_an_equals_sign():
    table = compare([job("name=a=1", test=(0.5,)), job("name=a=2", test=(0.4,))])
    assert table["name"].tolist() == ["a=1", "a=2"]


def test_seeds_are_pooled():
    jobs = [
        job(f"split={split}", f"seed={seed}", name=f"{split}-{seed}", test=(r2, 10.0 * r2, 5.0))
        for split, figures in (("album", (0.2, 0.4, 0.9)), ("artist", (0.1, 0.2, 0.3)))
        for seed, r2 in zip((42, 43, 44), figures, strict=True)
    ]
    table = compare(jobs)
    assert table["split"].tolist() == ["album", "artist"]
    assert table["seeds"].tolist() == [3, 3]
    assert table["r2"].tolist() == pytest.approx([0.5, 0.2])
    # Squared distances from the mean: 0.09, 0.01 and 0.16, by two degrees of freedom.
    assert table["r2_std"].tolist() == pytest.approx([0.13**0.5, 0.1])
    assert table["rmse_std"].tolist() == pytest.approx([10 * 0.13**0.5, 1.0])
    assert table["mae_std"].tolist() == [0, 0]


def test_seeds_are_pooled_where_nothing_else_is_swept():
    table = compare([job(f"seed={seed}", name=f"run-{seed}", test=(0.1 * seed,)) for seed in (1, 2, 3)])
    assert table["seeds"].tolist() == [3]
    assert table["r2"].tolist() == pytest.approx([0.2])


def test_one_job_alone_goes_by_its_split():
    table = compare([job("seed=3", test=(0.5, 10.0, 7.0))])
    assert table[["split", "predictor", "seeds", "r2"]].to_numpy().tolist() == [["recording", "model", 1, 0.5]]


def test_jobs_may_have_different_baselines():
    table = compare(
        [
            job("baselines=full", test=(0.5,), baseline_reference=(0.4,), baseline_genre=(0.3,)),
            job("baselines=quick", test=(0.5,), baseline_genre=(0.3,), baseline_mean=(0.0,)),
        ]
    )
    by_job = table.groupby("baselines")["predictor"].agg(list).to_dict()
    assert by_job == {"full": ["model", "reference pipeline", "genre mean"], "quick": ["model", "genre mean", "mean"]}


def test_train_and_validation_figures_are_left_out():
    table = compare([job("seed=1", train=(0.9,), val=(0.8,), test=(0.5,), test_low=(0.1,))])
    assert table[["predictor", "r2"]].to_numpy().tolist() == [["model", 0.5]]


def test_classification_has_its_own_columns():
    table = compare(
        [
            job("split=album", task="classification", test=(0.9, 0.5, 0.8, 0.7), baseline_mean=(1.1, 0.2, 0.5, 0.3)),
            # Undefined for its rows: no ranking figures.
            job("split=artist", task="classification", test=(1.0, 0.4)),
        ]
    )
    metrics = ["log_loss", "macro_f1", "roc_auc", "average_precision"]
    assert table.columns.tolist() == ["split", "predictor", "seeds", *(m + s for m in metrics for s in ("", "_std"))]
    models = table[table["predictor"] == "model"].set_index("split")
    assert models.loc["album", metrics].tolist() == [0.9, 0.5, 0.8, 0.7]
    assert models.loc["artist", ["log_loss", "macro_f1"]].tolist() == [1.0, 0.4]
    assert models.loc["artist", ["roc_auc", "average_precision"]].isna().all()


def test_figures_that_no_job_has_are_empty():
    table = compare([job(f"split={split}", task="classification", test=(1.0, 0.4)) for split in ("album", "artist")])
    assert table["roc_auc"].isna().all()
    assert table["macro_f1"].tolist() == [0.4, 0.4]


def swept() -> list[Summary]:
    return [
        job(
            f"split={split}",
            f"model.max_depth={depth}",
            f"seed={seed}",
            test=(0.1 * seed, 10.0, 5.0),
            baseline_genre=(0.05, 12.0, 6.0),
            **({"baseline_mean": (0.0, 15.0, 9.0)} if split == "album" else {}),
        )
        for split in ("album", "artist")
        for depth in (4, 6)
        for seed in (1, 3)
    ]


def cells(line: str) -> list[str]:
    assert line.startswith("|")
    assert line.endswith("|")
    return [cell.strip() for cell in line[1:-1].split("|")]


def test_markdown_is_a_well_formed_table_of_the_first_metric(tmp_path: Path):
    title, empty, *lines = write_comparison(tmp_path, swept()).rstrip("\n").split("\n")
    assert title == "Test R², mean ± standard deviation over seeds"
    assert empty == ""
    header, rule, *rows = map(cells, lines)
    assert header == ["split", "model.max_depth", "model", "genre mean", "mean"]
    assert rule == ["---"] * 5
    # Seeds 1 and 3 give R² 0.1 and 0.3: 0.2, and 0.1 times the square root of 2.
    assert rows == [
        ["album", "4", "0.200 ± 0.141", "0.050 ± 0.000", "0.000 ± 0.000"],
        ["album", "6", "0.200 ± 0.141", "0.050 ± 0.000", "0.000 ± 0.000"],
        ["artist", "4", "0.200 ± 0.141", "0.050 ± 0.000", "–"],
        ["artist", "6", "0.200 ± 0.141", "0.050 ± 0.000", "–"],
    ]


def test_markdown_of_single_seeds_has_no_spread(tmp_path: Path):
    markdown = write_comparison(
        tmp_path,
        [job(f"split={split}", task="classification", test=(0.5, 0.4)) for split in ("album", "artist")],
    )
    assert "±" not in markdown
    assert "standard deviation" not in markdown
    assert markdown.startswith("Test LOG LOSS")
    assert "| album | 0.500 |" in markdown


def test_a_bar_within_a_value_does_not_end_its_cell(tmp_path: Path):
    lines = write_comparison(tmp_path, [job("name=a|b", test=(0.5,)), job("name=c", test=(0.4,))]).split("\n")
    assert lines[4].replace(r"\|", "").count("|") == lines[2].count("|")


def test_a_missing_figure_is_a_dash(tmp_path: Path):
    jobs = [job("split=album", test=(0.5,)), Summary(**{**vars(job("split=artist")), "metrics": {"test/rmse": 3.0}})]
    assert "| artist | – |" in write_comparison(tmp_path, jobs)


def test_files_hold_the_comparison(tmp_path: Path):
    folder = tmp_path / "sweep"
    markdown = write_comparison(folder, swept())
    assert (
        {path.name for path in folder.iterdir()}
        == set(FILES)
        == {f"comparison.{kind}" for kind in ("csv", "md", "png")}
    )
    assert (folder / "comparison.md").read_text(encoding="utf-8") == markdown
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "comparison.csv", dtype={"model.max_depth": "str"}), compare(swept()), check_dtype=False
    )
    pixels = matplotlib.image.imread(folder / "comparison.png")
    assert min(pixels.shape[:2]) > 300
    assert len({tuple(pixel) for pixel in pixels[::4, ::4, :3].reshape(-1, 3).tolist()}) > 3


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([job("split=artist", test=(0.5, 10.0, 7.0))], id="one job"),
        pytest.param(
            [job("split=a", test=(0.5,)), job("split=b", test=(0.4,), baseline_mean=(0.0,))], id="baselines differ"
        ),
        pytest.param(
            [job("split=a", "seed=1", test=(0.5,)), job("split=a", "seed=2", test=(0.4,)), job("split=b", test=(0.1,))],
            id="seeds differ",
        ),
    ],
)
def test_every_sweep_can_be_drawn(jobs: list[Summary], tmp_path: Path):
    write_comparison(tmp_path, jobs)
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_comparison_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path):
    write_comparison(tmp_path, swept()[:2])
    markdown = write_comparison(tmp_path, swept())
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") == markdown
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


def test_a_comparison_that_cannot_be_written_leaves_no_part_of_a_file(tmp_path: Path):
    (tmp_path / "comparison.md").mkdir()
    with pytest.raises(OutputError, match=r"comparison\.md cannot be written"):
        write_comparison(tmp_path, swept())
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.csv", "comparison.md"}
    assert len(pd.read_csv(tmp_path / "comparison.csv")) == len(compare(swept()))


def test_several_tasks_have_a_table_each(tmp_path: Path):
    jobs = [
        job("task=regression", test=(0.5, 10.0, 7.0)),
        job("task=classification", task="classification", test=(0.4, 0.7, 0.9, 0.8)),
    ]
    text = write_comparison(tmp_path, jobs)
    assert "Test R²" in text
    assert "Test LOG LOSS" in text
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["r2"].notna().tolist() == [True, False]
    assert table["log_loss"].notna().tolist() == [False, True]
