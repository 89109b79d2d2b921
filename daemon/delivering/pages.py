"""HTML pages that need nothing but themselves, readable in light and in dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #ffffff; --ink: #1b2130;
  --muted: #5c677a; --line: #d9dee7; --good: #1f7a3d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #0c0f14; --card: #10141c; --ink: #e9edf4;
  --muted: #9aa6ba; --line: #2a3242; --good: #6fd08c; --bad: #ff8f86; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: auto; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.about { color: var(--muted); margin: 0 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
figure { margin: .5rem 0 1rem; padding: .75rem; background: var(--card);
  border: 1px solid var(--line); }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--muted); font-size: .85rem; margin-bottom: .4rem; }
code { font: .85rem ui-monospace, monospace; }
"""


def page(title: str, about: str, body: Iterable[str]) -> bytes:
    """A whole page. `title` and `about` are text; `body` is HTML."""
    parts = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body><main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="about">{escape(about)}</p>\n{parts}\n'
        "</main></body></html>\n"
    ).encode("utf-8", "replace")


def heading(text: str) -> str:
    """A heading."""
    return f"<h2>{escape(text)}</h2>"


def verdict(passed: bool | None, text: str) -> str:
    """A judgement: good, bad, or neither."""
    kind = {True: " good", False: " bad", None: ""}[passed]
    return f'<p class="verdict{kind}">{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; numbers stand to the right, None is a dash."""
    lines = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><tr>{top}</tr>\n{lines}</table></div>'


def figure(caption: str, data: bytes, media_type: str) -> str:
    """A picture that lies in the page itself."""
    source = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    name = escape(caption)
    return f'<figure><figcaption>{name}</figcaption><img alt="{name}" src="{source}"></figure>'


def _cell(value: Any) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, float):
        return f'<td class="number">{value:.2f}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    return f"<td>{escape(str(value))}</td>"
