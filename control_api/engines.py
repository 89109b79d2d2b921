"""`/v1/engines`, `/v1/ps` and `/v1/unload`: what operations stand on, and what is in memory."""

from __future__ import annotations

from typing import Any

import falcon

from control_api.ports import EngineState, Service
from control_api.replies import answer_json
from control_api.routes import Route
from handlers.engines.declare import described
from handlers.errors import UnknownEngine


def routes(service: Service) -> list[Route]:
    """The four routes."""

    def engines(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, {"object": "list", "data": [engine_object(s) for s in service.engines()]})

    def ps(_: falcon.Request, resp: falcon.Response) -> None:
        loaded = [s for s in service.engines() if s.idle_seconds is not None]
        answer_json(resp, {"engines": [_loaded(state) for state in loaded]})

    def evict(_: falcon.Request, resp: falcon.Response, engine: str) -> None:
        if engine not in {state.engine.slug for state in service.engines()}:
            raise UnknownEngine(f"there is no engine {engine!r}", field="engine")
        if not service.unload([engine]):
            raise UnknownEngine(f"engine {engine} is not loaded", field="engine")
        answer_json(resp, {"unloaded": engine})

    def unload(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, {"unloaded": service.unload([])})

    return [
        Route("GET", "/v1/engines", "management", "List the engines.", engines),
        Route("GET", "/v1/ps", "management", "List the models in memory.", ps),
        Route("DELETE", "/v1/ps/{engine}", "management", "Let go of a model.", evict),
        Route("POST", "/v1/unload", "management", "Let go of all models.", unload),
    ]


def engine_object(state: EngineState) -> dict[str, Any]:
    """An engine as the contract has it, with what else is known of it."""
    shown = described(state.engine)
    shown |= {"loaded": state.idle_seconds is not None, "idle_seconds": _rounded(state)}
    shown |= {"lane": state.engine.lane, "licence": state.engine.licence or None}
    why = state.unready
    return shown | {"ready": why is None, "reason": why and why.detail, "hint": why and why.hint}


def _loaded(state: EngineState) -> dict[str, Any]:
    engine = state.engine
    return {
        "slug": engine.slug,
        "executor": engine.executor,
        "loaded": True,
        "idle_seconds": _rounded(state),
    }


def _rounded(state: EngineState) -> float | None:
    return None if state.idle_seconds is None else round(state.idle_seconds, 3)
