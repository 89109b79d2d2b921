"""A delivery and all that surrounds it, through a real daemon: history, notice, replay, undo."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.sounds import noise, write_wav
from tests.whole.living import Changes, living

RULES = """
output: {{conflict: replace}}
notify: [{{command: [cp, /dev/stdin, "{told}"], on: [success]}}]
rules:
  - name: softer
    steps: [{{normalize: {{target_lufs: -30}}}}]
    output: {{format: mp3}}
"""


def audiolla(data, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", *arguments, "--json", "--data-dir", data],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_delivery_is_told_of_made_again_and_undone(tmp_path):
    data, told = tmp_path / "data", tmp_path / "told.json"
    box = data / "folders/box"
    (box / "out").mkdir(parents=True)
    (box / "rules.yaml").write_text(RULES.format(told=told))
    (box / "out/take.mp3").write_bytes(b"the mix of yesterday")
    take = write_wav(noise(seconds=1, peak_db=-12), tmp_path / "take.wav")
    before = take.read_bytes()

    with living(data, AUDIOLLA_NOTIFY_COMMANDS="true") as daemon, Changes(tmp_path) as changes:
        os.rename(take, box / "take.wav")
        changes.until((box / "done/take.wav").exists)
        assert (box / "out/take.mp3").read_bytes() != b"the mix of yesterday"
        facts = changes.until(lambda: told.exists() and told.read_bytes() and told.read_text())
        assert json.loads(facts)["outputs"] == [str(box / "out/take.mp3")]

        code, (story,), _ = audiolla(data, "history", "take.mp3")
        assert (code, [event["do"] for event in story["events"]]) == (0, ["take", "put"])
        code, (replayed,), words = audiolla(data, "replay", box / "manifests/take.wav.json")
        assert (code, replayed["same"]) == (0, ["take.mp3"]), words

        code, (undone,), words = audiolla(data, "undo", story["job"], "--to", tmp_path / "back")
        assert code == 0, words
        assert Path(undone["original"]).read_bytes() == before
        assert (box / "out/take.mp3").read_bytes() == b"the mix of yesterday"
        left = {p.name for p in box.rglob("*") if p.is_file()}
        assert left == {"rules.yaml", "take.mp3"}
        assert "undone already" in audiolla(data, "undo", story["job"])[2]
        assert daemon.get("/v1/folders")["folders"][0]["problem"] == ""
