"""Reports that may also give files: what a client gets of them, run by the real runner."""

import base64
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import Field

from control_api.app import create_app
from control_api.ports import Output
from daemon import runner
from daemon.execution import Claim
from daemon.settings import Settings
from handlers.artifacts import Blocks, Midi, Png, Result
from handlers.declare import Example, Params, describe
from handlers.hearing import Heard
from rules.orders import path_from_text
from tests.control_api.fake import FakeService, api_settings
from tests.control_api.requests import TestClient, multipart
from tests.sounds import read_sound, tone, write_wav


class Ask(Params):
    midi: bool = Field(False, description="Also as MIDI.")
    picture: bool = Field(False, description="Also as a picture.")
    cut: bool = Field(False, description="Also the first half of the sound.")


class Told(Result):
    frames: int
    midi: Midi | None = None
    picture: Png | None = None


class Cut(Result):
    frames: int
    first_half: Blocks | None = None


def told(sound: Heard, p: Ask) -> Told:
    """Count frames."""
    return Told(
        frames=sound.frames,
        midi=Midi(b"MThd") if p.midi else None,
        picture=Png(b"PNG") if p.picture else None,
    )


def halved(sound: Heard, p: Ask) -> Cut:
    """Count frames, and cut."""
    half = sound.frames // 2

    def first():
        yield np.ascontiguousarray(sound.sound.whole().samples[:, :half])

    return Cut(
        frames=sound.frames, first_half=sound.sound.like(first, frames=half) if p.cut else None
    )


class Service(FakeService):
    """Runs each job at once, as a worker does."""

    def _ended(self, submission):
        job = super()._ended(
            replace(submission, order=submission.order.model_copy(update={"delivery": None}))
        )
        context = SimpleNamespace(
            settings=Settings(data_dir=self.folder),
            scratch=self.folder,
            lane="cpu",
            recall=None,
            shelf=SimpleNamespace(borrow=None),
            progress=lambda fraction, step: None,
            intend=lambda intent: [],
        )
        claim = Claim(id=job.id, attempt=1, order=submission.order.model_dump_json())
        result = runner.run(claim, context).result
        return replace(
            job,
            status="completed",
            descriptor=result["descriptor"],
            steps=result["steps"],
            outputs=[self._output(about) for about in result["outputs"]],
            output_format=submission.order.delivery.encoding.format,
        )

    def _output(self, about):
        path = path_from_text(about["path"])
        staged = self.folder / "staged"
        inside = path.relative_to(staged).as_posix() if path.is_relative_to(staged) else None
        known = about.get("name"), inside
        return Output(path, about["size"], about["role"], about.get("media_type", ""), *known)

    def staged_delivery(self, path):
        delivery, path = super().staged_delivery(path)
        return delivery.model_copy(
            update={"folder": self.folder / "staged" / path.rpartition("/")[0]}
        ), path


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path, max_upload_bytes=10**6)


@pytest.fixture
def ask(service, tmp_path, monkeypatch):
    about = {"category": "analysis", "examples": [Example("x")]}
    known = {
        "told": describe(told, route="/told", **about),
        "halved": describe(halved, route="/halved", **about),
    }
    for module in ("control_api.app", "control_api.replies", "handlers.registry"):
        monkeypatch.setattr(f"{module}.operations", lambda: known)
    settings = api_settings(auth_token="", max_upload_bytes=10**6)
    client = TestClient(create_app(service, settings))
    sound = write_wav(tone(seconds=0.1, rate=8000), tmp_path / "x.wav").read_bytes()

    def asking(route, headers=None, **fields):
        texts = [(name, str(value)) for name, value in fields.items()]
        sent = multipart(("file", "x.wav", sound), *texts)
        sent["headers"] |= headers or {}
        return client.simulate_post(route, **sent)

    return asking


def test_what_was_not_asked_for_is_neither_there_nor_null(ask):
    assert ask("/told").json == {"frames": 800}
    assert ask("/told", output_path="a/x.mid").json == {"frames": 800}


def test_files_come_inside_the_report(ask):
    report = ask("/told", midi=True, picture=True).json
    assert report == {
        "frames": 800,
        "midi_base64": base64.b64encode(b"MThd").decode(),
        "midi_size": 4,
        "picture_base64": base64.b64encode(b"PNG").decode(),
        "picture_size": 3,
    }


def test_with_a_path_the_first_file_goes_there_and_others_beside_it(ask, service):
    report = ask("/told", midi=True, picture=True, output_path="a/x.mid").json
    assert report == {
        "frames": 800,
        "path": "a/x.mid",
        "size": 4,
        "picture_path": "a/x.picture.png",
        "picture_size": 3,
    }
    assert (service.folder / "staged/a/x.mid").read_bytes() == b"MThd"
    assert (service.folder / "staged/a/x.picture.png").read_bytes() == b"PNG"


def test_in_the_background_files_are_staged_under_the_job(ask, service):
    answer = ask("/told", midi=True, async_job=True)
    assert answer.status_code == 202
    (path,) = (service.folder / "staged/jobs").iterdir()
    assert path.name == f"{answer.json['job_id']}.mid"


def test_a_sound_that_was_asked_for_is_the_reply(ask, tmp_path):
    answer = ask("/halved", cut=True, output_format="flac")
    assert answer.headers["content-type"] == "audio/flac"
    assert 'filename="halved.flac"' in answer.headers["content-disposition"]
    (tmp_path / "got.flac").write_bytes(answer.content)
    assert read_sound(tmp_path / "got.flac").frames == 400


def test_who_wants_json_only_finds_the_sound_in_it(ask, tmp_path):
    report = ask("/halved", {"Accept": "application/json"}, cut=True).json
    assert report["frames"] == 800
    assert report["output_format"] == "wav"
    (tmp_path / "got.wav").write_bytes(base64.b64decode(report["first_half_base64"]))
    assert read_sound(tmp_path / "got.wav").frames == 400


def test_a_sound_that_was_not_asked_for_is_not_the_source(ask):
    assert ask("/halved").json == {"frames": 800}
    assert ask("/halved", output_path="a/x.wav").json == {"frames": 800}
