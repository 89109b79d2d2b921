"""Resumable uploads against a daemon that is killed, with a client that somebody else wrote."""

import random
import urllib.request

from tusclient.client import TusClient

from tests.whole.living import living

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
