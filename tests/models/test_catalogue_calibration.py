"""Tests of the correction for another catalogue: what it learns, from what, and that a row is a row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from spotify_ml.data.contract import check_rows
from spotify_ml.data.duplicates import copy_groups
from spotify_ml.data.schema import AUDIO
from spotify_ml.data.sources import RawTracks
from spotify_ml.models.catalogue_calibration import CatalogueCalibration, Outputs, folds
from spotify_ml.models.catalogue_figures import Figures, cross_validated
from spotify_ml.models.intervals import within_range

KINDS = np.array(["none", "genre", "artist;genre", "artist;album;genre"], dtype=object)
N_ROWS = 400


class Catalogue:
    """Rows of the sample, and a model that is wrong about their popularity by scale and level."""

    def __init__(self, sample: RawTracks, first: int = 0, n_rows: int = N_ROWS, noise: float = 8.0) -> None:
        random = np.random.default_rng(first)
        raw = sample.frame.drop_duplicates("track_id").sample(frac=1, random_state=0).iloc[first : first + n_rows]
        self.rows = check_rows(raw).frame()
        self.popularity = raw["popularity"].to_numpy(np.float64)
        told = np.clip(60 + 0.3 * self.popularity + random.normal(0, noise * 0.3, n_rows), 0, 100)
        self.outputs = Outputs(told, np.clip(told - 10, 0, 100), random.choice(KINDS, n_rows))

    @property
    def groups(self) -> np.ndarray:
        return copy_groups(self.rows)

    def fitted(self) -> CatalogueCalibration:
        return CatalogueCalibration.fit(self.outputs, self.rows, self.popularity, self.groups)


@pytest.fixture(scope="module")
def known(sample: RawTracks) -> Catalogue:
    return Catalogue(sample)


@pytest.fixture(scope="module")
def new(sample: RawTracks) -> Catalogue:
    return Catalogue(sample, first=1000)


@pytest.fixture(scope="module")
def fitted(known: Catalogue) -> CatalogueCalibration:
    return known.fitted()


def test_level_and_scale_of_new_rows_are_put_right(fitted: CatalogueCalibration, new: Catalogue):
    before = new.outputs.predicted
    after = fitted.predict(new.outputs, new.rows)
    assert np.mean(before - new.popularity) > 20
    assert abs(np.mean(after - new.popularity)) < 2
    assert r2_score(new.popularity, before) < 0 < 0.7 < r2_score(new.popularity, after)


def test_intervals_hold_as_many_new_rows_as_they_say(fitted: CatalogueCalibration, new: Catalogue):
    predicted = fitted.predict(new.outputs, new.rows)
    for confidence in (0.5, 0.8, 0.9):
        ends = within_range(predicted, fitted.margins(new.outputs.known, confidence))
        assert Figures.of(new.popularity, predicted, *ends).coverage_90 == pytest.approx(confidence, abs=0.06)


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_a_row_alone_is_as_among_others(fitted: CatalogueCalibration, new: Catalogue, n_rows: int):
    together = fitted.predict(new.outputs, new.rows)
    margins = fitted.margins(new.outputs.known, 0.9)
    for first in range(0, 70, n_rows):
        own = np.arange(first, first + n_rows)
        alone = fitted.predict(new.outputs.take(own), new.rows.iloc[own].reset_index(drop=True))
        np.testing.assert_array_equal(alone, together[own])
        np.testing.assert_array_equal(fitted.margins(new.outputs.known[own], 0.9), margins[own])


def test_order_of_new_rows_does_not_matter(fitted: CatalogueCalibration, new: Catalogue):
    order = np.random.default_rng(0).permutation(N_ROWS)
    shuffled = fitted.predict(new.outputs.take(order), new.rows.iloc[order].reset_index(drop=True))
    np.testing.assert_array_equal(shuffled, fitted.predict(new.outputs, new.rows)[order])


def test_no_rows_have_no_predictions(fitted: CatalogueCalibration, new: Catalogue):
    none = np.zeros(N_ROWS, dtype=bool)
    assert len(fitted.predict(new.outputs.take(none), new.rows[none])) == 0
    assert len(fitted.margins(new.outputs.known[none], 0.9)) == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_row_gets_a_popularity(fitted: CatalogueCalibration, new: Catalogue, data: st.DataObject):
    position = data.draw(st.integers(0, N_ROWS - 1))
    row = new.rows.iloc[[position]].reset_index(drop=True)
    for name in data.draw(st.sets(st.sampled_from(AUDIO))):
        row[name] = data.draw(st.sampled_from([np.nan, 0.0, 1.0]), name)
    for name in ("artists", "track_name", "track_genre"):
        row[name] = pd.array([data.draw(st.none() | st.text() | st.sampled_from([";", "pop;rock"]), name)], dtype="str")
    outputs = new.outputs.take(np.array([position]))._replace(known=np.array(["album"], dtype=object))
    (predicted,) = fitted.predict(outputs, row)
    assert 0 <= predicted <= 100
    assert 0 < fitted.margins(outputs.known, 0.9)[0] < np.inf


def test_a_prediction_rises_with_that_of_the_model_within_the_range_of_the_fit(
    fitted: CatalogueCalibration, new: Catalogue
):
    row = np.zeros(200, dtype=int)
    told = np.linspace(0, 100, len(row))
    outputs = new.outputs.take(row)._replace(predicted=told)
    predicted = fitted.predict(outputs, new.rows.iloc[row].reset_index(drop=True))
    assert (np.diff(predicted) >= 0).all()
    given = next(each for each in fitted.inputs if each.name == "prediction")
    assert given.weight > 0
    outside = predicted[told > given.high]
    assert len(set(outside)) == 1
    assert predicted[0] < outside[0]


def test_intervals_widen_with_confidence_to_infinity(fitted: CatalogueCalibration):
    widths = [fitted.margins(KINDS, confidence) for confidence in (0.1, 0.5, 0.8, 0.9, 0.99, 0.9999)]
    assert (np.diff(np.array(widths[:-1]), axis=0) >= 0).all()
    assert np.isinf(widths[-1]).all()


def test_kinds_of_rows_with_few_errors_share_them(known: Catalogue, new: Catalogue):
    """The popularity of 8 % of the rows, of two kinds, is by chance: one interval for all kinds would not hold them."""
    rare = np.arange(N_ROWS) % 12 == 0
    kinds = np.where(rare, np.where(np.arange(N_ROWS) % 24 == 0, "album", "none"), "genre").astype(object)
    by_chance, others_by_chance = np.random.default_rng(0).uniform(0, 100, (2, N_ROWS))
    popularity = np.where(rare, by_chance, known.popularity)
    fitted = CatalogueCalibration.fit(known.outputs._replace(known=kinds), known.rows, popularity, known.groups)
    album, none, unseen, usual = fitted.margins(np.array(["album", "none", "artist", "genre"], dtype=object), 0.9)
    assert album == none == unseen > 1.5 * usual
    errors = np.abs(fitted.predict(new.outputs, new.rows) - others_by_chance)
    # Of 34 errors, the quantile is one of 0.8 to 1 itself.
    assert (errors <= usual).mean() < 0.7 < 0.8 < (errors <= album).mean()


def test_a_missing_value_counts_as_the_median(fitted: CatalogueCalibration, new: Catalogue, known: Catalogue):
    middle = new.rows.assign(tempo=known.rows["tempo"].median())
    np.testing.assert_array_equal(
        fitted.predict(new.outputs, new.rows.assign(tempo=np.nan)), fitted.predict(new.outputs, middle)
    )


def test_known_rows_may_lack_what_new_ones_have(known: Catalogue, new: Catalogue):
    nothing = pd.array([None] * N_ROWS, dtype="str")
    bare = known.rows.assign(explicit=np.nan, loudness=np.nan, track_genre=nothing, artists=nothing, track_name=nothing)
    fitted = CatalogueCalibration.fit(known.outputs, bare, known.popularity, known.groups)
    assert not {"explicit", "loudness", "title_featured"} & {each.name for each in fitted.inputs}
    assert fitted.artists == {}
    assert r2_score(new.popularity, fitted.predict(new.outputs, new.rows)) > 0.7


def test_an_artist_who_is_more_popular_than_predicted_is_so_in_new_rows(known: Catalogue, new: Catalogue):
    names = np.where(np.arange(N_ROWS) % 10 == 0, "Abba; Cher", "Someone else " + known.rows.index.astype(str))
    rows = known.rows.assign(artists=pd.array(names, dtype="str"))
    popularity = np.where(np.arange(N_ROWS) % 10 == 0, 100.0, known.popularity)
    fitted = CatalogueCalibration.fit(known.outputs, rows, popularity, known.groups)
    by_name = [
        fitted.predict(new.outputs, new.rows.assign(artists=pd.array([name] * N_ROWS, dtype="str")))
        for name in ("ABBA", "Björn", "Cher")
    ]
    assert (by_name[0] - by_name[1]).mean() > 10
    np.testing.assert_array_equal(by_name[1], by_name[2])


def test_a_genre_counts_in_any_spelling(known: Catalogue, new: Catalogue):
    is_rap = np.arange(N_ROWS) % 2 == 0
    rows = known.rows.assign(track_genre=pd.array(np.where(is_rap, "Hip Hop", "R&B;pop"), dtype="str"))
    fitted = CatalogueCalibration.fit(known.outputs, rows, np.where(is_rap, 80.0, 20.0), known.groups)
    for spelling, expected in (("hip-hop", 80), ("r-n-b;POP", 20)):
        own = new.rows.assign(track_genre=pd.array([spelling] * N_ROWS, dtype="str"))
        assert fitted.predict(new.outputs, own).mean() == pytest.approx(expected, abs=5)


# --- no leakage


def test_no_fold_has_a_copy_in_another(known: Catalogue):
    groups = np.repeat(np.arange(N_ROWS // 2), 2)
    seen = np.zeros(N_ROWS, dtype=int)
    for others, own in folds(groups):
        assert not set(groups[others]) & set(groups[own])
        seen += own
    assert (seen == 1).all()


def test_figures_do_not_learn_from_copies(sample: RawTracks):
    """Popularity by chance, each with a copy of the same artist: only who sees the copy can predict it."""
    catalogue = Catalogue(sample)
    twice = np.repeat(np.arange(N_ROWS // 2), 2)
    rows, outputs = catalogue.rows.iloc[twice].reset_index(drop=True), catalogue.outputs.take(twice)
    rows = rows.assign(artists=pd.array([f"Artist {number}" for number in twice], dtype="str"))
    by_chance = np.random.default_rng(0).uniform(0, 100, N_ROWS // 2)[twice]
    honest, *_ = cross_validated(outputs, rows, by_chance, copy_groups(rows))
    leaking, *_ = cross_validated(outputs, rows, by_chance, np.arange(N_ROWS))
    assert r2_score(by_chance, honest) < 0.05 < 0.2 < r2_score(by_chance, leaking)


def test_figures_are_those_of_new_rows(known: Catalogue, new: Catalogue, fitted: CatalogueCalibration):
    told = Figures.of(known.popularity, *cross_validated(known.outputs, known.rows, known.popularity, known.groups))
    predicted = fitted.predict(new.outputs, new.rows)
    found = Figures.of(new.popularity, predicted, *within_range(predicted, fitted.margins(new.outputs.known, 0.9)))
    assert told.r2 == pytest.approx(found.r2, abs=0.06)
    assert told.bias == pytest.approx(found.bias, abs=2)
    assert told.coverage_90 == pytest.approx(found.coverage_90, abs=0.05)


def test_the_same_rows_give_the_same_calibration(known: Catalogue, fitted: CatalogueCalibration):
    assert known.fitted() == fitted
