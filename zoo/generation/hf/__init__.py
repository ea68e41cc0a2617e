"""Settings of generation as checkpoints hold them: generation_config.json, and config.json where there is none."""

from __future__ import annotations

from zoo.generation.hf.reading import config_from_hf, settings_in

__all__ = ["config_from_hf", "settings_in"]
