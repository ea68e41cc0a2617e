"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from zoo.serving.roster import Roster
from zoo.serving.worker import Worker

KIND = "text/plain; version=0.0.4; charset=utf-8"


class Measures:
    """Requests by route and status, and what the worker and the engines know."""

    def __init__(self, shelf: Roster, worker: Worker) -> None:
        self.shelf, self.worker = shelf, worker
        self.requests: Counter[tuple[str, int]] = Counter()

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("zoo_requests_total", "counter", "Requests that were answered.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'zoo_requests_total{{route="{route}",status="{status}"}} {count}'
        told = self.worker.counts
        for name, about in (
            ("tokens", "Tokens that were written."),
            ("prompt_tokens", "Tokens of prompts."),
            ("texts", "Texts that were finished."),
            ("cancelled", "Requests whose clients went away."),
            ("errors", "Requests that ended in an error after they were taken."),
        ):
            yield from _head(f"zoo_{name}_total", "counter", about)
            yield f"zoo_{name}_total {told[name]}"
        yield from _head("zoo_waiting", "gauge", "Requests that wait.")
        yield f"zoo_waiting {self.worker.num_waiting}"
        for name, kind, about in (
            ("rows", "gauge", "Texts in the making."),
            ("cache_bytes", "gauge", "Bytes of the running batch's cache."),
            ("shared_bytes", "gauge", "Bytes kept of prompts for others that begin alike."),
            ("shared_tokens_total", "counter", "Tokens of prompts that were not read again."),
            ("reread_total", "counter", "Texts read again by themselves where rounding could have turned a choice."),
            ("loaded", "gauge", "Whether the model is in memory."),
        ):
            yield from _head(f"zoo_{name}", kind, about)
            for volume in self.shelf.volumes.values():
                yield f'zoo_{name}{{model="{_escaped(volume.name)}"}} {_of(volume.engine, name)}'


def _of(engine: object, name: str) -> int:
    from zoo.generation.batching import Engine

    if not isinstance(engine, Engine):
        return 0
    kept, cache = engine.beginnings, engine.group.cache
    return {
        "rows": engine.num_rows,
        "cache_bytes": getattr(cache, "nbytes", 0),
        "shared_bytes": kept.nbytes if kept else 0,
        "shared_tokens_total": kept.num_shared if kept else 0,
        "reread_total": engine.num_reread,
        "loaded": 1,
    }[name]


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
