"""Request bodies as one kind of thing: names with values, and uploads on disk.

A multipart form, an urlencoded form and a JSON object say the same. Uploads
lie in files of ours; no client's name becomes a path and no sound is opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import falcon

from control_api.bodies import form_body
from control_api.ports import Source, Upload
from control_api.wire import display_name, from_json
from handlers.errors import BadParameter, MissingInput, TooLarge

MAX_TEXT = 1 << 20
"""Bytes of all text in one request; a MIDI note list of a whole piece fits."""

Receive = Callable[[Source, str], Upload]
"""Stores one upload: its stream, and the client's name for it as printable text."""


@dataclass
class Form:
    """What a client sent. A text field may be repeated; a JSON value is as it was."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    #: The body was JSON: values have JSON's types and are checked strictly.
    is_json: bool = False

    @property
    def names(self) -> set[str]:
        """All names that carry something; an empty text or a null carries nothing."""
        return {*self.texts, *self.values, *self.uploads}

    def text(self, name: str) -> str | None:
        """The one text of a field, or None.

        Raises:
            BadParameter: it was given twice, or is not text.
        """
        if name in self.values:
            value = self.values[name]
            if not isinstance(value, str):
                raise BadParameter(f"{name} must be text, not {value!r}", field=name)
            return value
        given = self.texts.get(name, [])
        if len(given) > 1:
            raise BadParameter(f"{name} is given {len(given)} times", field=name)
        return given[0] if given else None

    def value(self, name: str) -> Any:
        """The one value of a field, text or JSON, or None."""
        return self.values[name] if name in self.values else self.text(name)

    def take_json(self, values: Mapping[str, Any]) -> None:
        """Take JSON's names and values; an empty text or a null counts as absent."""
        self.is_json = True
        self.values = {k: v for k, v in values.items() if v is not None and v != ""}

    def put(self, name: str, text: str) -> None:
        """Add one text; an empty one counts as absent."""
        if text != "":
            self.texts.setdefault(name, []).append(text)


def read_json(req: falcon.Request) -> Any:
    """The value of a JSON body.

    Raises:
        BadParameter: it is not JSON.
        TooLarge: it is too long.
    """
    return from_json(_read_text(req), "the body")


def read_form(req: falcon.Request, uploads: frozenset[str], receive: Receive) -> Form:
    """Read the body and the query string of a request.

    Args:
        req: the request; its body is consumed.
        uploads: names of the parts that are bytes rather than text.
        receive: stores one upload.

    Raises:
        BadParameter: the body is not what its content type says.
        TooLarge: too much text, or an upload over the limit.
    """
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    form = Form()
    if kind == "multipart/form-data":
        _read_multipart(form, req, uploads, receive)
    elif kind == "application/json":
        value = read_json(req)
        if not isinstance(value, dict):
            raise BadParameter("the body must be a JSON object of names and values")
        form.take_json(value)
    elif kind in ("application/x-www-form-urlencoded", ""):
        for name, text in _pairs(_read_text(req).decode()):
            form.put(name, text)
    else:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"cannot read {kind}: send multipart/form-data, "
            "application/x-www-form-urlencoded or application/json"
        )
    for name, text in _pairs(req.query_string):
        form.put(name, text)
    return form


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    try:
        yield from parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except UnicodeDecodeError:
        raise
    except ValueError as wrong:
        raise BadParameter(f"the form cannot be read: {wrong}") from None


def _read_text(req: falcon.Request) -> bytes:
    data = req.bounded_stream.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise TooLarge(
            f"the body has more than {MAX_TEXT} bytes of text; "
            "send a sound as multipart/form-data in the field file"
        )
    return bytes(data)


def _read_multipart(
    form: Form, req: falcon.Request, uploads: frozenset[str], receive: Receive
) -> None:
    left = MAX_TEXT
    for part in form_body(req).finished():
        name = part.name
        if name in uploads:
            if not part.body.size and not part.filename:
                continue  # an empty field counts as absent; browsers send it for no file
            if name in form.uploads:
                raise MissingInput(f"{name} is given twice; send one sound", field=name)
            form.uploads[name] = receive(part.body, display_name(part.filename or "", name))
            continue
        left -= part.body.size
        if left < 0:
            raise TooLarge(f"the form has more than {MAX_TEXT} bytes of text")
        form.put(name, part.body.readall().decode())
