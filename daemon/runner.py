"""Runs one claim: opens its sounds, runs its chain, delivers what comes out.

The only place where a reference becomes an open file, and the only place
where results get their names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from daemon import scratch
from daemon.delivering.recording import Recording
from daemon.delivery import Access, Drafts, publish
from daemon.execution import CHORE, Claim, Context, Finished, HandOver
from daemon.recall import content_of
from daemon.settings import Settings
from daemon.taking.again import linked
from daemon.taking.fitting import check_fit
from daemon.taking.twice import key_of, samples_of, told
from daemon.work.branching import Tree, is_state
from daemon.work.delivering import wants_sound, write_beside, write_sound
from daemon.work.measuring import check_results, measure
from daemon.work.naming import Names, length_of, tagged
from daemon.work.nodes import passes_of
from daemon.work.opening import Opener, segment_of
from daemon.work.room import desk_of
from daemon.work.story import Story
from handlers import chain
from handlers.artifacts import (
    Blocks,
    Metadata,
    Midi,
)
from handlers.declare import Operation
from handlers.errors import (
    DISK_FULL,
    STORAGE_AWAY,
    StorageFailed,
    StorageFull,
    TooLarge,
    UnreadableInput,
)
from handlers.measured import Measured
from handlers.registry import find
from handlers.soundfonts import shelf as soundfonts
from rules.match import SoundFacts
from rules.orders import Once, Order
from rules.plan import asked, choose, fitting


def prepare(settings: Settings) -> None:
    """Tell the handlers of this process what they need to know of the settings."""
    soundfonts.default = settings.soundfont


def run(claim: Claim, context: Context) -> Finished | HandOver:
    """Run a claim to its end or to its next lane change.

    Raises:
        AudiollaError: why it cannot be done; `transient` when it may pass.
    """
    with _storage_faults(context.settings):
        if claim.intent is not None and not publish(claim.intent):
            return _done(claim, claim.intent.result)
        if claim.order.startswith(CHORE):
            # Chores go to the database and wherever files were delivered; no decoder may.
            return HandOver(next_step=0, lane="net", carried=None, finished=[])
        order = claim.read_order()
        if order.sound is None and not order.steps and not order.choose:
            return Finished(result={})
        attempt = _Attempt(claim, context)
        done = attempt.run(order)
        if isinstance(done, HandOver) and order.choose:
            # Whoever takes over need not measure again which rule it was.
            done = done.model_copy(update={"finished": [*done.finished, attempt.chosen]})
        return done


def _done(claim: Claim, result: dict[str, Any] | HandOver) -> Finished | HandOver:
    """The end of the work; what is to be sent is now the business of a network worker."""
    if isinstance(result, HandOver):
        return result
    if claim.errands is not None and claim.errands.send and result["outputs"]:
        return HandOver(next_step=claim.next_step, lane="net", carried=None, finished=[])
    return Finished(result=result)


#: A target that lost its permissions gets them back as little by our doing as a share that is away.
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class _Attempt:
    """One attempt at one order."""

    def __init__(self, claim: Claim, context: Context) -> None:
        self.claim = claim
        self.context = context
        self.order = Order()
        #: The rules that were chosen, for the hand-over.
        self.chosen: dict[str, Any] = {}

    def run(self, order: Order) -> Finished | HandOver:
        claim = self.claim
        opener = Opener(self.context.settings)
        source, midi = opener.source(order)
        if order.choose:
            source, order = self._chosen(order, source, midi)
        self.order = order
        operations = [find(step.op) for step in order.steps]
        _check_start(operations, midi)
        kinds = [find(step.op).kind_for(step.params) for step in order.steps]
        chain.check_order(operations, kinds)
        here = claim.next_step
        lanes = [find(step.op).lane_for(step.params) for step in order.steps]
        if here < len(lanes) and lanes[here] != self.context.lane:
            # Only the header could tell which rule applies, and its first step is for elsewhere.
            return HandOver(
                next_step=here,
                lane=lanes[here],
                carried=claim.carried,
                finished=claim.finished,
            )
        if order.fit and here == 0 and claim.carried is None:
            check_fit([opener.sound(ref) for ref in order.members])
        if order.once is not None and here == 0 and claim.carried is None:
            again = self._again(order, order.once, source, midi, opener)
            if again is not None:
                return _done(claim, again)
        if order.tags and source is not None and source.facts is not None:
            source.facts = tagged(source.facts, order.tags)
        sound = None if order.sound is None else source
        if claim.carried is not None:
            sound = scratch.get(claim.carried, source.facts if source else None)
        before = None
        if order.measure and sound is not None and here == 0:
            before = Measured(sound)
            sound = before.sound
        if is_state(claim.finished):
            return _done(claim, Tree(claim, self.context, opener, order, source).resume())
        stop, lane = segment_of(lanes, here)
        steps = opener.steps(order.steps[here:stop], here)
        passes = chain.passes_of([s.op for s in steps]) + passes_of(order)
        monitor = chain.Monitor(self.context.progress, passes)
        content = None
        if order.sound is not None and claim.carried is None:
            content = partial(content_of, order.sound.path)
        story = Story.of(claim.finished)
        outcome = chain.run(
            sound,
            steps,
            desk_of(self.context),
            monitor,
            midi=story.midi or midi,
            changed=story.changed,
            first=here,
            content=content,
        )
        story.add(outcome)
        if lane is not None:
            carried = None
            if outcome.sound is not None:
                waiting = monitor.watch(outcome.sound, "hand over")
                carried = scratch.put(waiting, self.context.scratch, stop)
            if before is not None:
                story.before = before.facts()
            finished = story.keep(self.context)
            return HandOver(next_step=stop, lane=lane, carried=carried, finished=finished)
        if order.branches:
            tree = Tree(claim, self.context, opener, order, source)
            return _done(claim, tree.grow(outcome, story, before, monitor))
        return _done(claim, self._deliver(source or midi, outcome, story, before, monitor))

    def _again(
        self,
        order: Order,
        once: Once,
        source: Blocks | None,
        midi: Midi | None,
        opener: Opener,
    ) -> dict[str, Any] | None:
        """The result for a sound that was worked on in the same way before; None for a new one."""
        if midi is not None:
            samples = f"midi {content_of(once.sound.path)}"
        else:
            samples = samples_of(source or opener.sound(once.sound))
        key = key_of(order, once, samples)
        earlier = self.context.first(key)
        if earlier is None or once.policy == "skip" or order.delivery is None:
            return None if earlier is None else told(earlier)
        delivery = order.delivery

        def names(result: Mapping[str, Any]) -> Names:
            story = Story()
            story.reports = [
                chain.StepReport(step["step"], step["op"], step["params"], step["result"])
                for step in result["steps"]
            ]
            return Names(order, delivery, self.claim.id, source or midi, story)

        # Which of several deliveries a file belongs to is not told: they are made anew.
        result = None
        if not order.branches:
            result = linked(
                earlier, Recording(self.claim.id, order), source or midi, self.context, names
            )
        if result is None:
            self.context.first(key, take=True)
        return result

    def _chosen(
        self, order: Order, source: Blocks | None, midi: Midi | None
    ) -> tuple[Blocks | None, Order]:
        """The order that the file's header, and what is measured in it, decide for."""
        for entry in self.claim.finished:
            if "chosen" in entry:
                self.chosen = entry
                return source, choose(order, entry["chosen"])
        if source is not None and any(choice.when for choice in order.choose):
            # Read for the conditions and then for the steps: kept between the two if it is small.
            source = source.remembered(self.context.settings.memory_per_sound)

        def measuring(names: frozenset[str]) -> Mapping[str, Any]:
            if source is None or order.sound is None:
                return {}
            content = partial(content_of, order.sound.path)
            return measure(self.context, source, names, content)

        rules = fitting(order, _facts(order, source, midi), measuring)
        self.chosen = {"chosen": rules}
        return source, choose(order, rules)

    def _deliver(
        self,
        source: Blocks | Midi | None,
        outcome: chain.Outcome,
        story: Story,
        before: Measured | None,
        monitor: chain.Monitor,
    ) -> dict[str, Any]:
        delivery = self.order.delivery
        if delivery is None:
            return story.result()
        names = Names(self.order, delivery, self.claim.id, source, story)
        recording = Recording(self.claim.id, self.order)
        with Drafts(
            self.claim.id,
            delivery.folder,
            replace=delivery.conflict == "replace",
            max_bytes=delivery.max_bytes,
            replaced=recording.replaced,
            inspect=recording.inspect,
            fleeting=delivery.fleeting,
            access=Access(delivery.mode, delivery.owner),
        ) as drafts:
            if wants_sound(delivery, story):
                write_sound(self.context, names, story, outcome, drafts, monitor)
            check_results(self.context, drafts.since(0))
            write_beside(names, story, outcome, drafts)
            if before is not None:
                story.before = before.facts()
            recording.add_to(drafts, source)
            return drafts.publish(self.context, recording.with_facts(story.result))


def _check_start(operations: list[Operation], midi: Midi | None) -> None:
    """Refuse a MIDI file where the first step wants a sound."""
    if midi is None or not operations or operations[0].sound is None:
        return
    if operations[0].sound.kind != "midi":
        wrong = UnreadableInput(f"this is a MIDI file; {operations[0].name} needs a sound")
        wrong.step, wrong.op = 0, operations[0].name
        raise wrong


def _facts(order: Order, source: Blocks | None, midi: Midi | None) -> SoundFacts:
    """What the rules that travel with the order ask of the file's header."""
    given = source or midi
    # Where the container does not tell, the length costs a pass: only if a rule asks.
    duration = length_of(given) if given is not None and "duration" in asked(order) else None
    if source is None:
        return SoundFacts(duration=duration)
    metadata = source.facts.metadata if source.facts else Metadata()
    return SoundFacts(
        duration=duration,
        channels=source.channels,
        sample_rate=source.rate,
        tags=metadata.tags,
        format=source.facts.container if source.facts else None,
    )


@contextmanager
def _storage_faults(settings: Settings) -> Iterator[None]:
    """Say which faults of a disk or mount may pass."""
    try:
        yield
    except OSError as wrong:
        where = os.fsdecode(wrong.filename) if wrong.filename else "a file"
        if wrong.errno in DISK_FULL:
            raise StorageFull(f"no space left for {where}") from wrong
        if wrong.errno == errno.EFBIG:
            limit = settings.max_output_bytes
            raise TooLarge(
                f"{where} would be larger than {limit} bytes, one file's limit"
            ) from wrong
        if wrong.errno in STORAGE_AWAY | _NOT_ALLOWED:
            raise StorageFailed(f"{where}: {wrong.strerror}") from wrong
        raise
