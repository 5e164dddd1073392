"""The jobs of a sweep in order: ranked by their validation rows, with the figures of their test rows beside these."""

from collections.abc import Callable, Sequence

import pandas as pd

from spotify_ml.evaluation.metric_names import COLUMNS, OBJECTIVES, title
from spotify_ml.reports.summary import Summary
from spotify_ml.utils.markdown import named, table_row

# What decides which rows a job is judged on: jobs that differ in it are not to be ranked among each other.
_QUESTIONS = ("data", "cleaning", "split", "task")
_SINGLE = "test_lower", "test_upper"


def settings_of(summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """Return what was typed for each job, by key."""
    return [dict(override.lstrip("+~").partition("=")[::2] for override in each.overrides) for each in summaries]


def swept_keys(settings: Sequence[dict[str, str]]) -> list[str]:
    """Return the keys whose value is not the same in all jobs, but the seed: jobs that differ in it are one."""
    keys = dict.fromkeys(key for own in settings for key in own)
    return [key for key in keys if key != "seed" and len({own.get(key) for own in settings}) > 1]


def rank_jobs(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return one row per combination that was swept, the best of each question first.

    A question is what decides the rows that are judged: data, cleaning, split and task. Jobs of different questions are
    not ranked among each other.

    Parameters
    ----------
    summaries : sequence of Summary
        Finished jobs, all of one task.

    Returns
    -------
    DataFrame
        A column for each swept key (the split where there is none), and ``question`` (what it is of several, as text),
        ``rank`` (from 1, by validation), ``seeds``, ``val`` and ``val_std`` (the objective on the validation rows, mean
        and standard deviation over the seeds), ``test`` and ``test_std`` (the first metric of the task),
        ``test_lower`` and ``test_upper`` (its 95 % interval, of a single seed), ``names`` and ``run_ids`` (of runs).
    """
    task = summaries[0].task
    first, settings = COLUMNS[task][0], settings_of(summaries)
    keys = swept_keys(settings)
    asked = [key for key in keys if key.split(".")[0] in _QUESTIONS]
    rows = [
        {
            **({key: own.get(key, "") for key in keys} or {"split": each.split}),
            "question": _question(each, own, asked),
            "val": each.metrics.get(OBJECTIVES[task]),
            "test": each.metrics.get(f"test/{first}"),
            "test_lower": each.metrics.get(f"test/{first}_lower"),
            "test_upper": each.metrics.get(f"test/{first}_upper"),
            "names": each.run_name,
            "run_ids": each.run_id,
        }
        for each, own in zip(summaries, settings, strict=True)
    ]
    table = pd.DataFrame(rows)
    # Among jobs of one experiment and one split, there is one question.
    if len(set(table["question"])) == 1:
        table["question"] = ""
    groups = table.groupby([*(keys or ["split"]), "question"], sort=False)
    ranked = groups.agg(
        seeds=("names", "size"),
        val=("val", "mean"),
        val_std=("val", "std"),
        test=("test", "mean"),
        test_std=("test", "std"),
        test_lower=("test_lower", "first"),
        test_upper=("test_upper", "first"),
        names=("names", list),
        run_ids=("run_ids", list),
    ).reset_index()
    ranked.loc[ranked["seeds"] > 1, list(_SINGLE)] = None
    ranked["rank"] = ranked.groupby("question", sort=False)["val"].rank(method="first").astype("Int64")
    order = {question: position for position, question in enumerate(ranked["question"].unique())}
    return ranked.sort_values(
        ["question", "rank"], key=lambda column: column.map(order) if column.name == "question" else column
    ).reset_index(drop=True)


def _question(summary: Summary, own: dict[str, str], asked: Sequence[str]) -> str:
    told = [f"{key}={own.get(key, '')}" for key in asked]
    # An experiment brings a split of its own.
    return ", ".join(told if any(each.startswith("split=") for each in told) else [*told, f"split={summary.split}"])


def best_of(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the row that is best by validation, of each question that has more than one."""
    several = ranked.groupby("question", sort=False)["rank"].transform("size") > 1
    return ranked[several & (ranked["rank"] == 1)]


def rank_table(
    ranked: pd.DataFrame, task: str, baselines: pd.DataFrame, link: Callable[[str, str], str] | None = None
) -> str:
    """Return ranked jobs as a Markdown table, with a line that names the best.

    Parameters
    ----------
    ranked : DataFrame
        As of `rank_jobs`.
    task : str
        Of the jobs.
    baselines : DataFrame of str
        Further columns: what can be had with less, a row per row of `ranked`.
    link : callable, optional
        Name and id of a run to what stands for it; by default the name.
    """
    keys = ranked.columns[: ranked.columns.get_loc("question")].tolist()
    objective, first = title(OBJECTIVES[task].partition("/")[2]), title(COLUMNS[task][0])
    lines = []
    for row, (_, job) in enumerate(ranked.iterrows()):
        shown = [named(name) for name in job["names"]]
        runs = [link(*run) for run in zip(shown, job["run_ids"], strict=True)] if link else shown
        cells = [
            "–" if pd.isna(job["rank"]) else str(job["rank"]),
            *(named(str(job[key])) for key in keys),
            _figure(job["val"], job["val_std"]),
            _test(job),
            *baselines.iloc[row],
            ", ".join(runs),
        ]
        lines.append(table_row(cells))
    header = ["rank", *map(named, keys), f"validation {objective}", f"test {first}", *baselines.columns, "run"]
    return "\n".join(
        [
            *_reading(ranked, objective, first),
            "",
            table_row(header),
            f"|{'---|' * len(header)}",
            *lines,
            *best_lines(ranked, task),
        ]
    )


def _reading(ranked: pd.DataFrame, objective: str, first: str) -> list[str]:
    if (ranked["rank"] == 1).all():
        return [f"Validation {objective} and test {first} ({_spread(ranked)})"]
    within = " within each question" if several_questions(ranked) else ""
    return [f"Ranked by validation {objective}{within}; test {first} ({_spread(ranked)}) decides nothing"]


def _spread(ranked: pd.DataFrame) -> str:
    seeds = int(ranked["seeds"].max())
    return f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "in brackets its 95 % interval"


def several_questions(ranked: pd.DataFrame) -> bool:
    """Say whether jobs are of more than one question: then none is the best of all."""
    return len(set(ranked["question"])) > 1


def best_lines(ranked: pd.DataFrame, task: str) -> list[str]:
    """Return a line for the best job of each question that has several, after an empty one."""
    keys = ranked.columns[: ranked.columns.get_loc("question")].tolist()
    objective = title(OBJECTIVES[task].partition("/")[2])
    lines = [
        f"Best by validation {objective}: {named(', '.join(f'{key}={job[key]}' for key in keys))} "
        f"({', '.join(map(named, job['names']))})"
        for _, job in best_of(ranked).iterrows()
    ]
    return ["", *lines] if lines else []


def _figure(mean: float, spread: float) -> str:
    if pd.isna(mean):
        return "–"
    return f"{mean:.3f}" if pd.isna(spread) else f"{mean:.3f} ± {spread:.3f}"


def _test(job: pd.Series) -> str:
    ends = "" if pd.isna(job["test_lower"]) else f" ({job['test_lower']:.3f} to {job['test_upper']:.3f})"
    return _figure(job["test"], job["test_std"]) + ends
