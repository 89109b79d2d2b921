"""`/v1/schedules`: what is done by the clock, when next, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import falcon

from control_api.errors import UnknownSchedule
from control_api.forms import read_json
from control_api.paging import page_of, whole_number
from control_api.ports import Firing, ScheduleState, Service
from control_api.replies import answer_json
from control_api.routes import Route
from handlers.errors import BadParameter, MistypedParameter

_T = TypeVar("_T")

_NEXT = 10
_HISTORY = 100


def routes(service: Service) -> list[Route]:
    """Look at schedules, make them, run them."""

    def list_schedules(_: falcon.Request, resp: falcon.Response) -> None:
        shown = [_shown(one) for one in service.schedules.all()]
        problems = list(service.schedules.problems())
        answer_json(resp, {"object": "list", "data": shown, "problems": problems})

    def create(req: falcon.Request, resp: falcon.Response) -> None:
        written = _body(req)
        name = written.get("name")
        if not isinstance(name, str):
            raise MistypedParameter("name is required: text", field="name")
        made = service.schedules.put(name, written, replace=False)
        resp.set_header("Location", falcon.uri.encode(f"/v1/schedules/{name}"))
        answer_json(resp, _shown(made), 201)

    def show(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        answer_json(resp, _shown(_named(service, name)))

    def replace(req: falcon.Request, resp: falcon.Response, name: str) -> None:
        written = _body(req)
        if written.get("name", name) != name:
            raise BadParameter(
                f"the body names {written['name']!r}, the path {name!r}", field="name"
            )
        made = service.schedules.put(name, {"name": name, **written}, replace=True)
        answer_json(resp, _shown(made))

    def delete(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        if not service.schedules.delete(name):
            raise _unknown(name)
        answer_json(resp, {"deleted": name})

    def upcoming(req: falcon.Request, resp: falcon.Response, name: str) -> None:
        count = whole_number(req, "count", most=1000) or _NEXT
        ticks = _there(name, service.schedules.upcoming(name, count))
        zone = ZoneInfo(_named(service, name).timezone)
        local = [datetime.fromtimestamp(tick, zone).isoformat() for tick in ticks]
        answer_json(resp, {"name": name, "timezone": zone.key, "next": ticks, "local": local})

    def plan(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        answer_json(resp, {"name": name, "work": _there(name, service.schedules.plan(name))})

    def run(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        answer_json(resp, _told(_there(name, service.schedules.run(name))), 202)

    def history(req: falcon.Request, resp: falcon.Response, name: str) -> None:
        found = service.schedules.firings(name, page_of(req).limit or _HISTORY)
        if not found:
            _named(service, name)  # the history of one that is gone can still be read
        answer_json(resp, {"object": "list", "data": [_told(one) for one in found]})

    every, one = "/v1/schedules", "/v1/schedules/{name}"
    kind = "management"
    return [
        Route("GET", every, kind, "List the schedules, and when each is due.", list_schedules),
        Route("POST", every, kind, "Make a schedule.", create),
        Route("GET", one, kind, "Look at one schedule.", show),
        Route("PUT", one, kind, "Make a schedule, or replace one that was made here.", replace),
        Route("DELETE", one, kind, "Forget a schedule that was made here.", delete),
        Route("GET", f"{one}/next", kind, "When a schedule is due next.", upcoming),
        Route("GET", f"{one}/plan", kind, "What a schedule would do now.", plan),
        Route("POST", f"{one}/run", kind, "Run a schedule now.", run, scope="run"),
        Route("GET", f"{one}/history", kind, "What a schedule did, oldest first.", history),
    ]


def _body(req: falcon.Request) -> Mapping[str, Any]:
    body = read_json(req)
    if not isinstance(body, dict):
        raise BadParameter("the body must be a JSON object: a schedule")
    return body


def _shown(one: ScheduleState) -> dict[str, Any]:
    return asdict(one)


def _told(firing: Firing) -> dict[str, Any]:
    return asdict(firing)


def _named(service: Service, name: str) -> ScheduleState:
    found = next((one for one in service.schedules.all() if one.name == name), None)
    return _there(name, found)


def _there(name: str, found: _T | None) -> _T:
    if found is None:
        raise _unknown(name)
    return found


def _unknown(name: str) -> UnknownSchedule:
    return UnknownSchedule(f"there is no schedule {name!r}", field="name")
