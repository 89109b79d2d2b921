"""Files that change while they are read: the sound as it was, or a refusal by name."""

import os

import numpy as np
import pytest

from handlers.codecs.reader import open_sound
from handlers.errors import AudiollaError, UnreadableInput
from tests.hostile.seeds import sounds

_SEEDS = sounds(seconds=6.0)


def truncated(path):
    os.truncate(path, path.stat().st_size * 2 // 5)


def emptied(path):
    os.truncate(path, 0)


def grown(path):
    with path.open("ab") as file:
        file.write(path.read_bytes())


def overwritten(path):
    noise = np.random.default_rng(3).bytes(path.stat().st_size // 2)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(noise)


def deleted(path):
    path.unlink()


def replaced(path):
    other = path.with_name(".new")
    other.write_bytes(b"RIFF" + bytes(4000))
    other.rename(path)


@pytest.mark.parametrize("change", [truncated, emptied, grown, overwritten, deleted, replaced])
@pytest.mark.parametrize("name", sorted(_SEEDS))
def test_p9_a_file_that_changes_while_it_is_read_is_no_fault_of_ours(name, change, tmp_path):
    path = tmp_path / name
    path.write_bytes(_SEEDS[name])
    before = open_sound(path).whole()

    sound = open_sound(path)
    heard, refused = [], None
    try:
        for block in sound:
            if not heard:
                change(path)
            heard.append(block.copy())
    except AudiollaError as wrong:
        refused = wrong

    assert heard
    samples = np.concatenate(heard, axis=1)
    assert np.isfinite(samples).all()
    if change in (deleted, replaced):
        # The bytes that were opened are still there, as they were.
        assert refused is None
        assert np.array_equal(samples, before.samples)
    else:
        assert isinstance(refused, UnreadableInput)
