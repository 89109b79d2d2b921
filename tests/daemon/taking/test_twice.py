import os

import numpy as np
import pytest
import soundfile

from daemon import runner
from daemon.execution import Claim
from daemon.taking.twice import samples_of
from handlers.codecs.reader import open_sound
from rules.load import Surroundings, load_rules
from rules.match import FileFacts
from rules.plan import plan
from tests.daemon.test_runner import Here
from tests.sounds import noise
from tests.whole.living import Changes, living

RATE = 48000


def take(path, samples, subtype="PCM_24", **tags):
    with soundfile.SoundFile(path, "w", RATE, samples.shape[1], subtype=subtype) as file:
        for name, value in tags.items():
            setattr(file, name, value)
        file.write(samples)
    return path


@pytest.fixture
def samples():
    chance = np.random.default_rng(1)
    return chance.integers(-(2**23), 2**23, (RATE, 2)).astype(np.int32) << 8


def known(path):
    return samples_of(open_sound(path))


# -- what is the same ------------------------------------------------------------------------------
@pytest.mark.parametrize("ext", ["flac", "aiff", "caf", "w64", "rf64"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_sound_is_the_same_in_every_container_that_keeps_its_samples(
    ext, subtype, samples, tmp_path
):
    wav = take(tmp_path / "a.wav", samples, subtype, title="Morning")
    other = take(tmp_path / f"b.{ext}", samples, subtype)
    assert known(wav) == known(other)


def test_flac_brings_the_hash_along_and_it_is_the_one_that_a_pass_computes(samples, tmp_path):
    sound = open_sound(take(tmp_path / "a.flac", samples))
    stated = samples_of(sound)
    assert sound.facts.md5 in stated
    object.__setattr__(sound.facts, "md5", None)
    assert samples_of(sound) == stated


def test_eight_bits_are_the_same_signed_and_unsigned(tmp_path):
    few = np.random.default_rng(2).integers(-128, 128, (5000, 1)).astype(np.int32) << 24
    assert known(take(tmp_path / "a.wav", few, "PCM_U8")) == known(
        take(tmp_path / "a.flac", few, "PCM_S8")
    )


def test_one_sample_makes_another_sound(samples, tmp_path):
    one = take(tmp_path / "a.wav", samples)
    samples[100, 0] ^= 1 << 8
    assert known(one) != known(take(tmp_path / "b.wav", samples))


def test_float_files_are_compared_as_they_are(tmp_path):
    loud = np.float32(3.5) * noise(seconds=0.1, channels=1).samples.T
    one = take(tmp_path / "a.wav", loud, "FLOAT", title="x")
    assert known(one) == known(take(tmp_path / "b.aiff", loud, "FLOAT"))


# -- what a worker does ----------------------------------------------------------------------------
class Remembering(Here):
    """A worker's context with a ledger of its own."""

    def __init__(self, folder):
        super().__init__(folder)
        self.known = {}
        self.job = ""

    def first(self, key, *, take=False):
        if take:
            self.known[key] = self.job
        earlier = self.known.setdefault(key, self.job)
        return None if earlier == self.job else earlier


RULES = """
duplicates: skip
rules:
  - name: level
    steps: [{normalize: {target_lufs: -20}}]
    output: {format: flac}
"""


@pytest.fixture
def worker(tmp_path):
    context = Remembering(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()

    def work(job, path, rules=RULES):
        read = load_rules(rules, folder / "rules.yaml", Surroundings(folder=folder))
        order = plan(read, FileFacts(path.name, path.stat().st_size), path).order
        context.job = job
        return runner.run(Claim(id=job, attempt=1, order=order.model_dump_json()), context).result

    work.out = folder / "out"
    return work


def test_the_same_sound_under_another_name_and_container_is_skipped(worker, samples, tmp_path):
    first = worker("one", take(tmp_path / "a.wav", samples, title="x"))
    again = worker("two", take(tmp_path / "b.flac", samples))

    assert len(first["outputs"]) == 1
    assert (again["duplicate_of"], again["outputs"]) == ("one", [])
    assert os.listdir(worker.out) == ["a.flac"]


def test_an_attempt_that_is_repeated_is_no_duplicate_of_itself(worker, samples, tmp_path):
    path = take(tmp_path / "a.wav", samples)
    worker("one", path)
    assert "duplicate_of" not in worker("one", path)


def test_other_work_on_the_same_sound_is_done(worker, samples, tmp_path):
    path = take(tmp_path / "a.wav", samples)
    worker("one", path)
    assert "duplicate_of" not in worker("two", path, RULES.replace("-20", "-18"))
    assert "duplicate_of" not in worker("three", path, RULES.replace("flac", "wav"))
    assert worker("four", path)["duplicate_of"] == "one"


def test_a_folder_that_says_nothing_works_on_everything(worker, samples, tmp_path):
    path = take(tmp_path / "a.wav", samples)
    for job in ("one", "two"):
        assert "duplicate_of" not in worker(job, path, RULES.replace("duplicates: skip", ""))


# -- the whole way ---------------------------------------------------------------------------------
LINKING = """
duplicates: link
rules:
  - name: level
    steps: [{normalize: {target_lufs: -20}}, spectrogram]
    output: {format: flac, name: "{stem} at {normalize.measured_lufs:.0f}"}
"""


def test_a_real_daemon_links_a_sound_that_comes_again_as_long_as_what_came_out_is_there(
    samples, tmp_path
):
    box = tmp_path / "data" / "folders" / "box"
    box.mkdir(parents=True)
    (box / "rules.yaml").write_text(LINKING)
    with living(tmp_path / "data"), Changes(box) as changes:
        take(box / "a.wav", samples)
        changes.until((box / "done/a.wav").exists, timeout=60)
        take(tmp_path / "b.flac", samples).rename(box / "b.flac")
        changes.until((box / "done/b.flac").exists, timeout=60)
        (one,) = (box / "out").glob("a at *.flac")
        (two,) = (box / "out").glob("b at *.flac")
        assert one.stat().st_ino == two.stat().st_ino
        assert (box / "out/b.spectrogram.png").exists()

        one.unlink()
        take(tmp_path / "c.aiff", samples).rename(box / "c.aiff")
        changes.until((box / "done/c.aiff").exists, timeout=60)
        (three,) = (box / "out").glob("c at *.flac")
        assert three.stat().st_ino != two.stat().st_ino, "worked on anew: the first is gone"
