import pytest

from bench import ebu


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"case {case.number}: {case.signal}") for case in ebu.CASES],
)
def test_the_meter_shows_what_ebu_tech_3341_asks_for(case):
    for reading in ebu.readings_of(case):
        assert reading.passed, reading


def test_every_case_that_can_be_synthesised_is_there():
    assert {case.number for case in ebu.CASES} == set(range(1, 24)) - {7, 8}


def test_the_table_in_the_docs_is_the_one_measured_here():
    assert ebu.TABLE.read_text(encoding="utf-8") == ebu.page()
