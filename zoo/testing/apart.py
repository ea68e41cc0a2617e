"""Processes that are the ranks of one run on this machine, over gloo, for what must hold over several."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from zoo.testing.check import Broken

SECONDS = 300  # that a run may take without an answer, unless it says otherwise


def over_ranks(work: Callable[..., Any], *given: Any, count: int = 2, seconds: int = SECONDS) -> list[Any]:
    """What `work(rank, *given)` gives on each rank. Raises Broken where one ends without an answer.

    Ranks are forked where that can be, and so know what this process knows and import nothing anew.
    """
    can_fork = "fork" in multiprocessing.get_all_start_methods() and not torch.cuda.is_initialized()
    if can_fork:  # here, and once, so that the ranks need not: what is spread or cut needs them, and they take a second
        for name in ("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.checkpoint"):
            import_module(name)
    context: Any = multiprocessing.get_context("fork" if can_fork else "spawn")
    with TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(count)]
        ranks = [
            context.Process(target=_rank, args=(rank, count, folder, pipes[rank][1], work, given), daemon=True)
            for rank in range(count)
        ]
        for process in ranks:
            process.start()
        for _, writer in pipes:
            writer.close()  # so that a rank that dies is an end of file
        try:
            return _answers([reader for reader, _ in pipes], seconds)
        finally:
            for process in ranks:
                process.terminate()
                process.join(10)


def _answers(readers: Sequence[Connection], seconds: int) -> list[Any]:
    found: dict[int, Any] = {}
    while len(found) < len(readers):
        left = [reader for i, reader in enumerate(readers) if i not in found]
        ready = wait(left, timeout=seconds)
        if not ready:
            raise Broken(f"no answer of rank {readers.index(left[0])} within {seconds} s")
        for reader in ready:
            assert isinstance(reader, Connection)
            number = readers.index(reader)
            try:
                is_good, answer = pickle.loads(reader.recv_bytes())
            except EOFError:
                raise Broken(f"rank {number} died") from None
            if not is_good:
                raise Broken(f"rank {number}: {answer}")
            found[number] = answer
    return [found[i] for i in range(len(readers))]


def _rank(rank: int, count: int, folder: str, answers: Connection, work: Callable[..., Any], given: Any) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)  # the pool of threads that was forked has no threads
    try:
        address = Path(folder, "store").as_uri()
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=count)
        dist.barrier()  # or the work of one that is quick might end the group while another still joins it
        answer = work(rank, *given)
        answers.send_bytes(pickle.dumps((True, answer)))  # by itself a pipe lends a tensor's memory, which ends with us
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        with suppress(OSError):
            answers.send_bytes(pickle.dumps((False, told)))
    finally:
        answers.close()
        os._exit(0)  # without what the parent would do at its own end
