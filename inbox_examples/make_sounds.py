"""Makes the example sounds: `python inbox_examples/make_sounds.py`.

Everything in them is ours: the words, the notes, the rooms. Speech comes from
espeak-ng, instruments from FluidSynth with the General MIDI set of Debian's
`fluid-soundfont-gm`; what a real recording adds (a room, air, mains hum) is
computed here from fixed seeds, so a second run makes the same files. They are
committed, so nobody needs these programs to use them; run this only to change
a sound, and look at `git diff --stat` afterwards.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import mido
import mutagen.flac
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

HERE = Path(__file__).parent
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
RATE = 44100
Sound = NDArray[np.float64]
"""(frames, channels), as soundfile has it."""


# ---- what a recording adds ---------------------------------------------------------------------


def decibels(db: float) -> float:
    """The factor of a level in dB."""
    return float(10 ** (db / 20))


def squeezed(sound: Sound, drive: float) -> Sound:
    """Round the highest peaks off, as a preamplifier or a tape does."""
    loud = sound / np.max(np.abs(sound))
    rounded: Sound = np.tanh(drive * loud) / np.tanh(drive)
    return rounded


def room(dry: Sound, *, seconds: float, wet_db: float, seed: int) -> Sound:
    """Add a room: noise that falls by 60 dB in `seconds`, each channel its own."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * 1.2 * RATE)
    fall = 10 ** (-3 * np.arange(frames) / (seconds * RATE))
    size = 1 << int(np.ceil(np.log2(len(dry) + frames)))
    wet = np.empty_like(dry)
    for channel in range(dry.shape[1]):
        answer = rng.standard_normal(frames) * fall
        answer[: int(0.004 * RATE)] = 0  # the first wall is more than a metre away
        answer /= np.sqrt(np.sum(answer**2))
        spectrum = np.fft.rfft(dry[:, channel], size) * np.fft.rfft(answer, size)
        wet[:, channel] = np.fft.irfft(spectrum, size)[: len(dry)]
    return dry + wet * decibels(wet_db)


def air(frames: int, *, level_db: float, seed: int) -> Sound:
    """Pink noise (3 dB less per octave), one channel, at an RMS level in dBFS."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(frames))
    frequency = np.fft.rfftfreq(frames, 1 / RATE)
    shaped = np.where(frequency < 20, 0, spectrum / np.sqrt(np.maximum(frequency, 20)))
    noise = np.fft.irfft(shaped, frames)
    noise *= decibels(level_db) / np.sqrt(np.mean(noise**2))
    return noise.reshape(-1, 1)


def hum(frames: int, *, partials_db: Mapping[float, float]) -> Sound:
    """Mains hum, one channel: frequency in Hz to peak level in dBFS."""
    at = np.arange(frames) / RATE
    waves = [decibels(db) * np.sin(2 * np.pi * hz * at) for hz, db in partials_db.items()]
    summed: Sound = np.sum(waves, axis=0).reshape(-1, 1)
    return summed


# ---- speech ------------------------------------------------------------------------------------


def say(text: str, *, voice: str, speed: int, pitch: int) -> Sound:
    """Spoken text, one channel, at full scale."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        options = ["-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path)]
        subprocess.run(["espeak-ng", *options, text], check=True)
        samples, rate = soundfile.read(path, always_2d=True)
    return squeezed(soxr.resample(samples, rate, RATE), 5)


def conversation(turns: Iterable[tuple[Sound, float]], *, pause: float, edge: float) -> Sound:
    """Turns with levels in dBFS, `pause` seconds between them and `edge` at both ends."""
    quiet = np.zeros((int(pause * RATE), 1))
    parts = [np.zeros((int(edge * RATE), 1))]
    for said, level_db in turns:
        parts += [said * decibels(level_db), quiet]
    return np.concatenate([*parts[:-1], parts[0]])


# ---- instruments -------------------------------------------------------------------------------

Note = tuple[float, float, int, int]
"""Start and length in beats, MIDI pitch, velocity."""


def score(parts: Mapping[tuple[int, int], Iterable[Note]], *, bpm: float) -> mido.MidiFile:
    """`(channel, program)` and its notes as a MIDI file, a track for each."""
    song = mido.MidiFile(ticks_per_beat=480)
    conductor = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))])
    song.tracks.append(conductor)
    for (channel, program), notes in parts.items():
        events = [(0, mido.Message("program_change", channel=channel, program=program))]
        for start, length, pitch, velocity in notes:
            on = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
            off = mido.Message("note_off", channel=channel, note=pitch)
            events += [(round(start * 480), on), (round((start + length) * 480), off)]
        events.sort(key=lambda event: (event[0], event[1].type == "note_on"))
        track, now = mido.MidiTrack(), 0
        for tick, message in events:
            track.append(message.copy(time=tick - now))
            now = tick
        song.tracks.append(track)
    return song


def play(parts: Mapping[tuple[int, int], Iterable[Note]], *, bpm: float, seconds: float) -> Sound:
    """Render `(channel, program)` to its notes; two channels, dry, exactly `seconds` long."""
    with tempfile.TemporaryDirectory() as folder:
        written, path = Path(folder) / "song.mid", Path(folder) / "song.wav"
        score(parts, bpm=bpm).save(written)
        dry = ["-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-O", "float"]
        subprocess.run(
            ["fluidsynth", "-n", "-i", "-q", *dry, "-F", str(path), SOUNDFONT, str(written)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        samples, _ = soundfile.read(path, always_2d=True)
    frames = int(seconds * RATE)
    whole = np.zeros((frames, 2))
    whole[: min(frames, len(samples))] = samples[:frames]
    return whole


def chord(start: float, length: float, pitches: Iterable[int], velocity: int) -> list[Note]:
    """Notes struck together."""
    return [(start, length, pitch, velocity) for pitch in pitches]


KICK, SNARE, CLOSED_HAT, OPEN_HAT, RIDE = 36, 38, 42, 46, 51
CHORDS = ((57, 60, 64, 67), (53, 57, 60, 64), (48, 55, 60, 64), (55, 59, 62, 65))
ROOTS = (33, 29, 36, 31)
CADENCE = (((57, 60, 64), 33), ((57, 62, 65), 38), ((55, 59, 64), 28), ((57, 60, 64), 33))
TUNE: tuple[Note, ...] = (
    (0, 1.5, 76, 92),
    (1.5, 0.5, 74, 80),
    (2, 2, 72, 88),
    (4, 1, 69, 84),
    (5, 1, 72, 90),
    (6, 2, 76, 96),
    (8, 1.5, 79, 100),
    (9.5, 0.5, 77, 84),
    (10, 2, 76, 92),
    (12, 1, 74, 88),
    (13, 1, 71, 82),
    (14, 2.5, 72, 94),
)


def band_parts() -> dict[str, tuple[tuple[int, int], list[Note]]]:
    """Four bars for electric piano, bass, vibraphone and drums, in A minor."""
    keys: list[Note] = []
    bass: list[Note] = []
    drums: list[Note] = []
    for bar, (pitches, root) in enumerate(zip(CHORDS, ROOTS, strict=True)):
        beat = bar * 4.0
        keys += chord(beat, 1.4, pitches, 72) + chord(beat + 2.5, 1.3, pitches, 60)
        bass += [
            (beat, 1.2, root, 104),
            (beat + 1.5, 0.4, root + 12, 84),
            (beat + 2.5, 1, root, 96),
        ]
        drums += [(beat + at, 0.2, KICK, 112) for at in (0, 2.5)]
        drums += [(beat + at, 0.2, SNARE, 100) for at in (1, 3)]
        drums += [(beat + at / 2, 0.2, CLOSED_HAT, 84 - 24 * (at % 2)) for at in range(8)]
    return {
        "keys": ((0, 4), keys),
        "bass": ((1, 33), bass),
        "tune": ((2, 11), list(TUNE)),
        "drums": ((9, 0), drums),
    }


def band() -> Sound:
    """All of the band: 108 beats a minute."""
    return squeezed(play(dict(band_parts().values()), bpm=108, seconds=9), 1.6)


def stem(name: str) -> Sound:
    """Two bars of one of the band, as it leaves a DAW: dry, from the same beginning."""
    instrument, notes = band_parts()[name]
    return play({instrument: notes}, bpm=108, seconds=4.5)


def sketch() -> mido.MidiFile:
    """Two bars for piano, as they leave a keyboard."""
    notes: list[Note] = [note for note in TUNE if note[0] < 8]
    for bar, pitches in enumerate(CHORDS[:2]):
        notes += chord(bar * 4.0, 3.8, [pitch - 12 for pitch in pitches], 58)
    return score({(0, 0): notes}, bpm=96)


def keys_loop() -> Sound:
    """Two bars of electric piano in A minor, 110 beats a minute, made to loop."""
    notes: list[Note] = []
    for bar, pitches in enumerate((CHORDS[0], CHORDS[0])):
        for at, velocity in ((0, 96), (1, 70), (2, 88), (3, 72)):
            notes += chord(bar * 4.0 + at, 0.8, pitches[:3], velocity)
            notes.append((bar * 4.0 + at, 0.5, 45, velocity))
    return play({(0, 4): notes}, bpm=110, seconds=8 * 60 / 110)


def club_track(bpm: float = 124) -> Sound:
    """Four bars of house: four on the floor, A minor."""
    keys: list[Note] = []
    bass: list[Note] = []
    drums: list[Note] = []
    for bar in range(4):
        beat = bar * 4.0
        pitches, root = CADENCE[bar]
        keys += chord(beat, 0.4, pitches, 88) + chord(beat + 2.5, 0.4, pitches, 74)
        bass += [(beat + at, 0.4, root, 108) for at in range(4)]
        bass += [(beat + at + 0.5, 0.3, root + 12, 72) for at in range(4)]
        drums += [(beat + at, 0.2, KICK, 120) for at in range(4)]
        drums += [(beat + at, 0.2, SNARE, 92) for at in (1, 3)]
        drums += [(beat + at + 0.5, 0.2, CLOSED_HAT, 76) for at in range(4)]
    parts = {(0, 4): keys, (1, 33): bass, (9, 0): drums}
    return squeezed(play(parts, bpm=bpm, seconds=16 * 60 / bpm), 1.4)


def break_beat() -> Sound:
    """One bar of drums at 120 beats a minute: exactly two seconds, made to loop."""
    drums: list[Note] = [(at, 0.2, KICK, 118) for at in (0, 0.75, 2.5)]
    drums += [(at, 0.2, SNARE, 110) for at in (1, 3)] + [(2.25, 0.1, SNARE, 46)]
    drums += [(at / 2, 0.1, CLOSED_HAT, 92 - 30 * (at % 2)) for at in range(7)]
    drums += [(3.5, 0.4, OPEN_HAT, 88)]
    return play({(9, 0): drums}, bpm=120, seconds=2)


def cymbal() -> Sound:
    """One ride cymbal, left to ring: what a reversed swell is made from."""
    return play({(9, 0): [(0, 4, RIDE, 120)]}, bpm=120, seconds=2.5)


def cello() -> Sound:
    """A phrase for solo cello, as a field recorder keeps it: one channel, 24 bits, very quiet."""
    phrase: tuple[Note, ...] = (
        (0, 1.8, 50, 70),
        (2, 0.9, 57, 78),
        (3, 0.9, 53, 74),
        (4, 2.5, 52, 82),
        (6.5, 1.5, 50, 66),
    )
    dry = play({(0, 42): phrase}, bpm=120, seconds=4.2).mean(axis=1, keepdims=True)
    return room(dry, seconds=1.4, wet_db=-12, seed=41) + air(len(dry), level_db=-75, seed=42)


# ---- files -------------------------------------------------------------------------------------


def save(
    path: Path, sound: Sound, *, subtype: str, peak_db: float, tags: Mapping[str, str]
) -> None:
    """Write one file with its highest sample at `peak_db` dBFS, dithered to its depth."""
    bits = int(subtype.removeprefix("PCM_"))
    scaled = sound * decibels(peak_db) / np.max(np.abs(sound))
    rng = np.random.default_rng(len(sound))
    dither = rng.random(sound.shape) - rng.random(sound.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, scaled + dither / 2 ** (bits - 1), RATE, subtype=subtype)
    if tags:
        file = mutagen.flac.FLAC(path)
        file.update(tags)
        file.save(padding=lambda _: 0)


def add_bext(path: Path, *, description: str, originator: str, time_reference: int) -> None:
    """Append what a field recorder writes into a WAV: a `bext` chunk (EBU Tech 3285, version 1)."""
    dated = b"2026-05-17" + b"06:30:00"
    body = struct.pack(
        "<256s32s32s18sQH",
        description.encode(),
        originator.encode(),
        b"AUD-2026-0007",
        dated,
        time_reference,
        1,
    ) + bytes(254)
    raw = path.read_bytes() + b"bext" + struct.pack("<I", len(body)) + body
    path.write_bytes(raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:])


def podcast() -> Sound:
    """Two people in a small room, uneven, with hum and air, and a second of nothing at each end."""
    host = partial(say, voice="en-gb", speed=155, pitch=38)
    guest = partial(say, voice="en-us", speed=165, pitch=62)
    turns = [
        (host("Welcome back to the workshop. Today: why does my recording hum?"), -8.0),
        (guest("Fifty times a second, the mains says hello."), -12.0),
        (host("And how do we make it stop?"), -9.0),
        (guest("Drop the file in this folder."), -11.5),
    ]
    dry = conversation(turns, pause=0.35, edge=1.0)
    there = room(dry, seconds=0.35, wet_db=-9, seed=11)
    mains = hum(len(dry), partials_db={50: -32, 100: -40, 150: -44})
    return there + mains + air(len(dry), level_db=-62, seed=12)


def sting() -> Sound:
    """Three notes up and a chord: what a show begins with, in stereo."""
    notes: list[Note] = [(0, 0.5, 69, 90), (0.5, 0.5, 72, 96), (1, 0.5, 76, 102)]
    notes += chord(1.5, 2.5, (57, 64, 69, 73, 76), 96)
    return room(play({(0, 11): notes}, bpm=140, seconds=2.5), seconds=0.7, wet_db=-12, seed=51)


def memo() -> Sound:
    """A note to self, close to the microphone."""
    words = "Note to self. The chorus wants a second voice, a third above the first."
    dry = conversation([(say(words, voice="en-gb", speed=150, pitch=45), -6.0)], pause=0, edge=0.3)
    return room(dry, seconds=0.2, wet_db=-15, seed=21) + air(len(dry), level_db=-66, seed=22)


def voice_note() -> Sound:
    """Two thoughts with a long pause between them, beside a fan."""
    speak = partial(say, voice="en-gb", speed=150, pitch=42)
    turns = [
        (speak("Idea for the bridge: leave out the bass for four bars."), -8.0),
        (speak("And ask for the cello."), -9.0),
    ]
    dry = conversation(turns, pause=2.0, edge=0.8)
    return room(dry, seconds=0.2, wet_db=-16, seed=61) + air(len(dry), level_db=-44, seed=62)


def pocket() -> Sound:
    """What a phone records that began by itself in a pocket: cloth, no word."""
    frames = int(2.5 * RATE)
    rubbing = 0.55 + 0.45 * np.sin(2 * np.pi * 1.7 * np.arange(frames) / RATE)
    return air(frames, level_db=-30, seed=71) * rubbing.reshape(-1, 1)


def make(into: Path) -> None:
    """Write every example sound below `into`."""
    ours = {"artist": "The audiolla examples", "date": "2026", "license": "GPL-3.0-or-later"}
    talk = {"title": "Why does my recording hum?", "album": "Workshop", "tracknumber": "1"}
    song = room(band(), seconds=0.9, wet_db=-14, seed=31)
    names: dict[str, tuple[Sound, str, float, dict[str, str]]] = {
        "podcast-episode/hum.flac": (podcast(), "PCM_16", -13, talk | ours),
        "mastering-preview/four-bars.flac": (song, "PCM_16", -12, {"title": "Four bars"} | ours),
        "archive/cello.wav": (cello(), "PCM_24", -24, {}),
        "sample-pack/cymbal.flac": (cymbal(), "PCM_16", -3, {}),
        "sample-pack/drums/break.flac": (break_beat(), "PCM_16", -1, {}),
        "web-preview/memo.flac": (memo(), "PCM_16", -6, {"title": "Note to self"} | ours),
        "web-preview/sting.flac": (sting(), "PCM_16", -6, {"title": "Sting"} | ours),
        "mastering-for-platforms/undertow.flac": (
            room(stem("keys") + stem("bass") + stem("drums"), seconds=0.6, wet_db=-16, seed=81),
            "PCM_16",
            -9,
            {"title": "Undertow", "album": "Examples"} | ours,
        ),
        "stems-to-mix/undertow_drums.flac": (stem("drums"), "PCM_16", -4, {}),
        "stems-to-mix/undertow_bass.flac": (
            stem("bass").mean(axis=1, keepdims=True),
            "PCM_16",
            -8,
            {},
        ),
        "stems-to-mix/undertow_keys.flac": (stem("keys"), "PCM_16", -8, {}),
        "sample-pack/loops/keys.flac": (keys_loop(), "PCM_16", -3, {}),
        "dj-intake/night-bus.flac": (
            club_track(),
            "PCM_16",
            -0.5,
            {"title": "Night bus", "genre": "House"} | ours,
        ),
        "dj-crate/friday - night bus.flac": (
            club_track().mean(axis=1, keepdims=True),
            "PCM_16",
            -0.5,
            {"title": "Night bus", "genre": "House"} | ours,
        ),
        "dj-crate/friday - last tram.flac": (
            club_track(128).mean(axis=1, keepdims=True),
            "PCM_16",
            -0.5,
            {"title": "Last tram", "genre": "House"} | ours,
        ),
        "voice-notes/idea.flac": (voice_note(), "PCM_16", -9, {}),
        "voice-notes/pocket.flac": (pocket(), "PCM_16", -20, {}),
    }
    for name, (sound, subtype, peak_db, tags) in names.items():
        save(into / name, sound, subtype=subtype, peak_db=peak_db, tags=tags)
        size = (into / name).stat().st_size
        print(f"{name}: {len(sound) / RATE:.2f} s, {size / 1000:.0f} kB")
    add_bext(
        into / "archive/cello.wav",
        description="Solo cello, chapel, second take",
        originator="Field recorder",
        time_reference=23_400 * RATE,  # half past six in the morning
    )
    (into / "midi-sketches").mkdir(parents=True, exist_ok=True)
    sketch().save(into / "midi-sketches/two-bars.mid")


def main() -> int:
    """Parse the command line and make the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, default=HERE, help="folder to write to")
    make(parser.parse_args().into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
