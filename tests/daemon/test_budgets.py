"""What jobs may use up: a job that breaks its budget ends with the reason and the figure."""

import os
import re
from types import SimpleNamespace

import orjson
import pytest
from pydantic import ValidationError

from control_api.asking import ASKING, Asking
from control_api.ports import Submission
from control_api.scopes import Keys
from daemon.budgets import Budgets, Usage, usage_of
from daemon.cli import main
from daemon.client import Client
from daemon.jobs import Submitted
from daemon.reader import JobReader
from daemon.service import QueueService
from daemon.settings import Settings
from daemon.tokens import TokenFile
from rules.budgets import Budget, budget_of
from rules.orders import Order, SoundRef, StepOrder
from tests.daemon.inboxes import Studio
from tests.daemon.running import job, running


def test_a_job_over_its_budget_is_ended_with_the_figure_and_the_others_go_on(tmp_path):
    """Each breaks another limit; none of them listens to anybody while it does."""
    greedy = {
        "wall": job("deaf", budget={"wall": 1.0}),
        "cpu": job("spin", budget={"cpu": 1.0}),
        "memory": job("eat", budget={"memory": 350 * 2**20}),
        "disk": job("litter", budget={"disk": 10 * 2**20}),
        "draft": job("draft", folder=str(tmp_path), budget={"disk": 10 * 2**20}),
    }
    said = {
        "wall": r"the job used ([\d.]+) s; it may use 1 s of time",
        "cpu": r"the job used ([\d.]+) s; it may use 1 s of processor time",
        "memory": r"the job used (\d+) MiB; it may use 350 MiB of memory",
        "disk": r"the job used (\d+) MiB; it may use 10 MiB on the disk",
        "draft": r"the job used (\d+) MiB; it may use 10 MiB on the disk",
    }
    with running(tmp_path / "data", cpu_workers=3) as queue:
        queue.submit(*greedy.values())
        good = queue.submit(*[job("nothing") for _ in range(20)])
        ended = {name: queue.client.wait(one.id, 120) for name, one in greedy.items()}
        assert {queue.client.wait(one, 120).state for one in good} == {"completed"}
    for name, one in ended.items():
        assert (one.state, one.error_kind, one.attempt) == ("failed", "BudgetExceeded", 1), name
        assert re.fullmatch(said[name], one.error), one.error
        assert "AUDIOLLA_JOB_MAX_" in one.error_hint
        assert one.deaths == 0
    over = float(re.match(said["wall"], ended["wall"].error)[1])
    assert over < 30, "on a machine that has nothing else to do it is 2"


class Held(SimpleNamespace):
    intent, step, attempt = None, "eq", 1


def fault(settings, order, *, usage=(0.0, 0), disk=0, now=0.0, intent=None):
    used = iter([Usage(0.0, 0), Usage(*usage)])
    budgets = Budgets(settings, usage=lambda _: next(used), disk=lambda *_: disk)
    held = Held(id="j", begun=0.0, order=orjson.dumps(order).decode(), intent=intent)
    first = budgets.broken(held, 1, 0.0) if not disk else None
    return first or budgets.broken(held, 1, now)


@pytest.mark.parametrize(
    ("own", "used", "broken"),
    [
        ({}, {"now": 99.0}, None),
        ({}, {"now": 101.0}, "101.0 s; it may use 100 s of time"),
        ({"wall": 10}, {"now": 11.0}, "may use 10 s"),
        ({"wall": 1000}, {"now": 101.0}, "may use 100 s"),
        ({}, {"usage": (51.0, 0)}, "51.0 s; it may use 50 s of processor time"),
        ({}, {"usage": (1.0, 2 * 2**30)}, "2048 MiB; it may use 1024 MiB of memory"),
        ({}, {"disk": 600 * 2**20}, "600 MiB; it may use 512 MiB on the disk"),
        ({"wall": "nonsense"}, {"now": 101.0}, "may use 100 s"),
    ],
)
def test_the_smaller_limit_holds(tmp_path, own, used, broken):
    settings = Settings(
        data_dir=tmp_path,
        job_max_wall=100,
        job_max_cpu=50,
        job_max_memory=2**30,
        job_max_disk=512 * 2**20,
    )
    found = fault(settings, {"budget": own}, **used)
    assert (found is None) if broken is None else (broken in found.detail)
    assert found is None or not found.transient, "the next attempt would use up the same"


def test_a_job_whose_files_are_getting_their_names_is_let_finish(tmp_path):
    settings = Settings(data_dir=tmp_path, job_max_wall=1)
    assert fault(settings, {}, now=100.0, intent="{}") is None


def test_what_a_process_has_used_is_what_the_kernel_says():
    before = usage_of(os.getpid())
    assert 2**20 < before.memory < 2**36
    while os.times().user + os.times().system < before.cpu + 0.05:
        pass
    assert usage_of(os.getpid()).cpu > before.cpu


def test_a_folder_says_what_its_jobs_may_use(tmp_path):
    rules = "budget: {wall: 10m, cpu: 90s, memory: 2 GB, disk: 4GB}\nrules: [{name: all}]"
    s = Studio(tmp_path, rules)
    s.drop("a.wav")
    s.settle()
    (one,) = s.queue.jobs.values()
    budget = orjson.loads(one.order)["budget"]
    assert budget == {"wall": 600.0, "cpu": 90.0, "memory": 2 * 10**9, "disk": 4 * 10**9}
    assert Order.model_validate_json(one.order).budget == budget_of(budget)


def test_without_a_budget_nothing_is_written_into_the_order(tmp_path):
    s = Studio(tmp_path)
    s.drop("a.wav")
    s.settle()
    (one,) = s.queue.jobs.values()
    assert "budget" not in orjson.loads(one.order)


@pytest.mark.parametrize("wrong", [{"wall": 0}, {"wall": -1}, {"cpu": "soon"}, {"time": 3}])
def test_a_budget_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Budget.model_validate(wrong)


def test_a_token_says_what_its_jobs_may_use(tmp_path, capsys, monkeypatch):
    data = ["--data-dir", str(tmp_path)]
    arguments = ["token", "create", "daw", "--max-wall", "90s", "--max-memory", "1GB", *data]
    assert main(arguments) == 0
    token = capsys.readouterr().out.strip()
    holder = Keys("", TokenFile(tmp_path / "tokens.json").tokens).holder(f"Bearer {token}")
    assert holder.limits == {"wall": 90.0, "memory": 10**9}
    assert main(["token", "list", *data]) == 0
    assert "wall=90" in capsys.readouterr().out
    assert main(["token", "create", "x", "--max-wall", "soon", *data]) == 2

    sent = []

    class Queue(Client):
        def __init__(self):
            pass

        def submit(self, jobs):
            sent.extend(jobs)
            return [Submitted(one.id, True, "pending") for one in jobs]

    settings = Settings(data_dir=tmp_path, cache_bytes=0)
    service = QueueService(settings, Queue(), JobReader(settings.database))
    sound = SoundRef(path=tmp_path / "a.wav", name="a.wav")
    (tmp_path / "a.wav").touch()
    order = Order(sound=sound, steps=[StepOrder(op="reverse")])
    asking = ASKING.set(Asking("r", holder))
    try:
        service.submit(Submission("id", "/v1/audio/reverse", order, background=False))
    finally:
        ASKING.reset(asking)
    assert orjson.loads(sent[0].order)["budget"] == {"wall": 90.0, "memory": 10**9}
