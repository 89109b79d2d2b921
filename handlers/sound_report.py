"""What a report shows of one sound: its figures, its pictures, its verdict against a profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handlers.analysis.loudness import LoudnessOf, loudness
from handlers.artifacts import Blocks, Png, Svg
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.loudness_profiles import profiles
from handlers.visualize.spectrogram import Spectrogram, spectrogram
from handlers.visualize.waveform import Waveform, waveform

#: Readable on light and on dark ground alike.
_WAVE = "#2f7fd1"
_WIDTH, _WAVE_HEIGHT, _SPECTRUM_HEIGHT = 1200, 160, 360


@dataclass(frozen=True)
class SoundReport:
    """One sound as a report shows it."""

    #: Length in s, rate in Hz, channels, loudness in LUFS, range in LU, peaks in dBTP and dBFS.
    facts: dict[str, Any]
    #: True when the profile is met, False when not; None without one, or where it asks nothing.
    passed: bool | None
    #: Why, in words; one sentence for each thing that the profile asks for.
    verdict: tuple[str, ...]
    #: Name to picture.
    pictures: dict[str, Png | Svg]


def sound_report(sound: Blocks, profile: str = "") -> SoundReport:
    """Measure and draw a sound; reads it three times.

    Args:
        sound: any length; one without a sample has no pictures.
        profile: name of a loudness profile to hold it to.
    """
    measured = loudness(Heard(sound), LoudnessOf(profile=profile or None, plot=sound.frames > 0))
    pictures: dict[str, Png | Svg] = {}
    if sound.frames:
        asked = Waveform(width=_WIDTH, height=_WAVE_HEIGHT, color=_WAVE, background="transparent")
        pictures["Waveform"] = waveform(sound, asked).picture
        if measured.plot is not None:
            pictures["Loudness"] = measured.plot
        try:
            spectrum = Spectrogram(width=_WIDTH, height=_SPECTRUM_HEIGHT)
            pictures["Spectrogram"] = spectrogram(sound, spectrum).picture
        except CannotProcess:
            pass  # too short for a spectrum: the other pictures tell enough
    facts = measured.model_dump(
        include={
            "loudness_lufs",
            "loudness_range",
            "momentary_max",
            "short_term_max",
            "true_peak_dbtp",
            "sample_peak_dbfs",
        }
    )
    passed, verdict = _verdict(profile, measured)
    return SoundReport(
        {
            "duration": sound.duration,
            "sample_rate": sound.rate,
            "channels": sound.channels,
            **facts,
        },
        passed,
        verdict,
        pictures,
    )


def _verdict(name: str, measured: Any) -> tuple[bool | None, tuple[str, ...]]:
    if not name:
        return None, ()
    profile = profiles()[name]
    said: list[str] = []
    held: list[bool] = []
    if profile.target_lufs is not None:
        if measured.loudness_lufs is None:
            held.append(False)
            said.append(f"silent; {profile.title} asks for {profile.target_lufs:g} LUFS")
        else:
            told = f"{measured.loudness_lufs:.1f} LUFS, target {profile.target_lufs:g} LUFS"
            if profile.tolerance_lu is not None:
                told += f" ± {profile.tolerance_lu:g} LU"
                held.append(bool(measured.within_tolerance))
            said.append(f"{told} ({measured.off_target_lu:+.1f} LU)")
    if profile.true_peak_dbtp is not None and measured.true_peak_dbtp is not None:
        held.append(bool(measured.true_peak_ok))
        said.append(
            f"true peak {measured.true_peak_dbtp:.1f} dBTP, at most {profile.true_peak_dbtp:g} dBTP"
        )
    if profile.max_short_term_lufs is not None and measured.short_term_max is not None:
        held.append(measured.short_term_max <= profile.max_short_term_lufs)
        said.append(
            f"loudest 3 s {measured.short_term_max:.1f} LUFS, "
            f"at most {profile.max_short_term_lufs:g} LUFS"
        )
    return (all(held) if held else None), tuple(said)
