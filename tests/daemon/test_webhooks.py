import base64
import hashlib
import hmac
import threading
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import yaml

from daemon.outbox import OutboxReader
from daemon.webhooks import DELAYS, Deliverer, signatures
from tests.daemon.nemesis import _kill_everything
from tests.daemon.peers import Peer, answer, endless, redirect, silent
from tests.daemon.running import job, running

SECONDS = 20.0
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CONTRACT = Path(__file__).parents[1] / "contract/management.yaml"


def message(webhook):
    """Stands for the job object: what the outbox remembers of the job."""
    return orjson.dumps({"job": orjson.loads(webhook.job)["id"], "type": webhook.event})


@contextmanager
def outbox(folder, *, delays=DELAYS, start=True, **settings):
    """A queue with a deliverer; its workers do as the orders say."""
    about = {"fetch_allow_private": True, "cpu_workers": 1, "webhook_timeout": 5.0}
    with running(folder, warm=False, **about | settings) as queue:
        queue.outbox = OutboxReader(queue.settings.database)
        queue.deliverer = deliverer(queue, delays)
        if start:
            queue.deliverer.start(queue.client.subscribe())
        yield queue
        queue.deliverer.stop()
        queue.outbox.close()


def deliverer(queue, delays=DELAYS):
    return Deliverer(queue.settings, queue.client, queue.outbox, message, delays=delays)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hooks")
    with outbox(folder, delays=(0, 0.05, 0.1, 0.2), webhook_secret=[SECRET]) as queue:
        yield queue


@pytest.fixture
def peer():
    made = []

    def make(*answers, **about):
        made.append(Peer(*answers, **about))
        return made[-1]

    yield make
    for one in made:
        one.close()


def told_of(queue, url, do="nothing"):
    """The webhook of a job that has ended, once nothing more happens to it."""
    ended = queue.run(job(do, webhook_url=url))
    return settled(queue, ended.id)


def settled(queue, job_id, *, attempts=1):
    pause = threading.Event()
    for _ in range(2000):
        found = queue.outbox.webhooks(None, job_id, 10)
        if found and found[-1].state != "pending" and found[-1].attempts >= attempts:
            return found[-1]
        pause.wait(0.01)
    raise AssertionError(queue.outbox.webhooks(None, job_id, 10))


def test_the_schedule_is_that_of_the_contract():
    contract = yaml.safe_load(CONTRACT.read_text())["webhook"]
    assert list(DELAYS) == contract["delays_sec"]
    assert len(DELAYS) == contract["attempts"]


def test_the_end_of_a_job_is_told_once_and_signed(queue, peer):
    receiver = peer(answer(204))
    webhook = told_of(queue, receiver.url("/hook?key=s3cret"))

    ((line, headers, body),) = receiver.asked
    assert line == "POST /hook?key=s3cret HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert orjson.loads(body) == {"job": webhook.job_id, "type": "job.completed"}
    assert headers["webhook-id"] == webhook.id
    # Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body, with full stops between.
    signed = b".".join([webhook.id.encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert webhook.state == "delivered"
    assert [(t.attempt, t.status, t.error) for t in webhook.tries] == [(1, 204, None)]
    assert int(webhook.tries[0].at) == int(headers["webhook-timestamp"])


def test_the_signature_is_that_of_the_published_vector():
    """From the specification's reference implementations, which all hold this one."""
    given = signatures(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert given == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_give_two_signatures():
    other = base64.b64encode(bytes(32)).decode()
    both = signatures([SECRET, other], "msg_1", 1, b"{}").split()
    assert both == [signatures([s], "msg_1", 1, b"{}") for s in (SECRET, other)]


def test_a_failed_job_is_told_too(queue, peer):
    receiver = peer(answer(200))
    assert told_of(queue, receiver.url(), do="refuse").event == "job.failed"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(answer(500), id="an error of the receiver"),
        pytest.param(answer(503), id="busy"),
        pytest.param(b"", id="hangs up"),
    ],
)
def test_what_may_pass_is_tried_again_with_the_same_message(queue, peer, first):
    receiver = peer(first, first, answer(200))
    webhook = told_of(queue, receiver.url())

    assert webhook.state == "delivered"
    assert [t.attempt for t in webhook.tries] == [1, 2, 3]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.asked}) == 1
    assert len({body for *_, body in receiver.asked}) == 1
    gaps = [later.at - earlier.at for earlier, later in pairwise(webhook.tries)]
    assert gaps[0] >= 0.05
    assert gaps[1] >= 0.1


def test_four_attempts_are_all(queue, peer):
    receiver = peer(answer(500))
    webhook = told_of(queue, receiver.url())

    assert webhook.state == "failed"
    assert len(receiver.asked) == webhook.attempts == 4
    assert webhook.next_at is None


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 429])
def test_an_answer_below_500_is_final_and_no_redirect_is_followed(queue, peer, status):
    other = peer(answer(200))
    receiver = peer(redirect(other.url(), status))
    webhook = told_of(queue, receiver.url())

    assert webhook.state == "refused"
    assert [t.status for t in webhook.tries] == [status]
    assert len(receiver.asked) == 1
    assert other.asked == []


def test_one_that_hangs_holds_up_nobody_else(tmp_path, peer):
    hanging, well = peer(silent), peer(answer(200))
    with outbox(tmp_path, webhook_timeout=60.0) as queue:
        ids = [queue.run(job("nothing", webhook_url=hanging.url())).id for _ in range(20)]
        good = told_of(queue, well.url())

        assert good.state == "delivered"
        assert {queue.outbox.webhooks(None, one, 1)[0].state for one in ids} == {"pending"}


def test_a_receiver_that_answers_without_end_is_delivered_to_and_left(queue, peer):
    """P20, with those above: fails, hangs up, hangs, redirects, floods."""
    flooding = peer(endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)))
    well = peer(answer(200))
    webhook = told_of(queue, flooding.url())

    assert (webhook.state, webhook.attempts) == ("delivered", 1)
    assert told_of(queue, well.url()).state == "delivered"


def test_the_policy_holds_for_webhooks(tmp_path, peer):
    receiver = peer(answer(200))
    with outbox(tmp_path, fetch_allow_private=False) as queue:
        webhook = told_of(queue, receiver.url())

        assert webhook.state == "refused"
        assert "AUDIOLLA_FETCH_ALLOW_PRIVATE" in webhook.tries[0].error
    assert receiver.asked == []


def test_one_that_was_given_up_can_be_sent_again(queue, peer):
    receiver = peer(answer(500), answer(500), answer(500), answer(500), answer(200))
    given_up = told_of(queue, receiver.url())
    assert given_up.state == "failed"

    queue.client.webhook_again(given_up.id)
    queue.deliverer.wake()
    again = settled(queue, given_up.job_id, attempts=5)
    assert again.state == "delivered"
    assert again.id == given_up.id
    assert [t.attempt for t in again.tries] == [1, 2, 3, 4, 5]
    assert receiver.asked[0][2] == receiver.asked[4][2]


def test_a_job_that_was_forgotten_is_told_of_all_the_same(queue, peer):
    go = threading.Event()

    def slow(sock):
        go.wait(SECONDS)

    receiver = peer(slow, answer(200))
    ended = queue.run(job("nothing", webhook_url=receiver.url()))
    queue.client.delete(ended.id)
    go.set()
    assert settled(queue, ended.id).state == "delivered"
    assert orjson.loads(receiver.asked[-1][2])["job"] == ended.id


def test_every_end_is_told_whoever_is_killed(tmp_path, peer):
    """The short form; bench/webhooks.py kills the whole daemon a hundred times."""
    receiver = peer(answer(200))
    with outbox(tmp_path, start=False, job_max_deaths=1000) as queue:
        ids = []
        for number in range(10):
            running_one = deliverer(queue)
            running_one.start(queue.client.subscribe())
            keys = [f"{number}-{which}" for which in range(3)]
            asked = [
                # The last one's result is known: no worker is between its submission and its end.
                {"idempotency_key": key, "result": '{"known": true}' if key.endswith("2") else None}
                for key in keys
            ]

            def submit(asked=asked):
                hook = receiver.url()
                return queue.submit(*(job("nothing", webhook_url=hook, **one) for one in asked))

            given = submit()
            ids += given
            if number in (3, 7):
                receiver.wait_asked(len(receiver.asked) + 1)
            _kill_everything(queue)
            # A client that was not answered asks again: it is the same job.
            assert submit() == given
            running_one.stop()  # what it has under way is lost with it
        queue.deliverer.start(queue.client.subscribe())
        ended = [queue.client.wait(one, 60.0) for one in ids]
        hooks = [settled(queue, one) for one in ids]

        assert {one.state for one in ended} == {"completed"}
        assert {hook.state for hook in hooks} == {"delivered"}
        heard = [orjson.loads(body)["job"] for *_, body in receiver.asked]
        assert set(heard) == set(ids)
        # One message per job, however often it was sent.
        assert len({h["webhook-id"] for _, h, _ in receiver.asked}) == len(ids)
        for one in ids:
            states = [event.state for event in queue.reader.events(one)]
            assert states.count("completed") == 1
