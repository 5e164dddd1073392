"""A model with a calibration for another catalogue behind it, and the file that this is kept in."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.tables import as_frame
from spotify_ml.models.catalogue_calibration import STRICT, CatalogueCalibration, Outputs
from spotify_ml.models.catalogue_figures import CONFIDENCE, Figures, cross_validated
from spotify_ml.models.intervals import check_confidence, within_range
from spotify_ml.models.popularity import Catalogue
from spotify_ml.scoring.known_rows import KnownRows
from spotify_ml.utils.errors import ConfigError, DataError, shown
from spotify_ml.utils.files import reason_of, staged

Predict = Callable[[Any, dict[str, Any]], np.ndarray | pd.DataFrame]
_FORMAT: Final = "spotify_ml catalogue calibration 1"
_OTHERWISE: dict[Catalogue, Catalogue] = {"own": "other", "other": "own"}


@checked_dataclass(frozen=True, config=STRICT)
class SavedCalibration:
    """A calibration, the model and the catalogue that it is for, and how good it is by rows that its fits did not see.

    Attributes
    ----------
    format : str
        The format of the file.
    model : mapping of str to str
        What tells the version of the registered model from every other.
    catalogue : {"own", "other"}
        The parameter of the model's predictions.
    n_rows : int
        The rows that it was fitted on.
    before, after : Figures
        Of the model alone, and with the calibration.
    calibration : CatalogueCalibration
        The correction.
    tables : tuple of str
        The names of the tables that known rows were joined with.
    """

    format: Literal["spotify_ml catalogue calibration 1"]
    model: Mapping[str, str]
    catalogue: Catalogue
    n_rows: int
    before: Figures
    after: Figures
    calibration: CatalogueCalibration
    tables: tuple[str, ...] = ()

    def content(self) -> bytes:
        """Return the calibration as JSON."""
        return _FILE.dump_json(self, indent=2) + b"\n"

    @property
    def sha256(self) -> str:
        """The digest of the content."""
        return hashlib.sha256(self.content()).hexdigest()

    def write(self, path: Path) -> None:
        """Write the calibration as JSON, as a whole or not at all."""
        with staged(path) as temporary:
            temporary.write_bytes(self.content())

    def __str__(self) -> str:
        """Return the figures in a line."""
        pairs = [
            f"R² {self.before.r2:.3f} before, {self.after.r2:.3f} after",
            f"bias {self.before.bias:+.2f}, {self.after.bias:+.2f}",
            f"in the 90 % interval {self.before.coverage_90:.1%}, {self.after.coverage_90:.1%}",
        ]
        return f"{'; '.join(pairs)} (n={self.n_rows:,}, by fits on other rows)"


_FILE = TypeAdapter(SavedCalibration)


def read_calibration(path: Path, model: Mapping[str, str]) -> SavedCalibration:
    """Return the calibration of a model from its file.

    Raises
    ------
    DataError
        If the file cannot be read, or is none or a damaged one.
    ConfigError
        If it is for another model.
    """
    try:
        saved = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"calibration={path} cannot be read: {reason_of(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"calibration={path} is no file that calibrate=… wrote, or is damaged "
            f"({shown(where + ': ' * bool(where) + first['msg'], 200)}); fit one anew with calibrate=…"
        ) from error
    if saved.model != model:
        raise ConfigError(
            f"config: calibration={path} is for {_named(saved.model)}, not for {_named(model)}; "
            "set model=… to that version, or fit one for this one with calibrate=…"
        )
    return saved


def _named(model: Mapping[str, str]) -> str:
    return ", ".join(f"{shown(name)} {shown(value, 100)}" for name, value in model.items()) or "no model"


def check_model(uri: str, classes: Collection[str], params: Collection[str]) -> None:
    """Check that a version with these classes and parameters can be calibrated; a `ConfigError` says why not."""
    if classes:
        raise ConfigError(
            f"config: {uri} gives the probabilities of classes, which cannot be calibrated; set model=… to a regression"
        )
    if "known" not in params:
        raise ConfigError(
            f"config: {uri} does not tell what it knows of a track, which a calibration needs; train a version with "
            "features=full and incomplete=true"
        )


def calibrate(
    predict: Predict, known: KnownRows, catalogue: Catalogue, model: Mapping[str, str], tables: Sequence[str] = ()
) -> SavedCalibration:
    """Fit a calibration of a model's predictions to known rows, and judge it by fits on other rows."""
    alone = pd.DataFrame(predict(known.rows, {"catalogue": catalogue, "interval": CONFIDENCE}))
    outputs, groups = _outputs(predict, known.rows, catalogue, {}), known.groups
    ends = (alone["lower"].to_numpy(), alone["upper"].to_numpy())
    return SavedCalibration(
        _FORMAT,
        dict(model),
        catalogue,
        len(known.rows),
        Figures.of(known.popularity, outputs.predicted, *ends),
        Figures.of(known.popularity, *cross_validated(outputs, known.rows, known.popularity, groups)),
        CatalogueCalibration.fit(outputs, known.rows, known.popularity, groups),
        tuple(tables),
    )


def _outputs(predict: Predict, rows: pd.DataFrame, catalogue: Catalogue, params: Mapping[str, Any]) -> Outputs:
    told = pd.DataFrame(predict(rows, {**params, "catalogue": catalogue, "known": True}))
    otherwise = predict(rows, {**params, "catalogue": _OTHERWISE[catalogue]})
    return Outputs(told["popularity"].to_numpy(), np.asarray(otherwise), told["known"].to_numpy(object))


@dataclass(frozen=True)
class CalibratedModel:
    """A model whose predictions are corrected, for callers that know only the model."""

    model: Predict
    saved: SavedCalibration

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> np.ndarray | pd.DataFrame:
        """Do as the `predict` of the model: popularity, and ``lower``, ``upper`` and ``known`` if they are asked for.

        Raises
        ------
        DataError
            If the model refuses the rows.
        ConfigError
            If reasons or another catalogue are asked for, or no such interval can be.
        """
        asked = dict(params or {})
        interval, known = asked.pop("interval", None), asked.pop("known", None)
        self._check(asked.pop("catalogue", self.saved.catalogue), interval, asked.pop("explain", None))
        frame = as_frame(rows)
        outputs = _outputs(self.model, frame, self.saved.catalogue, asked)
        raw = scoring_rows(frame, asked.get("out_of_range", "refuse")).frame()
        columns = {"popularity": self.saved.calibration.predict(outputs, raw)}
        if interval is not None:
            margins = self.saved.calibration.margins(outputs.known, interval)
            columns["lower"], columns["upper"] = within_range(columns["popularity"], margins)
        if known:
            columns["known"] = outputs.known
        return columns["popularity"] if list(columns) == ["popularity"] else pd.DataFrame(columns, index=frame.index)

    def _check(self, catalogue: object, interval: object, explain: object) -> None:
        if explain is not None:
            raise ConfigError(
                f"explain={shown(explain)}: reasons are of the model alone, and not given with a calibration"
            )
        if catalogue != self.saved.catalogue:
            raise ConfigError(
                f"catalogue={shown(catalogue)}: the calibration was fitted with catalogue={self.saved.catalogue}; "
                f"set that, or fit one with catalogue={shown(catalogue)}"
            )
        if interval is not None:
            check_confidence(interval)
