"""A result is looked at once it is written: encoders report success when their disk is full."""

import os

import pytest

from handlers.codecs import files
from handlers.codecs.checking import check_written
from handlers.codecs.formats import OUTPUT_FORMATS, Encoding
from handlers.codecs.writer import write_sound
from handlers.errors import StorageFailed, StorageFull
from tests.handlers.codecs.tools import music


def about(path, written, depth="16"):
    known = {"frames": written.frames, "channels": written.channels, "size": written.size}
    return {"path": path, "depth": depth, **known}


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_p15_a_whole_file_of_every_format_passes(tmp_path, format):
    path = tmp_path / "x"
    written = write_sound(music(seconds=1.5).blocks(), path, Encoding(format=format))

    assert path.stat().st_size == written.size > 0


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_p15_a_file_that_lost_its_end_is_not_accepted(tmp_path, format):
    path = tmp_path / "x"
    written = write_sound(music(seconds=1.5).blocks(), path, Encoding(format=format))
    os.truncate(path, written.size * 2 // 3)

    with pytest.raises(StorageFailed, match="bytes on the disk"):
        check_written(format=format, **about(path, written))


@pytest.mark.parametrize("format", ["wav", "aiff", "pcm", "flac", "ogg", "opus"])
def test_p15_a_file_with_fewer_frames_than_were_written_is_not_accepted(tmp_path, format):
    path = tmp_path / "x"
    written = write_sound(music(seconds=1.5).blocks(), path, Encoding(format=format))
    claimed = about(path, written) | {"frames": written.frames + 48000}

    with pytest.raises(StorageFailed, match="frames"):
        check_written(format=format, **claimed)


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_p15_a_disk_that_is_full_fails_the_write_whatever_the_encoder_says(
    tmp_path, format, monkeypatch
):
    room, real = 6000, os.pwrite

    def pwrite(fd, data, offset):
        if offset + len(data) > room:
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(files.os, "pwrite", pwrite)
    with pytest.raises(StorageFull):
        write_sound(music(seconds=3).blocks(), tmp_path / "x", Encoding(format=format))
