"""Values with a name, in rule files and presets.

    variables: {target: -16}
    ...
    - normalize: {target_lufs: $target}

A value that is `$name`, and nothing else, stands for the variable's, with its type. `$$name` is
the text `$name`. Where no variables are declared, a dollar is a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rules.written import Place

_NAME = re.compile(r"\$(\$?)([A-Za-z_][A-Za-z0-9_-]*)")


def substituted(value: Any, variables: Mapping[str, Any]) -> Any:
    """A value with all variables in it replaced; those that are unknown stay as they are."""
    if isinstance(value, dict):
        return {key: substituted(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [substituted(inner, variables) for inner in value]
    found = _NAME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    if found[1]:
        return value[1:]
    return variables.get(found[2], value)


def unknown(
    value: Any, variables: Mapping[str, Any], place: Place = ()
) -> Iterator[tuple[Place, str]]:
    """Every place that names a variable that there is not, and what is wrong with it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from unknown(inner, variables, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unknown(inner, variables, (*place, index))
    elif isinstance(value, str):
        found = _NAME.fullmatch(value)
        if found is not None and not found[1] and found[2] not in variables:
            known = ", ".join(variables) or "none"
            yield place, f"there is no variable {found[2]}; there are: {known} ($$ is a dollar)"
