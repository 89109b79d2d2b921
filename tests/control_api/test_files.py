import pytest


def test_a_file_goes_in_and_comes_out(client):
    put = client.simulate_put("/v1/files/mixes/take%201.wav", body=b"RIFF")
    assert put.status_code == 201
    assert put.json == {"path": "mixes/take 1.wav", "size": 4}

    got = client.simulate_get("/v1/files/mixes/take%201.wav")
    assert got.content == b"RIFF"
    assert got.headers["content-type"] == "audio/wav"
    assert got.headers["content-disposition"] == 'attachment; filename="take 1.wav"'
    assert got.headers["x-content-type-options"] == "nosniff"

    listed = client.simulate_get("/v1/files").json
    assert listed == {
        "files": [{"path": "mixes/take 1.wav", "size": 4, "modified": "1970-01-01T00:00:00.500Z"}]
    }

    assert client.simulate_delete("/v1/files/mixes/take%201.wav").json == {
        "deleted": "mixes/take 1.wav"
    }
    assert client.simulate_get("/v1/files").json == {"files": []}


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.mp3", "audio/mpeg"),
        ("A.FLAC", "audio/flac"),
        ("a.mid", "audio/midi"),
        ("a.png", "image/png"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_from_the_name(client, service, name, content_type):
    service.stored[name] = b"x"

    assert client.simulate_get(f"/v1/files/{name}").headers["content-type"] == content_type


def test_a_name_in_another_script_is_sent_in_both_forms(client, service):
    service.stored['b"ä\u65e5.wav'] = b"x"
    answer = client.simulate_get("/v1/files/b%22%C3%A4%E6%97%A5.wav")

    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"b___.wav\"; filename*=UTF-8''b%22%C3%A4%E6%97%A5.wav"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("../x", id="parent"),
        pytest.param("a/%2e%2e/%2e%2e/x", id="parent, encoded"),
        pytest.param("a%2f..%2f..%2fx", id="slashes, encoded"),
        pytest.param("a%5cb", id="backslash"),
        pytest.param("a%00b", id="NUL"),
        pytest.param("a%ffb", id="not UTF-8"),
        pytest.param("a//b", id="empty segment"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_path_that_breaks_a_rule_is_a_400(client, service, method, path):
    answer = client.simulate_request(method, f"/v1/files/{path}")

    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json["detail"], str)
    assert service.stored == {}


def test_leading_slashes_are_stripped(client, service):
    assert client.simulate_put("/v1/files//etc/passwd", body=b"x").json["path"] == "etc/passwd"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_absent_file_is_a_404(client, method):
    answer = client.simulate_request(method, "/v1/files/absent.wav")

    assert answer.status_code == 404
    assert "absent.wav" in answer.json["detail"]


def test_too_large_a_file_is_a_413(client, service):
    answer = client.simulate_put("/v1/files/big.wav", body=b"x" * 10_001)

    assert answer.status_code == 413
    assert service.stored == {}
