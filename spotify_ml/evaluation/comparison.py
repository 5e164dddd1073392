"""The jobs of a sweep side by side: the model and its baselines, mean and spread over seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from spotify_ml.data.csv_text import write_csv
from spotify_ml.files import staged
from spotify_ml.report import COLUMNS, Summary, title

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
    """Return the test figures of the model and its baselines for every combination that was swept.

    Parameters
    ----------
    summaries : list of Summary
        The jobs, in their order, all of one task. Jobs that differ in nothing but the seed are one row.

    Returns
    -------
    DataFrame
        One row per combination and predictor: a column for each swept key (the split where there is none),
        ``predictor``, ``seeds``, and of each metric the mean and, under ``<metric>_std``, the standard deviation over
        the seeds (NaN for a single one).
    """
    metrics = COLUMNS[summaries[0].task]
    settings = [dict(override.lstrip("+~").partition("=")[::2] for override in each.overrides) for each in summaries]
    keys = [key for key in _swept(settings) if key != "seed"]
    rows = [
        {
            **({key: own.get(key, "") for key in keys} or {"split": summary.split}),
            "predictor": label,
            **{metric: summary.metrics.get(f"{part}/{metric}") for metric in metrics},
        }
        for summary, own in zip(summaries, settings, strict=True)
        for part, label in _LABELS.items()
        if any(f"{part}/{metric}" in summary.metrics for metric in metrics)
    ]
    groups = pd.DataFrame(rows).groupby([*(keys or ["split"]), "predictor"], sort=False)
    table = groups.size().to_frame("seeds")
    for metric in metrics:
        table[metric], table[f"{metric}_std"] = groups[metric].mean(), groups[metric].std()
    return table.reset_index()


def _swept(settings: list[dict[str, str]]) -> list[str]:
    """Return the keys whose value is not the same in all jobs."""
    keys = dict.fromkeys(key for own in settings for key in own)
    return [key for key in keys if len({own.get(key) for own in settings}) > 1]


def write_comparison(folder: Path, summaries: list[Summary]) -> str:
    """Write the comparison as CSV, Markdown and a figure, and return the Markdown.

    Parameters
    ----------
    folder : Path
        Where to.
    summaries : list of Summary
        The jobs, in their order; of several tasks, each is compared for itself.
    """
    tables = {
        COLUMNS[task][0]: compare([each for each in summaries if each.task == task])
        for task in dict.fromkeys(each.task for each in summaries)
    }
    markdown = "\n".join(_markdown(table, metric) for metric, table in tables.items())
    csv, text, figure = (folder / name for name in FILES)
    with staged(csv) as file:
        write_csv(pd.concat(tables.values()), file)
    with staged(text) as file:
        file.write_text(markdown, encoding="utf-8")
    with staged(figure) as file:
        _draw(file, tables)
    return markdown


def _keys(table: pd.DataFrame) -> list[str]:
    return table.columns[: table.columns.get_loc("predictor")].tolist()


def _markdown(table: pd.DataFrame, metric: str) -> str:
    keys = _keys(table)
    predictors = [label for label in _LABELS.values() if label in set(table["predictor"])]
    lines = [
        f"Test {title(metric)}, mean{' ± standard deviation' * bool(table['seeds'].max() > 1)} over seeds",
        "",
        f"| {' | '.join([*keys, *predictors])} |",
        f"|{'---|' * (len(keys) + len(predictors))}",
    ]
    for values, rows in table.groupby(keys, sort=False):
        cells = {row["predictor"]: _cell(row[metric], row[f"{metric}_std"]) for _, row in rows.iterrows()}
        settings = [str(value).replace("|", r"\|") for value in values]
        lines.append(f"| {' | '.join([*settings, *(cells.get(name, '–') for name in predictors)])} |")
    return "\n".join(lines) + "\n"


def _cell(mean: float, spread: float) -> str:
    if pd.isna(mean):
        return "–"
    return f"{mean:.3f}" if pd.isna(spread) else f"{mean:.3f} ± {spread:.3f}"


def _draw(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    from spotify_ml.evaluation.style import DPI, figure_of_many

    widest = max(len(table.groupby(_keys(table))) for table in tables.values())
    size = max(7, 1.6 * widest), 4.5 * len(tables)
    figure = figure_of_many("The model beside what can be had with less", size)
    places = figure.subplots(len(tables), squeeze=False)[:, 0]
    for axes, (metric, table) in zip(places, tables.items(), strict=True):
        _draw_bars(axes, table, metric)
    # The staged name does not end in the format's.
    figure.savefig(path, dpi=DPI, format="png")


def _draw_bars(axes: "Axes", table: pd.DataFrame, metric: str) -> None:
    from spotify_ml.evaluation.style import unframe

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
