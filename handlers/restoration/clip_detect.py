"""Where a sound is clipped."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, Measures, operation
from handlers.hearing import Feature, Heard
from handlers.listening.clipping import CLIPPING, Clipping, Place
from handlers.listening.outline import OUTLINE
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn, Marks, Plot, Wave
from handlers.units import DecibelsFS, DecibelsTP, SampleRate, Samples, Seconds

_FLOOR_DB = -96.0


class ClipDetect(Marked, Drawn):
    """How to give what is found."""


class Clip(BaseModel):
    """A place where one channel is clipped; pauses below 10 ms are part of it."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    #: Counted from 1.
    channel: int
    #: Clipped samples, and how many of them at most are next to each other.
    samples: Samples
    longest_run: Samples
    peak_db: DecibelsFS


class Over(BaseModel):
    """A place where the true peak of one channel lies beyond full scale."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    #: Counted from 1.
    channel: int
    true_peak_dbtp: DecibelsTP


class ClippedChannel(BaseModel):
    """One channel."""

    model_config = ConfigDict(frozen=True)

    channel: int
    clip_count: Samples
    clip_ratio: float
    peak_db: DecibelsFS
    true_peak_dbtp: DecibelsTP


class Clipped(Result):
    """How much is clipped, and where; a level of silence is -96."""

    clipped: bool
    #: Samples of all channels that reach 0.999 of full scale.
    clip_count: Annotated[Samples, Measures("clipped_samples")]
    clip_ratio: Annotated[float, Measures("clipping")]
    peak_db: DecibelsFS
    true_peak_dbtp: DecibelsTP
    duration_sec: Seconds
    sample_rate: SampleRate
    channels: int
    per_channel: list[ClippedChannel]
    #: Places in all; the lists have the 10,000 with most samples.
    clip_places: int
    clips: list[Clip]
    over_places: int
    overs: list[Over]
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


def _hears(p: ClipDetect) -> tuple[Feature[Any], ...]:
    return (CLIPPING, OUTLINE) if p.plot else (CLIPPING,)


@operation(
    route="/v1/audio/clip-detect",
    category="restoration",
    tool="detect_clipping",
    hears=_hears,
    examples=[
        Example("Is this master clipped?"),
        Example("Mark the places in an editor, and draw them.", markers="csv", plot=True),
    ],
)
def clip_detect(sound: Heard, p: ClipDetect) -> Clipped:
    """Find clipped samples, and peaks between samples that lie beyond full scale.

    A sample is clipped from 0.999 of full scale on. A single one may be a
    normalized peak; a `longest_run` of three or more is a flat top. True peaks
    beyond 0 dBTP clip in a converter or a lossy decoder even where no sample does.

    Source: ITU-R BS.1770-5, Annex 2 (true peak).
    """
    found = sound[CLIPPING]
    every = sound.channels * sound.frames
    return Clipped(
        clipped=any(found.samples),
        clip_count=sum(found.samples),
        clip_ratio=_ratio(sum(found.samples), every),
        peak_db=_decibels(max(found.peaks)),
        true_peak_dbtp=_decibels(max(found.true_peaks)),
        duration_sec=sound.duration,
        sample_rate=sound.rate,
        channels=sound.channels,
        per_channel=[
            ClippedChannel(
                channel=number,
                clip_count=samples,
                clip_ratio=_ratio(samples, sound.frames),
                peak_db=_decibels(peak),
                true_peak_dbtp=_decibels(true_peak),
            )
            for number, (samples, peak, true_peak) in enumerate(
                zip(found.samples, found.peaks, found.true_peaks, strict=True), start=1
            )
        ],
        clip_places=found.clip_count,
        clips=[
            Clip(
                start_sec=place.start / sound.rate,
                end_sec=place.end / sound.rate,
                channel=place.channel + 1,
                samples=place.samples,
                longest_run=place.longest,
                peak_db=_decibels(place.peak),
            )
            for place in found.clips
        ],
        over_places=found.over_count,
        overs=[
            Over(
                start_sec=place.start / sound.rate,
                end_sec=place.end / sound.rate,
                channel=place.channel + 1,
                true_peak_dbtp=_decibels(place.peak),
            )
            for place in found.overs
        ],
        marker_file=marker_file(
            p,
            sound,
            [
                *(_marker(place, sound.rate, "clip") for place in found.clips),
                *(_marker(place, sound.rate, "over") for place in found.overs),
            ],
        ),
        plot=p.drawing(lambda: _plot(sound, found)),
    )


def _plot(sound: Heard, found: Clipping) -> Plot:
    def lane(name: str, places: tuple[Place, ...], channel: int) -> Marks:
        times = [place.start / sound.rate for place in places if place.channel == channel]
        return Marks(times, name=f"{name}, ch. {channel + 1}")

    return Plot(
        "Clipping",
        duration=sound.duration,
        facts={
            "Clipped": f"{sum(found.samples)} samples",
            "True peak": f"{_decibels(max(found.true_peaks)):+.2f} dBTP",
        },
        lanes=[
            Wave(sound[OUTLINE]),
            *(lane("Clipped", found.clips, channel) for channel in range(sound.channels)),
            *(lane("Over", found.overs, channel) for channel in range(sound.channels)),
        ],
    )


def _marker(place: Place, rate: int, kind: str) -> Marker:
    what = f"{place.samples} clipped" if kind == "clip" else f"{_decibels(place.peak):+.2f} dBTP"
    return Marker(
        place.start / rate,
        place.end / rate,
        f"channel {place.channel + 1}: {what}",
        kind,
        extra={"channel": place.channel + 1, "peak_db": _decibels(place.peak)},
    )


def _ratio(clipped: int, samples: int) -> float:
    return round(clipped / samples, 6) if samples else 0.0


def _decibels(amplitude: float) -> float:
    return max(round(20 * math.log10(amplitude), 2), _FLOOR_DB) if amplitude > 0 else _FLOOR_DB
