"""`zoo new-plugin`: a distribution with a family of its own that builds, tests and publishes as it is."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli import output

EPILOG = """\b
Examples:
  zoo new-plugin mamba
  zoo new-plugin my_net --dir ~/code
  zoo new-plugin mamba --json
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option(
    "--dir", "parent", type=click.Path(path_type=Path), default=".", help="Where to put zoo-NAME; here if left out."
)
@click.option("--json", "is_json", is_flag=True, help="The folder and its files as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="The folder only.")
def command(name: str, parent: Path, is_json: bool, quiet: bool) -> None:
    """Write zoo-NAME, a working plugin package: config, model, hf format, preset, tests, README and CI.

    NAME is the family's: lower-case letters, digits and underscores. Existing files are never overwritten.
    """
    from zoo.scaffold import write

    folder, paths = write(name, parent.expanduser())
    if is_json:
        output.as_json({"name": name, "folder": str(folder), "files": paths})
    elif quiet:
        output.names([str(folder)])
    else:
        output.names([f"wrote {folder}/", *(f"  {path}" for path in paths)])
        output.note(f"next: cd {folder} && pip install -e '.[test]' && zoo check-plugin {name}")
