"""The reference pages, computed from the declarations, the settings and the command.

Nothing in `docs/reference/` is written by hand. `audiolla check` computes the
pages again and compares: a page that says less than the program fails it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import yaml

from daemon.settings import Settings, environment_name
from handlers.artifacts import NamedFile, Result, artifact_types
from handlers.codecs.formats import OUTPUT_FORMATS, Encoding
from handlers.declare import CATEGORIES, Operation
from handlers.registry import operations
from handlers.units import Unit
from rules.names import FILE_FIELDS

_MADE = "<!-- Written by `./audiolla docs`; change the declarations, not this page. -->"
_RESULTS = {
    "audio": "a sound",
    "zip": "several sounds",
    "png": "a PNG picture",
    "svg": "an SVG picture",
    "midi": "a MIDI file",
    "video": "a video",
    "json": "a report (JSON)",
}


def pages() -> Mapping[str, str]:
    """File name to text, for every page of the reference."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "operations.md": _operations,
        "formats.md": _formats,
        "settings.md": _settings,
        "cli.md": _cli,
    }
    return {name: "\n".join([_MADE, "", *lines()]).rstrip() + "\n" for name, lines in made.items()}


# ---- operations --------------------------------------------------------------------------------


def _operations() -> Iterator[str]:
    yield "# Operations"
    yield ""
    yield "Every operation is declared once; its route, rule step, command and this page follow"
    yield "from that. A chain takes them in any order in which each finds what it needs."
    for category, meaning in CATEGORIES.items():
        ours = [op for op in operations().values() if op.category == category]
        if ours:
            yield from ("", f"## {category}", "", meaning)
        for op in ours:
            yield from _operation(op)


def _result(op: Operation) -> str:
    return "a sound, or several" if op.several else _RESULTS[op.kind]


def _operation(op: Operation) -> Iterator[str]:
    first, *rest = op.doc.splitlines()
    yield from ("", f"### {op.name}", "", first)
    takes = ", ".join(_input(i) for i in op.inputs) or "nothing"
    yield from ("", f"- Takes {takes}; gives {_result(op)}.")
    facts = list(_facts(op))
    if facts:
        yield f"- Says {', '.join(facts)}."
    yield f"- `POST {op.route}`" + (f", tool `{op.tool}`" if op.tool else "")
    if op.streams:
        reads = "once" if op.passes == 1 else f"{op.passes} times"
        yield f"- Works piece by piece, in constant memory; reads its sound {reads}."
    yield ""
    if any(line.strip() for line in rest):
        yield from _prose(rest[1:])
        yield ""
    yield from _parameters(op.params.model_json_schema())
    for declared in op.inputs:
        if declared.item is not None:
            title = f"Each entry of `{declared.name}` is a sound and:"
            yield from _parameters(declared.item.model_json_schema(), title)
    if op.sound is None and all(declared.named for declared in op.inputs):
        # Nothing goes in, so no rule can begin with it: its parameters are the body of a request.
        for example in op.examples:
            yield from (f"{example.title.rstrip('.')}:", "", "```json")
            yield json.dumps(example.params, ensure_ascii=False)
            yield from ("```", "")
        return
    yield "```yaml"
    yield "rules:"
    for example in op.examples:
        yield f"  - name: {_flow(example.title.rstrip('.'))}"
        params = {**example.params, **_further(op)}
        step = f"{op.name}: {_flow(params)}" if params else op.name
        yield from ("    steps:", f"      - {step}")
    yield "```"


def _further(op: Operation) -> dict[str, Any]:
    """The further sounds it needs as a rule writes them, one beside the rules for each.

    In a list, the first is the dropped file.
    """
    pair = [{"file": "{input}"}, {"file": "other.wav"}]
    return {
        declared.name: pair if declared.many else "other.wav"
        for declared in op.inputs
        if declared.required and declared is not op.sound
    }


def _facts(op: Operation) -> Iterator[str]:
    """What the result tells beside its sounds and files."""
    if not issubclass(op.result, Result):
        return
    for name, info in op.result.model_fields.items():
        if not artifact_types(info.annotation):
            inner = (m for a in get_args(info.annotation) for m in getattr(a, "__metadata__", ()))
            unit = next((m.symbol for m in (*info.metadata, *inner) if isinstance(m, Unit)), "")
            header = f", header `{op.headers[name]}`" if name in op.headers else ""
            inside = f"{unit}{header}".removeprefix(", ")
            yield f"`{name}`" + (f" ({inside})" if inside else "")


def _prose(lines: list[str]) -> Iterator[str]:
    """A docstring's body; its `Raises:` section becomes a list."""
    raises = False
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    for line in lines:
        if line.strip() in ("Raises:", "Args:", "Returns:"):
            raises = line.strip() == "Raises:"
            if raises:
                yield "Refuses:"
                yield ""
            continue
        item = re.match(r" {4}(\w+): (.*)", line)
        if raises and item:
            yield f"- `{item[1]}`: {item[2]}"
        elif raises and line.startswith("     "):
            yield f"  {line.strip()}"
        else:
            yield line.strip()


def _input(declared: Any) -> str:
    is_file = declared.item is not None and issubclass(declared.item, NamedFile)
    kind = {
        "blocks": "a sound",
        "heard": "a sound",
        "audio": "a whole sound",
        "midi": "a MIDI file",
        "file": "the file of a sound",
    }.get(declared.kind, "a file" if is_file else "a list of sounds")
    text = f"{kind} (`{declared.name}`)"
    if declared.doc:
        text += f": {declared.doc.rstrip('.')}"
    return text if declared.required else f"{text}, optional"


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _parameters(schema: Mapping[str, Any], title: str = "") -> Iterator[str]:
    known = schema.get("properties", {})
    if not known:
        return
    if title:
        yield from (title, "")
    required = set(schema.get("required", ()))
    yield "| Parameter | Type | Default | Range | Unit | Meaning |"
    yield "|---|---|---|---|---|---|"
    nested: list[tuple[str, Mapping[str, Any]]] = []
    for name, field in known.items():
        defs = schema.get("$defs", {})
        plain = _resolved(field, defs)
        item = _resolved(plain.get("items", {}), defs)
        if "properties" in item:
            nested.append((f"Each entry of `{name}`:", item))
        elif "properties" in plain:
            nested.append((f"`{name}`:", plain))
        default = "required" if name in required else _code(plain.get("default"))
        cells = (f"`{name}`", _type(plain, defs), default, _range(plain), plain.get("unit", ""))
        meaning = " ".join(str(plain.get("description", "")).split()).replace("|", "\\|")
        yield f"| {' | '.join((*cells, meaning))} |"
    yield ""
    for heading, inner in nested:
        yield from _parameters({**inner, "$defs": schema.get("$defs", {})}, heading)


def _resolved(field: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A field's schema with references and `| null` taken apart."""
    found = dict(field)
    if "$ref" in found:
        found = {**defs[found.pop("$ref").rpartition("/")[2]], **found}
    choices = [c for c in found.get("anyOf", ()) if c.get("type") != "null"]
    if len(choices) == 1:
        found.pop("anyOf")
        found = {**_resolved(choices[0], defs), **found}
    return found


def _type(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(_code(value) for value in field["enum"])
    if "const" in field:
        return _code(field["const"])
    if "anyOf" in field:
        return " or ".join(_type(_resolved(c, defs), defs) for c in field["anyOf"])
    kind = field.get("type", "any")
    if kind == "array" and "items" in field:
        return f"list of {_type(_resolved(field['items'], defs), defs)}"
    return str(kind)


def _range(field: Mapping[str, Any]) -> str:
    parts = [
        f"{sign} {_number(field[key])}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in field
    ]
    for key, sign in (("minItems", "≥"), ("maxItems", "≤")):
        if key in field:
            parts.append(f"{sign} {field[key]} entries")
    return ", ".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if float(value).is_integer() else repr(value)


def _code(value: Any) -> str:
    if value is None:
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


# ---- formats -----------------------------------------------------------------------------------


def _formats() -> Iterator[str]:
    yield "# Formats"
    yield ""
    yield "Read: WAV (also RF64 and W64), AIFF, FLAC, MP3, AAC, M4A and MP4 (AAC, ALAC), Ogg"
    yield "(Vorbis, Opus, FLAC), Matroska and WebM, and the sound inside video files. The bytes"
    yield "decide, not the name. Nothing is resampled or remixed unless a step or the target asks"
    yield "for it."
    yield ""
    yield "Written:"
    yield ""
    yield "| Format | Extension | Media type | Bit depths | Bitrate by default | Note |"
    yield "|---|---|---|---|---|---|"
    for target in OUTPUT_FORMATS.values():
        depths = ", ".join(target.bit_depths)
        rate = f"{target.default_bitrate} kbit/s" if target.default_bitrate else ""
        note = f"always at {target.sample_rate} Hz" if target.sample_rate else ""
        yield (
            f"| `{target.name}` | .{target.ext} | {target.content_type} | {depths} | {rate} "
            f"| {note} |"
        )
    yield ""
    yield from _parameters(Encoding.model_json_schema(), "How a result is written:")
    yield "## Fields of name templates"
    yield ""
    yield "Every step adds its facts as `{op.fact}`, for example `{normalize.measured_lufs:.1f}`."
    yield ""
    yield "| Field | Meaning |"
    yield "|---|---|"
    for name, meaning in FILE_FIELDS.items():
        yield f"| `{{{name}}}` | {meaning} |"


# ---- settings ----------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Each is an environment variable. A value that cannot be used, or a name that does not"
    yield "exist, stops the start, all of them reported at once. Durations are seconds or text"
    yield "such as `90s`, `45m` or `3h30m5s`; lists are separated by commas."
    yield ""
    yield "| Variable | Default | Range | Unit | Meaning |"
    yield "|---|---|---|---|---|"
    schema = Settings.model_json_schema()
    for name, field in schema["properties"].items():
        plain = _resolved(field, schema.get("$defs", {}))
        default = _code(_portable(plain.get("default")))
        limits = _range(plain) or (_type(plain, {}) if "enum" in plain else "")
        secret = " Kept out of every log and answer." if plain.get("secret") else ""
        yield (
            f"| `{environment_name(name)}` | {default} | {limits} | {plain.get('unit', '')} "
            f"| {plain.get('description', '')}{secret} |"
        )
    yield ""
    yield "Read by the launcher `./audiolla` alone:"
    yield ""
    yield "| Variable | Meaning |"
    yield "|---|---|"
    yield "| `AUDIOLLA_PYTHON` | The Python to make the virtual environment with, 3.11 to 3.13. |"
    yield "| `AUDIOLLA_VENV` | The virtual environment; `.venv` beside the launcher by default. |"


def _portable(value: Any) -> Any:
    """A default without the home folder of whoever makes the page."""
    home = os.fspath(Path.home())
    return value.replace(home, "~") if isinstance(value, str) else value


# ---- the command -------------------------------------------------------------------------------


def _cli() -> Iterator[str]:
    from daemon.cli import COMMANDS, build_parser

    yield "# The command"
    yield ""
    yield "Exit codes: 0 ok, 1 a job or test failed, 2 usage, 3 environment."
    yield from _help("audiolla", build_parser())
    for name in COMMANDS:
        module = import_module(f"daemon.commands.{name.replace('-', '_')}")
        whole = build_parser(name, module, [name])
        (commands,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
        yield from _command(commands.choices[name])


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _help(parser.prog, parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):  # an alias is the same one again
                yield from _command(child)


def _help(title: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter: Any = parser.formatter_class
    parser.formatter_class = partial(formatter, width=80)
    yield from ("", f"## {title}", "", "```text", parser.format_help().rstrip(), "```")


def stale(folder: Path) -> list[str]:
    """Names of the pages below `folder` that do not say what the program says."""
    wrong = [
        name
        for name, text in pages().items()
        if not (folder / name).exists() or (folder / name).read_text() != text
    ]
    known = set(pages())
    wrong += [p.name for p in sorted(folder.glob("*.md")) if p.name not in known]
    return wrong
