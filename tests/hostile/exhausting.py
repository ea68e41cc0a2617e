"""Presets that would hang, exhaust, lead out of their folder, or mean different things to two readers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.hostile.case import GOOD, HEAD, SIZES, Case, Content, folder, link, pipe, plug, sparse

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))

TEXTS: dict[str, str | bytes] = {
    "a bomb of aliases": GOOD + BOMB,
    "an alias of itself": GOOD + "rope: &a {theta: *a}\n",
    "a merge": GOOD + "x: &x {a: 1}\ny:\n  <<: *x\n",
    "a merge with a number": GOOD + "rope:\n  <<: 5\n",
    "a merge with itself": GOOD + "rope: {<<: {<<: {<<: {}}}}\n",
    "a tag": GOOD + "hub: !!python/object/apply:os.mkdir [CANARY]\n",
    "a name": GOOD + "hub: !!python/name:os.system\n",
    "binary": GOOD + "hub: !!binary aGk=\n",
    "a set": GOOD + "rope: !!set {a, b}\n",
    "an ordered map": GOOD + "rope: !!omap [a: 1]\n",
    "a tag's prefix": "%TAG ! tag:yaml.org,2002:python/\n---\n" + GOOD + "hub: !name:os.system x\n",
    "another YAML": "%YAML 3.0\n---\n" + GOOD,
    "two documents": GOOD + "---\nhydra: {}\n",
    "many documents": "---\n" * 100_000,
    "a key twice": GOOD + "num_layers: 2\n",
    "a key twice, quoted": GOOD + "'num_layers': 9\n",
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "a byte": GOOD.encode() + b"hub: \xff\n",
    "NUL": GOOD + "hub: a\0b\n",
    "a bell": GOOD + "hub: a\x07b\n",
    "an escaped NUL": GOOD + 'hub: "a\\0b"\n',
    "an escaped surrogate": GOOD + 'hub: "\\ud800"\n',
    "a terminal's escape": GOOD + 'license: "\\e[2J\\e]0;x\\a"\n',
    "a surrogate": GOOD.encode() + b"hub: \xed\xa0\x80\n",
    "5,000 digits": GOOD.replace("num_layers: 2", "num_layers: " + "9" * 5000),
    "5,000 digits in hex": GOOD.replace("num_layers: 2", "num_layers: 0x" + "f" * 5000),
    "a million digits": GOOD.replace("num_layers: 2", "num_layers: " + "9" * 1_000_000),
    "sixties": GOOD.replace("num_layers: 2", "num_layers: 1" + ":59" * 2_000),
    "an exponent": GOOD + "norm_eps: 1e999999999\n",
    "no number": GOOD + "norm_eps: .nan\n",
    "no end": GOOD + "rope: {theta: .inf}\n",
    "a number for a key": GOOD + "5: 5\n",
    "null for a key": GOOD + "~: 5\n",
    "true for a key": GOOD + "on: 5\n",
    "a list for a key": GOOD + "? [a, b]\n: 5\n",
    "a map for a key": GOOD + "? {a: b}\n: 5\n",
    "a million keys": GOOD + "".join(f"k{i}: {i}\n" for i in range(130_000)),
    "a million short keys": "{" + ",".join(f"{i:x}:" for i in range(150_000)) + "}",
    "20,000 values": GOOD + "eos_token_id: [" + "1," * 20_000 + "]\n",
    "9,900 values": GOOD + "eos_token_id: [" + "1," * 9_900 + "]\n",
    "levels": GOOD + "rope: " + "{a: " * 50_000 + "}" * 50_000 + "\n",
    "levels of lists": GOOD + "eos_token_id: " + "[" * 200_000 + "\n",
    "levels of lines": GOOD + "".join(" " * i + "a:\n" for i in range(1_000)),
    "levels of dashes": "- " * 200_000,
    "levels of questions": "? " * 200_000,
    "braces": "{" * 500_000,
    "colons": ":" * 500_000,
    "quotes": "'" * 999_999,
    "anchors": "&a " * 300_000,
    "percent signs": "%\n" * 300_000,
    "a comment of a megabyte": "#" * 1_000_000 + "\n" + GOOD,
    "500,000 comments": "#\n" * 500_000 + GOOD,
    "500,000 empty lines": "\n" * 1_000_000 + GOOD,
    "a word of a megabyte": GOOD + "license: " + "x" * 1_000_000 + "\n",
    "a word over many lines": GOOD + "license: x\n" + "  x\n" * 200_000,
    "a key of a megabyte": GOOD + "x" * 1_000_000 + ": 1\n",
    "a block of spaces": GOOD + "license: |9\n" + " " * 900_000 + "\n",
    "tabs": GOOD + "rope:\n\ttheta: 1\n",
    "an open quote": GOOD + "hub: 'x\n",
    "an open bracket": GOOD + "eos_token_id: [1\n",
    "nothing": "",
    "null": "null\n",
    "a list": "- a\n- b\n",
    "a word": "just words\n",
    "defaults of a kind": "defaults: {/schema/llama: 1}\n",
    "defaults of text": "defaults: /schema/llama@_here_\n",
    "many defaults": "defaults: [" + ", ".join(["tiny"] * 5_000) + "]\n",
    "_self_ twice": "defaults: [/schema/llama@_here_, _self_, _self_]\n" + SIZES,
    "two families": "defaults: [/schema/llama@_here_, /schema/gpt2@_here_, _self_]\n" + SIZES,
    "another's family": GOOD + "family: gpt2\n",
    "no such family": "defaults: [/schema/nobody@_here_, _self_]\n" + SIZES,
    "a family of a path": "defaults: ['/schema/../../x@_here_', _self_]\n" + SIZES,
    "no family": SIZES,
    "itself": "defaults: [case, _self_]\n",
    "itself by its path": "defaults: [/model/case@_here_, _self_]\n",
    "nobody": "defaults: [nobody, _self_]\n",
    "no field": GOOD + "hiden_size: 3\n",
    "no field of a part": GOOD + "rope: {thta: 3.0}\n",
    "a part that is a number": GOOD + "rope: 5\n",
    "a part that is null": GOOD + "rope: null\n",
    "a number that is a part": GOOD.replace("num_layers: 2", "num_layers: {a: 1}"),
    "a word for a number": GOOD.replace("num_layers: 2", "num_layers: two"),
    "a list for a number": GOOD.replace("num_layers: 2", "num_layers: [2]"),
    "true for a number": GOOD.replace("num_layers: 2", "num_layers: true"),
    "a missing number": GOOD.replace("num_layers: 2\n", ""),
    "a number to come": GOOD.replace("num_layers: 2", "num_layers: ???"),
    "a negative number": GOOD.replace("num_layers: 2", "num_layers: -2"),
    "a huge number": GOOD.replace("num_layers: 2", "num_layers: 999999999999999999999999999"),
    "a billion layers": GOOD.replace("num_layers: 2", "num_layers: 1000000000"),
    "10,000 layers": GOOD.replace("num_layers: 2", "num_layers: 10000"),
    "500 layers": GOOD.replace("num_layers: 2", "num_layers: 500"),
    "a wide head": GOOD.replace("head_dim: 8", "head_dim: 1099511627776"),
    "a wide stream": GOOD.replace("hidden_size: 32", "hidden_size: 4194304"),
    "many experts": HEAD.replace("llama", "mixtral") + SIZES + "num_experts: 100000000000\nexperts_per_token: 2\n",
    "a hub that climbs": GOOD + "hub: ../../../../etc\n",
    "a hub that is a path": GOOD + "hub: /etc/passwd\n",
    "a hub of lines": GOOD + 'hub: "a/b\\nc"\n',
    "a type that is none": GOOD + "dtype: __class__\n",
}


def exhausting(random: Random) -> Iterator[Case]:
    """Each of the texts once or more, each of the places, in a random order, without end."""
    while True:
        cases = [*_texts(random), *_places(random), *_chains(random)]
        random.shuffle(cases)
        yield from cases


def _texts(random: Random) -> Iterator[Case]:
    doors = ("cfg", "build", "info", "sweep", "show", "list", "plugin build", "compare", "complete")
    for name, text in TEXTS.items():
        files: dict[str, Content] = {"model/case.yaml": text}
        words: tuple[str, ...] = ("case",)
        if random.random() < 0.2:
            files = {"model/base.yaml": text, "model/case.yaml": "defaults: [base, _self_]\n"}
        yield Case(name, files, words, random.choice(doors))


def _places(random: Random) -> Iterator[Case]:
    """Files that are no files, or not where they seem to be."""
    out = "../../../../outside" if (plugin := random.choice(("", "show", "list", "plugin build"))) else "../../outside"
    made: dict[str, Content] = {
        "a pipe": pipe,
        "a socket": plug,
        "a folder": folder,
        "/dev/zero": link("/dev/zero"),
        "/dev/tty": link("/dev/tty"),
        "a file out": link(f"{out}/secret.yaml"),
        "/proc": link("/proc/self/environ"),
        "a link to itself": link("case.yaml"),
        "a link to nothing": link("nowhere.yaml"),
        "4 GB": sparse(4 << 30),
        "1 MiB and a byte": sparse((1 << 20) + 1),
    }
    for name, content in made.items():
        yield Case(name, {"model/case.yaml": content}, door=plugin or random.choice(("build", "cfg", "sweep")))
        files = {"attention/evil.yaml": content, "model/case.yaml": GOOD}
        yield Case(f"{name} as an option", files, ("decoder/llama3", "attention=evil"), door="cfg")
    yield Case("a folder out", {"model/link": link(out)}, ("link/secret",), plugin or "cfg")
    yield Case("model/ out", {"attention/x.yaml": "a: 1", "other": link("model")}, ("other/case",), "cfg")
    loops: dict[str, Content] = {f"model/{name}": link(".") for name in "abcdefgh"}
    yield Case("loops", {**loops, "model/case.yaml": "defaults: [a/b/c/d/case]\n"}, door=plugin or "cfg")
    yield Case("a name of lines", {"model/a\nb.yaml": GOOD, "model/case.yaml": 'defaults: ["a\\nb"]\n'}, door="list")
    yield Case("a name of lines", {"model/a\nb.yaml": GOOD, "model/\x1b[2Jx.yaml": GOOD}, ("a\nb",), "complete")
    yield Case("a name that is an order", {"model/x=1.yaml": GOOD, "model/a,b.yaml": GOOD}, ("model='x=1'",), "cfg")
    deep = "/".join("d" * 30)
    yield Case("a deep folder", {f"model/{deep}/case.yaml": GOOD}, (f"{deep}/case",), plugin or "cfg")
    many: dict[str, Content] = {f"model/n{i}.yaml": "" for i in range(11_000)}
    yield Case("11,000 files", {**many, "model/case.yaml": GOOD + "hydra: {}\n"}, door="cfg")


def _chains(random: Random) -> Iterator[Case]:
    """Presets that extend each other."""
    chain: dict[str, Content] = {f"model/c{i}.yaml": f"defaults: [c{i + 1}]\n" for i in range(1_200)}
    yield Case("a chain", {**chain, "model/case.yaml": "defaults: [c0]\n"}, door=random.choice(("cfg", "show", "list")))
    fans: dict[str, Content] = {f"model/c{i}.yaml": f"defaults: [c{i + 1}, c{i + 2}]\n" for i in range(60)}
    yield Case(
        "a fan", {**fans, "model/case.yaml": "defaults: [c0, c1]\n"}, door=random.choice(("cfg", "show", "list"))
    )
    ring: dict[str, Content] = {f"model/c{i}.yaml": f"defaults: [c{(i + 1) % 5}]\n" for i in range(5)}
    yield Case("a ring", {**ring, "model/case.yaml": "defaults: [c0]\n"}, door=random.choice(("build", "show")))
    fat: dict[str, Content] = {
        f"model/c{i}.yaml": f"defaults: [c{i + 1}]\neos_token_id: [{'1,' * 9_000}]\n" for i in range(15)
    }
    yield Case("a fat chain", {**fat, "model/c15.yaml": GOOD, "model/case.yaml": "defaults: [c0]\n"}, door="cfg")
