"""From a form to a checked order: everything that can be refused is refused here.

Nothing in this module touches the queue: a job exists only after its order has
been built whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from control_api.fields import SPEC, Fields, SoundFields, fields_of
from control_api.forms import Form
from control_api.ports import Service, Upload
from control_api.wire import from_json
from handlers.codecs.formats import Encoding, encoding
from handlers.declare import Input, Kind, Operation, Params
from handlers.errors import (
    AudiollaError,
    BadParameter,
    MissingInput,
    MistypedParameter,
    NoSuchFile,
    TransferFailed,
    UnknownEngine,
    UnreadableInput,
    UrlRefused,
)
from handlers.registry import find
from rules.orders import Delivery, ItemRef, Order, SoundRef, StepOrder, named_items
from rules.presets import PresetStep, chained


@dataclass(frozen=True)
class Request:
    """A checked request for one operation."""

    order: Order
    background: bool
    webhook_url: str | None
    encoding: Encoding
    #: Where the client wants the result in the staging area, normalised.
    output_path: str | None
    #: Only to be told, not to be run: sounds may be missing, engines may not be ready.
    plan: bool = False
    #: Sent again with the same key, it is the same job.
    key: str | None = None


def read_request(
    fields: Fields, form: Form, path_params: Mapping[str, str], job_id: str, service: Service
) -> Request:
    """Check a form against an operation and build its order.

    Raises:
        AudiollaError: the first thing that is wrong with it.
    """
    op = fields.op
    if fields.takes_spec:
        _unfold(form)
    unknown = sorted(form.names - fields.names)
    if unknown:
        known = ", ".join(sorted(fields.names))
        # Within a document a wrong name is a wrong value of it.
        within = fields.takes_spec and unknown[0] in form.values
        error = BadParameter if within else MistypedParameter
        raise error(f"{op.name} has no field {unknown[0]}; it has: {known}", field=unknown[0])
    params = op.read_params(_raw_params(fields, form, path_params), strict=form.is_json)
    plan = bool(_typed(bool, "plan", form) or False)
    reading = Reading(job_id, service, plan)
    background = bool(_typed(bool, "async_job", form) or False)
    webhook_url = _webhook_url(form, service)
    target = _encoding(fields, form)
    stem, steps = op.name, []
    if fields.chain is not None:
        chain = fields.chain(params)
        stem, steps = chain.name, chained_steps(chain.steps, reading)
    else:
        reading.check_engines(op.needs(params))
    delivery, output_path = _destination(fields, form, params, target, stem, background, reading)
    first = _first_sound(fields, form, reading)
    steps = steps or [_step(fields, form, params, reading)]
    order = Order(sound=first, steps=steps, delivery=delivery)
    return Request(order, background, webhook_url, target, output_path, plan)


@dataclass(frozen=True)
class Reading:
    """What is known while one request is read."""

    job_id: str
    service: Service
    #: What is missing is no reason to refuse.
    plan: bool = False

    def check_engines(self, slugs: Sequence[str]) -> None:
        """Refuse work for an engine that cannot run here."""
        if not self.plan:
            self.service.check_engines(slugs)


def _first_sound(fields: Fields, form: Form, reading: Reading) -> SoundRef | None:
    sounds = (sound for sound in fields.sounds if sound.declared is fields.op.sound)
    return next((_sound(sound, form, reading) for sound in sounds), None)


def _step(fields: Fields, form: Form, params: Params, reading: Reading) -> StepOrder:
    op = fields.op
    further = {
        sound.declared.name: _sound(sound, form, reading)
        for sound in fields.sounds
        if sound.declared is not op.sound
    }
    items = {name: _items(declared, form, reading) for name, declared in fields.lists.items()}
    return StepOrder(
        op=op.name,
        params=params.model_dump(mode="json", exclude_unset=True),
        sounds={name: ref for name, ref in further.items() if ref is not None},
        items=items | named_items(op, params, lambda name: _in_a_parameter(name, reading)),
    )


def chained_steps(written: Sequence[PresetStep], reading: Reading) -> list[StepOrder]:
    """The checked steps of a chain.

    Raises:
        AudiollaError: its `step` is set, and its detail begins with it; a wrong
            step is a `BadParameter`, whatever is wrong with it.
    """
    steps = []
    for index, step in enumerate(written):
        with in_step(index, step.op):
            steps.append(_chained_step(step, reading))
    from handlers.chain import check_order

    ops = [find(step.op) for step in steps]
    try:
        check_order(ops, [op.kind_for(s.params) for op, s in zip(ops, steps, strict=True)])
    except AudiollaError as wrong:
        raise of_step(wrong.step or 0, wrong.op or "", wrong) from None
    return steps


def _chained_step(step: PresetStep, reading: Reading) -> StepOrder:
    op = chained(step.op)
    fields = fields_of(op)
    # Further sounds are named as in a request: `reference_path` beside the parameters.
    first = next((s.names for s in fields.sounds if s.declared is op.sound), ())
    uploads = fields.uploads
    known = (fields.names - set(fields.options) - set(first) - uploads) | fields.params
    unknown = sorted(set(step.params) - known)
    if unknown:
        raise BadParameter(
            f"{op.name} has no parameter {unknown[0]}; it has: {', '.join(sorted(known))}",
            field=unknown[0],
        )
    form = Form(values=dict(step.params), is_json=True)
    raw = {name: step.params[name] for name in fields.params & form.names}
    params = op.read_params(native(op, raw), strict=True)
    reading.check_engines(op.needs(params))
    return _step(fields, form, params, reading)


def native(op: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values; JSON text of an array or an object is read, as in a form field."""
    return {
        name: op.from_text(name, value) if isinstance(value, str) and op.structured(name) else value
        for name, value in values.items()
    }


@contextmanager
def in_step(index: int, op: str) -> Iterator[None]:
    """Say of every refusal inside which step of a chain it is about."""
    try:
        yield
    except AudiollaError as wrong:
        raise of_step(index, op, wrong) from None


def of_step(index: int, op: str, wrong: AudiollaError) -> AudiollaError:
    """The same refusal, about one step of a chain."""
    about_it = (MistypedParameter, MissingInput, UnknownEngine, NoSuchFile)
    kind = BadParameter if isinstance(wrong, about_it) else type(wrong)
    field = f"steps[{index}].{wrong.field}" if wrong.field else None
    told = kind(f"step {index} ({op}): {wrong.detail}", field=field, hint=wrong.hint)
    told.step, told.op = index, op
    return told


def _unfold(form: Form) -> None:
    """Take the JSON text in `spec` for what a JSON body would have been."""
    text = form.text(SPEC)
    if text is None:
        return
    value = from_json(text, SPEC)
    if not isinstance(value, dict):
        raise BadParameter(f"{SPEC} must be a JSON object of names and values", field=SPEC)
    twice = sorted(form.names & set(value))
    if twice:
        raise BadParameter(f"{twice[0]} is given beside {SPEC} and in it", field=twice[0])
    del form.texts[SPEC]
    form.take_json(value)


def _raw_params(fields: Fields, form: Form, path_params: Mapping[str, str]) -> dict[str, Any]:
    raw: dict[str, Any] = dict(path_params)
    for name in fields.params & form.names:
        if name in path_params:
            raise BadParameter(f"{name} is given in the path already", field=name)
        raw[name] = _listed(form, name) if name in fields.repeatable else form.value(name)
        if form.is_json and name in form.texts:
            # Beside a JSON body the query string may carry further parameters, as text.
            raw[name] = fields.op.from_text(name, raw[name])
    return raw


def _listed(form: Form, name: str) -> Any:
    """A list of plain values: the field repeated, comma separated, or JSON."""
    if name in form.values:
        return form.values[name]
    texts = form.texts[name]
    if len(texts) > 1:
        return texts
    if texts[0].lstrip().startswith("["):
        return from_json(texts[0], name)
    return [part.strip() for part in texts[0].split(",") if part.strip()]


def _typed(kind: Any, name: str, form: Form) -> Any:
    value = form.value(name)
    if value is None:
        return None
    try:
        return TypeAdapter(kind).validate_python(value, strict=name in form.values)
    except ValidationError as wrong:
        message = wrong.errors()[0]["msg"]
        raise MistypedParameter(f"{name} = {value!r}: {message}", field=name) from None


def _encoding(fields: Fields, form: Form) -> Encoding:
    if not fields.op.may_give_sound:
        return Encoding()
    options = fields.options
    return encoding(
        form.text("output_format") or "wav",
        bit_depth=_typed(str, "bit_depth", form) if "bit_depth" in options else None,
        bitrate=_typed(int, "bitrate", form) if "bitrate" in options else None,
        quality=_typed(float, "quality", form) if "quality" in options else None,
    )


def _webhook_url(form: Form, service: Service) -> str | None:
    url = form.text("webhook_url")
    if url is not None:
        with about_url("webhook_url", "webhook_url"):
            service.check_webhook(url)
    return url


@contextmanager
def about_url(label: str, field: str) -> Iterator[None]:
    """Say which URL a refusal is about."""
    try:
        yield
    except UrlRefused as refused:
        raise UrlRefused(f"{label} is refused: {refused.detail}", field=field) from None
    except TransferFailed as failed:
        raise TransferFailed(f"{label}: {failed.detail}", field=field) from None


def _destination(
    fields: Fields,
    form: Form,
    params: Params,
    target: Encoding,
    stem: str,
    background: bool,
    reading: Reading,
) -> tuple[Delivery | None, str | None]:
    op, service, job_id = fields.op, reading.service, reading.job_id
    kind = op.kind_for(params)
    if kind == "json" and not op.extras:
        return None, None
    path, url = form.text("output_path"), form.text("output_url")
    if path is not None and url is not None:
        raise BadParameter("give output_path or output_url, not both", field="output_url")
    # Which files a report gives, if any, and so their extensions, only its step knows.
    how: dict[str, Any] = {"encoding": target, "bundle": kind == "zip"}
    if kind == "json":
        how |= {"sound": "changed", "bare": path is None}
    elif fields.chain is not None:
        how |= {"sound": True}
    dot_ext = "" if kind == "json" else f".{extension(kind, params, target)}"
    if url is not None:
        with about_url("output_url", "output_url"):
            delivery = service.remote_delivery(job_id, f"{stem}{dot_ext}", {"": url})
        return delivery.model_copy(update=how), None
    if path is None and background:
        path = f"jobs/{job_id}{dot_ext}"
    if path is None:
        delivery = service.reply_delivery(job_id, f"{stem}{dot_ext}")
    elif reading.plan:
        path = service.staged_name(path)
        delivery = service.reply_delivery(job_id, path.rpartition("/")[2])
    else:
        delivery, path = service.staged_delivery(path)
    return delivery.model_copy(update=how), path


def extension(kind: Kind, params: Params, target: Encoding) -> str:
    """Extension of the one file that an operation answers with."""
    if kind == "audio":
        return target.target.ext
    if kind == "video":
        return str(getattr(params, "container", "mp4"))
    return "mid" if kind == "midi" else kind


def _sound(sound: SoundFields, form: Form, reading: Reading) -> SoundRef | None:
    given = [name for name in sound.names if name in form.names]
    choices = ", ".join(sound.names[:-1]) + f" or {sound.url}"
    if len(given) > 1:
        raise MissingInput(f"{' and '.join(given)} are given; give only one", field=given[1])
    if not given:
        if sound.declared.required and not reading.plan:
            raise MissingInput(f"no sound: give {choices}", field=sound.upload)
        return None
    if given[0] == sound.upload:
        upload = form.uploads.get(sound.upload)
        if upload is None:
            raise MissingInput(
                f"{sound.upload} is text, not an upload: send it as a file in "
                f"multipart/form-data, or name a staged file in {sound.path}",
                field=sound.upload,
            )
        return _uploaded(upload, sound.upload)
    name = given[0]
    return _named(name, form.text(name) or "", reading, label=name, field=name)


def _uploaded(upload: Upload, field: str) -> SoundRef:
    if not upload.size:
        raise UnreadableInput(f"{field} is empty", field=field)
    return SoundRef(path=upload.path, name=upload.name)


def _named(source: str, value: str, reading: Reading, *, label: str, field: str) -> SoundRef:
    """A sound by its path or by its URL, as the name of its source says."""
    if source.endswith("_url"):
        with about_url(label, field):
            return reading.service.remote_sound(reading.job_id, value, label=label, field=field)
    try:
        return reading.service.staged_sound(reading.job_id, value)
    except AudiollaError as wrong:
        wrong.field = field
        raise


def _in_a_parameter(name: str, reading: Reading) -> SoundRef:
    try:
        return reading.service.staged_sound(reading.job_id, name)
    except NoSuchFile as missing:
        # The request names its own file in `file_path`; this is a wrong value of a parameter.
        raise BadParameter(missing.detail) from None


def _items(declared: Input, form: Form, reading: Reading) -> list[ItemRef]:
    name, least = declared.name, declared.at_least
    value = form.value(name)
    if value is None:
        if declared.required and not reading.plan:
            raise MistypedParameter(f"{name} is required", field=name)
        return []
    if isinstance(value, str):
        value = from_json(value, name)
    if not isinstance(value, list) or len(value) < least:
        raise BadParameter(f"{name} must be a JSON array of at least {least} objects", field=name)
    entry = name.removesuffix("s")
    return [
        _item(declared, given, f"{entry} {index}", reading) for index, given in enumerate(value)
    ]


def _item(declared: Input, given: Any, which: str, reading: Reading) -> ItemRef:
    assert declared.item is not None
    if not isinstance(given, dict):
        raise BadParameter(f"{which} is not an object", field=declared.name)
    sources = {k: given[k] for k in ("file_path", "file_url") if given.get(k) not in (None, "")}
    if len(sources) != 1:
        raise BadParameter(
            f"{which} needs exactly one of file_path and file_url", field=declared.name
        )
    settings = {k: v for k, v in given.items() if k not in ("file_path", "file_url")}
    try:
        checked = declared.item.model_validate(settings, strict=True)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadParameter(f"{which}: {where}: {first['msg']}", field=declared.name) from None
    ((field, source),) = sources.items()
    if not isinstance(source, str):
        raise BadParameter(f"{which}: {field} must be text", field=declared.name)
    try:
        sound = _named(field, source, reading, label=f"{which}: {field}", field=declared.name)
    except (UrlRefused, TransferFailed):
        raise  # says already which entry it is about
    except AudiollaError as wrong:
        raise type(wrong)(f"{which}: {wrong.detail}", field=declared.name) from None
    return ItemRef(sound=sound, settings=checked.model_dump(mode="json", exclude_unset=True))
