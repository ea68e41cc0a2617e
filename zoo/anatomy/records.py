"""The records that a model's anatomy is made of: weights, attention, states, and the description that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

from zoo.anatomy.cuts import TRUNK, Cut, Share, part_of, share_of

Shape = tuple[int, ...]

ROLES = ("embedding", "position", "attention", "mixer", "mlp", "experts", "router", "norm", "head", "vision", "other")


@dataclass(frozen=True)
class Weight:
    """One parameter, or one per layer where `{i}` in its name stands for a layer's number."""

    name: str
    shape: Shape
    role: str
    layers: tuple[int, ...] | None = None
    used: float = 1.0  # share of its elements that one token passes through; above 1: how many times
    is_matmul: bool = False  # multiplies every token once: 2 FLOPs per element used
    is_exact: bool = False  # never cast to fewer bits, as a bias that decides which experts are chosen
    is_of_source: bool = False  # multiplies the tokens of a source, which the decoder beside it attends to
    shares: tuple[Share, ...] = ()  # how it is cut over many devices; none: whole on each
    gives_logits: bool = False  # the head's matrix, or the table that is one with it, by which states are multiplied

    @property
    def numel(self) -> int:
        """Elements over all layers."""
        return prod(self.shape) * (1 if self.layers is None else len(self.layers))

    def names(self) -> Iterator[str]:
        if self.layers is None:
            yield self.name
        else:
            yield from (self.name.replace("{i}", str(i)) for i in self.layers)


@dataclass(frozen=True)
class AttentionSpec:
    """The attention of some layers, as far as cache and compute go."""

    layers: tuple[int, ...]
    num_heads: int
    qk_dim: int  # width of a query or key head
    v_dim: int  # width of a value head
    cached: int  # numbers kept per token and layer
    window: int | None = None  # keys seen at most, the query's own among them; None: all
    is_causal: bool = True
    stack: str = "layers"  # which stack the layers belong to
    decode_dims: tuple[int, int] | None = None  # qk_dim and v_dim of a single token, where it is computed otherwise
    is_of_source: bool = False  # within a source, which the decoder beside it attends to
    is_borrowing: bool = False  # keys and values are those of an earlier layer
    is_whole: bool = False  # its heads are not shared out over ranks
    is_chunked: bool = False  # the window is a chunk, before which the query sees nothing
    chosen: int | None = None  # keys that a query attends to at most, chosen among all it sees; None: all of them
    # Heads that score every key for that, their width, and numbers in the matrices that make their queries and weights.
    indexer: tuple[int, int, int] | None = None

    @property
    def num_scales(self) -> int:
        """Scales per token and layer where what is cached is rounded: one for each head's key, and one for its value.

        A latent is the value, and the rotary key the key, of one head.
        """
        if not self.cached:
            return 0
        heads, left = divmod(self.cached, self.qk_dim + self.v_dim)
        return 2 if left or self.decode_dims is not None else 2 * heads


@dataclass(frozen=True)
class StateSpec:
    """What some layers carry from token to token in a state of fixed size, as recurrences and convolutions do."""

    layers: tuple[int, ...]
    numbers: int  # kept per row and layer, however long the text
    is_wide: bool = False  # kept in float32 at least, for it adds up what all tokens bring
    flops: int = 0  # per token and layer, beside those of the weights
    width: int = 0  # channels that leave the state for what follows
    stack: str = "layers"  # which stack the layers belong to


@dataclass(frozen=True)
class CrossSpec:
    """The attention of some decoder layers to every token of a source, whose keys and values are computed once."""

    layers: tuple[int, ...]
    num_heads: int
    head_dim: int
    cached: int  # numbers kept per source token and layer


@dataclass
class Description:
    """What a model is made of, so far, and where in it the next weight belongs."""

    weights: list[Weight] = field(default_factory=list)
    attention: list[AttentionSpec] = field(default_factory=list)
    cross: list[CrossSpec] = field(default_factory=list)
    states: list[StateSpec] = field(default_factory=list)
    traits: dict[str, str] = field(default_factory=dict)  # attention, position, norm, block, mlp, ... in words
    max_seq_len: int | None = None
    tied_head: tuple[int, int] | None = None  # rows and width of a head that is the embedding
    is_whole: bool = True  # False: of the weights alone; what is attended to, kept and computed is not known
    _prefix: str = ""
    _layers: tuple[int, ...] | None = None
    _is_of_text: bool = True
    _is_of_source: bool = False
    _read: set[str] = field(default_factory=set)  # parts whose weights the model reads, as numbers
    _blocks: dict[str, tuple[tuple[Cut, ...], dict[str, int]]] = field(
        default_factory=lambda: {"": (TRUNK, {})}
    )  # prefix -> how the block is cut that stands there, and how many heads, experts, ... it has

    @contextmanager
    def off_the_text(self) -> Iterator[None]:
        """What is described inside multiplies no token of a text: a tower that reads images beside the decoder."""
        before, self._is_of_text = self._is_of_text, False
        yield
        self._is_of_text = before

    @contextmanager
    def of_the_source(self) -> Iterator[None]:
        """What is described inside reads the source of an encoder-decoder, not the text that it writes."""
        before, self._is_of_source = self._is_of_source, True
        yield
        self._is_of_source = before

    @contextmanager
    def under(
        self, prefix: str, layers: Iterable[int] | None = None, *, cuts: tuple[Cut, ...] = (), **numbers: int
    ) -> Iterator[None]:
        """Put what is described inside below `prefix`; `layers` are the values of the `{i}` in it.

        `cuts` and `numbers` are those of the block that stands there, for whatever is described below it, now or later:
        see zoo.anatomy.cuts.
        """
        before = self._prefix, self._layers
        self._prefix += f"{prefix}."
        self._layers = before[1] if layers is None else tuple(layers)
        if cuts:
            self._blocks[self._prefix] = cuts, numbers
        yield
        self._prefix, self._layers = before

    def keep_whole(self, *parts: str) -> None:
        """Say that these parts of the trunk, as lm_head, are whole on every rank: the model reads their weights."""
        cuts, numbers = self._blocks[""]
        self._blocks[""] = tuple(cut for cut in cuts if cut.part not in parts), numbers
        self._read.update(parts)

    def weight(
        self, name: str, shape: Shape, role: str, *, used: float = 1.0, is_matmul: bool = False, is_exact: bool = False
    ) -> None:
        """One parameter, or one in each of the layers at hand."""
        if self._layers != ():
            is_matmul = is_matmul and self._is_of_text
            name, source = self._prefix + name, self._is_of_source
            shares = self._shares(name, len(shape))
            self.weights.append(Weight(name, shape, role, self._layers, used, is_matmul, is_exact, source, shares))

    def _shares(self, name: str, ndim: int) -> tuple[Share, ...]:
        """How a weight is cut, by the innermost block that it stands in."""
        block = max((prefix for prefix in self._blocks if name.startswith(prefix)), key=len)
        cuts, numbers = self._blocks[block]
        mine = (cut for cut in cuts if part_of(cut, name.removeprefix(block)))
        return tuple(share_of(cut, ndim, None if cut.of is None else numbers[cut.of]) for cut in mine)

    def shapes(self) -> dict[str, Shape]:
        """Every parameter's name and shape, as in `named_parameters` of the built module (in no set order)."""
        return {name: w.shape for w in self.weights for name in w.names()}
