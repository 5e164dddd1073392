"""The jobs of a sweep side by side: the model and its baselines, mean and spread over seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from spotify_ml.data.csv_text import write_csv
from spotify_ml.evaluation.metric_names import COLUMNS, title
from spotify_ml.reports.ranking import mean_and_spread, rank_jobs, rank_table, swept_settings
from spotify_ml.reports.summary import Summary
from spotify_ml.utils.files import staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = ("comparison.csv", "comparison.md", "comparison.png")
_LABELS = {
    "test": "model",
    "baseline_reference": "reference pipeline",
    "baseline_genre": "genre mean",
    "baseline_ridge": "ridge",
    "baseline_audio": "audio only",
    "baseline_mean": "mean",
}


def compare(summaries: list[Summary]) -> pd.DataFrame:
    """Return the test figures of the model and its baselines for every combination that was swept, of one task.

    Jobs that differ in nothing but the seed are one. Each combination and predictor is a row: the swept keys (the split
    where there is none), ``predictor``, ``seeds``, and of each metric the mean and, under ``<metric>_std``, the
    standard deviation over the seeds (NaN for a single one).
    """
    metrics, (keys, settings) = COLUMNS[summaries[0].task], swept_settings(summaries)
    rows = [
        {**own, "predictor": label, **{metric: summary.metrics.get(f"{part}/{metric}") for metric in metrics}}
        for summary, own in zip(summaries, settings, strict=True)
        for part, label in _LABELS.items()
        if any(f"{part}/{metric}" in summary.metrics for metric in metrics)
    ]
    groups = pd.DataFrame(rows).groupby([*keys, "predictor"], sort=False)
    table = groups.size().to_frame("seeds")
    for metric in metrics:
        table[metric], table[f"{metric}_std"] = groups[metric].mean(), groups[metric].std()
    return table.reset_index()


def write_comparison(
    folder: Path, summaries: list[Summary], link: Callable[[str, str], str] | None = None
) -> list[pd.DataFrame]:
    """Write the comparison of jobs as CSV, Markdown and a figure, and return the ranked jobs of each task.

    ``link`` is that of `spotify_ml.reports.ranking.rank_table`.
    """
    of_task = _by_task(summaries)
    tables = {COLUMNS[task][0]: compare(jobs) for task, jobs in of_task.items()}
    ranked = [rank_jobs(jobs) for jobs in of_task.values()]
    csv, text, figure = (folder / name for name in FILES)
    with staged(csv) as file:
        write_csv(pd.concat(map(_with_ranks, tables.values(), ranked)), file)
    with staged(text) as file:
        file.write_text(comparison_text(summaries, link), encoding="utf-8")
    with staged(figure) as file:
        _draw(file, tables)
    return ranked


def comparison_text(summaries: list[Summary], link: Callable[[str, str], str] | None = None) -> str:
    """Return the ranked jobs of each task beside their baselines, as Markdown."""
    texts = []
    for task, jobs in _by_task(summaries).items():
        ranked, table = rank_jobs(jobs), compare(jobs)
        texts.append(rank_table(ranked, task, _baselines(ranked, table, COLUMNS[task][0]), link))
    return "\n\n".join(texts) + "\n"


def _by_task(summaries: list[Summary]) -> dict[str, list[Summary]]:
    tasks = dict.fromkeys(each.task for each in summaries)
    return {task: [each for each in summaries if each.task == task] for task in tasks}


def _baselines(ranked: pd.DataFrame, table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the cells of each baseline, a row per row of the ranked jobs."""
    keys, columns = _keys(table), {}
    for label in _LABELS.values():
        own = table[table["predictor"] == label]
        if label != _LABELS["test"] and len(own):
            joined = ranked[keys].merge(own, on=keys, how="left")
            columns[label] = list(map(mean_and_spread, joined[metric], joined[f"{metric}_std"]))
    return pd.DataFrame(columns, index=range(len(ranked)))


def _with_ranks(table: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison with what is known of the model's rows: rank, validation figure, interval and runs."""
    own = ranked.drop(columns=["question", "seeds", "test", "test_std"]).assign(predictor=_LABELS["test"])
    own = own.assign(names=own["names"].str.join(" "), run_ids=own["run_ids"].str.join(" "))
    return table.merge(own, on=[*_keys(table), "predictor"], how="left")


def _keys(table: pd.DataFrame) -> list[str]:
    return table.columns[: table.columns.get_loc("predictor")].tolist()


def _draw(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    from spotify_ml.reports.figures.style import DPI, figure_of_many

    widest = max(len(table.groupby(_keys(table))) for table in tables.values())
    size = max(7, 1.6 * widest), 4.5 * len(tables)
    figure = figure_of_many("The model beside what can be had with less", size)
    places = figure.subplots(len(tables), squeeze=False)[:, 0]
    for axes, (metric, table) in zip(places, tables.items(), strict=True):
        _draw_bars(axes, table, metric)
    figure.savefig(path, dpi=DPI)


def _draw_bars(axes: "Axes", table: pd.DataFrame, metric: str) -> None:
    from spotify_ml.reports.figures.style import unframe

    keys = _keys(table)
    labelled = table.assign(label=table[keys].agg(", ".join, axis=1))
    labels = labelled["label"].unique()
    predictors = [name for name in _LABELS.values() if name in set(table["predictor"])]
    width = 0.8 / len(predictors)
    for position, name in enumerate(predictors):
        bars = labelled[labelled["predictor"] == name].set_index("label").reindex(labels)
        places = [row + (position - (len(predictors) - 1) / 2) * width for row in range(len(labels))]
        spread = bars[f"{metric}_std"] if bars[f"{metric}_std"].notna().any() else None
        axes.bar(places, bars[metric], width, yerr=spread, label=name, color=f"C{position}", capsize=2)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel(", ".join(keys))
    axes.set_ylabel(f"test {title(metric)}")
    unframe(axes)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
