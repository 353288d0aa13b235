"""Damage to valid content, the same for the same number on every machine."""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    -1,
    -2,
)
WORDS = ("nan", "inf", "-1", "0", "1e308", "999999999999", "1000000", "", "none", "%s", "../secret", "9" * 30, "1 1 1")
MOST_CHANGES = 6


def mutate(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change a few bytes, numbers or stretches; half of the changes hit the beginning, where headers are."""
    data = bytearray(content)
    for _ in range(dice.randint(1, MOST_CHANGES)):
        dice.choice(CHANGES)(data, others, dice)
    return bytes(data)


def packed(content: bytes, dice: random.Random) -> bytes:
    """The same gzipped, now and then damaged afterwards."""
    zipped = gzip.compress(content, 1, mtime=0)
    return mutate(zipped, (), dice) if dice.random() < 0.2 else zipped


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that it is not their checksums that it is refused for."""
    data, at = bytearray(png), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(data)


def _place(data: bytearray, dice: random.Random) -> int:
    limit = len(data) if dice.random() < 0.5 else min(512, len(data))
    return dice.randrange(max(1, limit))


def _bit(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if data:
        data[_place(data, dice)] ^= 1 << dice.randrange(8)


def _byte(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if data:
        data[_place(data, dice)] = dice.randrange(256)


def _number(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    size = dice.choice((1, 2, 4, 8))
    value = dice.choice(NUMBERS) % 2 ** (8 * size)
    if len(data) >= size:
        at = min(_place(data, dice), len(data) - size)
        data[at : at + size] = value.to_bytes(size, dice.choice(("little", "big")))


def _float(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if len(data) >= 4:
        at = min(_place(data, dice) & ~3, len(data) - 4)
        value = dice.choice((0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30, 1e18))
        data[at : at + 4] = struct.pack("<f", value)


def _digits(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    found = [match.span() for match in re.finditer(rb"-?[0-9]+(?:\.[0-9]+)?", bytes(data[:4096]))]
    if found:
        start, end = dice.choice(found)
        data[start:end] = (dice.choice(WORDS) if dice.random() < 0.5 else str(dice.choice(NUMBERS))).encode()


def _line(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    lines = bytes(data[:2048]).split(b"\n")
    if len(lines) > 2:
        at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
        lines[at] = dice.choice((lines[other], b"", lines[at] + lines[other]))
        data[:2048] = b"\n".join(lines)


def _cut(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    at = _place(data, dice)
    del data[at : at + dice.choice((1, 2, 4, 16, 256))]


def _insert(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    at = _place(data, dice)
    data[at:at] = dice.randbytes(dice.choice((1, 2, 4, 16))) if dice.random() < 0.5 else data[at : at + 64]


def _end(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    del data[_place(data, dice) :]


def _splice(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if others:
        other = dice.choice(others)
        at, size = _place(data, dice), dice.choice((8, 64, 512))
        start = dice.randrange(max(1, len(other)))
        data[at : at + size] = other[start : start + size]


Change = Callable[[bytearray, tuple[bytes, ...], random.Random], None]
CHANGES: tuple[Change, ...] = (
    _bit,
    _byte,
    _byte,
    _number,
    _number,
    _float,
    _digits,
    _digits,
    _line,
    _cut,
    _insert,
    _splice,
)
CHANGES = (*CHANGES * 2, _end)


LEAVES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -0.0, 1e308, float("nan"), float("inf"), 0.5, 1e-300),
    *("", "a", "auto", "../x", "\0", "\ud800", "x" * 5000, "nan", "1", "{}", "\u202e", "image", "malignant"),
    *(
        [],
        {},
        [[]],
        [0] * 300,
        {"": None},
        {"label": 1},
        {"polygon": []},
        [[0, 0, 0]] * 3,
        [[1e9, 0, 0], [0, 1e9, 0], [0, 0, 1e9]],
    ),
)


def mutate_json(value: Any, dice: random.Random) -> Any:
    """Replace, remove or add values somewhere in JSON."""
    for _ in range(dice.randint(1, 3)):
        value = _change_json(value, dice)
    return value


def _change_json(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(sorted(value))
        if dice.random() < 0.15:
            return {name: each for name, each in value.items() if name != key}
        if dice.random() < 0.1:
            return {**value, str(dice.choice(WORDS)): dice.choice(LEAVES)}
        return {**value, key: _change_json(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.7:
        at = dice.randrange(len(value))
        return [*value[:at], _change_json(value[at], dice), *value[at + 1 :]]
    if isinstance(value, str) and value and dice.random() < 0.5:
        return mutate(value.encode("utf-8", "replace"), (), dice).decode("latin-1")
    if isinstance(value, int | float) and not isinstance(value, bool) and dice.random() < 0.6:
        return dice.choice((value + 1, value - 1, value * 3, -value, value * 0.5, value + 0.25))
    return dice.choice(LEAVES)
