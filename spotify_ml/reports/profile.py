"""The profile of raw tracks, as Markdown with the pictures in it."""

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spotify_ml.data.duplicates import Duplicates, find_duplicates
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.schema import Violation
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.figures import exploration
from spotify_ml.utils.markdown import inlined, named, table

_DPI = 110
_SMALL_SHARE = 0.001
_ODD = {
    ("popularity", 0): "often a second id of a recording",
    ("tempo", 0): "no beat was detected",
    ("time_signature", 0): "no bar was detected",
    ("key", -1): "no key was detected",
    ("duration_ms", 0): "no length is known",
    ("danceability", 0): "not measured, mostly with tempo 0",
    ("valence", 0): "not measured, mostly with tempo 0",
    ("energy", 0): "silence, or not measured",
}


def profile(raw: RawTracks, violations: list[Violation]) -> str:
    """Return the profile of sound rows, and what is wrong with the others, as Markdown with pictures."""
    frame, found = raw.frame, find_duplicates(raw.frame)
    parts = [
        f"# Raw tracks of {named(raw.path.name)}",
        _overview(raw),
        *(["## Rows that break the schema", _broken_rows(violations)] if violations else []),
        "## Missing and odd values",
        _odd_values(frame),
        "## Distributions",
        _picture(exploration.draw_popularity(frame)),
        _picture(exploration.draw_distributions(frame)),
        "## Correlations",
        _picture(exploration.draw_correlations(frame)),
        "## Popularity by genre",
        _picture(exploration.draw_genres(frame)),
        _picture(exploration.draw_zero_shares(frame)),
        "## Popularity by mood and tempo",
        _picture(exploration.draw_moods_and_tempos(add_derived_columns(frame))),
        "## Popularity by what can be heard",
        _picture(exploration.draw_audio_effects(frame)),
        "Points are tenths of the rows, or single values of at least 1% of them; bars, 95% intervals of the mean.",
        "## Duplicates and their effect",
        _picture(exploration.draw_copies(found)),
        _picture(exploration.draw_spreads(found)),
        *([_picture(exploration.draw_both_sides(found))] if found.both_sides else []),
        _effect(found),
    ]
    return "\n\n".join(parts) + "\n"


def _overview(raw: RawTracks) -> str:
    frame, popularity = raw.frame, raw.frame["popularity"]
    facts = {
        "sha256": f"`{raw.sha256}`",
        "rows": f"{len(frame):,}",
        "tracks (track_id)": f"{frame['track_id'].nunique():,}",
        "first artists": f"{frame['artists'].str.partition(';')[0].nunique():,}",
        "album names": f"{frame['album_name'].nunique():,}",
        "genres": f"{frame['track_genre'].nunique():,}",
        "popularity": f"mean {popularity.mean():.1f}, median {popularity.median():.0f}, "
        f"{popularity.min():.0f} to {popularity.max():.0f}",
    }
    return table(["what", "value"], [[name, value] for name, value in facts.items()])


def _broken_rows(violations: list[Violation]) -> str:
    rows = [
        [named(each.column), named(each.problem), f"{each.count:,}", named(", ".join(each.examples))]
        for each in violations
    ]
    listing = table(["column", "problem", "rows", "for example"], rows)
    return f"{listing}\n\nTraining refuses such a file. Here these rows are left out of everything else."


def _odd_values(frame: pd.DataFrame) -> str:
    odd = {f"{name} empty": (frame[name].isna(), "not known") for name in frame}
    odd |= {f"{name} {value}": (frame[name] == value, meaning) for (name, value), meaning in _ODD.items()}
    odd["loudness above 0"] = (frame["loudness"] > 0, "louder than full scale")
    rows = [
        [
            name,
            f"{where.sum():,}",
            _percent(where.mean()),
            f"{frame['popularity'][where].mean():.1f}",
            meaning,
        ]
        for name, (where, meaning) in odd.items()
        if where.any()
    ]
    return table(["value", "rows", "share", "mean popularity", "what it means"], rows) if rows else "There are none."


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= _SMALL_SHARE else f"<{_SMALL_SHARE:.1%}"


def _effect(found: Duplicates) -> str:
    if not np.isfinite(found.lookup_r2):
        return "No test row of a random split has a copy to learn from."
    return (
        "Such copies can be looked up: the mean popularity of a test row's copies in the other part predicts it with "
        f"R² {found.lookup_r2:.2f}, without any model. Figures of a random split of rows are to be read with that in "
        "mind; `split=recording`, `album` and `artist` keep copies on one side."
    )


def _picture(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return inlined(content.getvalue(), " ".join(figure.get_suptitle().split()))
