import numpy as np
import pytest

from handlers.artifacts import SoundItem
from handlers.dynamics.normalize import Normalize, normalize
from handlers.errors import BadParameter, MistypedParameter
from handlers.loudness_profiles import profiles
from handlers.registry import find
from tests.sounds import (
    as_blocks,
    ffmpeg_loudness,
    level_db,
    noise,
    one_after_another,
    sound,
    speech,
    write_wav,
)

TALK = speech(seconds=10, channels=2, peak_db=-12)


def normalized(audio, album=None, **params):
    items = None if album is None else [SoundItem().opened(as_blocks(s, 5000)) for s in album]
    return normalize(as_blocks(audio, 4096), items, Normalize(**params))


def test_every_profile_says_where_its_numbers_are_from():
    asked = {
        *("podcast-apple", "podcast-spotify", "spotify", "youtube", "amazon", "deezer", "tidal"),
        *("aes-td1008-speech", "aes-td1008-music", "aes-td1008-album", "ebu-r128"),
        *("ebu-r128-s1", "atsc-a85", "acx", "replaygain2"),
    }
    assert asked <= set(profiles())
    for profile in profiles().values():
        assert len(profile.source) > 10
        assert any(sign.isdigit() for sign in profile.date)


@pytest.mark.parametrize(
    ("name", "lufs", "dbtp"),
    [("podcast-apple", -16, -1), ("amazon", -14, -2), ("ebu-r128", -23, -1), ("atsc-a85", -24, -2)],
)
def test_ffmpeg_finds_a_profiles_target_and_ceiling(name, lufs, dbtp, tmp_path):
    result = normalized(TALK, profile=name)

    after = ffmpeg_loudness(write_wav(result.sound.whole(), tmp_path / "after.wav"))
    assert after.integrated == pytest.approx(lufs, abs=0.1)
    assert after.true_peak <= dbtp
    assert result.target_lufs == lufs
    assert result.profile == name


def test_an_audiobook_has_the_rms_that_acx_asks_for():
    result = normalized(TALK, profile="acx")

    whole = result.sound.whole()
    assert -23 <= level_db(whole) <= -18
    assert level_db(whole) == pytest.approx(-20.5, abs=0.3)
    assert 20 * np.log10(np.abs(whole.samples).max()) <= -3


def test_a_ceiling_of_ones_own_goes_before_the_profiles(tmp_path):
    result = normalized(TALK, profile="podcast-apple", true_peak_dbtp=-6)

    after = ffmpeg_loudness(write_wav(result.sound.whole(), tmp_path / "after.wav"))
    assert after.true_peak <= -6


def test_a_profile_without_a_ceiling_only_applies_a_gain():
    result = normalized(TALK, profile="replaygain2")

    gain = 10 ** (result.gain_db / 20)
    np.testing.assert_allclose(result.sound.whole().samples, TALK.samples * gain, rtol=2e-3)


def test_an_album_meets_the_target_as_one_and_keeps_its_distances(tmp_path):
    songs = [
        sound(noise(seed, seconds=5, channels=2, peak_db=db).samples)
        for seed, db in ((1, -20), (2, -12), (3, -32))
    ]
    results = [
        normalized(song, album=[s for s in songs if s is not song], target_lufs=-23)
        for song in songs
    ]

    together = one_after_another(*(result.sound.whole() for result in results))
    heard = ffmpeg_loudness(write_wav(together, tmp_path / "album.wav"))
    assert heard.integrated == pytest.approx(-23, abs=0.15)
    assert len({result.gain_db for result in results}) == 1
    assert {result.album_lufs for result in results} == {results[0].album_lufs}
    assert results[0].measured_lufs - results[1].measured_lufs == pytest.approx(-8, abs=0.5)


def test_by_the_loudest_track_where_the_profile_says_so(tmp_path):
    loud, soft = (
        noise(seed, seconds=5, channels=2, peak_db=db) for seed, db in ((1, -9), (2, -18))
    )

    results = [
        normalized(a, album=[b], profile="aes-td1008-album")
        for a, b in ((loud, soft), (soft, loud))
    ]

    heard = [
        ffmpeg_loudness(write_wav(r.sound.whole(), tmp_path / f"{i}.wav")).integrated
        for i, r in enumerate(results)
    ]
    assert heard[0] == pytest.approx(-14, abs=0.15)
    assert heard[1] - heard[0] == pytest.approx(-9, abs=0.5)


def test_a_peak_of_an_album_is_held_below_the_ceiling(tmp_path):
    quiet = speech(seconds=5, peak_db=-20)
    loud = speech(2, seconds=5, peak_db=-3)

    result = normalized(loud, album=[quiet], target_lufs=-12)

    after = ffmpeg_loudness(write_wav(result.sound.whole(), tmp_path / "after.wav"))
    assert after.true_peak <= -1
    assert result.limited_db > 0.1


def test_without_a_target_or_a_profile_one_is_asked_for():
    with pytest.raises(MistypedParameter, match="target_lufs is required, or a profile"):
        find("normalize").read_params({})


def test_an_unknown_profile_is_answered_with_the_known_ones():
    with pytest.raises(BadParameter, match="loudest-of-all.*ebu-r128"):
        find("normalize").read_params({"profile": "loudest-of-all"})
