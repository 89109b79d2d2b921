"""`/v1/webhooks`: who was told of the end of which job, and with what success."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import falcon

from control_api.errors import UnknownWebhook
from control_api.jobs import DEFAULT_LIMIT
from control_api.paging import page_of
from control_api.ports import Service, Webhook
from control_api.replies import answer_json
from control_api.routes import Route


def routes(service: Service) -> list[Route]:
    """List, look at, or send again."""

    def list_webhooks(req: falcon.Request, resp: falcon.Response) -> None:
        status, job_id = req.get_param("status") or None, req.get_param("job_id") or None
        found = service.webhooks(status, job_id, page_of(req).limit or DEFAULT_LIMIT)
        answer_json(resp, {"webhooks": [_shown(webhook) for webhook in found]})

    def get_webhook(_: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        webhook = service.webhook(webhook_id)
        if webhook is None:
            raise _unknown(webhook_id)
        answer_json(resp, _shown(webhook))

    def redeliver(_: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        if not service.redeliver(webhook_id):
            raise _unknown(webhook_id)
        answer_json(resp, {"id": webhook_id, "status": "pending"}, 202)

    one = "/v1/webhooks/{webhook_id}"
    return [
        Route("GET", "/v1/webhooks", "jobs", "List webhooks, oldest first.", list_webhooks),
        Route("GET", one, "jobs", "Look at one webhook and its attempts.", get_webhook),
        Route("POST", f"{one}/redeliver", "jobs", "Send a webhook again.", redeliver, scope="run"),
    ]


def _shown(webhook: Webhook) -> dict[str, Any]:
    shown = asdict(webhook) | {"attempts": [_known(asdict(a)) for a in webhook.attempts]}
    return _known(shown)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _unknown(webhook_id: str) -> UnknownWebhook:
    return UnknownWebhook(f"there is no webhook {webhook_id!r}")
