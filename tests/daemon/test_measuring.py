"""Conditions on what is measured: in the dropped file, and in what was written."""

import pytest
import soundfile

from daemon.execution import HandOver
from daemon.recall import Recalled
from daemon.work import measuring
from daemon.work.measuring import NotAsEnsured
from handlers.artifacts import Audio
from rules.plan import NoRuleMatches
from tests.daemon.contexts import Here
from tests.daemon.test_deliveries import files, for_a_gpu, hot, order_of, passes, run
from tests.sounds import ffmpeg_loudness, noise, one_after_another, silence, tone, write_wav

__all__ = ["for_a_gpu", "hot", "passes"]

BY_LOUDNESS = """
rules:
  - {name: Loud, when: {lufs: "> -15"}, output: {name: loud}}
  - {name: Long, match: {duration: "> 60"}, when: {bpm: "> 10"}, output: {name: long}}
  - {name: Quiet, when: {lufs: "-40..-15", channels: 2}, output: {name: quiet}}
"""
BY_LOUDNESS = BY_LOUDNESS.replace(", channels: 2", ", silence: '< 10%'")


@pytest.fixture
def asked(monkeypatch):
    """What was measured, in order."""
    names = []
    measured = measuring.measure

    def noting(context, sound, wanted, content=None):
        names.append(sorted(wanted))
        return measured(context, sound, wanted, content)

    monkeypatch.setattr("daemon.runner.measure", noting)
    return names


def test_the_rule_is_chosen_by_what_is_measured_once(hot, tmp_path, asked, passes):
    run(order_of(hot, BY_LOUDNESS), Here(tmp_path))

    assert files(hot / "out") == ["quiet.wav"]
    # Not the tempo: the rule that asks for it is refused by the length.
    assert asked == [["lufs", "silence"]]
    # Small enough to be kept between measuring and writing.
    assert passes == ["take.wav"]


def test_what_no_measure_suits_is_told_with_the_values(hot, tmp_path):
    write_wav(noise(seconds=2, channels=1, peak_db=-50), hot / "take.wav")
    level = ffmpeg_loudness(hot / "take.wav").integrated
    with pytest.raises(NoRuleMatches) as nothing:
        run(order_of(hot, BY_LOUDNESS), Here(tmp_path))

    loud, long, quiet = nothing.value.refusals
    assert long == "Long: duration is 2 s, not > 60"
    for told in (loud, quiet):
        assert float(told.split(" is ")[1].split(" LUFS")[0]) == pytest.approx(level, abs=0.1)


def test_a_rule_that_is_sure_asks_for_no_measure_of_those_behind_it(hot, tmp_path, asked):
    rules = """
rules:
  - {name: Sure, match: {channels: 2}, output: {name: sure}}
  - {name: Asks, when: {bpm: "> 10"}}
"""
    run(order_of(hot, rules), Here(tmp_path))

    assert files(hot / "out") == ["sure.wav"]
    assert asked == []


def test_the_same_content_is_measured_once(hot, tmp_path, passes):
    context = Here(tmp_path)
    context.recall = Recalled(tmp_path / "recalled", 1 << 20)
    rules = 'rules: [{when: {lufs: "< 0"}, output: {sound: false, reports: true}}]'
    run(order_of(hot, rules), context)
    assert len(passes) == 1
    run(order_of(hot, rules), context)
    assert len(passes) == 1


def test_a_lane_further_on_nothing_is_measured_again(hot, tmp_path, asked, for_a_gpu):
    rules = """
rules:
  - {name: A, when: {lufs: "> 0"}}
  - {name: B, when: {lufs: "< 0"}, steps: [{trim: {start_sec: 1}}, halve], output: {name: b}}
"""
    order = order_of(hot, rules)
    first = run(order, Here(tmp_path))
    assert isinstance(first, HandOver)
    claim = {"next_step": first.next_step, "carried": first.carried, "finished": first.finished}
    run(order, Here(tmp_path, lane="gpu"), **claim)

    assert files(hot / "out") == ["b.wav"]
    assert asked == [["lufs"]]


def test_all_rules_that_match_are_done_in_one_job(hot, tmp_path, passes):
    rules = """
match_all: true
rules:
  - {name: Archive, match: {ext: wav}, output: {format: flac, folder: archive}}
  - {name: Mono, match: {channels: 1}, output: {folder: mono}}
  - {name: Not this, match: {ext: mp3}}
  - name: Publish
    when: {lufs: "< 0"}
    deliver:
      web: {output: {format: mp3, folder: web}}
      picture: {steps: [waveform], output: {folder: web}}
"""
    done = run(order_of(hot, rules), Here(tmp_path))

    assert files(hot) == [
        "archive/take.flac",
        "manifests/take.wav.json",
        "take.wav",
        "web/take.mp3",
        "web/take.waveform.png",
    ]
    assert passes == ["take.wav"]
    assert sorted(o["delivery"] for o in done.result["outputs"]) == ["Archive", "picture", "web"]


def test_two_deliveries_of_one_job_never_replace_each_other(hot, tmp_path):
    rules = """
match_all: true
output: {conflict: replace}
rules:
  - {name: A, steps: [{trim: {end_sec: 1}}]}
  - {name: B, steps: [{trim: {end_sec: 2}}]}
"""
    for _ in range(2):
        run(order_of(hot, rules), Here(tmp_path))
        assert files(hot / "out") == ["take (2).wav", "take.wav"]
        assert soundfile.info(hot / "out/take.wav").duration == 1
        assert soundfile.info(hot / "out/take (2).wav").duration == 2


# -- what comes out ------------------------------------------------------------------------------
def test_a_good_result_is_delivered_with_its_figures(hot, tmp_path):
    rules = """
rules:
  - steps: [{normalize: {target_lufs: -20}}]
    output: {format: mp3}
    ensure: {lufs: -21..-19, true_peak: "<= -1", channels: 2, duration: 3.9s..4.1s,
             silence: "< 5%", clipping: 0, sample_rate: 48 kHz, size: "> 10 kB"}
"""
    done = run(order_of(hot, rules), Here(tmp_path))

    (output,) = done.result["outputs"]
    measured = ffmpeg_loudness(hot / "out/take.mp3")
    assert output["ensured"]["lufs"] == pytest.approx(measured.integrated, abs=0.1)
    assert output["ensured"]["true_peak"] == pytest.approx(measured.true_peak, abs=0.3)
    assert output["ensured"]["channels"] == 2


def test_the_true_peak_is_that_of_the_encoded_file(hot, tmp_path):
    """A lossy encoder overshoots where a sound was clipped flat."""
    clipped = (tone(300, seconds=2, peak_db=0).samples * 3).clip(-1, 1) * 0.8
    write_wav(Audio(clipped.astype("float32"), 48000), hot / "take.wav")
    wanted = "ensure: {true_peak: '<= -1.5'}"
    run(order_of(hot, f"rules: [{{output: {{format: wav}}, {wanted}}}]"), Here(tmp_path))
    with pytest.raises(NotAsEnsured, match=r"take.mp3 is not delivered: true_peak is -1\.\d+ dBTP"):
        rules = f"rules: [{{output: {{format: mp3, bitrate: 64}}, {wanted}}}]"
        run(order_of(hot, rules), Here(tmp_path))


@pytest.mark.parametrize(
    ("ensure", "told"),
    [
        ("duration: '> 5s'", "duration is 4 s, not > 5 s"),
        ("channels: 1", "channels is 2, not 1"),
        ("lufs: '> -3'", "lufs is .* LUFS, not > -3 LUFS"),
        ("silence: '< 30%', channels: 6", "channels is 2, not 6; silence is 0.5, not < 0.3"),
    ],
)
def test_a_bad_result_is_failed_with_the_figures_and_nothing_is_delivered(
    hot, tmp_path, ensure, told
):
    piece = one_after_another(tone(440, seconds=2, peak_db=-6), silence(seconds=2))
    write_wav(Audio(piece.samples.repeat(2, axis=0), piece.rate), hot / "take.wav")
    ensure = "{" + ", ".join(reversed(ensure.split(", "))) + "}"
    rules = f"rules: [{{deliver: {{a: {{output: {{name: a}}}}, b: {{ensure: {ensure}}}}}}}]"
    with pytest.raises(NotAsEnsured, match=told):
        run(order_of(hot, rules), Here(tmp_path))
    assert files(hot) == ["take.wav"]
