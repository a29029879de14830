"""What Prometheus is told: the only file that names a metric of the gateway.

Counts are plain integers in dicts, because the event loop is one thread: what one decision counts
costs 0.9 µs here, 2.7 µs in prometheus_client and 4.6 µs over its multi-process files. With several workers each leaves its counts in a directory once a second and
before it answers a scrape, and every scrape adds up what the directory holds: whichever worker
answers, no counter is ever seen to go back. A worker that ended keeps its file, for the same reason.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

BOUNDS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency buckets, seconds; the last bucket is without bound."""

SERIES_MAX = 20_000
"""Distinct label sets of decisions kept in one process; what comes later is counted as `other`."""

OTHER = "other"
"""Label value for a feature or plan that no live catalog names."""

COUNTERS = {
    "decisions": ("Decisions made, by what was asked and why it ended so.", 4),
    "degraded": ("Decisions made without Redis.", 1),
    "fenced": ("Scripts that refused because the server or bucket is not the one we know.", 0),
    "overload": ("Requests refused early because too much was in flight.", 0),
}
_LABELS = {"decisions": ("verb", "feature", "plan", "reason"), "degraded": ("feature",)}
HISTOGRAMS = {
    "decision_seconds": ("Time from the request's last byte to its decision.", ("verb",)),
    "redis_seconds": ("Time one script call took, waiting included.", ()),
}


class Counts(msgspec.Struct):
    """The counts of one process, or the sum of several: (family, labels…) → number."""

    counters: list[tuple[tuple[str, ...], int]]
    buckets: list[tuple[tuple[str, ...], list[int]]]
    sums_s: list[tuple[tuple[str, ...], float]]


class Metrics:
    """The counts of this process, and the scrape over all workers of this gateway."""

    def __init__(self, directory: Path | None = None) -> None:
        self._counters: dict[tuple[str, ...], int] = {("fenced",): 0, ("overload",): 0}
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._sums_s: dict[tuple[str, ...], float] = {}
        self._directory = directory
        self._features: frozenset[str] = frozenset()
        self._plans: frozenset[str] = frozenset()
        self._registry = CollectorRegistry()
        self._registry.register(_Scrape(self))

    def know(self, features: Iterable[str], plans: Iterable[str]) -> None:
        """Label values that may appear from now on, beside those known before."""
        self._features |= frozenset(features)
        self._plans |= frozenset(plans)

    def decided(self, verb: str, feature: str, plan: str, reason: str) -> None:
        """Count one decision. A feature or plan that no catalog names is counted as `other`."""
        key = ("decisions", verb, feature, plan, reason)
        counters = self._counters
        if key in counters:
            counters[key] += 1
            return
        if feature not in self._features or len(counters) >= SERIES_MAX:
            feature = OTHER
        if plan and (plan not in self._plans or len(counters) >= SERIES_MAX):
            plan = OTHER
        self._add(("decisions", verb, feature, plan, reason))

    def decision_seconds(self, verb: str, seconds: float) -> None:
        """Observe how long a decision took, from the request's last byte."""
        self._observe(("decision_seconds", verb), seconds)

    def decision_observer(self, verb: str) -> Callable[[float], None]:
        """`decision_seconds` for one verb, with its counts at hand."""
        key = ("decision_seconds", verb)
        buckets = self._buckets.setdefault(key, [0] * (len(BOUNDS_S) + 1))
        sums_s = self._sums_s
        sums_s.setdefault(key, 0.0)

        def observe(seconds: float) -> None:
            buckets[bisect_left(BOUNDS_S, seconds)] += 1
            sums_s[key] += seconds

        return observe

    def redis_seconds(self, seconds: float) -> None:
        """Observe how long one script call took."""
        self._observe(("redis_seconds",), seconds)

    def degraded(self, feature: str) -> None:
        """Count one decision made without Redis."""
        self._add(("degraded", feature if feature in self._features else OTHER))

    def fenced(self) -> None:
        """Count one script call that was refused by the fence."""
        self._counters[("fenced",)] += 1

    def overload(self) -> None:
        """Count one request refused early."""
        self._counters[("overload",)] += 1

    def flush(self) -> None:
        """Leave this process's counts where the other workers find them; atomic, nothing if alone."""
        if self._directory is None:
            return
        path = self._directory / f"{os.getpid()}.counts"
        draft = path.with_suffix(".draft")
        draft.write_bytes(msgspec.msgpack.encode(self._counts()))
        draft.replace(path)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The exposition of all workers, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def total(self) -> Counts:
        """The counts of all workers of this gateway."""
        if self._directory is None:
            return self._counts()
        self.flush()
        read = msgspec.msgpack.Decoder(Counts).decode
        # The name of a draft does not match, and a rename is atomic, so no half is ever read.
        return _sum(read(path.read_bytes()) for path in self._directory.glob("*.counts"))

    def _add(self, key: tuple[str, ...]) -> None:
        self._counters[key] = self._counters.get(key, 0) + 1

    def _observe(self, key: tuple[str, ...], seconds: float) -> None:
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = [0] * (len(BOUNDS_S) + 1)
            self._sums_s[key] = 0.0
        buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self._sums_s[key] += seconds

    def _counts(self) -> Counts:
        return Counts(
            list(self._counters.items()), list(self._buckets.items()), list(self._sums_s.items())
        )


def _sum(parts: Iterable[Counts]) -> Counts:
    counters: dict[tuple[str, ...], int] = {}
    buckets: dict[tuple[str, ...], list[int]] = {}
    sums_s: dict[tuple[str, ...], float] = {}
    for part in parts:
        for key, number in part.counters:
            counters[key] = counters.get(key, 0) + number
        for key, numbers in part.buckets:
            before = buckets.get(key, [0] * len(numbers))
            buckets[key] = [a + b for a, b in zip(before, numbers, strict=True)]
        for key, seconds in part.sums_s:
            sums_s[key] = sums_s.get(key, 0.0) + seconds
    return Counts(list(counters.items()), list(buckets.items()), list(sums_s.items()))


class _Scrape(Collector):
    """Turns counts into what prometheus_client writes out."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not scrape us to register us."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, each once, whether or not anything was counted yet."""
        counts = self._metrics.total()
        for family, (text, _) in COUNTERS.items():
            labels = _LABELS.get(family, ())
            counter = CounterMetricFamily(f"tallygate_{family}", text, labels=labels)
            for (name, *values), number in counts.counters:
                if name == family:
                    counter.add_metric(values, number)
            yield counter
        sums_s = dict(counts.sums_s)
        for family, (text, labels) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(f"tallygate_{family}", text, labels=labels)
            for key, numbers in counts.buckets:
                if key[0] == family:
                    histogram.add_metric(key[1:], _cumulative(numbers), sums_s[key])
            yield histogram


def _cumulative(numbers: list[int]) -> list[tuple[str, float]]:
    total = 0
    points: list[tuple[str, float]] = []
    for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), numbers, strict=True):
        total += number
        points.append((bound, total))
    return points
