"""The official client calls every tool once, over HTTP, with real sound and real workers."""

import asyncio
import base64
import io
import threading
import zipfile
from contextlib import asynccontextmanager
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
import soundfile
from mcp import Client
from PIL import Image

from control_api.app import create_app, serve
from control_api.mcp import tasks
from daemon.service import QueueService
from handlers.artifacts import Midi
from handlers.errors import AudiollaError
from handlers.registry import operations
from handlers.smf.notes import notes_of
from handlers.smf.reading import read
from tests.control_api.mcp.test_tasks import Polling, get
from tests.daemon.running import running
from tests.scores import music
from tests.sounds import ffmpeg_loudness, groove, speech, tone, write_wav

MODERN = "2026-07-28"
ERAS = ["legacy", MODERN]
#: What a call needs beside the declared example: other sounds, small pictures, quick videos.
FURTHER = {
    "visualize": {"mode": "spectrum", "width": 64, "height": 64, "fps": 5},
    "run_preset": {"name": "a-preset"},
    "run_pipeline_tool": {"steps": [{"op": "trim", "params": {"end_sec": 1}}, {"op": "reverse"}]},
    "mix": {"tracks": [{"file_path": "groove.wav"}, {"file_path": "tone.wav", "gain_db": -6}]},
    "dj_collection": {"tracks": [{"file_path": "groove.wav"}]},
    "concat": {"files": [{"file_path": "tone.wav"}, {"file_path": "tone.wav"}]},
    "sidechain_duck": {"trigger_file_path": "tone.wav"},
    "convolution_reverb": {"ir_file_path": "tone.wav"},
    "similar": {"reference_file_path": "tone.wav"},
    "audio_metadata": {"tags": {"title": "Waves"}, "output_path": "tagged.wav"},
    "fx": {"effects": [{"type": "Gain", "params": {"gain_db": -6}}]},
    "separate": {"engine": "htdemucs"},
}
#: Tools of the server itself, in an order in which each finds what it needs.
MANAGEMENT = {
    "list_engines": ({}, lambda r: {e["slug"] for e in r["engines"]} >= {"htdemucs", "hpss"}),
    "list_ops": ({}, lambda r: "trim" in r["ops"]),
    "list_presets": ({}, lambda r: "a-preset" in [p["name"] for p in r["presets"]]),
    "describe_preset": ({"name": "a-preset"}, lambda r: r["steps"][0]["op"] == "normalize"),
    "put_file": (
        {"path": "/deep/a.bin", "content_base64": base64.b64encode(b"abc").decode()},
        lambda r: r == {"path": "deep/a.bin", "size": 3},
    ),
    "get_file": (
        {"path": "deep/a.bin"},
        lambda r: r["size"] == 3 and base64.b64decode(r["content_base64"]) == b"abc",
    ),
    "list_files": ({}, lambda r: "deep/a.bin" in [f["path"] for f in r["files"]]),
    "delete_file": ({"path": "deep/a.bin"}, lambda r: r == {"deleted": "deep/a.bin"}),
}
PRESET = """\
name: a-preset
description: Quieter, then backwards.
steps:
  - {op: normalize, params: {target_lufs: -30}}
  - {op: reverse}
"""


class Served:
    """The API over a running queue."""

    def __init__(self, queue):
        self.queue, self.settings = queue, queue.settings
        self.service = QueueService(queue.settings, queue.client, queue.reader)
        self.service.answers.start()
        app = create_app(self.service, queue.settings)
        self.server = serve(app, queue.settings, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.port}/v1/mcp"

    def put(self, name, path):
        with path.open("rb") as file:
            self.service.put_file(name, file)

    def close(self):
        self.server.close()
        self.thread.join(10)
        self.service.answers.stop()

    @asynccontextmanager
    async def client(self, mode=MODERN):
        async with Client(self.url, mode=mode) as client:
            yield client

    def call(self, name, arguments, mode=MODERN, **more):
        async def calling():
            async with self.client(mode) as client:
                return await client.call_tool(name, arguments, **more)

        return asyncio.run(calling())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("daemon")
    sounds = tmp_path_factory.mktemp("sounds")
    presets = folder / "presets"
    presets.mkdir()
    (presets / "a.yaml").write_text(PRESET)
    with running(folder / "data", run="daemon.runner:run", presets_dir=presets) as queue:
        served = Served(queue)
        try:
            served.put("tone.wav", write_wav(tone(440, seconds=1, channels=2), sounds / "t.wav"))
            served.put("groove.wav", write_wav(groove(seconds=6)[0], sounds / "g.wav"))
            served.put("speech.wav", write_wav(speech(seconds=2), sounds / "s.wav"))
            (sounds / "m.mid").write_bytes(music().data)
            served.put("music.mid", sounds / "m.mid")
            yield served
        finally:
            served.close()


# -- every tool ------------------------------------------------------------------------------------
def arguments_of(tool):
    """What to call the tool of an operation with."""
    if tool in FURTHER and tool.startswith("run_"):
        return {"file_path": "groove.wav", **FURTHER[tool]}
    op = next(o for o in operations().values() if tool in (o.tool, *o.tool_aliases))
    given = {} if tool in FURTHER else dict(op.examples[0].params)
    if op.sound is not None:
        kind = {"midi": "music.mid"}.get(op.sound.kind, "groove.wav")
        given["file_path"] = kind
    return given | FURTHER.get(tool, {})


def check_sound(text, seconds=(0.02, 60.0)):
    """A sound that can be decoded, neither silent nor clipped to noise, of a likely length."""
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(text)), always_2d=True)
    assert rate >= 8000
    assert seconds[0] <= len(samples) / rate <= seconds[1]
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() > 0.001
    assert 1e-4 < np.sqrt(np.mean(samples**2)) < 0.9


def needs(tool):
    """The engines that a call of a tool, as it is made here, needs."""
    if tool.startswith("run_"):
        return set()
    given = arguments_of(tool)
    shared = [op for op in operations().values() if tool in (op.tool, *op.tool_aliases)]
    chosen = [op for op in shared if op.name == given.get("mode")] or shared
    named = {k: v for k, v in given.items() if k in chosen[0].params.model_fields}
    defaults = {**chosen[0].mcp_defaults, **chosen[0].tool_aliases.get(tool, {})}
    if "engine" in chosen[0].path_params and chosen[0].params.model_fields["engine"].is_required():
        defaults.setdefault("engine", chosen[0].engines[0])
    return set(chosen[0].needs(chosen[0].read_params(defaults | named, strict=True)))


def check_zip(text):
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(text))) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            check_sound(base64.b64encode(archive.read(name)).decode())


def check_midi(text):
    assert notes_of(read(Midi(base64.b64decode(text)))).count > 0


def check_image(text):
    data = base64.b64decode(text)
    if data.startswith(b"<"):
        assert ET.fromstring(data).tag.endswith("svg")
        return
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24)) > 1, "nothing is drawn"


def check_video(text):
    with av.open(io.BytesIO(base64.b64decode(text))) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 5
        assert video.streams.audio


CHECKS = {
    "audio_base64": check_sound,
    "zip_base64": check_zip,
    "midi_base64": check_midi,
    "image_base64": check_image,
    "video_base64": check_video,
}
#: Tools that give a sound as long as the six seconds that they are given.
AS_LONG = {"normalize", "reverse", "eq", "pan", "compress", "deess", "stereo_width", "master"}


def check_result(tool, result):
    """What every answer of an operation has: a file that is one, or facts."""
    sounds = [result[name] for name in CHECKS if name in result]
    for name, check in CHECKS.items():
        if name in result:
            check(result[name])
    if tool in AS_LONG:
        check_sound(result["audio_base64"], (5.9, 6.1))
    for sound in result.get("stems", {}).values():
        check_sound(sound)
    if tool == "split":
        for part in result["segments"]:
            check_sound(part["audio_base64"])
        assert result["count"] == len(result["segments"])
    return bool(sounds or result)


@pytest.mark.parametrize("mode", ERAS)
def test_every_tool_is_called_once_with_real_sound(served, mode):
    async def calling():
        async with served.client(mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            busy = asyncio.Semaphore(3)

            async def one(tool):
                async with busy:
                    return tool, await client.call_tool(tool, arguments_of(tool))

            sounding = [
                t for t in tools if t not in MANAGEMENT and not t.endswith(("_job", "_jobs"))
            ]
            answers = await asyncio.gather(*(one(tool) for tool in sounding))
            for tool, (arguments, right) in MANAGEMENT.items():
                answer = await client.call_tool(tool, arguments)
                assert not answer.is_error, answer.content
                assert right(answer.structured_content), tool
            return tools, answers

    tools, answers = asyncio.run(calling())
    assert len(tools) == len(set(tools))
    unready = {state.engine.slug for state in served.service.engines() if state.unready}
    refused = set()
    for tool, answer in answers:
        said = answer.content[0].text
        if answer.is_error:
            # Only what stands on weights that nobody has fetched may refuse; it names them.
            refused.add(tool)
            assert "audiolla models pull" in said, (tool, said)
            assert any(slug in said for slug in unready), (tool, said)
            continue
        assert check_result(tool, answer.structured_content), tool
    assert refused == {tool for tool, _ in answers if needs(tool) & unready}


@pytest.mark.parametrize("mode", ERAS)
def test_a_job_is_followed_cancelled_and_forgotten(served, mode):
    async def calling():
        async with served.client(mode) as client:
            given = {"file_path": "tone.wav", "async_job": True}
            begun = (await client.call_tool("reverse", given)).structured_content
            assert begun["status"] == "pending"
            assert begun["status_url"] == f"/v1/jobs/{begun['job_id']}"
            job = {"job_id": begun["job_id"]}
            await asyncio.to_thread(served.service.wait, begun["job_id"], lambda: False)
            ended = await client.call_tool("get_job", job)
            listed = await client.call_tool("list_jobs", {"status": "completed"})
            forgotten = await client.call_tool("cancel_job", job)
            gone = await client.call_tool("get_job", job)
            return ended, listed, forgotten, gone

    ended, listed, forgotten, gone = asyncio.run(calling())
    result = ended.structured_content
    assert result["status"] == "completed"
    assert result["endpoint"] == "/v1/audio/reverse"
    assert result["source"] == "mcp"
    (link,) = [c for c in ended.content if c.type == "resource_link"]
    assert link.uri == f"audiolla://files/{result['result']['path']}"
    assert result["id"] in [job["id"] for job in listed.structured_content["jobs"]]
    assert forgotten.structured_content == {"job_id": result["id"], "deleted": True}
    assert gone.is_error
    assert "there is no job" in gone.content[0].text


@pytest.mark.parametrize("mode", ERAS)
def test_a_reversed_sound_is_the_sound_backwards(served, mode):
    answer = served.call("reverse", {"file_path": "groove.wav", "bit_depth": "32f"}, mode)

    after, rate = soundfile.read(
        io.BytesIO(base64.b64decode(answer.structured_content["audio_base64"]))
    )
    file, _ = served.service.open_file("groove.wav")
    with file:
        before, same_rate = soundfile.read(file)
    assert rate == same_rate
    assert after == pytest.approx(before[::-1], abs=1e-6)
    assert answer.content[0].text.startswith('{"')


def test_a_tool_has_the_default_that_the_contract_gives_it(served, tmp_path):
    answer = served.call("normalize", {"file_path": "speech.wav"})

    written = tmp_path / "loud.wav"
    written.write_bytes(base64.b64decode(answer.structured_content["audio_base64"]))
    assert ffmpeg_loudness(written).integrated == pytest.approx(-14, abs=0.5)
    assert answer.structured_content["target_lufs"] == -14


def test_stems_come_by_name_and_go_where_they_are_sent(served):
    paths = {"output_paths": {"harmonic": "stems/h.wav"}, "file_path": "groove.wav"}
    result = served.call("hpss", paths).structured_content

    assert set(result["stems"]) == {"percussive"}
    check_sound(result["stems"]["percussive"])
    assert result["staged_stems"]["harmonic"]["path"] == "stems/h.wav"
    file, stored = served.service.open_file("stems/h.wav")
    with file:
        assert soundfile.info(file).frames > 0
    assert stored.size == result["staged_stems"]["harmonic"]["size"]


def test_a_staged_result_is_linked_and_can_be_read(served):
    async def calling():
        async with served.client() as client:
            given = {"file_path": "tone.wav", "end_sec": 0.5, "output_path": "cut/tone.flac"}
            given["output_format"] = "flac"
            answer = await client.call_tool("trim", given)
            (link,) = [c for c in answer.content if c.type == "resource_link"]
            return answer, link, await client.read_resource(link.uri)

    answer, link, read = asyncio.run(calling())
    assert answer.structured_content["path"] == "cut/tone.flac"
    assert (link.uri, link.mime_type) == ("audiolla://files/cut/tone.flac", "audio/flac")
    data = base64.b64decode(read.contents[0].blob)
    assert len(data) == link.size == answer.structured_content["size"]
    assert soundfile.info(io.BytesIO(data)).frames == 24_000


def test_a_picture_can_be_seen(served):
    given = {"file_path": "tone.wav", "mode": "waveform", "width": 64, "height": 64}
    # A client may fill in the defaults of the other modes.
    answer = served.call("visualize", {**given, "color": "intensity", "fps": 30, "scale": "log"})

    (picture,) = [c for c in answer.content if c.type == "image"]
    assert picture.data == answer.structured_content["image_base64"]
    assert answer.structured_content["mode"] == "waveform"
    assert answer.structured_content["engine"] == "ffmpeg-render"


def test_a_task_is_answered_by_a_daemon_that_was_started_since(served, monkeypatch):
    monkeypatch.setattr(tasks, "PATIENCE", 0.0)

    async def begin():
        async with Client(served.url, mode=MODERN, extensions=[Polling()]) as client:
            given = {"file_path": "tone.wav", "start_sec": 0.1}
            return await client.session.call_tool("trim", given, allow_claimed=True)

    async def ask(task_id):
        async with Client(later.url, mode=MODERN, extensions=[Polling()]) as client:
            return await get(client.session, task_id)

    created = asyncio.run(begin())
    served.service.wait(created.task_id, lambda: False)
    later = Served(served.queue)
    told = [asyncio.run(ask(created.task_id)) for _ in range(2)]
    later.close()
    assert told[0].status == "completed"
    check_sound(told[0].result["structuredContent"]["audio_base64"], (0.89, 0.91))
    assert told[0].result == told[1].result


def test_a_failed_job_is_told_in_words(served):
    served.service.put_file("text.wav", io.BytesIO(b"this is no sound"))
    answer = served.call("reverse", {"file_path": "text.wav"})

    assert answer.is_error
    with pytest.raises(AudiollaError) as refused:
        job = next(j for j in served.service.jobs("failed", 10) if j.name == "text.wav")
        raise AudiollaError(job.error)
    assert refused.value.detail in answer.content[0].text
