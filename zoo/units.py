"""Numbers in words that people read at a glance."""

from __future__ import annotations

import re

from zoo.errors import UsageError, clean

# Bytes per element, by the name torch gives the type.
ITEM_BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "float8_e5m2": 1,
    "float8_e4m3fn": 1,
    "float8_e8m0fnu": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "complex64": 8,
    "float64": 8,
    "int64": 8,
    "uint64": 8,
}

SHORT_NAMES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def human_count(number: float) -> str:
    """Three digits and a unit: 512, 41.7k, 1.05M, 8.03B, 405B, 1.60T."""
    if number < 1000:
        return f"{number:.0f}"
    for unit in ("k", "M", "B", "T"):
        number /= 1000
        if number < 999.5 or unit == "T":  # 999.6k is 1.00M
            break
    return f"{number:.{max(0, 3 - len(str(int(number + 0.05))))}f}{unit}"


def human_bytes(number: float) -> str:
    """At most four digits, two of them decimals, and a binary unit: 96 B, 128 KiB, 14.96 GiB, 972 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(number, 1) < 1024 or unit == "TiB":
            break
        number /= 1024
    shown = f"{number:.{2 if number < 100 else 1}f}".rstrip("0").rstrip(".")
    return f"{shown} {unit}"


def parse_bytes(text: str | int) -> int:
    """Bytes of 5GB, 200MB, 1.5GiB or a plain number; a unit without i is decimal. Raises UsageError for all else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([KMGT])(i?))?B?", str(text), re.IGNORECASE)
    if not found or not (nbytes := int(float(found[1]) * (1024 if found[3] else 1000) ** _power(found[2]))):
        raise UsageError(f"{clean(text)!r} is not a number of bytes", hint="try 5GB, 200MB or 1073741824")
    return nbytes


def _power(unit: str | None) -> int:
    return "KMGT".index(unit.upper()) + 1 if unit else 0


def human_flops(number: float) -> str:
    """Three digits and a decimal unit: 16.1 GFLOP, 3.20 TFLOP."""
    shown = human_count(number)
    unit = shown[-1] if shown[-1].isalpha() else ""
    return f"{shown.removesuffix(unit)} {unit.replace('B', 'G')}FLOP"


def human_length(tokens: int) -> str:
    """32k for 32,768 tokens, 8,000 for 8000."""
    return f"{tokens // 1024}k" if tokens >= 1024 and tokens % 1024 == 0 else f"{tokens:,}"
