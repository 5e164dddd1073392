"""The jobs of a sweep in order: ranked by their validation rows, with the figures of their test rows beside these."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from spotify_ml.evaluation.metric_names import COLUMNS, LOSSES, OBJECTIVES, title
from spotify_ml.reports.page import render
from spotify_ml.reports.summary import Summary
from spotify_ml.utils.markdown import named

# What decides which rows a job is judged on: jobs that differ in it are not to be ranked among each other.
_QUESTIONS = ("data", "cleaning", "split", "task")


def settings_of(overrides: Iterable[Sequence[str]]) -> list[dict[str, str]]:
    """Return what was typed for each job, by key."""
    return [dict(each.lstrip("+~").partition("=")[::2] for each in typed) for typed in overrides]


def swept_settings(summaries: Sequence[Summary]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the keys that differ between jobs, but for the seed, and what each job has for them.

    Jobs that differ in the seed are one. Where nothing else differs, the key is the split.
    """
    settings = settings_of(each.overrides for each in summaries)
    keys = dict.fromkeys(key for own in settings for key in own)
    swept = [key for key in keys if key != "seed" and len({own.get(key) for own in settings}) > 1]
    if not swept:
        return ["split"], [{"split": each.split} for each in summaries]
    return swept, [{key: own.get(key, "") for key in swept} for own in settings]


def rank_jobs(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return one row per combination that was swept by jobs of one task, the best of each question first.

    A question is what decides the rows that are judged: data, cleaning, split and task. Jobs of different questions are
    not ranked among each other. The columns are the swept keys (the split where there is none), and ``question`` (what
    it is of several, as text), ``rank`` (from 1, by validation), ``seeds``, ``val`` and ``val_std`` (the objective on
    the validation rows, mean and standard deviation over the seeds), ``test`` and ``test_std`` (the first metric of the
    task), ``test_lower`` and ``test_upper`` (its 95 % interval, of a single seed), ``names`` and ``run_ids`` (of runs).
    """
    task = summaries[0].task
    first, (keys, settings) = COLUMNS[task][0], swept_settings(summaries)
    figures = {"val": OBJECTIVES[task], "test": f"test/{first}"}
    figures |= {f"test_{end}": f"test/{first}_{end}" for end in ("lower", "upper")}
    rows = [
        {
            **own,
            "question": _question(each, own),
            **{name: each.metrics.get(metric) for name, metric in figures.items()},
            "names": each.run_name,
            "run_ids": each.run_id,
        }
        for each, own in zip(summaries, settings, strict=True)
    ]
    table = pd.DataFrame(rows)
    # Among jobs of one experiment and one split, there is one question.
    if len(set(table["question"])) == 1:
        table["question"] = ""
    ranked = (
        table.groupby([*keys, "question"], sort=False)
        .agg(
            seeds=("names", "size"),
            **{f"{name}{end}": (name, how) for name in ("val", "test") for end, how in (("", "mean"), ("_std", "std"))},
            test_lower=("test_lower", "first"),
            test_upper=("test_upper", "first"),
            names=("names", list),
            run_ids=("run_ids", list),
        )
        .reset_index()
    )
    ranked.loc[ranked["seeds"] > 1, ["test_lower", "test_upper"]] = None
    questions = ranked.groupby("question", sort=False)
    ranked["rank"] = questions["val"].rank(method="first").astype("Int64")
    order = questions.ngroup()
    return ranked.assign(order=order).sort_values(["order", "rank"]).drop(columns="order").reset_index(drop=True)


def _question(summary: Summary, own: dict[str, str]) -> str:
    asked = [f"{key}={value}" for key, value in own.items() if key.split(".")[0] in _QUESTIONS]
    # An experiment brings a split of its own.
    return ", ".join(asked if "split" in own else [*asked, f"split={summary.split}"])


def best_of(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the row that is best by validation, of each question that has more than one."""
    several = ranked.groupby("question", sort=False)["rank"].transform("size") > 1
    return ranked[several & (ranked["rank"] == 1)]


def several_questions(ranked: pd.DataFrame) -> bool:
    """Say whether jobs are of more than one question: then none is the best of all."""
    return len(set(ranked["question"])) > 1


def rank_table(
    ranked: pd.DataFrame, task: str, baselines: pd.DataFrame, link: Callable[[str, str], str] | None = None
) -> str:
    """Return jobs as ranked by `rank_jobs` as a Markdown table, with a line that names the best.

    The baselines are further columns of text: what can be had with less. `link` makes of a run's name, as Markdown, and
    id what stands for it; by default that is the name.
    """
    keys = ranked.columns[: ranked.columns.get_loc("question")].tolist()
    objective, first = title(LOSSES[task]), title(COLUMNS[task][0])
    rows = [
        [
            "–" if pd.isna(job["rank"]) else str(job["rank"]),
            *(named(str(job[key])) for key in keys),
            mean_and_spread(job["val"], job["val_std"]),
            mean_and_spread(job["test"], job["test_std"]) + _interval(job),
            *baselines.iloc[row],
            ", ".join(map(link, map(named, job["names"]), job["run_ids"]) if link else map(named, job["names"])),
        ]
        for row, (_, job) in enumerate(ranked.iterrows())
    ]
    seeds = int(ranked["seeds"].max())
    return render(
        "comparison.md.j2",
        all_first=(ranked["rank"] == 1).all(),
        several=several_questions(ranked),
        objective=objective,
        first=first,
        spread=f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "in brackets its 95 % interval",
        header=["rank", *map(named, keys), f"validation {objective}", f"test {first}", *baselines.columns, "run"],
        rows=rows,
        best=[
            {"settings": ", ".join(f"{key}={job[key]}" for key in keys), "names": job["names"]}
            for _, job in best_of(ranked).iterrows()
        ],
    ).rstrip()


def mean_and_spread(mean: float, spread: float) -> str:
    """Return a mean over seeds and its standard deviation, which is NaN for one seed; a dash where both are."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.3f}" if pd.isna(spread) else f"{mean:.3f} ± {spread:.3f}"


def _interval(job: pd.Series) -> str:
    return "" if pd.isna(job["test_lower"]) else f" ({job['test_lower']:.3f} to {job['test_upper']:.3f})"
