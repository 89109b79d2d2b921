import json
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from handlers.artifacts import Blocks
from handlers.errors import BadParameter, Cancelled, CannotProcess
from handlers.pictures.scopes import Scope
from handlers.registry import find
from handlers.visualize.video import VideoParams, video
from tests.sounds import (
    as_blocks,
    noise,
    one_after_another,
    read_sound,
    silence,
    sound,
    speech,
    tone,
)

MODES = find("video").params.model_json_schema()["properties"]["mode"]["enum"]
SMALL = {"width": 320, "height": 180}


@pytest.fixture
def render(tmp_path):
    """Render a sound; gives the result, whose file lies in the test's folder."""

    def rendered(audio, block=4096, **params):
        given = VideoParams(**{"mode": "waves", **SMALL, **params})
        return video(as_blocks(audio, block), given, lambda: tmp_path)

    return rendered


def probe(path):
    """What ffprobe says: container, picture stream, sound stream."""
    said = subprocess.run(
        [
            *("ffprobe", "-v", "error", "-of", "json", "-count_frames"),
            *("-show_format", "-show_streams", str(path)),
        ],
        capture_output=True,
        check=True,
    ).stdout
    told = json.loads(said)
    assert [stream["codec_type"] for stream in told["streams"]] == ["video", "audio"]
    return told["format"], *told["streams"]


def pictures(path, width=320, height=180):
    """All pictures as FFmpeg decodes them: `(frames, height, width, 3)`."""
    raw = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough"),
            *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)


def heard(path, tmp_path):
    """The sound of a video, as FFmpeg decodes it."""
    out = tmp_path / "heard.wav"
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-c:a", "pcm_f32le", str(out)]
    subprocess.run(command, check=True)
    return read_sound(out)


def delay_and_likeness(one, other):
    """How many frames later `other` is, and the correlation at that delay."""
    size = one.size + other.size
    together = np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size)), size)
    delay = int(together.argmax())
    return (delay if delay < size // 2 else delay - size), together.max() / (
        np.linalg.norm(one) * np.linalg.norm(other)
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_something_on_every_picture_for_as_long_as_the_sound(render, mode):
    audio = one_after_another(*(noise(seed, seconds=1, channels=2, rate=44100) for seed in (1, 2)))
    audio.samples[1] += tone(440, seconds=2, rate=44100).samples[0]
    made = render(audio, mode=mode)
    file, shown, sounding = probe(made.video.path)
    seen = pictures(made.video.path)

    assert (shown["codec_name"], sounding["codec_name"]) == ("h264", "aac")
    assert (shown["width"], shown["height"], shown["pix_fmt"]) == (320, 180, "yuv420p")
    assert shown["r_frame_rate"] == shown["avg_frame_rate"] == "30/1"
    assert float(file["duration"]) == pytest.approx(2, abs=1 / 30)
    assert len(seen) == int(shown["nb_read_frames"]) == 60
    assert (seen.std(axis=(1, 2, 3)) > 1).all()
    # The picture moves with the sound, and is no picture of one grey.
    assert len({picture.tobytes() for picture in seen}) > 40
    assert np.ptp(seen[30], axis=2).max() > 40
    assert made.descriptor() == {
        "mode": mode,
        "container": "mp4",
        "width": 320,
        "height": 180,
        "fps": 30,
    }


@pytest.mark.parametrize("mode", ["spectrum", "volume"])
def test_a_webm_holds_vp9_and_opus(render, mode):
    made = render(speech(seconds=2, rate=22050), mode=mode, container="webm", fps=25)
    file, shown, sounding = probe(made.video.path)
    seen = pictures(made.video.path)

    assert file["format_name"] == "matroska,webm"
    assert (shown["codec_name"], sounding["codec_name"]) == ("vp9", "opus")
    assert (made.video.ext, made.video.media_type) == ("webm", "video/webm")
    assert float(file["duration"]) == pytest.approx(2, abs=1 / 25)
    assert len(seen) == 50
    assert (seen.std(axis=(1, 2, 3)) > 1).all()


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (44100, 2), (48000, 6), (96000, 2), (11025, 8)]
)
def test_its_sound_is_the_sound_and_in_time(render, tmp_path, container, rate, channels):
    audio = noise(seconds=1, rate=rate, channels=channels)
    smooth = np.apply_along_axis(
        lambda row: np.convolve(row, np.hanning(max(9, rate // 4000)), "same"), 1, audio.samples
    )
    audio = sound(smooth / np.abs(smooth).max() / 2, rate)
    made = render(audio, container=container, width=64, height=64, fps=10)
    out = heard(made.video.path, tmp_path)

    assert out.channels == channels
    if container == "mp4":
        assert out.rate == (rate if rate <= 48000 else 48000)
    assert out.duration == pytest.approx(1, abs=0.03)
    for channel in {0, channels - 1}:
        if channels >= 6 and channel == 3:
            continue
        at = np.arange(audio.frames) * out.rate / rate
        once = np.interp(at, np.arange(out.frames), out.samples[channel])
        delay, likeness = delay_and_likeness(audio.samples[channel], once)
        assert abs(delay) <= 0.01 * rate
        assert likeness > 0.93


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rate", "fps"), [(44100, 30), (48000, 25), (16000, 29)])
def test_what_is_heard_is_seen_at_that_moment(mode, rate, fps):
    quiet = silence(seconds=1, rate=rate, channels=2)
    loud = noise(seconds=0.5, rate=rate, channels=2, peak_db=0)
    audio = one_after_another(quiet, loud)
    scope = Scope(mode, 128, 96, fps, rate, 2)
    shown = []
    for block in as_blocks(audio, 5000):
        shown += [picture.to_ndarray()[:96].astype(int) for picture in scope.add(block)]
    shown += [picture.to_ndarray()[:96].astype(int) for picture in scope.end(audio.duration)]

    assert len(shown) == round(1.5 * fps)
    change = np.array([np.abs(after - before).mean() for before, after in pairwise(shown)])
    first = int(np.flatnonzero(change > change.max() * 0.02)[0]) + 1
    assert abs(first - fps) <= 1


def test_hours_do_not_part_picture_and_sound():
    # 29 pictures of 8,000 samples a second: no whole number of samples each.
    scope = Scope("waves", 64, 64, 29, 8000, 1)
    shown = np.cumsum(
        [sum(1 for _ in scope.add(np.zeros((1, 8000), np.float32))) for _ in range(240)]
    )
    behind = 29 * np.arange(1, 241) - shown
    # What waits in the graph stays the same from the first minute to the last.
    assert behind[-60:].mean() == pytest.approx(behind[:60].mean(), abs=0.5)
    assert behind.max() <= 8


def test_the_meter_says_how_loud_it_is(render):
    audio = one_after_another(*(tone(seconds=1, peak_db=level) for level in (-40, -20, 0)))
    seen = pictures(render(audio, mode="volume", fps=10).video.path)
    lengths = [(seen[at].max(axis=2) > 60).any(axis=0).mean() for at in (8, 18, 28)]
    assert lengths[0] < lengths[1] < lengths[2]
    assert lengths[2] > 0.95


def test_the_spectrum_shows_a_tone_at_one_height_and_a_higher_one_above(render):
    audio = one_after_another(tone(300, seconds=1), tone(6000, seconds=1))
    seen = pictures(render(audio, mode="spectrum").video.path).sum(axis=3)
    # It scrolls to the left: what is new stands on the right.
    low, high = (seen[at][:, -8:].mean(axis=1).argmax() for at in (27, 57))
    assert high < low - 40
    assert seen[57][:, 320 - 160].argmax() == pytest.approx(low, abs=2)


@pytest.mark.parametrize("mode", MODES)
def test_one_sample_is_one_picture(render, mode):
    made = render(sound(np.array([0.5]), 48000), mode=mode)
    assert len(pictures(made.video.path)) == 1


def test_h264_has_even_sizes_and_the_result_says_which(render):
    made = render(noise(seconds=0.3), width=321, height=181)
    assert (made.width, made.height) == (322, 182)
    _, shown, _ = probe(made.video.path)
    assert (shown["width"], shown["height"]) == (322, 182)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("width", "height"), [(321, 181), (64, 65), (65, 400)])
def test_vp9_has_any_size(render, mode, width, height):
    made = render(
        noise(seconds=0.2, channels=2), mode=mode, width=width, height=height, container="webm"
    )
    assert (made.width, made.height) == (width, height)
    _, shown, _ = probe(made.video.path)
    assert (shown["width"], shown["height"]) == (width, height)


@pytest.mark.parametrize(("fps", "seconds"), [(1, 2.6), (29, 1.03), (120, 0.5)])
@pytest.mark.parametrize("mode", ["spectrum", "waves", "freqs", "cqt"])
def test_any_number_of_pictures_per_second_lasts_as_long_as_the_sound(render, mode, fps, seconds):
    audio = noise(seconds=seconds, rate=44100)
    made = render(audio, mode=mode, fps=fps, width=64, height=64)
    _, shown, _ = probe(made.video.path)
    assert int(shown["nb_read_frames"]) == max(1, round(seconds * fps))
    assert shown["r_frame_rate"] == f"{fps}/1"


def test_pictures_come_while_the_sound_goes_by():
    scope = Scope("freqs", 64, 64, 30, 48000, 1)
    counts = [sum(1 for _ in scope.add(np.zeros((1, 4800), np.float32))) for _ in range(20)]
    assert sum(counts[:10]) > 20
    assert max(counts[2:]) <= 5


def test_a_sound_without_samples_is_refused_and_leaves_no_file(render, tmp_path):
    with pytest.raises(CannotProcess, match="samples"):
        render(silence(seconds=0))
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_one_leaves_no_file(tmp_path):
    def passing():
        yield noise(seconds=1).samples
        raise Cancelled("by hand")

    long = Blocks(passing, rate=48000, channels=1, frames=480000)
    with pytest.raises(Cancelled):
        video(long, VideoParams(mode="waves", **SMALL), lambda: Path(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "raw",
    [
        *({"mode": "nothing"}, {"mode": "waves,movie=/etc/passwd"}),
        *({"width": "63"}, {"height": "3841"}, {"fps": "0"}, {"fps": "121"}),
        {"container": "avi"},
    ],
)
def test_modes_sizes_and_containers_that_do_not_exist_are_refused(raw):
    with pytest.raises(BadParameter, match=next(iter(raw))):
        find("video").read_params({"mode": "waves", **raw})
