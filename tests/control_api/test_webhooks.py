import pytest

from control_api.ports import Webhook, WebhookAttempt


@pytest.fixture
def known(service):
    service.hooks = {
        f"msg_{number}": Webhook(
            id=f"msg_{number}",
            event="job.completed",
            job_id=f"job-{number}",
            url="https://x.org/hook",
            status=status,
            created_at=100.0 + number,
            attempts=[WebhookAttempt(1, 100.5, 0.25, status=503)],
        )
        for number, status in enumerate(["pending", "delivered", "failed"])
    }


def test_webhooks_are_listed_with_their_attempts(client, known):
    found = client.simulate_get("/v1/webhooks").json["webhooks"]

    assert [one["id"] for one in found] == ["msg_0", "msg_1", "msg_2"]
    assert found[0]["attempts"] == [{"attempt": 1, "at": 100.5, "seconds": 0.25, "status": 503}]
    assert found[0]["url"] == "https://x.org/hook"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=failed", ["msg_2"]),
        ("job_id=job-1", ["msg_1"]),
        ("limit=1", ["msg_2"]),
        ("status=unknown", []),
    ],
)
def test_the_list_can_be_narrowed(client, known, query, ids):
    found = client.simulate_get("/v1/webhooks", query_string=query).json["webhooks"]
    assert [one["id"] for one in found] == ids


def test_one_is_shown_and_sent_again(client, known):
    assert client.simulate_get("/v1/webhooks/msg_1").json["status"] == "delivered"
    again = client.simulate_post("/v1/webhooks/msg_1/redeliver")
    assert (again.status_code, again.json) == (202, {"id": "msg_1", "status": "pending"})


def test_an_unknown_one_is_404(client):
    assert client.simulate_get("/v1/webhooks/msg_9").status_code == 404
    assert client.simulate_post("/v1/webhooks/msg_9/redeliver").status_code == 404
    assert client.simulate_get("/v1/webhooks", query_string="limit=x").status_code == 422
