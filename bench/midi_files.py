"""Bench (i): MIDI files read, described, changed and written, beside mido and pretty_midi.

    python -m bench.midi_files [--notes 20000] [--rounds 5]

Bytes in, bytes (or a report) out, in a warm process; medians of all ways run in turn. A
ratio above 1 means that ours is faster. What is compared does the same: mido's ways follow
the recipes of its documentation, with absolute times where notes move.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import mido
import numpy as np
import pretty_midi

from handlers.artifacts import Midi
from handlers.registry import find


def piece(count: int) -> Midi:
    """Four tracks of short notes with pedals and a tempo that wanders."""
    rng = np.random.default_rng(1)
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    conductor = file.add_track("Conductor")
    for bar in range(max(count // 64, 1)):
        tempo = int(rng.integers(400_000, 600_000))
        conductor.append(mido.MetaMessage("set_tempo", tempo=tempo, time=1920 if bar else 0))
    for channel in range(4):
        track = file.add_track(f"Player {channel}")
        events: list[tuple[int, mido.Message]] = []
        for at in np.cumsum(rng.integers(60, 240, count // 4)).tolist():
            note, length = int(rng.integers(40, 90)), int(rng.integers(50, 400))
            about = {"channel": channel, "note": note}
            velocity = int(rng.integers(40, 110))
            events.append((at, mido.Message("note_on", velocity=velocity, **about)))
            events.append((at + length, mido.Message("note_off", **about)))
        track.extend(_relative(events))
    return _saved(file)


def _relative(events: list[tuple[int, Any]]) -> list[Any]:
    now, track = 0, []
    for at, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=at - now))
        now = at
    return track


def _opened(midi: Midi) -> mido.MidiFile:
    return mido.MidiFile(file=io.BytesIO(midi.data))


def _saved(file: mido.MidiFile) -> Midi:
    data = io.BytesIO()
    file.save(file=data)
    return Midi(data.getvalue())


def mido_inspect(midi: Midi) -> Any:
    """Length, tempos, and counts per track."""
    file = _opened(midi)
    counts = [sum(m.type == "note_on" and m.velocity > 0 for m in t) for t in file.tracks]
    tempos = [m.tempo for t in file.tracks for m in t if m.type == "set_tempo"]
    return file.length, counts, tempos


def pretty_inspect(midi: Midi) -> Any:
    """Notes paired, in seconds."""
    file = pretty_midi.PrettyMIDI(io.BytesIO(midi.data))
    return file.get_end_time(), [len(i.notes) for i in file.instruments]


def mido_transpose(midi: Midi) -> Midi:
    """Five semitones up."""
    file = _opened(midi)
    for track in file.tracks:
        for message in track:
            if message.type in ("note_on", "note_off") and message.channel != 9:
                message.note += 5
    return _saved(file)


def mido_quantize(midi: Midi) -> Midi:
    """Starts to sixteenths, lengths kept."""
    file = _opened(midi)
    grid = file.ticks_per_beat // 4
    for track in file.tracks:
        events, now = [], 0
        sounding: dict[tuple[int, int], list[int]] = {}
        for message in track:
            now += message.time
            at = now
            if message.type == "note_on" and message.velocity:
                at = round(now / grid) * grid
                sounding.setdefault((message.channel, message.note), []).append(at - now)
            elif message.type in ("note_on", "note_off"):
                at += sounding[message.channel, message.note].pop(0)
            events.append((at, message))
        track[:] = _relative(events)
    return _saved(file)


WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Callable[[Midi], Any]]]] = {
    "inspect": ("midi_inspect", {}, {"mido": mido_inspect, "pretty_midi": pretty_inspect}),
    "transpose": ("midi_transform", {"transpose_semitones": 5}, {"mido": mido_transpose}),
    "quantize": ("midi_quantize", {"grid_beats": 0.25}, {"mido": mido_quantize}),
    "humanize": ("midi_humanize", {"seed": 1}, {}),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    midi = piece(args.notes)
    print(f"{args.notes} notes, {len(midi.data)} bytes, medians of {args.rounds} rounds")
    print(f"{'what':12}{'ms':>9}{'ratio':>8}   others, ms")
    for name, (op_name, given, peers) in WAYS.items():
        op = find(op_name)
        params = op.read_params(given, strict=True)
        ways: dict[str, Callable[[], Any]] = {"": lambda op=op, p=params: op.func(midi, p)}
        ways |= {peer: lambda way=way: way(midi) for peer, way in peers.items()}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        ways[""]()
        for _ in range(args.rounds):
            for way, run in ways.items():
                start = time.perf_counter()
                run()
                taken[way].append(1000 * (time.perf_counter() - start))
        medians = {way: statistics.median(values) for way, values in taken.items()}
        ours = medians.pop("")
        ratio = f"{min(medians.values()) / ours:8.1f}" if medians else f"{'-':>8}"
        others = ", ".join(f"{way} {ms:.1f}" for way, ms in medians.items())
        print(f"{name:12}{ours:9.2f}{ratio}   {others}", flush=True)


if __name__ == "__main__":
    main()
