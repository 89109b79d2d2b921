"""What a worker does with a sound that its hot folder has worked on before."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from daemon.delivering.recording import Recording
from daemon.delivery import Drafts
from daemon.execution import Context
from daemon.taking.twice import told
from handlers.artifacts import Blocks, Midi
from rules.orders import path_from_text

_ITS_OWN: Final = frozenset(("path", "size", "role", "sha256", "verified", "replaced"))
"""What is said of an output that holds for the earlier job alone."""
_CANNOT_LINK: Final = frozenset((errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP))


class Names(Protocol):
    """Names for what a job delivers."""

    def sound(self, part: str) -> PurePosixPath:
        """Where the sound goes; `part` names one of several."""

    def side(self, op: str, ext: str, field: str = "") -> PurePosixPath:
        """Where a picture, report or other file of a step goes."""


def linked(
    earlier: str,
    recording: Recording,
    source: Blocks | Midi | None,
    context: Context,
    names: Callable[[Mapping[str, Any]], Names],
) -> dict[str, Any] | None:
    """Give what an earlier job delivered the names that this job would have given it.

    Args:
        earlier: the job that worked on the same sound.
        recording: what is kept of this job, whose order says where its files go.
        source: the sound that came again.
        context: of the worker.
        names: made from the earlier job's result.

    Returns:
        The job's result; None if what came out then is not all there any more.
    """
    delivery = recording.order.delivery
    if delivery is None:
        return None
    result = context.result_of(earlier)
    if result is None:
        return None
    outputs = result["outputs"]
    if not outputs or not all(_is_there(output) for output in outputs):
        return None
    naming = names(result)
    ops = {step["step"]: step["op"] for step in result["steps"]}
    replace = delivery.conflict == "replace"
    with Drafts(
        recording.job,
        delivery.folder,
        replace=replace,
        replaced=recording.replaced,
        inspect=recording.inspect,
    ) as drafts:
        for output in outputs:
            path = path_from_text(output["path"])
            ext, name = path.suffix.removeprefix("."), output.get("name", "")
            wanted = naming.sound(name)
            if output["role"] != "sound":
                wanted = naming.side(ops[output["step"]], ext, name)
            about = {k: v for k, v in output.items() if k not in _ITS_OWN}
            draft = drafts.add(wanted, output["role"], **about)
            _link(path, draft.part)
        recording.add_to(drafts, source)
        return drafts.publish(context, recording.with_facts(lambda made: told(earlier, made)))


def _is_there(output: Mapping[str, Any]) -> bool:
    path = path_from_text(output["path"])
    return path.is_file() and not path.is_symlink() and path.stat().st_size == output["size"]


def _link(source: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    try:
        os.link(source, part, follow_symlinks=False)
    except OSError as wrong:
        if wrong.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, part)
