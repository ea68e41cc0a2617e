"""Blocks that families are assembled from. Sequence tensors are [B, T, ...]; masks are bool, True = may attend."""

from zoo.nn.ahead import MTP, AheadDecoder, StatesCache
from zoo.nn.attend import Attend
from zoo.nn.attention import Attention, WholeAttention
from zoo.nn.balancing import balancing_losses, load_balancing_loss
from zoo.nn.blocks import BranchNormLayer, ParallelLayer, ScaledLayer, TwinNormLayer, layer_of
from zoo.nn.cache import Cache, LayerCache, NoCache, SettledCache
from zoo.nn.compute import computed_by, matrix_of
from zoo.nn.cross import CrossAttention, CrossCache, DecoderLayerCache, Memory
from zoo.nn.decoder import Decoder, PostNormLayer, PreNormLayer, SandwichLayer
from zoo.nn.delta_net import GatedDeltaNet
from zoo.nn.delta_rule import delta_chunks, delta_step
from zoo.nn.dual_chunk import DualChunkAttention, DualChunkRope
from zoo.nn.encoder import HeadedOutput, as_rows, questions_of
from zoo.nn.encoder_decoder import Conditioned, DecoderLayer, EncoderDecoder
from zoo.nn.init import initialise
from zoo.nn.joining import can_join, can_share
from zoo.nn.keys import NEW, Keys
from zoo.nn.kv_cache import KVCache, SlidingKVCache
from zoo.nn.latent import LatentAttention
from zoo.nn.logn import LogNAttention, PromptCache, SteppedRope
from zoo.nn.mask import ChunkMask, Mask, causal, chunked, everything, sliding
from zoo.nn.mlp import ACTIVATIONS, MLP, Activation, GatedMLP, gelu_bloom, gelu_tanh, quick_gelu
from zoo.nn.moe import Experts, MoE, SigmoidRouter, SoftmaxRouter
from zoo.nn.norm import HeadLayerNorm, JointRMSNorm, LateCastRMSNorm, RMSNorm, UnitOffsetRMSNorm, at_least_float32
from zoo.nn.outputs import ImageOutput, PairOutput
from zoo.nn.places import Places, has_values
from zoo.nn.pool import AttentionPool
from zoo.nn.position import Alibi, LearnedPositions, RelativeBias, sinusoids
from zoo.nn.products import linear, times
from zoo.nn.retraced import RetracedCache
from zoo.nn.rope import Rope
from zoo.nn.rope_grid import AxialRope, InterleavedMRope, MRope
from zoo.nn.rounded_cache import in_int8
from zoo.nn.span import ColumnSpan, Span
from zoo.nn.state_cache import StateCache
from zoo.nn.trace import hidden_states, traced

__all__ = [
    "ACTIVATIONS", "MLP", "MTP", "NEW", "Activation", "AheadDecoder", "Alibi", "Attend", "Attention", "AttentionPool",
    "AxialRope", "BranchNormLayer", "Cache", "ChunkMask", "ColumnSpan", "Conditioned", "CrossAttention", "CrossCache",
    "Decoder", "DecoderLayer", "DecoderLayerCache", "DualChunkAttention", "DualChunkRope", "EncoderDecoder", "Experts",
    "GatedDeltaNet", "GatedMLP", "HeadLayerNorm", "HeadedOutput", "ImageOutput", "InterleavedMRope", "JointRMSNorm",
    "KVCache", "Keys", "LateCastRMSNorm", "LatentAttention", "LayerCache", "LearnedPositions", "LogNAttention", "MRope",
    "Mask", "Memory", "MoE", "NoCache", "PairOutput", "ParallelLayer", "Places", "PostNormLayer", "PreNormLayer",
    "PromptCache", "RMSNorm", "RelativeBias", "RetracedCache", "Rope", "SandwichLayer", "ScaledLayer", "SettledCache",
    "SigmoidRouter", "SlidingKVCache", "SoftmaxRouter", "Span", "StateCache", "StatesCache", "SteppedRope",
    "TwinNormLayer", "UnitOffsetRMSNorm", "WholeAttention", "as_rows", "at_least_float32", "balancing_losses",
    "can_join", "can_share", "causal", "chunked", "computed_by", "delta_chunks", "delta_step", "everything",
    "gelu_bloom", "gelu_tanh", "has_values", "hidden_states", "in_int8", "initialise", "layer_of",
    "linear", "load_balancing_loss", "matrix_of", "questions_of", "quick_gelu", "sinusoids", "sliding", "times",
    "traced",
]  # fmt: skip
