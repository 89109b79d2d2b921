"""Resumable uploads against a daemon that is killed, with a client that somebody else wrote."""

import random
import urllib.request

import pytest
from tusclient.client import TusClient

from bench.uploads import measure, resident
from tests.whole.living import living

pytestmark = pytest.mark.slow

CHUNK = 300_000


def test_a_killed_daemon_goes_on_where_the_upload_was(tmp_path):
    data = random.Random(7).randbytes(10 * CHUNK + 1)
    take = tmp_path / "take.wav"
    take.write_bytes(data)

    with living(tmp_path / "data") as daemon, take.open("rb") as stream:
        begun = TusClient(f"{daemon.address}/v1/uploads").uploader(
            file_stream=stream, chunk_size=CHUNK, metadata={"filename": "sets/take.wav"}
        )
        begun.upload_chunk()
        begun.upload_chunk()
        daemon.kill()
        assert list((daemon.data / "files").rglob("*.wav")) == []
        daemon.start()

        where = daemon.address + begun.url[begun.url.index("/v1/") :]
        again = TusClient(f"{daemon.address}/v1/uploads").uploader(
            file_stream=stream, chunk_size=CHUNK, url=where, upload_checksum=True
        )
        assert again.offset == 2 * CHUNK
        again.upload()

        with urllib.request.urlopen(f"{daemon.address}/v1/files/sets/take.wav") as reply:
            assert reply.read() == data
        assert daemon.get("/v1/files")["files"][0]["size"] == len(data)


@pytest.mark.parametrize("form", [False, True], ids=["as bodies", "in forms"])
def test_many_uploads_at_once_are_written_once_and_starve_nobody(tmp_path, form):
    clients, size = 16, 8_000_000
    with living(tmp_path / "data", AUDIOLLA_MAX_UPLOAD_BYTES=str(size)) as daemon:
        before = resident(daemon.process.pid)
        seen = measure(daemon, clients, size, form=form)
        staged = [f["size"] for f in daemon.get("/v1/files")["files"]]
        assert list((daemon.data / "uploads" / "incoming").iterdir()) == []

    assert seen.statuses == [422 if form else 201] * clients
    assert staged == ([] if form else [size] * clients)
    # Some of it is the agents' door, which opens meanwhile.
    assert seen.memory - before < 80_000_000 < 0.7 * size * clients
    assert seen.written < 1.1 * size * clients
    assert seen.read < 0.1 * size * clients
    assert seen.median < 0.5
