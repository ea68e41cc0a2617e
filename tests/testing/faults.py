"""Faults to plant in the stranger, and the check that must name each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """In `file`, `this` becomes `that`; then `check` of `group` must fail with `words` in its detail."""

    file: str
    this: str
    that: str
    group: str
    check: str
    words: str


OP = "(lambda op: __import__('dataclasses').replace(op, {}))(split(dim, dim, dim))"  # the op with one part changed
FAULTS: dict[str, Fault] = {
    "a block that no longer says how it is cut": Fault(
        "model.py", "    cuts = EQUAL_HEADS\n", "",
        "parallel", "its anatomy is cut as its blocks declare", "is cut by rows of 3 in the anatomy, by nothing in the",
    ),
    "a mask that looks ahead": Fault(
        "model.py", "<= span.positions[:, :, None]", "<= span.positions[:, :, None] + 1",
        "model", "no token sees the future", "changing token 1 changes logits before it",
    ),
    "a mask that looks ahead, by layer": Fault(
        "model.py", "<= span.positions[:, :, None]", "<= span.positions[:, :, None] + 1",
        "model", "each layer sees as far as its anatomy says", "layers.0: position 0 sees position 1, 1 away",
    ),
    "a window that the anatomy does not mention": Fault(
        "config.py", "dim // self.num_heads)\n        a.head", "dim // self.num_heads, window=4)\n        a.head",
        "model", "each layer sees as far as its anatomy says", "layers.0: position 4 sees position 0, 4 away",
    ),
    "a batch whose rows meet": Fault(
        "model.py", "x + self.attn(self.norm(x), span, cache)", "x + self.attn(self.norm(x - x.mean(0)), span, cache)",
        "model", "a row does not depend on its batch", "logits of a row differs by",
    ),
    "padding that is attended to": Fault(
        "model.py", "(at >= 0) & (at <= span", "(at <= span",
        "model", "padding on the left changes nothing", "logits of a padded row differs by",
    ),
    "positions that count columns": Fault(
        "model.py", "self.position(span.positions)",
        "self.position(torch.arange(span.start, span.start + span.num_new))",
        "model", "padding on the left changes nothing", "logits of a padded row differs by",
    ),
    "a row of padding that is NaN": Fault(
        "model.py", "torch.finfo(scores.dtype).min", "-torch.inf if span.padding is None else torch.nan",
        "model", "padding on the right changes nothing", "differs by inf",
    ),
    "a parameter that nothing uses": Fault(
        "model.py", "self.num_heads = c.num_heads",
        "self.num_heads = c.num_heads\n        self.idle = nn.Linear(2, 2)",
        "model", "gradients reach every parameter", "no gradient reaches layers.0.attn.idle.weight",
    ),
    "a parameter that the anatomy does not mention": Fault(
        "model.py", "self.num_heads = c.num_heads",
        "self.num_heads = c.num_heads\n        self.idle = nn.Linear(2, 2)",
        "model", "its anatomy is that of the module", "layers.0.attn.idle.bias is not in the anatomy",
    ),
    "a parameter of another shape than the anatomy's": Fault(
        "config.py", 'a.embedding("position", self.max_seq_len, dim',
        'a.embedding("position", self.max_seq_len + 1, dim',
        "model", "its anatomy is that of the module",
        "position.weight is [41, 12] in the anatomy, [40, 12] in the module",
    ),
    "a parameter that no initialisation fills": Fault(
        "model.py", "self.config = c\n", "self.config = c\n        self.gain = nn.Parameter(torch.empty(3))\n",
        "model", "random weights reach every parameter", "not initialised: gain",
    ),
    "a buffer that is lost on meta": Fault(
        "model.py", "self.config = c\n",
        "self.config = c\n        self.register_buffer('angles', torch.arange(9.0), persistent=False)\n",
        "model", "it builds on meta without allocating",
        "buffers that are not in the checkpoint are lost on meta: angles",
    ),
    "logits in another dtype": Fault(
        "model.py", "self.lm_head(span.last(x) if last else x)", "self.lm_head(span.last(x) if last else x).float()",
        "model", "the dtype of the weights is that of the output", "logits of a bfloat16 model is float32",
    ),
    "a tied head that is not": Fault(
        "model.py", "if c.tie_embeddings:", "if c.tie_embeddings and c.num_layers > 9:",
        "model", "a tied head is the embedding",
        "the anatomy has a tied head of [31, 12] with tie_embeddings=True; no two names share such a weight",
    ),
    "a cache that is off by one": Fault(
        "model.py", "self.position(span.positions)", "self.position(span.positions + (span.start > 0))",
        "cache", "decoding one by one equals the whole", "from position 6 on",
    ),
    "a mask that is forgotten for chunks": Fault(
        "model.py", "scores = scores.masked_fill",
        "allowed = allowed | (span.start > 0 and span.num_new > 1)\n        scores = scores.masked_fill",
        "cache", "any chunks equal the whole", "cached logits differ by",
    ),
    "a cache that counts padding": Fault(
        "model.py", "cache.advance(span)", "cache.advance(span)\n            cache.counts = None",
        "cache", "ragged rows go on where they ended", "decoding after a left-padded prompt differs",
    ),
    "a last token that is the last column": Fault(
        "model.py", "span.last(x) if last else x", "x[:, -1:] if last else x",
        "cache", "the last logits are the last of all", "last=True differs by",
    ),
    "a cache larger than the anatomy says": Fault(
        "model.py", "KVCache(batch_size, max_len, heads,", "KVCache(batch_size, max_len + 1, heads,",
        "cache", "its bytes are those of the arithmetic", "bytes, its anatomy",
    ),
    "an overflow that is a crash": Fault(
        "model.py", "Cache(layers, batch_size, max_len)", "Cache(layers, batch_size, max_len + 9)",
        "cache", "a full cache refuses more", "raises RuntimeError, which is not a ZooError",
    ),
    "rows that are not reordered": Fault(
        "model.py", "return Cache(layers, batch_size, max_len)",
        "cache = Cache(layers, batch_size, max_len)\n        cache.reorder = lambda index: None\n        return cache",
        "cache", "reordered rows go on as their own", "logits after reorder differ",
    ),
    "a cache that is not rewound": Fault(
        "model.py", "return Cache(layers, batch_size, max_len)",
        "cache = Cache(layers, batch_size, max_len)\n"
        "        cache.rewind = lambda length: setattr(cache, 'length', length - 1)\n        return cache",
        "cache", "a rewound cache has forgotten", "logits after rewinding to 2 tokens differ",
    ),
    "a table that writes two tensors under one name": Fault(
        "hf.py", 'rename("attn.o_proj", "attn.out")', 'rename("attn.o_proj", "ln")',
        "weights", "its tables are bijections", "h.0.ln.weight would be written twice",
    ),
    "a table that forgets a tensor": Fault(
        "hf.py", '        rename("position", "wpe"),\n', "",
        "weights", "its tables are bijections", "no rule gives position.weight",
    ),
    "a table that loses numbers": Fault(
        "hf.py", "split(dim, dim, dim)", OP.format("dump=lambda y: op.dump([y[0], y[1], y[1]])"),
        "weights", "its tables are bijections",
        "layers.0.attn.v_proj.weight is not restored from h.0.attn.qkv.weight",
    ),
    "a table whose shapes are wrong": Fault(
        "hf.py", "split(dim, dim, dim)", OP.format("shapes=lambda s: [(9, 9)]"),
        "weights", "its tables are bijections", "h.0.attn.qkv.weight is [36, 12], the table says [9, 9]",
    ),
    "an export that forgets a field": Fault(
        "hf.py", "**write_keys(c, KEYS)",
        '**{k: v for k, v in write_keys(c, KEYS).items() if k != "layer_norm_epsilon"}',
        "weights", "configs come back as they went", "model.norm_eps: found 1e-05, expected 1.5000000000000002e-05",
    ),
    "an export with a key that nobody reads": Fault(
        "hf.py", '"model_type": "stranger"', '"model_type": "stranger", "magic": 3',
        "weights", "configs come back as they went", "magic: the key is not known to stranger",
    ),
    "a field without a comment": Fault(
        "config.py", "num_heads: int = MISSING  # attention heads", "num_heads: int = MISSING",
        "config", "every field is documented", "no comment behind model.num_heads",
    ),
    "a tiny config whose sizes are equal": Fault(
        "config.py", "hidden_size=12", "hidden_size=30, max_seq_len=30",
        "config", "the tiny config is lopsided", "hidden_size and max_seq_len are both 30",
    ),
    "a field that YAML cannot hold": Fault(
        "config.py", "num_layers: int = MISSING", "num_layers: tuple[int, str] | int = MISSING",
        "config", "YAML keeps every field", "Unions of containers are not supported",
    ),
    "a preset with an unknown key": Fault(
        "conf/model/stranger-small.yaml", "num_heads: 4", "num_heads: 4\nnum_head: 4",
        "config", "its presets can be composed", "stranger-small.yaml: no key 'model.num_head'",
    ),
    "a preset whose values contradict each other": Fault(
        "conf/model/stranger-small.yaml", "num_heads: 4", "num_heads: 5",
        "config", "its presets can be composed", "model.hidden_size=24 is not a multiple of model.num_heads=5",
    ),
    "a preset that does not say what it is": Fault(
        "conf/model/stranger-small.yaml", "# Stranger small (a test)\n", "",
        "config", "its presets can be composed", "no comment on the first line of stranger-small",
    ),
    "a plugin that imports torch": Fault(
        "__init__.py", "from zoo import", "import torch\n\nfrom zoo import",
        "registry", "its plugin is light to import", "imports torch",
    ),
    "a format that imports torch": Fault(
        "hf.py", "from zoo.weights import", "import torch\n\nfrom zoo.weights import",
        "registry", "its config and formats need no torch", ".hf imports torch",
    ),
    "a reference that does not exist": Fault(
        "__init__.py", ".model:Stranger", ".model:Stronger",
        "registry", "its references resolve", "Stronger",
    ),
    "a format that is a module, as it was before there were dialects": Fault(
        "__init__.py", ".hf:STRANGER", ".hf",
        "registry", "its references resolve", "is not a zoo.weights.Dialect",
    ),
    "an import of what may change in any version": Fault(
        "model.py", "from zoo.nn import", "from zoo.nn.cache import KVCache as Kept\nfrom zoo.nn import",
        "registry", "its plugin imports what plugins may rely on", "zoo.nn.cache.KVCache",
    ),
    "a config of another family": Fault(
        "config.py", 'family: str = "stranger"', 'family: str = "strange"',
        "registry", "its config names it", "model.family is 'strange', the family is registered as 'stranger'",
    ),
    "a foreign config that another family claims as well": Fault(
        "__init__.py", 'hf_types=("stranger",)', 'hf_types=("strangers",)',
        "registry", "its own foreign config is recognised", "it does not recognise a config of model_type 'stranger'",
    ),
    "a family without a summary": Fault(
        "__init__.py", "learned positions and one fused projection", "",
        "docs", "the family has a summary", "Family.summary is empty",
    ),
    "a class without a docstring": Fault(
        "model.py", '    """Tokens to logits."""\n\n', "",
        "docs", "its public classes have docstrings", "no docstring on Stranger",
    ),
}  # fmt: skip
