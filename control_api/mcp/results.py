"""From an ended job to what its tool answers: base64 within it, or staged and linked."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from control_api.errors import error_of_job
from control_api.files import content_type
from control_api.mcp.tools import Answer, Link, Picture
from control_api.ports import Job, Output, Service
from control_api.replies import main_output, result_of
from handlers.declare import Operation
from handlers.errors import BadParameter

_WORDS = {"application/zip": "zip", "audio/midi": "midi"}
_SHOWN = frozenset({"image/png", "image/jpeg"})


@dataclass(frozen=True)
class _Part:
    """One of several sounds."""

    name: str
    size: int
    ext: str


class Teller:
    """Says what jobs gave, with as much of it in the answer as may be."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def of_operation(
        self,
        op: Operation,
        job: Job,
        *,
        limit: int | None,
        paths: Mapping[str, str] | None = None,
        urls: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer of the tool of one operation, whose job has ended.

        Args:
            op: the operation.
            job: its job.
            limit: bytes that may be in the answer; None stages everything, however small.
            paths: where single ones of several sounds go in the staging area.
            urls: where single ones were sent, as the caller gave it.

        Raises:
            AudiollaError: the one that the job ended with.
        """
        if job.status != "completed":
            raise error_of_job(job)
        telling = _Telling(self._service, job, limit)
        main = main_output(op, job)
        if op.kind == "json" or main is None:
            telling.answer.result = result_of(job, telling.embedded)
        elif op.tool_parts != "zip" and main.staged is None and not _is_one(main, urls or {}):
            telling.parts(op, main, paths or {}, urls or {})
        else:
            telling.whole(main)
            if main.url is not None:
                telling.answer.result["url"] = (urls or {}).get("", main.url)
        return telling.answer


class _Telling:
    """One answer while it is put together."""

    def __init__(self, service: Service, job: Job, limit: int | None) -> None:
        self._service, self._job, self._limit = service, job, limit
        waiting = sum(o.size for o in job.outputs if o.staged is None and o.url is None)
        self._fits = limit is not None and waiting <= limit
        self.answer = Answer({})
        for output in job.outputs:
            if output.staged is not None:
                self.answer.links.append(Link(output.staged, output.size, output.media_type))

    def whole(self, output: Output) -> None:
        """A result that is one file."""
        result = result_of(self._job)
        if output.staged is None and output.url is None:
            word = _word(output.media_type)
            if self._fits:
                result[f"{word}_base64"] = self._encoded(output)
            else:
                ext = output.path.suffix
                result |= self._staged(f"jobs/{self._job.id}{ext}", output)
        self.answer.result = result

    def embedded(self, name: str, output: Output) -> dict[str, Any]:
        """A file that a report gave beside its facts."""
        if self._fits:
            return {f"{name}_base64": self._encoded(output), f"{name}_size": output.size}
        told = self._staged(f"jobs/{self._job.id}.{name}{output.path.suffix}", output)
        path, size = told.pop("path"), told.pop("size")
        return {f"{name}_path": path, f"{name}_size": size, **told}

    def parts(
        self,
        op: Operation,
        output: Output,
        paths: Mapping[str, str],
        urls: Mapping[str, str],
    ) -> None:
        """Several sounds, each by its name."""
        result = result_of(self._job)
        for name in ("size", "url"):
            result.pop(name, None)
        uploaded = {
            name: {"url": urls.get(name, one.url), "size": one.size}
            for one in self._job.outputs
            if one.url is not None and (name := self._name(one))
        }
        inline: dict[str, str] = {}
        staged: dict[str, dict[str, Any]] = {}
        with self._opened(output) as opened:
            for part, file in opened:
                path = paths.get(part.name)
                if path is None and self._fits:
                    inline[part.name] = base64.b64encode(file.read()).decode()
                    continue
                if path is None:
                    path = f"jobs/{self._job.id}/{part.name}{part.ext}"
                    if self._limit is not None:
                        self.answer.result["staged_because"] = too_much(output.size, self._limit)
                stored = self._service.put_file(path, file)
                self.answer.links.append(Link(stored.path, stored.size, content_type(stored.path)))
                staged[part.name] = {"path": stored.path, "size": stored.size}
        missing = sorted(set(paths) - set(staged))
        if missing:
            raise BadParameter(
                f"output_paths names {missing[0]}, but there came: {', '.join([*inline, *staged])}",
                field="output_paths",
            )
        if op.tool_parts == "segments":
            given: list[dict[str, Any]] = [
                {"name": name, "audio_base64": data} for name, data in inline.items()
            ]
            given += [{"name": name, **where} for name, where in staged.items()]
            result |= {"segments": given, "count": len(given)}
        else:
            told = {"stems": inline, "staged_stems": staged, "uploaded_stems": uploaded}
            result = {name: v for name, v in result.items() if name != "stems"}
            result |= {name: value for name, value in told.items() if value}
        self.answer.result = result | self.answer.result

    @contextmanager
    def _opened(self, output: Output) -> Iterator[Iterator[tuple[_Part, BinaryIO]]]:
        """Each sound in turn that was not sent: out of the ZIP, or file by file."""
        if output.media_type != "application/zip":
            ours = [o for o in self._job.outputs if o.role == "sound" and o.url is None]
            with ExitStack() as open_files:
                yield iter(
                    [
                        (
                            _Part(self._name(one), one.size, one.path.suffix),
                            open_files.enter_context(one.path.open("rb")),
                        )
                        for one in ours
                    ]
                )
            return

        def members(archive: zipfile.ZipFile) -> Iterator[tuple[_Part, BinaryIO]]:
            for info in archive.infolist():
                name, dot, ext = info.filename.rpartition(".")
                with archive.open(info) as file:
                    yield _Part(name, info.file_size, dot + ext), file  # type: ignore[misc]

        with zipfile.ZipFile(output.path) as archive:
            yield members(archive)

    def _name(self, output: Output) -> str:
        """What a sound is called among those of its job."""
        return output.part or str(self._job.descriptor.get("stem") or output.path.stem)

    def _encoded(self, output: Output) -> str:
        data = base64.b64encode(output.path.read_bytes()).decode()
        if output.media_type in _SHOWN:
            self.answer.pictures.append(Picture(data, output.media_type))
        return data

    def _staged(self, path: str, output: Output) -> dict[str, Any]:
        """Put a file into the staging area, and say so."""
        with output.path.open("rb") as file:
            stored = self._service.put_file(path, file)
        self.answer.links.append(Link(stored.path, stored.size, output.media_type))
        told: dict[str, Any] = {"path": stored.path, "size": stored.size}
        if self._limit is not None:
            told["staged_because"] = too_much(output.size, self._limit)
        return told


def _is_one(main: Output, urls: Mapping[str, str]) -> bool:
    """True where all there is was sent to one URL."""
    return main.url is not None and not (main.part or set(urls) - {""})


def too_much(size: int, limit: int) -> str:
    """Why bytes are not in an answer, and where they are."""
    return (
        f"{size} bytes are more than the {limit} that may be in this answer "
        "(AUDIOLLA_MCP_INLINE_BYTES; less where progress is streamed): the file is in the staging "
        "area, to be read as a resource, with get_file, or at /v1/files"
    )


def _word(media_type: str) -> str:
    """What the contract calls a result in base64."""
    known = _WORDS.get(media_type)
    return known or {"image": "image", "video": "video"}.get(media_type.partition("/")[0], "audio")
