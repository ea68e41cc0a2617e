"""Numbers in words that people read at a glance."""

from __future__ import annotations


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


def human_flops(number: float) -> str:
    """Three digits and a decimal unit: 16.1 GFLOP, 3.20 TFLOP."""
    shown = human_count(number)
    unit = shown[-1] if shown[-1].isalpha() else ""
    return f"{shown.removesuffix(unit)} {unit.replace('B', 'G')}FLOP"
