"""From a name and overrides to a config: presets read without Hydra, or composed by it."""

from zoo.presets.catalogue import INDEX, ModelRecord, config, in_the_box, list_models, make_index, matches, read_index

__all__ = ["INDEX", "ModelRecord", "config", "in_the_box", "list_models", "make_index", "matches", "read_index"]
