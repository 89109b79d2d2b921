import numpy as np
import pytest

from handlers.errors import CannotProcess
from handlers.streams import Feed, joined, named, sections, surrounded
from tests.sounds import as_blocks, noise, sound, tone

BLOCKS = pytest.mark.parametrize("size", [1, 333, 4096, 100_000], ids="blocks of {}".format)


def counted(frames, channels=2):
    return sound(np.arange(channels * frames).reshape(channels, frames), 1000)


def collected(pieces):
    return np.concatenate(list(pieces), axis=1)


@BLOCKS
def test_a_feed_gives_what_is_asked_for_and_then_what_is_left(size):
    audio = counted(5000)
    feed = Feed(as_blocks(audio, size))
    first, second = feed.read(7), feed.read(4000)
    assert first.flags.c_contiguous
    assert second.flags.c_contiguous
    np.testing.assert_array_equal(first, audio.samples[:, :7])
    np.testing.assert_array_equal(second, audio.samples[:, 7:4007])
    assert feed.position == 4007
    np.testing.assert_array_equal(collected(feed.rest(100)), audio.samples[:, 4007:])
    assert feed.read(1).shape == (2, 0)
    assert feed.position == 5000


@BLOCKS
@pytest.mark.parametrize("frames", [1, 999, 1000, 1001, 2500])
def test_each_stretch_comes_with_its_surroundings_and_zeros_outside_the_sound(size, frames):
    audio = counted(frames)
    padded = np.pad(audio.samples, ((0, 0), (30, 1070)))
    at = 0
    for window, count in surrounded(as_blocks(audio, size), 1000, 30, 70):
        np.testing.assert_array_equal(window, padded[:, at : at + 1100])
        assert count == min(1000, frames - at)
        at += count
    assert at == frames


class Counted:
    def __init__(self, audio):
        self.audio, self.passes = audio, 0

    def blocks(self):
        def passing():
            self.passes += 1
            yield from self.audio.blocks()

        return self.audio.blocks().like(passing)


def test_sections_read_in_order_cost_one_pass():
    source = Counted(counted(100_000))
    bounds = [(0, 10), (10, 40_000), (50_000, 99_000)]
    for (start, end), part in zip(bounds, sections(source.blocks(), bounds), strict=True):
        assert part.stated_frames == end - start
        np.testing.assert_array_equal(collected(part), source.audio.samples[:, start:end])
    assert source.passes == 1


def test_sections_read_backwards_twice_or_at_once_are_still_right():
    source = Counted(counted(100_000))
    bounds = [(0, 60_000), (60_000, 100_000)]
    first, second = sections(source.blocks(), bounds)
    for part, (start, end) in ((second, bounds[1]), (first, bounds[0]), (first, bounds[0])):
        np.testing.assert_array_equal(collected(part), source.audio.samples[:, start:end])
    for one, other in zip(first, second, strict=False):
        assert one[0, 0] + 60_000 == other[0, 0]


@BLOCKS
def test_joined_end_to_end_every_sample_is_there(size):
    one, other = counted(1000), counted(777)
    whole = joined([as_blocks(one, size), as_blocks(other, size), as_blocks(one, size)])
    assert whole.frames == 2777
    np.testing.assert_array_equal(
        collected(whole), np.hstack([one.samples, other.samples, one.samples])
    )


@BLOCKS
def test_a_crossfade_of_unrelated_sounds_keeps_their_power(size):
    one, other = noise(1, seconds=0.5, rate=8000), noise(2, seconds=0.5, rate=8000)
    whole = collected(joined([as_blocks(one, size), as_blocks(other, size)], 2000))
    assert whole.shape[1] == 4000 + 4000 - 2000
    np.testing.assert_array_equal(whole[:, :2000], one.samples[:, :2000])
    np.testing.assert_array_equal(whole[:, 4000:], other.samples[:, 2000:])
    power = np.mean(whole[:, 2000:4000] ** 2) / np.mean(whole[:, :2000] ** 2)
    assert 10 * np.log10(power) == pytest.approx(0, abs=0.5)


def test_a_sound_that_is_all_crossfade_fades_in_and_out():
    ones = sound(np.ones(100), 1000)
    whole = collected(joined([ones.blocks()] * 3, 100))
    angle = (np.arange(100) + 0.5) * np.pi / 200
    middle = np.sin(angle) + np.cos(angle)
    assert whole.shape[1] == 100
    np.testing.assert_allclose(whole[0], middle * np.cos(angle) + np.sin(angle), rtol=1e-5)


def test_a_sound_shorter_than_the_crossfade_is_refused_by_its_number():
    with pytest.raises(CannotProcess, match=r"file 1 lasts 0\.01 s: too short for .* 0\.02 s"):
        joined([counted(100).blocks(), counted(10).blocks()], 20)


def test_a_sound_of_unknown_length_is_refused_when_it_turns_out_too_short():
    short = counted(10).blocks()
    unknown = type(short)(lambda: iter(short), rate=1000, channels=2, frames=None)
    whole = joined([counted(100).blocks(), unknown], 20)
    assert whole.stated_frames is None
    with pytest.raises(CannotProcess, match="file 1"):
        list(whole)


def test_a_refusal_in_the_middle_names_the_sound():
    audio = tone(rate=8000)

    def broken():
        yield from audio.blocks()
        raise CannotProcess("it ends here", field="file", hint="mend it")

    with pytest.raises(CannotProcess, match="file 3: it ends here") as refused:
        list(named(audio.blocks().like(broken), "file 3"))
    assert (refused.value.field, refused.value.hint) == ("file", "mend it")
