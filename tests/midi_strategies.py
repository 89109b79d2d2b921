"""Random but valid MIDI files for property tests, spelled byte by byte."""

from __future__ import annotations

from hypothesis import strategies as st

from handlers.artifacts import Midi
from tests.scores import number, raw_file

SEVEN = st.integers(0, 127)
#: Few keys and channels, so that notes meet.
PITCH = st.one_of(st.integers(58, 62), SEVEN)
CHANNEL = st.one_of(st.sampled_from((0, 1, 9)), st.integers(0, 15))
#: Many events at one tick, and some far apart.
GAP = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 1000))
TEXT = st.text(max_size=8).map(lambda text: text.encode())


def _channel_event(status: int, *data: int) -> tuple[int, bytes]:
    return status, bytes(data)


def _meta(kind: int, payload: bytes) -> tuple[int, bytes]:
    return 0xFF, bytes((kind,)) + number(len(payload)) + payload


def _sysex(payload: bytes) -> tuple[int, bytes]:
    return 0xF0, number(len(payload) + 1) + payload + b"\xf7"


def _escape(payload: bytes) -> tuple[int, bytes]:
    return 0xF7, number(len(payload)) + payload


NOTES = st.one_of(
    st.builds(lambda c, p, v: _channel_event(0x90 | c, p, v), CHANNEL, PITCH, SEVEN),
    st.builds(lambda c, p, v: _channel_event(0x80 | c, p, v), CHANNEL, PITCH, SEVEN),
    st.builds(lambda c, p: _channel_event(0x90 | c, p, 0), CHANNEL, PITCH),
)
OTHERS = st.one_of(
    st.builds(lambda c, p, v: _channel_event(0xA0 | c, p, v), CHANNEL, PITCH, SEVEN),
    st.builds(lambda c, n, v: _channel_event(0xB0 | c, n, v), CHANNEL, SEVEN, SEVEN),
    st.builds(lambda c, n: _channel_event(0xC0 | c, n), CHANNEL, SEVEN),
    st.builds(lambda c, n: _channel_event(0xD0 | c, n), CHANNEL, SEVEN),
    st.builds(lambda c, n, v: _channel_event(0xE0 | c, n, v), CHANNEL, SEVEN, SEVEN),
    st.builds(_meta, st.integers(1, 7), TEXT),
    st.builds(lambda tempo: _meta(0x51, tempo.to_bytes(3, "big")), st.integers(20_000, 2**24 - 1)),
    st.builds(
        lambda top, power: _meta(0x58, bytes((top, power, 24, 8))),
        st.integers(1, 32),
        st.integers(0, 5),
    ),
    st.builds(_sysex, st.binary(max_size=6).map(lambda raw: bytes(b & 0x7F for b in raw))),
)


@st.composite
def files(
    draw: st.DrawFn,
    *,
    kinds: tuple[int, ...] = (0, 1, 2),
    escapes: bool = True,
    tidy: bool = True,
    smpte: bool = False,
) -> Midi:
    """A file whose every number is as short as can be; not `tidy`: now and then it is not."""
    kind = draw(st.sampled_from(kinds))
    tracks = 1 if kind == 0 else draw(st.integers(1, 3))
    division = draw(st.one_of(st.sampled_from((24, 96, 480)), st.integers(1, 32767)))
    if smpte and draw(st.booleans()):
        division = -(draw(st.sampled_from((24, 25, 29, 30))) << 8) + draw(st.integers(1, 255))
    more = [st.builds(_escape, st.binary(max_size=5))] if escapes else []
    events = st.lists(st.tuples(GAP, st.one_of(NOTES, NOTES, OTHERS, *more)), max_size=24)
    chunks = []
    for _ in range(tracks):
        body, before = b"", 0
        for gap, (status, data) in draw(events):
            body += _spelled(draw, gap, tidy)
            # Running status may be used, and needs not be.
            bare = status == before and status < 0xF0 and draw(st.booleans())
            body += data if bare else bytes((status,)) + data
            before = status if status < 0xF0 else 0
        body += _spelled(draw, draw(GAP), tidy) + b"\xff\x2f\x00"
        chunks.append(b"MTrk" + len(body).to_bytes(4, "big") + body)
    return raw_file(*chunks, kind=kind, division=division)


def _spelled(draw: st.DrawFn, value: int, tidy: bool) -> bytes:
    """A number, now and then with a needless first byte."""
    short = number(value)
    padded = not tidy and len(short) < 4 and draw(st.booleans())
    return b"\x80" + short if padded else short
