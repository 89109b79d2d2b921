import pytest

from handlers.analysis.info import info
from handlers.artifacts import Blocks, Metadata, SourceFacts
from tests.sounds import noise

FACTS = SourceFacts(
    name="take.wav",
    size_bytes=1234,
    container="wav",
    codec="pcm_s24le",
    sample_fmt="s32",
    bit_depth=24,
    bit_rate=2116800,
    metadata=Metadata(tags={"title": ("Take 3",)}),
)


def test_what_the_container_states_is_told_without_decoding():
    def never():
        pytest.fail("the sound was decoded")
        yield

    report = info(Blocks(never, rate=44100, channels=2, frames=66150, facts=FACTS))
    assert report.descriptor() == {
        "size_bytes": 1234,
        "duration_sec": 1.5,
        "sample_rate": 44100,
        "channels": 2,
        "codec": "pcm_s24le",
        "sample_fmt": "s32",
        "format": "wav",
        "bit_depth": 24,
        "bit_rate": 2116800,
        "frames": 66150,
        "tags": {"title": ["Take 3"]},
    }


def test_a_length_that_is_not_stated_is_counted():
    audio = noise(seconds=0.5, rate=8000)
    blocks = audio.blocks()
    report = info(Blocks(lambda: iter(blocks), rate=8000, channels=1, frames=None))
    assert (report.frames, report.duration_sec) == (4000, 0.5)
    assert report.codec is None
