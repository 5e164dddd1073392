"""A version beside the champion, or the baselines: loaded, freshly scored on tracks new to both, and judged."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from timeit import timeit

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from spotify_ml.comparison.gate import Condition, Verdict, judge
from spotify_ml.comparison.paired import Contender, compare_pair
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.config.run import DataConfig
from spotify_ml.data.schema import AUDIO, NAMES, TARGET
from spotify_ml.data.unseen_rows import coarsest, read_split, same_data, same_joins, unseen_rows, with_joins
from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.metric_names import LOSSES, better_of
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.models.targets import Task
from spotify_ml.tracking.provenance import Provenance, fitted_on, read_provenance, schema_changes
from spotify_ml.tracking.registry import ScoringModel, Version, load_version
from spotify_ml.utils.errors import ConfigError, DataError, ModelError, TrackingError

_TIMED_ROWS, _TIMED_ROUNDS = 1000, 5
_FEWEST_GROUPS = 2
LIVE = "live"


@dataclass(frozen=True)
class _ComparedTracks:
    """Test tracks that are new to all versions, as far as is known, their groups, and which tracks those are.

    There is a frame for each version: the same tracks, with the tables that this version's run has joined.
    """

    frames: list[pd.DataFrame]
    groups: np.ndarray
    seed: int
    said: str
    # Whether they are known to be new to all, and enough; ``force=true`` compares on others, too.
    condition: Condition


class NoFairTracksError(DataError):
    """Too few tracks are known to be new to both versions: the condition ``tracks`` does not hold."""


def hold_contest(client: MlflowClient, config: PromoteConfig, version: Version, champion: Version | None) -> Verdict:
    """Compare a version with the champion, or with the better baseline where there is none.

    Raises `NoFairTracksError` if there are too few tracks that are new to both or that cannot be known, unless
    ``force=true``; `SpotifyMLError` if the two predict different things, or one of them cannot be loaded.
    """
    uri = config.tracking.uri
    provenances = [read_provenance(client, version, uri)]
    models = [load_version(version, uri)]
    if champion is not None:
        with _champion_errors(champion):
            provenances.append(read_provenance(client, champion, uri))
            models.append(load_version(champion, uri))
    task = _common_task(config, provenances)
    tracks = _compared_tracks(config, provenances)
    contenders = _score(models, tracks.frames, task)
    if champion is None:
        contenders.append(_baseline(config, task, provenances[0], tracks.frames[0]))
        changes = []
    else:
        changes = schema_changes(*(each.model.metadata.signature for each in models))
    comparison = compare_pair(
        task,
        tracks.frames[0],
        tracks.groups,
        *contenders,
        seed=tracks.seed,
        confidence=config.gate.confidence,
        genre_tracks=config.gate.genre_tracks,
    )
    conditions = judge(config.gate, comparison, provenances[0].format_difference, changes)
    if config.evidence == "live":
        conditions.append(live_condition(version, champion))
    return Verdict(comparison, tracks.said, [tracks.condition, *conditions])


def live_condition(version: Version, champion: Version | None) -> Condition:
    """Return whether the last report on live traffic of these two versions says that the version is better."""
    if champion is None:
        return Condition(LIVE, False, "there is no champion to be compared with; leave out evidence=live")
    rivals = version.tags.get("live.challenger"), version.tags.get("live.champion")
    if rivals != (version.uri, champion.uri):
        return Condition(LIVE, False, "no report on live traffic compares them; run `python -m spotify_ml.live report`")
    decision, at = version.tags.get("live.decision", ""), version.tags.get("live.at", "")
    return Condition(LIVE, decision == "promote", f"{decision}, as of {at}: {version.tags.get('live.why', '')}")


@contextmanager
def _champion_errors(champion: Version) -> Iterator[None]:
    """Say what can be done about a champion whose run or files are damaged or gone."""
    try:
        yield
    except (ModelError, TrackingError) as error:
        raise type(error)(
            f"{error}; no version can be compared with this champion: go back to the one before with rollback=true, or "
            f"take its alias away: MlflowClient().delete_registered_model_alias('{champion.name}', 'champion')"
        ) from error


def _common_task(config: PromoteConfig, provenances: Sequence[Provenance]) -> Task:
    first, *others = provenances
    task = first.config.task
    if config.gate.name != task.name:
        raise ConfigError(
            f"config: gate={config.gate.name}: {first.version.uri} is for task={task.name}; set gate={task.name}"
        )
    for other in others:
        if _predicts(other.config.task) != _predicts(task):
            raise ConfigError(
                f"{first.version.uri} and {other.version.uri} predict different things ({_predicts(task)} and "
                f"{_predicts(other.config.task)}); register one of them under another name"
            )
    return task


def _predicts(task: Task) -> dict[str, object]:
    return task.model_dump(exclude={"weights", "registered_model"})


def _compared_tracks(config: PromoteConfig, provenances: Sequence[Provenance]) -> _ComparedTracks:
    recorded = provenances[0].config
    fitted, unknown = _fitted(config, provenances)
    joins = provenances[0].joins
    data = config.data or same_data(recorded.data, provenances[0].sha256, joins=joins)
    data = data.model_copy(update={"join": same_joins(recorded.data, joins, data)})
    cleaning, split = config.cleaning or recorded.cleaning, config.split or recorded.split
    seed = recorded.seed if config.seed is None else config.seed
    found = read_split(data, cleaning, split, seed, config.cache, recorded.layout)
    test = found.test
    kept_apart, unlike = _kept_apart(config, [split.name, *(each.config.split.name for each in provenances)])
    unknown += unlike
    rows, groups = unseen_rows(test, fitted, kept_apart)
    which = f"data={data.name} cleaning={cleaning.name} split={split.name} seed={seed}"
    if kept_apart != split.name:
        which += f", kept apart by {kept_apart} as one was fitted"
    n_groups, enough = len(np.unique(groups)), len(rows) >= config.gate.fewest_tracks
    if n_groups < _FEWEST_GROUPS or not (enough or config.force):
        names = " and ".join(each.version.uri for each in provenances)
        force = "; force=true compares all the same" if n_groups >= _FEWEST_GROUPS else ""
        kind = DataError if config.force else NoFairTracksError
        raise kind(
            f"only {len(rows):,} of {len(test):,} test tracks ({which}) are new to {names}, and gate.fewest_tracks is "
            f"{config.gate.fewest_tracks:,}; train with the champion's split and seed, or compare by another: seed=…"
            f"{force}"
        )
    said = f"{len(rows):,} of {len(test):,} test tracks ({which}) in {n_groups:,} groups"
    seen = f", new to both only as far as is known: {'; '.join(unknown)}" if unknown else " that no fit has seen"
    new = f"{len(rows):,} are new to all{', as far as is known' if unknown else ''}"
    condition = Condition("tracks", enough and not unknown, f"{new}; {config.gate.fewest_tracks:,} are asked for")
    others = [
        _joined_as(each, data, found.frame, partial(with_joins, data, cleaning, config.cache, recorded.layout), config)
        for each in provenances[1:]
    ]
    frames = [frame.iloc[found.split.test[rows]] for frame in (found.frame, *others)]
    return _ComparedTracks(frames, groups, seed, said + seen, condition)


def _kept_apart(config: PromoteConfig, splits: Sequence[str]) -> tuple[str, list[str]]:
    """Return the split by which tracks are new to all, and why this is not sure, if the splits do not go together."""
    try:
        return coarsest(splits), []
    except DataError as error:
        if not config.force:
            raise NoFairTracksError(f"{error}; force=true compares all the same, as split=recording") from error
        return "recording", [str(error)]


def _joined_as(
    provenance: Provenance,
    data: DataConfig,
    tracks: pd.DataFrame,
    join: Callable[[tuple[str, ...] | None], pd.DataFrame],
    config: PromoteConfig,
) -> pd.DataFrame:
    """Return clean tracks with the tables that a version's run has joined, where these are other ones."""
    try:
        paths = same_joins(provenance.config.data, provenance.joins, config.data)
    except DataError:
        # Said before, among what cannot be known.
        if not config.force:
            raise
        paths = None
    return tracks if paths == data.join else join(paths)


def _fitted(config: PromoteConfig, provenances: Sequence[Provenance]) -> tuple[list[pd.DataFrame], list[str]]:
    """Return what each version was fitted on, and of which ones that cannot be known but does not matter."""
    found, unknown = [], []
    for provenance in provenances:
        try:
            found.append(fitted_on(provenance, config.data, config.cache).trainval)
        except DataError as error:
            if not config.force:
                hint = "data=… says where it is now, force=true compares all the same"
                raise NoFairTracksError(f"{error}; {hint}") from error
            unknown.append(str(error))
    return found, unknown


def _score(models: Sequence[ScoringModel], frames: Sequence[pd.DataFrame], task: Task) -> list[Contender]:
    """Score raw tracks by every model; their times are measured in turns, for others may use the machine as well."""
    given = [_inputs(*each) for each in zip(models, frames, strict=True)]
    pairs = list(zip(models, given, strict=True))
    predicted = [np.asarray(model.predict(rows)) for model, rows in pairs]
    popularity, loss = frames[0][TARGET].to_numpy(), LOSSES[task.name]
    lacking = [np.asarray(model.predict(rows[list(AUDIO)])) for model, rows in pairs]
    errors = [task_metrics(task, popularity, values, 0)[loss] for values in lacking]
    timed = [(model, rows.head(_TIMED_ROWS)) for model, rows in pairs]
    seconds = [[timeit(partial(model.predict, rows), number=1) for model, rows in timed] for _ in range(_TIMED_ROUNDS)]
    sizes = [model.model.metadata.model_size_bytes for model in models]
    return [
        Contender(f"version {model.version.number}", values, error, size, min(times) / len(timed[0][1]))
        for model, values, error, size, times in zip(
            models, predicted, errors, sizes, zip(*seconds, strict=True), strict=True
        )
    ]


def _inputs(model: ScoringModel, tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of tracks that a model takes."""
    return tracks[[*(name for name in NAMES if name != TARGET), *(name for name in model.further if name in tracks)]]


def _baseline(config: PromoteConfig, task: Task, provenance: Provenance, tracks: pd.DataFrame) -> Contender:
    """Return the better baseline, fitted on what the version was fitted on."""
    trainval = fitted_on(provenance, config.data, config.cache).trainval
    baselines = quick_baselines(task, trainval, trainval[TARGET].to_numpy(), tracks)
    popularity = tracks[TARGET].to_numpy()
    scores = {name: task_metrics(task, popularity, values, 0)[config.gate.metric] for name, values in baselines.items()}
    best = better_of(config.gate.metric, scores)
    return Contender(best, baselines[best])
