import numpy as np
import pytest
from pydantic import Field

from handlers import chain
from handlers.artifacts import Audio, Blocks, Midi, Png, Result, SourceFile
from handlers.codecs.reader import open_sound
from handlers.declare import Example, Params, Progress, describe
from handlers.errors import BadParameter, Cancelled, CannotProcess, MissingInput
from tests.sounds import tone, write_wav

RATE = 8000
MEMORY = 10_000_000


class Amount(Params):
    factor: float = Field(2.0, description="Multiplies every sample.")


def times(sound: Blocks, p: Amount) -> Blocks:
    """Multiply."""
    return sound.like(lambda: (block * np.float32(p.factor) for block in sound))


class Levelled(Result):
    audio: Blocks
    measured_peak: float


def level(sound: Blocks) -> Levelled:
    """Bring the peak to 1: measure, then apply."""
    peak = max((float(np.abs(block).max()) for block in sound), default=0.0)
    return Levelled(
        audio=sound.like(lambda: (block / np.float32(peak) for block in sound)),
        measured_peak=peak,
    )


def backwards(sound: Audio) -> Audio:
    """Reverse."""
    return sound.like(sound.samples[:, ::-1])


class Count(Result):
    frames: int


def count(sound: Blocks) -> Count:
    """Count frames by reading."""
    return Count(frames=sum(block.shape[1] for block in sound))


def draw(sound: Blocks) -> Png:
    """A picture."""
    return Png(b"%d" % sum(block.shape[1] for block in sound))


def late_refusal(sound: Blocks) -> Blocks:
    """Refuse in the middle."""

    def passing():
        yield from sound
        raise CannotProcess("no")

    return sound.like(passing)


def slow(sound: Blocks, progress: Progress) -> Blocks:
    """Work before the pass."""
    progress(0.5)
    return sound


def op(func, **about):
    return describe(func, route="/x", category="editing", examples=[Example("x")], **about)


class Source:
    """A sound that counts how often it is read from its start."""

    def __init__(self, frames=10_000, block=1000, channels=2):
        values = np.arange(channels * frames, dtype=np.float32).reshape(channels, frames) + 1
        self.samples = values / values.size
        self.passes = 0

        def make():
            self.passes += 1
            for at in range(0, frames, block):
                yield np.ascontiguousarray(self.samples[:, at : at + block])

        self.sound = Blocks(make, rate=RATE, channels=channels, frames=frames)


def run(source, *ops, memory=MEMORY, tell=lambda fraction, label: None, scratch=None):
    described = [o if not callable(o) else op(o) for o in ops]
    steps = [chain.Step(o, o.read_params({})) for o in described]
    monitor = chain.Monitor(tell, chain.passes_of(described))
    desk = chain.Desk(lambda: scratch, memory)
    outcome = chain.run(source.sound, steps, desk, monitor)
    if outcome.sound is not None:
        outcome.sound = monitor.watch(outcome.sound, "write")
    return outcome


def samples(outcome):
    return outcome.sound.whole().samples


def test_streaming_steps_are_one_pass_over_the_source():
    source = Source()

    out = samples(run(source, times, times, times))

    assert source.passes == 1
    np.testing.assert_array_equal(out, source.samples * 8)


def test_measure_then_apply_decodes_once_what_fits_in_memory():
    source = Source()

    outcome = run(source, times, op(level, passes=2), times)

    assert samples(outcome).max() == pytest.approx(2.0)
    assert source.passes == 1
    assert outcome.reports[1].facts == {"measured_peak": pytest.approx(2.0)}


def test_measure_then_apply_decodes_twice_what_does_not_fit():
    source = Source()

    out = samples(run(source, times, op(level, passes=2), memory=1000))

    assert out.max() == pytest.approx(1.0)
    assert source.passes == 2


def test_a_step_that_needs_everything_gets_it_between_streaming_ones():
    source = Source()

    out = samples(run(source, times, backwards, times))

    np.testing.assert_array_equal(out, source.samples[:, ::-1] * 4)


def test_a_large_whole_sound_lies_in_a_mapped_scratch_file(tmp_path):
    source = Source()

    out = samples(run(source, backwards, memory=100, scratch=tmp_path))

    assert [p.name for p in tmp_path.iterdir()] == ["whole-0-sound.npy"]
    np.testing.assert_array_equal(out, source.samples[:, ::-1])


def test_reports_and_pictures_let_the_sound_pass():
    source = Source()

    outcome = run(source, count, times, draw)

    assert outcome.reports[0].facts == {"frames": 10_000}
    assert [(f.op, f.file.data) for f in outcome.files] == [("draw", b"10000")]
    np.testing.assert_array_equal(samples(outcome), source.samples * 2)
    assert source.passes == 1


def test_a_chain_of_reports_leaves_the_sound_unchanged():
    assert not run(Source(), count).changed
    assert run(Source(), times).changed


def test_progress_rises_from_pass_to_pass_and_names_the_step():
    told = []

    samples(run(Source(), times, op(level, passes=2), times, tell=lambda f, s: told.append((f, s))))

    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert fractions[9] == pytest.approx(0.5)
    assert [label for _, label in told] == ["level"] * 10 + ["write"] * 10


def test_a_step_may_tell_its_own_progress():
    told = []

    run(Source(), slow, tell=lambda f, s: told.append((f, s)))

    assert told == [(0.5, "slow")]


def test_a_cancelled_chain_stops_at_the_next_block():
    source = Source()
    seen = []

    def tell(fraction, label):
        seen.append(fraction)
        if len(seen) == 3:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        samples(run(source, times, tell=tell))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "ops", [(times, late_refusal, times), (times, late_refusal, op(level, passes=2))]
)
def test_a_refusal_names_the_step_even_when_it_comes_late(ops):
    with pytest.raises(CannotProcess) as refused:
        samples(run(Source(), *ops))

    assert (refused.value.step, refused.value.op) == (1, "late_refusal")


def test_a_missing_sound_is_refused():
    described = op(times)
    steps = [chain.Step(described, described.read_params({}))]

    with pytest.raises(MissingInput) as refused:
        chain.run(None, steps, chain.Desk(lambda: None, 0), chain.Monitor(lambda f, s: None, 1))
    assert refused.value.step == 0


class Halves(Result):
    left: Blocks
    right: Blocks


def halves(sound: Blocks) -> Halves:
    """Two sounds."""
    one = sound.like(lambda: (block[:1] for block in sound), channels=1)
    two = sound.like(lambda: (block[1:] for block in sound), channels=1)
    return Halves(left=one, right=two)


def test_several_sounds_come_out_by_name():
    source = Source()

    outcome = run(source, halves)

    assert list(outcome.sounds) == ["left", "right"]
    np.testing.assert_array_equal(outcome.sounds["right"].whole().samples, source.samples[1:])


def test_nothing_that_needs_one_sound_follows_several():
    with pytest.raises(BadParameter, match="gives several") as refused:
        chain.check_order([op(halves), op(times)])
    assert refused.value.step == 1


def test_a_stated_length_that_is_not_there_is_refused():
    source = Source()
    source.sound._frames = 20_000

    with pytest.raises(CannotProcess, match="10000 of 20000"):
        samples(run(source, backwards))


# -- MIDI ----------------------------------------------------------------------------------------
def written() -> Midi:
    """Write a MIDI file."""
    return Midi(b"MThd written")


def longer(file: Midi) -> Midi:
    """Add to a MIDI file."""
    return Midi(file.data + b" longer")


class Size(Result):
    size: int


def sized(file: Midi) -> Size:
    """Measure a MIDI file."""
    return Size(size=len(file.data))


def played(file: Midi) -> Blocks:
    """As many frames as bytes."""
    samples = np.ones((1, len(file.data)), np.float32)
    return Blocks(lambda: iter([samples]), rate=RATE, channels=1, frames=len(file.data))


def heard_notes(sound: Blocks) -> Midi:
    """A note for each frame."""
    return Midi(b"n" * sound.frames)


def run_midi(*funcs, midi=None, sound=None):
    steps = [chain.Step(o := op(func), o.read_params({})) for func in funcs]
    desk = chain.Desk(lambda: None, MEMORY)
    chain.check_order([step.op for step in steps])
    return chain.run(sound, steps, desk, chain.Monitor(lambda f, s: None, 1), midi=midi)


def test_a_midi_file_flows_through_the_steps_and_only_the_last_is_delivered():
    outcome = run_midi(longer, sized, longer, midi=Midi(b"MThd"))
    assert [side.file.data for side in outcome.files] == [b"MThd longer longer"]
    assert outcome.reports[1].facts == {"size": len(b"MThd longer")}


def test_a_midi_file_that_nothing_changed_is_not_delivered():
    assert not run_midi(sized, midi=Midi(b"MThd")).files


def test_what_was_written_may_be_played_and_changed_as_any_sound():
    outcome = run_midi(written, longer, played, times)
    assert outcome.sound.whole().samples.tolist() == [[2.0] * len(b"MThd written longer")]
    assert not outcome.files


def test_notes_heard_in_a_sound_flow_on_and_the_sound_stays():
    source = Source(frames=5)
    outcome = run_midi(heard_notes, longer, sound=source.sound)
    assert [side.file.data for side in outcome.files] == [b"nnnnn longer"]
    assert outcome.sound.frames == 5


@pytest.mark.parametrize(
    ("funcs", "message"),
    [
        pytest.param((times, longer), "longer needs a MIDI file; no step", id="sound only"),
        pytest.param((longer, times), "times needs one sound; there is only MIDI", id="MIDI only"),
    ],
)
def test_sound_and_midi_are_not_taken_for_each_other(funcs, message):
    with pytest.raises(BadParameter, match=message):
        chain.check_order([op(func) for func in funcs])


def name_of(file: SourceFile) -> Count:
    """Look at the file without reading the sound."""
    return Count(frames=len(file.file.name))


def test_a_step_on_the_file_gets_the_very_file_and_the_sound_passes(tmp_path):
    sound = open_sound(write_wav(tone(seconds=0.1), tmp_path / "four.wav"))
    steps = [chain.Step(o, o.read_params({})) for o in (op(level), op(name_of))]
    desk = chain.Desk(lambda: tmp_path, MEMORY)
    monitor = chain.Monitor(lambda fraction, label: None, 1)

    outcome = chain.run(sound, steps[1:], desk, monitor)
    assert outcome.reports[0].facts == {"frames": len("four.wav")}
    assert not outcome.changed

    with pytest.raises(BadParameter, match="must stand before every step that changes"):
        chain.run(sound, steps, desk, monitor)
    with pytest.raises(BadParameter, match="must stand before every step that changes"):
        chain.run(sound, steps[1:], desk, monitor, changed=True)
    with pytest.raises(BadParameter):
        chain.run(tone().blocks(), steps[1:], desk, monitor)


def test_the_order_of_such_steps_is_checked_before_anything_runs():
    chain.check_order([op(name_of), op(level)])
    with pytest.raises(BadParameter, match="must stand before"):
        chain.check_order([op(level), op(name_of)])
