"""Qwen, from the first to the third: dense, mixtures of experts, and the long-context models with dual chunks."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="qwen",
            config=f"{__name__}.qwen1.config:Qwen1Config",
            model=f"{__name__}.qwen1.model:Qwen1",
            formats={"hf": f"{__name__}.qwen1.hf:QWEN", "gguf": f"{__name__}.qwen1.gguf:QWEN"},
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
            summary="Qwen3 with 128 experts, 8 per token, none shared",
        ),
        Family(
            name="qwen3_next",
            config=f"{__name__}.hybrid.config:Qwen3NextConfig",
            model=f"{__name__}.hybrid.model:QwenHybrid",
            formats={"hf": f"{__name__}.hybrid.hf:QWEN3_NEXT", "gguf": f"{__name__}.hybrid.gguf:QWEN3_NEXT"},
            hf_types=("qwen3_next",),
            summary="three gated delta nets before each layer of gated attention, and 512 small experts",
        ),
        Family(
            name="qwen3_5",
            config=f"{__name__}.hybrid.config:Qwen35Config",
            model=f"{__name__}.hybrid.model:QwenHybrid",
            formats={"hf": f"{__name__}.hybrid.hf:QWEN3_5", "gguf": f"{__name__}.hybrid.gguf:QWEN3_5"},
            hf_types=("qwen3_5_text", "qwen3_5"),
            summary="the text of Qwen3.5 and 3.6: Qwen3-Next's layers with a plain MLP",
        ),
        Family(
            name="qwen3_5_moe",
            config=f"{__name__}.hybrid.config:Qwen35MoEConfig",
            model=f"{__name__}.hybrid.model:QwenHybrid",
            formats={"hf": f"{__name__}.hybrid.hf:QWEN3_5_MOE", "gguf": f"{__name__}.hybrid.gguf:QWEN3_5_MOE"},
            hf_types=("qwen3_5_moe_text", "qwen3_5_moe"),
            summary="the text of Qwen3.5's mixtures of experts: Qwen3-Next's layers, other files",
        ),
    ]
