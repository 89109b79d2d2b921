import hashlib
import json

import pytest

from daemon import cli
from rules.names import numbered

RULES = """
measure: true
rules:
  - name: softer
    steps: [{normalize: {target_lufs: -30}}, {spectrogram: {width: 64, height: 64}}]
    output: {format: flac}
"""


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest(shop, rel="take.wav"):
    return json.loads((shop.root / "manifests" / f"{rel}.json").read_text())


def test_a_manifest_says_all_that_is_needed_to_make_it_again(shop, take):
    s = shop(RULES)
    s.deliver("a/take.wav", take)
    said = manifest(s, "a/take.wav")

    assert said["input"]["sha256"] == hashlib.sha256(take).hexdigest()
    assert (said["folder"], said["rule"]) == ("podcast", "softer")
    # Every parameter, not just those that the rule names.
    assert said["steps"][0]["params"].keys() > {"target_lufs"}
    assert said["before"]["lufs"] > said["after"]["lufs"] == pytest.approx(-30, abs=0.2)
    assert {o["path"]: o["sha256"] for o in said["outputs"]} == {
        str(s.root / "out/a" / name): sha(s.root / "out/a" / name)
        for name in ("take.flac", "take.spectrogram.png")
    }
    assert said["versions"]["operations"].keys() == {"normalize", "spectrogram"}
    assert {"numpy", "av", "libavcodec"} <= said["versions"]["libraries"].keys()


def test_each_delivery_has_a_manifest_of_its_own_and_none_is_replaced(shop, take):
    s = shop(RULES)
    for _ in range(2):
        s.deliver("take.wav", take)

    names = ["take.wav.json", numbered("take.wav.json", 2)]
    assert s.files("manifests") == sorted(names)
    outputs = [json.loads((s.root / "manifests" / n).read_text())["outputs"] for n in names]
    assert [one[0]["path"][-13:] for one in outputs] == ["out/take.flac", "take (2).flac"]


def test_no_manifest_is_written_where_the_rules_want_none(shop, take):
    s = shop("manifest: false\n" + RULES)
    s.deliver("take.wav", take)

    assert s.files("out")
    assert not (s.root / "manifests").exists()


def replay(shop, *flags, capsys):
    path = shop.root / "manifests/take.wav.json"
    code = cli.main(
        ["replay", str(path), "--json", "--data-dir", str(shop.settings.data_dir), *flags]
    )
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else said.err


def test_a_replay_makes_the_same_bytes_again(shop, take, tmp_path, capsys):
    s = shop(RULES)
    s.deliver("take.wav", take)
    code, said = replay(s, "--to", str(tmp_path / "again"), capsys=capsys)

    assert (code, said["versions"], said["different"]) == (0, [], [])
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == said["same"] == s.files("out")
    for name in said["same"]:
        assert sha(tmp_path / "again" / name) == sha(s.root / "out" / name)


def test_a_replay_that_gives_other_bytes_names_the_version_that_differs(shop, take, capsys):
    s = shop(RULES)
    s.deliver("take.wav", take)
    path = s.root / "manifests/take.wav.json"
    said = json.loads(path.read_text())
    said["versions"]["libraries"]["numpy"] = "0.1"
    said["outputs"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(said))
    code, told = replay(s, capsys=capsys)

    assert (code, told["different"]) == (1, ["take.flac"])
    assert [text.partition(":")[0] for text in told["versions"]] == ["numpy"]


def test_a_replay_of_another_input_is_refused(shop, take, tmp_path, capsys):
    s = shop(RULES)
    s.deliver("take.wav", take)
    (s.root / "done/take.wav").write_bytes(take + b"xx")
    assert "not where the journal" in replay(s, capsys=capsys)[1]

    code, said = replay(s, "--input", str(s.root / "done/take.wav"), capsys=capsys)
    assert code == 1
    assert "not the file" in said
