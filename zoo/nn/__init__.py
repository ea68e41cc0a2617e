"""Blocks that families are assembled from. Sequence tensors are [B, T, ...]; masks are bool, True = may attend."""

from zoo.nn.attention import Attend, Attention, WholeAttention
from zoo.nn.balancing import balancing_losses, load_balancing_loss
from zoo.nn.blocks import BranchNormLayer, ParallelLayer, ScaledLayer, TwinNormLayer, layer_of
from zoo.nn.cache import Cache, LayerCache, SettledCache
from zoo.nn.compute import computed_by
from zoo.nn.cross import CrossAttention, CrossCache, DecoderLayerCache, Memory
from zoo.nn.decoder import Decoder, PostNormLayer, PreNormLayer, SandwichLayer
from zoo.nn.delta_net import GatedDeltaNet
from zoo.nn.delta_rule import delta_chunks, delta_step
from zoo.nn.dual_chunk import DualChunkAttention, DualChunkRope
from zoo.nn.encoder_decoder import Conditioned, DecoderLayer, EncoderDecoder
from zoo.nn.init import initialise
from zoo.nn.joining import can_join, can_share
from zoo.nn.keys import NEW, Keys
from zoo.nn.kv_cache import KVCache, SlidingKVCache
from zoo.nn.latent import LatentAttention
from zoo.nn.logn import LogNAttention, PromptCache, SteppedRope
from zoo.nn.mask import Mask, causal, everything, sliding
from zoo.nn.mlp import ACTIVATIONS, MLP, Activation, GatedMLP, gelu_bloom, gelu_tanh, quick_gelu
from zoo.nn.moe import Experts, MoE, SigmoidRouter, SoftmaxRouter
from zoo.nn.norm import HeadLayerNorm, JointRMSNorm, LateCastRMSNorm, RMSNorm, UnitOffsetRMSNorm, at_least_float32
from zoo.nn.places import Places, has_values
from zoo.nn.position import Alibi, LearnedPositions, RelativeBias, sinusoids
from zoo.nn.rope import Rope
from zoo.nn.rope_grid import AxialRope, InterleavedMRope, MRope
from zoo.nn.rounded_cache import in_int8
from zoo.nn.span import Span
from zoo.nn.state_cache import StateCache
from zoo.nn.trace import hidden_states, traced

__all__ = [
    "ACTIVATIONS", "MLP", "NEW", "Activation", "Alibi", "Attend", "Attention", "AxialRope", "BranchNormLayer", "Cache",
    "Conditioned", "CrossAttention", "CrossCache", "Decoder", "DecoderLayer", "DecoderLayerCache", "DualChunkAttention",
    "DualChunkRope", "EncoderDecoder", "Experts", "GatedDeltaNet", "GatedMLP", "HeadLayerNorm", "InterleavedMRope",
    "JointRMSNorm", "KVCache", "Keys", "LateCastRMSNorm", "LatentAttention", "LayerCache", "LearnedPositions",
    "LogNAttention", "MRope", "Mask", "Memory", "MoE", "ParallelLayer", "Places", "PostNormLayer", "PreNormLayer",
    "PromptCache", "RMSNorm", "RelativeBias", "Rope", "SandwichLayer", "ScaledLayer", "SettledCache", "SigmoidRouter",
    "SlidingKVCache", "SoftmaxRouter", "Span", "StateCache", "SteppedRope", "TwinNormLayer", "UnitOffsetRMSNorm",
    "WholeAttention", "at_least_float32", "balancing_losses", "can_join", "can_share", "causal",
    "computed_by", "delta_chunks", "delta_step", "everything", "gelu_bloom", "gelu_tanh", "has_values", "hidden_states",
    "in_int8", "initialise", "layer_of", "load_balancing_loss", "quick_gelu", "sinusoids", "sliding", "traced",
]  # fmt: skip
