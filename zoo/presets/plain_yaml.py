"""YAML that is nothing but data: numbers, words, lists and fields. Whatever else it could be is refused by its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from zoo.errors import ZooError, clean
from zoo.files.resources import MAX_BYTES, too_large

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_LINES = 20_000  # of a preset

MAX_DEPTH = 20
MAX_ENTRIES = 10_000  # of one file
MAX_TEXT = 1_000  # characters of one value
MAX_NUMBER = 40  # characters of a number

UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # to YAML 1.1


def check(data: bytes, file: Traversable | str) -> int:
    """Refuse YAML that a preset has no use for, and count its entries. Raises ZooError, which names file and line.

    Anchors and aliases can grow without bound, tags construct objects, `${` asks Hydra to look things up and
    `_target_` asks it to call them.
    """
    if len(data) > MAX_BYTES:
        raise ZooError(too_large(file, len(data), MAX_BYTES))
    if data.count(b"\n") + data.count(b"\r") > MAX_LINES:  # each takes the reader its time, empty ones too
        raise ZooError(f"{clean(file, 300)}: has more than {MAX_LINES:,} lines")
    try:
        return _check_events(text_of(data, file), file)
    except yaml.YAMLError as error:
        raise _unreadable(file, error) from None


def load(data: bytes, file: Traversable | str) -> dict[str, Any]:
    """The fields that a file holds. Raises ZooError, which names file and line, for what two could read differently."""
    try:
        values = yaml.load(text_of(data, file), Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from None
    if not isinstance(values, dict):
        raise ZooError(f"{file}: not a group of fields")
    return values


def text_of(data: bytes, file: Traversable | str) -> str:
    """The text, which is UTF-8. Raises ZooError for another encoding, or for characters that YAML does not have."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        coding = "UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else f"the byte {data[error.start]:#04x}"
        raise ZooError(f"{file}: line {line}: not a YAML file that can be read: {coding}, not UTF-8") from None
    if found := UNPRINTABLE.search(text):
        line, code = text.count("\n", 0, found.start()) + 1, ord(found[0])
        raise ZooError(f"{file}: line {line}: not a YAML file that can be read: the character U+{code:04X}")
    return text


def directives(text: str) -> Iterator[tuple[int, str]]:
    """The line and the words of each `# @...` that stands before all else, which Hydra would obey."""
    for number, line in enumerate(text.splitlines(), 1):
        if (stripped := line.strip()) and not re.match(r"#\s*@", stripped):
            return
        if stripped:
            yield number, stripped.lstrip("#").strip()


def _check_events(text: str, file: Traversable | str) -> int:
    depth = entries = documents = 0
    for event in yaml.parse(text, Loader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        entries += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        found = _unwanted(event)
        if documents > 1:
            found = "a second document"
        elif depth > MAX_DEPTH:
            found = f"more than {MAX_DEPTH} levels"
        elif entries > MAX_ENTRIES:
            found = f"more than {MAX_ENTRIES} entries"
        if found:
            raise ZooError(f"{file}: line {event.start_mark.line + 1}: {found}, which a preset may not have")
    return entries


def _unwanted(event: Any) -> str:
    """What of one event a preset may not have."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "an anchor or alias"
    if getattr(event, "tag", None):
        return f"the tag {clean(event.tag)}"
    if not isinstance(event, yaml.ScalarEvent):
        return ""
    if len(event.value) > MAX_TEXT:
        return f"a value of {len(event.value)} characters"
    if "${" in event.value:
        return "an interpolation ${"
    if not event.value.replace("\n", "").isprintable():
        return f"the text {clean(event.value, 40)!r}, which cannot be printed"
    return "_target_" if event.value == "_target_" else ""


def _unreadable(file: Traversable | str, error: Exception) -> ZooError:
    what = f"{file}: not a YAML file that can be read"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return ZooError(f"{what}: {clean(error, 200)}")
    return ZooError(f"{what}: line {mark.line + 1}: {clean(getattr(error, 'problem', None) or error, 200)}")


if TYPE_CHECKING:
    _Fastest = yaml.SafeLoader
else:
    _Fastest = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml


class Loader(_Fastest):
    """YAML as OmegaConf reads it: 1e-5 is a number, a date is text. Stricter: keys are words, each given once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                shown = clean(key.value) if isinstance(key, yaml.ScalarNode) else "[...]"
                raise _refused(f"the key {shown!r} is not a word", key)
            if key.value in seen:
                raise _refused(f"the key {clean(key.value)!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def number(self, node: yaml.ScalarNode) -> int | float:
        """An integer or a float that is finite and of a sane length; Python itself refuses 4,301 digits."""
        if len(node.value) > MAX_NUMBER:
            raise _refused(f"a number of {len(node.value)} characters", node)
        is_int = node.tag.endswith(":int")
        try:
            value: int | float = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        except ValueError:  # 0b_ has the form of a number, and no digit
            value = float("nan")
        if not abs(value) < float("inf"):
            raise _refused(f"{clean(node.value)} is not a finite number", node)
        return value


def _refused(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


for kind in ("int", "float"):
    Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.number)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(_[0-9]+)*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
