"""Event streams: the log and then what is heard, nothing twice, nothing left out."""

import pytest

from control_api import events
from control_api.ports import Event, Job


def event(number, state="running", job="a", **about):
    return Event(job, state, number, 100.0 + (number or 0), 1, **about)


def ids(text):
    return [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]


@pytest.fixture
def follow(client, service, monkeypatch):
    service.all_jobs["a"] = Job(id="a", status="running", created_at=100.0)

    def ask(path="/v1/jobs/a/events", log=(), live=(), last=None):
        service.log, service.live = list(log), iter(live)
        headers = {"Last-Event-ID": last} if last else {}
        answer = client.simulate_get(path, headers=headers)
        assert answer.headers["content-type"] == "text/event-stream"
        return answer.text

    return ask


def test_a_job_is_followed_to_its_end(follow, service):
    text = follow(
        log=[event(1, "pending"), event(2)],
        live=[
            event(2),  # it was in the log already
            event(7, job="b"),
            event(None, progress=0.5, step="trim"),
            event(9, "completed"),
            event(10),
        ],
    )
    assert ids(text) == [1, 2, 9]
    assert 'event: progress\ndata: {"job_id":"a","status":"running"' in text
    assert '"progress":0.5,"step":"trim"' in text
    assert service.listening == 0


def test_the_stream_of_an_ended_job_is_its_log(follow):
    assert ids(follow(log=[event(1), event(2, "failed", text="no room"), event(3)])) == [1, 2]


def test_who_was_cut_off_gets_what_was_missed(follow):
    log = [event(n) for n in range(1, 6)] + [event(6, "completed")]
    assert ids(follow(log=log, last="4")) == [5, 6]


def test_long_logs_come_whole(follow, monkeypatch):
    monkeypatch.setattr(events, "_PAGE", 3)
    log = [event(n) for n in range(1, 12)] + [event(12, "cancelled")]
    assert ids(follow(log=log)) == list(range(1, 13))


def test_news_that_got_lost_on_the_way_are_read_from_the_log(follow, service):
    def live():
        service.log += [event(2), event(3, "completed")]
        yield Event("", "missed", None, 0.0)

    assert ids(follow(log=[event(1)], live=live())) == [1, 2, 3]


def test_all_jobs_are_followed_from_now_on(client, service, monkeypatch):
    service.log = [event(1)]
    heard = [event(2, job="b"), event(3, "completed", job="a")]
    service.live = iter(heard)
    gone = iter([False] * 3 + [True])
    extras = {"waitress.client_disconnected": lambda: next(gone)}
    answer = client.simulate_get("/v1/events", extras=extras)
    assert ids(answer.text) == [2, 3]
    assert service.listening == 0


def test_an_unknown_job_has_no_stream(client):
    assert client.simulate_get("/v1/jobs/none/events").status_code == 404


def test_streams_are_counted(service, client, monkeypatch):
    monkeypatch.setattr(events, "MAX_STREAMS", 1)
    service.all_jobs["a"] = Job(id="a", status="running", created_at=100.0)
    (route, _) = events.routes(service)

    class Reply:
        content_type = stream = None

        def set_header(self, *_):
            pass

    class Request:
        def __init__(self):
            self.env = {}

        def get_header(self, _):
            return None

    first = Reply()
    route.respond(Request(), first, job_id="a")
    with pytest.raises(events.Busy):
        route.respond(Request(), Reply(), job_id="a")
    first.stream.close()  # before its first byte: the client went away
    assert service.listening == 0
    route.respond(Request(), Reply(), job_id="a")
