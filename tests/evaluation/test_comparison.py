"""Tests of the comparison of a sweep's jobs, from summaries made by hand."""

from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from spotify_ml.reports.ranking import best_of, rank_jobs
from spotify_ml.reports.summary import Summary
from spotify_ml.reports.sweep import FILES, compare, comparison_text, write_comparison
from spotify_ml.utils.errors import OutputError


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
            name=f"{split}-{depth}-{seed}",
            val=(0.5, 15.0 - depth),
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


def test_markdown_is_a_well_formed_table_of_the_first_metric():
    title, empty, *lines = comparison_text(swept()).rstrip("\n").split("\n")
    spread = "mean ± standard deviation over 2 seeds"
    assert title == f"Ranked by validation RMSE within each question; test R² ({spread}) decides nothing"
    assert empty == ""
    header, rule, *rows = map(cells, lines[: lines.index("")])
    assert header == ["rank", "split", "model.max_depth", "validation RMSE", "test R²", "genre mean", "mean", "run"]
    assert rule == ["---"] * 8
    # Seeds 1 and 3 give R² 0.1 and 0.3: 0.2, and 0.1 times the square root of 2.
    shared = ["0.200 ± 0.141", "0.050 ± 0.000"]
    assert rows == [
        ["1", "album", "6", "9.000 ± 0.000", *shared, "0.000 ± 0.000", "album-6-1, album-6-3"],
        ["2", "album", "4", "11.000 ± 0.000", *shared, "0.000 ± 0.000", "album-4-1, album-4-3"],
        ["1", "artist", "6", "9.000 ± 0.000", *shared, "–", "artist-6-1, artist-6-3"],
        ["2", "artist", "4", "11.000 ± 0.000", *shared, "–", "artist-4-1, artist-4-3"],
    ]
    assert lines[lines.index("") + 1 :] == [
        "Best by validation RMSE: split=album, model.max_depth=6 (album-6-1, album-6-3)",
        "Best by validation RMSE: split=artist, model.max_depth=6 (artist-6-1, artist-6-3)",
    ]


def test_jobs_are_ranked_by_validation_whatever_their_test_figures():
    jobs = [
        job(f"model.max_depth={depth}", name=f"run-{depth}", val=(0.5, error), test=(r2, 10.0))
        for depth, error, r2 in ((4, 9.0, 0.9), (6, 7.0, 0.1), (8, 8.0, 0.5))
    ]
    ranked = rank_jobs(jobs)
    assert ranked[["model.max_depth", "rank"]].to_numpy().tolist() == [["6", 1], ["8", 2], ["4", 3]]
    assert best_of(ranked)["names"].tolist() == [["run-6"]]


def test_a_single_seed_has_the_interval_of_its_test_rows_and_no_spread():
    figures = {"val/rmse": 7.0, "test/r2": 0.5, "test/r2_lower": 0.4, "test/r2_upper": 0.6}
    text = comparison_text([Summary(**{**vars(job("split=album")), "metrics": figures})])
    assert "| 7.000 | 0.500 (0.400 to 0.600) |" in text
    assert "seeds" not in text
    assert "±" not in text


def test_jobs_of_other_rows_are_not_ranked_among_each_other():
    jobs = [
        job(f"split={name}", name=name, val=(0.5, error), test=(0.5,))
        for name, error in (("artist", 9.0), ("album", 7.0))
    ]
    ranked = rank_jobs(jobs)
    assert ranked["rank"].tolist() == [1, 1]
    assert best_of(ranked).empty
    assert "Best" not in comparison_text(jobs)
    # An experiment may bring another split.
    other = Summary(**{**vars(job("experiment=reference", val=(0.5, 6.0))), "split": "random"})
    assert rank_jobs([job("experiment=tuned", val=(0.5, 9.0)), other])["rank"].tolist() == [1, 1]


def test_markdown_links_to_the_runs_where_it_is_asked_to():
    text = comparison_text([job("split=album", test=(0.5,))], lambda name, run_id: f"[{name}](#/{run_id})")
    assert "| [run](#/id) |" in text


def test_markdown_of_classes_is_ranked_by_log_loss():
    text = comparison_text(
        [
            job(f"model.max_depth={depth}", task="classification", val=(loss,), test=(0.5, 0.4))
            for depth, loss in ((4, 0.8), (6, 0.7))
        ]
    )
    assert text.startswith("Ranked by validation LOG LOSS; test LOG LOSS (")
    assert text.index("| 1 | 6 | 0.700 |") < text.index("| 2 | 4 | 0.800 |")


def test_a_bar_within_a_value_does_not_end_its_cell():
    lines = comparison_text([job("name=a|b", test=(0.5,)), job("name=c", test=(0.4,))]).split("\n")
    assert lines[4].replace(r"\|", "").count("|") == lines[2].count("|")


def test_a_missing_figure_is_a_dash():
    jobs = [job("split=album", test=(0.5,)), Summary(**{**vars(job("split=artist")), "metrics": {"test/rmse": 3.0}})]
    assert "| – | artist | – | – | run |" in comparison_text(jobs)


def test_files_hold_the_comparison(tmp_path: Path):
    folder = tmp_path / "sweep"
    write_comparison(folder, swept())
    assert (
        {path.name for path in folder.iterdir()}
        == set(FILES)
        == {f"comparison.{kind}" for kind in ("csv", "md", "png")}
    )
    assert (folder / "comparison.md").read_text(encoding="utf-8") == comparison_text(swept())
    table, expected = pd.read_csv(folder / "comparison.csv", dtype={"model.max_depth": "str"}), compare(swept())
    pd.testing.assert_frame_equal(table[expected.columns.tolist()], expected, check_dtype=False)
    models = table[table["predictor"] == "model"]
    assert models[["model.max_depth", "rank", "val"]].to_numpy().tolist() == [["4", 2, 11], ["6", 1, 9]] * 2
    assert models["names"].tolist()[0] == "album-4-1 album-4-3"
    assert table[table["predictor"] != "model"][["rank", "val", "names"]].isna().all(axis=None)
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
    write_comparison(tmp_path, swept())
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") == comparison_text(swept())
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
    assert [len(ranked) for ranked in write_comparison(tmp_path, jobs)] == [1, 1]
    text = comparison_text(jobs)
    assert "test R²" in text
    assert "test LOG LOSS" in text
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["r2"].notna().tolist() == [True, False]
    assert table["log_loss"].notna().tolist() == [False, True]
