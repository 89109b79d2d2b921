"""`bext`, `smpl`, `cue ` and iXML of WAV files, judged by wavinfo and soundfile."""

import struct

import pytest
import soundfile
import wavinfo

from handlers.errors import BadParameter
from tests.handlers.codecs.test_metadata import BEXT, CUE, IXML, SMPL
from tests.handlers.codecs.tools import music
from tests.handlers.tagging.making import chunk, chunks_of, metadata, with_chunks
from tests.sounds import write_wav


@pytest.fixture
def wav(tmp_path):
    return write_wav(music(), tmp_path / "take.wav", "PCM_24")


LOUDNESS = {
    "loudness_value": -23.04,
    "loudness_range": 7.2,
    "max_true_peak_level": -1.05,
    "max_momentary_loudness": -15.5,
    "max_short_term_loudness": -18.25,
}


def test_a_broadcast_extension_of_version_2_is_written_whole(wav):
    wanted = {
        "description": "A scene",
        "originator": "audiolla",
        "originator_reference": "DE-1",
        "origination_date": "2026-05-06",
        "origination_time": "10:11:12",
        "time_reference": 48000 * 3600,
        "umid": "060a2b34" * 8,
        "coding_history": "A=PCM,F=44100,W=24,M=stereo\nA=MPEG1L3",
        **LOUDNESS,
    }
    found = metadata(wav, bext=wanted)

    read = wavinfo.WavInfoReader(str(found.tagged.path)).bext
    assert read.version == 2
    assert (read.description, read.originator, read.originator_ref) == (
        "A scene",
        "audiolla",
        "DE-1",
    )
    assert (read.originator_date, read.originator_time) == ("2026-05-06", "10:11:12")
    assert read.time_reference == 48000 * 3600
    assert bytes(read.umid)[:32].hex() == wanted["umid"]
    assert read.coding_history.splitlines() == wanted["coding_history"].splitlines()
    assert (read.loudness_value, read.loudness_range) == (-23.04, 7.2)
    assert (read.max_true_peak, read.max_momentary_loudness) == (-1.05, -15.5)
    assert read.max_shortterm_loudness == -18.25
    again = found.descriptor()["bext"]
    assert again.pop("coding_history").splitlines() == wanted.pop("coding_history").splitlines()
    assert again == {**wanted, "version": 2}
    # Recorders put it in front, and so do we.
    assert next(iter(chunks_of(found.tagged.path)))[0] == b"bext"
    assert soundfile.info(found.tagged.path).frames == soundfile.info(wav).frames


def test_what_is_not_named_stays_and_an_empty_text_goes(wav):
    with_chunks(wav, chunk(b"bext", BEXT))
    found = metadata(wav, bext={"originator": "", "loudness_value": -20.0}).bext
    assert found.description == "a scene"
    assert found.originator == ""
    assert found.time_reference == 123456789
    assert (found.loudness_value, found.loudness_range) == (-20.0, 7.0)


def test_levels_that_nobody_stated_are_none(wav):
    old = BEXT[:346] + struct.pack("<H", 1) + BEXT[348:412] + bytes(190)
    with_chunks(wav, chunk(b"bext", old))
    assert metadata(wav).bext.loudness_value is None
    found = metadata(wav, bext={"description": "new"})
    assert found.bext.version == 2
    assert found.bext.loudness_value is None
    assert (
        struct.unpack("<5h", dict(chunks_of(found.tagged.path))[b"bext"][412:422]) == (0x7FFF,) * 5
    )


@pytest.mark.parametrize(
    ("bext", "message"),
    [
        ({"description": "ü" * 129}, "bext.description has 258 bytes; 256 fit"),
        ({"originator": "x" * 33}, "bext.originator has 33 bytes; 32 fit"),
        ({"origination_date": "6.5.2026"}, "bext.origination_date"),
        ({"loudness_value": -200.0}, "bext.loudness_value"),
        ({"umid": "xyz"}, "bext.umid"),
        ({"loudness": -23.0}, "bext.loudness"),
    ],
)
def test_what_does_not_fit_the_extension_is_refused(wav, bext, message):
    with pytest.raises(BadParameter, match=message.replace(".", r"\.")):
        metadata(wav, bext=bext)


def test_cues_with_labels_are_written_for_others_to_read(wav):
    cues = [
        {"start": 0.5, "end": 0.75, "label": "part", "note": "better"},
        {"start": 0.1, "label": "hit"},
    ]
    found = metadata(wav, cues=cues)

    read = wavinfo.WavInfoReader(str(found.tagged.path)).cues.to_dict()
    assert read == {
        1: {"frame": 4410, "label": "hit"},
        2: {"frame": 22050, "label": "part", "note": "better", "length": 11025},
    }
    assert [c.model_dump() for c in found.cues] == [
        {"start": 0.1, "end": None, "label": "hit", "note": ""},
        {"start": 0.5, "end": 0.75, "label": "part", "note": "better"},
    ]
    assert soundfile.info(found.tagged.path).subtype == "PCM_24"
    assert metadata(found.tagged.path, cues=[]).cues == []


def test_loops_and_the_root_note_are_written_for_others_to_read(wav):
    with_chunks(wav, chunk(b"smpl", SMPL))
    assert metadata(wav).sampler.loops[0].model_dump() == {
        "start": 100 / 44100,
        "end": 901 / 44100,
        "mode": "forward",
        "count": 0,
    }
    loops = [
        {"start": 0.25, "end": 1.0},
        {"start": 0.5, "end": 0.6, "mode": "alternating", "count": 3},
    ]
    found = metadata(wav, loops=loops, root_note=57)

    read = wavinfo.WavInfoReader(str(found.tagged.path)).smpl.to_dict()
    assert read["midi_note"] == 57
    assert [(x["start_samples"], x["end_samples"], x["loop_type"], x["repetition_count"])
            for x in read["loops"]] == [(11025, 44099, 0, 0), (22050, 26459, 1, 3)]  # fmt: skip
    assert found.sampler.note == 57
    assert found.sampler.loops[1].end == 0.6
    assert metadata(found.tagged.path, root_note=60).sampler.loops == found.sampler.loops


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loops": [{"start": 0.5, "end": 9.0}]}, "the sound lasts 1.3"),
        ({"loops": [{"start": 0.5, "end": 0.5}]}, "from 0.5 to 0.5"),
        ({"cues": [{"start": 2.0, "label": "late"}]}, "cue 'late' lies at 2 s"),
        ({"cues": [{"start": 1.0, "end": 0.5}]}, "at 1 to 0.5 s"),
    ],
)
def test_a_place_outside_of_the_sound_is_refused(wav, params, message):
    with pytest.raises(BadParameter, match=message):
        metadata(wav, **params)


def test_tags_leave_the_production_chunks_alone(wav):
    chunks = {b"cue ": CUE, b"smpl": SMPL, b"bext": BEXT, b"iXML": IXML}
    with_chunks(wav, *(chunk(kind, body) for kind, body in chunks.items()))
    after = dict(chunks_of(metadata(wav, tags={"title": "x", "bpm": "120"}).tagged.path))
    assert {kind: after[kind] for kind in chunks} == chunks


def test_ixml_is_read_as_names_and_texts(wav):
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><BWFXML><SCENE>12A</SCENE><TRACK_LIST>'
        b"<TRACK><NAME>boom</NAME></TRACK><TRACK><NAME>lav</NAME></TRACK></TRACK_LIST></BWFXML>\0\0"
    )
    with_chunks(wav, chunk(b"iXML", body))
    found = metadata(wav).ixml
    assert found == {"SCENE": "12A", "TRACK_LIST": {"TRACK": [{"NAME": "boom"}, {"NAME": "lav"}]}}
    assert wavinfo.WavInfoReader(str(wav)).ixml.scene == "12A"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_ixml_with_entities_of_its_own_is_not_read(wav, encoding):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><BWFXML><SCENE>&b;</SCENE></BWFXML>'
    with_chunks(wav, chunk(b"iXML", bomb.encode(encoding)))
    assert metadata(wav).ixml is None


def test_half_a_chunk_is_none(wav):
    with_chunks(wav, chunk(b"bext", BEXT[:300]), chunk(b"smpl", SMPL[:20]), chunk(b"iXML", b"<BWF"))
    found = metadata(wav)
    assert (found.bext, found.sampler, found.ixml) == (None, None, None)
