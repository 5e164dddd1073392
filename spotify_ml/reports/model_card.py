"""The model card: what a model is, what it was judged by, what it may be used for, and how it was made."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xgboost import XGBModel

from spotify_ml.config.run import RunConfig
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.bootstrap import CONFIDENCE, N_RESAMPLES
from spotify_ml.evaluation.by_group import BAND_LABELS, row_errors
from spotify_ml.evaluation.coverage import ALL
from spotify_ml.evaluation.genres import FEWEST_TRACKS, errors_by_genre
from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, title
from spotify_ml.evaluation.result import Result
from spotify_ml.models.files import json_readers
from spotify_ml.models.targets import BANDS, band_codes, class_names
from spotify_ml.reports.page import write_page
from spotify_ml.utils.files import staged
from spotify_ml.utils.markdown import code, named, table

FILES = ("model_card.md", "model_card.html")
_WORST_GENRES = 5
# Where files are, and what is written beside the model, says nothing about it.
_PLACES = ("tracking", "hydra", "outputs", "register", "data.path", "tune.storage")

_SEES = {
    "full": "its sound, its genres, the words of its title and album, and what else its artists have in the catalogue",
    "audio": "its sound: the 14 audio columns alone",
    "reference": "the 37 features of the reference pipeline: its sound, what is derived from it, and its genre",
}
_CLEANING = {
    "tracks": "one row per `track_id`, with the set of its genres and the mean popularity of its rows",
    "rows": "the rows as they come, a track once for each genre that it is listed under",
}
_KEPT_APART = (
    "copy of a test track (the same nine audio features, or the same artists and title){} is among the rows that "
    "anything was fitted on. The question is how popular {} is."
)
_SPLITS = {
    "recording": "No " + _KEPT_APART.format("", "an unheard recording in a known catalogue"),
    "album": "Neither a "
    + _KEPT_APART.format(" nor another track of its first artist's album", "a new release by a known artist"),
    "artist": "Neither a " + _KEPT_APART.format(" nor another track by its first artist", "a newcomer"),
    "random": "Rows are divided by chance, and copies of a recording stand on both sides: the figures flatter the "
    "model, and are for comparison with others that were judged so.",
}
_BEYOND_DATA = {
    "recording": "Of artists and albums that are not in its data it knows less than the figures say.",
    "album": "Of artists that are not in its data it knows less than the figures say.",
    "artist": "The figures hold for artists that are not in its data; of others it knows more.",
    "random": "Of recordings that are not in its data it knows less than the figures say.",
}
_ATTRIBUTION = (
    'From the Kaggle "Spotify Tracks Dataset" by Maharshi Pandya (2022), doi 10.34740/KAGGLE/DSV/4372070, under the '
    "Open Database License 1.0 (ODbL): attribute it, and share adapted databases under the same licence."
)
_OWN_FILE = "The licence of a file of one's own is for its owner to say."
_NOT_FOR = """Not for:

- **Forecasts.** Popularity moves with listening; the model knows no dates, playlists or marketing.
- **Judging music or artists.** Popularity belongs to one release id on one platform, not to a song: re-releases and
  compilation copies of hits stand at 0.
- **Decisions about people**: whom to sign, pay, promote or play."""
_PREDICTORS = {
    "train": "train + validation",
    "val": "validation",
    "test": "**test**",
    "baseline_mean": "mean of all tracks",
    "baseline_genre": "mean of the genres",
    "baseline_ridge": "ridge regression",
    "baseline_audio": "audio alone",
    "baseline_reference": "reference pipeline",
}


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, and where it is.

    Attributes
    ----------
    run_name : str
        Name of the run.
    model_uri : str
        Loads with ``mlflow.pyfunc.load_model``.
    overrides : sequence of str
        What was typed.
    commit : str or None
        The code's git commit, where there is git.
    changed : bool
        Whether files differed from it.
    versions : dict of str to str
        Versions of this package and the libraries, by name.
    """

    run_name: str
    model_uri: str
    overrides: Sequence[str]
    commit: str | None
    changed: bool
    versions: dict[str, str]


def model_card(config: RunConfig, result: Result, origin: Origin) -> str:
    """Return the model card as Markdown.

    Parameters
    ----------
    config : RunConfig
        What was asked for.
    result : Result
        What it came to.
    origin : Origin
        Where the model comes from. The card names the data's file, but no folder of this machine.
    """
    sections = {
        "Figures": _figures(config, result),
        "By popularity": _bands(config, result),
        "By genre": _genres(config, result),
        "Prediction intervals": _intervals(result),
        "Intended use": _intended(config),
        "Limits": _limits(config, result),
        "Load": _load(origin, result),
        "Data": _data(config, result),
        "Split": _split(config, result),
        "Training": _training(config, result),
        "Made with": _made_with(origin),
    }
    text = [f"# {named(origin.run_name)}\n\n{_summary(config)}"]
    text += [f"## {heading}\n\n{content}" for heading, content in sections.items() if content]
    return "\n\n".join(text) + "\n"


def write_model_card(folder: Path, card: str) -> None:
    """Write a model card as Markdown and as HTML.

    Parameters
    ----------
    folder : Path
        Is there when both `FILES` are.
    card : str
        The Markdown.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    with staged(folder) as partial:
        partial.mkdir()
        markdown, page = (partial / name for name in FILES)
        markdown.write_text(card, encoding="utf-8")
        write_page(page, card)


def _summary(config: RunConfig) -> str:
    classes = class_names(config.task)
    predicted = "how popular a Spotify track is, from 0 to 100,"
    if classes:
        predicted = f"the probability of each class of a Spotify track ({', '.join(classes)}),"
    return f"Predicts {predicted} from {_SEES[config.features.name]}."


def _figures(config: RunConfig, result: Result) -> str:
    metrics, columns, intervals = result.metrics(), COLUMNS[config.task.name], result.intervals

    def cell(part: str, metric: str) -> str:
        value = metrics.get(f"{part}/{metric}")
        if value is None:
            return "–"
        if part != "test":
            return f"{value:.3f}"
        ends = f" ({intervals[metric].lower:.3f} to {intervals[metric].upper:.3f})" if metric in intervals else ""
        return f"**{value:.3f}**{ends}"

    shown = [part for part in ("train", "val", "test", *BASELINES) if f"{part}/{columns[0]}" in metrics]
    figures = table(
        ["", *(title(metric) for metric in columns)],
        [[_PREDICTORS[part], *(cell(part, metric) for metric in columns)] for part in shown],
    )
    unit = "" if class_names(config.task) else " RMSE and MAE are in points of popularity."
    return (
        f"{figures}\n\nIn brackets: {CONFIDENCE:.0%} intervals, of {N_RESAMPLES:,} bootstrap resamples of whole groups "
        "of the split. Below the test row: what can be had with less, on the same rows. Validation rows alone are "
        f"scored by the first fit, which has not seen them; all others by the final one.{unit}"
    )


def _bands(config: RunConfig, result: Result) -> str:
    if class_names(config.task):
        return ""
    metrics, actual = result.evaluation.metrics, result.evaluation.actual
    counts = np.bincount(band_codes(actual), minlength=len(BANDS)).tolist()
    rows = [
        [label, f"{count:,}", *(f"{metrics[f'test_{band}/{name}']:.1f}" for name in ("rmse", "mae")), f"{bias:+.1f}"]
        for band, label, count in zip(BANDS, BAND_LABELS, counts, strict=True)
        if (bias := metrics.get(f"test_{band}/bias")) is not None
    ]
    bands = table(["test tracks", "number", "RMSE", "MAE", "bias"], rows)
    return f"{bands}\n\nBias is predicted less actual: above 0, such tracks are overestimated."


def _genres(config: RunConfig, result: Result) -> str:
    evaluation = result.evaluation
    genres = result.tracks.frame["track_genre"].loc[result.matrices.test.features.index]
    errors = row_errors(config.task, evaluation.actual, evaluation.predicted)
    by_genre = errors_by_genre(genres, errors, result.split.groups[result.split.test])
    if by_genre.empty:
        return f"No genre has the {FEWEST_TRACKS} test tracks that it takes to tell genres apart."
    worst = by_genre.head(_WORST_GENRES)
    rows = [
        [named(str(genre)), f"{row['tracks']:,}", *(f"{row[name]:{'+' * (name == 'bias')}.2f}" for name in errors)]
        for genre, row in zip(worst.index, worst.to_dict("records"), strict=True)
    ]
    header = ["genre", "test tracks", *(name if name == "bias" else title(name) for name in errors)]
    which = f"The worst {len(worst)} of {len(by_genre)} genres with at least {FEWEST_TRACKS} test tracks."
    return f"{table(header, rows)}\n\n{which}"


def _intervals(result: Result) -> str:
    rows = []
    for level, covered in result.coverage.groupby("level"):
        overall = covered[covered["genre"] == ALL].iloc[0]
        genres = covered[covered["genre"] != ALL].sort_values("coverage")
        ends = [f"{row['coverage']:.0%} ({named(row['genre'])})" for row in genres.to_dict("records")]
        by_genre = f"{ends[0]} to {ends[-1]}" if ends else "–"
        rows.append([f"{level:.0%}", f"{overall['coverage']:.1%}", f"{overall['width']:.1f}", by_genre])
    if not rows:
        return ""
    intervals = table(["asked for", "test tracks within", "mean width", "by genre"], rows)
    return (
        f"{intervals}\n\nOf `interval=0.9` and the like: by the errors of fits on tracks that these never saw, wider "
        "where larger ones are expected. They promise nothing of a single genre."
    )


def _intended(config: RunConfig) -> str:
    return (
        "For study: to compare features, models and splits on the same tracks, and to ask how popular a track like a "
        f"given one was on Spotify when the data was collected. {_BEYOND_DATA[config.split.name]}\n\n{_NOT_FOR}"
    )


def _limits(config: RunConfig, result: Result) -> str:
    trainval = result.tracks.frame["track_genre"].loc[result.matrices.trainval.features.index]
    n_genres = trainval.str.split(LIST_SEPARATOR).explode().nunique()
    limits = [f"It was fitted on tracks of {n_genres} genres; what is of none of them, it knows by the other columns."]
    if config.data.name != "file":
        limits.append("The data is one snapshot of 2022, and each genre in it a list that somebody drew.")
    hits = result.evaluation.metrics.get("test_high/bias", 0)
    if hits < 0:
        limits.append(f"It underestimates hits: test tracks above 66 by {-hits:.1f} points on average.")
    if config.features.name == "full":
        limits.append("It knows most from other tracks of the same artists and albums, and little from sound alone.")
    return "\n".join(f"- {limit}" for limit in limits)


def _load(origin: Origin, result: Result) -> str:
    final, estimator = result.fitted.refit, ""
    if isinstance(final, XGBModel):
        estimator = f"\n\n`xgboost_popularity_model.json` is for `{json_readers(final)}`; older ones misread it."
    return f"""```python
import mlflow  # with MLFLOW_TRACKING_URI naming the store that this card is in
model = mlflow.pyfunc.load_model("{origin.model_uri}")
model.predict(tracks)  # a DataFrame of raw rows, in the columns of the dataset
```{estimator}"""


def _data(config: RunConfig, result: Result) -> str:
    raw, tracks = result.raw, result.tracks.frame
    return (
        f"{code(raw.path.name)} (`data={config.data.name}`), {result.quality.raw_rows:,} rows, sha256 `{raw.sha256}`. "
        f"{_OWN_FILE if config.data.name == 'file' else _ATTRIBUTION}\n\n"
        f"Cleaning (`cleaning={config.cleaning.name}`): {_CLEANING[config.cleaning.name]}; {len(tracks):,} rows."
    )


def _split(config: RunConfig, result: Result) -> str:
    split = result.split
    return (
        f"`split={config.split.name}`: {len(split.train):,} train, {len(split.validation):,} validation and "
        f"{len(split.test):,} test rows, of {int(split.groups.max()) + 1:,} groups. {_SPLITS[config.split.name]}"
    )


def _training(config: RunConfig, result: Result) -> str:
    trees, n_columns = result.fitted.n_trees, result.matrices.trainval.features.shape[1]
    fits = "It was fitted on the train rows, to be judged on the validation rows, and once more on both together."
    if trees is not None:
        fits = (
            f"Early stopping on the validation rows chose {trees:,} trees; then it was fitted once more, with as many, "
            "on train and validation rows together."
        )
    weights = " Every popularity band, or class, counted the same." if config.task.weights == "balanced" else ""
    parameters = config.model.model_dump(exclude={"name"})
    return (
        f"`model={config.model.name}` on the {n_columns} columns of `features={config.features.name}`, "
        f"`seed={config.seed}`. {fits}{weights}\n\n"
        f"Parameters: {', '.join(code(f'{name}={_value(value)}') for name, value in parameters.items())}."
    )


def _value(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _made_with(origin: Origin) -> str:
    typed = [code(each) for each in origin.overrides if not each.lstrip("+~").startswith(_PLACES)]
    commit = "unknown, for there was no git" if origin.commit is None else f"`{origin.commit}`"
    return "\n".join(
        [
            f"- Overrides: {' '.join(typed) or 'none'}",
            f"- Commit: {commit}{', and changes since' * origin.changed}",
            f"- Versions: {', '.join(f'{name} {number}' for name, number in origin.versions.items())}",
        ]
    )
