"""Runs side by side as one Markdown text: which is better, what differs, and the figures and pictures of all."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from spotify_ml.comparison.paired import Comparison
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.comparison.verdict import PairVerdict, judge_pair
from spotify_ml.evaluation.bootstrap import CONFIDENCE
from spotify_ml.evaluation.by_group import BAND_LABELS
from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, title
from spotify_ml.evaluation.patterns import PATTERNS
from spotify_ml.features.display_names import FAMILIES
from spotify_ml.models.targets import BANDS
from spotify_ml.reports.page import render
from spotify_ml.utils.markdown import code, inlined, named, table

MOST_RUNS = len(ascii_uppercase)
_NONE = "–"
_SHOWN_GENRES = 5
_MEGABYTE = 1e6
_PARTS = {
    "test": "test",
    "val": "validation",
    "train": "train and validation",
    **{name: f"test, {label}" for name, label in BASELINES.items()},
}
_OTHERS = {
    **{f"test_{band}/rmse": f"RMSE, test, {label}" for band, label in zip(BANDS, BAND_LABELS, strict=True)},
    **{
        f"{name}/{metric}": f"{title(metric)}, test, {pattern.label}"
        for name, pattern in PATTERNS.items()
        for metric in ("r2", "log_loss")
    },
    "interval/coverage_90": "test tracks within their 90% intervals, share",
    "interval/width_90": "width of these, mean (points)",
    **{f"importance/{name}": f"R² lost, or log loss gained, without {name}" for name in FAMILIES},
}
_SIZES = {"features/count": "columns", "model/trees": "trees", "rows/train": "rows fitted on"}
# Where a run is recorded, and what is written beside it, is no difference between models.
_PLACES = ("tracking.", "outputs.", "cache.", "register", "name", "data.path", "tune.")
_MADE_WITH = ("data.sha256", "data.join.sha256", "code.sha256", "git.commit", "git.dirty", "cluster.", "version.")


def compare_runs(runs: Sequence[RecordedRun]) -> list[PairVerdict]:
    """Compare every run after the first with the first, of two to `MOST_RUNS` runs."""
    first, *others = zip(ascii_uppercase, runs, strict=False)
    return [judge_pair(first[1], run, (first[0], letter)) for letter, run in others]


def run_report(runs: Sequence[RecordedRun], verdicts: Sequence[PairVerdict]) -> str:
    """Return the comparison of runs, of which `compare_runs` gave the verdicts, as Markdown with the pictures in it."""
    return render(
        "runs.md.j2",
        verdicts=verdicts,
        compared=[each for each in verdicts if each.comparison is not None],
        confidence=CONFIDENCE,
        lettered=list(zip(ascii_uppercase, runs, strict=False)),
        state=_state,
        differences=_differences(runs),
        other_code=_other_code(runs),
        figures=_figures(runs),
        own_rows=len({run.metrics.get("rows/test") for run in runs}) > 1,
        genres=_genres,
        costs=_costs(runs),
        pictures=_pictures(runs),
    )


def _state(run: RecordedRun) -> str:
    said = run.status.lower()
    if "tune.trial" in run.tags:
        said += f", trial {run.tags['tune.trial']} of a study: judged on validation rows alone"
    elif run.predictions is None:
        said += ", without predictions of its test rows: settings and figures only"
    if "error" in run.tags:
        said += f" ({named(run.tags['error'].splitlines()[0])})"
    return said


def _differences(runs: Sequence[RecordedRun]) -> str:
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for own in settings for key in own)
    return _table(
        runs,
        {
            code(key): [named(value) for value in values]
            for key in keys
            if len(set(values := [own.get(key, _NONE) for own in settings])) > 1
        },
    )


def _other_code(runs: Sequence[RecordedRun]) -> list[list[str]]:
    """Return the letters of runs that should be equal by settings and data, but are of other code or libraries."""
    alike: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for letter, run in zip(ascii_uppercase, runs, strict=False):
        joins = run.tags.get("data.join.sha256", "")
        same = (*(run.tags.get(name, letter) for name in ("config.sha256", "data.sha256")), joins)
        made_by = str([value for name, value in sorted(run.tags.items()) if name.startswith(("code.", "version."))])
        alike.setdefault(same, {}).setdefault(made_by, set()).add(letter)
    return [sorted(set().union(*codes.values())) for codes in alike.values() if len(codes) > 1]


def _settings(run: RecordedRun) -> dict[str, str]:
    settings = {key: value for key, value in run.params.items() if not key.startswith(_PLACES)}
    return settings | {key: value for key, value in sorted(run.tags.items()) if key.startswith(_MADE_WITH)}


def _figures(runs: Sequence[RecordedRun]) -> str:
    known = {name for run in runs for name in run.metrics}
    labels = {
        f"{part}/{metric}": f"{title(metric)}, {label}"
        for metrics in COLUMNS.values()
        for metric in metrics
        for part, label in _PARTS.items()
    }
    return _table(
        runs, {label: [_cell(run, key) for run in runs] for key, label in (labels | _OTHERS).items() if key in known}
    )


def _table(runs: Sequence[RecordedRun], rows: Mapping[str, list[str]]) -> str:
    """Return a table of a column per run from rows by label; empty without rows."""
    cells = [[label, *own] for label, own in rows.items()]
    return table(["", *ascii_uppercase[: len(runs)]], cells) if cells else ""


def _cell(run: RecordedRun, key: str) -> str:
    value = run.metrics.get(key)
    if value is None:
        return _NONE
    lower, upper = (run.metrics.get(f"{key}_{end}") for end in ("lower", "upper"))
    ends = "" if lower is None or upper is None else f" ({lower:.3f} to {upper:.3f})"
    return f"{value:.3f}{ends}"


def _genres(comparison: Comparison) -> str:
    genres, metric = comparison.genres, title(comparison.genre_metric)
    if genres.empty:
        return "No genre has enough of these tracks to be compared by itself."
    rows = [
        [named(str(genre)), f"{row.tracks:,.0f}", f"{row.rival:.2f}", f"{row.model:.2f}", f"{row.difference:+.2f}"]
        for genre, row in zip(genres.index, genres.itertuples(), strict=True)
    ]
    which = f"All {len(rows)} genres"
    if len(rows) > 2 * _SHOWN_GENRES:
        which = f"The first and the last {_SHOWN_GENRES} of {len(rows)} genres"
        rows = rows[:_SHOWN_GENRES] + rows[-_SHOWN_GENRES:]
    first, second = named(comparison.rival.name), named(comparison.model.name)
    header = ["genre", "tracks", f"{metric}, {first}", f"{metric}, {second}", f"{second} less {first}"]
    order = f"from where {second} loses most, or gains least, to where it gains most"
    return f"{table(header, rows)}\n\n{which} with enough tracks, {order}."


def _costs(runs: Sequence[RecordedRun]) -> str:
    times = dict.fromkeys(name for run in runs for name in run.metrics if name.startswith("time/"))
    cells = {
        f"{name.removeprefix('time/').removesuffix('_s')} (s)": [_number(run.metrics.get(name), ".2f") for run in runs]
        for name in times
    }
    cells |= {label: [_number(run.metrics.get(name), ",.0f") for run in runs] for name, label in _SIZES.items()}
    cells["model files (MB)"] = [_number(run.model_bytes and run.model_bytes / _MEGABYTE, ".1f") for run in runs]
    return _table(runs, {label: own for label, own in cells.items() if set(own) != {_NONE}})


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _pictures(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """Return a table of the pictures of each name."""
    letters = list(ascii_uppercase[: len(runs)])
    return {
        name: table(letters, [[inlined(run.figures[name], name) if name in run.figures else _NONE for run in runs]])
        for name in sorted({name for run in runs for name in run.figures})
    }
