import json

import pytest

from daemon import runner
from daemon.execution import Claim
from handlers.codecs.reader import open_sound
from rules.orders import Order
from rules.sidecars import BadSidecar, read_sidecar
from tests.daemon.inboxes import Studio
from tests.daemon.test_runner import Here
from tests.sounds import tone, write_wav

LEVEL = """
sidecars: take
rules:
  - name: level
    match: {ext: wav}
    steps: [{normalize: {target_lufs: -20}}]
    output: {format: flac}
"""
SOFTER = b"params: {normalize: {target_lufs: -26}}\ntags: {title: Morning, artist: [Ann, Bob]}\n"


@pytest.fixture
def studio(tmp_path):
    made = []

    def make(rules=LEVEL):
        made.append(Studio(tmp_path, rules))
        return made[-1]

    yield make
    for one in made:
        one.manager.stop()


def order_of(s):
    (job,) = s.queue.jobs.values()
    return Order.model_validate_json(job.order)


def reason(s, name):
    return json.loads((s.root / f"failed/{name}.json").read_text())["error"]


@pytest.mark.parametrize("name", ["a/take.yaml", "a/take.yml", "a/take.json"])
def test_a_sidecar_changes_parameters_and_goes_the_way_of_its_sound(name, studio):
    s = studio()
    said = {"params": {"normalize": {"target_lufs": -26.0}}}
    s.drop(name, json.dumps(said).encode())
    s.drop("a/take.wav")
    s.drop("a/other.wav")
    s.pass_time(5, steps=10)

    levels = {
        job.input_name: Order.model_validate_json(job.order).steps[0].params["target_lufs"]
        for job in s.queue.jobs.values()
    }
    assert levels == {"a/take.wav": -26, "a/other.wav": -20}
    s.finish()
    assert s.files() == sorted(["done/a/other.wav", "done/a/take.wav", f"done/{name}"])


def test_what_comes_out_has_the_level_and_the_tags_of_the_sidecar(studio, tmp_path):
    s = studio()
    s.drop("take.yaml", SOFTER)
    sound = write_wav(tone(440, seconds=1.0, peak_db=-6), tmp_path / "made.wav")
    s.drop("take.wav", sound.read_bytes())
    s.pass_time(3, steps=6)
    order = order_of(s)
    done = runner.run(
        Claim(id="j", attempt=1, order=order.model_dump_json(exclude_defaults=True)),
        Here(tmp_path),
    )

    made = open_sound(s.root / "out/take.flac")
    assert made.facts.metadata.tags["title"] == ("Morning",)
    assert made.facts.metadata.tags["artist"] == ("Ann", "Bob")
    assert done.result["steps"][0]["params"]["target_lufs"] == -26


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"params: {eq: {}}", "params.eq: the rule has no such step; it has: normalize"),
        (b"params: {normalize: {target_lufs: loud}}", "params.normalize.target_lufs"),
        (b"params: {normalize: {loudness: -3}}", "params.normalize.loudness"),
        (b"steps: []", "there is no such key; there are: params, tags"),
        (b"tags: {title: 7}", "tags.title"),
        (b"- 1", "holds no keys"),
        (b"a: &x [1]\nb: *x", "anchors and aliases are not read"),
        (b"tags: {: [", "is not YAML"),
    ],
)
def test_a_sidecar_that_cannot_be_used_fails_both_and_names_the_key(said, told, studio):
    s = studio()
    s.drop("take.yaml", said)
    s.drop("take.wav")
    s.pass_time(5, steps=10)

    assert s.queue.jobs == {}
    assert told in reason(s, "take.wav")
    assert "failed/take.yaml" in s.files()


def test_json_is_read_as_json_and_no_larger_than_a_rule_file():
    with pytest.raises(BadSidecar, match="is not JSON"):
        read_sidecar(b"tags: {}", "take.json")
    with pytest.raises(BadSidecar, match="larger than"):
        read_sidecar(b" " * 300_000, "take.json")


def test_a_sidecar_that_is_still_written_is_waited_for(studio):
    s = studio()
    with (s.root / "take.yaml").open("wb") as writer:
        writer.write(SOFTER[:20])
        writer.flush()
        s.drop("take.wav")
        s.pass_time(10, steps=10)
        assert s.queue.jobs == {}
        writer.write(SOFTER[20:])
    s.pass_time(40, steps=80)
    assert order_of(s).tags["title"] == ["Morning"]


def test_a_sidecar_whose_sound_never_comes_is_failed(studio):
    s = studio()
    s.drop("take.yaml", SOFTER)
    s.pass_time(590, steps=59)
    assert s.files() == ["take.yaml"]
    s.pass_time(30, steps=10)
    assert "no sound beside it" in reason(s, "take.yaml")


def test_a_folder_may_require_sidecars(studio):
    s = studio(LEVEL.replace("take\n", "require\n", 1))
    s.drop("one.wav")
    s.drop("two.wav")
    s.pass_time(300, steps=30)
    s.drop("one.yaml", SOFTER)
    s.pass_time(5, steps=10)
    assert s.names == ["one.wav"]
    s.pass_time(310, steps=31)
    assert "no sidecar beside it" in reason(s, "two.wav")


def test_a_folder_that_says_nothing_takes_no_notice(studio):
    s = studio(LEVEL.replace("sidecars: take", ""))
    s.drop("take.yaml", SOFTER)
    s.drop("take.wav")
    s.pass_time(5, steps=10)
    assert order_of(s).steps[0].params["target_lufs"] == -20
    assert "failed/take.yaml" in s.files()


def test_a_failed_sound_is_retried_with_its_sidecar(studio):
    s = studio()
    s.drop("take.yaml", SOFTER)
    s.drop("take.wav")
    s.pass_time(5, steps=10)
    s.finish("failed", error_kind="X", error="no")
    (job,) = s.queue.jobs
    assert s.manager.bring_back(job)
    assert s.files() == [f"processing/{job}/take.wav", f"processing/{job}/take.yaml"]


def test_after_a_crash_between_the_two_both_are_found_again(studio):
    s = studio()
    s.drop("processing/lost/take.wav")
    s.drop("take.yaml", SOFTER)
    s.restart()
    s.pass_time(5, steps=10)
    assert s.names == ["take.wav"]
    assert order_of(s).tags["title"] == ["Morning"]


# -- further sounds --------------------------------------------------------------------------------
DUCK = """
sidecars: take
rules:
  - name: under the voice
    match: {glob: "bed*"}
    steps: [{sidechain_duck: {trigger_file: "{input:voice}"}}]
  - name: alone
    steps: [loudness]
"""
VOICE = b"sounds: {voice: host.wav}"


@pytest.mark.parametrize("first", ["bed.wav", "host.wav"])
def test_a_sidecar_names_further_sounds_that_are_taken_with_its_own(first, studio):
    s = studio(DUCK)
    s.drop("a/bed.yaml", VOICE)
    s.pass_time(3, steps=6)
    s.drop(f"a/{first}")
    s.pass_time(3, steps=6)
    assert s.queue.jobs == {}

    for name in {"bed.wav", "host.wav"} - {first}:
        s.drop(f"a/{name}")
    s.pass_time(6, steps=12)
    (job,) = s.queue.jobs
    order = order_of(s)
    assert order.sound.path == s.root / f"processing/{job}/a/bed.wav"
    assert order.steps[0].sounds["trigger_file"].path == s.root / f"processing/{job}/a/host.wav"
    s.finish()
    assert s.files() == ["done/a/bed.wav", "done/a/bed.yaml", "done/a/host.wav"]


def test_a_further_sound_that_never_comes_fails_the_sound_by_its_name(studio):
    s = studio(DUCK)
    s.drop("bed.yaml", VOICE)
    s.drop("bed.wav")
    s.pass_time(700, steps=400)
    assert "host.wav, which its sidecar names" in reason(s, "bed.wav")
    assert s.queue.jobs == {}


def test_a_further_sound_is_one_like_any_other_when_its_sidecar_is_not_used(studio):
    s = studio(DUCK)
    s.drop("bed.yaml", b"sounds: {voice: host.wav}\nparams: {warp: {}}")
    s.pass_time(3, steps=6)
    s.drop("host.wav")
    s.drop("bed.wav")
    s.pass_time(6, steps=12)
    assert "params.warp" in reason(s, "bed.wav")
    (job,) = s.queue.jobs.values()
    assert (job.input_name, job.endpoint.rpartition("/")[2]) == ("host.wav", "alone")


@pytest.mark.parametrize("name", ["../host.wav", "/etc/passwd", "bed.flac", ".."])
def test_a_sidecar_names_only_what_lies_beside_it(name, studio):
    s = studio(DUCK)
    s.drop("bed.yaml", json.dumps({"sounds": {"voice": name}}).encode())
    s.drop("bed.wav")
    s.pass_time(6, steps=12)
    assert "must be the name of another file beside it" in reason(s, "bed.wav")


def test_a_sound_without_what_its_rule_needs_is_refused(studio):
    s = studio(DUCK)
    s.drop("bed.wav")
    s.pass_time(6, steps=12)
    assert "names the member voice" in reason(s, "bed.wav")
