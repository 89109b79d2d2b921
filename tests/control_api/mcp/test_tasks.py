"""Long work as tasks: only for clients that know them, and for as long as the job is kept."""

import asyncio
from dataclasses import replace
from typing import Literal

import mcp_types as types
import pytest
from mcp import Client
from mcp.client import ClientExtension, advertise
from mcp.client.extension import ResultClaim
from mcp.shared.exceptions import MCPError

from control_api.mcp import tasks
from handlers.errors import UnreadableInput
from tests.control_api.fake import FakeService
from tests.control_api.mcp.test_door import MODERN, PATIENCE, SOUND, listening


class LongService(FakeService):
    """A service whose jobs go on until they are finished by hand."""

    def __init__(self, folder):
        super().__init__(folder, 10**7)
        self.ends = {}

    def wait(self, job_id, gone, seconds=None):
        if seconds is None:
            return self.all_jobs[job_id]
        self.ends[job_id] = self.all_jobs[job_id]
        self.all_jobs[job_id] = replace(
            self.all_jobs[job_id], status="running", completed_at=None, progress=0.5, step="reverse"
        )
        raise TimeoutError

    def finish(self, job_id):
        self.all_jobs[job_id] = self.ends[job_id]

    let_go = type("Nothing", (), {"set": lambda self: None})()


class GetTask(types.Request[types.GetTaskRequestParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: types.GetTaskRequestParams
    name_param = "taskId"


class CancelTask(types.Request[types.CancelTaskRequestParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: types.CancelTaskRequestParams
    name_param = "taskId"


class UpdateTask(types.Request[tasks.UpdateTaskParams, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: tasks.UpdateTaskParams
    name_param = "taskId"


class Told(tasks.Task):
    """What `tasks/get` says."""

    result_type: str | None = None
    result: dict | None = None


class Polling(ClientExtension):
    """The client's half: a task is asked about until it has ended."""

    identifier = tasks.EXTENSION

    def __init__(self, between=lambda told: None):
        self.between, self.seen = between, []

    def claims(self):
        return [
            ResultClaim(result_type="task", model=tasks.CreateTaskResult, resolve=self._resolve)
        ]

    async def _resolve(self, created, context):
        self.seen.append(created)
        while True:
            told = await get(context.session, created.task_id)
            self.seen.append(told)
            if told.status != "working":
                return types.CallToolResult.model_validate(told.result)
            self.between(told)


async def get(session, task_id):
    params = types.GetTaskRequestParams(task_id=task_id)
    return await session.send_request(GetTask(params=params), Told)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    service = LongService(tmp_path_factory.mktemp("service"))
    service.stored["a.wav"] = b"RIFF"
    with listening(service) as served:
        served.service = service
        yield served


def asking(served, ask, *extensions, mode=MODERN):
    async def run():
        async with Client(served.url, mode=mode, extensions=list(extensions)) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_long_work_is_a_task_whose_answer_is_the_tools(served):
    extension = Polling(lambda told: served.service.finish(told.task_id))
    answer = asking(served, lambda c: c.call_tool("reverse", SOUND), extension)
    at_once = asking(served, lambda c: c.call_tool("reverse", SOUND))

    created, working, done = extension.seen
    assert [one.status for one in extension.seen] == ["working", "working", "completed"]
    assert (working.result_type, done.result_type) == ("complete", "complete")
    assert working.status_message == "reverse: 50%"
    assert created.ttl_ms is None
    # Kept for the settings' hour after its end, 3.5 s after it was made.
    assert done.ttl_ms == 3_603_500
    assert done.created_at == "1970-01-01T00:01:40.000Z"
    assert answer.structured_content == at_once.structured_content
    assert answer.structured_content["audio_base64"]
    assert not answer.is_error
    assert created.task_id not in served.service.discarded


def test_a_task_that_fails_is_completed_with_the_tools_refusal(served, monkeypatch):
    monkeypatch.setattr(served.service, "outcome", UnreadableInput("a.wav holds no sound"))
    extension = Polling(lambda told: served.service.finish(told.task_id))
    answer = asking(served, lambda c: c.call_tool("reverse", SOUND), extension)

    assert extension.seen[-1].status == "completed"
    assert answer.is_error
    assert "holds no sound" in answer.content[0].text


def test_tools_of_several_operations_say_the_same_as_without_a_task(served):
    extension = Polling(lambda told: served.service.finish(told.task_id))
    given = {**SOUND, "mode": "waveform", "width": 64, "height": 64}
    answer = asking(served, lambda c: c.call_tool("visualize", given), extension)
    at_once = asking(served, lambda c: c.call_tool("visualize", given))
    assert answer.structured_content == at_once.structured_content
    assert answer.structured_content["engine"] == "ffmpeg-render"


def test_a_task_is_cancelled_and_answers_to_what_was_not_asked_are_passed_over(served):
    async def ask(client):
        result = await client.session.call_tool("reverse", SOUND, allow_claimed=True)
        about = {"task_id": result.task_id}
        update = UpdateTask(params=tasks.UpdateTaskParams(**about, input_responses={"x": {}}))
        await client.session.send_request(update, types.EmptyResult)
        cancel = CancelTask(params=types.CancelTaskRequestParams(**about))
        acknowledged = await client.session.send_request(cancel, types.EmptyResult)
        return acknowledged, await get(client.session, result.task_id)

    acknowledged, told = asking(served, ask, Polling())
    assert acknowledged.model_dump(exclude_none=True, exclude={"meta"}) in (
        {"result_type": "complete"},
        {},
    )
    assert told.status == "cancelled"
    assert told.result is None


async def refused(session, task_id):
    with pytest.raises(MCPError) as refusal:
        await get(session, task_id)
    return refusal.value.error


def test_a_task_that_is_none_is_an_error_of_the_protocol(served):
    error = asking(served, lambda c: refused(c.session, "nonsense"), advertise(tasks.EXTENSION))
    assert error.code == types.INVALID_PARAMS
    assert "nonsense" in error.message


@pytest.mark.parametrize("mode", ["legacy", MODERN])
def test_who_does_not_say_that_it_knows_tasks_is_told_what_is_missing(served, mode):
    error = asking(served, lambda c: refused(c.session, "job-1"), mode=mode)
    assert error.code == -32021
    assert error.data["requiredCapabilities"]["extensions"] == {tasks.EXTENSION: {}}


@pytest.mark.parametrize("mode", ["legacy", MODERN])
def test_others_wait_as_ever(served, mode):
    answer = asking(served, lambda c: c.call_tool("reverse", SOUND), mode=mode)
    assert answer.structured_content["audio_base64"]


def test_the_server_says_that_it_knows_tasks(served):
    async def ask(client):
        return client.server_capabilities

    assert asking(served, ask, mode="auto").extensions == {tasks.EXTENSION: {}}
