"""Delivers webhooks from the outbox: at least once, signed, on the contract's schedule.

One thread looks at the outbox whenever a job has ended that somebody wants to
hear of, and whenever a next attempt is due; each delivery has a thread of its
own, and no receiver more than a few. What was sent is written down by the
dispatcher; a process that dies in between sends the same message again, with
the same id.

Signatures: Standard Webhooks 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

from daemon.client import Client, QueueUnavailable, Subscription
from daemon.clock import Clock, SystemClock
from daemon.jobs import NoSuchWebhook
from daemon.outbox import Attempt, OutboxReader, Webhook, WebhookState
from daemon.outgoing import Outgoing
from daemon.settings import Settings
from daemon.urls import Policy
from handlers.errors import TransferFailed, UrlRefused

log = logging.getLogger(__name__)

DELAYS = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each attempt of a round."""
_AT_ONCE, _AT_ONE_HOST = 16, 4
_LONGEST_SLEEP = 60.0  # the wall clock may jump
_PAUSE = 1.0  # seconds until the dispatcher is told again what it did not hear

Body = Callable[[Webhook], bytes]


def hooks_for(settings: Settings) -> Outgoing:
    """The client that delivers webhooks."""
    denied = settings.fetch_hosts if settings.fetch_mode == "denylist" else []
    policy = Policy(
        "allowlist" if settings.webhook_hosts else "denylist",
        settings.webhook_hosts or denied,
        ("https", "http"),
        allow_private=settings.fetch_allow_private,
        setting="AUDIOLLA_WEBHOOK_HOSTS" if settings.webhook_hosts else "AUDIOLLA_FETCH_HOSTS",
    )
    return Outgoing(policy, timeout=settings.webhook_timeout, max_bytes=0)


def signatures(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature per secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    macs = (
        hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
        for secret in secrets
    )
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


class Deliverer:
    """Sends what is in the outbox, until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        reader: OutboxReader,
        body: Body,
        *,
        outgoing: Outgoing | None = None,
        clock: Clock | None = None,
        delays: Sequence[float] = DELAYS,
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            body: makes the message of a webhook; the same bytes every time.
            outgoing: sends it; by default under the settings' policy.
            delays: seconds before each attempt of a round.
        """
        self._secrets = settings.webhook_secret
        self._client = client
        self._reader = reader
        self._body = body
        self._outgoing = outgoing or hooks_for(settings)
        self._clock = clock or SystemClock()
        self._delays = delays
        self._changed = threading.Condition()
        self._look = True
        self._stopping = threading.Event()
        #: Webhooks that are being sent, with their hosts.
        self._under_way: dict[str, str] = {}
        self._news: Subscription | None = None

    def start(self, news: Subscription) -> None:
        """Begin, with what an earlier process left behind."""
        self._news = news
        threading.Thread(target=self._hear, args=(news,), name="webhook news", daemon=True).start()
        threading.Thread(target=self._work, name="webhooks", daemon=True).start()

    def wake(self) -> None:
        """Look at the outbox now."""
        with self._changed:
            self._look = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Begin no more deliveries; those under way are sent again by the next process."""
        self._stopping.set()
        if self._news is not None:
            self._news.close()
        self.wake()

    def _hear(self, news: Subscription) -> None:
        for one in news:
            if one.webhook or one.state == "missed":
                self.wake()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self._begin_what_is_due()
            except Exception:
                # A database that does not answer for a moment must not end this thread for good.
                log.exception("the outbox could not be looked at; again in %g s", _PAUSE)
                pause = _PAUSE
            with self._changed:
                self._changed.wait_for(lambda: self._look, pause)
                self._look = False

    def _begin_what_is_due(self) -> float:
        """Start deliveries; seconds until the next is due."""
        now = self._clock.now()
        with self._changed:
            under_way = dict(self._under_way)
        busy = Counter(under_way.values())
        for webhook in self._reader.due():
            host = urlsplit(webhook.url).netloc
            if webhook.id in under_way or busy[host] >= _AT_ONE_HOST:
                continue  # whoever is done looks again
            assert webhook.next_at is not None
            if webhook.next_at > now:
                return min(webhook.next_at - now, _LONGEST_SLEEP)
            if busy.total() >= _AT_ONCE:
                break
            busy[host] += 1
            with self._changed:
                self._under_way[webhook.id] = host
            threading.Thread(
                target=self._deliver, args=(webhook,), name=f"webhook {host}", daemon=True
            ).start()
        return _LONGEST_SLEEP

    def _deliver(self, webhook: Webhook) -> None:
        try:
            attempt, final = self._attempt(webhook)
            tries = attempt.attempt - webhook.round
            state: WebhookState = "pending"
            next_at = None
            if final is not None:
                state = final
            elif tries >= len(self._delays):
                state = "failed"
            else:
                next_at = self._clock.now() + self._delays[tries]
            self._write_down(webhook, attempt, state, next_at)
        except Exception:
            log.exception("webhook %s could not be sent", webhook.id)
            self._stopping.wait(_PAUSE)
        finally:
            with self._changed:
                del self._under_way[webhook.id]
            self.wake()

    def _attempt(self, webhook: Webhook) -> tuple[Attempt, WebhookState | None]:
        """Send it once; what came of it, and the state if that is final."""
        at, begun = self._clock.now(), self._clock.monotonic()
        body = self._body(webhook)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook.id,
            "webhook-timestamp": str(int(at)),
        }
        if self._secrets:
            signed = signatures(self._secrets, webhook.id, int(at), body)
            headers["webhook-signature"] = signed
        status: int | None = None
        error: str | None = None
        final: WebhookState | None = None
        try:
            status = self._outgoing.post(webhook.url, body, headers)
        except TransferFailed as failed:
            error = failed.detail
        except UrlRefused as refused:
            error, final = refused.detail, "refused"
        if status is not None and status < 500:
            final = "delivered" if 200 <= status < 300 else "refused"
        made = Attempt(
            attempt=webhook.attempts + 1,
            at=at,
            seconds=round(self._clock.monotonic() - begun, 3),
            status=status,
            error=error,
        )
        return made, final

    def _write_down(
        self, webhook: Webhook, attempt: Attempt, state: WebhookState, next_at: float | None
    ) -> None:
        while not self._stopping.is_set():
            try:
                self._client.webhook_attempted(webhook.id, asdict(attempt), state, next_at)
            except NoSuchWebhook:
                return
            except QueueUnavailable as away:
                log.warning("webhook %s: its attempt is not written down yet: %s", webhook.id, away)
                self._stopping.wait(_PAUSE)
            else:
                return
