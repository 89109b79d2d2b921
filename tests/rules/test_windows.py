from datetime import datetime, timedelta

import pytest

from rules.match import Conditions, FileFacts, refused_by_name
from rules.windows import read_windows


def at(text):
    """A moment in the week of Monday, 4 November 2024."""
    day, clock = text.split()
    number = ("mon", "tue", "wed", "thu", "fri", "sat", "sun").index(day)
    return datetime.fromisoformat(f"2024-11-{4 + number:02} {clock}")


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("22:00-06:00", ["mon 22:00", "tue 05:59", "sun 00:00"], ["mon 06:00", "mon 21:59"]),
        ("9:00-17:30", ["mon 09:00", "sun 17:29"], ["mon 08:59", "sun 17:30"]),
        ("sat, sun", ["sat 00:00", "sun 23:59"], ["fri 23:59", "mon 00:00"]),
        ("fri-mon", ["fri 12:00", "mon 12:00"], ["tue 12:00", "thu 12:00"]),
        ("mon-fri 20:00-06:00", ["fri 23:00", "sat 05:00"], ["mon 05:00", "sun 21:00"]),
        ("Friday 18:00 - 24:00", ["fri 23:59"], ["sat 00:00", "fri 17:59"]),
        (["sat", "mon 8:00-9:00"], ["sat 12:00", "mon 08:30"], ["mon 12:00"]),
    ],
)
def test_a_window_has_a_beginning_an_end_and_days(window, inside, outside):
    windows = read_windows(window)
    again = read_windows([str(one) for one in windows.windows])
    assert [moment for moment in inside if at(moment) not in windows] == []
    assert [moment for moment in outside if at(moment) in windows] == []
    assert again == windows


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("22:00-06:00", "mon 12:00", "mon 22:00"),
        ("22:00-06:00", "mon 23:00", "mon 23:00"),
        ("sat", "mon 12:00", "sat 00:00"),
        ("mon 8:00-9:00", "mon 09:00", None),
        (["wed 8:00-9:00", "tue 7:00-8:00"], "mon 12:00", "tue 07:00"),
    ],
)
def test_it_is_known_when_a_window_opens(window, now, opens):
    found = read_windows(window).opens(at(now))
    assert found == (at(opens) if opens else at("mon 08:00") + timedelta(days=7))


@pytest.mark.parametrize("wrong", ["", "25:00-26:00", "10:70-11:00", "monkey", "22:00", [], 7])
def test_what_is_no_window_is_refused(wrong):
    with pytest.raises(ValueError, match=r"no time|hours go|no day|empty"):
        read_windows(wrong)


def test_a_rule_may_be_for_a_time_of_day_and_a_day():
    night = Conditions.model_validate({"time": "22:00-06:00", "weekday": "mon-fri"})
    again = Conditions.model_validate_json(night.model_dump_json())

    assert refused_by_name(again, FileFacts("a.wav", 1, at("mon 23:00"))) is None
    assert (
        refused_by_name(again, FileFacts("a.wav", 1, at("mon 12:00")))
        == "time is mon 12:00, not 22:00-06:00"
    )
    assert (
        refused_by_name(again, FileFacts("a.wav", 1, at("sat 23:30")))
        == "weekday is sat 23:30, not mon, tue, wed, thu, fri"
    )
