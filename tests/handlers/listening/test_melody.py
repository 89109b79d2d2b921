import librosa
import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.listening.melody import alone, leading, melody, tones
from handlers.listening.pitch import FRAME_S, single
from tests.sounds import as_blocks, noise, one_after_another, played, silence, sound, tone

TUNE = [
    (0.2, 0.7, 60),
    (0.7, 1.2, 64),
    (1.3, 1.8, 67.3),
    (1.8, 2.3, 55),
    (2.4, 2.9, 55),
    (3, 3.6, 72),
]


def contour(audio, feature=None, block=5001):
    return Heard(as_blocks(audio, block))[feature or melody()]


def cents(found, pitch):
    return 1200 * np.log2(found / (440 * 2 ** ((pitch - 69) / 12)))


def test_each_note_has_its_pitch_and_the_gaps_have_none():
    found = contour(played(TUNE, seconds=4))
    times = np.arange(len(found.hertz)) * FRAME_S
    for start, end, pitch in TUNE:
        inside = (times > start + 0.03) & (times < end - 0.06)
        assert found.voiced[inside].mean() > 0.95
        assert np.abs(cents(found.hertz[inside], pitch)).max() < 8
    for start, end in ((0, 0.17), (3.7, 4)):
        assert not found.voiced[(times >= start) & (times < end)].any()


def test_notes_begin_and_end_where_they_are_played():
    found = tones(contour(played(TUNE, seconds=4)))
    assert [t.pitch for t in found] == [60, 64, 67, 55, 55, 72]
    for note, (start, end, pitch) in zip(found, TUNE, strict=True):
        assert note.start == pytest.approx(start, abs=0.03)
        assert note.end == pytest.approx(end, abs=0.06)
        assert note.exact == pytest.approx(pitch, abs=0.08)


@pytest.mark.parametrize("rate", [22050, 96000])
def test_the_pitch_agrees_with_pyin_of_librosa(rate):
    vibrato = np.sin(2 * np.pi * 5.5 * np.arange(round(1.2 * rate)) / rate)
    freq = 330 * 2 ** (0.4 * vibrato / 12)
    turns = 2 * np.pi * np.cumsum(freq) / rate
    audio = sound(0.2 * sum(np.sin(k * turns) / k for k in range(1, 8)), rate, channels=2)
    found = contour(audio)
    size = 2048 if rate < 50000 else 8192
    theirs, voiced, _ = librosa.pyin(
        audio.samples[0], fmin=100, fmax=1000, sr=rate, frame_length=size
    )
    times = librosa.times_like(theirs, sr=rate, hop_length=size // 4)
    ours = np.interp(times, np.arange(len(found.hertz)) * FRAME_S, found.hertz)
    middle = voiced & (times > 0.2) & (times < 1.0)
    assert middle.sum() > 20
    assert np.median(np.abs(1200 * np.log2(ours[middle] / theirs[middle]))) < 25


def test_the_range_is_kept_to():
    audio = one_after_another(tone(100), tone(1000))
    found = contour(audio, single(60, 300))
    assert found.hertz.max() <= 310
    found = contour(audio, single(500, 2000))
    heard = found.hertz[found.voiced]
    assert heard.min() >= 490


def test_noise_and_silence_have_no_single_voice():
    assert alone(contour(noise(seconds=1), single())) < 0.1
    assert not contour(silence(seconds=1)).voiced.any()
    assert alone(contour(played(TUNE), single())) > 0.9


def test_the_tune_of_a_mix_is_followed_through_the_chords_under_it():
    tune = [(i * 0.5, i * 0.5 + 0.45, p) for i, p in enumerate((76, 79, 81, 79, 74, 72))]
    chords = [(0, 1.5, p) for p in (36, 48, 52, 55)] + [(1.5, 3, p) for p in (43, 47, 50, 55)]
    audio = played(tune, seconds=3, peak_db=-6)
    under = played(chords, seconds=3, peak_db=-8)
    mixed = audio.like(audio.samples + under.samples)
    assert alone(contour(mixed, single())) < 0.5
    found = contour(mixed)
    assert np.array_equal(found.hertz, contour(mixed, leading()).hertz)
    times = np.arange(len(found.hertz)) * FRAME_S
    right = total = 0
    for start, end, pitch in tune:
        inside = (times > start + 0.05) & (times < end - 0.1)
        right += (np.abs(cents(found.hertz[inside], pitch)) < 50).sum()
        total += inside.sum()
    assert right / total > 0.8


def test_blocks_are_not_heard():
    audio = played(TUNE, rate=22050)
    for feature in (single(), leading()):
        one, other = contour(audio, feature, 10**6), contour(audio, feature, 97)
        assert np.array_equal(one.hertz, other.hertz)
        assert np.array_equal(one.voiced, other.voiced)


def test_a_moment_of_sound_has_as_many_frames_as_it_lasts():
    for frames in (0, 1, 255, 256, 3000):
        audio = sound(np.ones(frames) * 0.1, 22050)
        found = contour(audio)
        assert len(found.hertz) == len(found.voiced) == (frames // 256 + 1 if frames else 0)
