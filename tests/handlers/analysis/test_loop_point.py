import numpy as np
import pytest

from handlers.analysis.loop_point import LoopPoint, loop_point
from handlers.errors import AudiollaError
from handlers.hearing import Heard
from handlers.registry import operations
from handlers.seams import Seam, seamless
from tests.sounds import as_blocks, groove, silence, sound


def report(audio, **params):
    return loop_point(Heard(as_blocks(audio, 5000)), LoopPoint(**params))


AUDIO, BEATS = groove(120, seconds=34, rate=44100, channels=2, chords=True, start=0.25)


def test_a_loop_is_as_long_as_what_returns():
    said = report(AUDIO)
    # Four bars of four beats of half a second, then everything comes again.
    assert said.bars % 4 == 0
    assert said.loop_end_sec - said.loop_start_sec == pytest.approx(said.bars * 2, abs=0.0005)
    assert said.score > 0.95
    assert said.tempo_bpm == pytest.approx(120, abs=0.2)


def test_the_best_comes_first_and_no_two_are_the_same():
    said = report(AUDIO, num_candidates=8, min_loop_bars=2)
    scores = [c.score for c in said.candidates]
    assert len(scores) == 8
    assert scores[0] >= max(scores) - 0.011
    assert len({(c.start_sec, c.end_sec) for c in said.candidates}) == 8
    assert all(c.bars >= 2 for c in said.candidates)
    first = said.candidates[0]
    assert (said.loop_start_sec, said.loop_end_sec) == (first.start_sec, first.end_sec)


def test_the_seam_is_as_smooth_as_the_sound_itself():
    said = report(AUDIO)
    for loop in said.candidates:
        start, end = (round(t * 44100) for t in (loop.start_sec, loop.end_sec))
        turns = np.tile(AUDIO.samples[:, start:end], 3)
        steps = np.diff(turns, axis=1)
        seam = end - start - 1
        # The step over the seam, and those beside it, are what they are in the sound itself.
        there = np.diff(AUDIO.samples[:, start - 3 : start + 3], axis=1)
        assert np.abs(steps[:, seam - 2 : seam + 3] - there).max() < 0.01


def test_what_does_not_return_has_a_lower_score():
    rng = np.random.default_rng(3)
    changing = AUDIO.samples.copy()
    # Another, growing tone in every bar.
    t = np.arange(AUDIO.frames) / 44100
    bar = (t // 2).astype(int)
    changing += 0.3 * np.sin(2 * np.pi * rng.uniform(200, 1500, bar.max() + 1)[bar] * t)
    assert report(AUDIO.like(changing)).score < report(AUDIO).score - 0.05


def test_too_few_bars_are_said_in_a_note():
    said = report(groove(120, seconds=6)[0], min_loop_bars=16)
    assert (said.bars, said.score, said.candidates) == (0, 0, [])
    assert "too few" in said.note
    assert report(silence(seconds=3)).bars == 0
    assert report(AUDIO).note is None


@pytest.mark.parametrize(
    "params", [{"min_loop_bars": "0"}, {"min_loop_bars": "65"}, {"num_candidates": "21"}]
)
def test_numbers_outside_of_the_range_are_refused(params):
    with pytest.raises(AudiollaError, match=next(iter(params))):
        operations()["loop_point"].read_params(params)


def test_ends_are_moved_to_where_the_wave_lies_upon_itself():
    # A period of exactly 1,000 samples; the first guess is 37 samples off.
    wave = sound(np.tile(np.random.default_rng(2).uniform(-1, 1, 1000), 40), 48000)
    (seam,) = seamless(wave.blocks(), [Seam(10_000, 20_037)])
    assert seam.end - seam.start == 10_000


def test_a_wave_that_never_fits_is_cut_where_the_step_is_least():
    t = np.arange(48000)
    wave = sound(np.sin(2 * np.pi * (200 + t / 400) * t / 48000) * (1 + t / 48000) / 2, 48000)
    (seam,) = seamless(wave.blocks(), [Seam(5000, 40_000)])
    step = abs(wave.samples[0, seam.end] - wave.samples[0, seam.start])
    assert step < np.abs(np.diff(wave.samples)).max()
    assert abs(seam.start - 5000) <= 0.004 * 48000
