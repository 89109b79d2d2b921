import csv
import io
import json
import re

import numpy as np
import pytest
import wavinfo

from handlers.artifacts import SourceFacts
from handlers.codecs.chunks import CuePoint, cue_chunks, cue_points
from handlers.errors import CannotProcess
from handlers.markers import Marked, Marker, marker_file
from tests.sounds import sound

RATE = 44100
#: Four seconds, from a file that has a name.
PIECE = sound(np.zeros(4 * RATE), RATE)
PIECE = type(PIECE)(PIECE.samples, RATE, SourceFacts("Stück.wav", 1, "wav", "pcm_s16le", "s16"))
MIXED = [
    Marker(0.5, 1.25, "speech", "speech", 0.875),
    Marker(1 / RATE, label="1", kind="beat", extra={"position": 1}),
    Marker(2.0, 3.0, 'A "<b>" & B\n--> C', "segment"),
]
TYPE_OF = {
    "audacity": ("txt", "text/plain; charset=utf-8"),
    "csv": ("csv", "text/csv"),
    "jams": ("jams", "application/json"),
    "webvtt": ("vtt", "text/vtt"),
    "cue": ("wav", "audio/wav"),
}


def written(markers, as_format, piece=PIECE):
    file = marker_file(Marked(markers=as_format), piece, markers)
    assert (file.ext, file.media_type) == TYPE_OF[as_format]
    return file.data


def test_nothing_is_written_unless_asked():
    assert marker_file(Marked(), PIECE, MIXED) is None


def test_audacity_reads_start_end_and_label_between_tabs_in_order_of_time():
    assert written(MIXED, "audacity").decode().splitlines() == [
        "0.000023\t0.000023\t1",
        "0.500000\t1.250000\tspeech",
        '2.000000\t3.000000\tA "<b>" & B --> C',
    ]


def test_a_marker_without_a_label_shows_its_kind():
    assert written([Marker(1, 2, kind="silence")], "audacity") == b"1.000000\t2.000000\tsilence\n"


def test_a_table_has_a_column_for_whatever_markers_know():
    rows = list(csv.DictReader(io.StringIO(written(MIXED, "csv").decode(), newline="")))
    assert [row["kind"] for row in rows] == ["beat", "speech", "segment"]
    assert [row["end_sec"] for row in rows] == ["", "1.250000", "3.000000"]
    assert [row["confidence"] for row in rows] == ["", "0.8750", ""]
    assert [row["position"] for row in rows] == ["1", "", ""]
    assert rows[2]["label"] == 'A "<b>" & B\n--> C'


@pytest.mark.parametrize("rate", [44100, 192000])
def test_times_written_as_text_name_the_sample(rate):
    frames = [1, 12345, 3 * 3600 * rate - 1]
    markers = [Marker(frame / rate, kind="onset") for frame in frames]
    for as_format in ("audacity", "csv"):
        text = written(markers, as_format).decode()
        starts = re.findall(r"^(\d+\.\d+)", text, re.MULTILINE)
        assert [round(float(start) * rate) for start in starts] == frames


def test_webvtt_cues_last_and_their_text_is_no_markup():
    text = written([*MIXED, Marker(3600.5, 3600.5001, "a")], "webvtt").decode()
    assert text == (
        "WEBVTT\n"
        "\n00:00:00.000 --> 00:00:00.500\n1\n"
        "\n00:00:00.500 --> 00:00:01.250\nspeech\n"
        '\n00:00:02.000 --> 00:00:03.000\nA "&lt;b&gt;" &amp; B --&gt; C\n'
        "\n01:00:00.500 --> 01:00:00.501\na\n"
    )


def test_ffmpeg_reads_the_webvtt(tmp_path):
    import subprocess

    path = tmp_path / "x.vtt"
    path.write_bytes(written(MIXED, "webvtt"))
    srt = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "srt", "-"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert "00:00:00,500 --> 00:00:01,250\nspeech" in srt
    assert srt.count("-->") == 3 + 1  # The last is text.


#: Patterns of the namespaces of jams 0.3.5.
_CHORD = re.compile(r"^((N|X)|(([A-G](b*|#*))(:(maj|min|dim|aug|maj7|min7|7|hdim7))?(/\S+)?))$")
_KEY = re.compile(r"^N|([A-G][b#]?)(:(major|minor))?$")


def test_jams_has_an_annotation_for_each_kind_with_values_of_its_namespace():
    more = [
        Marker(0, 2, "F#m7", "chord", 0.9, {"harte": "F#:min7"}),
        Marker(0, 4, "F# minor", "key", 0.8, {"key_mode": "F#:minor"}),
        Marker(0.1, 0.2, "A4", "note", 0.7, {"midi": 69.0}),
        Marker(0.3, kind="onset"),
        Marker(0.4, kind="beat"),
        Marker(0.9, 1, "H", "chord"),
    ]
    document = json.loads(written([*MIXED, *more], "jams"))
    assert document["file_metadata"]["duration"] == 4
    assert document["file_metadata"]["title"] == "Stück.wav"
    found = {}
    for annotation in document["annotations"]:
        assert {"annotation_metadata", "data", "namespace"} <= annotation.keys()
        assert (annotation["time"], annotation["duration"]) == (0, 4)
        for seen in annotation["data"]:
            assert seen.keys() == {"time", "duration", "value", "confidence"}
            assert seen["time"] >= 0
            assert seen["duration"] >= 0
            found.setdefault(annotation["namespace"], []).append(seen["value"])
    assert found.pop("beat") == [1, None]
    assert found.pop("onset") == [""]
    assert found.pop("note_midi") == [69]
    assert found.pop("segment_open") == ['A "<b>" & B\n--> C']
    assert found.pop("tag_open") == ["speech", "H"]
    assert all(_CHORD.match(value) for value in found.pop("chord"))
    assert all(_KEY.match(value) for value in found.pop("key_mode"))
    assert not found


def test_wavinfo_reads_the_cue_points(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(written([Marker(2 / RATE, 1, "voice"), Marker(1.5, label="Größe")], "cue"))
    cues = list(wavinfo.WavInfoReader(str(path), info_encoding="utf-8").cues.each_cue())
    assert [frame for _, frame in cues] == [2, 66150]
    reader = wavinfo.WavInfoReader(str(path)).cues
    assert reader.label_and_note(1) == ("voice", None)
    assert reader.range(1) == RATE - 2
    assert reader.range(2) is None


def test_what_is_written_as_cue_chunks_is_read_again():
    points = [CuePoint(5, "ü", 0, "a note"), CuePoint(0, "x", 7), CuePoint(2**32 - 1)]
    assert cue_points(cue_chunks(points)) == [points[1], points[0], points[2]]
    assert cue_chunks([]) == {}
    assert cue_points({}) == []


def test_damaged_cue_chunks_give_what_can_be_read():
    chunks = cue_chunks([CuePoint(1, "one"), CuePoint(2, "two")])
    for cut in range(0, 60, 7):
        short = {kind: body[: len(body) - cut] for kind, body in chunks.items()}
        assert {p.frame for p in cue_points(short)} <= {1, 2}


def test_a_place_beyond_32_bits_is_refused_for_a_cue_chunk():
    with pytest.raises(CannotProcess, match="4294967295 frames"):
        written([Marker(2**32 / RATE)], "cue")


@pytest.mark.parametrize("as_format", TYPE_OF)
def test_no_marker_is_still_a_file(as_format):
    data = written([], as_format)
    assert data or as_format == "audacity"
