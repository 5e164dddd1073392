"""What Prometheus may ask a server: requests, times, errors, queues and versions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From a small model to a request of a million rows, in seconds.
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


@dataclass(frozen=True)
class Reading:
    """A figure that is read when it is asked for: its name, meaning, labels and value."""

    name: str
    meaning: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    is_count: bool = False


class ServerMetrics:
    """The figures of a server.

    Parameters
    ----------
    read : callable
        Returns the figures that others keep.
    """

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "spotify_ml_requests", "Requests to /invocations, by status.", ["status"], registry=self._registry
        )
        self.seconds = Histogram(
            "spotify_ml_request_seconds",
            "Seconds to read, score and answer a request, by the version that answered.",
            ["version"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.errors = Counter(
            "spotify_ml_version_errors",
            "Requests that a version could not score although the other could, or that ended in an error.",
            ["version"],
            registry=self._registry,
        )
        self._registry.register(_Readings(read))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Readings:
    """The figures that others keep, as Prometheus' client collects them."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Nothing is known before it is read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each figure."""
        for each in self._read():
            family = CounterMetricFamily if each.is_count else GaugeMetricFamily
            metric = family(each.name, each.meaning, labels=[name for name, _ in each.labels])
            metric.add_metric([value for _, value in each.labels], each.value)
            yield metric
