import numpy as np
import pytest

from handlers.artifacts import Midi, NamedFile
from handlers.codecs.files import InputFile
from handlers.errors import BadParameter
from handlers.midi.midi_compose import midi_compose
from handlers.midi.midi_generate import MidiGenerate, midi_generate
from handlers.midi.midi_render import MidiRender, midi_render
from handlers.registry import find
from tests.fonts import write_font

SONG = dict(find("midi_generate").examples[0].params)


def read(name, **params):
    return find(name).read_params(params, strict=True)


@pytest.fixture
def sine(tmp_path):
    return NamedFile(name="sine.sf2").holding(InputFile(write_font(tmp_path / "sine.sf2")))


def test_it_is_composed_and_rendered_in_one_go(sine):
    how = {"soundfont_path": "sine.sf2", "gain": 0.8, "samplerate": 48000}
    written = midi_compose(read("midi_compose", **SONG)).midi
    played = midi_render(written, [sine], MidiRender(**how)).sound.whole()
    generated = midi_generate([sine], MidiGenerate(**SONG, **how))

    assert np.array_equal(generated.sound.whole().samples, played.samples)
    assert generated.descriptor() == {"engine": "midi-generate", "midi_size": len(written.data)}


def test_a_wrong_note_is_named_by_its_path():
    track = {"notes": [{"pitch": 60, "duration_beats": 1}, {"pitch": 128, "duration_beats": 1}]}
    with pytest.raises(BadParameter) as it:
        read("midi_generate", tracks=[track])
    assert it.value.field == "tracks[0].notes[1].pitch"


def test_how_it_is_played_is_checked_as_midi_render_does():
    for wrong in ({"gain": 5.5}, {"samplerate": 32000}, {"tail_s": -1.0}):
        with pytest.raises(BadParameter, match=next(iter(wrong))):
            read("midi_generate", **SONG, **wrong)


def test_no_midi_file_is_needed():
    assert find("midi_generate").sound is None
    assert isinstance(midi_compose(read("midi_compose", **SONG)).midi, Midi)
