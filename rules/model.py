"""What may be written in a rule file, and what it means once it is checked.

A hot folder is any folder with a `rules.yaml`:

    # podcast/rules.yaml
    output: {format: mp3, bitrate: 192}       # for every rule that does not say otherwise
    rules:
      - name: Long takes
        match: {ext: [wav, flac], duration: "> 60"}
        steps:
          - trim: {start_sec: 0.5}            # op: {params}
          - op: normalize                     # or op and params apart
            params: {target_lufs: -16}
        output: {name: "{stem} ({normalize.measured_lufs:.1f} LUFS).{ext}"}
      - name: Jingles
        match: {glob: "jingle-*"}
        steps: [loudness, reverse]            # or the bare name
        output: {format: flac, folder: jingles}
      - name: Voices
        match: {glob: "voice-*"}
        steps: [{preset: master-for-spotify}] # a whole chain by its name (see `audiolla presets`)

A central file (`rules/podcast.yaml`) is the same with `folder:` on top, which
names the hot folder. The first rule that matches is taken.

One sound may be delivered several times, and is decoded and computed once for all of them:

      - name: Release
        steps: [{normalize: {target_lufs: -14}}]
        output: {format: wav, bit_depth: 24}      # for each delivery that does not say otherwise
        deliver:
          master:
          preview:
            steps: [{trim: {end_sec: 30}}, {fade: {fade_out: 2}}]
            output: {format: mp3, bitrate: 128, folder: previews}
          picture: {steps: [waveform]}
          figures: {steps: [loudness]}

All of them appear, or none does.

A step's further sounds are written like its parameters, under the name that
the operation gives them: `- convolve: {ir_file: halls/church.wav}`. Their paths
count from the rule file; `staged:impulses/church.wav` names a file of the staging area.
An operation that takes a list of sounds can come first; `{input}` in the list
is the file that was dropped:

    steps:
      - mix:
          tracks: [{file: "{input}"}, {file: beds/rain.wav, gain_db: -18}]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from handlers.codecs.formats import Encoding
from rules.budgets import Budget
from rules.match import Conditions, Seconds, Text
from rules.notify import NotifyText
from rules.orders import StepOrder
from rules.recordkeeping import Records, RecordsText
from rules.taking import Taking, TakingText
from rules.windows import Windows, WindowsText

INPUT = "{input}"
"""In a list of sounds: the file that was dropped."""
STAGED = "staged:"
"""Before a path in the staging area."""


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StagesText(_Written):
    """Names of the folders beside the inbox; paths count from the hot folder."""

    processing: Text = Field("processing", description="Files whose job waits or runs.")
    done: Text = Field(
        "done",
        description="Originals whose job is completed. May go on with a template over date, rule "
        "and folder: `done/{date:%Y-%m}`.",
    )
    failed: Text = Field("failed", description="Originals whose job failed, each with its reason.")
    out: Text = Field("out", description="What comes out, where a rule names no folder.")
    manifests: Text = Field("manifests", description="How each delivery was made.")
    reports: Text = Field("reports", description="Reports on files and days, where asked for.")
    replaced: Text = Field("replaced", description="Files whose names newer ones took over.")


class SettleText(_Written):
    """When a file counts as complete. The defaults need no help for usual writers."""

    quiet: Seconds = Field(
        0.0, ge=0, description="Take no file that changed more recently, whatever its header says."
    )
    truncated_after: Seconds | None = Field(
        None,
        ge=0,
        description="How long a file that is shorter than its header says may stand still "
        "before it is given up; default 2 minutes, on network mounts 10.",
    )
    unknown: Seconds | None = Field(
        None,
        ge=0,
        description="How long a file whose header does not tell its length has to be quiet; "
        "default 1 second, 1 minute on network mounts, 2 minutes with a placeholder for a length.",
    )
    truncated: Literal["fail", "take"] = Field(
        "fail",
        description="What happens to it then: to failed with the numbers, or taken as it is.",
    )


class OutputText(_Written):
    """What is written, where, and under which name. What is missing is the folder's."""

    folder: Text | None = Field(None, description="Counts from the hot folder; default its `out`.")
    subfolders: bool | None = Field(
        None, description="Keep the file's subfolders in the output (default) or put all into one."
    )
    name: Text | None = Field(None, description="Template of the sound's name.")
    side_name: Text | None = Field(None, description="Template for pictures, reports and MIDI.")
    conflict: Literal["number", "replace"] | None = Field(
        None, description="A taken name: add ` (2)` (default), or replace the file."
    )
    format: Text | None = Field(None, description="wav, flac, mp3, opus, aac, m4a, ogg, aiff, pcm.")
    bit_depth: int | Text | None = Field(None, description="16, 24, 32f, or source.")
    bitrate: int | None = Field(None, description="kbit/s of a lossy format.")
    quality: float | int | None = Field(None, description="Variable bitrate, 0 to 10 (best).")
    tags: Literal["keep", "clear"] | dict[Text, Text | list[Text] | None] | None = Field(
        None,
        description="keep (default), clear, or tags to set over those that are kept, by name: "
        'a template like "{stem}", several texts, or null to remove one.',
    )
    mode: Text | None = Field(
        None,
        pattern=r"^0?[0-7]{3}$",
        description='Permissions of what is written: "664". Folders that are made get the right '
        "to enter wherever there is one to read.",
    )
    owner: Text | None = Field(
        None, description="Who gets what is written: user, user:group or :group."
    )
    sound: bool | None = Field(
        None, description="Deliver the sound itself; default: if a step changed it."
    )
    reports: bool | None = Field(None, description="Write each report as a JSON file, too.")


class DeliverText(_Written):
    """One of several deliveries of a rule."""

    steps: list[Any] = Field(
        [], max_length=64, description="What is done for this delivery alone, after the rule's."
    )
    output: OutputText = OutputText()
    ensure: dict[Text, Any] = Field({}, description="Beside the rule's; the same names override.")


class RuleText(RecordsText):
    """One rule."""

    name: Text | None = Field(None, description="For logs, reasons and names; default its number.")
    match: Conditions = Field(Conditions(), description="All must hold; empty takes every file.")
    when: dict[Text, Any] = Field(
        {},
        description="Conditions on what is measured in the sound (lufs, bpm, key, ...): once, by "
        "the worker, and only if no other condition has refused the file.",
    )
    steps: list[Any] = Field([], max_length=64, description="Operations in order; none converts.")
    output: OutputText = OutputText()
    deliver: dict[Text, DeliverText | None] = Field(
        {},
        max_length=64,
        description="Several deliveries of the sound that `steps` gives, by name; it is decoded "
        "and computed once. `output` then holds for each that does not say otherwise.",
    )
    ensure: dict[Text, Any] = Field(
        {},
        description="What each delivered sound must be, measured in the written file once it is "
        "decoded again (duration, channels, lufs, true_peak, silence, ...); else the job fails.",
    )
    measure: bool | None = Field(None, description="Overrides the folder's.")


class FolderText(TakingText, RecordsText):
    """One rule file."""

    folder: Text | None = Field(None, description="Central files only: the hot folder.")
    stages: StagesText = StagesText()
    recurse: bool = Field(True, description="Take files from subfolders, too.")
    no_match: Literal["fail", "leave"] = Field(
        "fail",
        description="A file that no rule takes: to failed with the reasons (an inbox that "
        "empties tells everything), or left where it is.",
    )
    match_all: bool = Field(
        False,
        description="Do what every rule says that matches, in one job; else only the first.",
    )
    settle: SettleText = SettleText()
    priority: int = Field(0, ge=-1000, le=1000, description="Higher runs before other folders.")
    weight: float | int = Field(
        1, gt=0, le=1000, description="Turns this folder gets for one turn of an ordinary one."
    )
    limit: int = Field(0, ge=0, description="Jobs of this folder at once; 0 is no limit.")
    budget: Budget = Field(
        Budget(),
        description="What each attempt at a job of this folder may use up (wall, cpu, memory, "
        "disk); the smaller of this and AUDIOLLA_JOB_MAX_* holds.",
    )
    retries: int | None = Field(
        None,
        ge=0,
        le=100,
        description="How often a job is tried again after a fault that may pass (a full disk, a "
        "share that is away); default AUDIOLLA_JOB_MAX_ATTEMPTS less one.",
    )
    only: WindowsText | None = Field(
        None,
        description='When files are taken: "22:00-06:00", "sat, sun", or a list of such. What '
        "runs when a window closes is finished; other files wait where they are.",
    )
    hold: bool | Seconds = Field(
        False,
        description="Take files, and let their jobs wait: true until `audiolla folders release`, "
        "or for a time like 10m.",
    )
    measure: bool = Field(
        False, description="Measure length, loudness and true peak of what goes in and comes out."
    )
    output: OutputText = OutputText()
    notify: list[NotifyText] = Field([], max_length=64, description="Who is told of what.")
    summary: bool = Field(
        False, description="A summary of each day, JSON and HTML, in `reports/daily`."
    )
    rules: Annotated[list[RuleText], Field(min_length=1, max_length=1000)]
    include: None = Field(
        None,
        description="Files to take in: their settings hold where this file has none, their rules "
        "come after its own. `- include: FILE` among the rules puts them there.",
    )
    variables: None = Field(
        None, description="Values by name; `$name` as a value anywhere in the file stands for one."
    )


# -- checked -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Output:
    """Where a rule's results go."""

    folder: Path
    subfolders: bool
    name: str
    side_name: str
    conflict: Literal["number", "replace"]
    encoding: Encoding
    sound: bool | None
    reports: bool
    tags: Literal["keep", "clear"] | Mapping[str, tuple[str, ...]]
    mode: int | None
    owner: str | None


@dataclass(frozen=True)
class Delivered:
    """One of several deliveries of a rule, checked."""

    name: str
    steps: tuple[StepOrder, ...]
    output: Output
    ensure: Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """One rule, checked. A further sound that is `INPUT` stands for the dropped file."""

    name: str
    match: Conditions
    steps: tuple[StepOrder, ...]
    output: Output
    measure: bool
    #: The dropped file flows through the chain; False when it is one of a list of sounds.
    takes_sound: bool
    #: What is kept of its jobs.
    records: Records
    #: Several deliveries of what the steps give; none where `output` is the only one.
    deliver: tuple[Delivered, ...] = ()
    #: Conditions as they are written: on the dropped file, and on what is delivered.
    when: Mapping[str, Any] = field(default_factory=dict)
    ensure: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether only a worker can say if it takes a file."""
        return bool(self.match.asks or self.when)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Every place that it writes to."""
        return self.output, *(one.output for one in self.deliver)


@dataclass(frozen=True)
class Stages:
    """The folders beside the inbox."""

    processing: Path
    done: Path
    failed: Path
    out: Path
    manifests: Path
    reports: Path
    replaced: Path
    #: Template of the folder below `done` that an original goes to; empty for `done` itself.
    done_below: str = ""

    @property
    def all(self) -> tuple[Path, Path, Path, Path]:
        """Those that every folder has from the start."""
        return self.processing, self.done, self.failed, self.out

    @property
    def reserved(self) -> tuple[Path, ...]:
        """All, with those that are made when something goes there: none holds input."""
        return *self.all, self.manifests, self.reports, self.replaced


@dataclass(frozen=True)
class FolderRules:
    """One hot folder, checked whole."""

    name: str
    #: The rule file.
    file: Path
    #: The hot folder: its inbox.
    root: Path
    stages: Stages
    recurse: bool
    no_match: Literal["fail", "leave"]
    match_all: bool
    settle: SettleText
    priority: int
    weight: float
    limit: int
    retries: int | None
    budget: Budget
    only: Windows | None
    #: Seconds that jobs wait, infinite until somebody releases them; None starts them at once.
    hold: float | None
    rules: tuple[Rule, ...]
    #: Files that the rule file takes in.
    includes: tuple[Path, ...]
    #: Files and folders below the root that are never input: stages, outputs, further sounds.
    reserved: frozenset[Path]
    #: Who is told of what, and whether each day is summed up.
    notify: tuple[NotifyText, ...] = ()
    summary: bool = False
    #: How files are found and taken.
    taking: Taking = field(default_factory=Taking)
