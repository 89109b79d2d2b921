import numpy as np
import pytest

from handlers.analysis.onsets import OnsetsShown, onsets
from handlers.artifacts import Png
from handlers.hearing import Heard
from tests.sounds import as_blocks, clicks, noise, silence, sound, tone


def report(audio, **params):
    return onsets(Heard(as_blocks(audio, 5000)), OnsetsShown(**params))


def test_bursts_are_found_where_they_begin_and_the_loudest_has_strength_one():
    rate = 48000
    rng = np.random.default_rng(1)
    samples = 1e-4 * rng.standard_normal(5 * rate)
    # At sample 0 the hiss itself begins.
    at = {0.5: 0.05, 1.2: 0.5, 2.0: 0.02, 3.3: 0.2, 4.4: 0.1}
    for second, level in at.items():
        n = round(0.15 * rate)
        start = round(second * rate)
        samples[start : start + n] += level * rng.standard_normal(n) * np.linspace(1, 0, n) ** 2
    found = [o for o in report(sound(samples, rate)).onsets if o.time > 0.1]
    assert [o.time for o in found] == pytest.approx(list(at), abs=0.003)
    assert max(found, key=lambda o: o.strength).time == pytest.approx(1.2, abs=0.003)
    assert all(0 < o.strength <= 1 for o in found)


def test_notes_of_one_pitch_after_another_are_told_apart():
    steps = [tone(hertz, seconds=0.4, peak_db=-12) for hertz in (220, 277.2, 329.6, 440)]
    joined = sound(np.concatenate([s.samples[0] * np.hanning(s.frames) ** 0.2 for s in steps]))
    found = [o.time for o in report(joined).onsets]
    # The end is steep as well.
    assert found[:4] == pytest.approx([0, 0.4, 0.8, 1.2], abs=0.02)
    assert not [time for time in found[4:] if time < 1.55]


def test_the_report_has_what_the_contract_names():
    facts = report(clicks(seconds=1)).descriptor()
    assert facts["count"] == len(facts["onsets"]) == 3
    assert facts["duration"] == 1
    assert facts["onsets"][0].keys() == {"time", "strength"}


def test_silence_has_none_and_those_of_hiss_are_weak():
    assert report(silence(seconds=2)).count == 0
    begins, *others = report(noise(seconds=4)).onsets
    assert begins.strength == 1
    assert all(onset.strength < 0.05 for onset in others)


def test_cue_points_and_a_picture_on_request():
    said = report(clicks(seconds=1), markers="cue", plot=True, plot_format="png")
    assert said.marker_file.data.startswith(b"RIFF")
    assert isinstance(said.plot, Png)
