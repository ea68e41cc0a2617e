"""The arithmetic of sizes equals what is really built: parameters and caches, without allocating a weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.goldens import all_goldens
from tests.some import one_in, some
from zoo import presets
from zoo.anatomy import Anatomy, ModelConfig
from zoo.anatomy.size import Size, human_bytes, human_count
from zoo.errors import UsageError, ZooError
from zoo.models.construction import build, count, on_meta
from zoo.registry import installed
from zoo.units import human_flops
from zoo.weights import ForeignConfig

PRESETS = sorted(installed().presets())
FAMILIES = sorted(installed().families)
GOLDENS = all_goldens()


@pytest.mark.parametrize("name", some(PRESETS, "tiny", "llama3.1-405b", "deepseek-v2-lite", "gemma3-4b", "t5-base"))
def test_every_preset_builds_the_parameters_and_the_cache_that_were_computed(name):
    config = presets.config(name)
    model, size = on_meta(config), Size.of(config)
    assert size.parameters == count(model)
    if hasattr(model, "new_cache"):  # an encoder keeps none
        for batch, length in ((1, 1), (3, 40), (2, size.anatomy.max_seq_len or 500)):
            assert size.cache_bytes(length, batch, "float32") == model.new_cache(batch, length).nbytes


@pytest.mark.parametrize("name", some(FAMILIES, "llama", "gemma", "deepseek", "mixtral"))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cache_of_every_tiny_model_takes_the_bytes_that_were_computed(name, dtype):
    config = installed()[name].config_class.tiny()
    model = build(config, device="cpu", dtype=dtype)
    if not hasattr(model, "new_cache"):
        pytest.skip("an encoder keeps no cache")
    for batch, length in ((1, 1), (2, 3), (1, 40)):  # shorter and longer than the tiny windows
        assert Size.of(config).cache_bytes(length, batch, dtype) == model.new_cache(batch, length).nbytes


@pytest.mark.parametrize("golden", one_in(6, GOLDENS), ids=lambda golden: golden.name)
def test_every_golden_has_the_weights_and_the_cache_that_were_computed(golden):
    """Their sizes are odd, and each option is on in one and off in another."""
    family = installed()[golden.family]
    config = family.dialect("hf").from_config(ForeignConfig(golden.config))
    model, size = on_meta(config), Size.of(config)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == config.anatomy().shapes()
    assert size.parameters == count(model)
    if hasattr(model, "new_cache"):
        for batch, length in ((3, 1), (2, 7), (1, 60)):
            assert size.cache_bytes(length, batch, "float32") == model.new_cache(batch, length).nbytes


def test_a_source_is_kept_for_every_row_and_layer_of_the_decoder():
    """Three layers, keys and values of three heads of five channels, for each of three rows of seven tokens."""
    size = Size.of(installed()["t5"].config_class.tiny())
    assert size.source_cache_bytes(7, 3) == 3 * 2 * 3 * 5 * 3 * 7 * 4
    assert size.source_cache_bytes(7, 3, "bfloat16") == 3 * 2 * 3 * 5 * 3 * 7 * 2


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_word_more_is_a_float32_probability_more(is_tied):
    """Whatever the dtype, for the loss is taken in float32 (arXiv:2205.05198, section 4.3); autograd says the same."""
    base, tokens = installed()["llama"].config_class.tiny(), torch.arange(15).view(3, 5)
    few, many = (replace(base, vocab_size=v, tie_embeddings=is_tied) for v in (6_000, 9_000))
    need = [Size.of(c).training_bytes(3, 5, "bfloat16").activations for c in (few, many)]
    kept = [_bytes_kept_for_backward(build(c, device="cpu", dtype="bfloat16"), tokens) for c in (few, many)]
    assert need[1] - need[0] == kept[1] - kept[0] == 3 * 5 * 3_000 * 4


def test_a_window_bounds_cache_and_flops():
    anatomy = Anatomy(max_seq_len=100)
    anatomy.attends(range(3), num_heads=4, num_kv_heads=2, head_dim=8, window=5)
    anatomy.attends(range(3, 5), num_heads=4, num_kv_heads=2, head_dim=8)
    size = Size(anatomy)
    assert size.cache_bytes_per_token() == 5 * 2 * 2 * 8 * 4
    assert size.cache_bytes(9) == (3 * 5 + 2 * 9) * 2 * 2 * 8 * 4
    assert size.flops_per_token(8) == (3 * 5 + 2 * 9) * 2 * 4 * 16
    two_sided = Anatomy()
    two_sided.attends([0], 1, 1, 1, window=3, is_causal=False)
    assert Size(two_sided).flops_per_token(99) == 5 * 2 * 2  # the token itself, two before and two after


@pytest.mark.parametrize(("window", "is_causal"), [(None, True), (4, True), (40, True), (None, False), (4, False)])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 19])
def test_prefill_counts_every_pair_of_query_and_key_that_the_mask_allows(window, is_causal, length):
    from zoo.nn import Mask

    anatomy = Anatomy()
    anatomy.attends([0], num_heads=1, num_kv_heads=1, head_dim=1, window=window, is_causal=is_causal)
    positions = torch.arange(length)
    allowed = Mask(is_causal, window)(positions[None, :, None], positions[None, None, :])
    assert Size(anatomy).prefill_flops(length) == 4 * int(allowed.sum())


def test_experts_that_a_token_is_not_sent_to_cost_memory_but_no_compute():
    anatomy = Anatomy()
    anatomy.moe(8, 16, num_experts=6, experts_per_token=2)
    size = Size(anatomy)
    assert size.parameters - size.active_parameters == 4 * 3 * 8 * 16
    assert size.flops_per_token() == 2 * (6 * 8 + 2 * 3 * 8 * 16)


def test_a_decoded_token_is_charged_for_the_latents_it_attends_to():
    anatomy = Anatomy()
    anatomy.attends_latent([0, 1], num_heads=3, qk_dim=6, v_dim=4, cached=18, rank=16)
    size = Size(anatomy)
    assert size.flops_per_token(9) == 2 * 2 * 3 * (18 + 16) * 10
    assert size.prefill_flops(1) == 2 * 2 * 3 * (6 + 4)


@pytest.mark.parametrize(
    ("dtype", "per_parameter"), [("float32", 16), ("bfloat16", 16)], ids=["single precision", "mixed precision"]
)
def test_training_keeps_sixteen_bytes_per_parameter(dtype, per_parameter):
    size = Size.of(presets.config("smollm2-135m"))
    need = size.training_bytes(1, 128, dtype)
    assert need.weights + need.gradients + need.optimizer == per_parameter * size.parameters
    assert need.total == need.weights + need.gradients + need.optimizer + need.activations


def test_activations_are_about_what_autograd_keeps():
    # The formula charges fused norms. Ours are not fused and keep their float32 statistics and normalised input as
    # well, about a tenth of everything in a LLaMA; hence "at least", and not much more.
    config = installed()["llama"].config_class(
        vocab_size=211, hidden_size=96, intermediate_size=256, num_layers=3, num_heads=6, num_kv_heads=2, head_dim=16
    )
    tokens = torch.arange(96).view(2, 48)
    model = build(config, device="cpu")
    kept = _bytes_kept_for_backward(model, tokens)
    assert 0.85 * kept < Size.of(config).training_bytes(*tokens.shape).activations < kept


def test_recomputation_keeps_what_enters_each_layer_and_one_layer_whole():
    """By hand, as in arXiv:2205.05198 (5): what enters L layers, all of one layer, and the norm behind them."""
    sizes = {"vocab_size": 211, "intermediate_size": 256, "num_heads": 6, "num_kv_heads": 2, "head_dim": 16}
    hidden, layers, tokens = 96, 5, 2 * 48
    size = Size.of(installed()["llama"].config_class(**sizes, hidden_size=hidden, num_layers=layers))
    attention = 2 * 6 * 16 + 2 * 2 * 16 + hidden  # q and what attention gives, k and v, and o
    one = hidden + attention + hidden + 4 * 256 + hidden  # both norms; gate, up and the two that enter down; down
    whole = tokens * (layers * one + hidden + 211) * 4
    assert size.training_bytes(2, 48, "float32").activations == whole
    assert size.recomputed_activations(2, 48, "float32") == tokens * (layers * hidden + one + hidden + 211) * 4


def test_a_token_per_twentieth_parameter_is_the_best_use_of_compute():
    assert Size.of(presets.config("llama1-65b")).optimal_tokens == 20 * 65_285_660_672


def test_sizes_count_in_the_released_dtype_unless_told_otherwise():
    size = Size.of(presets.config("llama3-8b"))
    assert size.weight_bytes() == size.weight_bytes("bfloat16") == size.weight_bytes("float32") // 2
    assert size.cache_bytes_per_token() == 128 * 1024
    with pytest.raises(UsageError, match=r"did you mean: .*bfloat16"):
        size.weight_bytes("bfloat61")


def test_roles_add_up():
    size = Size.of(presets.config("llama3-8b"))
    assert sum(size.by_role.values()) == size.parameters
    assert list(size.by_role) == ["embedding", "attention", "mlp", "norm", "head"]


def test_a_family_without_anatomy_says_so():
    with pytest.raises(ZooError, match="no arithmetic for its size"):
        Size.of(ModelConfig(family="mystery"))


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (8, "8"), (999, "999"), (1000, "1.00k"), (41_728, "41.7k"), (99_960, "100k"), (999_600, "1.00M"),
        (1_050_000, "1.05M"), (124e6, "124M"), (8_030_261_248, "8.03B"), (68_976_648_192, "69.0B"), (405e9, "405B"),
        (1.6e12, "1.60T"), (2e15, "2000T"),
    ],
)  # fmt: skip
def test_counts_have_three_digits(number, shown):
    assert human_count(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"), (96, "96 B"), (128 << 10, "128 KiB"), (8_030_261_248 * 2, "14.96 GiB"), (972 << 20, "972 MiB"),
        (4 << 30, "4 GiB"), (31_104, "30.38 KiB"), ((1 << 20) - 1, "1 MiB"), (3 << 40, "3 TiB"), (5 << 50, "5120 TiB"),
    ],
)  # fmt: skip
def test_bytes_have_at_most_two_decimals(number, shown):
    assert human_bytes(number) == shown


def test_flops_come_in_decimal_units():
    assert [human_flops(n) for n in (512, 16.1e9, 3.2e12)] == ["512 FLOP", "16.1 GFLOP", "3.20 TFLOP"]


def _bytes_kept_for_backward(model: nn.Module, tokens: torch.Tensor) -> int:
    """Bytes of distinct storages that the graph of the loss holds, the weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
    return sum(storage.nbytes() for storage in kept.values())


def test_a_state_costs_the_same_at_any_length() -> None:
    """Two layers that carry 10 numbers and 6 wide ones, beside one that attends: by hand."""
    a = Anatomy()
    a.attends([0], 4, 2, 8)
    a.carries([1, 2], 10)
    a.carries([1, 2], 6, is_wide=True, flops=30, width=5)
    size = Size(a, "bfloat16")
    assert size.state_bytes() == 2 * (10 * 2 + 6 * 4)
    assert size.state_bytes("float64") == 2 * (10 + 6) * 8
    assert size.cache_bytes_per_token() == 2 * 2 * 8 * 2
    assert size.cache_bytes(7, batch=3) == 3 * (7 * 64 + 88)
    assert size.flops_per_token(9) == 2 * 4 * 16 * 10 + 2 * 30
    assert size.prefill_flops(3) == 2 * 4 * 16 * (1 + 2 + 3) + 3 * 2 * 30
    assert size.training_bytes(1, 1).activations == (4 * 8 + 2 * 5) * 2


def test_a_fault_within_an_anatomy_is_not_taken_for_none() -> None:
    class Undescribed(ModelConfig):
        """Overrides nothing."""

    class Unfinished(ModelConfig):
        def anatomy(self) -> Anatomy:
            raise NotImplementedError("experts")

    with pytest.raises(ZooError, match="has no arithmetic for its size"):
        Size.of(Undescribed(family="none"))
    with pytest.raises(NotImplementedError, match="experts"):
        Size.of(Unfinished(family="some"))
