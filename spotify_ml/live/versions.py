"""The two versions that answer, and the thread that loads others once an alias moves."""

import gc
import logging
from dataclasses import dataclass, field
from threading import Event, Thread

from mlflow import MlflowClient

from spotify_ml.data.schema import Kind
from spotify_ml.tracking.registry import ScoringModel, Version, find_version, load_version
from spotify_ml.tracking.store import store_errors
from spotify_ml.utils.errors import ConfigError, ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The versions of a moment; there is no challenger while both addresses name the same version."""

    champion: ScoringModel
    challenger: ScoringModel | None

    @property
    def further(self) -> dict[str, Kind]:
        """The columns that one of them takes beside those of all models."""
        return {**self.champion.further, **({} if self.challenger is None else self.challenger.further)}


@dataclass
class Versions:
    """The versions behind two addresses, as they are now.

    Attributes
    ----------
    client : MlflowClient
        Of the store.
    uri : str
        Of the store.
    champion, challenger : str
        The addresses, ``models:/name@alias`` or ``models:/name/version``.
    reload_s : float
        How often they are looked at.
    reloads, failures : int
        How often other versions were loaded, and could not be.
    """

    client: MlflowClient
    uri: str
    champion: str
    challenger: str
    reload_s: float
    reloads: int = 0
    failures: int = 0
    _pair: Pair | None = None
    _said: str = ""
    _ended: Event = field(default_factory=Event)
    _thread: Thread | None = None

    @property
    def pair(self) -> Pair:
        """The versions that answer; a request keeps those that it has begun with."""
        assert self._pair is not None  # noqa: S101 - `load` comes first
        return self._pair

    def load(self) -> Pair:
        """Load both versions.

        Raises
        ------
        ConfigError
            If they are the same one, or one predicts classes.
        SpotifyMLError
            If one is not there, or cannot be loaded.
        """
        found = self._find()
        if found[0].uri == found[1].uri:
            raise ConfigError(
                f"config: {self.champion} and {self.challenger} are the same version, {found[0].uri}, which is not to "
                "be compared with itself; train a challenger, or name one by traffic.challenger=…"
            )
        self._pair = Pair(*(self._loaded(each) for each in found))
        return self._pair

    def start(self) -> None:
        """Start to look at the aliases."""
        self._thread = Thread(target=self._watch, name="live-versions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _find(self) -> list[Version]:
        with store_errors(self.uri):
            return [find_version(self.client, each) for each in (self.champion, self.challenger)]

    def _watch(self) -> None:
        while not self._ended.wait(self.reload_s):
            try:
                self._look()
                self._said = ""
            # The versions that are loaded go on, whatever it is.
            except Exception as error:
                self.failures += 1
                if str(error) != self._said:
                    log.error("the versions that are loaded go on: %s", error)  # noqa: TRY400
                self._said = str(error)

    def _look(self) -> None:
        """Load what the addresses name now, where it is something else; requests under way end with the old ones."""
        champion, challenger = self._find()
        pair = self.pair
        loaded = {each.version.uri: each for each in (pair.champion, pair.challenger) if each is not None}
        same = champion.uri == challenger.uri
        now = (champion.uri, None if same else challenger.uri)
        before = (pair.champion.version.uri, None if pair.challenger is None else pair.challenger.version.uri)
        if now == before:
            return
        new = Pair(
            loaded.get(champion.uri) or self._loaded(champion),
            None if same else loaded.get(challenger.uri) or self._loaded(challenger),
        )
        self._pair = new
        self.reloads += 1
        beside = "nobody, as the challenger is the champion" if new.challenger is None else new.challenger.version.uri
        log.warning("an alias has moved: %s answers, beside %s", new.champion.version.uri, beside)
        # Loaded models are held by cycles, and a command collects none.
        del pair, loaded
        gc.collect()

    def _loaded(self, version: Version) -> ScoringModel:
        with store_errors(self.uri):
            model = load_version(version, self.uri)
        if model.classes:
            raise ModelError(
                f"{version.uri} predicts classes of popularity; versions of live traffic predict popularity itself"
            )
        return model
