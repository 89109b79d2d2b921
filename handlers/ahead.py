"""Lets one thread compute blocks while another one encodes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from handlers.artifacts import Samples

_DEPTH = 4
_PATIENCE = 0.1  # how long the producer waits for room before it looks whether anybody still reads


@dataclass(frozen=True)
class _Failed:
    error: BaseException


def ahead(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """The same blocks, computed a few ahead in a thread of their own.

    Kernels and encoders release the interpreter's lock, so a slow encoder and
    the chain before it use two cores. What the chain raises is raised here.
    """
    waiting: queue.Queue[Samples | _Failed | None] = queue.Queue(_DEPTH)
    unwanted = threading.Event()

    def offer(item: Samples | _Failed | None) -> bool:
        while not unwanted.is_set():
            try:
                waiting.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for block in blocks:
                if not offer(block):
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that reads
            offer(_Failed(error))

    producer = threading.Thread(target=produce, name="blocks ahead", daemon=True)
    producer.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        unwanted.set()
        producer.join()
