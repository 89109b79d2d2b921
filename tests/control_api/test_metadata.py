"""Tags over HTTP: what a client sends and gets, run by the real runner."""

import base64
import io

import pytest
from mutagen.id3 import ID3

from control_api import replies
from control_api.app import create_app
from handlers.artifacts import Metadata
from handlers.codecs.formats import encoding
from handlers.codecs.writer import write_sound
from tests.control_api.fake import api_settings
from tests.control_api.requests import TestClient, multipart
from tests.control_api.test_reports import Service
from tests.handlers.codecs.tools import music
from tests.handlers.tagging.making import decoded_md5, png

ROUTE = "/v1/audio/metadata"


class Staged(Service):
    """Staged files are files."""

    def staged_sound(self, job_id, path):
        ref = super().staged_sound(job_id, path)
        real = self.folder / f"stored-{ref.name}"
        real.write_bytes(self.stored[path])
        return ref.model_copy(update={"path": real})


@pytest.fixture
def service(tmp_path):
    return Staged(tmp_path, max_upload_bytes=10**7)


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.mp3"
    old = Metadata({"title": ("Old",), "artist": ("Somebody",)})
    write_sound(music().blocks(), path, encoding("mp3"), metadata=old)
    return path


@pytest.fixture
def ask(service, song):
    client = TestClient(create_app(service, api_settings(auth_token="", max_upload_bytes=10**7)))

    def asking(*, body=None, **fields):
        if body is not None:
            return client.simulate_post(ROUTE, json=body)
        parts = [("file", "song.mp3", song.read_bytes()), *fields.items()]
        return client.simulate_post(ROUTE, **multipart(*parts))

    return asking


def test_a_read_gives_all_fields_and_speaks_of_no_write(ask):
    told = ask().json
    assert (told["title"], told["artist"], told["album"]) == ("Old", "Somebody", "")
    assert (told["sample_rate"], told["channels"]) == (44100, 2)
    assert told["raw_tags"]["TIT2"] == ["Old"]
    assert not {"persisted", "path", "size", "tagged_base64"} & set(told)


def test_a_write_without_a_path_has_the_copy_in_the_reply(ask):
    told = ask(tags='{"title": "New", "bpm": 128}').json
    copy = base64.b64decode(told["tagged_base64"])
    assert (told["title"], told["bpm"], told["persisted"]) == ("New", "128", True)
    assert told["tagged_size"] == len(copy)
    assert ID3(io.BytesIO(copy))["TBPM"].text == ["128"]


def test_a_write_with_a_path_has_the_copy_there(ask, service, song):
    told = ask(tags='{"title": "New"}', output_path="a/new.mp3").json
    copy = service.folder / "staged" / "a" / "new.mp3"
    assert (told["path"], told["size"]) == ("a/new.mp3", copy.stat().st_size)
    assert (told["tags"]["title"], told["persisted"]) == (["New"], True)
    assert "tagged_base64" not in told
    assert decoded_md5(copy) == decoded_md5(song)


def test_a_copy_that_is_too_large_for_a_reply_asks_for_a_path(ask, monkeypatch):
    monkeypatch.setattr(replies, "MAX_INLINE", 1000)
    answer = ask(tags='{"title": "New"}')
    assert answer.status_code == 413
    assert "output_path" in answer.json["detail"]


@pytest.mark.parametrize("tags", ["[1]", "7", '"text"', "{"])
def test_tags_that_are_no_object_are_a_400_that_says_tags(ask, tags):
    answer = ask(tags=tags)
    assert answer.status_code == 400
    assert "tags" in answer.json["detail"]


def test_json_bodies_name_staged_sounds_and_pictures(ask, service, song):
    service.stored |= {"song.mp3": song.read_bytes(), "art.png": png(8, 8)}
    told = ask(
        body={
            "file_path": "song.mp3",
            "tags": {"title": "New"},
            "pictures": [{"file": "art.png"}],
            "output_path": "new.mp3",
        }
    ).json
    assert told["title"] == "New"
    assert [(p["width"], p["type"]) for p in told["pictures"]] == [(8, "front_cover")]
