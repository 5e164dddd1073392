"""The model card: what a model is, what it was judged by, what it may be used for, and how it was made."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from xgboost import XGBModel

from spotify_ml.config.run import RunConfig
from spotify_ml.data.schema import LIST_SEPARATOR, absent_columns
from spotify_ml.evaluation.bootstrap import CONFIDENCE, N_RESAMPLES
from spotify_ml.evaluation.by_group import BAND_LABELS, FEWEST_TRACKS, errors_by_genre, row_errors
from spotify_ml.evaluation.coverage import ALL
from spotify_ml.evaluation.incomplete import by_label
from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, title
from spotify_ml.evaluation.result import Result
from spotify_ml.models.files import json_readers
from spotify_ml.models.targets import BANDS, band_codes, class_names
from spotify_ml.reports.joins import joins_table
from spotify_ml.reports.page import render, write_page
from spotify_ml.utils.files import staged
from spotify_ml.utils.markdown import named, table

FILES = ("model_card.md", "model_card.html")
_WORST_GENRES = 5
# Where files are, and what is written beside the model, says nothing about it.
_PLACES = ("tracking", "hydra", "outputs", "register", "data.path", "data.join", "tune.storage")
_PREDICTORS = {"train": "train + validation", "val": "validation", "test": "**test**", **BASELINES}


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, and where it is: ``changed`` says whether files differed from the commit."""

    run_name: str
    model_uri: str
    overrides: Sequence[str]
    commit: str | None
    changed: bool
    versions: dict[str, str]


def model_card(config: RunConfig, result: Result, origin: Origin) -> str:
    """Return the model card as Markdown; it names the data's file, but no folder of this machine."""
    final, trainval = result.fitted.refit, result.subsets.trainval.features
    genres = result.tracks.frame["track_genre"].loc[trainval.index]
    parameters = config.model.model_dump(exclude={"name"})
    return render(
        "model_card.md.j2",
        config=config,
        result=result,
        origin=origin,
        raw=result.raw,
        absent=absent_columns(result.tracks.frame),
        joins=joins_table(result.tracks.joins) if result.tracks.joins else "",
        near_popularity=[name for each in result.tracks.joins for name in each.near_popularity],
        split=result.split,
        classes=class_names(config.task),
        confidence=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        figures=_figures(config, result),
        bands=_bands(result),
        genres=_genres(config, result),
        intervals=_intervals(result),
        patterns=_patterns(config, result),
        n_genres=pd.Series(genres.unique()).str.split(LIST_SEPARATOR).explode().nunique(),
        hits=result.evaluation.metrics.get("test_high/bias", 0),
        readers=json_readers(final) if isinstance(final, XGBModel) else None,
        columns=trainval.shape[1],
        n_trees=result.fitted.n_trees,
        parameters=[f"{name}={_value(value)}" for name, value in parameters.items()],
        overrides=[each for each in origin.overrides if not each.lstrip("+~").startswith(_PLACES)],
    )


def write_model_card(folder: Path, card: str) -> None:
    """Write a model card as the `FILES` of a folder, which is there when both are, or raise `OutputError`."""
    with staged(folder) as partial:
        partial.mkdir()
        markdown, page = (partial / name for name in FILES)
        markdown.write_text(card, encoding="utf-8")
        write_page(page, card)


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

    rows = [
        [label, *(cell(part, metric) for metric in columns)]
        for part, label in _PREDICTORS.items()
        if f"{part}/{columns[0]}" in metrics
    ]
    return table(["", *map(title, columns)], rows)


def _bands(result: Result) -> str:
    metrics = result.evaluation.metrics
    counts = np.bincount(band_codes(result.evaluation.actual), minlength=len(BANDS)).tolist()
    rows = [
        [label, f"{count:,}", *(f"{metrics[f'test_{band}/{name}']:.1f}" for name in ("rmse", "mae")), f"{bias:+.1f}"]
        for band, label, count in zip(BANDS, BAND_LABELS, counts, strict=True)
        if (bias := metrics.get(f"test_{band}/bias")) is not None
    ]
    return table(["test tracks", "number", "RMSE", "MAE", "bias"], rows)


def _genres(config: RunConfig, result: Result) -> str:
    evaluation = result.evaluation
    genres = result.tracks.frame["track_genre"].loc[result.subsets.test.features.index]
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
    return table(["asked for", "test tracks within", "mean width", "by genre"], rows) if rows else ""


def _patterns(config: RunConfig, result: Result) -> str:
    patterns = by_label(result.patterns)
    shown = (COLUMNS[config.task.name][0], "bias", "coverage_90", "width_90")
    columns = [name for name in shown if name in patterns]
    forms = {"r2": ".3f", "rmse": ".1f", "bias": "+.1f", "coverage_90": ".0%", "width_90": ".0f"}
    rows = [
        [str(label), *(f"{row[name]:{forms.get(name, '.3f')}}" for name in columns)]
        for label, row in zip(patterns.index, patterns.to_dict("records"), strict=True)
    ]
    names = {"bias": "bias", "coverage_90": "within 90 %", "width_90": "width"}
    return table(["test tracks with", *(names.get(name, title(name)) for name in columns)], rows) if rows else ""


def _value(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
