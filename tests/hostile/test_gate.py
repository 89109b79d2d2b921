"""The decode gate, in a process behind its walls, against a thousand hostile inputs."""

import pytest

from tests.hostile.canaries import Canaries
from tests.hostile.flac import constant_flac
from tests.hostile.gate import Gate
from tests.hostile.inputs import REFERENCES, Hostile, many, wav

COUNT = 1000


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    gate = Gate(tmp_path_factory.mktemp("gate") / "data")
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def canaries(tmp_path_factory):
    canaries = Canaries(tmp_path_factory.mktemp("canaries") / "secrets")
    yield canaries
    canaries.close()


@pytest.fixture(scope="module")
def tally(gate, canaries):
    return gate.feed(many(COUNT, canaries.targets("mp3")))


def test_p9_a_thousand_hostile_inputs_are_heard_or_refused_by_name(tally):
    assert sum(tally.outcomes.values()) == COUNT
    assert tally.unforeseen == []
    # Some are only scratched, and must still be heard.
    assert tally.outcomes["sound"] > COUNT // 10
    assert tally.outcomes["UnreadableInput"] > COUNT // 10


def test_p9_none_of_them_kills_the_process_that_decodes(tally):
    """Allowed, but none is known: a new one is to become a regression case."""
    assert [(hostile.number, how) for hostile, how in tally.deaths] == []


def test_p10_none_of_them_has_another_file_opened_an_address_asked_or_a_command_run(
    tally, canaries
):
    assert tally.walls["landlock"] or tally.walls["lacks"]
    assert canaries.touched() == []


def test_p10_a_canary_that_is_touched_is_noticed(tmp_path):
    """The detectors themselves: they would notice, so their silence means something."""
    import socket

    canaries = Canaries(tmp_path / "secrets")
    (tmp_path / "secrets" / "secret.mp3").read_bytes()
    socket.create_connection(("127.0.0.1", canaries.port)).close()
    (tmp_path / "secrets" / "command").touch()
    found = canaries.touched()
    canaries.close()

    assert {"opened secret.mp3", "an HTTP request", "a command was run"} <= set(found)


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("extension", ["wav", "m3u8", "mp3"])
def test_p10_a_list_of_other_files_is_refused_under_any_name(gate, canaries, kind, extension):
    targets = canaries.targets("m4a" if kind == "dash" else "mp3")
    text = REFERENCES[kind].format(f=targets.file, u=targets.url, c=targets.command)
    answer = gate.ask(Hostile(-1, "reference", f"list.{extension}", text.encode()))

    assert answer["outcome"] == "UnreadableInput"
    assert canaries.touched() == []


def test_p11_the_gate_stays_within_512_mib_whatever_is_claimed(tally):
    assert tally.rss < 512 * 2**20


def test_p12_no_input_takes_more_than_five_seconds_of_processor_time(tally):
    assert tally.cpu[0] < 5.0, tally.cpu


def test_p13_a_file_that_decodes_58000_times_its_size_is_stopped_while_it_is_decoded(gate):
    bomb = constant_flac(blocks=8000, channels=8)
    assert 40_000 * len(bomb) < 8000 * 65535 * 8 * 4
    stated = gate.ask(Hostile(-2, "bomb", "bomb.flac", bomb))
    # The same without a word about its length: only decoding tells.
    silent = bytearray(bomb)
    silent[21] &= 0xF0
    silent[22:26] = bytes(4)
    unstated = gate.ask(Hostile(-3, "bomb", "bomb.flac", bytes(silent)))

    assert [stated["outcome"], unstated["outcome"]] == ["TooLarge", "TooLarge"]
    assert stated["cpu"] < 1.0
    assert unstated["cpu"] < 5.0
    assert unstated["rss"] < 512 * 2**20


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        pytest.param([float("nan")] * 400, 400, id="nothing but NaN"),
        pytest.param([float("inf"), 0.5, float("-inf"), 0.25] * 100, 200, id="infinities"),
        pytest.param([0.5] * 400, 0, id="numbers"),
    ],
)
def test_p14_samples_that_are_no_numbers_are_replaced_and_counted(gate, values, counted):
    import struct

    body = struct.pack(f"<{len(values)}f", *values)
    answer = gate.ask(Hostile(-4, "samples", "x.wav", wav(body, tag=3, channels=1, bits=32)))

    assert (answer["outcome"], answer["frames"]) == ("sound", 400)
    assert answer["nonfinite"] == counted


def test_p14_no_input_gives_a_sample_that_is_no_number(tally):
    assert tally.not_finite == []
