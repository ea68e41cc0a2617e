"""SentencePiece's table of replacements: a double array that the library follows without looking where it leads."""

from __future__ import annotations

import base64
import struct
import sys
from array import array
from typing import Any

from zoo.errors import CheckpointError

MAX_TABLE_BYTES = 4 << 20  # that of nmt_nfkc has 0.24 MB
MAX_REPLACEMENT_BYTES = 64  # the longest of nmt_nfkc has 33
_IS_VALUE, _HAS_VALUE = 1 << 31, 1 << 8


def longest_replacement(charsmap: Any, place: str, file: object) -> int:
    """Bytes of the longest text that a character turns into. Raises CheckpointError where the table is broken."""
    what = CheckpointError(file, f"{place}.precompiled_charsmap", "is not a table of SentencePiece")
    if not isinstance(charsmap, str) or len(charsmap) > 2 * MAX_TABLE_BYTES:
        raise what
    try:
        data = base64.b64decode(charsmap, validate=True)
        (size,) = struct.unpack_from("<I", data)
        texts = data[4 + size :]
        texts.decode("utf-8")
    except (ValueError, struct.error):
        raise what from None
    units = array("I")
    if size % 4 or 4 + size > len(data) or len(data) > MAX_TABLE_BYTES or units.itemsize != 4:
        raise what
    units.frombytes(data[4 : 4 + size])
    if sys.byteorder == "big":
        units.byteswap()
    longest = max(map(len, texts.split(b"\0")), default=0)
    if not units or longest > MAX_REPLACEMENT_BYTES or not _is_closed(units, texts):
        raise what
    return longest


def _is_closed(units: array[int], texts: bytes) -> bool:
    """Whether every step leads to a unit of the table, and every value to the start of a character."""
    size, end = len(units), len(texts)
    for i, unit in enumerate(units):
        if unit & _IS_VALUE and i:
            continue
        offset = (unit >> 10) << ((unit & (1 << 9)) >> 6)
        if (target := i ^ offset) | 0xFF >= size:
            return False
        if unit & _HAS_VALUE:
            start = units[target] & ~_IS_VALUE
            if start >= end or texts[start] & 0xC0 == 0x80:
                return False
    return True
