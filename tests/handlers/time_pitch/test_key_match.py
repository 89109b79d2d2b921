import numpy as np
import pytest

from handlers.errors import BadParameter, CannotProcess
from handlers.hearing import Heard
from handlers.listening.chords import KEY
from handlers.registry import operations
from handlers.stretching import stretched
from handlers.time_pitch.key_match import KeyMatch, key_match, pitch_class
from tests.handlers.analysis.test_chords import song
from tests.sounds import as_blocks, silence

SONG = song(each=1.0, rate=22050, channels=2)


@pytest.mark.parametrize(("target", "semitones", "key"), [
    ("C", 0, "C major"), ("f# minor", 6, "F# major"), ("G", -5, "G major"), ("Dbm", 1, "C# major"),
    ("bb", -2, "A# major"),
])  # fmt: skip
def test_the_sound_goes_the_shortest_way_into_the_key(target, semitones, key):
    blocks = as_blocks(SONG, 8000)
    made = key_match(Heard(blocks), KeyMatch(target_key=target))
    assert (made.source_key, made.semitones) == ("C major", semitones)
    assert made.descriptor()["source_key"] == "C major"
    result = made.sound.whole()
    assert result.samples.shape == SONG.samples.shape
    assert np.array_equal(result.samples, stretched(blocks, semitones=semitones).whole().samples)
    assert Heard(result.blocks())[KEY].name == key


def test_roots_are_read_in_any_spelling():
    spelt = {"c": 0, "C#": 1, "Db major": 1, "ebmaj": 3, "AbMIN": 8, "A minor": 9, "Bb m": 10,
             "b": 11, "Bm": 11, "Gb": 6, " F#m ": 6, "bbm": 10}  # fmt: skip
    assert {text: pitch_class(text) for text in spelt} == spelt


@pytest.mark.parametrize("text", ["H", "", "Cb", "E#", "C dorian", "minor", "7B"])
def test_what_is_no_root_is_refused(text):
    with pytest.raises(BadParameter, match="there are: C, C#"):
        operations()["key_match"].read_params({"target_key": text})


def test_silence_has_no_key_to_go_from():
    with pytest.raises(CannotProcess, match="no key to go from"):
        key_match(Heard(as_blocks(silence(), 4000)), KeyMatch(target_key="C"))
