"""Every folder of inbox_examples/ gives what its expected.yaml says, as other tools see it."""

import hashlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import mido
import mutagen.flac
import numpy as np
import pytest
import soundfile
import yaml

from daemon.commands.demo import EXAMPLES, example_folders, sounds_of

COMMAND = Path(sys.executable).with_name("audiolla")
EXPECTED = [
    pytest.param(folder.name, entry, id=f"{folder.name}/{entry['file']}")
    for folder in example_folders()
    for entry in yaml.safe_load((folder / "expected.yaml").read_text())
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One run of the demo: what it said, and its hot folders."""
    data = tmp_path_factory.mktemp("demo") / "data"
    done = subprocess.run(
        [COMMAND, "demo", "--once", "--json", "--port", "0", "--data-dir", data],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], data / "folders"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def probe(path: Path) -> tuple[dict, dict]:
    """FFmpeg's words on a file's sound, and its tags in lower case."""
    shown = ["-show_streams", "-show_format", "-select_streams", "a:0", "-of", "json", path]
    done = subprocess.run(["ffprobe", "-v", "error", *shown], capture_output=True, check=True)
    said = json.loads(done.stdout)
    (stream,) = said["streams"]
    stream["sample_rate"] = int(stream["sample_rate"])
    tags = said["format"].get("tags", {}) | stream.get("tags", {})
    return stream, {name.lower(): value for name, value in tags.items()}


@cache
def loudness(path: Path) -> tuple[float, float]:
    """Integrated loudness in LUFS and true peak in dBTP, by FFmpeg's ebur128."""
    meter = ["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]
    said = subprocess.run(["ffmpeg", "-i", path, *meter], capture_output=True, text=True).stderr
    return tuple(float(re.findall(rf"{name}:\s+(-?[\d.]+)", said)[-1]) for name in ("I", "Peak"))


@cache
def samples(path: Path) -> np.ndarray:
    """The decoded samples, (frames, channels), by FFmpeg."""
    stream, _ = probe(path)
    raw = ["-f", "f64le", "-"]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, *raw], capture_output=True, check=True
    )
    return np.frombuffer(done.stdout).reshape(-1, stream["channels"])


def level_at(sound: np.ndarray, rate: int, hz: float) -> float:
    """Level of one frequency in dB, against the level of the whole."""
    mono = sound.mean(axis=1)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)))) ** 2
    frequency = np.fft.rfftfreq(len(mono), 1 / rate)
    band = spectrum[np.abs(frequency - hz) < 2].sum()
    return 10 * np.log10(band / spectrum.sum())


def test_the_demo_shows_every_sound_arriving_and_being_delivered(demo):
    said, folders = demo
    dropped = {f"{f.name}/{s.relative_to(f)}" for f in example_folders() for s in sounds_of(f)}
    jobs = [entry for entry in said if entry["event"] == "completed"]
    files = [file for entry in jobs for file in entry["files"]]
    assert sorted(files) == sorted(dropped)
    assert said[-1] | {"api": ""} == {
        "event": "summary",
        "jobs": len(jobs),
        "failed": 0,
        "api": "",
    }
    outputs = [out["path"] for entry in said for out in entry.get("outputs", [])]
    assert all(Path(path).stat().st_size for path in outputs)
    assert list(folders.glob("*/processing/*")) == []
    assert list(folders.glob("*/failed/*")) == []


@pytest.mark.parametrize("folder", [folder.name for folder in example_folders()])
def test_a_folder_gives_the_files_that_it_promises_and_keeps_the_originals(folder, demo):
    _, folders = demo
    entries = yaml.safe_load((EXAMPLES / folder / "expected.yaml").read_text())
    there = [p.relative_to(folders / folder) for p in (folders / folder).rglob("*")]
    files = {
        str(p)
        for p in there
        if (folders / folder / p).is_file()
        and p.parts[0] not in {"done", "manifests", "rules.yaml"}
    }
    assert files == {entry["file"] for entry in entries}
    for sound in sounds_of(EXAMPLES / folder):
        kept = folders / folder / "done" / sound.relative_to(EXAMPLES / folder)
        assert kept.read_bytes() == sound.read_bytes()


@pytest.mark.parametrize("folder", [folder.name for folder in example_folders()])
def test_manifests_hold_the_checksums_of_all_that_came_in_and_out(folder, demo):
    _, folders = demo
    entries = yaml.safe_load((EXAMPLES / folder / "expected.yaml").read_text())
    told, taken = {}, set()
    for path in (folders / folder / "manifests").rglob("*.json"):
        manifest = json.loads(path.read_text())
        told |= {output["path"]: output["sha256"] for output in manifest["outputs"]}
        taken.add(manifest["input"]["sha256"])
    assert told == {
        str(path): sha256(path) for path in (folders / folder / entry["file"] for entry in entries)
    }
    assert taken <= {sha256(sound) for sound in sounds_of(EXAMPLES / folder)}
    assert taken


@pytest.mark.parametrize(("folder", "entry"), EXPECTED)
def test_what_comes_out_is_what_the_example_promises(folder, entry, demo):
    source = EXAMPLES / folder / entry.pop("from")
    path = demo[1] / folder / entry.pop("file")
    stream, tags = probe(path) if "codec" in entry else ({}, {})
    for name, wanted in entry.items():
        CHECKS[name](wanted, path, source, stream, tags)


def is_as_long(wanted, path, source, stream, tags):
    assert len(samples(path)) / stream["sample_rate"] == pytest.approx(wanted, abs=0.03)


def is_as_loud(wanted, path, source, stream, tags):
    assert loudness(path)[0] == pytest.approx(wanted, abs=0.3)


def peaks_below(wanted, path, source, stream, tags):
    assert loudness(path)[1] < wanted


def has_tags(wanted, path, source, stream, tags):
    assert {name: tags.get(name) for name in wanted} == wanted


def has_depth(wanted, path, source, stream, tags):
    assert int(stream["bits_per_raw_sample"]) == wanted


def lost_its_hum(wanted, path, source, stream, tags):
    before, after = samples(source), samples(path)
    fell = level_at(before, 44100, wanted["hz"]) - level_at(after, 44100, wanted["hz"])
    assert fell > wanted["by_db"]


def has_the_same_samples(wanted, path, source, stream, tags):
    assert np.array_equal(samples(path), samples(source))


def is_reversed_under_its_fade(wanted, path, source, stream, tags):
    rate = stream["sample_rate"]
    backwards, made = samples(source)[::-1], samples(path)
    faded = round(wanted["but_for_the_first"] * rate)
    assert np.abs(made[faded:] - backwards[faded:]).max() <= 2**-22
    assert np.abs(made[: rate // 100]).max() < np.abs(backwards[: rate // 100]).max()


def is_a_picture(wanted, path, source, stream, tags):
    shown = ["-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", path]
    said = subprocess.run(["ffprobe", "-v", "error", *shown], capture_output=True, text=True)
    assert said.stdout.strip() == f"png,{wanted[0]},{wanted[1]}"


def reports(wanted, path, source, stream, tags):
    said = json.loads(path.read_text())
    for name, value in wanted.items():
        assert said[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def reports_the_loudness(wanted, path, source, stream, tags):
    assert json.loads(path.read_text())[wanted] == pytest.approx(loudness(source)[0], abs=0.1)


def reports_about_the_loudness(wanted, path, source, stream, tags):
    ((name, within),) = wanted.items()
    assert json.loads(path.read_text())[name] == pytest.approx(loudness(source)[0], abs=within)


def lasts_at_least(wanted, path, source, stream, tags):
    assert len(samples(path)) / stream["sample_rate"] >= wanted


def holds_the_checksum_of_the_source(wanted, path, source, stream, tags):
    """FLAC's MD5 is that of the samples as packed integers, computed here from the source."""
    whole, _ = soundfile.read(source, dtype="int32", always_2d=True)
    packed = (whole >> 8).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    stated = mutagen.flac.FLAC(path).info.md5_signature
    assert f"{stated:032x}" == hashlib.md5(packed).hexdigest()


def is_a_mix_of(wanted, path, source, stream, tags):
    """The stems at these levels to each other, in dB, and nothing else."""
    stems = [samples(source.parent / name) for name in wanted]
    columns = np.column_stack([np.broadcast_to(stem, (len(stem), 2)).ravel() for stem in stems])
    made = samples(path).ravel()
    gains, *_ = np.linalg.lstsq(columns, made, rcond=None)
    assert 20 * np.log10(gains / gains[0]) == pytest.approx(list(wanted.values()), abs=0.05)
    rest = made - columns @ gains
    assert np.sum(rest**2) < 1e-6 * np.sum(made**2)


def has_these_beats(wanted, path, source, stream, tags):
    """Audacity labels: one per beat of a steady tempo, in BPM; seconds."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    at = np.array([float(start) for start, _, _ in lines])
    ideal = wanted["first"] + np.arange(64) * 60 / wanted["bpm"]
    assert len(at) >= 14
    assert np.abs(at[:, None] - ideal).min(axis=1).max() < wanted["within"]
    assert np.diff(at) == pytest.approx(60 / wanted["bpm"], abs=wanted["within"])
    assert [name for _, _, name in lines[:5]] == ["1.1", "1.2", "1.3", "1.4", "2.1"]


def is_a_collection_of(wanted, path, source, stream, tags):
    """Each track with its tempo and key, a grid of one tempo, and all of them in the playlist."""
    root = ET.parse(path).getroot()
    tracks = root.findall("COLLECTION/TRACK")
    assert sorted(track.get("Name") for track in tracks) == sorted(wanted)
    for track in tracks:
        bpm, key = wanted[track.get("Name")]
        (tempo,) = track.findall("TEMPO")
        assert float(tempo.get("Bpm")) == pytest.approx(bpm, abs=0.1)
        assert track.get("Tonality") == key
        named = f"/D:/Music/New/friday%20-%20{track.get('Name').lower().replace(' ', '%20')}.flac"
        assert track.get("Location") == f"file://localhost{named}"
    listed = [int(entry.get("Key")) for entry in root.findall("PLAYLISTS//TRACK")]
    assert listed == [int(track.get("TrackID")) for track in tracks]


def has_quieter_pauses(wanted, path, source, stream, tags):
    def floor_under_the_voice(sound, rate):
        size = rate // 20
        whole = sound[: len(sound) // size * size, 0].reshape(-1, size)
        levels = 10 * np.log10(np.mean(whole**2, axis=1) + 1e-12)
        return np.percentile(levels, 90) - np.percentile(levels, 8)

    before = floor_under_the_voice(samples(source), 44100)
    assert floor_under_the_voice(samples(path), stream["sample_rate"]) - before > wanted["by_db"]


def tells_where_speech_is(wanted, path, source, stream, tags):
    """WebVTT cues lie within these stretches (s) and fill nearly all of them."""
    found = re.findall(r"(\d+):(\d+):([\d.]+) --> (\d+):(\d+):([\d.]+)", path.read_text())
    cues = np.array([[float(x) for x in cue] for cue in found])
    cues = cues.reshape(-1, 2, 3) @ [3600, 60, 1]
    for start, end in wanted:
        inside = cues[(cues[:, 0] > start - 0.2) & (cues[:, 1] < end + 0.2)]
        assert np.diff(inside).sum() > 0.8 * (end - start)
        cues = cues[~np.isin(cues[:, 0], inside[:, 0])]
    assert len(cues) == 0


def sounds_these_notes(wanted, path, source, stream, tags):
    """MIDI notes that sound in a stretch (s), 20 dB above those that do not."""
    rate = stream["sample_rate"]
    part = samples(path)[int(wanted["from"] * rate) : int(wanted["to"] * rate)]

    def level(note):
        return level_at(part, rate, 440 * 2 ** ((note - 69) / 12))

    assert min(map(level, wanted["notes"])) > max(map(level, wanted["silent"])) + 20


def is_the_source_with(wanted, path, source, stream, tags):
    """Slices joined are the end of the source, which lacks no more than its first attack's rise."""
    joined = np.concatenate([samples(path.with_name(name)) for name in (path.name, *wanted)])
    whole = samples(source)
    assert len(whole) - len(joined) < 0.02 * stream["sample_rate"]
    assert np.array_equal(joined, whole[-len(joined) :])


def has(name):
    def is_said(wanted, path, source, stream, tags):
        assert stream[name] == wanted

    return is_said


CHECKS = {
    "codec": has("codec_name"),
    "sample_rate": has("sample_rate"),
    "channels": has("channels"),
    "bit_depth": has_depth,
    "duration": is_as_long,
    "lufs": is_as_loud,
    "true_peak_below": peaks_below,
    "tags": has_tags,
    "quieter": lost_its_hum,
    "same_samples": has_the_same_samples,
    "reversed": is_reversed_under_its_fade,
    "picture": is_a_picture,
    "json": reports,
    "json_lufs": reports_the_loudness,
    "json_lufs_near": reports_about_the_loudness,
    "lasts_at_least": lasts_at_least,
    "holds_the_checksum": holds_the_checksum_of_the_source,
    "mix_of": is_a_mix_of,
    "beats": has_these_beats,
    "rekordbox": is_a_collection_of,
    "quieter_pauses": has_quieter_pauses,
    "speech": tells_where_speech_is,
    "sounds": sounds_these_notes,
    "followed_by": is_the_source_with,
}


def test_the_sounds_are_small_and_say_whose_they_are():
    sounds = [sound for folder in example_folders() for sound in sounds_of(folder)]
    assert sum(sound.stat().st_size for sound in sounds) < 6_000_000
    assert len(sounds) >= len(example_folders()) >= 8
    script = (EXAMPLES / "make_sounds.py").read_text()
    for sound in sounds:
        assert str(sound.relative_to(EXAMPLES)) in script
        is_score = sound.suffix == ".mid"
        length = mido.MidiFile(sound).length if is_score else soundfile.info(sound).duration
        assert 1 < length < 20
