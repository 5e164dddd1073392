"""What tables that were joined to tracks add, as Markdown."""

from collections.abc import Sequence

from spotify_ml.data.joined_columns import Joined
from spotify_ml.utils.markdown import code, named, table

_NONE = "–"
_HEADER = ["table", "by", "tracks in it", "their popularity", "of the others", "columns", "fills", "left out"]


def joins_table(joins: Sequence[Joined]) -> str:
    """Return a table with a row for each joined table."""
    return table(_HEADER, [_row(each) for each in joins])


def _row(joined: Joined) -> list[str]:
    share = f"{joined.n_matched:,} of {joined.n_tracks:,}"
    means = [_NONE if mean is None else f"{mean:.1f}" for mean in (joined.popularity, joined.others_popularity)]
    listed = [", ".join(map(code, names)) or _NONE for names in (joined.columns, joined.filled)]
    left_out = ", ".join(f"{named(name)} ({reason})" for name, reason in joined.left_out.items()) or _NONE
    return [code(joined.name), joined.key, share, *means, *listed, left_out]
