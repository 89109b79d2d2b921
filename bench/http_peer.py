"""The same two operations as somebody would write them with FastAPI, for `bench.http`.

The libraries are called directly, in the thread pool of a server process per
core, on the file that the form parser made: no queue, nothing kept, nothing
that outlives the process.
"""

from __future__ import annotations

import io
from typing import Annotated, Any

import soundfile
from fastapi import FastAPI, File, Form, HTTPException, Response, UploadFile

app = FastAPI()


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    """It answers."""
    return {"ok": True}


@app.post("/v1/audio/info")
def info(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
    """What the file is."""
    return info_of(file.file)


@app.post("/v1/audio/trim")
def trim(
    file: Annotated[UploadFile, File()],
    end_sec: Annotated[float, Form(gt=0)],
    start_sec: Annotated[float, Form(ge=0)] = 0.0,
) -> Response:
    """One stretch of the file."""
    return Response(trimmed(file.file, start_sec, end_sec), media_type="audio/wav")


def info_of(source: Any) -> dict[str, Any]:
    """The facts of a file."""
    try:
        facts = soundfile.info(source)
    except soundfile.LibsndfileError as wrong:
        raise HTTPException(400, str(wrong)) from None
    return {
        "duration_sec": facts.duration,
        "sample_rate": facts.samplerate,
        "channels": facts.channels,
        "codec": facts.subtype,
        "format": facts.format,
        "frames": facts.frames,
    }


def trimmed(source: Any, start_sec: float, end_sec: float) -> bytes:
    """A stretch of a file, as a file of the same kind."""
    try:
        with soundfile.SoundFile(source) as sound:
            start, end = round(start_sec * sound.samplerate), round(end_sec * sound.samplerate)
            sound.seek(min(start, sound.frames))
            kept = sound.read(max(end - start, 0), dtype="float32")
            out = io.BytesIO()
            soundfile.write(out, kept, sound.samplerate, subtype=sound.subtype, format="WAV")
    except soundfile.LibsndfileError as wrong:
        raise HTTPException(400, str(wrong)) from None
    return out.getvalue()
