"""`GET /metrics`: what the server does, for Prometheus.

Labels are routes, methods and statuses of the API and the names of models: no request can make up new ones. What a
model's scheduler counts begins at zero again when its engine is loaded again, as Prometheus expects of counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response

from localprobe.scheduling.job import Stats
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.exchange import Exchange
from localprobe.serve.host import Host

_REQUEST = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FIRST = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_TOKEN = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_COUNTERS = {
    "answers": "Answers finished",
    "tokens": "Tokens generated",
    "prompt_tokens": "Tokens of prompts admitted",
    "reused_tokens": "Tokens of prompts that were in the cache",
    "steps": "Decode steps",
    "rows_stepped": "Rows of all decode steps; by steps, the mean width of a batch",
    "steered_rows": "Those of these rows that were steered; by rows_stepped, their share",
    "gates": "Gates that opened or closed",
    "alerts": "Alerts",
    "failed": "Jobs that failed",
    "cancelled": "Jobs that were cancelled",
}
_GAUGES = {
    "rows": "Answers being decoded: the width of the batch now",
    "waiting": "Jobs that wait",
    "held": "Prefixes held in the cache",
}


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, host: Host) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Models(host))
        self._requests = Counter(
            "localprobe_requests", "Requests answered", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = self._histogram("request", "Time of a request", _REQUEST, ("route",))
        self._first = self._histogram("first_token", "Time until the first token of an answer", _FIRST)
        self._token = self._histogram("token", "Mean time per token after the first, of each request", _TOKEN)

    def observe(self, exchange: Exchange) -> None:
        """Count an exchange that is over."""
        self._requests.labels(exchange.route, exchange.method, str(exchange.status)).inc()
        self._seconds.labels(exchange.route).observe(exchange.seconds)
        first, last = exchange.first_token, exchange.last_token
        if first is not None and last is not None:
            self._first.observe(first - exchange.began)
            if exchange.tokens > 1:
                self._token.observe((last - first) / (exchange.tokens - 1))

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(f"localprobe_{name}_seconds", what, labels, buckets=buckets, registry=self.registry)


class _Models(Collector):
    """What the schedulers of loaded models count, asked for when it is scraped."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would collect once, to learn names

    def collect(self) -> Iterator[Metric]:
        slots = self._host.slots()
        ready = GaugeMetricFamily("localprobe_model_ready", "Whether a model can answer", labels=["model"])
        reloads = CounterMetricFamily(
            "localprobe_engine_reloads", "Loads of an engine after the one before it failed", labels=["model"]
        )
        stats: dict[str, Stats] = {}
        for slot in slots:
            hosted = slot.hosted
            ready.add_metric([slot.name], float(hosted is not None))
            reloads.add_metric([slot.name], slot.reloads)
            if hosted is not None:
                stats[slot.name] = hosted.scheduler.stats
        yield ready
        yield reloads
        yield from _families(stats)


def _families(stats: dict[str, Stats]) -> Iterator[Metric]:
    for field, what in _COUNTERS.items():
        counter = CounterMetricFamily(f"localprobe_{field}", what, labels=["model"])
        for model, of_model in stats.items():
            counter.add_metric([model], getattr(of_model, field))
        yield counter
    for field, what in _GAUGES.items():
        gauge = GaugeMetricFamily(f"localprobe_{field}", what, labels=["model"])
        for model, of_model in stats.items():
            gauge.add_metric([model], getattr(of_model, field))
        yield gauge


async def show_metrics(call: Call[None]) -> Response:
    metrics: Metrics = call.request.app.state.metrics
    encode, kind = choose_encoder(call.request.headers.get("accept", ""))
    return Response(encode(metrics.registry), headers={"Content-Type": kind})


ENDPOINTS = [
    Endpoint("GET", "/metrics", show_metrics, "Counts and times for Prometheus", gives=("text/plain",)),
]
