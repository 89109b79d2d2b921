"""The outbox of webhooks: what is to be told to whom, and what became of it.

The writing side belongs to the dispatcher: a row is made in the transaction
that ends its job, so that neither exists without the other. The reading side is
for anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.clock import Clock
from daemon.jobs import NoSuchWebhook, new_id
from daemon.schema import webhook_attempts, webhooks
from daemon.store import Store

WebhookState = Literal["pending", "delivered", "refused", "failed"]
"""`refused`: answered with a status that asking again does not change. `failed`: given up."""
WEBHOOK_STATES: Final[tuple[WebhookState, ...]] = get_args(WebhookState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at delivering a webhook."""

    #: Counted from 1.
    attempt: int
    #: Unix seconds of its beginning, and how long it took.
    at: float
    seconds: float
    #: HTTP status of the answer; None when there was none.
    status: int | None = None
    #: Why there was no answer.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One message in the outbox."""

    number: int
    #: Sent as `webhook-id`: the same for every attempt.
    id: str
    job_id: str
    url: str
    #: `job.completed` or `job.failed`.
    event: str
    #: The job's row as JSON, as it was at its end.
    job: str
    state: WebhookState
    #: Attempts so far, and how many of them were made before somebody asked for more.
    attempts: int
    round: int
    #: Unix seconds.
    created: float
    #: When it is tried next; None when it is not.
    next_at: float | None
    ended: float | None
    #: The attempts themselves; only where they are asked for.
    tries: Sequence[Attempt] = field(default_factory=tuple)


class Outbox:
    """The writing side. What it changes is true for others when the turn is committed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def announce(self, job_id: str, url: str) -> None:
        """Have the end of a job told, which this turn has written."""
        job = self._store.job(job_id)
        assert job is not None
        now = self._clock.now()
        self._store.add_webhook(
            {
                "_id": f"msg_{new_id().replace('-', '')}",
                "_job_id": job_id,
                "_url": url,
                "_event": f"job.{job.state}",
                "_job": orjson.dumps(job).decode(),
                "_created": now,
                "_next_at": now,
            }
        )

    def announce_as(self, webhook: str, job_id: str, url: str, event: str, body: str) -> None:
        """Put a message into the outbox under an id of its sender's; a known id changes nothing.

        Args:
            job_id: the job whose end is told, as it is now; empty where `body` is the message.
            body: JSON, for a message that is about no job, or a job that is known no more.
        """
        if self._store.webhook(webhook) is not None:
            return
        job = self._store.job(job_id) if job_id else None
        now = self._clock.now()
        self._store.add_webhook(
            {
                "_id": webhook,
                "_job_id": job_id,
                "_url": url,
                "_event": event,
                "_job": body if job is None else orjson.dumps(job).decode(),
                "_created": now,
                "_next_at": now,
            }
        )

    def attempted(
        self, webhook: str, attempt: dict[str, Any], state: WebhookState, next_at: float | None
    ) -> None:
        """Write down an attempt; one that is known already changes nothing.

        Raises:
            NoSuchWebhook: it was forgotten meanwhile.
        """
        number, attempts = self._known(webhook)
        if attempt["attempt"] <= attempts:
            return
        self._store.change(
            "attempted", {"_webhook": number, **{f"_{k}": v for k, v in attempt.items()}}
        )
        self._store.change(
            "webhook",
            {
                "_number": number,
                "_state": state,
                "_attempts": attempt["attempt"],
                "_next_at": next_at,
                "_ended": None if state == "pending" else self._clock.now(),
            },
        )

    def send_again(self, webhook: str) -> None:
        """Begin a new round of attempts at once.

        Raises:
            NoSuchWebhook: there is none.
        """
        number, attempts = self._known(webhook)
        now = self._clock.now()
        self._store.change(
            "webhook_again", {"_number": number, "_round": attempts, "_next_at": now}
        )

    def forget_older(self, seconds: float) -> int:
        """Forget webhooks that ended longer ago than this; some hundreds at a time.

        Returns:
            How many were forgotten.
        """
        old = self._store.past_webhooks(self._clock.now() - seconds)
        for number in old:
            self._store.forget_webhook(number)
        return len(old)

    def _known(self, webhook: str) -> tuple[int, int]:
        known = self._store.webhook(webhook)
        if known is None:
            raise NoSuchWebhook(f"there is no webhook {webhook}")
        return known


class OutboxReader:
    """The reading side: any process, any thread, never a write."""

    def __init__(self, database: Path) -> None:
        self._engine = schema.reader_engine(database)

    def due(self) -> list[Webhook]:
        """Everything that is to be tried, now or later; the earliest first, a thousand at most."""
        query = sa.select(webhooks).where(schema.DUE).order_by(webhooks.c.next_at).limit(1000)
        with self._engine.connect() as connection:
            return [Webhook(**row._mapping) for row in connection.execute(query)]

    def webhook(self, webhook: str) -> Webhook | None:
        """One, with its attempts."""
        query = sa.select(webhooks).where(webhooks.c.id == webhook)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
            return None if row is None else self._whole(connection, row)

    def webhooks(self, state: WebhookState | None, job_id: str | None, limit: int) -> list[Webhook]:
        """The newest, oldest first, with their attempts."""
        query = sa.select(webhooks).order_by(webhooks.c.number.desc()).limit(limit)
        if state is not None:
            query = query.where(webhooks.c.state == state)
        if job_id is not None:
            query = query.where(webhooks.c.job_id == job_id)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            return [self._whole(connection, row) for row in reversed(rows)]

    @staticmethod
    def _whole(connection: sa.Connection, row: sa.Row[Any]) -> Webhook:
        query = (
            sa.select(*(c for c in webhook_attempts.c if c.name != "webhook"))
            .where(webhook_attempts.c.webhook == row.number)
            .order_by(webhook_attempts.c.attempt)
        )
        tries = [Attempt(**one._mapping) for one in connection.execute(query)]
        return Webhook(**row._mapping, tries=tries)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
