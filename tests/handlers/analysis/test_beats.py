import csv
import io

import numpy as np
import pytest

from handlers.analysis.beats import Beats, beats
from handlers.artifacts import Svg
from handlers.errors import AudiollaError
from handlers.hearing import Heard
from handlers.registry import operations
from tests.sounds import as_blocks, groove, peak_db, silence


def report(audio, **params):
    return beats(Heard(as_blocks(audio, 5000)), Beats(**params))


AUDIO, TRUTH = groove(112, seconds=16, rate=44100, channels=2, chords=True)


def test_the_report_has_what_the_contract_names():
    facts = report(AUDIO).descriptor()
    assert facts["tempo_bpm"] == facts["bpm"] == pytest.approx(112, abs=0.2)
    assert facts["beat_count"] == len(facts["beats"])
    assert facts["duration"] == 16
    assert set(facts["downbeats"]) <= set(facts["beats"])
    assert len(facts["downbeats"]) == pytest.approx(len(facts["beats"]) / 4, abs=1)
    assert all(0 <= facts[f"{of}_confidence"] <= 1 for of in ("tempo", "beats", "downbeats"))
    assert "click_track" not in facts


def test_the_clicks_begin_at_the_sample_of_each_beat():
    said = report(AUDIO, click_only=True)
    alone = said.click_track.whole()
    assert alone.samples.shape == AUDIO.samples.shape
    # Silence before, full height at once.
    starts = np.flatnonzero((np.abs(alone.samples[1, 1:]) > 0.4) & (alone.samples[1, :-1] == 0)) + 1
    assert starts.tolist() == [round(time * 44100) for time in said.beats]


def test_downbeats_sound_higher():
    said = report(AUDIO, click_only=True)
    alone = said.click_track.whole().samples[0]

    def pitch(time):
        at = round(time * 44100)
        spectrum = np.abs(np.fft.rfft(alone[at : at + 2000], 44100))
        return int(spectrum.argmax())

    inner = [time for time in said.beats if time not in said.downbeats]
    assert pitch(said.downbeats[0]) == pytest.approx(1500, abs=20)
    assert pitch(inner[0]) == pytest.approx(1000, abs=20)


def test_the_click_track_is_the_sound_at_half_its_level_and_the_clicks():
    mixed = report(AUDIO, click_track=True).click_track.whole()
    alone = report(AUDIO, click_only=True).click_track.whole()
    assert mixed.rate == 44100
    assert np.allclose(mixed.samples, alone.samples + 0.5 * AUDIO.samples, atol=1e-6)
    assert peak_db(mixed) <= 0


def test_a_hint_settles_the_level():
    slow, _ = groove(68, seconds=16)
    assert report(slow, start_bpm=136).tempo_bpm == pytest.approx(136, rel=0.01)
    assert report(slow, start_bpm=70).tempo_bpm == pytest.approx(68, rel=0.01)


def test_silence_has_no_beats_and_a_silent_click_track():
    said = report(silence(seconds=3), click_track=True)
    assert (said.tempo_bpm, said.beats, said.beat_count) == (0, [], 0)
    assert not said.click_track.whole().samples.any()


def test_markers_count_bars_and_beats():
    said = report(AUDIO, markers="csv")
    rows = list(csv.DictReader(io.StringIO(said.marker_file.data.decode())))
    assert [float(row["start_sec"]) for row in rows] == said.beats
    downbeats = [float(row["start_sec"]) for row in rows if row["position"] == "1"]
    assert downbeats == said.downbeats
    at = next(i for i, row in enumerate(rows) if row["position"] == "1")
    bar = int(rows[at]["label"].split(".")[0])
    assert [row["label"] for row in rows[at : at + 5]] == [
        *(f"{bar}.{place}" for place in (1, 2, 3, 4)), f"{bar + 1}.1",
    ]  # fmt: skip


def test_it_can_be_drawn():
    drawn = report(AUDIO, plot=True).plot
    assert isinstance(drawn, Svg)
    assert b"112" in drawn.data


def test_a_hint_of_zero_is_refused():
    with pytest.raises(AudiollaError, match="start_bpm"):
        operations()["beats"].read_params({"start_bpm": "0"})
