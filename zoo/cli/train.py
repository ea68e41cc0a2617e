"""`zoo train`: a preset with random weights or a checkpoint, trained on texts by a recipe that Hydra composes."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from zoo.cli import own_presets

EPILOG = """\b
Examples:
  zoo train tiny data=./corpus.txt train.steps=30 save=./run
  zoo train model=llama3 model.num_layers=4 data=./corpus.txt train.steps=200 save=./run
  zoo train ./SmolLM2 data=./chats.jsonl objective=sft lora=16 save=./adapter
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a word of the command line may become."""
    from zoo.cli.completion import overrides

    found = overrides("train", ctx.params.get("words") or (), incomplete)
    return found if "=" in incomplete else [*found, CompletionItem(incomplete, type="file")]


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="SOURCE|MODEL [KEY=VALUE]...", shell_complete=complete)
@click.option("-m", "--multirun", is_flag=True, help="Train every combination of values given with commas.")
@click.option("--resume", is_flag=True, help="Go on with the run in save=FOLDER, bit for bit as if it had not stopped.")
@click.option("--force", is_flag=True, help="Replace a folder that zoo wrote.")
@own_presets.options
@click.option("--json", "is_json", is_flag=True, help="What the run came to, as JSON.")
def command(
    words: tuple[str, ...],
    multirun: bool,
    resume: bool,
    force: bool,
    config_dir: str | None,
    trust_config_dir: bool,
    is_json: bool,
) -> None:
    """Train a checkpoint, or a preset from random weights, on data=FILE, and write it to save=FOLDER.

    objective=causal|sft|mlm|span|clip|dpo|reward|grpo|distill says what is learnt, optimizer=adamw|adam|sgd|adagrad|
    rmsprop by which rule, schedule=cosine|linear|wsd|constant how its rate goes. Their keys, and train.KEY, data.KEY
    and tokenizer.KEY, are listed in the documentation. The folder is a checkpoint of the model at every moment; with
    lora=RANK an adapter learns in place of the weights, and is what the folder holds.
    --resume needs no words but save=FOLDER; others replace those that the run began with.
    """
    from zoo.cli.training import one, sweep

    own = own_presets.OwnPresets.of(config_dir, trust_config_dir)
    if multirun:
        sweep(words, own, resume=resume, force=force, is_json=is_json)
    else:
        one(words, own, resume=resume, force=force, is_json=is_json)
