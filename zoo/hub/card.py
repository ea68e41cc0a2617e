"""The card of a published model: README.md with the metadata that the hub reads at its head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, clean
from zoo.files.regular import size_of

CARD = "README.md"
MAX_CARD = 1_000_000  # bytes: a longer file is no card
_HEAD = re.compile(r"---\r?\n(.*?)\r?\n---\s", re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}")
_KNOWN = frozenset(  # the hub's identifiers; any other licence is `other` with a name
    "apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 gpl-3.0 "
    "lgpl-3.0 agpl-3.0 mpl-2.0 isc unlicense openrail bigscience-bloom-rail-1.0 bigscience-openrail-m "
    "bigcode-openrail-m creativeml-openrail-m gemma llama2 llama3 llama3.1 llama3.2 llama3.3 llama4".split()
)


@dataclass(frozen=True)
class Facts:
    """What is known of a model that has no card."""

    repo: str  # org/name
    family: str
    summary: str  # of the family
    format: str
    parameters: int
    nbytes: int  # of the weights
    dtype: str
    license: str = ""
    base: str = ""  # the repository that the weights come from
    commit: str = ""  # of that repository


def card_text(facts: Facts) -> str:
    """A card that says what is known and nothing else."""
    import yaml

    head = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True).strip()
    rows = {
        "Family": f"{facts.family}: {facts.summary}" if facts.summary else facts.family,
        "Parameters": f"{facts.parameters:,}",
        "Weights": f"{facts.dtype}, {facts.nbytes:,} bytes, format {facts.format}",
        "Licence": facts.license or "not stated",
        "Derived from": f"{facts.base} at commit {facts.commit}" if facts.base else "not stated",
    }
    table = "\n".join(f"| {name} | {clean(text, 200).replace('|', ' ')} |" for name, text in rows.items())
    name = facts.repo.rpartition("/")[2]
    return f"""---
{head}
---

# {name}

| | |
|---|---|
{table}

zoo.json lists the sha256 of every file and where the weights come from.

```python
import zoo

model = zoo.from_pretrained("{facts.repo}")
```
"""


def license_in(card: Path) -> str:
    """The licence that a card names in its metadata, or ''."""
    found = metadata_in(card)
    named = found.get("license_name") if found.get("license") == "other" else found.get("license")
    return named if isinstance(named, str) and _ID.fullmatch(named) else ""


def metadata_in(card: Path) -> Mapping[str, Any]:
    """The metadata at the head of a card; nothing where there is none that can be read."""
    try:
        text = card.read_bytes().decode() if size_of(card) <= MAX_CARD else ""
    except (ZooError, OSError, UnicodeDecodeError):
        return {}
    head = _HEAD.match(text)
    return {} if head is None else _parsed(head[1])


def _parsed(head: str) -> Mapping[str, Any]:
    import yaml  # most folders have no card, and need not wait for it

    try:
        # Anchors and tags have no place in a card, and anchors could make a few lines grow to gigabytes.
        is_plain = not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(head))
        found = yaml.safe_load(head) if is_plain else {}
    except (yaml.YAMLError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _metadata(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {"library_name": "zoo"}
    if facts.license in _KNOWN:
        found["license"] = facts.license
    elif facts.license:
        found |= {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", facts.license.lower()).strip("-")}
    if facts.base:
        found["base_model"] = facts.base
    return {**found, "tags": [facts.family]}
