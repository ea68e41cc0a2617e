"""What `--json` prints, command by command: the names at the top, which stay as they are while the version does."""

from __future__ import annotations

_CHECKPOINT = (
    "source repo revision commit family dialect reasons config keys notes tensors parameters bytes packed dtypes "
    "looks_like concessions repair"
)
# Command -> what it prints: (how it is asked for beyond --json, whether a list of such objects, the names).
FIELDS: dict[str, tuple[tuple[str, bool, str], ...]] = {
    "list": (
        (
            "",
            True,
            "name family description parameters num_layers attention position max_seq_len hub gated plugin problem",
        ),
    ),
    "show": (
        ("", False, "name description family plugin config cached traits size"),
        ("of a checkpoint", False, "name family format config bytes bits_per_weight stored traits size"),
    ),
    "plan": (("", False, "flops laws model parameters tokens length cluster days copies bytes_per_gpu"),),
    "compare": (
        ("", False, "length lora_rank bytes_dtype subjects rows notes"),
        ("--text", False, "length lora_rank bytes_dtype subjects rows notes measurements"),
    ),
    "diff": (("", False, "equal a b total roles layers tensors only_a only_b mismatched config notes rounding"),),
    "build": (
        (
            "",
            False,
            "model device dtype seed parameters family num_layers size seconds tree rounded config saved changed",
        ),
        ("-m", False, "folder jobs"),
    ),
    "train": (
        ("", False, "model step loss validation grad_norm tokens_per_second steps data saved recipe"),
        ("-m", False, "folder jobs"),
    ),
    "inspect": (
        ("", False, _CHECKPOINT),
        ("--base", False, "source kind base rank alpha targets parameters bytes pairs whole fit"),
    ),
    "convert": (("", False, f"{_CHECKPOINT} written"), ("--prove", False, "holds tables")),
    "quantize": (("", False, f"{_CHECKPOINT} written"),),
    "pull": (("", False, "source repo revision commit files bytes missing_bytes folder dry_run"),),
    "push": (("", False, "folder repo revision commit files bytes left_out deleted has_new_card license dry_run"),),
    "verify": (
        (
            "",
            False,
            "passed verdict difference noise noise_of limit limit_source limit_reason source reference family dtype "
            "inputs measures layers layers_compared first_divergence explanations unexplained rounding notes seconds",
        ),
        ("--golden", False, "passed goldens without_golden"),
    ),
    "check-plugin": (("", False, "name checks ok skip fail"),),
    "doctor": (
        (
            "",
            False,
            "zoo python platform packages cores memory_bytes plugins preset_clashes broken_presets hub extras "
            "completion",
        ),
    ),
    "generate": (("", True, "prompt text tokens finish_reason"),),
    "tokenize": (("", True, "source kind vocab_size tokens"),),
    "embed": (("", False, "source family how dimension inputs vectors cosine notes"),),
    "classify": (("", False, "source family how labels inputs notes"),),
    "eval": (("", False, "source family dtype texts tasks references environment"),),
    "bench": (
        (
            "",
            False,
            "model weights is_random prompt new batch device repeats models ratios same_tokens environment seed config",
        ),
        ("-m", False, "folder jobs"),
    ),
    "plugins": (("", True, "name version package families config_packages formats commands state reason seconds"),),
    "new-plugin": (("", False, "name folder files"),),
}


def told(name: str) -> str:
    """A paragraph about a command's JSON; empty for a command that prints none."""
    sentences = []
    for option, is_list, names in FIELDS.get(name, ()):
        asked = f"`--json` with `{option}`" if option else "`--json`"
        kind = "a list of objects" if is_list else "an object"
        sentences.append(f"{asked} prints {kind} with {', '.join(f'`{field}`' for field in names.split())}.")
    return " ".join(sentences) + "\n" if sentences else ""
