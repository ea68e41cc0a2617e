"""What a model is and what it costs, without torch: configs, anatomies, and the words for their parts."""

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.config import MISSING, DecoderConfig, ModelConfig, RopeConfig, typed
from zoo.anatomy.cuts import EQUAL_HEADS, FEED_FORWARD, GROUPED_HEADS, STACKED_EXPERTS, TRUNK, Cut
from zoo.anatomy.frequencies import attention_factor, frequencies, yarn_mscale
from zoo.anatomy.limits import at_least, even, expert_groups, multiple_of, one_of, rotary_pairs
from zoo.anatomy.records import ROLES, AttentionSpec, CrossSpec, Shape, StateSpec, Weight
from zoo.anatomy.towers import ACTIVATIONS, TowerConfig, check_sizes, describe_embeddings, describe_layers
from zoo.anatomy.traits import GATED, heads_in_words, mlp_in_words, rope_in_words
from zoo.anatomy.trunk import describe_trunk
from zoo.anatomy.windows import PartlyWindowedConfig, WindowedConfig, all_but_every, layers_in_order

__all__ = [
    "ACTIVATIONS", "EQUAL_HEADS", "FEED_FORWARD", "GATED", "GROUPED_HEADS", "MISSING", "ROLES", "STACKED_EXPERTS",
    "TRUNK", "Anatomy", "AttentionSpec", "CrossSpec", "Cut", "DecoderConfig", "ModelConfig", "PartlyWindowedConfig",
    "RopeConfig", "Shape", "StateSpec", "TowerConfig", "Weight", "WindowedConfig", "all_but_every", "at_least",
    "attention_factor", "check_sizes", "describe_embeddings", "describe_layers", "describe_trunk", "even",
    "expert_groups", "frequencies", "heads_in_words", "layers_in_order", "mlp_in_words", "multiple_of", "one_of",
    "rope_in_words", "rotary_pairs", "typed", "yarn_mscale",
]  # fmt: skip
