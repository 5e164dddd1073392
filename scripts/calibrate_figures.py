"""How good predictions for another catalogue are after a calibration on some of its tracks.

    SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/calibrate_figures.py               # 10 minutes
    SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/calibrate_figures.py --seeds 42 --known 500

Of the tracks of TidyTuesday's "Spotify Songs" (2020) that the dataset lacks, and that are no copies of its own, some
are drawn to calibrate on; all others that are no copies of these are scored. Figures are means over draws and seeds of
the model. Those "as told" are what `predict` says of the drawn tracks, by fits on others of them.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from incomplete_rows import fitted_model

from spotify_ml import configure
from spotify_ml.backends.local import LocalBackend
from spotify_ml.config.run import RunConfig
from spotify_ml.data.duplicates import copied
from spotify_ml.models.catalogue_figures import CONFIDENCE, Figures
from spotify_ml.models.popularity import Catalogue, PopularityModel
from spotify_ml.scoring.calibrated import CalibratedModel, Predict, calibrate
from spotify_ml.scoring.known_rows import KnownRows, read_known
from spotify_ml.utils.markdown import table
from spotify_ml.utils.timing import Stopwatch

NAMES = ("r2", "bias", "coverage_90")


def main() -> None:
    """Print a table of figures by the number of rows to calibrate on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--known", nargs="+", type=int, default=[100, 200, 500, 1000, 2000])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--catalogue", choices=["own", "other"], default="own")
    parser.add_argument("--data", default="full", help="sample or full (full)")
    given = parser.parse_args()
    path = Path(os.environ["SPOTIFY_TIDYTUESDAY_PATH"])
    found = []
    for seed in given.seeds:
        config = configure(f"data={given.data}", f"seed={seed}")
        predict, elsewhere = model_and_strangers(config, path)
        found += list(measured(predict, elsewhere, given.known, given.draws, seed, given.catalogue))
    print(f"\ncatalogue={given.catalogue}, seeds {', '.join(map(str, given.seeds))}, {given.draws} draws each\n")
    print(as_markdown(pd.DataFrame(found)), flush=True)


def model_and_strangers(config: RunConfig, path: Path) -> tuple[Predict, KnownRows]:
    """Return the model of a run, and the tracks of a file that are no copies of those of the run."""
    backend = LocalBackend(config, Stopwatch())
    source = backend.read()
    split = backend.split(source)
    model = fitted_model(config, source, split, backend.subsets(source, split))
    tracks = read_known(str(path))
    return _asked_by_parameters(model), tracks.take(~copied(tracks.rows, source.tracks.frame))


def _asked_by_parameters(model: PopularityModel) -> Predict:
    return lambda rows, params: model.predict(rows, **params)


def measured(
    predict: Predict, tracks: KnownRows, sizes: list[int], n_draws: int, seed: int, catalogue: Catalogue
) -> Iterator[dict[str, float]]:
    """Yield the figures of each draw: of the scored rows before and after, and after by fits on other rows."""
    groups = tracks.groups
    alone = pd.DataFrame(predict(tracks.rows, {"catalogue": catalogue, "interval": CONFIDENCE}))
    for size in sizes:
        for draw in range(n_draws):
            drawn = np.zeros(len(groups), dtype=bool)
            drawn[np.random.default_rng([seed, draw]).choice(len(groups), size, replace=False)] = True
            scored = ~np.isin(groups, groups[drawn])
            saved = calibrate(predict, tracks.take(drawn), catalogue, {})
            after = CalibratedModel(predict, saved).predict(tracks.rows[scored], {"interval": CONFIDENCE})
            popularity = tracks.popularity[scored]
            figures = {
                "before": _figures(popularity, alone[scored]),
                "after": _figures(popularity, pd.DataFrame(after)),
                "told": saved.after,
            }
            yield {
                "known": size,
                **{f"{when}_{name}": getattr(own, name) for when, own in figures.items() for name in NAMES},
            }


def _figures(popularity: np.ndarray, scored: pd.DataFrame) -> Figures:
    return Figures.of(popularity, *(scored[name].to_numpy() for name in ("popularity", "lower", "upper")))


def as_markdown(found: pd.DataFrame) -> str:
    """Return a table of means by the number of known rows, and the lowest R² of a draw."""
    rows: list[list[str]] = []
    for size, own in found.groupby("known"):
        means = own.mean()
        if not rows:
            rows.append(["none", *_shown(means, "before"), "", "", "", ""])
        rows.append([f"{size:,}", *_shown(means, "after"), f"{own['after_r2'].min():.3f}", *_shown(means, "told")])
    names = ["R²", "bias", "90 %"]
    return table(["known rows", *names, "lowest R²", *(f"{name}, as told" for name in names)], rows)


def _shown(means: pd.Series, when: str) -> list[str]:
    return [f"{means[f'{when}_r2']:.3f}", f"{means[f'{when}_bias']:+.2f}", f"{means[f'{when}_coverage_90']:.1%}"]


if __name__ == "__main__":
    main()
