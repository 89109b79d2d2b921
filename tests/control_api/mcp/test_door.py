"""The protocol over HTTP: both eras, progress, clients that go, who may come in."""

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from control_api.app import create_app, serve
from control_api.mcp.door import Door
from rules.presets import Preset, PresetStep
from tests.control_api.fake import FakeService, api_settings

MODERN = "2026-07-28"
ERAS = ["legacy", MODERN]
PATIENCE = 20
SOUND = {"file_path": "a.wav"}


class SlowService(FakeService):
    """A service whose jobs go on until they are let go, or nobody waits any more."""

    def __init__(self, folder):
        super().__init__(folder, 10**7)
        self.slow = False
        self.asked = threading.Event()
        self.cancelled = threading.Event()
        self.let_go = threading.Event()

    def wait(self, job_id, gone, seconds=None):
        job = self.all_jobs[job_id]
        if self.slow and seconds is not None:
            self.all_jobs[job_id] = replace(job, status="running", progress=0.5, step="reverse")
            raise TimeoutError
        for share in range(1, 1000 if self.slow else 0):
            step = (share % 9) / 10
            self.all_jobs[job_id] = replace(job, status="running", progress=step, step="reverse")
            if gone():
                self.cancelled.set()
                return replace(job, status="cancelled")
            self.asked.set()
            if self.let_go.wait(0.02):
                break
        return job


@contextmanager
def listening(service, **settings):
    settings = api_settings(max_upload_bytes=10**7, **settings)
    door = Door(service, settings)
    door.start()
    server = serve(create_app(service, settings, door=door), settings, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield SimpleNamespace(port=server.port, url=f"http://127.0.0.1:{server.port}/v1/mcp")
    finally:
        service.let_go.set()
        server.close()
        thread.join(PATIENCE)
        door.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    service = SlowService(tmp_path_factory.mktemp("service"))
    service.stored["a b.wav"] = b"RIFF"
    service.stored["a.wav"] = b"RIFF"
    step = PresetStep("normalize", {"target_lufs": -16})
    service.known_presets = [Preset("quiet", "Quieter.", (step,))]
    with listening(service) as served:
        served.service = service
        yield served


@pytest.fixture
def slow(served):
    service = served.service
    service.slow = True
    for event in (service.asked, service.cancelled, service.let_go):
        event.clear()
    yield service
    service.slow = False


def asking(served, mode, ask, path=""):
    async def run():
        async with Client(served.url + path, mode=mode) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(run(), PATIENCE))


def posted(served, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    sent = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    try:
        connection.request("POST", "/v1/mcp", json.dumps(body), sent)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text
    finally:
        connection.close()


LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


# -- both eras -------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("mode", ERAS)
def test_tools_are_listed_and_called(served, mode, path):
    async def ask(client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        return tools, await client.call_tool("reverse", SOUND)

    tools, answer = asking(served, mode, ask, path)
    assert tools["reverse"].input_schema["properties"]["file_path"]["type"] == "string"
    assert tools["reverse"].output_schema["properties"]["audio_base64"]
    assert tools["delete_file"].annotations.destructive_hint
    assert json.loads(answer.content[0].text) == answer.structured_content
    assert answer.structured_content["output_format"] == "wav"


@pytest.mark.parametrize("mode", ERAS)
def test_a_refusal_is_an_answer_in_words(served, mode):
    answer = asking(served, mode, lambda c: c.call_tool("pan", {**SOUND, "position": 3}))

    assert answer.is_error
    assert "position" in answer.content[0].text


@pytest.mark.parametrize("mode", ERAS)
def test_a_fault_of_ours_is_told_without_its_insides(served, mode, monkeypatch):
    monkeypatch.setattr(served.service, "submit", lambda _: 1 / 0)
    answer = asking(served, mode, lambda c: c.call_tool("reverse", SOUND))

    assert answer.is_error
    assert answer.content[0].text == (
        "unexpected ZeroDivisionError; the server's log has the details"
    )


@pytest.mark.parametrize("mode", ERAS)
def test_a_tool_that_is_none_is_an_error_of_the_protocol(served, mode):
    async def ask(client):
        with pytest.raises(MCPError, match="no tool 'sing'"):
            await client.call_tool("sing", {})

    asking(served, mode, ask)


@pytest.mark.parametrize("mode", ERAS)
def test_staged_files_and_jobs_are_resources(served, mode):
    async def ask(client):
        listed = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        spaced = next(one for one in listed if one.name == "a b.wav")
        job = (await client.call_tool("reverse", {**SOUND, "async_job": True})).structured_content
        jobs = await client.read_resource(f"audiolla://jobs/{job['job_id']}")
        with pytest.raises(MCPError, match="no file"):
            await client.read_resource("audiolla://files/none.wav")
        with pytest.raises(MCPError, match="no resource"):
            await client.read_resource("file:///etc/passwd")
        return templates, spaced, await client.read_resource(spaced.uri), jobs

    templates, spaced, file, jobs = asking(served, mode, ask)
    assert "audiolla://files/{+path}" in {one.uri_template for one in templates}
    assert spaced.uri == "audiolla://files/a%20b.wav"
    assert file.contents[0].blob == "UklGRg=="
    assert json.loads(jobs.contents[0].text)["status"] == "completed"


@pytest.mark.parametrize("mode", ERAS)
def test_presets_are_prompts(served, mode):
    async def ask(client):
        (prompt,) = (await client.list_prompts()).prompts
        said = await client.get_prompt(prompt.name, {"file_path": "a.wav"})
        with pytest.raises(MCPError, match="file_path is required"):
            await client.get_prompt(prompt.name, {})
        return prompt, said.messages[0].content.text

    prompt, text = asking(served, mode, ask)
    assert (prompt.name, prompt.description) == ("quiet", "Quieter.")
    assert '"file_path":"a.wav"' in text
    assert "normalize" in text


# -- while it works --------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ERAS)
def test_progress_comes_while_it_works(served, slow, mode):
    told = []

    async def listen(share, total, step):
        told.append((share, total, step))
        if len(told) == 3:
            slow.let_go.set()

    answer = asking(served, mode, lambda c: c.call_tool("reverse", SOUND, progress_callback=listen))

    assert not answer.is_error
    assert len(told) >= 3
    assert all(0 < share < 1 and (total, step) == (1, "reverse") for share, total, step in told)


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("mode", ERAS)
def test_a_client_that_goes_takes_its_work_along(served, slow, mode, streams):
    async def hear(*_):
        """Ask for progress."""

    async def ask():
        async with httpx2.AsyncClient(timeout=PATIENCE) as http_client:
            transport = streamable_http_client(served.url, http_client=http_client)
            async with Client(transport, mode=mode) as client:
                more = {"progress_callback": hear} if streams else {}
                call = asyncio.create_task(client.call_tool("reverse", SOUND, **more))
                await asyncio.to_thread(slow.asked.wait, PATIENCE)
                await http_client.aclose()
                call.cancel()

    with pytest.raises(BaseException):  # noqa: B017 - however the client says that it broke
        asyncio.run(asyncio.wait_for(ask(), PATIENCE))
        raise ConnectionError
    assert slow.cancelled.wait(PATIENCE)


def test_a_streamed_answer_stays_below_what_clients_take(served, monkeypatch):
    service = served.service
    monkeypatch.setattr(service, "_ended", larger(service._ended, 2**18 + 1))

    async def listen(*_):
        """Ask for progress."""

    def call(client, **more):
        return client.call_tool("reverse", SOUND, **more)

    streamed = asking(served, MODERN, lambda c: call(c, progress_callback=listen))
    plain = asking(served, MODERN, call)
    assert "staged_because" in streamed.structured_content
    assert len(plain.structured_content["audio_base64"]) > 2**18


def larger(ended, size):
    """Jobs whose result has so many bytes."""

    def make(submission):
        job = ended(submission)
        (output,) = job.outputs
        output.path.write_bytes(bytes(size))
        return replace(job, outputs=[replace(output, size=size)])

    return make


# -- who may come in -------------------------------------------------------------------------------
def test_curl_may_ask_for_plain_json(served):
    status, answer = posted(served, LIST)

    assert status == 200
    assert len(answer["result"]["tools"]) > 60


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"Origin": "http://evil.example"}, 403, id="another site's page"),
        pytest.param({"Host": "evil.example"}, 421, id="a name that a stranger gave us"),
        pytest.param({"Host": "studio:8000"}, 200, id="a name of this network"),
        pytest.param({"Host": "localhost"}, 200, id="localhost"),
        pytest.param({"Host": "[::1]:8000"}, 200, id="an address"),
        pytest.param({"Content-Type": "text/plain"}, 400, id="not JSON"),
    ],
)
def test_who_may_come_in(served, headers, expected):
    status, _ = posted(served, LIST, **headers)

    assert status == expected


def test_a_refusal_is_json_in_the_protocols_words_or_ours(served):
    status, ours = posted(served, LIST, **{"Content-Type": "text/plain"})
    assert (status, "Content-Type" in ours["detail"]) == (400, True)

    status, theirs = posted(served, {"jsonrpc": "2.0"})
    assert (status, theirs["jsonrpc"]) == (400, "2.0")
    assert theirs["error"]["code"] < 0


def test_there_is_nothing_to_get(served):
    for method in ("GET", "DELETE"):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        connection.request(method, "/v1/mcp")
        assert connection.getresponse().status == 405
        connection.close()


def test_the_token_opens_it(tmp_path):
    with listening(SlowService(tmp_path), auth_token="secret", mcp_inline_bytes=0) as served:
        assert posted(served, LIST)[0] == 401
        assert posted(served, LIST, Authorization="Bearer wrong")[0] == 401
        named = {"Authorization": "Bearer secret", "Host": "studio.example"}
        assert posted(served, LIST, **named)[0] == 200


class Knows:
    """Falcon middleware: everybody has a token that may only do some things."""

    def process_request(self, req, _):
        may = ("read",).__contains__
        req.context.holder = SimpleNamespace(name="viewer", may=may)


@pytest.mark.parametrize("mode", ERAS)
def test_a_token_does_only_what_it_is_for(tmp_path, mode):
    settings = api_settings()
    service = SlowService(tmp_path)
    app = create_app(service, settings)
    app.add_middleware(Knows())
    server = serve(app, settings, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()

    async def ask(client):
        for name, arguments in (("reverse", SOUND), ("list_files", {}), ("cancel_job", {})):
            with pytest.raises(MCPError, match="viewer does not have the scope"):
                await client.call_tool(name, arguments)
        with pytest.raises(MCPError, match="the scope files"):
            await client.read_resource("audiolla://files/a.wav")
        return await client.call_tool("list_ops", {})

    try:
        url = f"http://127.0.0.1:{server.port}/v1/mcp"
        answer = asking(SimpleNamespace(url=url), mode, ask)
    finally:
        server.close()
        thread.join(PATIENCE)
    assert "trim" in answer.structured_content["ops"]


def test_no_more_may_come_in_than_may_come_out(tmp_path):
    with listening(SlowService(tmp_path), mcp_inline_bytes=3 << 20) as served:
        # 3 MiB are 4 as base64; 2 more are for text.
        for size, expected in ((6 << 20) + 1, 413), (100, 400):
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
            connection.putrequest("POST", "/v1/mcp")
            connection.putheader("Accept", "application/json")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(size))
            connection.endheaders(b"x" * 100)
            assert connection.getresponse().status == expected
            connection.close()


def test_those_who_wait_leave_room_for_others(served, slow):
    from control_api.rest import MAX_WAITING

    calls = []
    body = {**LIST, "method": "tools/call", "params": {"name": "reverse", "arguments": SOUND}}
    for _ in range(MAX_WAITING):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        head = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", "/v1/mcp", json.dumps(body), head)
        calls.append(connection)
    statuses = []

    def others():
        while 503 not in statuses and len(statuses) < 1000:
            statuses.append(posted(served, LIST)[0])
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        connection.request("GET", "/healthz")
        statuses.append(connection.getresponse().status)
        connection.close()

    others()
    assert statuses[-2:] == [503, 200]
    slow.let_go.set()
    assert {connection.getresponse().status for connection in calls} == {200}
    for connection in calls:
        connection.close()
