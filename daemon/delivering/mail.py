"""Sends notices as mail over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from daemon.delivering.notices import Notice
from daemon.settings import Settings

_LISTED = 100
_SUBJECT = 150


def send_mail(settings: Settings, to: Sequence[str], notices: Sequence[Notice]) -> None:
    """One mail on one or several notices of one folder.

    Raises:
        OSError, smtplib.SMTPException: the server does not take it.
    """
    message = mail_of(settings, to, notices)
    with _connected(settings) as server:
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password)
        server.send_message(message)


def _connected(settings: Settings) -> smtplib.SMTP:
    host, port, timeout = settings.smtp_host, settings.smtp_port, settings.smtp_timeout
    if settings.smtp_tls == "implicit":
        secure = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, timeout=timeout, context=secure)
    server = smtplib.SMTP(host, port, timeout=timeout)
    if settings.smtp_tls == "starttls":
        try:
            # A server that does not offer it is refused: a mail is never sent in the clear
            # because somebody between us took the offer away.
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def mail_of(settings: Settings, to: Sequence[str], notices: Sequence[Notice]) -> EmailMessage:
    """The mail. What users named their files stands in it as plain text, never in a header line."""
    first = notices[0]
    message = EmailMessage()
    message["Subject"] = _line(_subject(notices))[:_SUBJECT]
    message["From"] = settings.smtp_from
    message["To"] = ", ".join(to)
    message["Date"] = formatdate(first.created)
    # The same for every attempt, so that a mail that came twice can be told from two mails.
    message["Message-ID"] = f"<{first.id}@audiolla.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(notices)) + "\n")
    return message


def _subject(notices: Sequence[Notice]) -> str:
    first = notices[0]
    facts, folder = first.facts, first.facts["folder"]
    if first.event == "daily":
        return (
            f"[audiolla] {folder}: {facts['completed']} done, {facts['failed']} failed "
            f"on {facts['day']}"
        )
    word = "failed" if first.event == "failure" else "done"
    if len(notices) == 1:
        return f"[audiolla] {folder}: {facts['file']} {word}"
    return f"[audiolla] {folder}: {len(notices)} files {word}"


def _lines(notices: Sequence[Notice]) -> Iterator[str]:
    for notice in notices[:_LISTED]:
        yield from _daily(notice.facts) if notice.event == "daily" else _single(notice.facts)
        yield ""
    if len(notices) > _LISTED:
        yield f"... and {len(notices) - _LISTED} more"


def _single(facts: dict[str, Any]) -> Iterator[str]:
    yield _line(facts["file"])
    for label, key in (
        ("rule", "rule"),
        ("error", "error"),
        ("hint", "hint"),
        ("original", "original"),
        ("job", "job"),
    ):
        if facts.get(key):
            yield f"  {label}: {_line(facts[key])}"
    for path in facts.get("outputs", []):
        yield f"  delivered: {_line(path)}"


def _daily(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{_line(facts['folder'])} on {facts['day']}"
    yield f"  done: {facts['completed']}, failed: {facts['failed']}"
    if facts["completed"]:
        yield f"  work: {facts['seconds']:.0f} s in all, {facts['longest']:.1f} s at most"
    for failure in facts["failures"][:_LISTED]:
        yield f"  {_line(failure['file'])}: {_line(failure['error'])}"


def _line(text: Any) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
