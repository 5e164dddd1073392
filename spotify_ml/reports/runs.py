"""Runs side by side as one Markdown text: which is better, what differs, and the figures and pictures of all."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from spotify_ml.comparison.paired import Comparison
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.comparison.verdict import PairVerdict, judge_pair
from spotify_ml.evaluation.bootstrap import CONFIDENCE
from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, title
from spotify_ml.features.display_names import FAMILIES
from spotify_ml.utils.markdown import code, inlined, named, table

MOST_RUNS = len(ascii_uppercase)
_NONE = "–"
_SHOWN_GENRES = 5
_MEGABYTE = 1e6
_PARTS = {
    "test": "test",
    "val": "validation",
    "train": "train and validation",
    "baseline_mean": "test, mean of all tracks",
    "baseline_genre": "test, mean of the genres",
    "baseline_ridge": "test, ridge regression",
    "baseline_audio": "test, audio alone",
    "baseline_reference": "test, reference pipeline",
}
_BANDS = {
    "test_zero": "popularity 0",
    "test_low": "above 0 to 33",
    "test_medium": "above 33 to 66",
    "test_high": "above 66",
}
_OTHERS = {
    "interval/coverage_90": "test tracks within their 90% intervals, share",
    "interval/width_90": "width of these, mean (points)",
    **{f"importance/{name}": f"R² lost, or log loss gained, without {name}" for name in FAMILIES},
}
_SIZES = {"features/count": "columns", "model/trees": "trees", "rows/train": "rows fitted on"}
# Where a run is recorded, and what is written beside it, is no difference between models.
_PLACES = ("tracking.", "outputs.", "cache.", "register", "name", "data.path", "tune.")
_MADE_WITH = ("data.sha256", "code.sha256", "git.commit", "git.dirty", "cluster.", "version.")


def compare_runs(runs: Sequence[RecordedRun]) -> list[PairVerdict]:
    """Compare every run after the first with the first.

    Parameters
    ----------
    runs : sequence of RecordedRun
        At least two, at most `MOST_RUNS`.
    """
    first, *others = zip(_letters(runs), runs, strict=True)
    return [judge_pair(first[1], run, (first[0], letter)) for letter, run in others]


def run_report(runs: Sequence[RecordedRun], verdicts: Sequence[PairVerdict]) -> str:
    """Return the comparison of runs as Markdown with the pictures in it.

    Parameters
    ----------
    runs : sequence of RecordedRun
        At least two, at most `MOST_RUNS`.
    verdicts : sequence of PairVerdict
        What `compare_runs` says of them.
    """
    sections = {
        "The runs": _overview(runs),
        "What differs": _differences(runs),
        "Figures": _figures(runs),
        **{
            f"On the same tracks: {' and '.join(_names(found))}": _same_tracks(found, each.rows)
            for each in verdicts
            if (found := each.comparison) is not None
        },
        "Time and size": _costs(runs),
        "Pictures": _pictures(runs),
    }
    answers = "\n".join(f"- **{named(each.sentence)}**" for each in verdicts)
    text = [f"# {len(runs)} runs side by side", answers, _reading(verdicts)]
    text += [f"## {heading}\n\n{content}" for heading, content in sections.items() if content]
    return "\n\n".join(filter(None, text)) + "\n"


def _letters(runs: Sequence[RecordedRun]) -> list[str]:
    return list(ascii_uppercase[: len(runs)])


def _reading(verdicts: Sequence[PairVerdict]) -> str:
    compared = [each for each in verdicts if each.comparison is not None]
    if not compared:
        return ""
    several = " Of several pairs, one looks real by chance more easily than of one." * (len(compared) > 1)
    return (
        f"In brackets: the {CONFIDENCE:.0%} interval of the difference on the same tracks, by resampling whole groups. "
        "A difference is real if that leaves out 0: other tracks of this kind would show it as well. How much another "
        f"seed of the fit would move it, the interval does not know.{several}"
    )


def _overview(runs: Sequence[RecordedRun]) -> str:
    rows = [
        [
            letter,
            named(run.name),
            named(run.address or _NONE),
            code(run.run_id),
            f"{run.started:%Y-%m-%d %H:%M}",
            _state(run),
        ]
        for letter, run in zip(_letters(runs), runs, strict=True)
    ]
    return table(["", "run", "version", "id", "started (UTC)", "state"], rows)


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
    rows = [
        [code(key), *map(named, values)]
        for key in keys
        if len(set(values := [own.get(key, _NONE) for own in settings])) > 1
    ]
    if not rows:
        return "Nothing: neither settings, nor data, nor code."
    return "\n\n".join([table(["", *_letters(runs)], rows), *_other_code(runs)])


def _other_code(runs: Sequence[RecordedRun]) -> list[str]:
    """Name the runs that should be equal by their settings and data, but were made by other code or libraries."""
    alike: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for letter, run in zip(_letters(runs), runs, strict=True):
        same = tuple(run.tags.get(name, letter) for name in ("config.sha256", "data.sha256"))
        made_by = str([value for name, value in sorted(run.tags.items()) if name.startswith(("code.", "version."))])
        alike.setdefault(same, {}).setdefault(made_by, set()).add(letter)
    return [
        f"**{' and '.join(sorted(set().union(*codes.values())))} have the same `config.sha256` and data, but not the "
        "same code or libraries:** what differs in their figures comes from these."
        for codes in alike.values()
        if len(codes) > 1
    ]


def _settings(run: RecordedRun) -> dict[str, str]:
    settings = {key: value for key, value in run.params.items() if not key.startswith(_PLACES)}
    return settings | {key: value for key, value in sorted(run.tags.items()) if key.startswith(_MADE_WITH)}


def _figures(runs: Sequence[RecordedRun]) -> str:
    labels = {
        f"{part}/{metric}": f"{title(metric)}, {label}" for metric in _metrics(runs) for part, label in _PARTS.items()
    }
    labels |= {f"{band}/rmse": f"RMSE, test, {label}" for band, label in _BANDS.items()}
    labels |= _OTHERS
    rows = _rows({label: [_cell(run, key) for run in runs] for key, label in labels.items()})
    if not rows:
        return ""
    own = "each run on its own test rows; " if len({run.metrics.get("rows/test") for run in runs}) > 1 else ""
    reading = (
        f"In brackets: {CONFIDENCE:.0%} intervals; {own}all but the row of validation are of the final fit. Intervals "
        "that overlap do not make two runs equal: what is hard for one is hard for the other, and only the difference "
        "on the same tracks tells."
    )
    return f"{table(['', *_letters(runs)], rows)}\n\n{reading}"


def _metrics(runs: Sequence[RecordedRun]) -> list[str]:
    """Return the metrics of the tasks that there are."""
    return [
        name
        for names in COLUMNS.values()
        for name in names
        if any(f"{part}/{name}" in run.metrics for run in runs for part in ("test", "val", *BASELINES))
    ]


def _rows(cells: Mapping[str, list[str]]) -> list[list[str]]:
    """Return the rows of a table, by label, but those in which no run has anything to say."""
    return [[label, *own] for label, own in cells.items() if set(own) != {_NONE}]


def _cell(run: RecordedRun, key: str) -> str:
    value = run.metrics.get(key)
    if value is None:
        return _NONE
    lower, upper = (run.metrics.get(f"{key}_{end}") for end in ("lower", "upper"))
    ends = "" if lower is None or upper is None else f" ({lower:.3f} to {upper:.3f})"
    return f"{value:.3f}{ends}"


def _same_tracks(comparison: Comparison, which: str) -> str:
    # The first run stands first, as everywhere else; what neither has anything to say of is left out.
    rows = [
        [what, named(rival), named(model), named(change)]
        for what, model, rival, change in comparison.rows()[1:]
        if model or rival
    ]
    first, second = _names(comparison)
    figures = table(["", first, second, f"{second} less {first}, {comparison.confidence:.0%} interval"], rows)
    said = f"{named(which)}, in {comparison.n_groups:,} groups."
    return "\n\n".join([said, figures, _genres(comparison)])


def _names(comparison: Comparison) -> tuple[str, str]:
    """Return the names of both runs, the first first."""
    return named(comparison.rival.name), named(comparison.model.name)


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
    first, second = _names(comparison)
    header = ["genre", "tracks", f"{metric}, {first}", f"{metric}, {second}", f"{second} less {first}"]
    said = f"{which} with enough tracks, from where {second} loses most, or gains least, to where it gains most."
    return f"{table(header, rows)}\n\n{said}"


def _costs(runs: Sequence[RecordedRun]) -> str:
    times = dict.fromkeys(name for run in runs for name in run.metrics if name.startswith("time/"))
    cells = {
        f"{name.removeprefix('time/').removesuffix('_s')} (s)": [_number(run, name, ".2f") for run in runs]
        for name in times
    }
    cells |= {label: [_number(run, name, ",.0f") for run in runs] for name, label in _SIZES.items()}
    cells["model files (MB)"] = [
        f"{run.model_bytes / _MEGABYTE:.1f}" if run.model_bytes is not None else _NONE for run in runs
    ]
    rows = _rows(cells)
    return table(["", *_letters(runs)], rows) if rows else ""


def _number(run: RecordedRun, name: str, form: str) -> str:
    return format(run.metrics[name], form) if name in run.metrics else _NONE


def _pictures(runs: Sequence[RecordedRun]) -> str:
    names = sorted({name for run in runs for name in run.figures})
    return "\n\n".join(
        f"### {named(name.replace('_', ' ').capitalize())}\n\n"
        + table(_letters(runs), [[inlined(run.figures[name], name) if name in run.figures else _NONE for run in runs]])
        for name in names
    )
