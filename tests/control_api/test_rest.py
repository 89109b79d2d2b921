import json
from pathlib import Path

import pytest

from handlers import errors
from tests.control_api.requests import form, multipart

TRIM = "/v1/audio/trim"
SOUND = ("file", "take 1.wav", b"RIFFsound")


def ordered(service):
    """The one order that was submitted."""
    (submission,) = service.submitted
    return submission.order


def detail(answer):
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) >= {"detail"}
    assert isinstance(answer.json["detail"], str)
    return answer.json["detail"]


# -- what goes in ------------------------------------------------------------------------------
def test_an_upload_becomes_a_file_of_ours_and_its_bytes_stay_as_they_are(client, service):
    answer = client.simulate_post(TRIM, **multipart(SOUND, ("end_sec", "3")))

    assert answer.status_code == 200
    order = ordered(service)
    assert order.sound.path.read_bytes() == b"RIFFsound"
    assert order.sound.path.parent == service.folder
    assert order.sound.name == "take 1.wav"
    assert order.steps[0].op == "trim"
    assert order.steps[0].params == {"end_sec": 3.0}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        pytest.param("../../etc/passwd", "passwd", id="a path"),
        pytest.param("C:\\\\music\\\\take.wav", "take.wav", id="a Windows path"),
        pytest.param("a\tb.wav", "a_b.wav", id="a control character"),
        pytest.param("..", "file", id="no name at all"),
        pytest.param("été 日本.wav", "été 日本.wav", id="any language"),
    ],
)
def test_a_clients_file_name_is_only_ever_shown(client, service, sent, shown):
    client.simulate_post(TRIM, **multipart(("file", sent, b"x"), ("end_sec", "3")))

    assert ordered(service).sound.name == shown
    assert ordered(service).sound.path.parent == service.folder


def test_a_file_name_that_is_not_utf8_is_told(client):
    parts = multipart(("file", b"caf\xe9.wav", b"x"), ("end_sec", "3"))

    answer = client.simulate_post(TRIM, **parts)
    assert answer.status_code == 400
    assert "UTF-8" in detail(answer)


@pytest.mark.parametrize(
    "request_with",
    [
        pytest.param(form("file_path=a/take.wav&end_sec=3&start_sec="), id="urlencoded"),
        pytest.param(multipart(("file_path", "/a/take.wav"), ("end_sec", "3")), id="multipart"),
        pytest.param(
            {"json": {"file_path": "a/take.wav", "end_sec": 3, "start_sec": None}}, id="JSON"
        ),
        pytest.param(
            {"json": {"end_sec": 3}, "query_string": "file_path=a%2Ftake.wav"},
            id="JSON with the rest in the query",
        ),
    ],
)
def test_a_staged_file_is_named_in_any_kind_of_body(client, service, request_with):
    service.stored["a/take.wav"] = b"x"

    answer = client.simulate_post(TRIM, **request_with)
    assert answer.status_code == 200, answer.text
    assert str(ordered(service).sound.path) == "/staged/a/take.wav"
    assert ordered(service).steps[0].params == {"end_sec": 3.0}


@pytest.mark.parametrize("text", ["true", "True", "1", "YES", "on"])
def test_a_boolean_may_be_written_in_many_ways(client, text):
    answer = client.simulate_post(TRIM, **multipart(SOUND, ("end_sec", "3"), ("async_job", text)))
    assert answer.status_code == 202


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "OFF", ""])
def test_and_so_may_its_opposite(client, text):
    answer = client.simulate_post(TRIM, **multipart(SOUND, ("end_sec", "3"), ("async_job", text)))
    assert answer.status_code == 200


def test_a_parameters_other_name_is_taken(client, service):
    answer = client.simulate_post("/v1/audio/fade", **multipart(SOUND, ("fade_in_sec", "2")))

    assert answer.status_code == 200, answer.text
    assert ordered(service).steps[0].params == {"fade_in": 2.0}


def test_json_text_in_a_form_field_is_read(client, service):
    bands = [{"freq": 1000, "gain_db": 3}]
    answer = client.simulate_post("/v1/audio/eq", **multipart(SOUND, ("bands", json.dumps(bands))))

    assert answer.status_code == 200, answer.text
    (band,) = ordered(service).steps[0].params["bands"]
    assert band["freq"] == 1000
    assert band["gain_db"] == 3


def test_a_list_of_staged_sounds_keeps_their_settings(client, service):
    service.stored |= {"a.wav": b"x", "b.wav": b"y"}
    tracks = [{"file_path": "a.wav"}, {"file_path": "b.wav", "gain_db": -3}]

    answer = client.simulate_post("/v1/audio/mix", **multipart(("tracks", json.dumps(tracks))))
    assert answer.status_code == 200, answer.text
    items = ordered(service).steps[0].items["tracks"]
    assert [str(i.sound.path) for i in items] == ["/staged/a.wav", "/staged/b.wav"]
    assert [i.settings.get("gain_db", 0) for i in items] == [0, -3]
    assert ordered(service).sound is None


# -- what is refused, before a job exists ------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        pytest.param([("end_sec", "3")], 400, "no sound", id="no input"),
        pytest.param([("file", ""), ("end_sec", "3")], 400, "no sound", id="an empty field"),
        pytest.param([SOUND, ("file_path", "a.wav"), ("end_sec", "3")], 400, "only one", id="two"),
        pytest.param([SOUND, SOUND, ("end_sec", "3")], 400, "twice", id="the upload twice"),
        pytest.param([("file", "a.wav", b""), ("end_sec", "3")], 400, "empty", id="empty upload"),
        pytest.param([("file_path", "e"), ("end_sec", "3")], 400, "empty", id="empty staged file"),
        pytest.param([("file_path", "x"), ("end_sec", "3")], 404, "'x'", id="no such file"),
        pytest.param([("file_path", "../x"), ("end_sec", "3")], 400, "..", id="escaping path"),
        pytest.param([("file_url", "https://x/y.wav"), ("end_sec", "3")], 400, "fetch", id="a URL"),
        pytest.param(
            [("file", "a", b"x" * 10_001), ("end_sec", "3")], 413, "10000", id="too large"
        ),
        pytest.param([SOUND, ("end_sec", "abc")], 422, "end_sec", id="mistyped"),
        pytest.param([SOUND, ("end_sec", "nan")], 400, "end_sec", id="not a number"),
        pytest.param([SOUND, ("end_sec", "3"), ("start_sec", "-1")], 400, "start_sec", id="range"),
        pytest.param([SOUND, ("end_sec", "3"), ("end_sec", "4")], 400, "2 times", id="doubled"),
        pytest.param([SOUND, ("end_sec", "3"), ("speed", "2")], 422, "speed", id="unknown field"),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_format", "mp5")], 415, "mp5", id="unknown format"
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_format", "mp3"), ("bit_depth", "24")],
            400,
            "bit_depth",
            id="a depth for a lossy format",
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_format", "mp3"), ("bitrate", "fast")],
            422,
            "bitrate",
            id="a mistyped bitrate",
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_path", "a"), ("output_url", "https://x/y")],
            400,
            "both",
            id="two destinations",
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_path", "a/../../b")], 400, "..", id="bad target"
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("output_url", "https://x/y")], 400, "URLs", id="target URL"
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("webhook_url", "ftp://x")], 400, "not ftp", id="webhook"
        ),
        pytest.param(
            [SOUND, ("end_sec", "3"), ("async_job", "maybe")], 422, "async_job", id="flag"
        ),
    ],
)
def test_a_bad_request_is_told_before_a_job_exists(client, service, parts, status, says):
    service.stored["e"] = b""

    answer = client.simulate_post(TRIM, **multipart(*parts))
    assert answer.status_code == status, answer.text
    assert says in detail(answer)
    assert service.submitted == []
    assert service.discarded, "the upload is removed again"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param("no", "JSON", id="not JSON"),
        pytest.param('{"file_path": "a.wav"}', "array", id="no array"),
        pytest.param("[]", "at least", id="no tracks"),
        pytest.param('[{"file_path": "a.wav"}]', "at least", id="one track"),
        pytest.param('[{"file_path": "a.wav"}, {}]', "track 1", id="a track without a source"),
        pytest.param('["a.wav", "b.wav"]', "track 0", id="no objects"),
        pytest.param(
            '[{"file_path": "a.wav", "file_url": "http://x"}, {}]', "track 0", id="two sources"
        ),
        pytest.param(
            '[{"file_path": "a.wav"}, {"file_path": "a.wav", "gain_db": "loud"}]',
            "track 1",
            id="a bad gain",
        ),
        pytest.param(
            '[{"file_path": "a.wav"}, {"file_path": "a.wav", "pan": 1}]',
            "track 1",
            id="an unknown setting",
        ),
        pytest.param('[{"file_path": "a.wav"}, {"file_url": "http://x"}]', "track 1", id="a URL"),
        pytest.param("[" * 2000, "JSON", id="a deep nest"),
        pytest.param('[{"file_path": "a.wav", "gain_db": NaN}]', "JSON", id="NaN"),
    ],
)
def test_a_bad_list_of_sounds_names_the_entry(client, service, value, says):
    service.stored["a.wav"] = b"x"

    answer = client.simulate_post("/v1/audio/mix", **multipart(("tracks", value)))
    assert answer.status_code == 400, answer.text
    assert says in detail(answer)


def test_a_staged_track_that_is_not_there_is_a_404(client, service):
    service.stored["a.wav"] = b"x"
    tracks = '[{"file_path": "a.wav"}, {"file_path": "b.wav"}]'

    answer = client.simulate_post("/v1/audio/mix", **multipart(("tracks", tracks)))
    assert answer.status_code == 404
    assert "track 1" in detail(answer)


def test_a_missing_list_of_sounds_is_a_missing_parameter(client):
    assert client.simulate_post("/v1/audio/mix", **multipart()).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param("[]", 400, "object", id="no object"),
        pytest.param("{", 400, "JSON", id="cut off"),
        pytest.param('{"end_sec": NaN}', 400, "JSON", id="NaN"),
        pytest.param('{"a": ' * 5000, 400, "JSON", id="a deep nest"),
        pytest.param('{"file_path": "a.wav", "end_sec": "3"}', 422, "end_sec", id="text for 3"),
        pytest.param('{"file_path": "a.wav", "end_sec": true}', 422, "end_sec", id="true for 1"),
        pytest.param('{"file_path": 7, "end_sec": 3}', 400, "file_path", id="a number as path"),
        pytest.param('{"file": "a.wav", "end_sec": 3}', 400, "multipart", id="text as upload"),
        pytest.param('{"file_path": "a\\ud800"}', 400, "JSON", id="half a character"),
    ],
)
def test_a_json_body_is_checked_strictly(client, service, body, status, says):
    service.stored["a.wav"] = b"x"

    answer = client.simulate_post(TRIM, body=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert says in detail(answer)


SONG = {"tempo_bpm": 90, "tracks": [{"notes": [{"pitch": 60, "duration_beats": 1}]}]}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            {"body": json.dumps(SONG), "headers": {"Content-Type": "application/json"}},
            id="as the body",
        ),
        pytest.param(multipart(("spec", json.dumps(SONG))), id="in a field of a form"),
        pytest.param(
            multipart(("tempo_bpm", "90"), ("tracks", json.dumps(SONG["tracks"]))),
            id="field by field",
        ),
    ],
)
def test_a_document_comes_as_a_body_or_in_a_form_and_options_in_the_query(client, service, sent):
    url = "/v1/midi/compose"
    client.simulate_post(url, query_string="output_path=midi/song.mid", **sent)

    order = ordered(service)
    assert order.steps[0].params == SONG
    assert order.delivery.name == "song.mid"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param("[]", "must be a JSON object", id="no object"),
        pytest.param("{", "JSON", id="cut off"),
        pytest.param("{}", "tracks is required", id="something missing"),
        pytest.param('{"tempo_bpm": "fast", "tracks": []}', "tempo_bpm", id="a wrong type"),
        pytest.param('{"tempo": 90, "tracks": []}', "no field tempo", id="an unknown name"),
        pytest.param(
            '{"tracks": [{"notes": [{"duration_beats": 1}]}]}',
            "tracks[0].notes[0].pitch is required",
            id="a note without a pitch",
        ),
    ],
)
def test_whatever_is_wrong_in_a_document_is_a_bad_request(client, spec, says):
    for sent in (
        multipart(("spec", spec)),
        {"body": spec, "headers": {"Content-Type": "application/json"}},
    ):
        answer = client.simulate_post("/v1/midi/compose", **sent)
        assert answer.status_code == 400, answer.text
        assert says in detail(answer)


def test_a_document_and_a_field_of_it_are_not_both_taken(client):
    sent = multipart(("spec", json.dumps(SONG)), ("tempo_bpm", "80"))
    answer = client.simulate_post("/v1/midi/compose", **sent)
    assert answer.status_code == 400
    assert "tempo_bpm is given beside spec and in it" in detail(answer)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param({"Content-Type": "text/plain"}, b"x", 415, id="another kind of body"),
        pytest.param({"Content-Type": "multipart/form-data"}, b"x", 400, id="no boundary"),
        pytest.param(
            {"Content-Type": "multipart/form-data; boundary=x"}, b"no form", 400, id="no form"
        ),
        pytest.param(
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="end_sec"\r\n\r\n\xff\r\n--x--\r\n',
            400,
            id="text that is not UTF-8",
        ),
        pytest.param(
            {"Content-Type": "application/x-www-form-urlencoded"}, b"end_sec=%ff", 400, id="%ff"
        ),
        pytest.param(
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=" + b"x" * (1 << 20),
            413,
            id="a sound sent as a form",
        ),
        pytest.param({}, b"", 400, id="nothing at all"),
    ],
)
def test_a_broken_body_is_a_sentence(client, headers, body, status):
    answer = client.simulate_post(TRIM, body=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert detail(answer)


# -- what comes out ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("wav", "audio/wav"),
        ("mp3", "audio/mpeg"),
        ("flac", "audio/flac"),
        ("opus", "audio/ogg; codecs=opus"),
        ("aac", "audio/aac"),
        ("pcm", "audio/pcm"),
    ],
)
def test_a_sound_comes_back_as_bytes_of_its_format(client, service, name, content_type):
    answer = client.simulate_post(
        TRIM, **multipart(SOUND, ("end_sec", "3"), ("output_format", name))
    )

    assert answer.status_code == 200
    assert answer.content == b"result"
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-disposition"] == f'attachment; filename="trim.{name}"'
    assert ordered(service).delivery.encoding.format == name
    assert service.discarded == ["job-1"] * len(service.discarded) != []


def test_declared_facts_come_as_headers(client, service):
    service.outcome = {"measured_lufs": -23.4, "target_lufs": -16.0}
    answer = client.simulate_post("/v1/audio/normalize", **multipart(SOUND, ("target_lufs", "-16")))

    assert answer.headers["x-loudness-lufs"] == "-23.4"
    assert answer.headers["x-target-lufs"] == "-16.0"


def test_a_picture_comes_back_as_a_picture(client, service):
    answer = client.simulate_post("/v1/audio/visualize/image/waveform", **multipart(SOUND))

    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="waveform.png"'
    assert ordered(service).delivery.exact


@pytest.mark.parametrize(
    ("asked", "ext"), [((), "mp4"), ((("container", "webm"),), "webm")], ids=["as it comes", "webm"]
)
def test_a_video_is_named_after_its_container(client, service, asked, ext):
    body = multipart(SOUND, ("async_job", "true"), *asked)
    answer = client.simulate_post("/v1/audio/visualize/video/waves", **body)
    assert answer.status_code == 202
    assert ordered(service).delivery.name.endswith(f".{ext}")


def test_a_report_comes_back_as_json(client, service):
    service.outcome = {"duration_sec": 1.5, "channels": 2}
    answer = client.simulate_post("/v1/audio/info", **multipart(SOUND))

    assert answer.json == {"duration_sec": 1.5, "channels": 2}
    assert ordered(service).delivery is None


def test_with_output_path_the_answer_describes_what_was_staged(client, service):
    service.outcome = {"start_sec": 0.0, "end_sec": 3.0}
    answer = client.simulate_post(
        TRIM,
        **multipart(
            SOUND, ("end_sec", "3"), ("output_path", "/out/a.mp3"), ("output_format", "mp3")
        ),
    )

    assert answer.json == {
        "path": "out/a.mp3",
        "size": 6,
        "output_format": "mp3",
        "start_sec": 0.0,
        "end_sec": 3.0,
    }


def test_an_async_job_is_answered_at_once(client, service):
    answer = client.simulate_post(
        TRIM,
        **multipart(
            SOUND,
            ("end_sec", "3"),
            ("async_job", "true"),
            ("webhook_url", "https://x.org/done?a=b"),
        ),
    )

    assert answer.status_code == 202
    job_id = answer.json["job_id"]
    assert answer.json == {
        "job_id": job_id,
        "status": "pending",
        "status_url": f"/v1/jobs/{job_id}",
        "result_url": f"/v1/jobs/{job_id}/result",
    }
    (submission,) = service.submitted
    assert submission.background
    assert submission.webhook_url == "https://x.org/done?a=b"
    assert submission.endpoint == TRIM
    # Where the contract puts a result without a destination.
    assert submission.order.delivery.folder.as_posix() == "/staged/jobs"
    assert submission.order.delivery.name == f"{job_id}.wav"
    assert service.discarded == [], "its upload is still needed"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnreadableInput("no audio in it"), 400),
        (errors.CannotProcess("it is silent"), 400),
        (errors.BadParameter("5000 Hz is too high"), 400),
        (errors.NoSuchFile("gone"), 404),
        (errors.UnknownEngine("no engine x"), 404),
        (errors.Cancelled("cancelled"), 409),
        (errors.TooLarge("decodes to too much"), 413),
        (errors.UnknownFormat("mp5"), 415),
        (errors.MistypedParameter("x"), 422),
        (errors.WorkerKilled("killed its worker twice"), 500),
        (errors.WeightsMissing("htdemucs.th is not on disk"), 503),
        (errors.StorageFailed("the mount does not answer"), 503),
        (errors.StorageFull("no space left"), 507),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_jobs_failure_has_its_status(client, service, error, status):
    service.outcome = error
    answer = client.simulate_post(TRIM, **multipart(SOUND, ("end_sec", "3")))

    assert answer.status_code == status
    assert detail(answer) == error.detail


def test_a_sound_that_a_parameter_names_is_a_staged_one(client, service):
    service.stored["rooms/hall.wav"] = b"RIFF"
    hall = {"type": "Convolution", "params": {"impulse_response_filename": "rooms/hall.wav"}}
    parts = [("effects", json.dumps([hall])), ("file", "a.wav", b"RIFF")]

    answer = client.simulate_post("/v1/audio/fx", **multipart(*parts))

    assert answer.status_code == 200, answer.text
    (item,) = service.submitted[-1].order.steps[0].items["impulses"]
    assert item.sound.path == Path("/staged/rooms/hall.wav")
    assert item.settings == {"name": "rooms/hall.wav"}


@pytest.mark.parametrize(
    ("named", "status"),
    [
        pytest.param("rooms/none.wav", 400, id="not there"),
        pytest.param("../etc/passwd", 400, id="outside"),
    ],
)
def test_a_named_sound_keeps_to_the_staging_area(client, service, named, status):
    effect = {"type": "Convolution", "params": {"impulse_response_filename": named}}
    parts = [("effects", json.dumps([effect])), ("file", "a.wav", b"RIFF")]

    answer = client.simulate_post("/v1/audio/fx", **multipart(*parts))

    assert answer.status_code == status, answer.text
    assert service.submitted == []


# -- a SoundFont -------------------------------------------------------------------------------
SCORE = ("file", "a.mid", b"MThd")


def test_a_soundfont_is_a_staged_file(client, service):
    service.stored["fonts/strings.sf2"] = b"RIFF"
    answer = client.simulate_post(
        "/v1/midi/render", **multipart(SCORE, ("soundfont_path", "fonts/strings.sf2"))
    )

    assert answer.status_code == 200, answer.text
    (item,) = service.submitted[-1].order.steps[0].items["fonts"]
    assert item.sound.path == Path("/staged/fonts/strings.sf2")
    assert item.settings == {"name": "fonts/strings.sf2"}


@pytest.mark.parametrize("named", ["fonts/none.sf2", "../etc/passwd", "/usr/share/x.sf2"])
def test_a_soundfont_that_is_not_staged_is_a_400(client, service, named):
    answer = client.simulate_post("/v1/midi/render", **multipart(SCORE, ("soundfont_path", named)))

    assert answer.status_code == 400, answer.text
    assert service.submitted == []


def test_how_a_song_is_played_travels_in_the_query(client, service):
    service.stored["s.sf2"] = b"RIFF"
    song = {"tracks": [{"notes": [{"pitch": 60, "duration_beats": 1}]}]}
    answer = client.simulate_post(
        "/v1/midi/generate", json=song, params={"soundfont_path": "s.sf2", "gain": "0.8"}
    )

    assert answer.status_code == 200, answer.text
    (step,) = service.submitted[-1].order.steps
    assert step.params["gain"] == 0.8
    assert step.items["fonts"][0].settings == {"name": "s.sf2"}


@pytest.mark.parametrize("text", ["3.0", "3", "3e0"])
def test_a_number_without_fraction_is_whole_however_it_is_written(client, service, text):
    service.stored["a.wav"] = b"x"
    body = f'{{"file_path": "a.wav", "count": {text}}}'
    answer = client.simulate_post(
        "/v1/audio/loop", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("depth", [200, 900, 1020, 5000])
def test_json_that_is_nested_deeply_is_refused_or_read(client, depth):
    body = '{"steps": ' + "[" * depth + "]" * depth + "}"
    answer = client.simulate_post(
        "/v1/pipeline", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert detail(answer)


@pytest.mark.parametrize(
    ("more", "headers", "fleeting"),
    [
        pytest.param([], {}, True, id="a reply and nothing else"),
        pytest.param([("output_path", "b.wav")], {}, False, id="into the staging area"),
        pytest.param([("async_job", "true")], {}, False, id="in the background"),
        pytest.param([], {"Idempotency-Key": "k"}, False, id="may be asked for again"),
        pytest.param([], {"Prefer": "wait=5"}, False, id="may become a job"),
    ],
)
def test_only_what_nobody_can_ask_for_again_may_be_lost_with_the_power(
    client, service, more, headers, fleeting
):
    sent = multipart(SOUND, ("end_sec", "3"), *more)
    sent["headers"] = sent["headers"] | headers
    client.simulate_post(TRIM, **sent)

    assert ordered(service).delivery.fleeting is fleeting


def test_a_result_that_lost_bytes_is_no_result(client, service, monkeypatch):
    ended = service._ended

    def torn(submission):
        job = ended(submission)
        job.outputs[0].path.write_bytes(b"res")
        return job

    monkeypatch.setattr(service, "_ended", torn)
    answer = client.simulate_post(TRIM, **multipart(SOUND, ("end_sec", "3")))

    assert answer.status_code == 503
    assert "not whole" in detail(answer)
