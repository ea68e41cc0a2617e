"""Bytes on each device: arithmetic, against the published shapes; the contract holds it to what ranks allocate."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from tools.docs import cuts
from zoo.anatomy.size import Size
from zoo.cli import devices, main
from zoo.errors import UsageError
from zoo.parallel.estimate import of_rank, spread
from zoo.parallel.layout import Layout
from zoo.presets import config


def test_llama_405b_over_16_devices_takes_what_its_shapes_say() -> None:
    """126 layers of width 16384, 128 heads and 8 of keys, each 128 wide, 53248 in the MLP, 128256 tokens; bfloat16."""
    dim, keys, wide, vocab = 16384, 8 * 128, 53248, 128256
    layer = (2 * dim * dim + 2 * dim * keys + 3 * dim * wide) // 8 + 2 * dim
    last = 63 * layer + vocab * dim // 8 + dim  # the head and the norm before it
    told = devices.facts(config("llama3.1-405b"), Layout(tp=8, pp=2))
    assert told["weight_bytes"] == 2 * last
    assert told["cache_bytes"] == 63 * 2 * 128 * 131_072 * 2  # one head of keys and one of values
    assert told["training_bytes"]["zero_0"] == {
        "weights": 2 * last, "gradients": 2 * last, "optimizer": 12 * last, "total": 16 * last,
    }  # fmt: skip


def test_zero_parts_one_thing_after_the_other() -> None:
    anatomy = config("llama3.1-8b").anatomy()
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    count = Size(anatomy).parameters
    stages = [spread(anatomy, Layout(dp=8), zero, "bfloat16") for zero in range(4)]
    each = math.ceil(count / 8)
    assert [s.optimizer for s in stages] == [12 * count, 12 * each, 12 * each, 12 * each]
    assert [s.gradients for s in stages] == [2 * count, 2 * count, 2 * each, 2 * each]
    assert [s.weights for s in stages] == [2 * count, 2 * count, 2 * count, 2 * (each + layer)]


def test_sequence_parallelism_parts_what_is_between_the_blocks_too() -> None:
    """Of a layer of Llama 3.1 405B: by tp a rank keeps two norms and two results whole, with sp an 8th of them.

    These are the four that tp leaves whole in table 2 of arXiv:2205.05198. What leaves the layers is whole.
    """
    layers, dim, length = 126, 16384, 131_072
    whole, parted = (devices.facts(config("llama3.1-405b"), Layout(tp=8, sp=sp)) for sp in (False, True))
    assert whole["activations"] - parted["activations"] == 2 * length * (4 * layers - 1) * dim * 7 // 8
    entering = layers + 4 - 2  # of each layer, and four of the one that is computed again; of the ends what is whole
    assert whole["recomputed_activations"] - parted["recomputed_activations"] == 2 * length * entering * dim * 7 // 8
    assert {name for name in whole if whole[name] != parted[name]} == {"activations", "recomputed_activations", "sp"}


def test_experts_are_parted_by_rank_and_the_rest_is_whole() -> None:
    anatomy = config("mixtral-8x7b").anatomy()
    experts = 32 * 8 * 3 * 4096 * 14336
    whole = Size(anatomy).parameters
    assert Size(of_rank(anatomy, Layout(ep=4))).parameters == whole - experts + experts // 4
    with pytest.raises(UsageError, match=r"parallel\.ep=3 cannot cut this model: num_experts has 8"):
        devices.facts(config("mixtral-8x7b"), Layout(ep=3))


@pytest.mark.parametrize("name", ["deepseek-v3", "qwen3-0.6b", "gemma2-2b"])
def test_all_ranks_and_stages_hold_all_weights_once(name: str) -> None:
    """What is cut adds up to the whole; an embedding that is the head is in the first stage and in the last."""
    anatomy = config(name).anatomy()
    tied = math.prod(anatomy.tied_head) if anatomy.tied_head else 0
    parts = [Size(of_rank(anatomy, Layout(pp=2), stage=stage)).parameters for stage in range(2)]
    assert sum(parts) == Size(anatomy).parameters + tied
    ranks = [of_rank(anatomy, Layout(tp=2), rank=rank) for rank in range(2)]
    for weight, *found in zip(anatomy.weights, *(rank.weights for rank in ranks), strict=True):
        held = [w.numel for w in found]
        assert sum(held) == weight.numel or held == [weight.numel] * 2, weight.name


def shown(*words: str) -> str:
    done = CliRunner().invoke(main, ["show", *words], standalone_mode=False)
    return done.output


def test_show_tells_each_device_and_the_fewest_that_fit() -> None:
    told = shown("llama3.1-405b", "parallel.tp=8", "parallel.pp=2")
    assert "16: tp 8 × pp 2" in told
    assert "weights 47.25 GiB bfloat16 · KV cache 3.94 GiB at 131,072" in told
    assert json.loads(shown("llama3.1-8b", "--json", "--fits", "80GiB"))["parallel"]["devices"] == 1
    found = json.loads(shown("llama3.1-405b", "--json", "--fits", "80GiB"))["parallel"]
    assert (found["tp"], found["pp"]) == (8, 2)
    assert 80 * 2**30 / 2 < found["weight_bytes"] + found["cache_bytes"] <= 80 * 2**30


def test_show_tells_each_device_its_share_of_rounded_weights() -> None:
    """8 ranks of Llama 3.1 405B in int4: layers in 4 bits and 4 bytes per 32 columns, norms whole, all else cut."""
    d, ffn, kv, layers, vocab = 16_384, 53_248, 1_024, 126, 128_256
    matrices = layers * (2 * d * d + 2 * kv * d + 3 * ffn * d) // 8
    rest = 2 * (2 * vocab * d // 8 + (2 * layers + 1) * d)
    found = json.loads(shown("llama3.1-405b", "quantize=int4", "parallel.tp=8", "--json"))["parallel"]
    assert (found["packed_bytes"], found["kept_bytes"]) == (matrices // 2 + matrices // 32 * 4, rest)
    assert found["weight_bytes"] == matrices // 2 + matrices // 32 * 4 + rest
    told = shown("llama3.1-405b", "quantize=int4", "parallel.tp=8")
    assert "weights 30.21 GiB (int4 29.22 GiB · the rest bfloat16 1009.9 MiB)" in told
    assert "without quantize: AdamW" in told
    assert "parallel.tp=4 in 80GiB each" in shown("llama3.1-405b", "quantize=int4", "--fits", "80GiB")


def test_a_head_in_8_bits_is_cut_with_its_scales() -> None:
    """SmolLM2-135M on 3 ranks: matrices are cut by rows or by columns, and a scale stands for a row of each share."""
    d, ffn, kv, layers, vocab = 576, 1_536, 192, 30, 49_152
    numbers = (layers * (2 * d * d + 2 * kv * d + 3 * ffn * d) + vocab * d) // 3
    scales = layers * ((d + 2 * kv) // 3 + d + 2 * ffn // 3 + d) + vocab // 3
    found = json.loads(shown("smollm2-135m", "quantize=int8", "parallel.tp=3", "--json"))["parallel"]
    assert (found["packed_bytes"], found["kept_bytes"]) == (numbers + 2 * scales, 2 * (2 * layers + 1) * d)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("llama3.1-8b", "parallel.tp=3"), "sizes that work: 1, 2, 4, 8, 16, 32"),
        (
            ("mixtral-8x7b", "parallel.tp=2", "parallel.sp=true", "parallel.ep=2"),
            "parallel.sp=true and parallel.ep do not",
        ),
        (("gpt2", "parallel.ep=2"), "the model has no experts"),
        (("clip-vit-b32", "parallel.tp=2", "parallel.sp=true"), "no stack of layers that reads texts"),
        (("t5-small", "parallel.pp=2"), "stages of an encoder-decoder are not counted"),
        (("gpt2", "parallel.pp=13"), "there are 12 layers"),
        (("gpt2", "parallel.tp=2", "quantize=int9"), "quantize='int9' is not known"),
        (("gpt2", "parallel.tp=2", "--fits", "1GB"), "--fits finds the layout"),
        (("llama3.1-405b", "--fits", "1KB"), "no layout of up to 4096 devices"),
        (("gpt2", "--fits", "much"), "'much' is not a number of bytes"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(
    words: tuple[str, ...], refusal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["show", *words])
    assert refusal in capsys.readouterr().err


def test_the_picture_of_the_docs_shows_what_the_blocks_declare() -> None:
    drawn = cuts.picture()
    # seven matrices of a LLaMA layer and, beside its attention, three stacks of an MoE layer, in four parts each
    # and once more three stacks by experts, beside which the norm, attention and the router are whole
    assert drawn.count('class="r3"') == 7 + 7 + 3
    assert drawn.count('class="whole"') == 1 + 2 + 6  # norms and the router
    assert drawn.count(">experts<") == 3
    assert "8 × up_proj" in drawn
