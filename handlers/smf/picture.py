"""The piano roll of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.plots import Curve, Lane, Marks, Plot, Roll
from handlers.smf.clock import Clock, clocks_of, tempo
from handlers.smf.file import DRUMS, MARKER, TEMPO, TIME_SIGNATURE, TRACK_NAME, MidiFile
from handlers.smf.notes import Notes

#: What General MIDI's drum kits have on their keys, from 35 on, briefly.
_KIT = """Kick 2, Kick, Rim, Snare, Clap, Snare 2, Tom 6, Hi-hat, Tom 5, Pedal hat, Tom 4, Open hat,
Tom 3, Tom 2, Crash, Tom 1, Ride, China, Ride bell, Tambourine, Splash, Cowbell, Crash 2,
Vibraslap, Ride 2, Bongo hi, Bongo lo, Conga mute, Conga hi, Conga lo, Timbale hi, Timbale lo,
Agogo hi, Agogo lo, Cabasa, Maracas, Whistle, Whistle 2, Guiro, Guiro 2, Claves, Block hi,
Block lo, Cuica mute, Cuica, Triangle 2, Triangle"""
KIT = dict(enumerate(_KIT.replace("\n", " ").split(", "), 35))


def roll(file: MidiFile, notes: Notes, length: float) -> Plot:
    """Notes by channel, drums by what is struck, tempo where it changes, markers."""
    spans = _spans(file, notes)
    channels = file.channels[notes.on]
    drums = channels == DRUMS
    lanes: list[Lane] = []
    for these, name in ((~drums, "Notes"), (drums, "Drums")):
        if these.any() or (name == "Notes" and not notes.count):
            lanes.append(_lane(file, notes, spans, channels, these, name))
    if file.kind != 2:
        # The times of independent tracks are no times of the file.
        lanes += _course(file, length)
    signatures = file.metas(TIME_SIGNATURE, 2)
    title = file.metas(TRACK_NAME)
    facts: dict[str, str | float | None] = {
        "Notes": notes.count,
        "Tracks": file.tracks,
        "Tempo": _first_tempo(file),
        "Time": _signature(file.payload(signatures[0])) if signatures.size else None,
        "Type": file.kind,
    }
    named = title.size and file.events["track"][title[0]] == 0 and file.text(title[0])
    return Plot(named[:80] if named else "MIDI", length, lanes, facts)


def _lane(
    file: MidiFile,
    notes: Notes,
    spans: tuple[NDArray[np.float64], NDArray[np.float64]],
    channels: NDArray[np.int8],
    these: NDArray[np.bool_],
    name: str,
) -> Roll:
    on = notes.on[these]
    return Roll(
        spans[0][these],
        spans[1][these],
        file.events["data1"][on],
        channels[these],
        file.events["data2"][on] / 127,
        names={} if name == "Drums" else _players(file, np.unique(channels[these]).tolist()),
        keys=KIT if name == "Drums" else None,
        name=name,
    )


def _players(file: MidiFile, channels: list[int]) -> dict[int, str]:
    """Channels by the track that plays them, if there is one with a name."""
    named: dict[int, str] = {}
    for index in file.metas(TRACK_NAME):
        track = file.events["track"][index]
        if file.text(index):
            named.setdefault(int(track), file.text(index)[:30])
    found: dict[int, str] = {}
    plays = file.channels[file.starts_note]
    tracks = file.events["track"][file.starts_note]
    for channel in channels:
        at = np.unique(tracks[plays == channel]).tolist()
        alone = len(at) == 1 and at[0] in named
        found[channel] = named[at[0]] if alone else f"Channel {channel}"
    return found


def _spans(file: MidiFile, notes: Notes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Beginning and end of each note in seconds."""
    starts, ends = np.empty(notes.count), np.empty(notes.count)
    clocks = clocks_of(file)
    tracks = file.events["track"][notes.on]
    one: list[tuple[Clock, Any]] = [(clocks[0], slice(None))]
    for clock, these in (
        one if file.kind != 2 else [(c, tracks == number) for number, c in enumerate(clocks)]
    ):
        starts[these] = clock.seconds_at(notes.start[these])
        ends[these] = clock.seconds_at(notes.end[these])
    return starts, ends


def _course(file: MidiFile, length: float) -> list[Lane]:
    clock = clocks_of(file)[0]
    lanes: list[Lane] = []
    if clock.ticks.size > 1:
        bpm = 60 / (clock.paces * file.division)
        times = np.append(clock.seconds, length)
        # A tempo holds until the next one: two points for each.
        lanes.append(
            Curve(
                np.repeat(times, 2)[1:-1], np.repeat(bpm, 2), name="Tempo", unit="BPM", height=0.5
            )
        )
    markers = file.metas(MARKER)
    if markers.size:
        at = clock.seconds_at(file.events["tick"][markers]).tolist()
        flags = [(when, file.text(i)[:60]) for when, i in zip(at, markers, strict=True)]
        lanes.append(Marks(flags=flags, name="Markers"))
    return lanes


def _first_tempo(file: MidiFile) -> str | None:
    told = file.metas(TEMPO)
    if file.smpte is not None:
        return None
    return f"{60e6 / tempo(file, told[0]) if told.size else 120:.4g} BPM"


def _signature(payload: bytes) -> str:
    return f"{payload[0]}/{2 ** min(payload[1], 15)}"
