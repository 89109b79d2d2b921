"""Mixed jobs over all engines, through real workers with room for a few of them at a time."""

import random
import statistics
from dataclasses import dataclass, field

from daemon.jobs import NewJob
from handlers.registry import find
from rules.orders import Delivery, Order, SoundRef, StepOrder
from tests.daemon.running import running
from tests.handlers.engines import tiny
from tests.sounds import noise, write_wav

#: Operation and parameters, each with what it should deliver: files per job.
WORK = [
    ("separate", {"engine": "htdemucs"}, 4),
    ("separate", {"engine": "htdemucs_6s", "stems": ["piano"]}, 1),
    ("separate", {"engine": "htdemucs_ft", "stems": ["drums"]}, 1),
    ("separate", {"engine": "mdx_extra", "stems": ["bass", "vocals"]}, 2),
    ("separate", {"engine": "uvr-vocal-bsr"}, 2),
    ("separate", {"engine": "uvr-karaoke", "stems": ["Instrumental"]}, 1),
    ("remix", {"engine": "htdemucs", "stem_mix": {"vocals": {"mute": True}}}, 1),
    ("restore", {"engine": "uvr-dereverb"}, 1),
    ("restore", {"engine": "uvr-deecho"}, 1),
    ("restore", {"engine": "uvr-deecho", "aggressive": True}, 1),
    ("restore", {"engine": "uvr-denoise"}, 1),
    ("noise_reduce", {"engine": "uvr-denoise"}, 1),
    ("enhance", {"engine": "deepfilter"}, 1),
    ("diarize", {"engine": "pyannote"}, 0),
    ("tag", {}, 0),
    ("embed", {}, 0),
    ("classify", {"labels": ["speech", "music"]}, 0),
    ("vad", {}, 0),
    ("to_midi", {"engine": "basic-pitch"}, 1),
    ("trim", {"end_sec": 0.5}, 1),
]

#: Seconds: the first job of an engine may have to read torch from a cold disk.
_COLD = 180.0


@dataclass
class Story:
    """What came of it."""

    wrong: list[str] = field(default_factory=list)
    #: Models that were found loaded at some time.
    seen: set[str] = field(default_factory=set)
    #: Most models that one worker held at a time.
    most: int = 0
    #: Name of each worker that served to the end, and how its resident memory grew: the median
    #: of the last quarter of the jobs over that of the second.
    growth: dict[str, float] = field(default_factory=dict)


def soak(folder, jobs, seed, budget=2**30):
    """Run `jobs` of them in a random order, with `budget` bytes for all models of a worker."""
    rng = random.Random(seed)
    models = folder / "data" / "models"
    for make in tiny.MAKERS.values():
        make(models)
    source = write_wav(noise(seconds=1.5, rate=44100, channels=2), folder / "take.wav")
    order = [WORK[number % len(WORK)] for number in range(jobs)]
    rng.shuffle(order)

    story = Story()
    memory = {}
    run = "tests.daemon.small_engines:run"
    with running(folder / "data", run=run, engine_memory=budget, cpu_workers=1) as queue:
        for number, (op, params, files) in enumerate(order):
            out = folder / "out" / str(number)
            step = StepOrder(op=op, params=params)
            sound = SoundRef(path=source, name=source.name)
            delivery = Delivery(folder=out, reports=False, sound="changed")
            chain = Order(sound=sound, steps=[step], delivery=delivery).model_dump_json()
            lane = find(op).lane_for(params)
            new = NewJob(order=chain, source="cli", endpoint="/soak", lane=lane)
            done = queue.run(new, _COLD)
            if done.state != "completed" or done.attempt != 1:
                story.wrong.append(f"{number} {op} {params}: {done.state}, {done.error}")
            elif len(written := list(out.glob("*"))) != files or not all(
                path.stat().st_size for path in written
            ):
                story.wrong.append(f"{number} {op} {params}: {written}")
            for worker in queue.client.stats()["workers"]:
                held = [one["slug"] for one in worker["shelf"]]
                story.seen.update(held)
                story.most = max(story.most, len(held))
                memory.setdefault(worker["name"], {})[number] = worker["memory"]
    quarter = jobs // 4
    for name, said in memory.items():
        early = [size for number, size in said.items() if quarter <= number < 2 * quarter]
        late = [size for number, size in said.items() if number >= jobs - quarter]
        if early and late and min(early):
            story.growth[name] = statistics.median(late) / statistics.median(early)
    return story
