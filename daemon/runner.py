"""Runs one claim: opens its sounds, runs its chain, delivers what comes out.

The only place where a reference becomes an open file, and the only place
where results get their names.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from daemon import scratch
from daemon.delivery import Draft, Drafts, publish
from daemon.execution import CHORE, Claim, Context, Finished, HandOver
from daemon.recall import content_of
from daemon.settings import Settings
from daemon.taking.again import linked
from daemon.taking.fitting import check_fit
from daemon.taking.twice import key_of, samples_of, told
from handlers import chain
from handlers.artifacts import (
    Blocks,
    File,
    FileCopy,
    Metadata,
    Midi,
    NamedFile,
    Png,
    SoundItem,
    SourceFacts,
    Svg,
    TextFile,
    Video,
)
from handlers.codecs.files import InputFile
from handlers.codecs.midi import is_midi, read_midi
from handlers.declare import Operation
from handlers.engines.declare import Lane
from handlers.errors import (
    DISK_FULL,
    STORAGE_AWAY,
    AudiollaError,
    BadParameter,
    NoSuchFile,
    StorageFailed,
    StorageFull,
    UnreadableInput,
)
from handlers.forked import side_by_side
from handlers.measured import Measured
from handlers.registry import find
from handlers.smf.clock import duration as midi_seconds
from handlers.soundfonts import shelf as soundfonts
from rules.match import SoundFacts
from rules.names import render, with_extension
from rules.orders import Delivery, ItemRef, Once, Order, SoundRef, StepOrder
from rules.plan import asked, resolve

_ROLES = {
    Png: "picture",
    Svg: "picture",
    Midi: "midi",
    Video: "video",
    FileCopy: "file",
    TextFile: "markers",
}


def prepare(settings: Settings) -> None:
    """Tell the handlers of this process what they need to know of the settings."""
    soundfonts.default = settings.soundfont


def run(claim: Claim, context: Context) -> Finished | HandOver:
    """Run a claim to its end or to its next lane change.

    Raises:
        AudiollaError: why it cannot be done; `transient` when it may pass.
    """
    with _storage_faults():
        if claim.intent is not None and not publish(claim.intent):
            return _done(claim, claim.intent.result)
        if claim.order.startswith(CHORE):
            from daemon.schedules import housework

            return housework.run(claim, context)
        order = Order.model_validate_json(claim.order)
        if order.sound is None and not order.steps:
            return Finished(result={})
        return _Attempt(claim, context).run(order)


def _done(claim: Claim, result: dict[str, Any]) -> Finished | HandOver:
    """The end of the work; what is to be sent is now the business of a network worker."""
    if claim.errands is not None and claim.errands.send and result["outputs"]:
        return HandOver(next_step=claim.next_step, lane="net", carried=None, finished=[])
    return Finished(result=result)


class _Attempt:
    """One attempt at one order."""

    def __init__(self, claim: Claim, context: Context) -> None:
        self.claim = claim
        self.context = context
        self.order = Order()
        self.operations: list[Operation] = []

    def run(self, order: Order) -> Finished | HandOver:
        claim = self.claim
        source, midi = self._source(order)
        if order.choose:
            order = resolve(order, _facts(order, source, midi))
        self.order = order
        self.operations = [find(step.op) for step in order.steps]
        _check_start(self.operations, midi)
        kinds = [find(step.op).kind_for(step.params) for step in order.steps]
        chain.check_order(self.operations, kinds)
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
            check_fit([self._open(ref) for ref in order.members])
        if order.once is not None and here == 0 and claim.carried is None:
            again = self._again(order, order.once, source, midi)
            if again is not None:
                return _done(claim, again)
        if order.tags and source is not None and source.facts is not None:
            source.facts = _tagged(source.facts, order.tags)
        sound = None if order.sound is None else source
        if claim.carried is not None:
            sound = scratch.get(claim.carried, source.facts if source else None)
        before = None
        if order.measure and sound is not None and here == 0:
            before = Measured(sound)
            sound = before.sound
        stop, lane = _segment(lanes, here)
        steps = [self._step(index) for index in range(here, stop)]
        monitor = chain.Monitor(self.context.progress, chain.passes_of([s.op for s in steps]))
        desk = chain.Desk(
            lambda: self.context.scratch,
            self.context.settings.memory_per_sound,
            self.context.recall,
            self.context.shelf.borrow,
        )
        content = None
        if order.sound is not None and claim.carried is None:
            content = partial(content_of, order.sound.path)
        story = _Story.of(claim.finished)
        outcome = chain.run(
            sound,
            steps,
            desk,
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
        return _done(claim, self._deliver(source, midi, outcome, story, before, monitor))

    def _again(
        self, order: Order, once: Once, source: Blocks | None, midi: Midi | None
    ) -> dict[str, Any] | None:
        """The result for a sound that was worked on in the same way before; None for a new one."""
        if midi is not None:
            samples = f"midi {content_of(once.sound.path)}"
        else:
            samples = samples_of(source or self._open(once.sound))
        key = key_of(order, once, samples)
        earlier = self.context.first(key)
        if earlier is None or once.policy == "skip" or order.delivery is None:
            return None if earlier is None else told(earlier)
        delivery = order.delivery

        def names(result: Mapping[str, Any]) -> _Names:
            story = _Story()
            story.reports = [
                chain.StepReport(step["step"], step["op"], step["params"], step["result"])
                for step in result["steps"]
            ]
            return _Names(order, delivery, self.claim.id, source or midi, story)

        result = linked(earlier, self.claim.id, delivery, self.context, names)
        if result is None:
            self.context.first(key, take=True)
        return result

    # -- opening ---------------------------------------------------------------------------
    def _source(self, order: Order) -> tuple[Blocks | None, Midi | None]:
        """What flows through the chain: a sound, or a MIDI file."""
        if order.sound is None:
            return None, None
        first = None if order.choose or not order.steps else find(order.steps[0].op).sound
        ref = order.sound
        with _still_there(ref):
            if (first is not None and first.kind == "midi") or is_midi(ref.path, name=ref.name):
                return None, read_midi(ref.path, name=ref.name)
        if first is not None and first.kind == "file":
            from handlers.tagging.others import open_tagged

            with _still_there(ref):
                limit = self.context.settings.max_decoded_bytes
                return open_tagged(ref.path, name=ref.name, max_bytes=limit), None
        return self._open(ref), None

    def _step(self, index: int) -> chain.Step:
        order, op = self.order.steps[index], self.operations[index]
        try:
            params = op.read_params(order.params, strict=True)
            return chain.Step(op, params, self._further(op, order))
        except AudiollaError as wrong:
            wrong.step, wrong.op = index, op.name
            raise

    def _further(self, op: Operation, order: StepOrder) -> Mapping[str, chain.Further]:
        opened: dict[str, chain.Further] = {}
        for declared in op.inputs:
            if declared.item is not None and declared.name in order.items:
                refs = order.items[declared.name]
                opened[declared.name] = self._items(declared.name, declared.item, refs)
            elif declared.name in order.sounds:
                opened[declared.name] = self._open(order.sounds[declared.name])
        return opened

    def _items(self, name: str, model: type[SoundItem], refs: list[ItemRef]) -> list[SoundItem]:
        items: list[SoundItem] = []
        for index, ref in enumerate(refs):
            try:
                items.append(self._item(model.model_validate(ref.settings), ref.sound))
            except ValidationError as wrong:
                first = wrong.errors()[0]
                field = f"{name}[{index}].{'.'.join(map(str, first['loc']))}"
                raise BadParameter(f"{field}: {first['msg']}", field=field) from None
            except (UnreadableInput, NoSuchFile) as unusable:
                unusable.detail = f"{name}[{index}]: {unusable.detail}"
                raise
        return items

    def _item(self, item: SoundItem, ref: SoundRef) -> SoundItem:
        if isinstance(item, NamedFile):
            with _still_there(ref):
                return item.holding(InputFile(ref.path, ref.name))
        return item.opened(self._open(ref))

    def _open(self, ref: SoundRef) -> Blocks:
        from handlers.codecs.reader import open_sound

        limit = self.context.settings.max_decoded_bytes
        with _still_there(ref):
            return open_sound(ref.path, name=ref.name, max_bytes=limit)

    # -- delivering ------------------------------------------------------------------------
    def _deliver(
        self,
        source: Blocks | None,
        midi: Midi | None,
        outcome: chain.Outcome,
        story: _Story,
        before: Measured | None,
        monitor: chain.Monitor,
    ) -> dict[str, Any]:
        delivery = self.order.delivery
        if delivery is None:
            return story.result()
        names = _Names(self.order, delivery, self.claim.id, source or midi, story)
        wants_sound = delivery.sound
        if wants_sound == "changed":
            wants_sound = story.changed
        elif wants_sound is None:
            told = delivery.reports and story.measurements()
            wants_sound = story.changed or not (story.files or told)
        with Drafts(
            self.claim.id,
            delivery.folder,
            replace=delivery.conflict == "replace",
            max_bytes=delivery.max_bytes,
            fleeting=delivery.fleeting,
        ) as drafts:
            if wants_sound:
                writing = _Writing(self.context, names, story, monitor)
                if outcome.sounds and delivery.bundle:
                    writing.bundle(drafts, outcome.sounds)
                elif outcome.sounds:
                    writing.sounds(drafts, outcome.sounds)
                elif outcome.sound is not None:
                    writing.sound(drafts, outcome.sound, "")
            # Where no sound flows, MIDI takes its place, and its name.
            alone = outcome.sound is None and not outcome.sounds
            for side in story.files:
                if alone and side.file is story.midi:
                    path = names.midi(side.op, side.file.ext)
                else:
                    path = names.side(side.op, side.file.ext, side.name)
                if isinstance(side.file, FileCopy) and not (wants_sound or delivery.exact):
                    path = names.copy(side.file.ext)
                about = {"step": side.step} | ({"name": side.name} if side.name else {})
                drafts.add_file(path, _ROLES[type(side.file)], side.file, **about)
            for report in story.measurements() if delivery.reports else ():
                path = names.side(report.op, "json")
                drafts.add_json(path, report.facts, step=report.step)
            if before is not None:
                story.before = before.facts()
            return drafts.publish(self.context, story.result)


class _Writing:
    """Encodes the sounds of one job."""

    def __init__(
        self,
        context: Context,
        names: _Names,
        story: _Story,
        monitor: chain.Monitor,
    ) -> None:
        self._context = context
        self._names = names
        self._encoding = names.delivery.encoding
        self._story = story
        self._monitor = monitor

    def sound(self, drafts: Drafts, sound: Blocks, part: str) -> None:
        """One sound as one file; `part` is its name where there are several."""
        draft = self._draft(drafts, part)
        draft.about.update(self._told(*self._write(self._watched(sound), draft.part)))

    def sounds(self, drafts: Drafts, sounds: Mapping[str, Blocks]) -> None:
        """Several sounds as one file each."""
        made = [self._draft(drafts, part) for part in sounds]
        abouts = self._write_all(sounds, [draft.part for draft in made])
        for draft, about in zip(made, abouts, strict=True):
            draft.about.update(about)

    def _draft(self, drafts: Drafts, part: str) -> Draft:
        media_type = self._encoding.target.content_type
        draft = drafts.add(self._names.sound(part), "sound", media_type=media_type)
        if part:
            draft.about["name"] = part
        return draft

    def bundle(self, drafts: Drafts, sounds: Mapping[str, Blocks]) -> None:
        """All sounds as one ZIP. They are stored: compressed sound does not shrink."""
        draft = drafts.add(self._names.bundle(), "sound", media_type="application/zip")
        draft.about["names"] = list(sounds)
        draft.about["output_format"] = self._encoding.format
        names = [f"{part}.{self._encoding.target.ext}" for part in sounds]
        files = [self._context.scratch / f"encoded-{name}" for name in names]
        together = _together(sounds)
        if together:
            self._write_all(sounds, files)
        with zipfile.ZipFile(draft.part, "w", zipfile.ZIP_STORED) as archive:
            for name, encoded, sound in zip(names, files, sounds.values(), strict=True):
                if not together:
                    self._told(*self._write(self._watched(sound), encoded))
                # A fixed date: the same sounds give the same bytes.
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o644 << 16
                with encoded.open("rb") as source, archive.open(entry, "w", force_zip64=True) as to:
                    shutil.copyfileobj(source, to, 1 << 20)
                encoded.unlink()

    def _watched(self, sound: Blocks) -> Blocks:
        return self._monitor.watch(sound, f"write {self._encoding.format}")

    def _write_all(self, sounds: Mapping[str, Blocks], paths: list[Path]) -> list[dict[str, Any]]:
        """Write several sounds; those that one pass makes, in one pass."""
        if not _together(sounds):
            return [
                self._told(*self._write(self._watched(sound), path))
                for sound, path in zip(sounds.values(), paths, strict=True)
            ]
        first, *others = sounds.values()
        written = side_by_side(
            [self._watched(first), *others], lambda at, sound: self._write(sound, paths[at])
        )
        return [self._told(*one) for one in written]

    def _write(self, sound: Blocks, path: Path) -> tuple[dict[str, Any], Measured | None]:
        from handlers.codecs.writer import write_sound

        tap = Measured(sound) if self._names.measure else None
        written = write_sound(tap.sound if tap else sound, path, self._encoding)
        about: dict[str, Any] = {
            "output_format": self._encoding.format,
            "sample_rate": written.rate,
            "channels": written.channels,
            "duration": written.frames / written.rate,
        }
        if written.clipped:
            # Nothing clips by surprise: the result says how much was lost.
            about.update(clipped_samples=written.clipped, clipped_db=written.over_db)
        return about, tap

    def _told(self, about: dict[str, Any], tap: Measured | None) -> dict[str, Any]:
        """What was written, once it has been measured for the job's story."""
        if tap is not None:
            self._story.after.append(tap.facts())
        return about


def _together(sounds: Mapping[str, Blocks]) -> bool:
    """True when one pass makes all of them."""
    first, *others = sounds.values()
    return (
        bool(others)
        and first.beside is not None
        and all(other.beside is first.beside for other in others)
    )


class _Story:
    """What has been said and made so far, over all segments of a job."""

    def __init__(self) -> None:
        self.changed = False
        self.before: dict[str, Any] | None = None
        self.after: list[dict[str, Any]] = []
        self.reports: list[chain.StepReport] = []
        self.files: list[chain.SideFile] = []
        #: The MIDI file that the steps so far left to those of another lane.
        self.midi: Midi | None = None

    def add(self, outcome: chain.Outcome) -> None:
        self.changed = self.changed or outcome.changed
        self.reports.extend(outcome.reports)
        if outcome.midi_taken:
            self.files = [side for side in self.files if side.file is not self.midi]
        self.files.extend(outcome.files)
        self.midi = outcome.midi

    def measurements(self) -> list[chain.StepReport]:
        """The reports of steps that are there to report."""
        return [report for report in self.reports if find(report.op).kind == "json"]

    def result(self, outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The job's result; the descriptor is the last step's over its plain parameters."""
        descriptor: dict[str, Any] = {}
        if self.reports:
            last = self.reports[-1]
            if find(last.op).kind != "json":
                plain = (str, int, float, bool, type(None))
                descriptor = {k: v for k, v in last.params.items() if isinstance(v, plain)}
            descriptor |= last.facts
        told: dict[str, Any] = {
            "steps": [
                {"step": r.step, "op": r.op, "params": r.params, "result": r.facts}
                for r in self.reports
            ],
            "outputs": outputs or [],
            "descriptor": descriptor,
        }
        if self.before is not None:
            told["before"] = self.before
        if self.after:
            told["after"] = self.after[0]
        return told

    def keep(self, context: Context) -> list[dict[str, Any]]:
        """This story as plain data; pictures and such wait in the job's scratch folder."""
        kept: list[dict[str, Any]] = [{"changed": self.changed, "before": self.before}]
        kept.extend({"report": vars(report)} for report in self.reports)
        for number, side in enumerate(self.files):
            flows = side.file is self.midi
            path = context.scratch / f"side-{number}.{side.file.ext}"
            if isinstance(side.file, Video | FileCopy):
                os.replace(side.file.path, path)
            else:
                path.write_bytes(side.file.data)
            kept.append(
                {
                    "file": {"step": side.step, "op": side.op, "name": side.name},
                    "kind": side.file.kind,
                    "media_type": side.file.media_type,
                    "path": os.fspath(path),
                    "flows": flows,
                }
            )
        return kept

    @classmethod
    def of(cls, kept: list[dict[str, Any]]) -> _Story:
        """The story that `keep` wrote."""
        story = cls()
        for entry in kept:
            if "report" in entry:
                story.reports.append(chain.StepReport(**entry["report"]))
            elif "file" in entry:
                file = _side_file(entry)
                story.files.append(chain.SideFile(**entry["file"], file=file))
                if entry["flows"] and isinstance(file, Midi):
                    story.midi = file
            else:
                story.changed, story.before = entry["changed"], entry["before"]
        return story


def _side_file(entry: dict[str, Any]) -> File:
    path = Path(entry["path"])
    if entry["kind"] == Png.kind:
        return Png(path.read_bytes())
    if entry["kind"] == Svg.kind:
        return Svg(path.read_bytes())
    if entry["kind"] == Midi.kind:
        return Midi(path.read_bytes())
    if entry["kind"] == TextFile.kind:
        return TextFile(path.read_bytes(), path.suffix.removeprefix("."), entry["media_type"])
    kept = FileCopy if entry["kind"] == FileCopy.kind else Video
    return kept(path, path.suffix.removeprefix("."), entry["media_type"])


class _Names:
    """Names for what one job delivers."""

    def __init__(
        self,
        order: Order,
        delivery: Delivery,
        job: str,
        source: Blocks | Midi | None,
        story: _Story,
    ) -> None:
        now = datetime.now(UTC).astimezone()
        name = order.sound.name if order.sound else order.names.get("name", "mix")
        stem, dot, ext = name.rpartition(".")
        self.delivery = delivery
        self.measure = order.measure
        self._fields: dict[str, Any] = {
            "name": name,
            "stem": stem if dot and stem else name,
            "source_ext": ext if dot and stem else "",
            "ext": delivery.encoding.target.ext,
            "rel": "",
            "step": "",
            "part": "",
            "date": f"{now:%Y-%m-%d}",
            "time": f"{now:%H-%M-%S}",
            "job": job,
        }
        tags: Mapping[str, tuple[str, ...]] = {}
        if source is not None and "{duration" in delivery.name + delivery.side_name:
            self._fields["duration"] = _length(source)
        if isinstance(source, Blocks):
            self._fields["sample_rate"] = source.rate
            self._fields["channels"] = source.channels
            tags = source.facts.metadata.tags if source.facts else {}
        for tag in ("title", "artist", "album"):
            self._fields[tag] = next(iter(tags.get(tag, ())), None)
        self._fields["title"] = self._fields["title"] or self._fields["stem"]
        self._fields.update(order.names)
        for report in story.reports:
            for key, value in (report.params | report.facts).items():
                if isinstance(value, str | int | float):
                    self._fields[f"{report.op}.{key}"] = value

    def sound(self, part: str) -> PurePosixPath:
        """Where the sound goes; `part` names one of several."""
        ext = self.delivery.encoding.target.ext
        if self.delivery.exact:
            return self._exact(ext)
        template = self.delivery.name
        if part and "{part}" not in template:
            template = self.delivery.side_name.replace("{step}", "{part}")
        return self._rendered(template, ext, part=part)

    def bundle(self) -> PurePosixPath:
        """Where a ZIP of several sounds goes."""
        if self.delivery.exact:
            return PurePosixPath(self.delivery.name)
        return self._rendered(self.delivery.name, "zip")

    def copy(self, ext: str) -> PurePosixPath:
        """Where a changed copy of the source goes that is delivered in the sound's place."""
        return self._rendered(self.delivery.name, ext)

    def midi(self, op: str, ext: str) -> PurePosixPath:
        """Where the MIDI file of a chain without sound goes."""
        if self.delivery.exact:
            return self.side(op, ext)
        return self._rendered(self.delivery.name, ext)

    def side(self, op: str, ext: str, field: str = "") -> PurePosixPath:
        """Where a picture, report or other file of a step goes.

        `field` is its name in the step's result. An exact name is that of the first
        file that the operation may give; any other has its own name in its.
        """
        extras = list(find(op).extras)
        further = field in extras[1:]
        if self.delivery.exact and not further:
            return self._exact(ext)
        if self.delivery.exact:
            whole = PurePosixPath(self.delivery.name)
            stem = whole.name if self.delivery.bare else whole.stem
            return whole.with_name(f"{stem}.{field}.{ext}")
        step = f"{op}.{field}" if further else op
        return self._rendered(self.delivery.side_name, ext, step=step)

    def _exact(self, ext: str) -> PurePosixPath:
        path = PurePosixPath(self.delivery.name)
        return path.with_name(f"{path.name}.{ext}") if self.delivery.bare else path

    def _rendered(self, template: str, ext: str, **more: str) -> PurePosixPath:
        return with_extension(render(template, {**self._fields, "ext": ext, **more}), ext)


@contextmanager
def _still_there(ref: SoundRef) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NoSuchFile(f"{ref.name} is not there any more") from None


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
    duration = _length(given) if given is not None and "duration" in asked(order) else None
    if source is None:
        return SoundFacts(duration=duration)
    metadata = source.facts.metadata if source.facts else Metadata()
    return SoundFacts(
        duration=duration,
        channels=source.channels,
        sample_rate=source.rate,
        tags=metadata.tags,
    )


def _length(source: Blocks | Midi) -> float:
    """Seconds."""
    return midi_seconds(source) if isinstance(source, Midi) else source.duration


def _tagged(facts: SourceFacts, tags: Mapping[str, Sequence[str]]) -> SourceFacts:
    """A file's facts with other tags in the place of its own."""
    own = facts.metadata
    given = {name: tuple(words) for name, words in tags.items()}
    return replace(facts, metadata=replace(own, tags={**own.tags, **given}))


def _segment(lanes: list[Lane], start: int) -> tuple[int, Lane | None]:
    """Where the segment that begins at `start` ends, and the lane of what follows it."""
    for index in range(start + 1, len(lanes)):
        if lanes[index] != lanes[start]:
            return index, lanes[index]
    return len(lanes), None


@contextmanager
def _storage_faults() -> Iterator[None]:
    """Say which faults of a disk or mount may pass."""
    try:
        yield
    except OSError as wrong:
        where = os.fsdecode(wrong.filename) if wrong.filename else "a file"
        if wrong.errno in DISK_FULL:
            raise StorageFull(f"no space left for {where}") from wrong
        if wrong.errno in STORAGE_AWAY:
            raise StorageFailed(f"{where}: {wrong.strerror}") from wrong
        raise
