"""Reads the pickle of a state dict without running it: it may name tensors, and nothing that it names is called.

Python's own pickle machine does the work with the opcodes that torch.save writes, and no others; what a pickle can call
are the few functions below.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zoo.errors import CheckpointError, clean
from zoo.files.state_dict import find_weights
from zoo.units import ITEM_BYTES

Storages = dict[str, set[tuple[str | None, int | None]]]  # key -> types and numbers of elements that it goes by


@dataclass(frozen=True)
class StoredTensor:
    """A view of one storage; all counts are in elements."""

    storage: str  # the record that holds it
    dtype: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Stream(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...

    def readline(self) -> bytes: ...


class Pickle:
    """One pickle of a stream as plain values: tables, lists, numbers, words and StoredTensors.

    Raises CheckpointError for one that holds or calls anything else. The stream then stands behind it.
    """

    def __init__(self, stream: _Stream, file: Path) -> None:
        machine = _Machine(stream, file)
        try:
            self.value: Any = machine.load()
        except (
            pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, ValueError, AttributeError,
            OverflowError, MemoryError, RecursionError, struct.error,
        ) as error:  # fmt: skip
            reason = clean(error) or type(error).__name__
            raise CheckpointError(file, "", f"is not the pickle of a state dict: {reason}") from None
        self.storages: Storages = machine.storages


def read_state(data: bytes, file: Path) -> dict[str, StoredTensor]:
    """The named tensors of a state dict, which may be nested. Raises CheckpointError for a pickle of anything else."""
    return find_weights(Pickle(io.BytesIO(data), file).value, StoredTensor, file).tensors


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str | None  # None: of bytes; the tensor tells


@dataclass(frozen=True)
class _Name:
    """A type that a pickle may name but not call: of a storage (its dtype, or None for bytes) or of a tensor."""

    dtype: str | None


def _table() -> dict[str, Any]:
    return {}  # collections.OrderedDict


def _rebuild(storage: Any, start: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
    _refuse_changed(rest[2:])
    return _view(storage, storage.dtype, start, shape, strides)


def _rebuild_typed(storage: Any, start: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
    _requires_grad, _hooks, kind, *more = rest
    _refuse_changed(more)
    return _view(storage, kind.dtype, start, shape, strides)


def _refuse_changed(metadata: Sequence[Any]) -> None:
    """Refuse a tensor that is not its stored numbers: torch negates or conjugates them as it reads them."""
    if any(metadata):
        raise ValueError(f"a tensor that torch changes as it reads it: {clean(repr(metadata[0]))}")


def _size(*sizes: Any) -> tuple[Any, ...]:
    return sizes  # torch.Size or torch.device, beside the weights: never looked at


def _parameter(tensor: Any, *rest: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise ValueError("a parameter that has no tensor")
    return tensor


def _view(storage: Any, dtype: Any, start: Any, shape: Any, strides: Any) -> StoredTensor:
    whole = (start, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or dtype not in ITEM_BYTES:
        raise ValueError("a tensor in a form that torch.save does not write")
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in whole):
        raise ValueError("a tensor whose sizes are not counts")
    return StoredTensor(storage.key, dtype, start, tuple(shape), tuple(strides))


_STORAGES = {
    "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64", "ComplexFloatStorage": "complex64",
}  # fmt: skip
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _table,
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_typed,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "UntypedStorage"): _Name(None),
    ("torch", "Size"): _size,
    ("torch", "device"): _size,
    **{("torch", name): _Name(dtype) for name, dtype in _STORAGES.items()},
    **{("torch", dtype): _Name(dtype) for dtype in ITEM_BYTES},
}

_OPCODES = (
    pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID, pickle.BINPUT,
    pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT,
    pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_TUPLE, pickle.TUPLE,
    pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT,
    pickle.SETITEM, pickle.SETITEMS,
)  # fmt: skip


# The machine in Python, not the one in C: that one sizes its memo by the largest number that a pickle gives, and takes
# 64 GB for a file of 20 bytes.
_Unpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Machine(_Unpickler):  # type: ignore[misc]
    def __init__(self, stream: _Stream, file: Path) -> None:
        super().__init__(stream, encoding="utf-8")
        self._path = file
        self.storages: Storages = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            what = f"needs code ({clean(f'{module}.{name}')}), not only tensors"
            raise CheckpointError(self._path, "", what, hint="save only the weights, as safetensors")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, *rest = pid
        if kind != "storage" or not isinstance(storage_type, _Name) or not isinstance(key, str):
            raise ValueError("a reference to something that is not a storage")
        if len(rest) > 2 and rest[2] is not None:
            raise ValueError("a view of a storage, as PyTorch before 0.4 wrote it")
        count = rest[1] if len(rest) > 1 and type(rest[1]) is int else None
        self.storages.setdefault(key, set()).add((storage_type.dtype, count))
        return _Storage(key, storage_type.dtype)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._store(self.stack[-1], key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._store(self.stack[-1], key, value)

    def _store(self, table: Any, key: Any, value: Any) -> None:
        # Other keys are not only useless: hashing a tuple of tuples of tuples can take for ever.
        if not isinstance(table, dict) or not isinstance(key, str | int):
            raise ValueError("a table whose keys are not names")
        if isinstance(key, str) and key in table:
            raise CheckpointError(self._path, key, "occurs twice in the state dict")
        table[key] = value

    def load_build(self) -> None:
        self.stack.pop()  # attributes of a state dict, such as versions of modules: nothing that we need

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._list().extend(items)

    def load_append(self) -> None:
        item = self.stack.pop()
        self._list().append(item)

    def _list(self) -> list[Any]:
        if not isinstance(self.stack[-1], list):
            raise ValueError("an item for something that is not a list")
        return self.stack[-1]

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function not in _CALLABLE or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is not a tensor")
        self.stack.append(function(*arguments))

    dispatch = {code[0]: _Unpickler.dispatch[code[0]] for code in _OPCODES}  # noqa: RUF012 - the name that pickle reads


_CALLABLE: tuple[Callable[..., Any], ...] = (_table, _rebuild, _rebuild_typed, _parameter, _size)


for _name in ("SETITEM", "SETITEMS", "BUILD", "APPEND", "APPENDS", "REDUCE"):
    _Machine.dispatch[getattr(pickle, _name)[0]] = getattr(_Machine, f"load_{_name.lower()}")
