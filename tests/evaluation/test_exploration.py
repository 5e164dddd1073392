"""Tests of the pictures of raw tracks: what their titles claim, and that any file can be drawn."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from spotify_ml.data.duplicates import find_duplicates
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.figures import exploration


def drawn(frame: pd.DataFrame) -> list[Figure]:
    found = find_duplicates(frame)
    of_rows = (
        exploration.draw_popularity,
        exploration.draw_distributions,
        exploration.draw_correlations,
        exploration.draw_genres,
        exploration.draw_zero_shares,
        exploration.draw_audio_effects,
    )
    of_copies = (exploration.draw_copies, exploration.draw_spreads)
    return [
        *(draw(frame) for draw in of_rows),
        exploration.draw_moods_and_tempos(add_derived_columns(frame)),
        *(draw(found) for draw in of_copies),
        *([exploration.draw_both_sides(found)] if found.both_sides else []),
    ]


def save(figures: list[Figure]) -> None:
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=30)
        assert "nan" not in figure.get_suptitle()


def test_a_single_row_can_be_drawn(sample: RawTracks):
    save(drawn(sample.frame.head(1)))


def test_names_that_look_like_formulas_are_shown_as_they_are(sample: RawTracks):
    frame = sample.frame.head(40).assign(track_genre="$a$ <b> \\frac{")
    figures = [exploration.draw_genres(frame), exploration.draw_zero_shares(frame)]
    save(figures)
    assert r"\$a\$ <b> \frac{" in figures[0].get_suptitle()


def test_copies_of_one_kind_alone_can_be_drawn(sample: RawTracks):
    for rows in (sample.frame.iloc[[0, 0]], sample.frame.iloc[[0, 0]].assign(track_id=["a", "b"])):
        found = find_duplicates(rows.reset_index(drop=True))
        save([exploration.draw_copies(found), exploration.draw_spreads(found)])


def test_titles_say_what_is_found(sample: RawTracks):
    frame = sample.frame
    titles = [" ".join(figure.get_suptitle().split()) for figure in drawn(frame)]
    means = frame.groupby("track_genre")["popularity"].mean()
    assert titles[0].startswith(f"{(frame['popularity'] == 0).mean():.0%} of the rows have popularity 0")
    assert f"to {means.max():.0f} ({means.idxmax()})" in titles[3]
    strongest = frame.corr(numeric_only=True, method="spearman")["popularity"].drop("popularity").abs().idxmax()
    assert f"more closely than {strongest} (" in titles[2]
    zeros = (frame["popularity"] == 0).groupby(frame["track_genre"]).mean()
    assert titles[4].startswith(f"In {(zeros > 0.5).sum()} of {len(zeros)} genres")
    assert titles[7].startswith(f"{(frame['track_id'].value_counts() > 1).sum():,} of {frame['track_id'].nunique():,}")


def test_share_of_the_variance_is_that_of_group_means(sample: RawTracks):
    frame = sample.frame
    residual = frame["popularity"] - frame.groupby("track_genre")["popularity"].transform("mean")
    expected = 1 - np.var(residual) / np.var(frame["popularity"])
    assert exploration._explained(frame["popularity"], frame["track_genre"]) == pytest.approx(expected)
