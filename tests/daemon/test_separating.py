"""Stems through the doors: names and archives, one pass, progress, cancelling, chains."""

import zipfile

import pytest
import soundfile

from control_api.fields import fields_of
from control_api.forms import Form
from control_api.intake import read_request
from daemon import runner
from daemon.commands import op as command
from daemon.execution import Claim
from daemon.settings import Settings
from handlers.codecs.formats import Encoding
from handlers.errors import BadParameter, Cancelled
from handlers.registry import find
from rules.load import Surroundings, load_rules
from rules.orders import Delivery, Order, SoundRef, StepOrder
from rules.written import RulesBroken
from tests.control_api.fake import FakeService
from tests.handlers.engines import tiny
from tests.sounds import noise, write_wav

FOUR = ["drums", "bass", "other", "vocals"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.Shelves(tmp_path_factory.mktemp("models"))


class Here:
    """A GPU worker's context without a worker."""

    lane = "gpu"
    recall = None

    def __init__(self, folder, models, patience=None):
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.settings = Settings(data_dir=folder)
        self.shelf = models
        self.told = []
        self.patience = patience

    def progress(self, fraction, step):
        self.told.append(fraction)
        if self.patience is not None and fraction > self.patience:
            raise Cancelled("somebody changed their mind")

    def intend(self, intent):
        return []


@pytest.fixture
def source(tmp_path):
    return write_wav(noise(seconds=1.5, rate=44100, channels=2), tmp_path / "song.wav")


def run(source, here, *steps, **about):
    order = Order(
        sound=SoundRef(path=source, name=source.name),
        steps=[StepOrder(op=op, params=params) for op, params in steps],
        delivery=Delivery(folder=source.parent / "out", **about),
    )
    runner.run(Claim(id="j", attempt=1, order=order.model_dump_json()), here)
    return sorted((source.parent / "out").iterdir())


def separating(*stems, engine="htdemucs"):
    return "separate", {"engine": engine, "stems": list(stems)}


# -- what is delivered ---------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["wav", "mp3"])
def test_several_stems_lie_beside_each_other_or_in_one_archive(
    source, tmp_path, models, monkeypatch, form
):
    passes = []
    with models.borrow("htdemucs") as bag:
        separate = bag.separate
        monkeypatch.setattr(bag, "separate", lambda *a: passes.append(1) or separate(*a))
    encoding = {"format": form}

    beside = run(source, Here(tmp_path, models), separating(), encoding=encoding)
    assert [path.name for path in beside] == sorted(f"song.{stem}.{form}" for stem in FOUR)
    assert passes == [1]

    (tmp_path / "scratch").rmdir()
    about = {"bundle": True, "name": "stems.zip", "exact": True, "encoding": encoding}
    archive = next(
        path
        for path in run(source, Here(tmp_path, models), separating(), **about)
        if path.suffix == ".zip"
    )
    assert passes == [1, 1]
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [f"{stem}.{form}" for stem in FOUR]
        for stem in FOUR:
            alone = tmp_path / "out" / f"song.{stem}.{form}"
            assert opened.read(f"{stem}.{form}") == alone.read_bytes()
    assert not any((tmp_path / "scratch").iterdir())


def test_one_stem_is_a_sound_and_may_go_on_in_the_chain(source, tmp_path, models):
    (alone,) = run(source, Here(tmp_path, models), separating("bass"), name="{stem}.{ext}")
    assert alone.name == "song.wav"
    assert soundfile.info(alone).frames == 66150

    # The chain changes lanes after the model: here it must only be willing to.
    found = load_rules(
        "rules:\n - steps:\n"
        "   - separate: {engine: htdemucs, stems: [bass]}\n   - trim: {end_sec: 1}",
        tmp_path / "rules.yaml",
        Surroundings(folder=tmp_path, is_file=lambda _: True),
    )
    assert [step.op for step in found.rules[0].steps] == ["separate", "trim"]


def test_several_stems_end_a_chain(source, tmp_path, models):
    with pytest.raises(BadParameter, match="the step before gives several"):
        run(source, Here(tmp_path, models), separating("bass", "drums"), ("trim", {"end_sec": 1}))
    with pytest.raises(RulesBroken, match="gives several"):
        load_rules(
            "rules:\n - steps:\n   - separate: {engine: htdemucs}\n   - trim: {end_sec: 1}",
            tmp_path / "rules.yaml",
            Surroundings(folder=tmp_path, is_file=lambda _: True),
        )


# -- progress and cancelling ---------------------------------------------------------------------
def test_progress_rises_and_ends_at_the_end(source, tmp_path, models):
    write_wav(noise(seconds=5, rate=48000, channels=2), source)
    here = Here(tmp_path, models)

    run(source, here, separating("bass"))

    assert here.told == sorted(here.told)
    assert here.told[-1] == 1.0
    assert len({round(share, 2) for share in here.told}) > 6


def test_a_cancelled_job_leaves_no_file_and_gives_the_model_back(source, tmp_path, models):
    with pytest.raises(Cancelled):
        run(source, Here(tmp_path, models, patience=0.4), separating())

    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
    assert [loaded.lent for loaded in models._shelf.loaded() if loaded.slug == "htdemucs"] == [0]


# -- the other doors -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stems", "name", "bundle"),
    [
        pytest.param([], "separate.zip", True, id="all"),
        pytest.param(["bass", "drums"], "separate.zip", True, id="two"),
        pytest.param(["vocals"], "separate.flac", False, id="one"),
    ],
)
def test_a_reply_is_a_sound_or_an_archive(tmp_path, stems, name, bundle):
    service = FakeService(tmp_path)
    service.stored["a.wav"] = b"x"
    form = Form()
    form.put("file_path", "a.wav")
    form.put("engine", "htdemucs")
    form.put("output_format", "flac")
    for stem in stems:
        form.put("stems", stem)

    request = read_request(fields_of(find("separate")), form, {}, "job", service)

    assert (request.order.delivery.name, request.order.delivery.bundle) == (name, bundle)
    assert request.order.steps[0].params.get("stems", []) == stems


@pytest.mark.parametrize(("stems", "bundle"), [([], True), (["bass"], False)])
def test_the_command_writes_one_file_as_it_is_told(tmp_path, stems, bundle):
    step = StepOrder(op="separate", params={"engine": "htdemucs", "stems": stems})
    order = Order(sound=SoundRef(path=tmp_path / "a.wav", name="a.wav"), steps=[step])

    told = command._delivered(
        find("separate"),
        order,
        tmp_path / "a.wav",
        str(tmp_path / "x"),
        Encoding(),
        many=False,
    )

    assert told.delivery.bundle == bundle
    assert told.delivery.exact
