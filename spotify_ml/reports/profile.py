"""The profile of raw tracks, as Markdown with the pictures in it."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spotify_ml.data.duplicates import find_duplicates
from spotify_ml.data.etl import add_derived_columns, measured_rows
from spotify_ml.data.joined_columns import Joined
from spotify_ml.data.schema import TARGET, Violation, absent_columns
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.figures import exploration
from spotify_ml.reports.joins import joins_table
from spotify_ml.reports.page import render
from spotify_ml.utils.markdown import inlined, table

_DPI = 110
_SMALL_SHARE = 0.001
_PICTURES = ("popularity", "moods_and_tempos", "audio_effects", "spreads", "genres", "zero_shares")
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


def profile(raw: RawTracks, violations: list[Violation], joins: Sequence[Joined] = ()) -> str:
    """Return the profile of sound rows, and what is wrong with the others, as Markdown with pictures.

    `joins` says what other tables add.
    """
    # Local files and episodes have nothing to look at.
    tracks = raw.frame[measured_rows(raw.frame)].reset_index(drop=True)
    found = find_duplicates(tracks)
    absent = absent_columns(tracks)
    has_target, has_genres = (name not in absent for name in (TARGET, "track_genre"))
    figures: dict[str, Figure | None] = dict.fromkeys(_PICTURES)
    figures |= {
        "distributions": exploration.draw_distributions(tracks),
        "correlations": exploration.draw_correlations(tracks),
        "copies": exploration.draw_copies(found),
        "both_sides": exploration.draw_both_sides(found) if found.both_sides else None,
    }
    if has_target:
        figures |= {
            "popularity": exploration.draw_popularity(tracks),
            "moods_and_tempos": exploration.draw_moods_and_tempos(add_derived_columns(tracks)),
            "audio_effects": exploration.draw_audio_effects(tracks),
            "spreads": exploration.draw_spreads(found),
        }
    if has_target and has_genres:
        figures |= {"genres": exploration.draw_genres(tracks), "zero_shares": exploration.draw_zero_shares(tracks)}
    return render(
        "profile.md.j2",
        raw=raw,
        tracks=tracks,
        popularity=tracks["popularity"] if has_target else None,
        absent=absent,
        n_unmeasured=len(raw.frame) - len(tracks),
        violations=violations,
        joins=joins_table(joins) if joins else "",
        odd_values=_odd_values(tracks),
        pictures={name: None if figure is None else _picture(figure) for name, figure in figures.items()},
        lookup_r2=found.lookup_r2 if np.isfinite(found.lookup_r2) else None,
    )


def _odd_values(frame: pd.DataFrame) -> str:
    odd = {f"{name} empty": (frame[name].isna(), "not known") for name in frame if frame[name].notna().any()}
    odd |= {f"{name} {value}": (frame[name] == value, meaning) for (name, value), meaning in _ODD.items()}
    odd["loudness above 0"] = (frame["loudness"] > 0, "louder than full scale")
    rows = [
        [
            name,
            f"{where.sum():,}",
            _percent(where.mean()),
            f"{frame['popularity'][where].mean():.1f}".replace("nan", "–"),
            meaning,
        ]
        for name, (where, meaning) in odd.items()
        if where.any()
    ]
    return table(["value", "rows", "share", "mean popularity", "what it means"], rows) if rows else ""


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= _SMALL_SHARE else f"<{_SMALL_SHARE:.1%}"


def _picture(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return inlined(content.getvalue(), " ".join(figure.get_suptitle().split()))
