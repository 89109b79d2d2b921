"""The API of a real daemon, asked as a new user would ask it: with curl."""

import json
import subprocess

import pytest
import soundfile

from tests.sounds import ffmpeg_loudness, tone, write_wav
from tests.whole.living import living

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with living(tmp_path_factory.mktemp("api") / "data") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    sound = tone(1000, seconds=3, channels=2, peak_db=-20)
    return write_wav(sound, tmp_path_factory.mktemp("takes") / "take.wav", "PCM_24")


def curl(daemon, path, *arguments):
    """(status, body) of a request."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", *map(str, arguments), daemon.address + path]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    body, _, status = said.rpartition(b"\n")
    return int(status), body


def until_ended(daemon, job_id):
    """The job once it has ended; asks again and again, as a client would."""
    for _ in range(2000):
        job = daemon.get(f"/v1/jobs/{job_id}")
        if job["status"] in ("completed", "failed", "cancelled"):
            return job
    raise AssertionError(job)


def test_a_sound_comes_back_at_the_loudness_that_was_asked_for(daemon, take, tmp_path):
    out = tmp_path / "loud.flac"
    command = [
        "-F",
        f"file=@{take}",
        "-F",
        "target_lufs=-18",
        "-F",
        "output_format=flac",
        "-o",
        out,
    ]

    assert curl(daemon, "/v1/audio/normalize", *command)[0] == 200
    assert ffmpeg_loudness(out).integrated == pytest.approx(-18, abs=0.3)


def test_a_report_says_what_the_file_is(daemon, take):
    status, body = curl(daemon, "/v1/audio/info", "-F", f"file=@{take}")

    assert status == 200
    facts = json.loads(body)
    assert (facts["sample_rate"], facts["channels"], facts["bit_depth"]) == (48000, 2, 24)
    assert facts["duration_sec"] == 3.0


def test_a_picture_has_its_size(daemon, take, tmp_path):
    out = tmp_path / "wave.png"
    path = "/v1/audio/visualize/image/waveform"

    assert curl(daemon, path, "-F", f"file=@{take}", "-F", "width=640", "-o", out)[0] == 200
    header = out.read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (640, 720)


def test_a_file_is_staged_worked_on_and_fetched(daemon, take, tmp_path):
    assert curl(daemon, "/v1/files/in/take.wav", "-T", take)[0] == 201
    order = ["-F", "file_path=in/take.wav", "-F", "end_sec=1", "-F", "output_path=out/short.wav"]
    status, body = curl(daemon, "/v1/audio/trim", *order)
    assert status == 200
    assert json.loads(body) == {
        "path": "out/short.wav",
        "size": 44 + 48000 * 2 * 2,
        "output_format": "wav",
        "start_sec": 0.0,
        "end_sec": 1.0,
    }

    out = tmp_path / "short.wav"
    assert curl(daemon, "/v1/files/out/short.wav", "-o", out)[0] == 200
    assert soundfile.info(out).frames == 48000

    # The name is kept as it was asked for, and what was there is replaced.
    for end in ("2", "1.5"):
        order = ["-F", "file_path=in/take.wav", "-F", f"end_sec={end}", "-F", "output_path=out/x"]
        assert json.loads(curl(daemon, "/v1/audio/trim", *order)[1])["path"] == "out/x"
    staged = {f["path"]: f["size"] for f in daemon.get("/v1/files")["files"]}
    assert staged["out/x"] == 44 + 72000 * 2 * 2


def test_an_async_job_works_on_the_file_as_it_was(daemon, take):
    curl(daemon, "/v1/files/later.wav", "-T", take)
    order = ["-F", "file_path=later.wav", "-F", "async_job=true", "-F", "fade_in=1"]
    status, body = curl(daemon, "/v1/audio/fade", *order)
    assert status == 202
    curl(daemon, "/v1/files/later.wav", "-X", "DELETE")

    job = until_ended(daemon, json.loads(body)["job_id"])
    assert job["status"] == "completed", job
    assert job["endpoint"] == "/v1/audio/fade"
    assert job["result"]["path"] == f"jobs/{job['id']}.wav"
    assert curl(daemon, f"/v1/files/{job['result']['path']}")[0] == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(["file=@/etc/hostname"], 400, id="no audio"),
        pytest.param(["file=@/dev/null"], 400, id="empty"),
        pytest.param(["file_path=../../etc/passwd"], 400, id="escaping"),
        pytest.param(["file_path=absent.wav"], 404, id="absent"),
        pytest.param([], 400, id="nothing"),
    ],
)
def test_a_refusal_is_one_sentence(daemon, fields, status):
    flags = [flag for field in fields for flag in ("-F", field)] or ["-X", "POST"]
    answered, body = curl(daemon, "/v1/audio/info", *flags)

    assert answered == status
    assert json.loads(body)["detail"]


def test_nothing_is_left_of_a_request_that_was_answered(daemon, take):
    curl(daemon, "/v1/audio/info", "-F", f"file=@{take}")
    curl(daemon, "/v1/audio/reverse", "-F", f"file=@{take}", "-o", "/dev/null")

    results = daemon.data / "results"
    kept = [p for p in results.rglob("*") if p.is_file()] if results.exists() else []
    assert kept == []


def test_the_command_uses_the_running_daemon(daemon, take, tmp_path):
    def audiolla(*arguments):
        command = ["-m", "daemon.cli", *map(str, arguments), "--data-dir", str(daemon.data)]
        return subprocess.run([_python(), *command], capture_output=True, text=True, timeout=60)

    out = tmp_path / "a.mp3"
    assert audiolla("op", "trim", take, "--end-sec", "1", "-o", out).returncode == 0
    assert out.stat().st_size > 0
    jobs = [json.loads(line) for line in audiolla("jobs", "list", "--json").stdout.splitlines()]
    assert jobs[-1]["source"] == "cli"
    shown = audiolla("jobs", "show", jobs[-1]["id"]).stdout
    assert "completed" in shown
    assert audiolla("folders", "list").returncode == 0
    failed = audiolla("op", "info", "/etc/hostname")
    assert failed.returncode == 1
    assert "hostname" in failed.stderr


def _python():
    import sys

    return sys.executable


def test_a_song_is_composed_transformed_and_inspected_in_the_staging_area(daemon, tmp_path):
    song = {"tempo_bpm": 90, "tracks": [{"notes": [{"pitch": 60, "duration_beats": 2}]}]}
    spec = ["-H", "Content-Type: application/json", "-d", json.dumps(song)]
    status, body = curl(daemon, "/v1/midi/compose?output_path=midi/song.mid", *spec)
    told = json.loads(body)
    assert (status, told["path"], told["engine"]) == (200, "midi/song.mid", "midi-compose")

    up = ["-F", "file_path=midi/song.mid", "-F", "transpose_semitones=12", "-F", "drop_channels=9"]
    status, body = curl(daemon, "/v1/midi/transform", *up)
    assert status == 200
    raised = tmp_path / "up.mid"
    raised.write_bytes(body)

    status, body = curl(daemon, "/v1/midi/inspect", "-F", f"file=@{raised}")
    told = json.loads(body)
    assert (status, told["note_count"], told["tracks"][1]["lowest_pitch"]) == (200, 1, 72)
    assert told["length_seconds"] == pytest.approx(4 / 3, abs=1e-5)


@pytest.mark.parametrize("operation", ["inspect", "transform", "quantize", "humanize"])
def test_a_sound_is_no_midi_file(daemon, take, operation):
    status, body = curl(daemon, f"/v1/midi/{operation}", "-F", f"file=@{take}")
    assert status == 400
    assert "MThd" in json.loads(body)["detail"]


def test_a_preset_of_ones_own_runs_like_those_shipped(daemon, take, tmp_path):
    presets = daemon.data / "presets"
    presets.mkdir(exist_ok=True)
    (presets / "backwards.yaml").write_text(
        "name: backwards\nsteps: [reverse, {normalize: {target_lufs: -20}}]"
    )
    out = tmp_path / "back.flac"
    said = ["-F", f"file=@{take}", "-F", "output_format=flac", "-o", out]

    assert curl(daemon, "/v1/presets/backwards", *said)[0] == 200
    assert soundfile.info(out).format == "FLAC"
    assert ffmpeg_loudness(out).integrated == pytest.approx(-20, abs=0.3)


def test_a_pipeline_tells_its_steps_and_which_of_them_failed(daemon, take, tmp_path):
    steps = [
        {"op": "trim", "params": {"end_sec": 1}},
        {"op": "normalize", "params": {"target_lufs": -20}},
    ]
    said = ["-F", f"file=@{take}", "-F", f"steps={json.dumps(steps)}", "-F", "output_path=p.wav"]
    status, body = curl(daemon, "/v1/pipeline", *said)
    told = json.loads(body)
    assert (status, told["path"]) == (200, "p.wav")
    assert [s["op"] for s in told["steps"]] == ["trim", "normalize"]
    assert told["steps"][1]["result"]["loudness_lufs"] == pytest.approx(-20, abs=0.2)

    silence = write_wav(tone(1000, seconds=1, peak_db=-200), tmp_path / "silence.wav")
    said[1] = f"file=@{silence}"
    status, body = curl(daemon, "/v1/pipeline", *said)
    assert status == 400
    assert json.loads(body)["detail"].startswith("step 1 (normalize): ")


def test_a_batch_works_on_staged_files_and_tells_each_result(daemon, take):
    curl(daemon, "/v1/files/work/track.wav", "-T", take)
    entries = [
        {
            "op": "trim",
            "file_path": "work/track.wav",
            "output_path": "work/chorus.wav",
            "start_sec": 1,
        },
        {"op": "speed", "file_path": "work/none.wav", "speed": 2},
        {"op": "reverse", "file_path": "work/chorus.wav", "output_path": "work/reversed.wav"},
    ]
    spec = ["-H", "Content-Type: application/json", "-d", json.dumps(entries)]
    status, body = curl(daemon, "/v1/batch", *spec)

    first, second, third = json.loads(body)["results"]
    assert (status, first["status"], third["status"]) == (200, "ok", "ok")
    assert "work/none.wav" in second["error"]
    staged = {f["path"]: f["size"] for f in daemon.get("/v1/files")["files"]}
    assert staged["work/reversed.wav"] == staged["work/chorus.wav"] == first["size"]


def test_a_plan_leaves_nothing_behind(daemon, take):
    before = len(daemon.get("/v1/jobs")["jobs"])
    said = ["-F", f"file=@{take}", "-F", "plan=true", "-F", "output_path=planned/deep/a.wav"]
    status, body = curl(daemon, "/v1/presets/master-for-spotify", *said)

    plan = json.loads(body)
    assert (status, plan["ready"]) == (200, True)
    assert [s["lane"] for s in plan["steps"]] == ["cpu", "cpu"]
    assert len(daemon.get("/v1/jobs")["jobs"]) == before
    assert not (daemon.data / "files" / "planned").exists()
    results = daemon.data / "results"
    assert [p for p in results.rglob("*") if p.is_file()] == []
