"""The search space of a study: keys of a run and their possible values."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import Trial

from spotify_ml.config.check import check, known_keys
from spotify_ml.config.models import model_config
from spotify_ml.config.run import RunConfig
from spotify_ml.utils.errors import ConfigError, did_you_mean

# Other keys decide which rows judge a trial, by which metric, or where it is recorded.
SEARCHABLE = ("cleaning", "features", "model", "task.weights")
_SPEC = {"low", "high", "log", "step", "choices", "when"}
Values = dict[str, Any]
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


@dataclass(frozen=True)
class Parameter:
    """A dotted key of a run, its values, and the values of other keys under which it has an effect."""

    key: str
    distribution: Distribution
    when: dict[str, list[Any]] = field(default_factory=dict)

    def applies(self, values: Values, config: RunConfig) -> bool:
        """Return whether the parameter has an effect with the values chosen so far."""
        settings = config.flat() | values
        return all(settings.get(key) in allowed for key, allowed in self.when.items())


def read_space(space: Mapping[str, Any], config: RunConfig) -> list[Parameter]:
    """Check a search space against the schema of a run; parameters come after those that they depend on.

    The section ``tune.space`` is nested like a run's configuration, with ``{low, high, log, step}`` or ``{choices}``
    instead of a value, and ``when: {other.key: value}`` if a parameter needs that value. Where ``model.name`` is
    searched, a model's parameters need that model.

    Raises `ConfigError` naming every key that does not exist or cannot be searched, and every invalid range.
    """
    specs = dict(_leaves(space))
    if not specs:
        raise ConfigError(
            f"tune.space is empty: there is no space for model={config.model.name}; "
            "give one with '+tune.space.model.<parameter>={low: …, high: …}'"
        )
    parameters, problems = [], []
    try:
        for key, given in specs.items():
            _check_spec(key, given)
        conditions = {key: _when(key, given, specs) for key, given in specs.items()}
        order = _ordered(conditions)
    except ConfigError as error:
        raise ConfigError(f"tune.space.{error}") from error
    for key in order:
        try:
            distribution = _distribution(key, specs[key], _met(key, conditions), config)
            parameters.append(Parameter(key, distribution, conditions[key]))
        except (ConfigError, ValueError, TypeError) as error:
            problems.append(f"tune.space.{key}: {str(error).removeprefix('config: ')}")
    if problems:
        raise ConfigError("\n".join(problems))
    return parameters


def suggest(trial: Trial, space: list[Parameter], config: RunConfig) -> Values:
    """Let the sampler choose a value of every parameter that has an effect."""
    values: Values = {}
    for parameter in space:
        if parameter.applies(values, config):
            key, known = parameter.key, parameter.distribution
            if isinstance(known, CategoricalDistribution):
                values[key] = trial.suggest_categorical(key, known.choices)
            elif isinstance(known, IntDistribution):
                values[key] = trial.suggest_int(key, known.low, known.high, step=known.step, log=known.log)
            else:
                values[key] = trial.suggest_float(key, known.low, known.high, step=known.step, log=known.log)
    return values


def own_values(space: list[Parameter], config: RunConfig) -> Values:
    """Return the run's own values of the parameters that have an effect."""
    settings = config.flat()
    return {each.key: settings[each.key] for each in space if each.key in settings and each.applies({}, config)}


def nearest_values(space: list[Parameter], own: Values) -> Values:
    """Return a run's own values, each moved to the nearest in the space.

    A choice that is not in the space, and null for a range, are left out.
    """
    values: Values = {}
    for parameter in (each for each in space if each.key in own):
        value, distribution = own[parameter.key], parameter.distribution
        if isinstance(distribution, CategoricalDistribution):
            if value in distribution.choices:
                values[parameter.key] = value
        elif value is not None:
            low, step = distribution.low, distribution.step
            value = min(max(value, low), distribution.high)
            values[parameter.key] = value if step is None else low + round((value - low) / step) * step
    return values


def outside(space: list[Parameter], own: Values) -> list[str]:
    """Describe every value of a run that is not in the space."""
    nearest = nearest_values(space, own)
    return [
        f"{each.key}={_shown(own[each.key])}, which tune.space.{each.key} does not hold ({_extent(each.distribution)})"
        for each in space
        if each.key in own and (each.key not in nearest or nearest[each.key] != own[each.key])
    ]


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _extent(distribution: Distribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(_shown, distribution.choices))
    step = f" in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}"


def apply(config: RunConfig, values: Values) -> RunConfig:
    """Return a run with other values; another ``model.name`` brings that model's defaults."""
    container = config.model_dump(by_alias=True)
    name = values.get("model.name", config.model.name)
    if name != config.model.name:
        container["model"] = model_config(name).model_dump()
    for key, value in values.items():
        set_dotted(container, key, value)
    return check(container, RunConfig)


def set_dotted(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of nested settings."""
    *sections, last = key.split(".")
    for name in sections:
        settings = settings.setdefault(name, {})
    settings[last] = value


def describe(space: list[Parameter]) -> str:
    """Return a space as JSON, equal for equal spaces."""
    described = {
        each.key: {"is": json.loads(distribution_to_json(each.distribution)), "when": each.when} for each in space
    }
    return json.dumps(described, sort_keys=True)


def stored_space(described: str) -> list[Parameter]:
    """Return the space that `describe` has described."""
    stored = json.loads(described)
    order = _ordered({key: each["when"] for key, each in stored.items()})
    return [
        Parameter(key, cast("Distribution", json_to_distribution(json.dumps(stored[key]["is"]))), stored[key]["when"])
        for key in order
    ]


def _leaves(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, given in space.items():
        key = f"{prefix}{name}"
        if isinstance(given, Mapping) and not (given.keys() & _SPEC):
            yield from _leaves(given, f"{key}.")
        else:
            yield key, given


def _check_spec(key: str, given: Any) -> None:
    """Check the form of a range, and that its key may be searched; the schema checks its values."""
    if key.split(".")[0] not in {name.split(".")[0] for name in known_keys()}:
        raise ConfigError(f"{key}: a run has no such key{did_you_mean(key, known_keys())}")
    if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in SEARCHABLE):
        raise ConfigError(f"{key} cannot be searched; what can is {', '.join(SEARCHABLE)}")
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key}={given!r} is no range; give {{low: …, high: …}} or {{choices: […]}}")
    unknown = [str(name) for name in given if name not in _SPEC]
    if unknown:
        raise ConfigError(f"{key} has no '{unknown[0]}'{did_you_mean(unknown[0], sorted(_SPEC))}")
    if "choices" not in given and not {"low", "high"} <= given.keys():
        raise ConfigError(f"{key} has one end only; give {{low: …, high: …}} or {{choices: […]}}")


def _when(key: str, given: Mapping[str, Any], specs: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the conditions of a key, each with the values that meet it."""
    when = {
        other: list(allowed) if isinstance(allowed, list | tuple) else [allowed]
        for other, allowed in (given.get("when") or {}).items()
    }
    for other in when:
        if other not in specs and other not in set(known_keys()):
            raise ConfigError(f"{key}: 'when' names '{other}', which a run does not have{did_you_mean(other, specs)}")
    group, _, parameter = key.partition(".")
    if group == "model" and "model.name" in specs and key != "model.name":
        models = specs["model.name"].get("choices", [])
        when.setdefault("model.name", [name for name in models if parameter in type(model_config(name)).model_fields])
        if not when["model.name"]:
            raise ConfigError(f"{key}: none of {', '.join(models)} has it")
    return when


def _ordered(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ordered: list[str] = []
    while pending := [key for key in conditions if key not in ordered]:
        ready = [key for key in pending if not conditions[key].keys() & set(pending)]
        if not ready:
            raise ConfigError(f"{pending[0]}: {', '.join(pending)} wait for each other with 'when'")
        ordered += ready
    return ordered


def _met(key: str, conditions: Mapping[str, Mapping[str, list[Any]]]) -> Values:
    """Return values that meet the conditions of a key, and the conditions of those."""
    values: Values = {}
    for other, allowed in conditions[key].items():
        values |= (_met(other, conditions) if other in conditions else {}) | {other: allowed[0]}
    return values


def _distribution(key: str, given: Mapping[str, Any], condition: Values, config: RunConfig) -> Distribution:
    """Check choices, or both ends of a range, by the schema, and return Optuna's form of them."""
    # Choices replace a range, with which an override of them is merged.
    ends = given["choices"] if "choices" in given else [given["low"], given["high"]]
    runs = [apply(config, condition | {key: value}) for value in ends]
    if "choices" in given:
        return CategoricalDistribution(list(ends))
    low, high = ends
    log, step = bool(given.get("log", False)), given.get("step")
    # Whether values are whole depends on the schema, not on how a bound is written.
    if _is_whole(runs[0], key):
        return IntDistribution(low, high, log=log, step=1 if step is None else step)
    return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))


def _is_whole(config: RunConfig, key: str) -> bool:
    *sections, last = key.split(".")
    section: Any = config
    for name in sections:
        section = section[name] if isinstance(section, dict) else getattr(section, name)
    annotation = type(section).model_fields[last].annotation
    kinds = set(get_args(annotation) or (annotation,))
    return int in kinds and float not in kinds
