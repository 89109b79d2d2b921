import numpy as np
import pytest

from handlers.errors import BadParameter
from handlers.registry import find
from handlers.time_pitch.speed import Speed, speed
from handlers.time_pitch.stretch import Stretch, stretch
from tests.sounds import as_blocks, clicks, noise, one_after_another, silence, sound, tone

RATE = 44100


def stretched(audio, block=4096, **params):
    return stretch(as_blocks(audio, block), Stretch(**params)).sound.whole()


def middle(audio):
    return audio.samples[0, audio.frames // 4 : -audio.frames // 4].astype(float)


def frequency(samples, rate=RATE):
    """The strongest partial, by a parabola through the logarithm of a Hann spectrum's peak."""
    size = 8 * len(samples)
    level = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) + 1e-12)
    k = level.argmax()
    left, top, right = level[k - 1 : k + 2]
    return (k + (left - right) / (2 * (left - 2 * top + right))) * rate / size


def beside_the_tone_db(samples, freq, rate=RATE):
    """Power of all that is not the one best-fitting sine of this frequency, to that of the sine."""
    turns = 2 * np.pi * freq * np.arange(len(samples)) / rate
    basis = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, samples, rcond=None)[0]
    return 10 * np.log10(np.mean((samples - fitted) ** 2) / np.mean(fitted**2))


@pytest.mark.parametrize(
    ("tempo", "semitones"),
    [(0.25, 0), (0.5, 3.5), (0.9, 0), (1, 12), (1, -12), (1.3, -12), (2, 0), (4, 3.5)],
)
def test_length_is_exact_and_pitch_within_two_cents(tempo, semitones):
    audio = tone(440, seconds=4, rate=RATE)

    out = stretched(audio, tempo_factor=tempo, pitch_semitones=semitones)

    assert out.frames == round(audio.frames / tempo)
    wanted = 440 * 2 ** (semitones / 12)
    heard = frequency(middle(out))
    assert 1200 * np.log2(heard / wanted) == pytest.approx(0, abs=2)
    assert beside_the_tone_db(middle(out), heard) < -35


def test_a_chord_keeps_its_level():
    parts = [tone(freq, seconds=3, rate=RATE, peak_db=-16).samples for freq in (220, 277.2, 329.6)]
    audio = sound(sum(parts), RATE)

    out = stretched(audio, tempo_factor=0.8, pitch_semitones=2)

    def level(samples):
        return 10 * np.log10(np.mean(samples**2))

    assert level(middle(out)) == pytest.approx(level(middle(audio)), abs=0.5)


@pytest.mark.parametrize(
    ("tempo", "semitones", "within_ms"),
    [
        pytest.param(0.5, 0, 10, id="half as fast"),
        pytest.param(0.8, 0, 2, id="slower"),
        pytest.param(1.25, 0, 2, id="faster"),
        pytest.param(2, 0, 2, id="twice as fast"),
        pytest.param(4, 0, 4, id="four times as fast"),
        pytest.param(1, 4, 5, id="higher"),
        pytest.param(1, -7, 5, id="lower"),
    ],
)
def test_a_click_stays_a_click_at_its_place(tempo, semitones, within_ms):
    out = stretched(
        clicks([1.0], seconds=2, rate=RATE), tempo_factor=tempo, pitch_semitones=semitones
    )

    energy = out.samples[0].astype(float) ** 2
    place, reach = RATE / tempo, within_ms * RATE / 1000
    assert abs(int(energy.argmax()) - place) < 0.003 * RATE
    assert energy[int(place - reach) : int(place + reach)].sum() > 0.97 * energy.sum()


def vowel(pitch, seconds=2.0):
    """A pulse train through three resonances, as a voice makes it."""
    from scipy.signal import lfilter

    pulses = np.zeros(round(seconds * RATE))
    pulses[(np.arange(0, seconds, 1 / pitch) * RATE).round().astype(int)[:-1]] = 1
    for freq, width in ((700, 90), (1220, 100), (2600, 140), (3500, 200), (4500, 250), (5500, 300)):
        r = np.exp(-np.pi * width / RATE)
        pulses = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * freq / RATE), r * r], pulses)
    return sound(pulses / np.abs(pulses).max() * 0.5, RATE)


def harmonics_db(samples, pitch):
    """Level of each harmonic up to 4 kHz, against their mean."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    width = len(samples) * 20 / RATE
    places = np.arange(pitch, 4000, pitch) * len(samples) / RATE
    tops = [spectrum[round(k - width) : round(k + width)].max() for k in places]
    levels = 20 * np.log10(np.array(tops))
    return levels - levels.mean()


@pytest.mark.parametrize("semitones", [7, -7])
def test_formants_stay_when_asked_to(semitones):
    pitch = 120 * 2 ** (semitones / 12)
    # The same vowel sung at the other pitch is what it should sound like.
    audio, model = vowel(120), harmonics_db(middle(vowel(pitch)), pitch)

    def off_db(**params):
        out = stretched(audio, pitch_semitones=semitones, **params)
        return np.abs(harmonics_db(middle(out), pitch) - model).mean()

    assert off_db(preserve_formants=True) < 4.5
    assert off_db() > 8


def test_no_change_is_no_change():
    audio = noise(seconds=0.5, channels=2)

    assert np.array_equal(stretched(audio).samples, audio.samples)


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"tempo_factor": 1.37}, id="tempo"),
        pytest.param({"tempo_factor": 0.3, "pitch_semitones": -3}, id="both, in two steps"),
        pytest.param({"pitch_semitones": 5, "preserve_formants": True}, id="formants"),
    ],
)
def test_the_block_size_is_never_heard(params):
    audio = noise(seconds=1.5, channels=2, rate=22050)
    whole = stretched(audio, audio.frames, **params)

    assert np.array_equal(stretched(audio, 333, **params).samples, whole.samples)
    assert np.array_equal(stretched(audio, 40000, **params).samples, whole.samples)


def test_the_stereo_image_stays():
    left = noise(seconds=2, rate=RATE).samples[0]
    audio = sound(np.stack([left, 0.5 * left]), RATE)

    out = stretched(audio, tempo_factor=0.8, pitch_semitones=3).samples

    np.testing.assert_allclose(out[1], 0.5 * out[0], atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 192000])
@pytest.mark.parametrize("channels", [1, 8])
def test_any_rate_and_channel_count(rate, channels):
    audio = tone(300, seconds=1, rate=rate, channels=channels)

    out = stretched(audio, tempo_factor=1.5, pitch_semitones=2)

    assert out.samples.shape == (channels, round(audio.frames / 1.5))
    assert frequency(middle(out), rate) == pytest.approx(300 * 2 ** (2 / 12), rel=1e-3)


@pytest.mark.parametrize("frames", [0, 1, 7, 3000])
def test_the_shortest_sounds_have_their_length(frames):
    audio = sound(np.full(frames, 0.5), RATE)

    out = stretched(audio, tempo_factor=0.6)

    assert out.frames == round(frames / 0.6)
    assert np.isfinite(out.samples).all()


def test_silence_stays_silence_and_sound_after_it_starts_sharp():
    audio = one_after_another(silence(seconds=1, rate=RATE), tone(1000, seconds=1, rate=RATE))

    out = stretched(audio, tempo_factor=0.8).samples[0]

    start = round(RATE / 0.8)
    assert np.abs(out[: start - RATE // 100]).max() < 0.02
    assert np.abs(out[start + RATE // 100 : start + RATE // 10]).max() > 0.4


def test_an_endless_result_is_refused():
    with pytest.raises(BadParameter, match="more than 2\\^31 frames"):
        stretched(tone(seconds=1), tempo_factor=1e-7)


@pytest.mark.parametrize("factor", [0, -1])
def test_a_tempo_of_nothing_is_refused(factor):
    with pytest.raises(BadParameter, match="tempo_factor"):
        find("stretch").read_params({"tempo_factor": factor})


def test_speed_divides_the_duration_and_keeps_the_pitch():
    out = speed(tone(500, seconds=3, rate=RATE).blocks(), Speed(speed=1.5)).sound.whole()

    assert out.frames == 2 * RATE
    assert frequency(middle(out)) == pytest.approx(500, rel=1e-4)


@pytest.mark.parametrize("value", [0.09, 10.1])
def test_a_speed_beyond_ten_is_refused(value):
    with pytest.raises(BadParameter, match="speed"):
        find("speed").read_params({"speed": value})
