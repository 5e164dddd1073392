"""Feature matrices in partitions, fitted only on rows that they may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from spotify_ml.backends.dask.cluster import workers_of
from spotify_ml.backends.dask.partitions import gathered, kept, mapped, placed, ranks_of
from spotify_ml.backends.dask.statistics import own_statistics, sum_levels
from spotify_ml.backends.dask.tracks import TrackPartitions
from spotify_ml.config.run import FeatureSet
from spotify_ml.data.schema import TARGET
from spotify_ml.features.on_disk import fit_on_examples
from spotify_ml.features.target_sums import KeyTotals
from spotify_ml.features.transformers.catalogue import CatalogueStatistics
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.features.transformers.statistics import assign_folds, mean_of_other_folds
from spotify_ml.features.transformers.words import COLUMNS as WORD_COLUMNS
from spotify_ml.features.transformers.words import Regressions, WordRegression, texts_of

WEIGHT = "sample weight"
_CATALOGUE, _GENRES, _WORDS, _SCALED = "catalogue", "genres", "words", ("scaled", "genre")


@dataclass(frozen=True)
class FittedFeatures:
    """Features fitted on some tracks, and the matrices of these and of others in partitions.

    `seen` and `unseen` are tasks for DataFrames, indexed by the position of the track: the features, the target, and
    the weight in the column `WEIGHT` if there are weights. `counts` are the numbers of seen rows by partition.
    """

    transformer: ColumnTransformer
    seen: list[Any]
    unseen: list[Any]
    counts: list[int]


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared deviations of the columns of a matrix."""

    count: int
    mean: np.ndarray
    squares: np.ndarray


def fit_partitions(
    client: Any,
    name: FeatureSet,
    tracks: TrackPartitions,
    target: np.ndarray,
    groups: np.ndarray,
    seen: np.ndarray,
    unseen: np.ndarray,
    seed: int,
    weights: np.ndarray | None,
) -> FittedFeatures:
    """Fit a feature set on the `seen` rows, and transform these and the `unseen` rows, on the workers.

    The numbers are those of `spotify_ml.features.builder.fit_features`, except for the last digits of sums. `target`
    and `groups` are those of all clean tracks; `weights`, shape (n_seen,), those of the seen rows in fitting the
    estimator.
    """
    is_full = name == "full"
    folds = np.full(len(target), -1, dtype=np.int16)
    folds[seen] = assign_folds(groups[seen], CatalogueStatistics().n_folds, seed) if is_full else 0
    is_unseen = np.zeros(len(target), dtype=bool)
    is_unseen[unseen] = True
    own_folds = tracks.spread(folds)
    examples = gathered(client, mapped(_one_per_genre_set, tracks.frames, own_folds))
    transformer: Any = fit_on_examples(name, pd.concat(examples).drop_duplicates("track_genre"), seed)
    priors, totals, words, word_folds = np.empty(0), dict[str, Any](), None, np.full(len(target), -1)
    if is_full:
        steps = transformer.named_transformers_
        steps[_GENRES].fit(_genre_sets(gathered(client, mapped(_genre_counts, tracks.frames, own_folds))))
        word_folds[seen] = steps[_WORDS].folds(groups[seen])
        regressions = _learn_words(client, steps[_WORDS], tracks, target, seen, word_folds)
        (words,) = kept(client, mapped(Regressions, [regressions.coefficients], [regressions.intercepts]))
        n_folds = int(folds.max()) + 1
        priors = mean_of_other_folds(target[seen], folds[seen], n_folds)
        levels = sum_levels(tracks.frames, own_folds, n_folds)
        totals = dict(zip(levels, kept(client, list(levels.values())), strict=True))
        (transformer,) = kept(client, mapped(_with_totals, [transformer], [totals], [float(target[seen].mean())]))
    elif name == "reference":
        moments = gathered(client, mapped(partial(_moments, transformer), tracks.frames, own_folds))
        for step in _SCALED:
            _give_moments(transformer.named_transformers_[step][-1], [each[step] for each in moments])
    n = len(tracks.frames)
    shared = [[transformer] * n, tracks.frames, own_folds, [priors] * n, [totals] * n]
    shared += [[words] * n, tracks.spread(word_folds)]
    seen_tables = mapped(_seen_matrix, *shared, _own_weights(tracks, seen, weights))
    unseen_tables = mapped(_unseen_matrix, [transformer] * n, tracks.frames, tracks.spread(is_unseen))
    if is_full:
        (transformer,) = gathered(client, [transformer])
    counts = [int((each >= 0).sum()) for each in own_folds]
    workers = workers_of(client)
    place = partial(placed, client, ranks=ranks_of(counts, len(workers)), workers=workers)
    return FittedFeatures(transformer, place(seen_tables), place(unseen_tables), counts)


def _own_weights(tracks: TrackPartitions, seen: np.ndarray, weights: np.ndarray | None) -> list[Any]:
    if weights is None:
        return [None] * len(tracks.frames)
    counts = np.ones(tracks.n_tracks)
    counts[seen] = weights
    return tracks.spread(counts)


def _one_per_genre_set(tracks: pd.DataFrame, folds: np.ndarray) -> pd.DataFrame:
    return tracks[folds >= 0].drop_duplicates("track_genre")


def _genre_counts(tracks: pd.DataFrame, folds: np.ndarray) -> pd.Series:
    counts: pd.Series = tracks["track_genre"][folds >= 0].value_counts()
    return counts


def _genre_sets(counts: Sequence[pd.Series]) -> pd.DataFrame:
    """Return the set of genres of every track, whose numbers by partition are given."""
    total = pd.concat(counts).groupby(level=0).sum()
    codes = np.repeat(np.arange(len(total)), total.to_numpy())
    return pd.DataFrame({"track_genre": pd.Categorical.from_codes(codes, total.index)})


def _learn_words(
    client: Any,
    encoder: WordRegression,
    tracks: TrackPartitions,
    target: np.ndarray,
    seen: np.ndarray,
    folds: np.ndarray,
) -> Regressions:
    """Learn the regression of words on the tracks that it takes, gathered here, and return those of the folds."""
    rows = seen[encoder.sample(len(seen))]
    is_taken = np.zeros(len(target), dtype=bool)
    is_taken[rows] = True
    taken = pd.concat(gathered(client, mapped(_names_of, tracks.frames, tracks.spread(is_taken))))
    return encoder.learn(texts_of(taken.loc[rows]), target[rows], folds[rows])


def _names_of(tracks: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    return tracks.loc[rows, WORD_COLUMNS]


def _with_totals(features: ColumnTransformer, totals: dict[str, KeyTotals], prior: float) -> ColumnTransformer:
    """Return features as if fitted on all rows of the totals, whose mean target is the prior."""
    for name, level in features.named_transformers_[_CATALOGUE].levels_.items():
        level.keys_, level.totals_, level.prior_ = totals[name].keys, totals[name].totals, prior
    return features


def _moments(features: ColumnTransformer, tracks: pd.DataFrame, folds: np.ndarray) -> dict[str, Moments]:
    seen = tracks[folds >= 0]
    found = {}
    for name in _SCALED:
        values = features.named_transformers_[name][0].transform(seen).astype(np.float64)
        mean = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
        found[name] = Moments(len(values), mean, ((values - mean) ** 2).sum(axis=0))
    return found


def _give_moments(scaler: StandardScaler, moments: Sequence[Moments]) -> None:
    """Give a scaler the moments of all partitions together (Chan et al. 1983, equation 2.1)."""
    count = sum(each.count for each in moments)
    mean = sum(each.count * each.mean for each in moments) / count
    squares = sum(each.squares + each.count * (each.mean - mean) ** 2 for each in moments)
    scaler.n_samples_seen_, scaler.mean_, scaler.var_ = count, mean, squares / count
    scaler.scale_ = np.where(scaler.var_ > 0, np.sqrt(scaler.var_), 1.0)


def _seen_matrix(
    features: ColumnTransformer,
    tracks: pd.DataFrame,
    folds: np.ndarray,
    fold_priors: np.ndarray,
    totals: dict[str, KeyTotals],
    words: Regressions | None,
    word_folds: np.ndarray,
    weights: np.ndarray | None,
) -> pd.DataFrame:
    rows = folds >= 0
    seen, known = tracks[rows], {}
    if totals:
        encoder = features.named_transformers_[_CATALOGUE]
        known = {_CATALOGUE: own_statistics(encoder, seen, folds[rows], fold_priors, totals)}
    if words is not None:
        known[_WORDS] = features.named_transformers_[_WORDS].of_others(seen, words, word_folds[rows])
    table = _table(features, seen, known)
    return table if weights is None else table.assign(**{WEIGHT: weights[rows]})


def _unseen_matrix(features: ColumnTransformer, tracks: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    return _table(features, tracks[rows], {})


def _table(features: ColumnTransformer, tracks: pd.DataFrame, known: dict[str, np.ndarray]) -> pd.DataFrame:
    matrix = transform_columns(features, tracks, known)
    table = pd.DataFrame(matrix, index=tracks.index, columns=features.get_feature_names_out(), copy=False)
    return table.assign(**{TARGET: tracks[TARGET].to_numpy(np.float64)})
