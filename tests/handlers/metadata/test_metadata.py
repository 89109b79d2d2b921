"""Tags read and written, judged by ffprobe and mutagen; the sound stays what it was."""

import base64
import shutil

import mutagen
import pytest
from mutagen.apev2 import APEv2
from mutagen.id3 import COMM, ID3, POPM, PRIV, TXXX

from handlers.codecs import reader
from handlers.codecs.formats import encoding
from handlers.codecs.reader import open_sound
from handlers.codecs.writer import write_sound
from handlers.errors import BadParameter, CannotProcess, MistypedParameter
from handlers.registry import operations
from tests.handlers.codecs.tools import by_ffmpeg, music, probe, run
from tests.handlers.tagging.making import (
    chunks_of,
    decoded_md5,
    frame,
    id3,
    metadata,
    png,
    sha256,
    with_chunks,
)
from tests.sounds import write_wav

WRITABLE = ["wav", "aiff", "mp3", "flac", "ogg", "opus", "spx", "m4a", "wv", "oga", "wma", "tta"]
USUAL = ["wav", "aiff", "mp3", "flac", "opus", "m4a", "wv"]
TEN = {
    "title": "Größe & Glück 音",
    "artist": "Somebody",
    "album": "An album",
    "genre": "Ambient",
    "year": "2026",
    "comment": "said in passing",
    "track_number": "3/12",
    "bpm": "128",
    "key": "F#m",
    "encoder": "by hand",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One file of each kind, as FFmpeg writes it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_wav(music(), folder / "x.wav", "PCM_24")
    tagged = ("-metadata", "title=Old title", "-metadata", "artist=Old artist")
    others = {
        "aiff": ("-write_id3v2", "1"),
        "oga": ("-c:a", "flac"),
        "spx": ("-ar", "16000", "-ac", "1"),
    }
    outputs = [[*tagged, *others.get(ext, ()), folder / f"x.{ext}"] for ext in WRITABLE[1:]]
    run("ffmpeg", "-v", "error", "-i", source, *(part for output in outputs for part in output))
    return folder


@pytest.fixture
def source(made, tmp_path):
    """A copy of one of them."""
    return lambda ext: shutil.copy(made / f"x.{ext}", tmp_path / f"song.{ext}")


# -- reading -------------------------------------------------------------------------------------
@pytest.mark.parametrize("ext", [ext for ext in WRITABLE if ext != "wav"])
def test_what_ffmpeg_wrote_is_read(source, ext):
    found = metadata(source(ext))

    assert (found.title, found.artist) == ("Old title", "Old artist")
    assert found.album == ""
    assert found.persisted is None
    assert found.tagged is None
    assert "Old title" in str(found.raw_tags)
    assert found.duration_sec == pytest.approx(1.3, abs=0.05)


def test_a_read_decodes_nothing(source, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(reader.Source, "_pass", decode)
    for ext in ("wav", "flac", "m4a", "wv", "aiff"):
        assert metadata(source(ext)).sample_rate == 44100


def test_a_report_without_a_write_does_not_speak_of_one(source):
    facts = metadata(source("mp3")).descriptor()
    assert "persisted" not in facts
    assert "tagged" not in facts


@pytest.mark.parametrize("ext", ["wav", "flac", "alac.m4a", "aiff"])
def test_24_bits_are_24_bits(tmp_path, ext):
    source = write_wav(music(), tmp_path / "s.wav", "PCM_24")
    options = {"alac.m4a": ("-c:a", "alac"), "flac": ("-sample_fmt", "s32")}
    codec = options.get(ext, ("-c:a", "pcm_s24be") if ext == "aiff" else ("-c:a", "pcm_s24le"))
    found = metadata(by_ffmpeg(source, tmp_path / f"x.{ext}", *codec))
    assert found.bit_depth == 24


def test_several_texts_are_all_there_and_one_line_tells_them(tmp_path):
    path = tmp_path / "x.flac"
    write_sound(music().blocks(), path, encoding("flac"))
    found = metadata(path, tags={"artist": ["One", "Two"]})
    assert found.artist == "One; Two"
    assert found.tags["artist"] == ("One", "Two")
    assert mutagen.File(found.tagged.path)["artist"] == ["One", "Two"]


# -- writing -------------------------------------------------------------------------------------
@pytest.mark.parametrize("ext", WRITABLE)
def test_all_ten_fields_come_back_and_the_sound_is_the_same(source, ext):
    path = source(ext)
    before = sha256(path)

    found = metadata(path, tags=TEN)

    assert found.persisted is True
    assert {name: getattr(found, name) for name in TEN} == TEN
    read_again = metadata(found.tagged.path)
    assert {name: getattr(read_again, name) for name in TEN} == TEN
    assert decoded_md5(found.tagged.path) == decoded_md5(path)
    assert sha256(path) == before
    facts = probe(found.tagged.path)
    said = {
        k.lower(): v
        for k, v in {**facts["format"].get("tags", {}), **facts.get("tags", {})}.items()
    }
    assert said["title"] == TEN["title"]
    assert said["artist"] == "Somebody"
    assert said["album"] == "An album"
    assert said["genre"] == "Ambient"


@pytest.mark.parametrize(
    ("ext", "names"),
    [
        ("mp3", {"TIT2": "title", "TBPM": "bpm", "TKEY": "key", "TRCK": "track_number"}),
        ("flac", {"title": "title", "initialkey": "key", "bpm": "bpm", "tracknumber": ...}),
        ("m4a", {"\xa9nam": "title", "\xa9day": "year", "\xa9too": "encoder"}),
        ("wv", {"Title": "title", "Track": "track_number", "Year": "year"}),
        ("wma", {"Title": "title", "WM/InitialKey": "key", "WM/TrackNumber": "track_number"}),
    ],
)
def test_mutagen_finds_them_where_other_programs_look(source, ext, names):
    tagged = mutagen.File(metadata(source(ext), tags=TEN).tagged.path)
    for name, field in names.items():
        value = tagged[name]
        text = str(value.text[0] if hasattr(value, "text") else value[0])
        assert text == (TEN[field] if field is not ... else "3"), name
    if ext == "m4a":
        assert tagged["trkn"] == [(3, 12)]
        assert tagged["tmpo"] == [128]


@pytest.mark.parametrize("ext", [*USUAL, "wma"])
def test_an_empty_text_removes_a_field_and_leaves_the_others(source, ext):
    first = metadata(source(ext), tags=TEN).tagged.path
    found = metadata(first, tags={"title": "", "track_number": None, "bpm": []})

    assert (found.title, found.track_number, found.bpm) == ("", "", "")
    assert {name: getattr(found, name) for name in TEN if name not in ("title", "bpm")} | {
        "track_number": "3/12"
    } == {name: text for name, text in TEN.items() if name not in ("title", "bpm")}
    assert "Größe" not in str(found.raw_tags)


@pytest.mark.parametrize("ext", USUAL)
def test_any_other_field_may_be_written(source, ext):
    found = metadata(
        source(ext), tags={"ISRC": "DEABC2400001", "my own field": "kept", "bpm": 99.5}
    )
    assert found.tags["isrc"] == ("DEABC2400001",)
    assert found.tags["my own field"] == ("kept",)
    assert found.bpm == "99.5"


@pytest.mark.parametrize("ext", USUAL)
def test_a_number_keeps_its_total(source, ext):
    first = metadata(source(ext), tags={"track_number": "3/12"}).tagged.path
    assert metadata(first, tags={"track_number": 4}).track_number == "4/12"


def test_measurements_and_what_is_unknown_stay(tmp_path, source):
    path = source("mp3")
    tag = ID3(path)
    tag.add(TXXX(encoding=3, desc="replaygain_track_gain", text=["-3 dB"]))
    tag.add(PRIV(owner="x", data=b"\1\2"))
    tag.add(POPM(email="a@b", rating=128, count=7))
    tag.add(COMM(encoding=3, lang="eng", desc="iTunNORM", text=["00"]))
    tag.save(path)

    kept = ID3(metadata(path, tags={"comment": "new"}).tagged.path)

    assert kept["TXXX:replaygain_track_gain"].text == ["-3 dB"]
    assert kept["PRIV:x:\x01\x02"].data == b"\1\2"
    assert kept["POPM:a@b"].count == 7
    assert kept["COMM:iTunNORM:eng"].text == ["00"]
    assert kept["COMM::XXX"].text == ["new"]


def test_a_tag_of_version_2_3_stays_one(source):
    path = source("mp3")
    tag = ID3(path)
    tag.update_to_v23()
    tag.save(path, v2_version=3)

    written = metadata(path, tags={"year": "2026-05-06", "title": "Neu"}).tagged.path

    assert written.read_bytes()[3] == 3
    assert metadata(written).year == "2026-05-06"
    assert probe(written)["format"]["tags"]["title"] == "Neu"


def test_an_mp3_with_two_more_tags_says_the_same_in_all(source):
    path = source("mp3")
    ape = APEv2()
    ape["Title"] = "Other"
    ape["MP3GAIN_MINMAX"] = "1,2"
    ape.save(path)
    ID3(path).save(path, v1=2)
    assert metadata(path).title == "Old title"

    written = metadata(path, tags={"title": "New"}).tagged.path

    assert APEv2(written)["Title"] == "New"
    assert APEv2(written)["MP3GAIN_MINMAX"] == "1,2"
    assert ID3(written)["TIT2"].text == ["New"]
    assert b"Old title" not in written.read_bytes()


def test_an_id3v1_tag_follows(source):
    path = source("mp3")
    ID3(path).save(path, v1=2)
    written = metadata(path, tags={"title": "New"}).tagged.path
    assert written.read_bytes()[-128:-95] == b"TAG" + b"New".ljust(30, b"\0")


# -- RIFF and AIFF -------------------------------------------------------------------------------
def test_a_wav_keeps_every_other_chunk_and_its_samples_byte_by_byte(source):
    odd = (b"LGWV", b"\1\2\3"), (b"fake", b"x" * 11)
    path = with_chunks(source("wav"), *(k + bytes([len(b), 0, 0, 0]) + b + b"\0" for k, b in odd))
    before = chunks_of(path)

    after = chunks_of(metadata(path, tags=TEN).tagged.path)

    assert [c for c in after if c[0] not in (b"LIST", b"id3 ")] == before
    assert {c[0] for c in after} - {c[0] for c in before} == {b"LIST", b"id3 "}


def test_info_alone_is_enough_for_what_it_holds(source):
    found = metadata(source("wav"), tags={"title": "A", "artist": "B", "encoder": "C"})
    kinds = [kind for kind, _ in chunks_of(found.tagged.path)]
    assert kinds.count(b"LIST") == 1
    assert b"id3 " not in kinds
    assert found.raw_tags == {"INAM": ["A"], "IART": ["B"], "ISFT": ["C"]}


def test_info_of_others_stays_and_old_texts_go_from_everywhere(source):
    info = b"INFO" + b"INAM\x04\0\0\0Old\0" + b"IXYZ\x05\0\0\0kept\0\0" + b"IPRT\x02\0\0\x007\0"
    path = with_chunks(source("wav"), b"LIST" + bytes([len(info), 0, 0, 0]) + info)
    assert metadata(path).title == "Old"
    assert metadata(path).track_number == "7"

    found = metadata(path, tags={"title": "New", "track_number": "8", "key": "Am"})

    assert found.raw_tags["IXYZ"] == ["kept"]
    assert found.raw_tags["INAM"] == found.raw_tags["TIT2"] == ["New"]
    assert found.track_number == "8"
    assert "Old" not in str(found.raw_tags)
    assert "IPRT" not in found.raw_tags


def test_an_rf64_stays_one_and_its_sizes_are_true(tmp_path):
    path = by_ffmpeg(
        write_wav(music(), tmp_path / "s.wav"),
        tmp_path / "x.wav",
        *("-rf64", "always", "-c:a", "pcm_s24le"),
    )
    found = metadata(path, tags=TEN)
    raw = found.tagged.path.read_bytes()

    assert raw[:4] == b"RF64"
    assert int.from_bytes(raw[20:28], "little") == len(raw) - 8
    assert probe(found.tagged.path)["format"]["tags"]["title"] == TEN["title"]
    assert decoded_md5(found.tagged.path) == decoded_md5(path)


def test_a_wav_whose_length_was_never_stated_gets_a_true_one(tmp_path):
    raw = write_wav(music(), tmp_path / "s.wav", "PCM_16").read_bytes()
    at = raw.index(b"data") + 4
    path = tmp_path / "x.wav"
    path.write_bytes(raw[:4] + b"\xff" * 4 + raw[8:at] + b"\xff" * 4 + raw[at + 4 :])

    written = metadata(path, tags={"title": "x"}).tagged.path

    (data,) = [body for kind, body in chunks_of(written) if kind == b"data"]
    assert data == raw[at + 4 :]


def test_a_big_endian_wav_is_refused_by_its_name(tmp_path):
    raw = bytearray(write_wav(music(), tmp_path / "s.wav", "PCM_16").read_bytes())
    size = int.from_bytes(raw[40:44], "little")
    raw[:4] = b"RIFX"
    for at, wide in (
        (4, 4),
        (16, 4),
        (20, 2),
        (22, 2),
        (24, 4),
        (28, 4),
        (32, 2),
        (34, 2),
        (40, 4),
    ):
        raw[at : at + wide] = raw[at : at + wide][::-1]
    assert int.from_bytes(raw[40:44], "big") == size
    path = tmp_path / "x.wav"
    path.write_bytes(raw)
    assert metadata(path).codec == "pcm_s16be"
    with pytest.raises(CannotProcess, match="RIFX"):
        metadata(path, tags={"title": "x"})


def test_native_texts_of_an_aiff_do_not_contradict(tmp_path, source):
    path = source("aiff")
    raw = path.read_bytes() + b"NAME\0\0\0\x04Old " + b"ANNO\0\0\0\x04said"
    path.write_bytes(raw[:4] + (len(raw) - 8).to_bytes(4, "big") + raw[8:])
    before = dict(chunks_of(path))

    written = metadata(path, tags={"title": "New"}).tagged.path

    after = dict(chunks_of(written))
    assert after[b"NAME"] == b"New"
    assert after[b"ANNO"] == b"said"
    assert after[b"SSND"] == before[b"SSND"]
    assert metadata(written).title == "New"


# -- pictures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("ext", [*USUAL, "wma"])
def test_a_cover_from_a_file_and_one_from_text_come_back(tmp_path, source, ext):
    cover, back = tmp_path / "front.png", png(5, 7)
    cover.write_bytes(png(30, 20))
    found = metadata(
        source(ext),
        cover,
        pictures=[
            {"file": str(cover), "description": "the front"},
            {"data": base64.b64encode(back).decode(), "type": "back_cover"},
        ],
    )
    shown = [(p.mime, p.width, p.height, p.size_bytes) for p in found.pictures]
    assert shown == [("image/png", 30, 20, len(png(30, 20))), ("image/png", 5, 7, len(back))]
    if ext not in ("m4a",):
        assert [p.type for p in found.pictures] == ["front_cover", "back_cover"]
    assert metadata(found.tagged.path, pictures=[]).pictures == []


@pytest.mark.parametrize("ext", ["mp3", "flac", "m4a", "ogg"])
def test_ffprobe_sees_the_cover(source, ext):
    data = base64.b64encode(png(30, 20)).decode()
    written = metadata(source(ext), pictures=[{"data": data}]).tagged.path
    said = run("ffprobe", "-v", "error", "-select_streams", "v", "-show_streams", written)
    assert b"codec_name=png" in said
    assert b"width=30" in said


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ({}, "exactly one of file and data"),
        ({"file": "a", "data": "b"}, "exactly one of file and data"),
        ({"data": "!"}, "no base64"),
        ({"data": base64.b64encode(b"<svg/>").decode()}, "no JPEG, PNG, GIF or WebP"),
        ({"data": "", "type": "selfie"}, "selfie"),
    ],
)
def test_what_is_no_picture_is_refused(source, picture, message):
    with pytest.raises(BadParameter, match=message):
        metadata(source("mp3"), pictures=[picture])


def test_mp4_says_which_pictures_it_holds(source):
    gif = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b"!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    with pytest.raises(CannotProcess, match="JPEG or PNG, not image/gif"):
        metadata(source("m4a"), pictures=[{"data": base64.b64encode(gif).decode()}])


# -- chapters ------------------------------------------------------------------------------------
CHAPTERS = [
    {"start": 0.0, "title": "The longest of all titles comes first"},
    {"start": 0.4, "title": "Shorter", "url": "https://example.org/b"},
    {"start": 0.9, "title": "C"},
]


def chapters_by_ffprobe(path):
    said = run("ffprobe", "-v", "error", "-show_chapters", "-of", "csv=p=0", path).decode()
    rows = [line.split(",") for line in said.splitlines()]
    return [(float(r[3]), float(r[5]), r[6]) for r in rows]


@pytest.mark.parametrize("ext", ["mp3", "flac", "opus", "wav", "aiff"])
def test_chapters_are_written_in_order_whatever_order_they_are_given_in(source, ext):
    found = metadata(source(ext), chapters=CHAPTERS[::-1])

    assert [(c.start, c.title, c.url) for c in found.chapters] == [
        (c["start"], c["title"], c.get("url", "")) for c in CHAPTERS
    ]
    if ext not in ("wav", "aiff"):  # which FFmpeg does not look into for chapters
        rows = chapters_by_ffprobe(found.tagged.path)
        assert [(start, title) for start, _, title in rows] == [
            (c["start"], c["title"]) for c in CHAPTERS
        ]
        assert rows[0][1] == 0.4
        assert rows[2][1] == pytest.approx(1.3008, abs=0.05)
    assert metadata(found.tagged.path, chapters=[]).chapters == []


def test_the_table_of_contents_lists_them_in_order(source):
    tag = ID3(metadata(source("mp3"), chapters=CHAPTERS).tagged.path)
    (contents,) = tag.getall("CTOC")
    starts = [tag[f"CHAP:{name}"].start_time for name in contents.child_element_ids]
    assert starts == [0, 400, 900]


@pytest.mark.parametrize("ext", ["m4a", "mka"])
def test_chapters_of_ffmpegs_are_read(tmp_path, ext):
    said = tmp_path / "meta.txt"
    said.write_text(
        ";FFMETADATA1\n"
        + "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={a}\nEND={b}\ntitle={t}\n"
            for a, b, t in ((0, 500, "One"), (500, 1300, "Two"))
        )
    )
    wav = write_wav(music(), tmp_path / "s.wav")
    path = tmp_path / f"x.{ext}"
    run("ffmpeg", "-v", "error", "-i", wav, "-i", said, "-map_metadata", "1", path)
    found = metadata(path).chapters
    assert [(c.start, c.end, c.title) for c in found] == [(0, 0.5, "One"), (0.5, 1.3, "Two")]


@pytest.mark.parametrize(
    ("chapter", "message"),
    [
        ({"start": 2.0, "title": "late"}, "begins at 2 s, but the sound lasts 1.3"),
        ({"start": 0.5, "end": 0.1, "title": "x"}, "ends at 0.1 s, before it begins"),
    ],
)
def test_a_chapter_outside_of_the_sound_is_refused(source, chapter, message):
    with pytest.raises(BadParameter, match=message):
        metadata(source("flac"), chapters=[chapter])


@pytest.mark.parametrize("ext", ["m4a", "wv", "wma"])
def test_where_chapters_cannot_be_written_is_said(source, ext):
    with pytest.raises(CannotProcess, match="chapters cannot be written into"):
        metadata(source(ext), chapters=CHAPTERS)


# -- refusals ------------------------------------------------------------------------------------
@pytest.mark.parametrize("ext", ["aac", "au", "caf", "w64", "mka"])
def test_a_container_that_holds_no_tags_is_named(tmp_path, ext):
    path = by_ffmpeg(write_wav(music(), tmp_path / "s.wav"), tmp_path / f"x.{ext}")
    assert metadata(path).sample_rate == 44100
    with pytest.raises(CannotProcess, match="holds no tags"):
        metadata(path, tags={"title": "x"})


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("tags", [["title"], "[1]", "3", '"text"', "{", 7])
def test_tags_that_are_no_object_are_a_wrong_value_and_the_message_says_tags(tags, strict):
    with pytest.raises(BadParameter, match="tags"):
        operations()["metadata"].read_params({"tags": tags}, strict=strict)


@pytest.mark.parametrize(
    "tags", [{"": "x"}, {"a=b": "x"}, {"ä": "x"}, {"title": "x" * 70000}, {"a": {"b": "c"}}]
)
def test_a_field_that_no_tag_can_hold_is_refused(tags):
    with pytest.raises(BadParameter, match="tags"):
        operations()["metadata"].read_params({"tags": tags}, strict=True)


def test_text_in_a_form_may_be_json():
    params = operations()["metadata"].read_params({"tags": '{"title": "x", "bpm": 128}'})
    assert params.tags == {"title": "x", "bpm": 128}
    with pytest.raises(MistypedParameter, match="colour"):
        operations()["metadata"].read_params({"colour": "red"})


def test_an_mp3_whose_tag_is_damaged_can_still_be_played_and_is_refused_here(tmp_path, source):
    sound = source("mp3").read_bytes()
    path = tmp_path / "y.mp3"
    path.write_bytes(id3(frame(b"TIT2", b"\x03ok")) + sound)
    assert metadata(path).title == "ok"
    assert open_sound(path).channels == 2
