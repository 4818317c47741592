"""Figures of the running service for Prometheus, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """What is counted. Labels are routes, methods and status codes: never anything a caller wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "kronos_requests_total", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "kronos_request_seconds",
            "From the first byte to the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.active = Gauge(
            "kronos_requests_active", "Forecast requests admitted and not answered.", registry=self.registry
        )
        self.waiting = Gauge("kronos_series_waiting", "Series in the queue before the engine.", registry=self.registry)
        self.batch_series = Histogram(
            "kronos_batch_series", "Series in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry
        )
        self.batch_seconds = Histogram(
            "kronos_batch_seconds", "Time of a batch in the engine.", buckets=_SECONDS, registry=self.registry
        )
        self.bars = Counter("kronos_bars_generated_total", "Bars generated, over all paths.", registry=self.registry)

    def batch_done(self, series: int, bars: int, seconds: float) -> None:
        self.batch_series.observe(series)
        self.batch_seconds.observe(seconds)
        self.bars.inc(bars)

    def text(self) -> bytes:
        return generate_latest(self.registry)
