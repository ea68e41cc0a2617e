"""One door to transformers: no code beside the weights, no kernels and no adapters come through it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import zoo
from tests.measurement.models import same
from zoo.errors import UsageError, ZooError
from zoo.measurement.speed.benchmark import duel
from zoo.measurement.speed.job import Job
from zoo.registry import installed

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "zoo" / "models" / "transformers_library.py"
CODE = "import pathlib\npathlib.Path({!r}).write_text('ran')\nclass Config: ...\nclass Model: ...\n"
AUTO_MAP = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoModelForCausalLM": "evil.Model"}


def opened(file: Path) -> Iterator[ast.Call]:
    """Calls that open a model of transformers: from_pretrained of anything but zoo, from_config of its classes."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value.id if isinstance(node.func.value, ast.Name) else ast.unparse(node.func.value)
            is_theirs = of == "kind" or "Auto" in of  # a dialect's from_config is another
            if of != "zoo" if node.func.attr == "from_pretrained" else node.func.attr == "from_config" and is_theirs:
                yield node


@pytest.mark.slow
def test_no_other_module_opens_a_model_of_transformers() -> None:
    files = [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py"), *ROOT.glob("tools/**/*.py")]
    assert len(files) > 200
    assert [file for file in files if file != DOOR and any(opened(file))] == []


def test_the_door_says_what_it_does_not_trust_at_every_call() -> None:
    calls = [*opened(DOOR)]
    assert len(calls) == 3
    for call in calls:
        said = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        assert said["trust_remote_code"] is False
        assert isinstance(call.func, ast.Attribute)
        assert call.func.attr == "from_config" or said["local_files_only"] is True


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Tiny with code beside the weights, which leaves a trace when it is run, and kernels that are to be fetched."""
    kernels = {"_attn_implementation": "evil/kernel", "_experts_implementation": "evil/kernel"}
    folder = same(tmp_path / "hostile", torch.float32)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | kernels | {"auto_map": AUTO_MAP}))
    (folder / "evil.py").write_text(CODE.format(str(tmp_path / "trace")))
    return folder


@pytest.mark.slow
def test_what_a_folder_names_beside_itself_is_not_followed(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    from zoo.models.transformers_library import make_model, read_config, read_model

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    kind = transformers.AutoModelForCausalLM
    for model in (read_model(kind, hostile), make_model(kind, read_config(hostile))):
        assert type(model).__name__ == "LlamaForCausalLM"
        assert model.config._attn_implementation == "sdpa"  # what the class itself prefers
    config = json.loads((hostile / "config.json").read_text())
    (hostile / "config.json").write_text(json.dumps(config | {"model_type": "evil"}))
    with pytest.raises(ValueError, match="custom code"):
        read_model(kind, hostile)
    assert not (hostile.parent / "trace").exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_an_adapter_in_the_folder_is_refused(hostile: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    from zoo.models.transformers_library import read_model

    (hostile / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    with pytest.raises(ZooError, match="would add the adapter"):
        read_model(transformers.AutoModelForCausalLM, hostile)


@pytest.mark.slow
def test_bench_asks_nothing_of_a_folder_whose_class_is_beside_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    kind = installed()["chatglm"].config_class
    folder = zoo.save(zoo.build(kind.tiny(), device="cpu"), tmp_path / "chatglm")
    config = json.loads((folder / "config.json").read_text())
    released = {"AutoConfig": "configuration_chatglm.ChatGLMConfig", "AutoModel": "modeling_chatglm.ChatGLMModel"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": released}))
    for name in ("configuration_chatglm.py", "modeling_chatglm.py"):
        (folder / name).write_text(CODE.format(str(tmp_path / "trace")))
    with pytest.raises(UsageError, match="only code next to the weights, which zoo does not run"):
        duel("chatglm", Job(source=str(folder), prompt=4, new=2), repeats=1, against="transformers")
    assert not (tmp_path / "trace").exists()
