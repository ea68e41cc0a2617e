"""Qwen, from the first to the third: dense, mixtures of experts, and the long-context models with dual chunks."""

from zoo import Family, hookimpl

DELTA = "most of its layers are gated delta nets, a recurrence that zoo does not have"


@hookimpl
def zoo_families():
    return [
        Family(
            name="qwen",
            config=f"{__name__}.qwen1.config:Qwen1Config",
            model=f"{__name__}.qwen1.model:Qwen1",
            formats={"hf": f"{__name__}.qwen1.hf:QWEN"},
            hf_types=("qwen",),
            summary="the first Qwen: biases on q, k and v, dynamic NTK and log-n attention beyond the trained length",
        ),
        Family(
            name="qwen2",
            config=f"{__name__}.config:Qwen2Config",
            model=f"{__name__}.model:Qwen",
            formats={"hf": f"{__name__}.hf:QWEN2", "gguf": f"{__name__}.gguf:QWEN2"},
            hf_types=("qwen2",),
            summary="Qwen1.5, 2 and 2.5: LLaMA's block with biases on q, k and v; dual chunk attention for 1M tokens",
        ),
        Family(
            name="qwen2_moe",
            config=f"{__name__}.moe.config:Qwen2MoEConfig",
            model=f"{__name__}.model:QwenMoE",
            formats={"hf": f"{__name__}.moe.hf:QWEN2_MOE", "gguf": f"{__name__}.moe.gguf:QWEN2_MOE"},
            hf_types=("qwen2_moe",),
            summary="Qwen1.5-MoE and Qwen2-57B-A14B: small experts, and a gated one that every token passes through",
        ),
        Family(
            name="qwen3",
            config=f"{__name__}.config:Qwen3Config",
            model=f"{__name__}.model:Qwen",
            formats={"hf": f"{__name__}.hf:QWEN3", "gguf": f"{__name__}.gguf:QWEN3"},
            hf_types=("qwen3",),
            summary="Qwen3: norms on q and k instead of biases",
        ),
        Family(
            name="qwen3_moe",
            config=f"{__name__}.moe.config:Qwen3MoEConfig",
            model=f"{__name__}.model:QwenMoE",
            formats={"hf": f"{__name__}.moe.hf:QWEN3_MOE", "gguf": f"{__name__}.moe.gguf:QWEN3_MOE"},
            hf_types=("qwen3_moe",),
            near=dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), DELTA),
            summary="Qwen3 with 128 experts, 8 per token, none shared",
        ),
    ]
