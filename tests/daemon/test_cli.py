import json
import os
import signal
import subprocess
import sys

import pytest
import soundfile
import yaml

from daemon.cli import COMMANDS, main
from daemon.commands import running
from daemon.commands.running import Children, Task
from daemon.settings import Settings
from handlers.artifacts import Midi
from handlers.registry import operations
from rules.orders import Order, SoundRef, StepOrder
from tests.scores import music, notes
from tests.sounds import ffmpeg_loudness, read_sound, tone, write_wav
from tests.whole.living import Changes


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOLLA_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def take(tmp_path):
    return write_wav(tone(1000, seconds=4, channels=2, peak_db=-20), tmp_path / "take 1.wav")


def called(*arguments):
    """(exit code) of a command line; a usage error of argparse is one, too."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as ended:
        return ended.code


# -- help ----------------------------------------------------------------------------------------
def test_help_imports_nothing_heavy():
    code = "import sys, daemon.cli; daemon.cli.build_parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"numpy", "pydantic", "falcon", "sqlalchemy", "rich", "handlers"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert called(command, "--help") == 0
    assert f"usage: audiolla {command}" in capsys.readouterr().out


@pytest.mark.parametrize("name", operations())
def test_every_operation_has_a_flag_for_each_parameter(name, capsys):
    assert called("op", name, "--help") == 0

    shown = capsys.readouterr().out
    assert operations()[name].summary in shown
    for parameter in operations()[name].params.model_fields:
        assert f"--{parameter.replace('_', '-')}" in shown


# -- one operation ------------------------------------------------------------------------------
def test_an_operation_writes_what_it_was_asked_for(data, take, tmp_path, capsys):
    out = tmp_path / "loud.flac"

    assert called("op", "normalize", take, "--target-lufs", "-16", "-o", out) == 0
    assert ffmpeg_loudness(out).integrated == pytest.approx(-16, abs=0.3)
    assert str(out) in capsys.readouterr().out
    assert take.exists()


def test_without_a_destination_the_result_lies_beside_the_file(data, take):
    written = ["--format", "flac", "--bit-depth", "24"]

    assert called("op", "trim", take, take, "--end-sec", "1.5", *written) == 0
    for name in ("take 1.trim.flac", "take 1.trim (2).flac"):
        assert read_sound(take.with_name(name)).duration == 1.5
        assert soundfile.info(take.with_name(name)).subtype == "PCM_24"


def test_several_files_and_settings_make_one_mix(data, take, tmp_path):
    other = write_wav(tone(500, seconds=6, channels=2, peak_db=-20), tmp_path / "other.wav")
    out = tmp_path / "mix.wav"

    assert called("op", "mix", take, other, "--gain-db", "-6", "--gain-db", "0", "-o", out) == 0
    assert read_sound(out).duration == 6


def test_reports_are_lines_of_json(data, take, capsys):
    assert called("op", "info", take, take, "--json") == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == ["take 1.wav"] * 2
    assert all(line["ok"] and line["descriptor"]["duration_sec"] == 4 for line in lines)


def test_a_bad_file_is_a_failed_job_and_the_others_are_done(data, take, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF but not for long")

    assert called("op", "info", bad, take) == 1
    said = capsys.readouterr()
    assert said.err.startswith("audiolla: bad.wav:")
    assert "Traceback" not in said.err
    assert "duration_sec" in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["op", "louder", "x.wav"], "no operation 'louder'", id="unknown operation"),
        pytest.param(["op", "trim", "x.wav"], "x.wav", id="absent file"),
        pytest.param(["op", "trim"], "at least one FILE", id="no file"),
        pytest.param(["op", "trim", "TAKE", "--end-sec", "soon"], "end_sec", id="mistyped"),
        pytest.param(["op", "trim", "TAKE", "--start-sec", "-1"], "start_sec", id="out of range"),
        pytest.param(["op", "trim", "TAKE", "TAKE", "-o", "a.wav"], "folder", id="two into one"),
        pytest.param(["op", "trim", "TAKE", "--bitrate", "fast"], "--bitrate", id="bad bitrate"),
        pytest.param(["op", "trim", "TAKE", "--bitrate", "96"], "bitrate", id="bitrate of a wav"),
        pytest.param(["op", "mix"], "at least", id="a mix of nothing"),
        pytest.param(["op", "mix", "TAKE"], "at least", id="a mix of one"),
        pytest.param(["op", "trim", "TAKE", "--louder"], "--louder", id="unknown flag"),
        pytest.param(["nothing"], "nothing", id="unknown command"),
        pytest.param(["run", "no-rules.yaml", "TAKE"], "no-rules.yaml", id="no rules"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(data, take, capsys, arguments, says):
    assert called(*(take if a == "TAKE" else a for a in arguments)) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert list(take.parent.iterdir()) == [take], "nothing was run"


def test_a_bad_setting_is_an_environment_error(data, monkeypatch, capsys):
    monkeypatch.setenv("AUDIOLLA_PORT", "ninety")

    assert called("settings") == 3
    assert "AUDIOLLA_PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["jobs", "list"], ["jobs", "cancel", "x"], ["folders", "scan"], ["folders", "release", "x"]],
    ids=" ".join,
)
def test_without_a_daemon_the_rest_says_so(data, capsys, arguments):
    assert called(*arguments) == 3
    assert "no daemon" in capsys.readouterr().err


def test_a_bug_is_a_sentence_too(data, monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("daemon.commands.settings.load", broken)

    assert called("settings") == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


# -- child processes -----------------------------------------------------------------------------
def a_task(path, op="info", **params):
    sound = SoundRef(path=path, name=path.name)
    order = Order(sound=sound, steps=[StepOrder(op=op, params=params)])
    return Task(f"job-{path.name}", path.name, order, "cpu", "/v1/audio/info")


def test_a_file_that_kills_its_decoder_is_a_message(data, take, monkeypatch):
    started = running._Child._started

    def killed_at_once(child):
        process = started(child)
        if not child.__dict__.get("killed_once"):
            process.send_signal(signal.SIGSEGV)
            child.killed_once = True
        return process

    monkeypatch.setattr(running._Child, "_started", killed_at_once)
    settings = Settings(cpu_workers=1)
    first, second = Children(settings)([a_task(take), a_task(take)], lambda *_: None)

    assert not first.ok
    assert "signal 11" in first.error
    assert second.ok, "the next file is taken by a new process"


def test_ctrl_c_ends_it_and_leaves_no_half_file(data, tmp_path):
    long = write_wav(tone(seconds=600), tmp_path / "long.wav")
    command = [sys.executable, "-m", "daemon.cli", "op", "reverse", str(long), "--format", "mp3"]
    with Changes(tmp_path) as changes:
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            env=os.environ,
            text=True,
            # What a shell starts in the background ignores it, and hands that on to its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        changes.until(lambda: list(tmp_path.glob(".audiolla-*.part")), timeout=240)
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["long.wav"]


# -- rules ---------------------------------------------------------------------------------------
RULES = """\
rules:
  - name: Short
    match: {duration: "< 2s"}
    steps: [reverse]
  - name: Takes
    match: {ext: wav}
    steps:
      - trim: {end_sec: 1}
      - normalize: {target_lufs: -16}
    output: {format: flac, name: "{stem} done"}
"""


@pytest.fixture
def hot(tmp_path):
    folder = tmp_path / "hot"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


def test_good_rules_are_good(data, hot, capsys):
    assert called("rules", "check", hot / "rules.yaml") == 0
    assert "good" in capsys.readouterr().out


def test_a_fault_is_told_with_its_place(data, hot, capsys):
    (hot / "rules.yaml").write_text(RULES.replace("end_sec: 1", "end_sec: -1"))

    assert called("rules", "check", hot) == 1
    said = capsys.readouterr().err
    assert "rules.yaml:8" in said
    assert "Takes" in said
    assert "end_sec" in said


def test_explaining_names_the_rule_the_steps_and_the_output(data, hot, take, capsys):
    assert called("rules", "explain", "--rules", hot, take) == 0

    said = capsys.readouterr().out
    assert "rule Short: does not" in said, "the header was read"
    assert "rule Takes: takes it" in said
    assert 'step 1: trim {"end_sec": 1.0}' in said or 'step 1: trim {"end_sec": 1}' in said
    assert "take 1 done.flac" in said


def test_rules_can_be_applied_to_files_where_they_lie(data, hot, take, tmp_path):
    assert called("run", hot / "rules.yaml", take, "-o", tmp_path / "results") == 0

    out = tmp_path / "results" / "take 1 done.flac"
    assert read_sound(out).duration == 1
    assert ffmpeg_loudness(out).integrated == pytest.approx(-16, abs=0.3)
    assert take.exists()


MIDI_RULES = """\
rules:
  - name: Sketches
    match: {ext: mid, duration: "< 1m"}
    steps:
      - midi_transform: {transpose_semitones: 12, keep_channels: "0"}
      - midi_inspect: {plot: true}
    output: {name: "{stem} up"}
"""


def test_rules_take_midi_files_as_they_take_sounds(data, hot, tmp_path, capsys):
    (hot / "rules.yaml").write_text(MIDI_RULES)
    sketch = tmp_path / "sketch.mid"
    sketch.write_bytes(music().data)

    assert called("rules", "check", hot) == 0
    assert called("rules", "explain", "--rules", hot, sketch) == 0
    said = capsys.readouterr().out
    assert "rule Sketches: takes it" in said
    assert "sketch up.mid" in said
    assert called("run", hot / "rules.yaml", sketch, "-o", tmp_path / "results") == 0
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == ["sketch up.mid", "sketch.midi_inspect.svg"]
    up = Midi((tmp_path / "results" / "sketch up.mid").read_bytes())
    assert {note.pitch for note in notes(up)} == {69, 72, 76}


def test_a_song_is_composed_by_its_flags(data, tmp_path):
    out = tmp_path / "song.mid"
    tracks = '[{"notes": [{"pitch": 60, "duration_beats": 1}]}]'
    flags = ["--tracks", tracks, "--time-signature", "3,4", "--tempo-bpm", "90"]

    assert called("op", "midi_compose", *flags, "-o", out) == 0
    assert [note.pitch for note in notes(Midi(out.read_bytes()))] == [60]


def test_a_file_that_no_rule_takes_is_a_failure(data, hot, tmp_path, capsys):
    other = write_wav(tone(seconds=3), tmp_path / "a.aif")

    assert called("run", hot, other) == 1
    assert "no rule takes" in capsys.readouterr().err


def test_presets_are_listed_and_shown_as_their_file_has_them(data, capsys):
    (data / "presets").mkdir(parents=True)
    (data / "presets" / "mine.yaml").write_text("name: mine\nsteps: [reverse, none]")

    assert called("presets", "list") == 0
    told = capsys.readouterr()
    assert "multiband_compress > normalize" in told.out
    assert "mine cannot run: step 1 (none): unknown op" in told.err
    assert called("presets", "show", "vocal-cleanup") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert [step["op"] for step in shown["steps"]] == ["restore", "restore", "deess", "fx"]
    assert called("presets", "show", "none") == 2


# -- an agent on this machine ---------------------------------------------------------------------
def test_an_agent_has_the_tools_over_standard_input_and_output(data):
    import asyncio

    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "daemon.cli", "mcp", "--tools", "compact", "--data-dir", str(data)],
    )

    async def ask():
        async with Client(command) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            given = {"name": "midi_drum", "arguments": {"pattern": {"kick": [1, 0, 1, 0]}}}
            return tools, await client.call_tool("run_operation", given)

    tools, answer = asyncio.run(asyncio.wait_for(ask(), 60))
    assert "find_operation" in tools
    assert not answer.is_error, answer.content
    staged = data / "files" / answer.structured_content["path"]
    assert staged.read_bytes().startswith(b"MThd")
    assert not (data / "run" / "dispatcher.sock").exists()
