"""Crontab lines against cronsim, which follows Debian's cron and shares no code with ours."""

import itertools
import random
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from daemon.schedules.cron import Cron, zone_of

BERLIN = ZoneInfo("Europe/Berlin")


def at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(moment, zone):
    return datetime.fromtimestamp(moment, zone).isoformat(timespec="minutes")


def next_ones(line, start, zone=BERLIN, count=4):
    ticks = Cron.read(line).after(at(start, zone), zone)
    return [local(tick, zone) for tick in itertools.islice(ticks, count)]


def judged(line, start, zone, count):
    """What cronsim says, in Unix seconds."""
    sim = CronSim(line, datetime.fromtimestamp(start, zone))
    return [one.timestamp() for one in itertools.islice(sim, count)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("0 3 * * 1", "2026-11-23 Mon 03:00", id="1 is Monday"),
        pytest.param("0 3 * * 7", "2026-11-22 Sun 03:00", id="7 is Sunday"),
        pytest.param("0 3 * * 0", "2026-11-22 Sun 03:00", id="0 is Sunday, too"),
        pytest.param("*/15 * * * *", "2026-11-20 Fri 12:15", id="every quarter"),
        pytest.param("7-59/20 * * * *", "2026-11-20 Fri 12:07", id="a step from 7"),
        pytest.param("0 3 13 * fri", "2026-11-27 Fri 03:00", id="a 13th or a Friday"),
        pytest.param("0 3 23 * fri", "2026-11-23 Mon 03:00", id="a Friday or a 23rd"),
        pytest.param("0 3 */2 * mon", "2026-11-23 Mon 03:00", id="a star keeps both"),
        pytest.param("7-7/20 * * * *", "2026-11-20 Fri 12:07", id="a range of one number"),
        pytest.param("30 6 1 jan,JUL *", "2027-01-01 Fri 06:30", id="names of months"),
        pytest.param("0 0 29 2 *", "2028-02-29 Tue 00:00", id="a leap day"),
        pytest.param("@daily", "2026-11-21 Sat 00:00", id="a name for a line"),
        pytest.param("@Weekly", "2026-11-22 Sun 00:00", id="in any case"),
    ],
)
def test_a_line_means_what_a_crontab_means(line, expected):
    tick = next(Cron.read(line).after(at("2026-11-20 12:00"), ZoneInfo("UTC")))
    assert f"{datetime.fromtimestamp(tick, UTC):%Y-%m-%d %a %H:%M}" == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 3 * *", "has 4 fields"),
        ("60 3 * * *", "minute = '60' is not in 0..59"),
        ("0 3 * * mo", "weekday = 'mo' is not in 0..7 or sun..sat"),
        ("0 3 0 * *", "day of month = '0' is not in 1..31"),
        ("5/15 * * * *", "a step needs a range"),
        ("*/0 * * * *", "a step is a number from 1"),
        ("30-10 * * * *", "a range goes up"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 2,4,6,9,11 *", "never comes"),
        ("@reboot", "there is no such name"),
        ("0 0 L * *", "day of month = 'L'"),
        ("0 0 ? * 1#2", "day of month = '?'"),
        ("", "has 0 fields"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_the_reason(line, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Cron.read(line)


# -- clocks that are changed -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
            id="what falls into the gap is done at its end",
        ),
        pytest.param(
            "0,30 2,3 * * *",
            "2026-03-28 12:00",
            ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"],
            id="several in the gap, and one at its end, are one",
        ),
        pytest.param(
            "30 2 * * *",
            "2026-10-24 12:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
            id="a doubled hour is worked once",
        ),
        pytest.param(
            "*/30 * * * *",
            "2026-10-25 01:45",
            [
                *("2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00"),
                *("2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00"),
                "2026-10-25T03:00+01:00",
            ],
            id="every half hour goes on through a doubled hour",
        ),
        pytest.param(
            "*/30 * * * *",
            "2026-03-29 01:15",
            ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"],
            id="every half hour steps over a gap",
        ),
    ],
)
def test_daylight_saving_in_both_directions(line, start, expected):
    assert next_ones(line, start, count=len(expected)) == expected


def test_asking_from_within_a_doubled_hour_does_not_bring_its_first_time_back():
    second_half_past_two = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1).timestamp()
    tick = next(Cron.read("45 2 * * *").after(second_half_past_two - 600, BERLIN))

    assert local(tick, BERLIN) == "2026-10-26T02:45+01:00"


def test_a_zone_that_changes_by_half_an_hour():
    zone = ZoneInfo("Australia/Lord_Howe")
    assert next_ones("10 2 * * *", "2026-10-03 12:00", zone, 2) == [
        "2026-10-04T02:30+11:00",
        "2026-10-05T02:10+11:00",
    ]


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]


def field(rng, low, high, names=()):
    def number():
        value = rng.randint(low, high)
        named = value - low < len(names) and rng.random() < 0.3
        return names[value - low] if named else str(value)

    kind = rng.random()
    if kind < 0.4:
        return "*"
    if kind < 0.5:
        return f"*/{rng.randint(1, high)}"
    if kind < 0.75:
        return ",".join(number() for _ in range(rng.randint(1, 3)))
    # cronsim takes 20-20/1 for 20-59/1; a range of one number is tested by hand.
    first, last = sorted(rng.sample(range(low, high + 1), 2))
    return f"{first}-{last}" + (f"/{rng.randint(1, 9)}" if rng.random() < 0.5 else "")


def lines(rng):
    while True:
        text = " ".join(
            (
                field(rng, 0, 59),
                field(rng, 0, 23),
                field(rng, 1, 31) if rng.random() < 0.5 else "*",
                field(rng, 1, 12, ("jan", "feb", "mar")) if rng.random() < 0.3 else "*",
                field(rng, 0, 7, ("sun", "mon", "tue")) if rng.random() < 0.5 else "*",
            )
        )
        try:
            Cron.read(text)
        except ValueError:
            continue
        yield text


@pytest.mark.parametrize("zone", ZONES)
def test_random_lines_agree_with_an_independent_implementation(zone):
    rng = random.Random(zone)
    for line in itertools.islice(lines(rng), 40):
        start = at("2026-01-01") + rng.randint(0, 3 * 365 * 24 * 60) * 60
        ours = list(itertools.islice(Cron.read(line).after(start, ZoneInfo(zone)), 10))
        assert ours == judged(line, start, ZoneInfo(zone), 10), (line, start)


@pytest.mark.parametrize("change", ["2026-03-29 01:00", "2026-10-25 01:00"])
def test_random_lines_agree_around_a_change_of_clocks(change):
    rng = random.Random(change)
    for line in itertools.islice(lines(rng), 60):
        dense = " ".join([*line.split()[:1], rng.choice(["*", "1-4", "2", "2,3", "*/2"]), "* * *"])
        start = at(change) - rng.randint(1, 300) * 60
        ours = list(itertools.islice(Cron.read(dense).after(start, BERLIN), 8))
        assert ours == judged(dense, start, BERLIN, 8), (dense, start)


def test_the_machines_own_zone_and_an_unknown_one():
    assert zone_of("local").key
    assert zone_of("Europe/Berlin") == BERLIN
    with pytest.raises(ValueError, match="'Mars/Olympus' is no time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(ValueError, match="no time zone"):
        zone_of("../../etc/passwd")
