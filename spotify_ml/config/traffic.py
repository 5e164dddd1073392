"""The schema of ``conf/traffic``: which version answers a request, and what is logged of it."""

from typing import Annotated, Literal

from pydantic import Field

from spotify_ml.config.section import Section, StudyName

# An address of the log: of a file beside the store, or of a server.
LogAddress = Annotated[str, Field(pattern=r"^(sqlite:///.+|postgresql.*://.+)$")]


class SingleTrafficConfig(Section):
    """One version answers."""

    mode: Literal["single"]


class _TwoVersionsConfig(Section):
    name: StudyName
    challenger: str = Field(min_length=1)
    log: LogAddress | None
    keep_inputs: bool
    retention_days: float | None = Field(gt=0)
    queue: int = Field(ge=1)
    reload_s: float = Field(gt=0)


class ShadowTrafficConfig(_TwoVersionsConfig):
    """The champion answers, and the challenger scores the same rows."""

    mode: Literal["shadow"]


class SplitTrafficConfig(_TwoVersionsConfig):
    """Each unit is answered by one of the two versions."""

    mode: Literal["split"]
    share: float = Field(gt=0, lt=1)
    salt: str | None = Field(min_length=1)


LoggedTrafficConfig = ShadowTrafficConfig | SplitTrafficConfig
TrafficConfig = Annotated[SingleTrafficConfig | ShadowTrafficConfig | SplitTrafficConfig, Field(discriminator="mode")]
SINGLE = SingleTrafficConfig(mode="single")
