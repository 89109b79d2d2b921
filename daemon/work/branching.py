"""Several deliveries from one sound, which is decoded and computed once.

Deliveries that only need the sound once and in order (trimmed, faded, encoded) are made side by
side in the pass that computes it. For those that listen, draw, or read it twice, the same pass
keeps it: in memory if it is small, else in a scratch file. A delivery whose steps belong to another
lane waits there for a worker of that lane, and what is written by then waits with it: nothing is
published before everything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from daemon.delivering.recording import Recording
from daemon.delivery import Access, Drafts
from daemon.execution import Claim, Context, HandOver
from daemon.recall import content_of
from daemon.scratch import Spool, spooled
from daemon.work.delivering import wants_sound, write_beside, write_sound
from daemon.work.measuring import check_results
from daemon.work.naming import Names
from daemon.work.nodes import Node, flat
from daemon.work.opening import Opener, segment_of
from daemon.work.room import desk_of
from daemon.work.story import Story
from daemon.work.writing import Writing
from handlers import chain
from handlers.artifacts import Blocks, Midi, Samples
from handlers.forked import forked, side_by_side
from handlers.measured import Measured
from rules.orders import Delivery, Order, path_from_text, path_to_text

_STATE = "deliveries"
#: In place of a node's number: the steps before all deliveries.
_ROOT = "root"


def is_state(finished: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a hand-over came from the midst of several deliveries."""
    return any(_STATE in one for one in finished)


@dataclass
class _Waiting:
    """A delivery that a worker of another lane goes on with."""

    node: int
    #: Its next step.
    at: int
    #: The spooled sound.
    carried: str | None
    story: list[dict[str, Any]]


class Tree:
    """The deliveries of one job, in one attempt."""

    def __init__(
        self, claim: Claim, context: Context, opener: Opener, order: Order, source: Blocks | None
    ) -> None:
        """Nothing is done yet."""
        self._claim, self._context, self._opener = claim, context, opener
        self._order, self._source = order, source
        self._recording = Recording(claim.id, order)
        self._nodes = flat(order)
        self._desk = desk_of(context)
        self._monitor = chain.Monitor(context.progress, 1)
        self._waiting: list[_Waiting] = []
        self._spools: list[Path] = []
        #: Files of sounds that other lanes read, by the identity of the sound.
        self._kept: dict[int, tuple[Blocks, str]] = {}
        #: What is known of the job so far: its steps, figures, and files that wait to be delivered.
        self._told: dict[str, Any] = {"steps": [], "after": [], "files": [], "root": {}, "said": {}}
        self._drafts = Drafts(claim.id, context.scratch, replace=False)

    # -- one attempt ---------------------------------------------------------------------------
    def grow(
        self,
        outcome: chain.Outcome,
        story: Story,
        before: Measured | None,
        monitor: chain.Monitor,
    ) -> dict[str, Any] | HandOver:
        """Make every delivery of what the shared steps gave: the job's result, or a hand-over."""
        self._monitor = monitor
        # A sound that the shared steps did not change is still that of the file.
        known = None
        if self._order.sound is not None and not story.changed and self._claim.carried is None:
            known = partial(content_of, self._order.sound.path)
        self._told["said"][_ROOT] = story.steps()
        with self._begin(set()) as self._drafts:
            delivery = self._order.delivery
            if delivery is not None:
                names = Names(self._order, delivery, self._claim.id, self._source, story)
                write_beside(names, story, outcome, self._folder(delivery))
            inner = {child for node in self._nodes for child in node.children}
            tops = [node for node in self._nodes if node.number not in inner]
            self._fan_out(tops, outcome.sound, outcome.midi, known)
            if before is not None:
                story.before = before.facts()
            self._told["root"] = story.result()
            return self._end()

    def resume(self) -> dict[str, Any] | HandOver:
        """Go on with the deliveries that wait for a worker of this lane."""
        (state,) = (one[_STATE] for one in self._claim.finished if _STATE in one)
        self._told = deepcopy(state["told"])
        waiting = [_Waiting(**one) for one in state["waiting"]]
        self._monitor = chain.Monitor(self._context.progress, len(waiting) + 1)
        done = {node.number for node in self._nodes}
        for one in waiting:
            done -= self._below(one.node)
        with self._begin(done, {one.node: one.at for one in waiting}) as self._drafts:
            for one in waiting:
                node = self._nodes[one.node]
                if node.lanes[one.at : one.at + 1] != [self._context.lane]:
                    self._waiting.append(one)
                    continue
                story = Story.of(one.story)
                facts = self._source.facts if self._source else None
                sound = spooled(path_from_text(one.carried), facts) if one.carried else None
                self._grow(node, one.at, sound, story.midi, story, None)
            return self._end()

    def _below(self, number: int) -> set[int]:
        return {number}.union(*(self._below(child) for child in self._nodes[number].children))

    def _begin(self, done: set[int], at: Mapping[int, int] | None = None) -> Drafts:
        """Files of this attempt: for their folders, or to wait if another lane has its turn yet."""
        elsewhere = any(
            lane != self._context.lane
            for node in self._nodes
            if node.number not in done
            for lane in node.lanes[(at or {}).get(node.number, 0) :]
        )
        waiting = self._context.scratch / f"ready-{len(self._told['files'])}"
        return Drafts(
            self._claim.id,
            self._context.scratch,
            replace=False,
            replaced=self._recording.replaced,
            inspect=self._recording.inspect,
            waiting=waiting if elsewhere else None,
        )

    def _end(self) -> dict[str, Any] | HandOver:
        if self._waiting:
            self._told["files"] += self._drafts.keep()
            first = self._waiting[0]
            state = {"told": self._told, "waiting": [vars(one) for one in self._waiting]}
            return HandOver(
                next_step=len(self._order.steps) + len(self._told["steps"]),
                lane=self._nodes[first.node].lanes[first.at],
                carried=None,
                finished=[{_STATE: state}],
            )
        self._drafts.adopt(self._told["files"])
        self._recording.add_to(self._drafts, self._source)
        return self._drafts.publish(self._context, self._recording.with_facts(self._result))

    def _result(self, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        root = self._told["root"]
        told: dict[str, Any] = root | {
            "steps": [*root["steps"], *self._told["steps"]],
            "outputs": outputs,
        }
        return told | ({"after": self._told["after"][0]} if self._told["after"] else {})

    # -- deliveries of one sound -----------------------------------------------------------------
    def _fan_out(
        self,
        nodes: Sequence[Node],
        sound: Blocks | None,
        midi: Midi | None,
        content: Callable[[], str] | None,
    ) -> None:
        mine = self._context.lane
        later = [node for node in nodes if node.lanes[:1] not in ([], [mine])]
        here = [node for node in nodes if node not in later]
        if sound is not None:
            reads = [node for node in here if node.branch.takes_sound]
            together = [node for node in reads if node.flows and set(node.lanes) <= {mine}]
            apart = [node for node in here if node not in together]
            keep = any(node.branch.takes_sound for node in later)
            if len(reads) + keep > 1:
                again = len(reads) > len(together)
                sound = self._one_pass(together, sound, keep=keep, again=again)
                here = apart
        for node in here:
            self._grow(node, 0, sound if node.branch.takes_sound else None, midi, Story(), content)
        for node in later:
            self._wait(node, 0, sound if node.branch.takes_sound else None, Story())

    def _one_pass(self, nodes: Sequence[Node], sound: Blocks, *, keep: bool, again: bool) -> Blocks:
        """Write deliveries while their sound goes by, and keep it for the others.

        Args:
            nodes: deliveries that flow.
            keep: a worker of another lane needs it, too.
            again: this worker needs it again.

        Returns:
            The sound, for those that read it later.
        """
        spool: Spool | None = None
        if keep or again:
            memory = 0 if keep else self._desk.memory
            path = self._context.scratch / f"shared-{self._claim.next_step}-{len(self._spools)}"
            self._spools.append(path)
            spool = Spool(path, sound, memory)
        arrivals: list[Blocks] = [sound] * len(nodes)
        # Made before anything is read: a refusal comes early, and names are given in order.
        makers = [self._maker(node, arrivals, at, sound) for at, node in enumerate(nodes)]

        def take(at: int, arriving: Blocks) -> Story | None:
            if at < len(makers):
                arrivals[at] = arriving
                return makers[at]()
            assert spool is not None
            spool.take(arriving)
            return None

        count = len(nodes) + (spool is not None)
        first, *others = forked(sound, lambda: _alike(sound, count), count)
        before = len(self._drafts) - len(nodes)
        stories = side_by_side([self._monitor.watch(first, "deliver"), *others], take)
        for node, story in zip(nodes, stories, strict=False):  # the spool has none
            if story is not None:
                self._tell(node, story)
        check_results(self._context, self._drafts.since(before))
        if spool is None:
            return sound
        kept = spool.sound()
        if keep:
            self._kept[id(kept)] = (kept, path_to_text(spool.path))
        return kept

    def _maker(
        self, node: Node, arrivals: list[Blocks], at: int, sound: Blocks
    ) -> Callable[[], Story]:
        """Builds one flowing delivery; what comes back writes it, reading what arrives."""
        late = sound.like(lambda: iter(arrivals[at]))
        # Only the reading of the shared sound is progress.
        silent = chain.Monitor(lambda *_: None, 1)
        story = Story()
        steps = self._opener.steps(node.branch.steps, node.first)
        outcome = chain.run(late, steps, self._desk, silent, first=node.first)
        story.add(outcome)
        writing = Writing(self._context, self._names(node, story), story, silent)
        draft = writing.draft(self._folder(node.branch.delivery), "")
        draft.about["delivery"] = node.branch.name
        made = outcome.sound
        assert made is not None  # it flows: every step gives one sound

        def write() -> Story:
            writing.fill(draft, made)
            return story

        return write

    # -- one delivery ----------------------------------------------------------------------------

    def _grow(
        self,
        node: Node,
        at: int,
        sound: Blocks | None,
        midi: Midi | None,
        story: Story,
        content: Callable[[], str] | None,
    ) -> None:
        """Run a delivery's steps from `at` on, to the end or to those of another lane."""
        stop, lane = segment_of(node.lanes, at)
        steps = self._opener.steps(node.branch.steps[at:stop], node.first + at)
        ref = self._order.sound
        if steps and steps[0].op.sound and steps[0].op.sound.kind == "file" and ref is not None:
            # Only steps that change nothing came before: the file itself is still the sound.
            sound = self._opener.tagged(ref)
        outcome = chain.run(
            sound,
            steps,
            self._desk,
            self._monitor,
            midi=midi,
            changed=story.changed,
            first=node.first + at,
            content=content,
        )
        story.add(outcome)
        if lane is not None:
            self._wait(node, stop, outcome.sound, story)
            return
        drafts = self._folder(node.branch.delivery)
        before = len(drafts)
        names = self._names(node, story)
        if wants_sound(node.branch.delivery, story):
            write_sound(self._context, names, story, outcome, drafts, self._monitor)
        check_results(self._context, drafts.since(before))
        write_beside(names, story, outcome, drafts)
        for draft in drafts.since(before):
            draft.about["delivery"] = node.branch.name
        self._tell(node, story)
        self._told["said"][str(node.number)] = story.steps()
        children = [self._nodes[child] for child in node.children]
        self._fan_out(children, outcome.sound, outcome.midi, None)

    def _wait(self, node: Node, at: int, sound: Blocks | None, story: Story) -> None:
        """Leave a delivery to a worker of another lane."""
        carried: str | None = None
        if sound is not None:
            # The sound is kept beside the path, so that its identity stays its own.
            _, carried = self._kept.get(id(sound), (sound, None))
            if carried is None:
                spool = Spool(self._context.scratch / f"before-{node.first + at}", sound, 0)
                spool.take(self._monitor.watch(sound, "hand over"))
                carried = path_to_text(spool.path)
        kept = story.keep(self._context, f"side-{node.number}")
        self._waiting.append(_Waiting(node.number, at, carried, kept))

    def _names(self, node: Node, story: Story) -> Names:
        order = self._order.model_copy(update={"names": self._order.names | node.branch.names})
        delivery, ensure = node.branch.delivery, node.branch.ensure
        # Names may ask for what the steps said that several deliveries share.
        whole = Story()
        whole.reports = [*self._said_before(node), *story.reports]
        return Names(order, delivery, self._claim.id, self._source, whole, ensure)

    def _said_before(self, node: Node) -> list[chain.StepReport]:
        """What the steps said that come before a delivery's own, outermost first."""
        above = next((one for one in self._nodes if node.number in one.children), None)
        said = self._told["said"].get(_ROOT if above is None else str(above.number), ())
        own = [
            chain.StepReport(one["step"], one["op"], one["params"], one["result"]) for one in said
        ]
        return own if above is None else [*self._said_before(above), *own]

    def _folder(self, delivery: Delivery) -> Drafts:
        return self._drafts.into(
            delivery.folder,
            replace=delivery.conflict == "replace",
            access=Access(delivery.mode, delivery.owner),
        )

    def _tell(self, node: Node, story: Story) -> None:
        """Note what a finished delivery said."""
        steps = [one | {"delivery": node.branch.name} for one in story.steps()]
        self._told["steps"] += steps
        self._told["after"] += story.after


def _alike(sound: Blocks, count: int) -> Iterator[tuple[Samples, ...]]:
    for block in sound:
        yield (block,) * count
