"""What a request would run, told instead of run (`plan=true`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_api.fields import Fields
from control_api.intake import Request, extension
from control_api.ports import EngineState, Service
from handlers.declare import Operation
from handlers.registry import find
from rules.orders import Order, StepOrder

_MEDIA_TYPES = {
    "zip": "application/zip",
    "png": "image/png",
    "svg": "image/svg+xml",
    "midi": "audio/midi",
    "json": "application/json",
}


def plan_of(fields: Fields, request: Request, endpoint: str, service: Service) -> dict[str, Any]:
    """The steps with all their parameters, their lanes and engines, and what would come out."""
    states = {state.engine.slug: state for state in service.engines()}
    steps = [_step(number, step, states) for number, step in enumerate(request.order.steps)]
    missing = _missing(fields, request.order)
    return {
        "object": "plan",
        "endpoint": endpoint,
        "ready": not missing and all(e["ready"] for step in steps for e in step["engines"]),
        "missing": missing,
        "steps": steps,
        "output": _output(fields, request),
        "background": request.background,
    }


def _step(number: int, step: StepOrder, states: Mapping[str, EngineState]) -> dict[str, Any]:
    op = find(step.op)
    params = op.read_params(step.params, strict=True)
    return {
        "step": number,
        "op": op.name,
        "params": params.model_dump(mode="json"),
        "lane": op.lane_for(params),
        "engines": [_engine(slug, states.get(slug)) for slug in op.needs(params)],
        "gives": op.kind_for(params),
    }


def _engine(slug: str, state: EngineState | None) -> dict[str, Any]:
    if state is None:
        return {"slug": slug, "ready": False, "reason": "it is not enabled", "hint": None}
    why = state.unready
    return {
        "slug": slug,
        "ready": why is None,
        "reason": why.detail if why else None,
        "hint": (why.hint or None) if why else None,
    }


def _missing(fields: Fields, order: Order) -> list[str]:
    """Sounds that a request for the same, without `plan`, would have to bring."""
    step = order.steps[0]
    found = [
        sound.upload
        for sound in fields.sounds
        if sound.declared.required
        and (order.sound is None if sound.declared is fields.op.sound else True)
        and sound.declared.name not in step.sounds
    ]
    return found + [n for n, i in fields.lists.items() if i.required and not step.items.get(n)]


def _output(fields: Fields, request: Request) -> dict[str, Any]:
    op: Operation = fields.op
    last = request.order.steps[-1]
    # A chain is answered with its sound, whatever its last step is.
    kind = op.kind if fields.chain else op.kind_for(last.params)
    delivery = request.order.delivery
    told: dict[str, Any] = {"kind": kind, "path": request.output_path}
    if kind == "json" or delivery is None:
        return told | {"media_type": _MEDIA_TYPES["json"]}
    target = request.encoding.target
    if op.may_give_sound:
        told["format"] = target.name
    media_type = target.content_type if kind == "audio" else _MEDIA_TYPES.get(kind)
    if media_type is None:
        params = op.read_params(last.params, strict=True)
        media_type = f"{kind}/{extension(kind, params, request.encoding)}"
    return told | {"media_type": media_type, "name": delivery.name}
