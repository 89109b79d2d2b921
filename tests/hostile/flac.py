"""A FLAC of nothing, by hand: 65,535 equal samples are some bytes (RFC 9639, section 9)."""

from __future__ import annotations

from functools import cache


@cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & top else 0)) & mask
        table.append(crc)
    return tuple(table)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _table(0x07, 8)[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _table(0x8005, 16)[crc >> 8 ^ byte]
    return crc


def _number(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    if value < 0x800:
        return bytes([0xC0 | value >> 6, 0x80 | value & 63])
    return bytes([0xE0 | value >> 12, 0x80 | value >> 6 & 63, 0x80 | value & 63])


@cache
def constant_flac(blocks: int, channels: int = 8, rate: int = 44100) -> bytes:
    """A file of `blocks` times 65,535 silent frames of 16 bits; fewer than 65,536 blocks."""
    total, size = blocks * 65535, 65535
    info = size.to_bytes(2, "big") * 2 + bytes(6)
    packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | total
    info += packed.to_bytes(8, "big") + bytes(16)
    out = [b"fLaC", b"\x80\0\0\x22", info]
    for block in range(blocks):
        # Fixed size, given in 16 bits; rate from the header; 16 bits per sample.
        head = b"\xff\xf8\x70" + bytes([channels - 1 << 4 | 8]) + _number(block)
        head += (size - 1).to_bytes(2, "big")
        head += bytes([_crc8(head)])
        frame = head + b"\0\0\0" * channels  # constant sub-frames of value 0
        out.append(frame + _crc16(frame).to_bytes(2, "big"))
    return b"".join(out)
