"""What a server counts and times, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from seqkit.streaming.server.keeper import Keeper

__all__ = ["Metrics"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
TOGETHER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

TALLIES = {
    "samples": "Samples taken.",
    "steps": "Calls of the engine.",
    "evicted": "Streams that left memory.",
    "loaded": "Streams that came back into memory.",
    "stored": "States written to the store.",
    "repeated": "Pushes that had been taken before.",
}


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of its own.

    Attributes:
        answers: Answers by status; whoever answers counts them.

    Args:
        keeper: Whose streams are counted.
        waiting: Samples and jobs in the queue now.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> from seqkit.streaming.server import Keeper, Store
        >>> engine = MixerEngine(S4D(1, order=4))
        >>> metrics = Metrics(Keeper(engine, Store(":memory:", engine.fingerprint, 1.0)), lambda: 0)
        >>> b"seqkit_samples_total 0.0" in metrics.text()
        True
    """

    def __init__(self, keeper: Keeper, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.answers: Counter[int] = Counter()
        self._registry.register(_Counts(keeper, waiting, self.answers))
        self.seconds = Histogram(
            "seqkit_job_seconds", "From a job's arrival to its answer.", buckets=SECONDS, registry=self._registry
        )
        self.work = Histogram(
            "seqkit_batch_seconds", "Work on the jobs of one batch.", buckets=SECONDS, registry=self._registry
        )
        self.together = Histogram(
            "seqkit_batch_jobs", "Jobs that were done together.", buckets=TOGETHER, registry=self._registry
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text form."""
        return bytes(generate_latest(self._registry))


class _Counts(Collector):
    """Reads the server's own counts when it is asked."""

    def __init__(self, keeper: Keeper, waiting: Callable[[], int], answers: Counter[int]) -> None:
        self._keeper, self._waiting, self._answers = keeper, waiting, answers

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        for name, words in TALLIES.items():
            yield CounterMetricFamily(f"seqkit_{name}", words, value=getattr(self._keeper.tally, name))
        answers = CounterMetricFamily("seqkit_answers", "Answers by status.", labels=["status"])
        for status, count in sorted(self._answers.items()):
            answers.add_metric([str(status)], count)
        yield answers
        yield GaugeMetricFamily("seqkit_streams", "Streams, in memory or not.", value=self._keeper.streams)
        yield GaugeMetricFamily("seqkit_streams_in_memory", "Streams in memory.", value=len(self._keeper))
        yield GaugeMetricFamily("seqkit_waiting", "Samples and jobs that wait.", value=self._waiting())
