"""Forty files of every kind, dropped into a real daemon: each ends in exactly one place."""

import json
import os
import threading

import numpy as np
import soundfile

from tests.sounds import tone, write_wav
from tests.whole.living import Changes, living

RULES = """
settle: {truncated_after: 4}
rules:
  - name: level
    match: {ext: [wav, flac]}
    steps:
      - normalize: {target_lufs: -20}
    output: {format: wav}
"""
GROWING_PIECES = 6
GROWING_PAUSE = 0.4


def grow(path, content):
    """A writer that pauses: header first, then the sound in pieces over a few seconds."""
    pause = threading.Event()
    pieces = np.array_split(np.frombuffer(content, np.uint8), GROWING_PIECES)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece.tobytes())
            file.flush()
            pause.wait(GROWING_PAUSE)


def test_each_of_forty_files_ends_in_exactly_one_place(tmp_path):
    box = tmp_path / "data" / "folders" / "box"
    box.mkdir(parents=True)
    (box / "rules.yaml").write_text(RULES)
    (box / "a").mkdir()
    (box / "b").mkdir()
    made = tmp_path / "made"
    made.mkdir()
    good = write_wav(tone(440, seconds=1.0, channels=2), made / "good.wav").read_bytes()
    flac = made / "good.flac"
    soundfile.write(flac, tone(330, seconds=1.0).samples.T, 48000)
    expected_good, expected_bad = set(), set()

    with living(tmp_path / "data") as daemon, Changes(box) as changes:
        writers = []
        for number in range(10):  # whole at once
            (box / f"good {number}.wav").write_bytes(good)
            expected_good.add(f"good {number}.wav")
        for number in range(6):  # growing
            path = box / f"growing {number}.wav"
            writers.append(threading.Thread(target=grow, args=(path, good)))
            writers[-1].start()
            expected_good.add(path.name)
        for number in range(8):  # renamed into place
            part = made / f"moved {number}.wav"
            part.write_bytes(good)
            part.rename(box / part.name)
            expected_good.add(part.name)
        for folder in ("a", "b"):  # the same names in two subfolders
            for number in range(4):
                (box / folder / f"twin {number}.wav").write_bytes(good)
                expected_good.add(f"{folder}/twin {number}.wav")
        (box / "noise.wav").write_bytes(os.urandom(20_000))
        (box / "playlist.wav").write_text("#EXTM3U\n/etc/passwd\n")
        (box / "cut.flac").write_bytes(flac.read_bytes()[:9000])
        (box / "text.flac").write_text("not a sound")
        (box / "zeroes.wav").write_bytes(bytes(5000))
        for number in range(3):
            (box / f"empty {number}.wav").touch()
            expected_bad.add(f"empty {number}.wav")
        expected_bad |= {"noise.wav", "playlist.wav", "cut.flac", "text.flac", "zeroes.wav"}
        assert len(expected_good | expected_bad) == 40

        def settled():
            return len(sounds(box / "done")) + len(sounds(box / "failed")) == 40

        changes.until(settled, timeout=150)
        for writer in writers:
            writer.join()
        jobs = daemon.get("/v1/jobs")["jobs"]

    assert sounds(box / "done") == expected_good
    assert sounds(box / "failed") == expected_bad
    assert sounds(box / "processing") == set()
    assert sounds(box, deep=False) == set()
    # A file that stays shorter than its header says is refused before it becomes a job.
    assert len(jobs) == 39
    for name in expected_good:
        out = soundfile.SoundFile(box / "out" / name)
        assert (out.frames, out.channels) == (48000, 2)
    assert sounds(box / "out") == expected_good
    for name in expected_bad:
        reason = json.loads((box / "failed" / f"{name}.json").read_text())
        assert len(reason["error"]) > 15, reason
    assert list(box.rglob("*.part")) == []


def sounds(folder, deep=True):
    found = folder.rglob("*") if deep else folder.glob("*")
    return {
        str(p.relative_to(folder)) for p in found if p.is_file() and p.suffix in (".wav", ".flac")
    }
