"""Whole pieces, by seed: form, harmony, parts, feel, and the truth about all of it."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bench.accuracy import drums, players
from bench.accuracy.harmony import NAMES, Chord, progression
from bench.accuracy.players import METERS, Meter, Span, Tone
from bench.accuracy.score import DRUMS, Clock, Note, Part, midi_file, onsets_of
from bench.accuracy.truth import Truth


@dataclass(frozen=True)
class Spec:
    """What a piece shall be; everything else follows from the seed."""

    name: str
    split: str
    seed: int
    tonic: int
    mode: str
    meter: str
    bpm: float
    style: str
    drums: bool
    swing: float
    drift: str


@dataclass(frozen=True)
class Piece:
    """A finished piece: what to play, how to finish the sound, what is true of it."""

    truth: Truth
    midi: bytes
    #: The lead alone.
    lead: bytes
    #: Loudness of the whole (peak, dBFS), reverb's share, hiss in dBFS or none.
    peak_db: float
    reverb: float
    hiss_db: float | None


@dataclass(frozen=True)
class _Band:
    leads: tuple[int, ...]
    comps: tuple[int, ...]
    pads: tuple[int, ...]
    basses: tuple[int, ...]
    kits: tuple[int, ...] = (0,)


#: General MIDI programs, counted from 0.
_BANDS = {
    "pop": _Band((53, 80, 81, 73, 65, 0), (0, 4, 24, 25), (48, 89, 52, 16), (33, 34, 38), (0, 8)),
    "rock": _Band((29, 81, 80, 27), (27, 18, 25, 30), (16, 48), (33, 34), (0, 16)),
    "jazz": _Band((65, 66, 56, 11, 71), (0, 4, 26), (), (32,), (32, 40)),
    "folk": _Band((73, 40, 22, 71), (24, 25, 46), (21, 48), (32, 33), (0, 40)),
    "electronic": _Band((80, 81, 87, 90), (90, 4, 81, 5), (89, 95, 50), (38, 39), (24, 25)),
    "classical": _Band((40, 68, 71, 73, 42), (0, 6, 46, 45), (48, 49), (43, 42), (0,)),
}
#: Leads whose home is lower than the middle octave's end.
_LOW_LEADS = {42, 66, 29, 27}
_FORMS = ("ABAC", "ABAB", "ABACA", "ABCAB", "ABA", "ABCBA", "ABCA")
_LASTS_S = (30.0, 46.0)


def compose(spec: Spec) -> Piece:
    """Write the piece."""
    rng = random.Random(spec.seed)
    meter = METERS[spec.meter]
    form, bars = _form(rng, meter, spec.bpm)
    sevenths = {"jazz": 1.0, "classical": 0.15, "pop": 0.35, "electronic": 0.3}.get(spec.style, 0.0)
    band = _Hired.hired(rng, spec)
    sections = {
        letter: _Section.written(rng, spec, band, letter, bars, sevenths)
        for letter in sorted(set(form))
    }
    total = len(form) * bars * meter.beats
    # One bar more: the last chord rings.
    clock = Clock(
        _periods(rng, spec, total + meter.beats + 1, bars * meter.beats),
        start=rng.uniform(0.2, 1.0),
        swing=spec.swing,
        level=2 if spec.bpm < 80 and spec.swing != 0.5 else 1,
    )
    home = Chord(spec.tonic, "maj" if spec.mode == "major" else "min")
    places = [(letter, number * bars * meter.beats) for number, letter in enumerate(form)]
    for number, (letter, at) in enumerate(places):
        sections[letter].play(rng, band, clock, at, last=number == len(places) - 1)
    _ending(rng, band, clock, total, meter, home)
    parts = band.finished()

    spans: list[tuple[float, float, str]] = []
    for letter, at in places:
        spans += [
            (clock.at(at + s), clock.at(at + e), c.label) for s, e, c in sections[letter].chords
        ]
    duration = clock.at(total + meter.beats) + rng.uniform(0.5, 1.5)
    spans.append((clock.at(total), clock.at(total + meter.beats), home.label))
    beats = [clock.at(beat) for beat in range(total + 1)]
    cents = rng.choice([0.0, 0.0, 0.0, rng.uniform(-25, 25)])
    # A tone has its pitch before it is loud enough to be the beginning of a note.
    early = band.lead.speaks
    melody = [
        (n.start - early, n.end - early, 440 * 2 ** ((n.pitch - 69 + cents / 100) / 12))
        for n in band.lead.notes
    ]
    truth = Truth(
        name=spec.name,
        split=spec.split,
        duration=duration,
        style=spec.style,
        meter=spec.meter,
        drums=spec.drums,
        swing=spec.swing,
        drift=spec.drift,
        tuning_cents=cents,
        tempo=60 / statistics.median(b - a for a, b in pairwise(beats)),
        beats=beats,
        downbeats=beats[:: meter.beats],
        key=f"{NAMES[spec.tonic]} {spec.mode}",
        chords=_merged(spans),
        melody=melody,
        onsets=onsets_of(parts),
        sections=[
            (clock.at(at), clock.at(at + bars * meter.beats), letter) for letter, at in places
        ],
    )
    return Piece(
        truth=truth,
        midi=midi_file(parts, duration, cents),
        lead=midi_file([band.lead], duration, cents),
        peak_db=rng.uniform(-12, -0.5),
        reverb=rng.choice([0.0, 0.2, 0.2, 0.5]),
        hiss_db=rng.choice([None, None, -66.0, -54.0]),
    )


def _form(rng: random.Random, meter: Meter, bpm: float) -> tuple[str, int]:
    """Letters, and bars of each section, that last about as long as pieces shall."""
    bar_s = meter.beats * 60 / bpm
    fitting = [
        (form, bars)
        for form in _FORMS
        for bars in (4, 8, 16)
        if _LASTS_S[0] <= (len(form) * bars + 1) * bar_s <= _LASTS_S[1] and bars * bar_s >= 5
    ]
    return rng.choice(fitting or [("ABA", 4)])


def _periods(rng: random.Random, spec: Spec, count: int, section: int) -> list[float]:
    """Seconds of each beat."""
    made = []
    wave_s, phase = rng.uniform(14, 26), rng.uniform(0, 2 * math.pi)
    depth = rng.uniform(0.03, 0.055) if spec.drift == "wander" else 0.0
    climb = rng.choice([-1, 1]) * rng.uniform(0.07, 0.12) if spec.drift == "gliding" else 0.0
    walk = 0.0
    at = 0.0
    for beat in range(count):
        if spec.drift != "steady":
            walk = 0.9 * walk + rng.gauss(0, 0.004)
        rate = 1 + walk + depth * math.sin(2 * math.pi * at / wave_s + phase)
        rate += climb * (beat / count - 0.5)
        if spec.drift == "rubato" and beat % section >= section - 2:
            rate *= 1 - rng.uniform(0.05, 0.12)
        period = 60 / spec.bpm / rate
        made.append(period)
        at += period
    return made


@dataclass
class _Hired:
    """The parts of one piece, by role."""

    lead: Part
    comp: Part
    bass: Part
    pad: Part | None
    drums: Part | None
    center: int
    low: int

    @classmethod
    def hired(cls, rng: random.Random, spec: Spec) -> _Hired:
        band = _BANDS[spec.style]
        tight = 0.0 if spec.drift == "steady" and spec.style == "electronic" else 1.0
        lead = rng.choice(band.leads)
        kit = None
        if spec.drums:
            kit = Part("drums", DRUMS, rng.choice(band.kits), rng.randint(80, 112), 64)
            kit.loose = 0.004 * tight
        pad = None
        if band.pads and (not spec.drums or rng.random() < 0.6):
            pad = Part("pad", 3, rng.choice(band.pads), rng.randint(50, 76), rng.randint(40, 88))
            pad.loose = 0.008 * tight
        return cls(
            lead=Part("lead", 0, lead, rng.randint(92, 116), rng.randint(56, 72),
                      rng.uniform(-0.004, 0.012) * tight, 0.009 * tight),
            comp=Part("comp", 1, rng.choice(band.comps), rng.randint(72, 100), rng.randint(30, 98),
                      rng.uniform(-0.004, 0.006) * tight, 0.007 * tight),
            bass=Part("bass", 2, rng.choice(band.basses), rng.randint(88, 112), 64,
                      rng.uniform(-0.006, 0.006) * tight, 0.006 * tight),
            pad=pad,
            drums=kit,
            center=58 if lead in _LOW_LEADS else rng.choice([70, 72, 74]),
            low=rng.choice([52, 55, 58]),
        )  # fmt: skip

    def finished(self) -> list[Part]:
        """Every part, its notes in order and none longer than the next of its pitch allows."""
        made = [p for p in (self.lead, self.comp, self.bass, self.pad, self.drums) if p]
        for part in made:
            part.notes.sort(key=lambda n: (n.start, n.pitch))
            before: dict[int, Note] = {}
            for note in part.notes:
                voice = -1 if part is self.lead else note.pitch
                if voice in before:
                    before[voice].end = min(before[voice].end, note.start - 0.004)
                before[voice] = note
            part.notes = [n for n in part.notes if n.end - n.start > 0.015]
        return made


def _add(rng: random.Random, part: Part, clock: Clock, tones: Sequence[Tone], gain: float) -> None:
    for tone in tones:
        moved = part.late + rng.gauss(0, part.loose) + tone.delay
        start = max(0.0, clock.at(tone.beat) + moved)
        end = max(start + 0.03, clock.at(tone.beat + tone.length) + moved)
        velocity = round(tone.velocity * gain + rng.gauss(0, 3))
        part.notes.append(Note(start, end, tone.pitch, max(8, min(127, velocity))))


@dataclass(frozen=True)
class _Section:
    """Material of one letter, in beats from its start."""

    chords: list[Span]
    tune: list[Tone]
    comp: list[Tone]
    bass: list[Tone]
    pad: list[Tone]
    groove: list[drums.Hit]
    bars: int
    meter: Meter
    loud: float
    #: A section of its own colour: without drums, without lead, or all of them.
    without: str

    @classmethod
    def written(
        cls,
        rng: random.Random,
        spec: Spec,
        band: _Hired,
        letter: str,
        bars: int,
        sevenths: float,
    ) -> _Section:
        meter = METERS[spec.meter]
        bar_s = meter.beats * 60 / spec.bpm
        # Chords change every second or three, whatever the tempo.
        per_bar = 2 if bar_s > 2.6 and meter.beats != 3 else 1
        each = 2 if bar_s < 1.1 else 1
        count = max(4, bars * per_bar // each)
        length = bars * meter.beats / count
        found = progression(rng, spec.tonic, spec.mode, letter == "A", sevenths, count)
        chords = [(i * length, (i + 1) * length, chord) for i, chord in enumerate(found)]
        key = (spec.tonic, spec.mode)
        high = {"A": 0, "B": 4, "C": -3}[letter]
        without = ""
        if letter == "C":
            without = rng.choice(["drums", "lead", "", "bass"])
        return cls(
            chords=chords,
            tune=players.lead(rng, chords, meter, spec.bpm, key, band.center + high, bars),
            comp=players.comp(rng, chords, meter, rng.choice(players.COMP_STYLES[spec.style]),
                              band.low + high // 2, spec.bpm),
            bass=players.bass(rng, chords, meter, rng.choice(players.BASS_STYLES[spec.style])),
            pad=players.pad(chords, band.low + 5),
            groove=drums.pattern(rng, spec.meter, spec.style, spec.bpm, letter == "B"),
            bars=bars,
            meter=meter,
            loud={"A": 0.88, "B": 1.0, "C": 0.8}[letter],
            without=without,
        )  # fmt: skip

    def play(self, rng: random.Random, band: _Hired, clock: Clock, at: int, last: bool) -> None:
        """Once, from beat `at` on."""

        def placed(tones: Sequence[Tone]) -> list[Tone]:
            return [replace(t, beat=t.beat + at) for t in tones]

        if self.without != "lead":
            _add(rng, band.lead, clock, placed(self.tune), self.loud)
        _add(rng, band.comp, clock, placed(self.comp), self.loud)
        if self.without != "bass":
            _add(rng, band.bass, clock, placed(self.bass), self.loud)
        if band.pad:
            _add(rng, band.pad, clock, placed(self.pad), self.loud)
        if band.drums and self.without != "drums":
            hits = []
            for bar in range(self.bars):
                groove = self.groove
                if bar == self.bars - 1 and not last:
                    ending = drums.fill(rng, self.meter.beats, self.meter.division)
                    groove = [h for h in groove if h[0] < ending[0][0] - 1e-6] + ending
                if bar == 0 and at:
                    groove = [*groove, (0.0, drums.CRASH, 90)]
                for place, drum, velocity in groove:
                    beat = at + bar * self.meter.beats + place
                    hits.append(Tone(beat, 0.1, drum, velocity))
            _add(rng, band.drums, clock, hits, 0.6 + 0.4 * self.loud)


def _ending(
    rng: random.Random, band: _Hired, clock: Clock, at: int, meter: Meter, home: Chord
) -> None:
    """The last bar: everybody on the tonic."""
    span = [(float(at), float(at + meter.beats), home)]
    _add(rng, band.comp, clock, players.comp(rng, span, meter, "held", band.low, 100), 1.0)
    _add(rng, band.bass, clock, players.bass(rng, span, meter, "root"), 1.0)
    tonic = min(range(band.center - 6, band.center + 6), key=lambda p: (p - home.root) % 12)
    _add(rng, band.lead, clock, [Tone(at, meter.beats * 0.9, tonic, 96)], 1.0)
    if band.pad:
        _add(rng, band.pad, clock, players.pad(span, band.low + 5), 1.0)
    if band.drums:
        hits = [Tone(at, 0.1, drum, 96) for drum in (drums.KICK, drums.CRASH)]
        _add(rng, band.drums, clock, hits, 1.0)


def _merged(spans: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    made: list[tuple[float, float, str]] = []
    for start, end, label in spans:
        if made and made[-1][2] == label:
            made[-1] = (made[-1][0], end, label)
        else:
            made.append((start, end, label))
    return made
