"""Tags and embeddings, through the real loaders, with small random checkpoints."""

import numpy as np
import pytest

from handlers.analysis.classify import Classify, classify
from handlers.analysis.embed import Embed, embed
from handlers.analysis.similar import similar
from handlers.analysis.tag import Tag, tag
from handlers.codecs.resample import resampled
from handlers.errors import Cancelled, CannotProcess, WeightsCorrupt, WeightsMissing
from tests.handlers.engines import tiny
from tests.sounds import as_blocks, noise, one_after_another, silence, tone


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.ast(folder)
    tiny.clap(folder)
    return folder


@pytest.fixture(scope="module")
def shelf(root):
    return tiny.shelf(root, "ast-tag", "clap-embed")


@pytest.fixture(scope="module")
def tagger(shelf):
    return tiny.lent(shelf, "ast-tag")


@pytest.fixture(scope="module")
def embedder(shelf):
    return tiny.lent(shelf, "clap-embed")


def nothing(share):
    pass


def vector_of(audio, embedder):
    return np.array(embed(as_blocks(audio, 5000), Embed(), embedder, nothing).embedding)


# -- tags ----------------------------------------------------------------------------------------
def test_scores_are_those_of_the_library_on_the_same_window(tagger, root):
    import torch
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

    audio = noise(seconds=10.24, rate=16000, peak_db=-6)
    report = tag(audio.blocks(), Tag(top_k=527), tagger, nothing)
    model = ASTForAudioClassification.from_pretrained(root / "ast").eval()
    features = ASTFeatureExtractor.from_pretrained(root / "ast")(
        audio.samples[0], sampling_rate=16000, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = torch.sigmoid(model(**features).logits[0]).numpy()
    found = {one.label: one.score for one in report.tags}
    assert len(found) == 527
    assert [found[f"sound {i}"] for i in range(527)] == pytest.approx(expected, abs=2e-5)


def test_labels_come_the_most_likely_first_and_only_as_many_as_asked(tagger):
    report = tag(noise(seconds=1).blocks(), Tag(top_k=7), tagger, nothing)
    scores = [one.score for one in report.tags]
    assert len(scores) == 7
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_long_sound_is_the_mean_of_its_windows(tagger):
    one, other = noise(seconds=10.24, rate=16000), tone(440, seconds=10.24, rate=16000)
    with tagger() as model:
        each = [model.scores(audio.blocks()) for audio in (one, other)]
        both = model.scores(one_after_another(one, other).blocks())
    assert both == pytest.approx(np.mean(each, axis=0), abs=1e-6)


# -- embeddings ----------------------------------------------------------------------------------
def test_a_place_is_a_unit_vector_and_the_same_each_time(embedder):
    long = noise(seconds=25, rate=8000)  # longer than the library would take without chance
    first, again = vector_of(long, embedder), vector_of(long, embedder)
    assert first.size == 512
    assert np.linalg.norm(first) == pytest.approx(1)
    assert np.array_equal(first, again)


def test_a_place_is_the_librarys_for_a_window_of_ten_seconds(embedder, root):
    import torch
    from transformers import ClapFeatureExtractor, ClapModel

    audio = noise(seconds=10, rate=48000, peak_db=-6)
    model = ClapModel.from_pretrained(root / "clap").eval()
    given = ClapFeatureExtractor.from_pretrained(root / "clap")(
        audio.samples[0], sampling_rate=48000, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = model.get_audio_features(**given).pooler_output[0].numpy()
    expected = expected / np.linalg.norm(expected)
    assert vector_of(audio, embedder) == pytest.approx(expected, abs=1e-5)


def test_a_sound_is_like_itself_at_any_rate_and_channel_count(embedder):
    audio = tone(440, seconds=3, rate=48000)
    other = resampled(tone(440, seconds=3, rate=48000, channels=2).blocks(), 44100).whole()
    report = similar(audio.blocks(), other.blocks(), embedder, nothing)
    assert report.similarity == pytest.approx(1, abs=1e-3)
    assert report.dim == 512


def test_a_text_is_compared_with_the_cosine_of_the_librarys_towers(embedder, root):
    import torch
    from transformers import ClapModel, RobertaTokenizer

    audio = noise(seconds=2)
    report = embed(audio.blocks(), Embed(query_text="rain"), embedder, nothing)
    model = ClapModel.from_pretrained(root / "clap").eval()
    tokens = RobertaTokenizer.from_pretrained(root / "clap")("rain", return_tensors="pt")
    with torch.inference_mode():
        text = model.get_text_features(**tokens).pooler_output[0].numpy()
    cosine = np.array(report.embedding) @ text / np.linalg.norm(text)
    assert report.similarity == pytest.approx(float(cosine), abs=1e-5)


def test_labels_are_sorted_by_how_well_they_fit(embedder):
    labels = ["rain", "a drum", "a voice", "wind"]
    report = classify(noise(seconds=2).blocks(), Classify(labels=labels), embedder, nothing)
    scores = [one.score for one in report.results]
    assert scores == sorted(scores, reverse=True)
    assert sorted(one.label for one in report.results) == sorted(labels)
    single = embed(noise(seconds=2).blocks(), Embed(query_text="wind"), embedder, nothing)
    assert {one.label: one.score for one in report.results}["wind"] == pytest.approx(
        single.similarity, abs=1e-6
    )


# -- what may go wrong -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(silence(seconds=1), id="silence"),
        pytest.param(noise(seconds=0.001, rate=8000), id="a moment"),
        pytest.param(noise(seconds=0.5, channels=8), id="eight channels"),
        pytest.param(noise(seconds=0.5, rate=192000), id="192 kHz"),
    ],
)
def test_any_sound_has_tags_and_a_place(audio, tagger, embedder):
    assert len(tag(audio.blocks(), Tag(), tagger, nothing).tags) == 10
    assert np.isfinite(vector_of(audio, embedder)).all()


def test_no_sound_has_neither(tagger, embedder):
    empty = silence(seconds=0)
    with pytest.raises(CannotProcess, match="no samples"):
        tag(empty.blocks(), Tag(), tagger, nothing)
    with pytest.raises(CannotProcess, match="no samples"):
        embed(empty.blocks(), Embed(), embedder, nothing)


def test_work_is_told_window_by_window_and_ends_when_cancelled(tagger):
    heard = []

    def progress(share):
        heard.append(share)
        if len(heard) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        tag(noise(seconds=41, rate=8000).blocks(), Tag(), tagger, progress)
    assert heard == pytest.approx([0.25, 0.5], abs=0.01)
    assert tag(noise(seconds=1).blocks(), Tag(), tagger, nothing).tags  # still of use


@pytest.mark.parametrize("slug", ["ast-tag", "clap-embed"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused_and_not_filled_up(slug, root, tmp_path):
    from safetensors.torch import load_file, save_file

    make = {"ast-tag": tiny.ast, "clap-embed": tiny.clap}[slug]
    file = make(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    names = [name for name in tensors if "audio_projection" in name or "classifier" in name]
    del tensors[names[0]]
    save_file(tensors, file, metadata={"format": "pt"})
    with (
        pytest.raises(WeightsCorrupt, match="missing keys"),
        tiny.shelf(tmp_path, slug).borrow(slug),
    ):
        pass


@pytest.mark.parametrize("slug", ["ast-tag", "clap-embed"])
def test_a_cut_checkpoint_is_refused(slug, tmp_path):
    make = {"ast-tag": tiny.ast, "clap-embed": tiny.clap}[slug]
    file = make(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(WeightsCorrupt), tiny.shelf(tmp_path, slug).borrow(slug):
        pass


@pytest.mark.parametrize("slug", ["ast-tag", "clap-embed"])
def test_a_missing_file_is_named(slug, tmp_path):
    with pytest.raises(WeightsMissing, match="model.safetensors"):
        tiny.shelf(tmp_path, slug).borrow(slug).__enter__()
