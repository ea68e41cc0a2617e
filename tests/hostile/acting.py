"""Presets that would act: what Hydra can be told to do, times the ways in which a file could reach Hydra with it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.hostile.case import GOOD, SIZES, Case, link

HANDLER = "{version: 1, handlers: {h: {(): os.mkdir, path: CANARY}}, root: {handlers: [h]}}"
ACTS = {  # of Hydra's own settings, and of the command's
    "job_logging": f"hydra: {{job_logging: {HANDLER}}}",
    "hydra_logging": f"hydra: {{hydra_logging: {HANDLER}}}",
    "file handler": (
        "hydra: {job_logging: {version: 1, handlers: {h: {class: logging.FileHandler, filename: CANARY}},"
        " root: {handlers: [h]}}}"
    ),
    "callbacks": "hydra: {callbacks: {c: {_target_: os.mkdir, path: CANARY}}}",
    "call": "hydra: {callbacks: {c: {_target_: subprocess.getoutput, cmd: touch CANARY}}}",
    "partial": "hydra: {callbacks: {c: {_partial_: true, _target_: os.mkdir, path: CANARY}}}",
    "sweeper": "hydra: {sweeper: {_target_: os.mkdir, path: CANARY}}",
    "launcher": "hydra: {launcher: {_target_: os.mkdir, path: CANARY}}",
    "run dir": "hydra: {run: {dir: CANARY}, output_subdir: x}",
    "run dir alone": "hydra: {run: {dir: CANARY}}",
    "sweep dir": "hydra: {sweep: {dir: CANARY}, mode: MULTIRUN}",
    "mode": "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}, sweep: {dir: CANARY}}",
    "chdir": "hydra: {job: {chdir: true}, run: {dir: CANARY}}",
    "env": "hydra: {job: {env_set: {HYDRA_X: '1'}}, run: {dir: CANARY}}",
    "search path": "hydra: {searchpath: ['file://OUTSIDE'], run: {dir: CANARY}}",
    "template": "hydra: {hydra_help: {template: '${oc.env:HOME}'}, run: {dir: CANARY}}",
    "save": "save: CANARY\ndevice: cpu",
    "save as": "save: CANARY\ndevice: cpu\nformat: zoo\nseed: 3",
    "source": "source: OUTSIDE",
}
PACKAGES = (
    "_global_", "hydra", "_group_", "_here_", "_name_", "model:_global_", "_global_.hydra", "rope", "model.x.y.", "''",
    "hydra.callbacks", "model,_global_", "..", "model..", "Model", "_global_ model", "schema",
)  # fmt: skip
HEADS = (
    "# @package {}\n", "#@package {}\n", "  #   @package   {}\n", "\n\n# @package {}\n", "# @other x\n# @package {}\n",
    "# @package {}\r\n", "# @package {}\r", "\ufeff# @package {}\n", "# @package {}\u2028",
    "# @package model\n# @package {}\n",
)  # fmt: skip
PULLS = (
    "/evil/cb@_global_", "/evil/cb", "/evil@_global_: cb", "/evil@hydra: cb", "/evil@_here_: cb", "/evil@: cb",
    "optional /evil@_global_: cb", "/evil: [cb]", "/evil/cb@_global_.hydra", "evil/cb@_global_",
    "/model/evil/cb@_global_", "/hydra/cb@_global_",
)  # fmt: skip
OVERRIDES = (
    "override /hydra/{}: evil", "/hydra/{}: evil", "override hydra/{}: evil", "/hydra/{}@hydra.{}: evil",
    "optional override /hydra/{}: evil",
)  # fmt: skip
ODD = (
    "../../outside/evil", "/../outside/evil", "OUTSIDE/evil", "file://OUTSIDE/evil", "/model/../evil", "pkg://os",
    "_self_@_global_", "/schema/llama@_global_", "/schema/../evil", "'a\\nb'", "{}", "[]", "null", "3", "true",
    "{/evil: cb, /x: y}", "{1: 2}", "'@_global_'", "/", "//evil", "''", "evil@_global_", "model@_global_: evil",
    "/model@_global_: evil", "/model@hydra: evil", "{/evil: {cb: 1}}", "'evil\\0'", "/evil/cb/../../evil",
)  # fmt: skip
LOOK_UPS = (
    "'${oc.env:HOME}'", '"\\x24{oc.env:HOME}"', '"$\\u007boc.env:HOME}"', "'\\${oc.env:HOME}'", "${.num_layers}",
    '"$\\\n  {oc.env:HOME}"', "'${oc.create:${oc.env:HOME}}'", "'${hydra:runtime.cwd}'", "'$${oc.env:HOME}'",
    "'${oc.decode:${oc.env:HOME}}'",
)  # fmt: skip


def acting(random: Random) -> Iterator[Case]:
    """Cases without end."""
    makers = [_package, _key, _group, _override, _extended, _linked, _option, _own_group, _odd_default, _split]
    while True:
        act = random.choice(list(ACTS))
        yield random.choice(makers)(random, act, ACTS[act])


def _package(random: Random, act: str, text: str) -> Case:
    """A directive before the preset, in one of the ways in which it may be written."""
    package = random.choice(("_global_", "_global_", *PACKAGES))
    head = random.choice(HEADS)
    body = random.choice((f"{GOOD}{text}\n", f"defaults:\n  - /schema/llama@model\n  - _self_\nmodel: {{}}\n{text}\n"))
    return Case(f"{act}: {head!r} {package}", {"model/case.yaml": head.format(package) + body}, door=_door(random))


def _key(random: Random, act: str, text: str) -> Case:
    """The keys where they stand, quoted, dotted, or as a complex key."""
    lines = [text, text.replace("hydra:", '"hydra":'), text.replace("hydra:", "? hydra\n:"), f"model: {{{text}}}"]
    lines += ["hydra.run.dir: CANARY", "'@package': _global_", f"rope: {{{text}}}", f"_global_: {{{text}}}"]
    lines += [f"defaults@_global_: []\n{text}", f"__dict__: {{{text}}}", f"../hydra: {{{text}}}"]
    return Case(f"{act}: a key", {"model/case.yaml": f"{GOOD}{random.choice(lines)}\n"}, door=_door(random))


def _group(random: Random, act: str, text: str) -> Case:
    """Another group of the folder, pulled in by the defaults list."""
    entry = random.choice(PULLS)
    head = random.choice(("", "# @package _global_\n", "# @package model\n"))
    files = {"model/case.yaml": _defaults(entry)}
    files |= dict.fromkeys(("evil/cb.yaml", "model/evil/cb.yaml", "hydra/cb.yaml"), f"{head}{text}\n")
    return Case(f"{act}: {entry}", files, door=_door(random))


def _override(random: Random, act: str, text: str) -> Case:
    """Hydra's own groups, overridden by the defaults list with an option from the folder."""
    group = random.choice(("job_logging", "hydra_logging", "launcher", "sweeper", "callbacks", "env", "output", "help"))
    entry = random.choice(OVERRIDES)
    inner = text.partition(": {")[2].partition(": {")[2].removesuffix("}}") or "path: CANARY"
    files = {
        "model/case.yaml": _defaults(entry.replace("{}", group)),
        f"hydra/{group}/evil.yaml": f"# @package hydra.{group}\n{{{inner}}}\n",
        "hydra/config.yaml": f"{text}\n",
        "build.yaml": f"{text}\n",
    }
    return Case(f"{act}: {entry} {group}", files, door=_door(random))


def _extended(random: Random, act: str, text: str) -> Case:
    """The harm some presets below the one that is named."""
    depth = random.randint(1, 6)
    files = {f"model/p{i}.yaml": f"defaults: [p{i + 1}, _self_]\n" for i in range(depth)}
    files[f"model/p{depth}.yaml"] = f"# @package _global_\n{GOOD}{text}\n"
    files["model/case.yaml"] = "defaults:\n  - p0\n  - _self_\nnum_layers: 3\n"
    return Case(f"{act}: {depth} below", files, door=_door(random))


def _linked(random: Random, act: str, text: str) -> Case:
    """A folder that is entered through a link, from below model/ or at the top."""
    files = {"store/evil.yaml": f"# @package _global_\n{GOOD}{text}\n"}
    at, target = random.choice((("model/link", "../store"), ("attention", "store"), ("model/a/link", "../../store")))
    name = f"{at.removeprefix('model/')}/evil"
    entry = name if at.startswith("model/") else f"/{name}@_global_"
    files |= {at: link(target), "model/case.yaml": _defaults(entry)}
    return Case(f"{act}: {at} is a link", files, random.choice((("case",), (name,))), door=_door(random))


def _option(random: Random, act: str, text: str) -> Case:
    """An option of a group that zoo has, chosen on the command line."""
    group = random.choice(("attention", "rope", "mlp", "position"))
    head = random.choice(("", *(f"# @package {package}\n" for package in PACKAGES), "# @package model.{group}\n"))
    body = random.choice((f"{text}\n", f"defaults: ['/evil/cb@_global_', _self_]\n{text}\n"))
    files = {f"{group}/evil.yaml": head + body, "evil/cb.yaml": f"{text}\n", "model/case.yaml": GOOD}
    return Case(f"{act}: {group} {head!r}", files, ("case", f"{group}=evil"), door=_door(random))


def _own_group(random: Random, act: str, text: str) -> Case:
    """An option of a group of the folder's own."""
    head = random.choice(("", *(f"# @package {package}\n" for package in PACKAGES)))
    word = random.choice(("evil=cb", "+evil=cb", "+evil@model=cb", "+evil@model.rope=cb"))
    files = {"evil/cb.yaml": f"{head}{text}\n", "model/case.yaml": GOOD}
    return Case(f"{act}: {word} {head!r}", files, ("case", word), door=_door(random))


def _odd_default(random: Random, act: str, text: str) -> Case:
    """A defaults list whose entries are none."""
    entry = random.choice(ODD)
    files = dict.fromkeys(("evil.yaml", "evil/cb.yaml", "model/evil.yaml"), f"# @package _global_\n{text}\n")
    files["model/case.yaml"] = _defaults(entry)
    return Case(f"{act}: defaults {entry}", files, door=_door(random))


def _split(random: Random, act: str, text: str) -> Case:
    """A look-up hidden from a search of the text."""
    spelled = random.choice(LOOK_UPS)
    fields = (f"hub: {spelled}\n", f"? {spelled}\n: 1\n", f"rope: {{scaling: {spelled}}}\n")
    group = GOOD + random.choice(fields)
    files = {"model/case.yaml": group, "attention/env.yaml": f"# @package model.attention\nkind: {spelled}\n"}
    words = random.choice((("case",), ("case",), ("decoder/llama3", "attention=env")))
    return Case(f"{act}: {spelled}", files, words, door=_door(random, own_only=len(words) > 1))


def _defaults(entry: str) -> str:
    return f"defaults:\n  - /schema/llama@_here_\n  - {entry}\n  - _self_\n{SIZES}"


def _door(random: Random, *, own_only: bool = False) -> str:
    doors = ("build", "build", "build", "cfg", "info", "sweep", "bench")
    return random.choice(doors if own_only else (*doors, "show", "list", "plugin build", "compare"))
