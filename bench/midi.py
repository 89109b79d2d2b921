"""Bench (h): MIDI to sound and back, beside FluidSynth's and basic-pitch's own programs.

    python -m bench.midi [render] [transcribe] [circle] [--seconds 180] [--rounds 3] [--pieces 20]

- render: a MIDI file to a 16-bit WAV, in this warm process as a worker does it, beside the
  `fluidsynth` command with the same font, rate and gain.
- transcribe: a WAV to a MIDI file, beside basic-pitch's `predict` (warm: in this process, its
  model loaded) and its command (cold: a process of its own, as ours beside it).
- circle: pieces as song specs become MIDI, sound, and notes again; `mir_eval` marks the notes
  against the spec, ours and those of `predict` on the same sound with the same thresholds. A
  note is right when its pitch is and it begins within 50 ms; "with ends", when it also ends
  within 50 ms or a fifth of its length.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from handlers.artifacts import Midi
from handlers.codecs.formats import Encoding
from handlers.codecs.reader import open_sound
from handlers.codecs.writer import write_sound
from handlers.engines.shelf import Lent, packaged
from handlers.registry import find
from handlers.soundfonts import DEFAULT

_ENGINE = {"engine": "basic-pitch"}
_SHORTEST_MS = 58.0  # the contract's; basic-pitch's own default is 127.7

#: Instruments of a part, by what it plays (General MIDI, from 0).
_LEADS = (0, 11, 12, 24, 40, 56, 65, 68, 71, 73, 75)
_CHORDS = (0, 4, 5, 11, 16, 24, 25, 46, 48)
_BASSES = (32, 33, 35, 43)
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_TURNS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 0), (1, 4, 0, 0))


# -- pieces ----------------------------------------------------------------------------------
def spec_of(seed: int, seconds: float = 20.0) -> dict[str, Any]:
    """A piece as `midi_compose` takes it: melody, chords and bass in some key, tempo and metre."""
    rng = random.Random(f"circle {seed}")
    tonic, scale = rng.randrange(12), _SCALES[rng.choice(list(_SCALES))]
    bpm, beats = rng.uniform(66, 150), rng.choice((3, 4, 4))
    turn = rng.choice(_TURNS)
    bars = max(2, round(seconds * bpm / 60 / beats))

    def key(step: int, octave: int) -> int:
        return 12 * (octave + 1) + tonic + 12 * (step // 7) + scale[step % 7]

    lead, chords, bass = [], [], []
    step = rng.randrange(7)
    for bar in range(bars):
        root, at = turn[bar % len(turn)], float(bar * beats)
        struck = rng.choice((1, 2, beats))
        for beat in np.arange(0, beats, beats / struck):
            chords += [
                _note(rng, key(root + part, 3), at + beat, 0.92 * beats / struck, 72)
                for part in (0, 2, 4)
            ]
        bass += [
            _note(rng, key(root, 1), at + beat, 0.9 * (beats - beat) / 2, 90)
            for beat in (0, beats // 2 + 1)
        ]
        now = 0.0
        while now < beats:
            length = min(rng.choice((0.5, 0.5, 1, 1, 1.5, 2)), beats - now)
            step = max(-3, min(10, step + rng.choice((-2, -1, -1, 1, 1, 2, 4))))
            if rng.random() > 0.1:
                lead.append(_note(rng, key(step, 4), at + now, 0.9 * length, 100))
            now += length
    parts = [
        ("Lead", rng.choice(_LEADS), 64, 105, lead),
        ("Chords", rng.choice(_CHORDS), 40, 80, chords),
        ("Bass", rng.choice(_BASSES), 64, 95, bass),
    ]
    # From a solo to the whole band.
    kept = parts[: rng.choice((1, 2, 3, 3))] if rng.random() < 0.8 else parts[1:2]
    return {
        "tempo_bpm": bpm,
        "time_signature": [beats, 4],
        "tracks": [
            {"name": n, "program": p, "channel": i, "pan": pan, "volume": v, "notes": notes}
            for i, (n, p, pan, v, notes) in enumerate(kept)
        ],
    }


def _note(rng: random.Random, pitch: int, at: float, length: float, loud: int) -> dict[str, Any]:
    return {
        "pitch": pitch,
        "start_beats": at,
        "duration_beats": max(length, 0.1),
        "velocity": max(1, min(127, loud + rng.randint(-14, 14))),
    }


def truth_of(spec: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Intervals in seconds, and pitches in Hz."""
    scale = 60 / spec["tempo_bpm"]
    notes = [note for track in spec["tracks"] for note in track["notes"]]
    starts = np.array([note["start_beats"] for note in notes])
    ends = starts + [note["duration_beats"] for note in notes]
    return np.stack([starts, ends], axis=1) * scale, _hertz([note["pitch"] for note in notes])


def _hertz(pitches: Sequence[int]) -> np.ndarray:
    return 440 * 2 ** ((np.asarray(pitches, float) - 69) / 12)


# -- ways ------------------------------------------------------------------------------------
def run_op(name: str, params: dict[str, Any], **inputs: Any) -> Any:
    """An operation as a worker calls it."""
    op = find(name)
    if op.lent:
        inputs[op.lent] = Lent(op.engines[0], packaged)
    return op.func(**inputs, **{op.params_name: op.read_params(params, strict=True)})


def render(score: Path, out: Path) -> None:
    """Ours, from file to file."""
    made = run_op("midi_render", {}, file=Midi(score.read_bytes()), fonts=None)
    write_sound(made.sound, out, Encoding())


def fluidsynth(score: Path, out: Path) -> None:
    """The command, from file to file."""
    subprocess.run(
        [
            *("fluidsynth", "-n", "-i", "-q", "-g", "0.5", "-r", "44100", "-T", "wav"),
            *("-O", "s16", "-F", str(out), str(DEFAULT), str(score)),
        ],
        check=True,
        capture_output=True,
    )


def transcribe(sound: Path, out: Path) -> None:
    """Ours, from file to file."""
    out.write_bytes(run_op("to_midi", _ENGINE, sound=open_sound(sound)).midi.data)


@cache
def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import logging

        logging.disable(logging.WARNING)
        from basic_pitch import inference

        weights = Path(str(inference.ICASSP_2022_MODEL_PATH)).parent / "nmp.onnx"
        return inference, inference.Model(weights)


def predict(sound: Path) -> tuple[Any, list[Any]]:
    """basic-pitch's own MIDI and note events."""
    inference, model = _library()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        _, midi, events = inference.predict(sound, model, minimum_note_length=_SHORTEST_MS)
    return midi, events


def predict_to_file(sound: Path, out: Path) -> None:
    """`predict`, and its MIDI written."""
    predict(sound)[0].write(str(out))


def command_of_ours(sound: Path, out: Path) -> None:
    """Our command without a daemon: a process for itself and one for the job."""
    words = ["-m", "daemon.cli", "op", "to_midi", str(sound), "--engine", "basic-pitch"]
    subprocess.run(
        [sys.executable, *words, "--local", "-o", str(out)], check=True, capture_output=True
    )


def command_of_theirs(sound: Path, out: Path) -> None:
    """The `basic-pitch` command; it takes a folder."""
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        words = [str(Path(sys.executable).with_name("basic-pitch")), folder, str(sound)]
        subprocess.run(
            [*words, "--minimum-note-length", str(_SHORTEST_MS)], check=True, capture_output=True
        )


# -- what is printed -------------------------------------------------------------------------
def compare(label: str, seconds: float, ways: dict[str, Callable[[], Any]], rounds: int) -> None:
    """One row: medians over rounds in which all ways are run in turn; ours comes first."""
    for way in ways.values():
        way()  # what is loaded at the first call is not counted; a process loads it each time
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    ours, *others = [(name, statistics.median(times)) for name, times in taken.items()]
    told = ", ".join(f"{name} {seconds / median:.1f}" for name, median in others)
    ratio = min(median for _, median in others) / ours[1]
    print(f"{label:18}{seconds / ours[1]:12.1f}{ratio:8.2f}   {told}", flush=True)


def speed(what: Sequence[str], seconds: float, rounds: int, room: Path) -> None:
    """The rows of `render` and `transcribe`."""
    score, sound, out = room / "score.mid", room / "score.wav", room / "out"
    spec = spec_of(7, seconds)
    score.write_bytes(run_op("midi_compose", spec).midi.data)
    render(score, sound)
    lasts = open_sound(sound).duration
    print(f"{lasts:.0f} s of music, medians of {rounds} rounds")
    print(f"{'':18}{'x realtime':>12}{'ratio':>8}   peers, x realtime")
    if "render" in what:
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: render(score, out),
            "fluidsynth command": lambda: fluidsynth(score, out),
        }
        compare("midi_render", lasts, ways, rounds)
    if "transcribe" in what:
        ways = {
            "ours": lambda: transcribe(sound, out),
            "predict": lambda: predict_to_file(sound, out),
        }
        compare("to_midi, warm", lasts, ways, rounds)
        ways = {
            "ours": lambda: command_of_ours(sound, out),
            "basic-pitch command": lambda: command_of_theirs(sound, out),
        }
        compare("to_midi, cold", lasts, ways, rounds)


def circle(pieces: int, room: Path) -> None:
    """Spec, MIDI, sound, notes: F, precision and recall, ours and theirs."""
    from mir_eval.transcription import precision_recall_f1_overlap as marks

    columns = ("precision", "recall", "F", "F with ends")
    head = "".join(f"{column:>20}" for column in columns)
    print(f"{'ours / predict':28}{head}")
    rows = []
    for seed in range(pieces):
        spec, path = spec_of(seed), room / f"{seed}.wav"
        write_sound(run_op("midi_generate", spec, fonts=None).sound, path, Encoding())
        intervals, pitches = truth_of(spec)
        row = []
        for found in (_ours(path), _theirs(path)):
            exact = marks(intervals, pitches, *found, offset_ratio=None)
            ended = marks(intervals, pitches, *found)
            row.append((*exact[:3], ended[2]))
        rows.append(row)
        name = "+".join(str(track["program"]) for track in spec["tracks"])
        print(f"{seed:4} programs {name:14} {_shown(row)}", flush=True)
        path.unlink()
    print(f"{'mean':28}{_shown(np.mean(rows, axis=0))}")


def _shown(row: Any) -> str:
    return "".join(f"{f'{ours:.3f} / {theirs:.3f}':>20}" for ours, theirs in zip(*row, strict=True))


def _ours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The notes of our MIDI file, as an independent reader has them."""
    import pretty_midi

    made = run_op("to_midi", _ENGINE, sound=open_sound(path)).midi
    return _notes_of(pretty_midi.PrettyMIDI(io.BytesIO(made.data)))


def _theirs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return _notes_of(predict(path)[0])


def _notes_of(midi: Any) -> tuple[np.ndarray, np.ndarray]:
    notes = [note for instrument in midi.instruments for note in instrument.notes]
    intervals = np.array([(note.start, note.end) for note in notes]).reshape(-1, 2)
    return intervals, _hertz([note.pitch for note in notes])


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help="render, transcribe, circle; default all")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pieces", type=int, default=20)
    args = parser.parse_args()
    what = args.what or ["render", "transcribe", "circle"]
    with tempfile.TemporaryDirectory() as folder:
        if {"render", "transcribe"} & set(what):
            speed(what, args.seconds, args.rounds, Path(folder))
        if "circle" in what:
            circle(args.pieces, Path(folder))


if __name__ == "__main__":
    main()
