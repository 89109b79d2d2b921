"""New files, note by note.

    sheet = Sheet(480)
    conductor = sheet.track("Song")
    conductor.tempo(0, 128)
    piano = sheet.track("Piano")
    piano.note(0, 480, channel=0, pitch=60, velocity=100)
    midi = sheet.midi()

Times are ticks. Events may come in any order: at one tick, notes end first, then
come texts and other meta events, then settings, then notes begin.
"""

from __future__ import annotations

import numpy as np

from handlers.artifacts import Midi
from handlers.errors import BadParameter
from handlers.smf import file as smf
from handlers.smf.file import EVENT, LAST_TICK, MidiFile
from handlers.smf.writing import write

_ENDS, _SAYS, _SETS, _BEGINS = range(4)

#: Keys by their sharps, from seven flats to seven sharps.
_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
#: A minor key has the signature of the major key three fifths below.
_MINOR = tuple(f"{tonic}m" for tonic in (*_MAJOR[3:], "G#", "D#", "A#"))

RELEASE = 64
"""Release velocity of keys that do not sense it (MIDI 1.0, "Note Off")."""

SLOWEST_BPM = 60e6 / (2**24 - 1)
TOO_SLOW = f"a MIDI file can say no tempo below {SLOWEST_BPM:.3f} BPM"


class Sheet:
    """A new file, of type 0 with a single track and of type 1 with more.

    All tracks last at least `length` ticks.
    """

    def __init__(self, ticks_per_beat: int, *, length: int = 0) -> None:
        self.ticks_per_beat = ticks_per_beat
        self.length = length
        self._tracks: list[Track] = []

    def track(self, name: str = "") -> Track:
        """One more track."""
        made = Track()
        self._tracks.append(made)
        if name:
            made.text(0, smf.TRACK_NAME, name)
        return made

    def midi(self) -> Midi:
        """All tracks as a file.

        Raises:
            CannotProcess: two events are too far apart for the format.
        """
        events: list[tuple[int, ...]] = []
        pool = bytearray()
        for number, track in enumerate(self._tracks):
            for tick, _, _, status, data1, data2, payload in sorted(track.events):
                events.append((tick, number, len(pool), len(payload), status, data1, data2, 1))
                pool += payload
            end = max((tick for tick, *_ in track.events), default=0)
            end = max(end, self.length)
            events.append((end, number, 0, 0, smf.META, smf.END_OF_TRACK, 0, 0))
        table = np.array(events, EVENT)
        tracks = len(self._tracks)
        kind = 0 if tracks == 1 else 1
        return write(MidiFile(kind, self.ticks_per_beat, tracks, table, bytes(pool)))


class Track:
    """One track of a new file. Values out of a message's range are the caller's mistake."""

    def __init__(self) -> None:
        #: Tick, what goes first, number, status, two data bytes, payload.
        self.events: list[tuple[int, int, int, int, int, int, bytes]] = []

    def _add(
        self, tick: int, rank: int, status: int, data1: int, data2: int = 0, payload: bytes = b""
    ) -> None:
        if not (0 <= tick <= LAST_TICK and max(data1, data2) < 0x80):
            raise ValueError(f"no event: tick {tick}, {status:#x}, {data1}, {data2}")
        self.events.append((tick, rank, len(self.events), status, data1, data2, payload))

    def note(
        self,
        start: int,
        end: int,
        *,
        channel: int,
        pitch: int,
        velocity: int,
        release: int = RELEASE,
    ) -> None:
        """One note of at least a tick."""
        self._add(start, _BEGINS, smf.NOTE_ON | channel, pitch, velocity)
        self._add(max(end, start + 1), _ENDS, smf.NOTE_OFF | channel, pitch, release)

    def controller(self, tick: int, *, channel: int, controller: int, value: int) -> None:
        """A control change."""
        self._add(tick, _SETS, smf.CONTROLLER | channel, controller, value)

    def program(self, tick: int, *, channel: int, program: int, bank: int | None = None) -> None:
        """Another instrument; `bank` counts to 16383."""
        if bank is not None:
            high, low = divmod(bank, 128)
            self.controller(tick, channel=channel, controller=smf.BANK_HIGH, value=high)
            self.controller(tick, channel=channel, controller=smf.BANK_LOW, value=low)
        self._add(tick, _SETS, smf.PROGRAM | channel, program)

    def pitch_bend(self, tick: int, *, channel: int, value: int) -> None:
        """The pitch wheel, -8192 to 8191."""
        high, low = divmod(value + 8192, 128)
        self._add(tick, _SETS, smf.PITCH_BEND | channel, low, high)

    def pressure(self, tick: int, *, channel: int, value: int, pitch: int | None = None) -> None:
        """Aftertouch of a channel, or of one key."""
        if pitch is None:
            self._add(tick, _SETS, smf.CHANNEL_PRESSURE | channel, value)
        else:
            self._add(tick, _SETS, smf.KEY_PRESSURE | channel, pitch, value)

    def meta(self, tick: int, kind: int, payload: bytes) -> None:
        """A meta event."""
        self._add(tick, _SAYS, smf.META, kind, 0, payload)

    def text(self, tick: int, kind: int, text: str) -> None:
        """A meta event that holds text (a name, a marker, a lyric)."""
        self.meta(tick, kind, text.encode())

    def tempo(self, tick: int, bpm: float) -> None:
        """The tempo from here on, to the microsecond per beat."""
        self.meta(tick, smf.TEMPO, tempo_bytes(bpm))

    def time_signature(self, tick: int, numerator: int, denominator: int) -> None:
        """The time signature from here on; the metronome clicks once per beat of it."""
        clocks = min(24 * 4 // denominator, 255)
        power = denominator.bit_length() - 1
        self.meta(tick, smf.TIME_SIGNATURE, bytes((numerator, power, max(clocks, 1), 8)))

    def key_signature(self, tick: int, key: str) -> None:
        """The key from here on: `C`, `F#m`, `Bb`. One without a signature becomes its twin."""
        fifths, minor = key_signature(key)
        self.meta(tick, smf.KEY_SIGNATURE, bytes((fifths & 0xFF, minor)))


def tempo_bytes(bpm: float) -> bytes:
    """A tempo as the payload of its event: microseconds per beat, in 24 bits.

    Raises:
        BadParameter: that is too slow for them.
    """
    if bpm < SLOWEST_BPM:
        raise BadParameter(f"{bpm:g} BPM: {TOO_SLOW}", field="tempo_bpm")
    return round(60e6 / bpm).to_bytes(3, "big")


def key_signature(key: str) -> tuple[int, bool]:
    """Sharps (negative: flats) of a key, and whether it is minor.

    A key that no signature can say (`G#`) counts as the one that sounds alike (`Ab`).
    """
    minor = key.endswith("m")
    keys = _MINOR if minor else _MAJOR
    if key not in keys:
        alike = [other for other in keys if _pitch_class(other) == _pitch_class(key)]
        key = min(alike, key=lambda other: abs(keys.index(other) - 7))
    return keys.index(key) - 7, minor


def key_name(fifths: int, minor: bool) -> str | None:
    """The key that has so many sharps (negative: flats): `C`, `F#m`, `Bb`."""
    keys = _MINOR if minor else _MAJOR
    return keys[fifths + 7] if -7 <= fifths <= 7 else None


def _pitch_class(key: str) -> int:
    tonic = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[key[0]]
    return (tonic + key.count("#") - key[1:].count("b")) % 12
