import json

import pytest

from rules.orders import Order
from tests.daemon.inboxes import Studio, wav


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/take 7.wav").write_bytes(wav())
    return folder


@pytest.fixture
def studio(tmp_path, archive):
    rules = f"""
tickets: {{roots: ["{archive}"]}}
rules:
  - match: {{ext: wav}}
    steps: [{{normalize: {{target_lufs: -20}}}}]
"""
    made = Studio(tmp_path, rules)
    yield made
    made.manager.stop()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_ticket_orders_work_on_a_sound_that_stays_where_it_is(absolute, studio, archive):
    sound = "deep/take 7.wav"
    said = {
        "sound": str(archive / sound) if absolute else sound,
        "params": {"normalize": {"target_lufs": -26.0}},
    }
    studio.drop("a/monday.job.yaml", json.dumps(said).encode())
    studio.pass_time(4, steps=8)

    (job,) = studio.queue.jobs.values()
    order = Order.model_validate_json(job.order)
    assert order.sound.path == archive / sound
    assert order.steps[0].params["target_lufs"] == -26
    studio.finish()
    assert studio.files() == ["done/a/monday.job.yaml"]
    assert (archive / sound).read_bytes() == wav()


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        ("/etc/passwd", "lies in none of the allowed folders"),
        ("../secret.wav", "lies in none of the allowed folders"),
        ("{archive}/../secret.wav", "lies in none of the allowed folders"),
        ("link.wav", "reached by a link"),
        ("up/secret.wav", "reached by a link"),
        ("deep", "is no plain file"),
        ("gone.wav", "No such file"),
    ],
)
def test_a_ticket_that_points_out_of_the_roots_is_refused(sound, told, studio, archive, tmp_path):
    (tmp_path / "secret.wav").write_bytes(wav())
    (archive / "link.wav").symlink_to(tmp_path / "secret.wav")
    (archive / "up").symlink_to(tmp_path)
    said = json.dumps({"sound": sound.format(archive=archive)})
    studio.drop("x.job.yaml", said.encode())
    studio.pass_time(4, steps=8)

    assert studio.queue.jobs == {}
    reason = json.loads((studio.root / "failed/x.job.yaml.json").read_text())
    assert told in reason["error"]
    assert "x.job.yaml: sound" in reason["error"]


def test_a_ticket_without_a_sound_is_told_the_key(studio):
    studio.drop("x.job.yaml", b"tags: {title: x}")
    studio.pass_time(4, steps=8)
    reason = json.loads((studio.root / "failed/x.job.yaml.json").read_text())
    assert reason["error"] == "x.job.yaml: sound: Field required"


def test_a_sound_that_is_not_complete_is_waited_for(studio, archive):
    (archive / "new.wav").write_bytes(wav(1000)[:500])
    studio.drop("x.job.yaml", b"sound: new.wav")
    studio.pass_time(10, steps=10)
    assert studio.queue.jobs == {}
    assert studio.manager.status().folders[0].waiting_for == (
        ("x.job.yaml", "new.wav is not complete yet"),
    )
    (archive / "new.wav").write_bytes(wav(1000))
    studio.pass_time(5, steps=5)
    assert studio.names == ["x.job.yaml"]


def test_a_sound_that_stays_incomplete_fails_its_ticket(studio, archive):
    (archive / "new.wav").write_bytes(wav(1000)[:500])
    studio.drop("x.job.yaml", b"sound: new.wav")
    studio.pass_time(620, steps=310)
    reason = json.loads((studio.root / "failed/x.job.yaml.json").read_text())
    assert "new.wav is not complete after 600 s" in reason["error"]


def test_a_failed_ticket_is_retried(studio):
    studio.drop("x.job.yaml", b"sound: deep/take 7.wav")
    studio.pass_time(4, steps=8)
    studio.finish("failed", error_kind="X", error="no")
    (job,) = studio.queue.jobs
    assert studio.manager.bring_back(job)
    assert studio.files() == [f"processing/{job}/x.job.yaml"]


# -- several sounds --------------------------------------------------------------------------------
def duck(archive):
    return f"""
tickets: {{roots: ["{archive}"]}}
rules:
  - match: {{ext: wav}}
    steps: [{{sidechain_duck: {{trigger_file: "{{input:voice}}"}}}}]
"""


def refused(s, name):
    return json.loads((s.root / f"failed/{name}.json").read_text())["error"]


def test_a_ticket_names_further_sounds_that_the_steps_take(studio, archive):
    (studio.root / "rules.yaml").write_text(duck(archive))
    (archive / "host.wav").write_bytes(wav(300))
    said = {"sound": "deep/take 7.wav", "sounds": {"voice": "host.wav"}}
    studio.drop("x.job.yaml", json.dumps(said).encode())
    studio.pass_time(6, steps=12)

    (job,) = studio.queue.jobs.values()
    order = Order.model_validate_json(job.order)
    assert order.sound.path == archive / "deep/take 7.wav"
    assert order.steps[0].sounds["trigger_file"].path == archive / "host.wav"
    studio.finish()
    assert studio.files() == ["done/x.job.yaml"]
    assert (archive / "host.wav").exists()


def test_a_further_sound_that_is_not_complete_is_waited_for(studio, archive):
    (studio.root / "rules.yaml").write_text(duck(archive))
    (archive / "host.wav").write_bytes(wav(300)[:200])
    said = {"sound": "deep/take 7.wav", "sounds": {"voice": "host.wav"}}
    studio.drop("x.job.yaml", json.dumps(said).encode())
    studio.pass_time(6, steps=12)
    assert studio.queue.jobs == {}

    (archive / "host.wav").write_bytes(wav(300))
    studio.pass_time(6, steps=12)
    assert len(studio.queue.jobs) == 1


@pytest.mark.parametrize(
    ("sounds", "told"),
    [
        ({"voice": "../secret.wav"}, "x.job.yaml: sounds.voice: ../secret.wav lies in none"),
        ({"other": "deep/take 7.wav"}, "names the member voice; the set has: sound, other"),
        ({}, "names the member voice; the set has: sound"),
    ],
)
def test_a_ticket_whose_sounds_are_not_what_the_steps_take_is_refused(
    sounds, told, studio, archive
):
    (studio.root / "rules.yaml").write_text(duck(archive))
    said = {"sound": "deep/take 7.wav", "sounds": sounds}
    studio.drop("x.job.yaml", json.dumps(said).encode())
    studio.pass_time(6, steps=12)
    assert studio.queue.jobs == {}
    assert told in refused(studio, "x.job.yaml")


def test_a_sound_that_is_dropped_where_only_a_ticket_can_name_the_others_is_refused(
    studio, archive
):
    (studio.root / "rules.yaml").write_text(duck(archive))
    studio.drop("alone.wav")
    studio.pass_time(6, steps=12)
    assert studio.queue.jobs == {}
    assert "names the member voice" in refused(studio, "alone.wav")
