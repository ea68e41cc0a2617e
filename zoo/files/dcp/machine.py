"""A pickle machine for the metadata of torch.distributed.checkpoint: it makes plain records and runs nothing.

Python's own machine does the work with the opcodes that torch writes there, and no others. Nothing that a pickle names
is imported or called.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.units import ITEM_BYTES


@dataclass(eq=False)
class Made:
    """An object of a known class, of which the attributes are kept as they are."""

    kind: str
    state: Any = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.state.get(name)


@dataclass(frozen=True)
class _Callable:
    """A class that may be made, or a function that may be called, by its name."""

    kind: str


@dataclass(frozen=True)
class NumberType:
    """A type of numbers."""

    dtype: str


_HERE = "torch.distributed.checkpoint"
_OLD = "torch.distributed._shard.sharded_tensor.metadata"  # before 2.3
_MADE = {
    **{(f"{_HERE}.metadata", name): name for name in (
        "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "TensorProperties", "ChunkStorageMetadata",
        "MetadataIndex", "StorageMeta",
    )},
    (_OLD, "TensorProperties"): "TensorProperties",
    (f"{_HERE}.filesystem", "_StorageInfo"): "_StorageInfo",
}  # fmt: skip
_CALLED = {
    ("torch", "Size"): "Size",
    ("torch.serialization", "_get_layout"): "layout",
    (f"{_HERE}.metadata", "_MEM_FORMAT_ENCODING"): "",
    (_OLD, "MEM_FORMAT_ENCODING"): "",
    ("collections", "OrderedDict"): "table",
    **{(f"pathlib{part}", f"{kind}Path"): "" for part in ("", "._local") for kind in ("Posix", "Windows")},
}  # fmt: skip
_OPCODES = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.MEMOIZE,
    pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.SHORT_BINUNICODE, pickle.BINUNICODE,
    pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST, pickle.APPEND,
    pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.NEWOBJ, pickle.BUILD, pickle.REDUCE,
)  # fmt: skip

_Unpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]  # in Python: see zoo.files.restricted_pickle


class MetadataMachine(_Unpickler):  # type: ignore[misc]
    def __init__(self, stream: io.BytesIO, file: Path) -> None:
        super().__init__(stream, encoding="utf-8")
        self._path = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _MADE:
            return _Callable(_MADE[module, name])
        if (module, name) in _CALLED:
            return _Callable(_CALLED[module, name])
        if module == "torch" and name in ITEM_BYTES:
            return NumberType(name)
        what = f"names {clean(f'{module}.{name}')}, which is not of torch's metadata"
        why = "it is a pickle, a format that can run code; zoo runs none of it"
        raise CheckpointError(self._path, "", what, why=why)

    def load_newobj(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if not isinstance(made, _Callable) or made.kind not in _MADE.values() or arguments != ():
            raise ValueError("an object of what is not a class of it")
        self.stack.append(Made(made.kind))

    def load_build(self) -> None:
        state, record = self.stack.pop(), self.stack[-1]
        if not isinstance(record, Made) or not isinstance(state, dict | tuple):
            raise ValueError("attributes of what is not an object of it")
        record.state = state if isinstance(state, dict) else dict(enumerate(state))

    def load_reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Callable) or called.kind in _MADE.values() or not isinstance(arguments, tuple):
            raise ValueError("a call of what is not a function of it")
        if called.kind == "layout" and arguments != ("torch.strided",):
            raise ValueError(f"a tensor of the layout {clean(arguments)}")
        self.stack.append({} if called.kind == "table" else arguments[0] if called.kind == "Size" else None)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._store(key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._store(key, value)

    def _store(self, key: Any, value: Any) -> None:
        table = self.stack[-1]
        if isinstance(key, Made) and key.kind == "MetadataIndex":
            key = (text(key["fqn"]), sizes(key["offset"] or ()))
        elif not isinstance(key, str):
            raise ValueError("a table whose keys are not names")
        if not isinstance(table, dict) or key in table:
            raise ValueError(f"{clean(key)} twice in a table")
        table[key] = value

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("an item for something that is not a list")
        self.stack[-1].extend(items)

    dispatch = {code[0]: _Unpickler.dispatch[code[0]] for code in _OPCODES}  # noqa: RUF012 - the name that pickle reads


_METHODS = {
    pickle.NEWOBJ: MetadataMachine.load_newobj,
    pickle.BUILD: MetadataMachine.load_build,
    pickle.REDUCE: MetadataMachine.load_reduce,
    pickle.SETITEM: MetadataMachine.load_setitem,
    pickle.SETITEMS: MetadataMachine.load_setitems,
    pickle.APPEND: MetadataMachine.load_append,
    pickle.APPENDS: MetadataMachine.load_appends,
}
MetadataMachine.dispatch.update({code[0]: method for code, method in _METHODS.items()})


def sizes(values: Any) -> Shape:
    """A tuple of counts. Raises ValueError for anything else."""
    if not isinstance(values, tuple) or not all(type(n) is int and 0 <= n < 1 << 62 for n in values):
        raise ValueError("sizes that are not counts")
    return values


def text(value: Any) -> str:
    """A text. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("a name that is not a text")
    return value
