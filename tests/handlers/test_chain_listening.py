"""Steps of a chain that listen to one sound share what they hear, and what was heard before."""

import numpy as np
import pytest
from pydantic import Field

from handlers import chain
from handlers.artifacts import Blocks, Midi, Result
from handlers.declare import Example, Params, describe
from handlers.hearing import SOUND, Derived, Heard, Listened
from tests.sounds import as_blocks, noise

LIMIT = 10_000_000
PASSES, COMPUTED = [], []


class Largest:
    def __init__(self, form):
        PASSES.append(form)
        self.peak = 0.0

    def add(self, piece):
        self.peak = max(self.peak, float(np.abs(piece).max()))

    def done(self):
        return self.peak


PEAK = Listened("peak", version=1, stage=SOUND, begin=Largest)
FRAMES = Listened("frames", version=1, stage=SOUND, begin=Largest)
DOUBLE = Derived("double", version=1, needs=(PEAK,), compute=lambda h: 2 * h[PEAK])


class Told(Result):
    value: float
    midi: Midi | None = None


class Digits(Params):
    digits: int = Field(9, description="Digits shown.")
    as_midi: bool = Field(False, description="Also as MIDI.")


def loudest(sound: Heard, p: Digits) -> Told:
    """The largest sample."""
    COMPUTED.append("loudest")
    return Told(value=round(sound[PEAK], p.digits), midi=Midi(b"MThd") if p.as_midi else None)


def doubled(sound: Heard) -> Told:
    """Twice the largest sample."""
    COMPUTED.append("doubled")
    return Told(value=sound[DOUBLE] + 0 * sound[FRAMES])


class Factor(Params):
    factor: float = Field(0.5, description="Multiplies every sample.")


def times(sound: Blocks, p: Factor) -> Blocks:
    """Multiply."""
    return sound.like(lambda: (block * np.float32(p.factor) for block in sound))


def op(func, **about):
    return describe(func, route="/x", category="analysis", examples=[Example("x")], **about)


def ops(version=1):
    return {
        "loudest": op(loudest, hears=(PEAK,), version=version),
        "doubled": op(doubled, hears=(DOUBLE, FRAMES)),
        "times": op(times),
    }


@pytest.fixture(autouse=True)
def _counted():
    PASSES.clear()
    COMPUTED.clear()


class Memory(dict):
    """A recall that keeps everything."""

    put = dict.__setitem__


def run(*steps, recall=None, content="hash", known=None, further=None):
    known = known or ops()
    made = [
        chain.Step(known[name], known[name].read_params(params), further or {})
        for name, params in steps
    ]
    desk = chain.Desk(lambda: None, LIMIT, recall)
    monitor = chain.Monitor(lambda fraction, label: None, 1)
    sound = as_blocks(noise(seconds=0.1, peak_db=0), 512)
    return chain.run(sound, made, desk, monitor, content=lambda: content)


def values(outcome):
    return [report.facts.get("value") for report in outcome.reports]


def test_listening_steps_share_one_pass_and_every_feature():
    outcome = run(("loudest", {}), ("doubled", {}), ("loudest", {"digits": 1}))
    one, two, again = values(outcome)
    assert two == pytest.approx(2 * one)
    assert again == pytest.approx(one, abs=0.05)
    assert len(PASSES) == 2, "peak and frames once each"


def test_a_changed_sound_is_heard_anew():
    before, after = values(run(("loudest", {}), ("times", {}), ("loudest", {})))[::2]
    assert after == pytest.approx(before / 2)


def test_an_artifact_that_was_not_asked_for_is_no_fact():
    plain, asked = run(("loudest", {})), run(("loudest", {"as_midi": True}))
    assert plain.reports[0].facts.keys() == asked.reports[0].facts.keys() == {"value"}
    assert not plain.files
    assert asked.files[0].name == "midi"


def test_asking_again_is_a_look_up_also_after_the_same_changes():
    recall = Memory()
    steps = ("loudest", {}), ("times", {}), ("doubled", {})
    first = values(run(*steps, recall=recall))
    COMPUTED.clear()
    PASSES.clear()
    assert values(run(*steps, recall=recall)) == first
    assert not COMPUTED
    assert not PASSES


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"content": "another"}, id="another sound"),
        pytest.param({"known": ops(version=2)}, id="another version of the operation"),
        pytest.param({"digits": 3}, id="other parameters"),
        pytest.param({"before": {"factor": 0.25}}, id="another change before"),
    ],
)
def test_what_may_differ_is_a_miss(other):
    recall = Memory()
    run(("times", {}), ("loudest", {}), recall=recall)
    COMPUTED.clear()
    digits = {"digits": other.pop("digits")} if "digits" in other else {}
    run(("times", other.pop("before", {})), ("loudest", digits), recall=recall, **other)
    assert COMPUTED == ["loudest"]


def test_another_version_of_a_feature_is_a_miss(monkeypatch):
    recall = Memory()
    run(("doubled", {}), recall=recall)
    newer = Listened("peak", version=2, stage=SOUND, begin=Largest)
    needs_newer = Derived("double", version=1, needs=(newer,), compute=lambda h: 2 * h[newer])
    monkeypatch.setitem(globals(), "DOUBLE", needs_newer)
    COMPUTED.clear()
    run(("doubled", {}), recall=recall)
    assert COMPUTED == ["doubled"]


def test_files_are_made_each_time():
    recall = Memory()
    for _ in range(2):
        assert run(("loudest", {"as_midi": True}), recall=recall).files
