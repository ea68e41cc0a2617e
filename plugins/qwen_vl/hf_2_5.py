"""Qwen2.5-VL as Hugging Face stores it: as Qwen2-VL, but for its tower. A format is a module of its own."""

from __future__ import annotations

from .config import Qwen2_5VLConfig, WindowedVisionConfig
from .hf import VisionLanguage

QWEN2_5_VL = VisionLanguage(Qwen2_5VLConfig, WindowedVisionConfig, "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration")

from_config, to_config, mapping = QWEN2_5_VL.from_config, QWEN2_5_VL.to_config, QWEN2_5_VL.mapping
