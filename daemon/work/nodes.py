"""The deliveries of an order as a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from handlers import chain
from handlers.declare import Operation
from handlers.engines.declare import Lane
from handlers.registry import find
from rules.orders import Branch, Order


def passes_of(order: Order) -> int:
    """How many passes the deliveries need beside the one that computes their sound."""
    total = 0
    for node in flat(order):
        if not node.flows:
            # Where only a picture or a report comes out, no sound is written in the end.
            writes = not node.ops or any(op.changes_sound for op in node.ops)
            total += chain.passes_of(node.ops) - (not writes)
    return total


@dataclass(frozen=True)
class Node:
    """One delivery."""

    number: int
    branch: Branch
    #: Number of its first step, counting all steps of the job.
    first: int
    children: tuple[int, ...]

    @property
    def ops(self) -> list[Operation]:
        """The operations of its steps."""
        return [find(step.op) for step in self.branch.steps]

    @property
    def lanes(self) -> list[Lane]:
        """The lane of each step."""
        return [find(step.op).lane_for(step.params) for step in self.branch.steps]

    @property
    def flows(self) -> bool:
        """True when it needs its sound once, block by block, to make one sound of it."""
        if self.children or self.branch.delivery.sound is False or not self.branch.takes_sound:
            return False
        return all(
            op.sound is not None
            and op.sound.kind == "blocks"
            and op.passes == 1
            and not op.lent
            and op.kind_for(step.params) == "audio"
            for op, step in zip(self.ops, self.branch.steps, strict=True)
        )


def flat(order: Order) -> list[Node]:
    """All deliveries; those within one come after it."""
    nodes: list[Node] = []

    def add(branches: Sequence[Branch], first: int) -> int:
        for branch in branches:
            at = len(nodes)
            nodes.append(Node(at, branch, first, ()))
            after = add(branch.branches, first + len(branch.steps))
            inner = {id(child) for child in branch.branches}
            mine = tuple(n.number for n in nodes[at + 1 :] if id(n.branch) in inner)
            nodes[at] = Node(at, branch, first, mine)
            first = after
        return first

    add(order.branches, len(order.steps))
    return nodes
