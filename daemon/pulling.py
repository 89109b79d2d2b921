"""Brings weights from their published homes: resumed, checked, and put in place in one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.files import Models
from handlers.errors import AudiollaError, StorageFailed

if TYPE_CHECKING:
    from httpx2 import Client, Response

HUB = "https://huggingface.co"
_REDIRECTS = 5

Tell = Callable[[str, int, int | None], None]
"""Told the name of a file, the bytes that are there, and how many there will be."""


class CannotPull(AudiollaError):
    """Weights cannot be fetched; the detail says why, and what would help."""


def url_of(file: WeightsFile, hub: str = HUB) -> str:
    """The address that a file is fetched from."""
    if not file.source.startswith("hf:"):
        return file.source
    repository, _, rest = file.source.removeprefix("hf:").partition("@")
    revision, _, path = rest.partition("/")
    return f"{hub}/{repository}/resolve/{quote(revision)}/{quote(path)}"


class Puller:
    """Fetches the files of engines."""

    def __init__(
        self,
        models: Models,
        client: Client,
        *,
        token: str = "",
        hub: str = HUB,
        trust_first_use: bool = False,
        tell: Tell = lambda *_: None,
    ) -> None:
        """Put files where `models` looks for them.

        Args:
            models: where files belong.
            client: an HTTP client that follows no redirects by itself.
            token: shown to the hub alone, never to where it sends us on.
            hub: address of the hub.
            trust_first_use: also take files whose hash nobody has published.
            tell: hears how far it is.
        """
        self._models = models
        self._client = client
        self._token = token
        self._hub = hub
        self._trust = trust_first_use
        self._tell = tell

    def pull(self, engine: Engine[Any]) -> list[Path]:
        """Fetch what an engine lacks; the files that are new.

        Raises:
            CannotPull: a file has no published hash, its home refuses, or what
                came is not what was published.
            StorageFailed: the connection broke off; asking again goes on from there.
        """
        missing = self._models.missing(engine)
        unhashed = [file.path for file in missing if file.sha256 is None]
        if unhashed and not self._trust:
            raise CannotPull(
                f"{engine.slug}: nobody has published a hash of {', '.join(unhashed)}",
                hint="--trust-first-use takes them as they come and holds them to that hash",
            )
        if engine.wants_token and missing and not self._token:
            raise CannotPull(f"{engine.slug}: {engine.gate}", hint="export HUGGINGFACE_TOKEN=...")
        return [self._fetch(engine, file) for file in missing]

    def _fetch(self, engine: Engine[Any], file: WeightsFile) -> Path:
        final = self._models.place(engine, file)
        part = final.with_name(final.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        self._download(engine, file, part)
        try:
            self._models.verify(engine, file, part)
        except AudiollaError as wrong:
            part.unlink()
            raise CannotPull(f"{wrong.detail}; it was thrown away") from wrong
        part.rename(final)
        self._models.verify(engine, file, final)
        return final

    def _download(self, engine: Engine[Any], file: WeightsFile, part: Path) -> None:
        import httpx2

        have = part.stat().st_size if part.exists() else 0
        if file.size is not None and have >= file.size:
            if have == file.size:
                return
            have = 0
        try:
            with closing(self._opened(url_of(file, self._hub), have)) as response:
                self._check(engine, file, response)
                resumed = response.status_code == 206
                length = response.headers.get("content-length")
                total = int(length) + (have if resumed else 0) if length else file.size
                with part.open("ab" if resumed else "wb") as out:
                    done = have if resumed else 0
                    for chunk in response.iter_bytes():
                        out.write(chunk)
                        done += len(chunk)
                        self._tell(file.path, done, total)
                    out.flush()
                    os.fsync(out.fileno())
        except httpx2.HTTPError as broken:
            raise StorageFailed(
                f"{engine.slug}: {file.path} broke off: {type(broken).__name__}: {broken}",
                hint=f"audiolla models pull {engine.slug} goes on from there",
            ) from broken

    def _opened(self, url: str, have: int) -> Response:
        """The answer behind all redirects; the token goes to the hub only."""
        for _ in range(_REDIRECTS + 1):
            parts = urlsplit(url)
            if parts.scheme != "https" and not self._hub.startswith(f"{parts.scheme}://"):
                raise CannotPull(f"{url} is not an https address")
            headers = {"Accept-Encoding": "identity"} | (
                {"Range": f"bytes={have}-"} if have else {}
            )
            if self._token and url.startswith(self._hub + "/"):
                headers["Authorization"] = f"Bearer {self._token}"
            request = self._client.build_request("GET", url, headers=headers)
            response = self._client.send(request, stream=True)
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["location"])
            response.close()
        raise CannotPull(f"{url}: more than {_REDIRECTS} redirects")

    def _check(self, engine: Engine[Any], file: WeightsFile, response: Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == 416:
            raise CannotPull(f"{engine.slug}: what is there of {file.path} is longer than the file")
        if status in (401, 403):
            gate = engine.gate or "its home asks for a permission"
            raise CannotPull(f"{engine.slug}: {file.path} was refused ({status}): {gate}")
        raise CannotPull(f"{engine.slug}: {file.path} was answered with status {status}")
