"""The Python part of torchaudio, also where its native part cannot be loaded.

torchaudio's wheel is built against CUDA's libraries; beside a torch for the processor its import
raises `OSError`. What engines need of it (filter banks, resampling) is Python alone, so where the
native part is missing, torchaudio is told that it was built without one.
"""

from __future__ import annotations

import importlib
import sys
import types


def importable() -> None:
    """Make `import torchaudio` work in this process; called before anything that imports it."""
    if "torchaudio" in sys.modules:
        return
    try:
        importlib.import_module("torchaudio")
    except OSError:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        extension = types.ModuleType("torchaudio._extension")
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]  # its own name
        extension._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]  # its own name
        extension.fail_if_no_align = lambda func: func  # type: ignore[attr-defined]  # its own name
        extension.__path__ = []
        sys.modules[extension.__name__] = extension
        importlib.import_module("torchaudio")
