"""What is decided of an experiment: by the error of its outcomes, its guardrails, and its end."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from spotify_ml.config.live import GuardrailsConfig, LiveConfig, RuleConfig
from spotify_ml.live.assignment import CHALLENGER, CHAMPION
from spotify_ml.live.observed import LiveLog, Observed
from spotify_ml.live.sequential import ConfidenceSequence, looks_at, paired_sequence, split_sequence

Outcome = Literal["keep", "stop", "promote"]
METRICS = ("squared", "absolute")
_DAY_S = 86_400.0
_LATENCY = 95


@dataclass(frozen=True)
class Guardrail:
    """A condition of an experiment: whether it holds, None if there is not enough to say so; and what was found."""

    name: str
    passed: bool | None
    said: str
    value: float | None = None


@dataclass(frozen=True)
class Decision:
    """What is decided, in a sentence, and what it rests on.

    ``keep``: go on, or there is nothing to decide; ``stop``: keep the champion, and end; ``promote``: the challenger is
    better. ``sequences`` are by `METRICS` those of the champion's error less the challenger's: positive is better.
    """

    outcome: Outcome
    why: str
    mode: str
    sequences: dict[str, ConfidenceSequence]
    guardrails: list[Guardrail]
    sample_ratio: Guardrail | None
    counts: dict[str, int]
    n_outcomes: int

    @property
    def broken(self) -> list[Guardrail]:
        """The guardrails that do not hold, with the sample ratio."""
        every = [*self.guardrails, *([] if self.sample_ratio is None else [self.sample_ratio])]
        return [each for each in every if each.passed is False]

    def metrics(self) -> dict[str, float]:
        """Return every figure under the name that it is recorded by."""
        values = {f"live/{name}": float(value) for name, value in self.counts.items()}
        for metric, each in self.sequences.items():
            ends = {"gain": each.value[-1], "gain_lower": each.lower[-1], "gain_upper": each.upper[-1]}
            values |= {f"live/{metric}_{end}": float(value) for end, value in ends.items() if np.isfinite(value)}
        for guardrail in [*self.guardrails, *([] if self.sample_ratio is None else [self.sample_ratio])]:
            if guardrail.value is not None:
                values[f"live/{guardrail.name}"] = guardrail.value
        return values

    def as_dict(self) -> dict[str, Any]:
        """Return the same as what JSON can say, with the sequences look by look."""
        return {
            "decision": self.outcome,
            "why": self.why,
            "mode": self.mode,
            "outcomes": self.n_outcomes,
            "counts": self.counts,
            "guardrails": [asdict(each) for each in self.guardrails],
            "sample_ratio": None if self.sample_ratio is None else asdict(self.sample_ratio),
            "gain": {name: _listed(each) for name, each in self.sequences.items()},
        }


def decide(log: LiveLog, observed: Observed, config: LiveConfig, now: float) -> Decision:
    """Decide an experiment by all that is known of it."""
    sequences = sequences_of(log, observed.frame, config.rule)
    ratio = sample_ratio(log, config.guardrails)
    rails = [_errors(log, config.guardrails), _latency(log, config.guardrails), _out_of_range(log, config.guardrails)]
    broken = [each for each in [*rails, ratio] if each is not None and each.passed is False]
    started = float(log.predictions["at"].min())
    outcome, why = _decided(sequences, config.rule, broken, (now - started) / _DAY_S, len(observed.frame))
    n = len(observed.frame)
    return Decision(outcome, why, log.experiment.mode, sequences, rails, ratio, observed.counts, n)


def sequences_of(log: LiveLog, frame: pd.DataFrame, rule: RuleConfig) -> dict[str, ConfidenceSequence]:
    """Return the confidence sequence of each error, none without an outcome."""
    if frame.empty:
        return {}
    # Outcomes after the end of an experiment are no part of it.
    frame = frame.head(rule.max_outcomes)
    looks, groups = looks_at(len(frame), rule.look_every), frame["group"].to_numpy()
    errors = {role: (frame[role] - frame["popularity"]).to_numpy(np.float64) for role in (CHAMPION, CHALLENGER)}
    # Twice the same rule: of a normal error, the mean absolute one is so much of the root of the squared one.
    expected = frame["expected"].to_numpy(np.float64)
    covariates = {"squared": expected, "absolute": np.sqrt(expected)}
    found = {}
    for metric in METRICS:
        losses = {role: _loss(metric, each) for role, each in errors.items()}
        if log.experiment.mode == "shadow":
            difference = losses[CHAMPION] - losses[CHALLENGER]
            found[metric] = paired_sequence(difference, groups, looks, rule.alpha, rule.planned)
            continue
        is_challenger = frame["is_challenger"].to_numpy(bool)
        own = np.where(is_challenger, losses[CHALLENGER], losses[CHAMPION])
        x = _filled(covariates[metric])
        found[metric] = split_sequence(own, is_challenger, x, groups, looks, rule.alpha, rule.planned)
    return found


def sample_ratio(log: LiveLog, guardrails: GuardrailsConfig) -> Guardrail | None:
    """Return whether the sides of split traffic are as large as they should be, by a chi-squared test of units."""
    share = log.experiment.share
    if share is None:
        return None
    units = log.answered.drop_duplicates("unit")
    counts = [int((units["arm"] == arm).sum()) for arm in (CHAMPION, CHALLENGER)]
    n = sum(counts)
    if n < guardrails.fewest:
        return Guardrail("sample_ratio", None, f"{n:,} units are too few to say")
    p = float(chisquare(counts, [n * (1 - share), n * share]).pvalue)
    said = f"{counts[1] / n:.1%} of {n:,} units are the challenger's, {share:.1%} were asked for (p {_p(p)})"
    return Guardrail("sample_ratio", p >= guardrails.sample_ratio, said, p)


def _decided(
    sequences: dict[str, ConfidenceSequence], rule: RuleConfig, broken: list[Guardrail], days: float, n: int
) -> tuple[Outcome, str]:
    if broken:
        listed = "; ".join(f"{each.name}: {each.said}" for each in broken)
        return "stop", f"a guardrail does not hold, and errors decide nothing: {listed}"
    sequence = sequences.get(rule.metric)
    if sequence is None:
        return "keep", "no outcome is known yet"
    look = sequence.decided
    if look is not None:
        lower, upper, at = sequence.lower[look], sequence.upper[look], int(sequence.n[look])
        is_better = bool(lower > 0)
        bounds = sorted((abs(lower), abs(upper)))
        said = (
            f"the challenger's {rule.metric} error is {'smaller' if is_better else 'larger'} by {bounds[0]:.3g} to "
            f"{bounds[1]:.3g}, as seen after {at:,} outcomes"
        )
        return ("promote" if is_better else "stop"), said
    if n >= rule.max_outcomes or days > rule.max_days:
        reached = f"{n:,} outcomes" if n >= rule.max_outcomes else f"{days:.0f} days"
        return "stop", f"after {reached} no difference was found, and the experiment ends"
    return "keep", f"{n:,} outcomes do not tell the versions apart yet"


def _errors(log: LiveLog, guardrails: GuardrailsConfig) -> Guardrail:
    own = log.predictions[log.predictions["role"] == CHALLENGER].drop_duplicates("request")
    if len(own) < guardrails.fewest:
        return Guardrail("errors", None, f"{len(own):,} requests are too few to say")
    share = float(own["error"].notna().mean())
    said = f"the challenger failed {share:.2%} of {len(own):,} requests; {guardrails.errors:.2%} is allowed"
    return Guardrail("errors", share <= guardrails.errors, said, share)


def _latency(log: LiveLog, guardrails: GuardrailsConfig) -> Guardrail:
    timed = log.predictions[log.predictions["latency_ms"].notna()].drop_duplicates(["request", "role"])
    by_role = {role: timed.loc[timed["role"] == role, "latency_ms"].to_numpy() for role in (CHAMPION, CHALLENGER)}
    if min(map(len, by_role.values())) < guardrails.fewest:
        return Guardrail("latency", None, "too few requests were timed alone to say")
    high = {role: float(np.percentile(times, _LATENCY)) for role, times in by_role.items()}
    ratio = high[CHALLENGER] / max(high[CHAMPION], 1e-9)
    said = (
        f"95 % of the challenger's are below {high[CHALLENGER]:.1f} ms, the champion's below {high[CHAMPION]:.1f} ms; "
        f"{guardrails.latency:g} times as long is allowed"
    )
    return Guardrail("latency", ratio <= guardrails.latency, said, ratio)


def _out_of_range(log: LiveLog, guardrails: GuardrailsConfig) -> Guardrail:
    answered = log.answered
    if len(answered) < guardrails.fewest:
        return Guardrail("out_of_range", None, f"{len(answered):,} rows are too few to say")
    share = float((answered["out_of_range"].fillna("") != "").mean())
    said = f"{share:.1%} of {len(answered):,} rows have a value out of range; {guardrails.out_of_range:.1%} is allowed"
    return Guardrail("out_of_range", share <= guardrails.out_of_range, said, share)


def _loss(metric: str, errors: np.ndarray) -> np.ndarray:
    return errors**2 if metric == "squared" else np.abs(errors)


def _filled(values: np.ndarray) -> np.ndarray | None:
    """Return values with the mean where one is missing; None if too few are there to be of use."""
    known = np.isfinite(values)
    if known.mean() < 0.5:
        return None
    return np.where(known, values, values[known].mean())


def _p(value: float) -> str:
    # Of many units it may be smaller than the smallest number.
    return "< 1e-300" if value < 1e-300 else f"= {value:.2g}"


def _listed(sequence: ConfidenceSequence) -> list[dict[str, float | int | None]]:
    return [
        {
            "outcomes": int(n),
            **{name: _finite(each) for name, each in zip(("gain", "lower", "upper"), row, strict=True)},
        }
        for n, *row in zip(sequence.n, sequence.value, sequence.lower, sequence.upper, strict=True)
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
