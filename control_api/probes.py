"""`/healthz`, `/readyz` and `/metrics`: how the server is, for programs that watch it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import falcon

from control_api.ports import Service, Vitals
from control_api.replies import answer_json
from control_api.routes import Route

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def routes(service: Service) -> list[Route]:
    """The three of them."""

    def healthz(_: falcon.Request, resp: falcon.Response) -> None:
        health = service.health()
        body = {"ok": health.ok, "device": health.device, "engines": list(health.engines)}
        answer_json(resp, body, 200 if health.ok else 503)

    def readyz(_: falcon.Request, resp: falcon.Response) -> None:
        vitals = service.vitals()
        ready = not vitals.problems
        body = {
            "ok": ready,
            "problems": dict(vitals.problems),
            "notes": list(vitals.notes),
            "sandbox": vitals.sandbox,
        }
        answer_json(resp, body, 200 if ready else 503)

    def metrics(_: falcon.Request, resp: falcon.Response) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(service.vitals()))
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = generate_latest(registry)

    return [
        Route("GET", "/healthz", "management", "Is the server well?", healthz),
        Route(
            "GET", "/readyz", "management", "Can it take work, and what should be seen to?", readyz
        ),
        Route("GET", "/metrics", "management", "Figures for Prometheus.", metrics),
    ]


class _Collector:
    """One scrape."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        """All families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        vitals = self._vitals
        depth = GaugeMetricFamily("audiolla_queue_depth", "Jobs by state.", labels=["state"])
        for state, count in vitals.jobs.items():
            depth.add_metric([state], count)
        yield depth
        yield GaugeMetricFamily(
            "audiolla_oldest_pending_seconds",
            "How long the oldest pending job has waited.",
            value=vitals.oldest_pending,
        )
        labels = ["endpoint", "outcome"]
        ended = CounterMetricFamily("audiolla_jobs", "Attempts that ended.", labels=labels)
        took = CounterMetricFamily("audiolla_job_seconds", "Time in workers.", labels=labels)
        for total in vitals.totals:
            named = [total["endpoint"], total["outcome"]]
            ended.add_metric(named, total["count"])
            took.add_metric(named, total["seconds"])
        yield ended
        yield took
        memory = GaugeMetricFamily(
            "audiolla_worker_memory_bytes", "Resident memory.", labels=["worker", "lane"]
        )
        done = CounterMetricFamily(
            "audiolla_worker_jobs", "Jobs that a process has done.", labels=["worker", "lane"]
        )
        for worker in vitals.workers:
            memory.add_metric([worker["name"], worker["lane"]], worker["memory"])
            done.add_metric([worker["name"], worker["lane"]], worker["jobs_done"])
        yield memory
        yield done
        idle = GaugeMetricFamily(
            "audiolla_engine_idle_seconds", "Since it was last used.", labels=["engine"]
        )
        for slug, seconds in vitals.engines.items():
            idle.add_metric([slug], seconds)
        yield idle
        yield GaugeMetricFamily(
            "audiolla_disk_free_bytes", "Where the data lie.", value=vitals.disk_free
        )
        yield GaugeMetricFamily(
            "audiolla_ready", "1 when work is taken.", value=float(not vitals.problems)
        )
        yield GaugeMetricFamily(
            "audiolla_notes", "Things that a person should look at.", value=len(vitals.notes)
        )
