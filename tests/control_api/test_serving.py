"""Parts of files, validators, pages: what browsers, players and curl ask for."""

import pytest

DATA = bytes(range(200))


@pytest.fixture(autouse=True)
def take(service):
    service.stored["take.wav"] = DATA


def get(client, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.simulate_get("/v1/files/take.wav", headers=named)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=190-", 190, 200),
        ("bytes=-7", 193, 200),
        ("bytes=-700", 0, 200),
        ("bytes=100-5000", 100, 200),
        ("bytes=199-199", 199, 200),
    ],
)
def test_a_part_is_sent_alone(client, asked, start, end):
    answer = get(client, Range=asked)
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/200"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", ["bytes=9-1", "bytes=0-1,5-6", "bytes", "seconds=0-1", "bytes=a-b", "bytes=-", ""]
)
def test_what_is_no_part_is_answered_with_the_whole(client, asked):
    answer = get(client, Range=asked)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=200-210", "bytes=-0"])
def test_a_part_behind_the_end_is_refused_with_the_length(client, asked):
    answer = get(client, Range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */200"
    assert "detail" in answer.json


def test_who_has_the_file_gets_none(client, service):
    tag = get(client).headers["etag"]
    for known in (tag, "*", f'"other", {tag}'):
        answer = get(client, If_None_Match=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    service.stored["take.wav"] = DATA[::-1]
    assert get(client, If_None_Match=tag).content == DATA[::-1]


def test_a_part_of_another_version_is_the_whole_of_this_one(client):
    tag = get(client).headers["etag"]
    assert get(client, Range="bytes=0-9", If_Range=tag).status_code == 206
    assert get(client, Range="bytes=0-9", If_Range='"older"').content == DATA


def test_a_head_has_the_length_and_no_body(client):
    answer = client.simulate_head("/v1/files/take.wav")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "200"


def pages(client, path, field):
    while path:
        answer = client.simulate_get(path)
        yield answer.json[field]
        link = answer.headers.get("link", "")
        assert link == "" or link.endswith('; rel="next"')
        path = link.partition(">")[0].removeprefix("<")


def test_files_come_in_pages(client, service):
    service.stored = {f"{n:02}.wav": b"x" for n in range(7)}
    found = [[f["path"] for f in page] for page in pages(client, "/v1/files?limit=3", "files")]
    names = sorted(service.stored)
    assert found == [names[:3], names[3:6], names[6:]]


def test_a_cursor_of_another_making_is_refused(client):
    answer = client.simulate_get("/v1/files", params={"limit": "1", "cursor": "_w"})
    assert (answer.status_code, answer.json["field"]) == (400, "cursor")
