"""Flat fields of declarations that none of the first operations has yet."""

from typing import Annotated, Literal

import pytest
from annotated_types import MinLen
from pydantic import Field

from control_api.fields import fields_of
from control_api.forms import Form
from control_api.intake import read_request
from handlers.artifacts import Audio, Blocks, Result, SoundItem
from handlers.declare import Example, Params, describe
from handlers.errors import BadParameter, MissingInput, MistypedParameter


class Picked(Params):
    stems: list[Literal["drums", "bass"]] = Field(default=[], description="Which ones.")
    crossovers: list[float] = Field(default=[], description="Frequencies.")
    bit_depth: int = Field(8, description="How coarse.")
    aggressive: bool = Field(default=False, description="Harder.")


class Stems(Result):
    drums: Blocks
    bass: Blocks


class Take(SoundItem):
    gain_db: float = 0.0


def split(
    sound: Audio,
    trigger_file: Annotated[Audio, "What it listens to."],
    reference: Annotated[Audio | None, "What it should be like."],
    p: Picked,
) -> Stems:
    """Take a sound apart."""
    raise NotImplementedError


def join(takes: Annotated[list[Take], MinLen(3), "In this order."]) -> Blocks:
    """Put takes together."""
    raise NotImplementedError


@pytest.fixture
def op():
    route = "/v1/audio/split/{engine}"
    return describe(split, route=route, category="separation", examples=[Example("All.")])


def read(op, service, **given):
    """A request with text fields; every upload that is needed is there."""
    form = Form()
    for name, value in given.items():
        for text in [value] if isinstance(value, str) else value:
            form.put(name, text)
    service.stored |= {"a": b"x", "b": b"y"}
    return read_request(fields_of(op), form, {}, "job", service)


def test_further_sounds_keep_their_names(op):
    names = fields_of(op).names

    assert {"file", "file_path", "file_url"} <= names
    assert {"trigger_file", "trigger_file_path", "trigger_file_url"} <= names
    assert {"reference", "reference_path", "reference_url"} <= names
    assert fields_of(op).uploads == {"file", "trigger_file", "reference"}


def test_a_further_sound_is_needed_unless_it_may_be_left_out(op, service):
    request = read(op, service, file_path="a", trigger_file_path="b")

    assert set(request.order.steps[0].sounds) == {"trigger_file"}
    with pytest.raises(MissingInput, match="trigger_file"):
        read(op, service, file_path="a")


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(["drums", "bass"], id="repeated"),
        pytest.param("drums, bass", id="comma separated"),
        pytest.param('["drums", "bass"]', id="JSON"),
    ],
)
def test_a_list_may_be_written_in_three_ways(op, service, written):
    request = read(op, service, file_path="a", trigger_file_path="b", stems=written)

    assert request.order.steps[0].params["stems"] == ["drums", "bass"]


def test_numbers_in_a_list_are_numbers(op, service):
    request = read(op, service, file_path="a", trigger_file_path="b", crossovers="200,2000")

    assert request.order.steps[0].params["crossovers"] == [200.0, 2000.0]


@pytest.mark.parametrize(("text", "value"), [("Yes", True), ("OFF", False), ("1", True)])
def test_a_boolean_parameter_takes_every_spelling(op, service, text, value):
    request = read(op, service, file_path="a", trigger_file_path="b", aggressive=text)

    assert request.order.steps[0].params["aggressive"] is value


def test_a_word_outside_the_list_is_refused(op, service):
    with pytest.raises((BadParameter, MistypedParameter), match="stems"):
        read(op, service, file_path="a", trigger_file_path="b", stems="voice")


def test_a_parameter_goes_before_an_option_of_the_same_name(op, service):
    request = read(op, service, file_path="a", trigger_file_path="b", bit_depth="4")

    assert request.order.steps[0].params["bit_depth"] == 4
    assert request.encoding.bit_depth is None
    assert "bit_depth" not in fields_of(op).options


def test_several_sounds_come_as_one_archive(op, service):
    request = read(op, service, file_path="a", trigger_file_path="b", output_format="flac")

    assert request.order.delivery.bundle
    assert request.order.delivery.name == "split.zip"
    assert request.order.delivery.encoding.format == "flac"


def test_a_list_of_sounds_says_how_many_it_needs(service):
    op = describe(join, route="/v1/audio/join", category="editing", examples=[Example("Three.")])

    assert op.inputs[0].at_least == 3
    with pytest.raises(BadParameter, match="at least 3"):
        read(op, service, takes='[{"file_path": "a"}, {"file_path": "b"}]')


def test_beside_a_json_body_the_query_may_carry_parameters_as_text(op, service):
    form = Form(texts={"crossovers": ["200,2000"], "aggressive": ["on"]})
    form.take_json({"file_path": "a", "trigger_file_path": "b", "bit_depth": 4})
    service.stored |= {"a": b"x", "b": b"y"}
    request = read_request(fields_of(op), form, {}, "job", service)

    expected = {"crossovers": [200.0, 2000.0], "aggressive": True, "bit_depth": 4}
    assert request.order.steps[0].params == expected
    form.texts["aggressive"] = ["perhaps"]
    with pytest.raises(MistypedParameter, match='aggressive = "perhaps"'):
        read_request(fields_of(op), form, {}, "job", service)


def test_a_parameter_may_not_be_called_like_a_source():
    class Wrong(Params):
        file_path: str = Field("", description="A path.")

    def wrong(sound: Blocks, p: Wrong) -> Blocks:
        """Confuse."""
        raise NotImplementedError

    wrong.__annotations__["p"] = Wrong
    op = describe(wrong, route="/v1/x", category="editing", examples=[Example("None.")])
    with pytest.raises(TypeError, match="file_path"):
        fields_of(op)
