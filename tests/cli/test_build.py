"""`zoo build`: what users see, on mistakes and otherwise."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from zoo.anatomy.size import Size
from zoo.cli import main
from zoo.cli.summary import lines
from zoo.presets.composition import compose

TABLE = [  # what is typed, what is printed: the table of mistakes that the documentation promises
    ("model=lama3", "no model is called 'lama3'\ndid you mean: llama3, llama2, llama1?"),
    ("llama3 model.hiden_size=3", "no key 'model.hiden_size'\ndid you mean: model.hidden_size?"),
    ("llama3 +model.hiden_size=3", "'model.hiden_size' is not a field of LlamaConfig (did you mean hidden_size?)"),
    ("modle=llama3", "no key 'modle'\ndid you mean model=llama3?"),
    (
        "llama3 model.hidden_size=abc",
        "Value 'abc' of type 'str' could not be converted to Integer\nmodel.hidden_size: width of the residual stream",
    ),
    ("model=a,b", "two values for model: add -m to build both"),
    ("", "which model?\ntype a name, for example: zoo build llama3 (zoo list shows all names)"),
    ("llama3 rope.factor=4", "no key 'rope.factor'\ndid you mean model.rope.factor=4?"),
    ("llama3 save=out", "save=out needs weights, but device=meta has none\nadd device=cpu"),
    ("llama3 format=gg", "format='gg' is not a format of llama\ndid you mean: gguf?"),
    ("llama3 seed=one", "seed='one' is not int"),
    ("tiny device=cpu seed=99999999999999999999", "seed=99999999999999999999 is not a number of 64 bits"),
    (
        "tiny dtype=float8_e4m3fn",
        "dtype='float8_e4m3fn': no model computes in it\ntry float32, bfloat16 or float16",
    ),
    ("tiny device=cpu save=", "save= has no folder\ntype: save=FOLDER"),
    (
        "-m llama3 save=out model.num_layers=1,2",
        "save=out would write all models to the same folder\ngive each its own folder: 'save=out/${hydra:job.num}'",
    ),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`zoo build` in an empty folder: an object with exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda words: CliRunner().invoke(main, ["build", *words.split()])


CHEAP = {"-m llama3 save=out model.num_layers=1,2", "llama3 format=gg", "llama3 save=out", "model=a,b", ""}


@pytest.mark.parametrize(
    ("typed", "printed"),
    [pytest.param(*row, id=row[0], marks=[] if row[0] in CHEAP else pytest.mark.slow) for row in TABLE],
)
def test_a_mistake_prints_these_lines_and_no_traceback(run, typed, printed):
    result = run(typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {printed}\n"


@pytest.mark.slow
def test_a_bare_word_is_the_model(run):
    bare, whole = (json.loads(run(f"{model} --json").stdout) for model in ("smollm2-135m", "model=smollm2-135m"))
    assert bare | {"seconds": 0} == whole | {"seconds": 0}


@pytest.mark.slow
def test_json_holds_the_numbers_of_the_arithmetic(run):
    told = json.loads(run("llama3 model.num_layers=2 rope=yarn --json").stdout)
    size = Size.of(compose("llama3", "model.num_layers=2", "rope=yarn"))
    assert told["model"] == "llama3"
    assert told["parameters"] == size.parameters == sum(part["parameters"] for part in told["tree"])
    assert told["size"]["by_role"] == size.by_role
    assert told["size"]["length"] == 8192
    assert told["size"]["cache_bytes"] == size.cache_bytes(8192)
    assert told["size"]["first_token_flops"] == size.flops_per_token()
    assert told["size"]["weight_bytes"] == 2 * size.parameters  # bfloat16
    assert told["changed"] == {
        "model.num_layers": [32, 2], "model.rope.scaling": ["none", "yarn"], "model.rope.factor": [1.0, 4.0]
    }  # fmt: skip


def test_people_see_the_tree_and_the_costs(run):
    facts = json.loads(run("llama3 model.num_layers=2 --json").stdout)
    assert lines(facts | {"seconds": 0.5}, is_table=True) == [
        "llama · 2 layers · 1.49B parameters · meta · 0.50 s",
        "  embed          [128256, 4096]  525M",
        "  layers.{0..1}                  218M each",
        "  norm           [4096]          4.10k",
        "  lm_head        [128256, 4096]  525M",
        "parameters  embedding 525M · attention 83.9M · mlp 352M · norm 20.5k · head 525M",
        "weights     5.54 GiB fp32 · 2.77 GiB bf16 · 1.38 GiB int8",
        "cache       8 KiB/token · 64 MiB at 8,192 (bfloat16)",
        "compute     1.92 GFLOP for the first token · 2.19 GFLOP for the one at 8,192",
        "changed from the preset: model.num_layers 32 → 2",
    ]


@pytest.mark.slow
def test_pipes_get_tabs(run):
    shown = run("llama3 model.num_layers=2").stdout.splitlines()
    assert "embed\t[128256, 4096]\t525M" in shown
    assert "cache\t8 KiB/token · 64 MiB at 8,192 (bfloat16)" in shown


@pytest.mark.slow
def test_a_single_run_writes_nothing(run):
    assert run("llama3").exit_code == 0
    assert os.listdir() == []


@pytest.mark.slow
def test_flags_may_stand_between_overrides(run):
    first, last = run("--json llama3 model.num_layers=2"), run("llama3 --json model.num_layers=2")
    assert json.loads(first.stdout)["parameters"] == json.loads(last.stdout)["parameters"]


@pytest.mark.slow
def test_cfg_prints_what_hydra_composes(run):
    result = run("llama3 --cfg job -p model.rope rope=yarn")
    assert result.exit_code == 0
    assert "scaling: yarn\nfactor: 4.0\n" in result.stdout
    assert "device: meta" in run("--cfg job").stdout


@pytest.mark.slow
def test_cfg_refuses_what_build_refuses(run):
    assert run("llama3 +model.hiden_size=3 --cfg job").exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", ["llama3 --info searchpath", "--info searchpath llama3"])
def test_info_searchpath(run, words):
    assert "pkg://zoo.conf" in run(words).stdout


@pytest.mark.slow
def test_a_bare_info_takes_no_override_for_its_value(run):
    result = run("--info model=llama3")
    assert result.exit_code == 0
    assert "Defaults List" in result.stdout


@pytest.mark.slow
def test_saving_gives_the_same_bytes_for_the_same_seed(run):
    small = "smollm2-135m model.num_layers=1 model.vocab_size=64 device=cpu dtype=bfloat16"
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        result = run(f"{small} save={folder} seed={seed}")
        assert f"saved to {Path(folder).resolve()} as hf: random weights, seed {seed}" in result.stdout, result.stderr
    a, b, c = (Path(folder, "model.safetensors").read_bytes() for folder in "abc")
    assert a == b
    assert a != c


@pytest.mark.slow
def test_a_folder_of_ones_own_presets(run):
    own = Path("own/model")
    own.mkdir(parents=True)
    text = "# Mine\ndefaults:\n  - smollm2-135m\n  - _self_\nnum_layers: 3\n"
    (own / "mine.yaml").write_text(text)
    assert json.loads(run("mine -cd own --json").stdout)["num_layers"] == 3
    (own / "llama3.yaml").write_text(text)
    assert "note: the model 'llama3' of own is hidden by the one of zoo-lm" in run("mine -cd own").stderr


@pytest.fixture
def own():
    """A folder own/ with a preset, a group of its own, an option of a known one, and what only Hydra would read."""

    def write(folder):
        for path, text in {
            "model/mine.yaml": "# Mine\ndefaults:\n  - decoder/llama3\n  - _self_\nnum_layers: 3\n",
            "model/sub/small.yaml": "# Small\ndefaults:\n  - tiny\n  - _self_\nnum_layers: 1\n",
            "attention/two.yaml": "# @package model.attention\nnum_kv_heads: 2\n",
            "depth/deep.yaml": "# @package model\nnum_layers: 7\n",
            "seeds/nine.yaml": "# @package _global_\nseed: 9\n",
            "hydra/job_logging/mine.yaml": "# @package hydra.job_logging\nversion: 1\nroot: {handlers: []}\n",
        }.items():
            (file := Path(folder, path)).parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


@pytest.mark.slow
def test_all_of_hydra_works_on_presets_that_are_data(run, own):
    own("own")
    words = "mine attention=two depth=deep ++model.norm.eps=1e-6 -cd own"
    told = json.loads(run(f"{words} --json").stdout)
    assert told["changed"] == {
        "model.num_layers": [3, 7], "model.norm.eps": [1e-5, 1e-6], "model.attention.num_kv_heads": [8, 2]
    }  # fmt: skip
    shown = run(f"{words} --cfg job -p model.attention").stdout
    assert "num_kv_heads: 2\n" in shown
    assert "zoo://" in run("mine -cd own --info searchpath").stdout
    assert "model/mine" in run("mine -cd own --info defaults").stdout
    assert "run:\n" in run("mine -cd own --cfg hydra").stdout
    jobs = json.loads(run("-m model=mine,sub/small,tiny model.num_layers=1,2 -cd own --json").stdout)["jobs"]
    assert [job["num_layers"] for job in jobs] == [1, 2] * 3
    assert [job["model"] for job in jobs[::2]] == ["mine", "sub/small", "tiny"]
    jobs = json.loads(run("-m mine attention=glob(m*a) -cd own --json").stdout)["jobs"]
    assert {job["config"]["attention"]["kind"] for job in jobs} == {"heads", "mla"}


@pytest.mark.slow
def test_a_folder_is_hydras_only_where_the_user_says_so(run, own):
    own("own")
    refused = run("tiny seeds=nine -cd own")
    assert refused.stderr.startswith("error: own/seeds/nine.yaml: line 1: @package _global_; expected # @package model")
    assert refused.stderr.endswith("--trust-config-dir allows all that Hydra does\n")
    assert json.loads(run("tiny seeds=nine -cd own --trust-config-dir --json").stdout)["seed"] == 9
    assert "hydra/job_logging has no option 'mine'" in run("tiny hydra/job_logging=mine -cd own").stderr
    assert run("tiny hydra/job_logging=mine -cd own --trust-config-dir").exit_code == 0
    assert "note: own/hydra is not read: presets cannot set hydra\n" in run("mine -cd own").stderr
    assert run(f"tiny seeds=nine hydra.searchpath=[file://{Path('own').resolve()}] -cd own").exit_code == 1


@pytest.mark.slow
def test_what_acts_may_come_from_the_command_line(run, own):
    own("own")
    assert run("sub/small -cd own device=cpu dtype=bfloat16 save=saved").exit_code == 0
    assert Path("saved", "config.json").is_file()
    assert run("sub/small -cd own hydra.run.dir=there hydra.output_subdir=x").exit_code == 0
    assert Path("there", "x", "config.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", ["hub: ${oc.env:HOME}", "_target_: os.system", "hub: &a x", "hub: !!python/name:os.x"])
def test_a_folders_presets_are_data(run, line):
    Path("own/model").mkdir(parents=True)
    Path("own/model/mine.yaml").write_text(f"defaults:\n  - llama3\n  - _self_\n{line}\n")
    result = run("mine -cd own")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: own/model/mine.yaml: line 4: ")


@pytest.mark.slow
def test_a_sweep_leaves_a_result_per_job_and_prints_one_table(run):
    result = run("model=llama3,smollm2-135m -m model.num_layers=2,4")  # flags first and last
    assert result.exit_code == 0, result.stderr
    header, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert header == ["#", "model", "model.num_layers", "params", "cache/token", "FLOPs, first token", "build"]
    assert [row[:3] for row in rows] == [
        ["0", "llama3", "2"], ["1", "llama3", "4"], ["2", "smollm2-135m", "2"], ["3", "smollm2-135m", "4"]
    ]  # fmt: skip
    assert int(rows[0][3]) == Size.of(compose("llama3", "model.num_layers=2")).parameters
    (folder,) = Path("multirun").glob("*/*")
    assert json.loads((folder / "3" / "result.json").read_text())["num_layers"] == 4
    assert (folder / "3" / ".hydra" / "overrides.yaml").is_file()


@pytest.mark.slow
def test_a_sweep_goes_where_it_is_sent(run):
    told = json.loads(run("-m llama3 model.num_layers=1,2 hydra.sweep.dir=there --json").stdout)
    assert told["folder"] == "there"
    assert [job["num_layers"] for job in told["jobs"]] == [1, 2]


@pytest.mark.slow
def test_a_combination_that_contradicts_itself_is_told_and_the_others_are_built(run):
    result = run("-m llama3 model.num_layers=1 model.num_heads=32,30")
    assert result.exit_code == 2
    assert "error: job 1: model.num_heads=30 is not a multiple of model.num_kv_heads=8" in result.stderr
    assert result.stdout.splitlines()[1].startswith("0\t32\t1")


@pytest.mark.slow
def test_a_mistake_in_a_sweep_stops_it_before_the_first_job(run):
    result = run("-m llama3 model.num_layers=1,two")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: Value 'two' of type 'str' could not be converted to Integer\n")
