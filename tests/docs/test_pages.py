"""The documentation says what the code has: every name, command, option and field, and no link to nowhere."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import click
import pytest
import yaml

from tools.docs import commands, config_fields, deviations, drawings, families, python_api, rooms, shelf, site
from tools.docs.blocks import count_marks, marked
from tools.docs.deviations import ROOT
from tools.docs.links import broken
from tools.docs.words import LANGUAGES, WORDS
from zoo.anatomy.fields import doc_of
from zoo.cli import COMMANDS
from zoo.registry import hookspecs
from zoo.registry.family import Family
from zoo.testing.imports import PUBLIC

pytestmark = pytest.mark.slow  # generates every page

NAMES = sorted(shelf.built_in())


@pytest.fixture(scope="module")
def pages() -> dict[str, dict[str, str]]:
    return {language: site.pages(language) for language in LANGUAGES}


def test_every_language_has_every_page(pages: dict[str, dict[str, str]]) -> None:
    assert {f"families/{name}.md" for name in NAMES} < pages["en"].keys()
    assert pages["en"].keys() == pages["zh"].keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_inside_is_there(pages: dict[str, dict[str, str]], language: str) -> None:
    assert not broken(pages[language])


def test_a_broken_link_would_be_found() -> None:
    assert broken({"a.md": "[b](b.md) [c](#c) `[d](d.md)`\n\n```\n[e](e.md)\n```"}) == ["a.md -> b.md", "a.md -> #c"]
    assert not broken({"x/a.md": "[b](../b.md#two-words)", "b.md": "## Two words"})


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_every_file_that_a_readme_links_to_is_there(readme: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / readme).read_text(encoding="utf-8"))
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_both_readmes_have_the_same_commands_and_links() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    for pattern in (r"```bash\n(.*?)```", r"^\| (`.*?) \|"):
        theirs = [found.replace("、", ", ") for found in re.findall(pattern, chinese, re.DOTALL | re.MULTILINE)]
        assert re.findall(pattern, english, re.DOTALL | re.MULTILINE) == theirs
    targets = [re.findall(r"\]\(([^)]+)\)", text) for text in (english, chinese)]
    assert [_in_chinese(target) for target in targets[0][1:]] == targets[1][1:]  # the first is the other README


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_a_readme_tells_how_many_models_there_are_and_every_command(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    presets = sum(len(shelf.models_of(name)) for name in NAMES)
    assert re.search(rf"{len(NAMES)} (families and|个家族、) ?{presets} (presets|个预设)", text)
    assert not [name for name in COMMANDS if f"`zoo {name}" not in text and name != "completion"]


def _in_chinese(target: str) -> str:
    there = re.sub("^docs/(en/)?", "docs/zh/", target)
    return there if (ROOT / there).exists() else target


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_in_the_navigation(pages: dict[str, dict[str, str]], language: str) -> None:
    listed = set(re.findall(r'"([\w./-]+\.md)"', json.dumps(site._nav(language, pages[language]))))
    assert listed == set(pages[language])


def test_every_command_and_option_is_in_the_reference(pages: dict[str, dict[str, str]]) -> None:
    sections = dict(
        re.findall(r"^##+ zoo ([\w -]+)\n(.*?)(?=^##+ |\Z)", pages["en"]["reference/commands.md"], re.M | re.S)
    )
    for name, command in commands.commands().items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"zoo {name} {parameter.opts[0]} has no help"
                assert parameter.opts[-1] in sections[name]
        assert command.help, f"zoo {name} has no help"


def test_every_field_has_its_meaning(pages: dict[str, dict[str, str]]) -> None:
    for name, family in shelf.built_in().items():
        assert not config_fields.undocumented(family.config_class), name
        for path in config_fields.fields_of(family.config_class):
            assert f"| `{path}` |" in pages["en"][f"families/{name}.md"]


def test_every_hook_and_public_name_is_in_the_reference(pages: dict[str, dict[str, str]]) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("zoo_")]
    assert len(hooks) >= 2
    for hook in hooks:
        assert f"::: zoo.registry.hookspecs.{hook}\n" in pages["en"]["reference/hooks.md"]
    for page, (_, module, _) in python_api.PAGES.items():
        names = python_api.public(module)
        assert names
        for path in names.values():
            assert f"::: {path}\n" in pages["en"][f"reference/{page}.md"]


def test_every_field_of_a_family_has_its_meaning() -> None:
    assert not [field.name for field in fields(Family) if not doc_of(Family, field.name)]


def test_every_public_name_is_found_where_the_reference_looks() -> None:
    for _, module, _ in python_api.PAGES.values():
        for name, path in python_api.public(module).items():
            home = ROOT / (path.rpartition(".")[0].replace(".", "/"))
            source = home.with_suffix(".py") if home.with_suffix(".py").exists() else home / "__init__.py"
            assert name in _defined(source), path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_prose_of_a_family_is_there_in_full(language: str, name: str) -> None:
    title, lead, rest = families.prose(name, language).split("\n\n", 2)
    assert title.startswith("# ")
    assert 8 < len(lead) < 400
    assert 3 <= rest.count("\n- ") + 1 <= 15
    if language == "zh":
        assert re.search(r"[\u4e00-\u9fff]{6}", rest)


def test_every_family_with_presets_shows_one_of_them_and_its_layer(pages: dict[str, dict[str, str]]) -> None:
    assert set(families.SHOWN) == {name for name in NAMES if shelf.models_of(name)}
    for name, preset in families.SHOWN.items():
        assert preset in {model.name for model in shelf.models_of(name)}
        for language in LANGUAGES:
            assert pages[language][f"families/{name}.md"].count('<figure class="zoo-layer m0"><svg') == 1


def test_rows_of_chinese_tables_are_named_in_chinese(pages: dict[str, dict[str, str]]) -> None:
    for name in families.SHOWN:
        rows = re.findall(r"^\| \*\*(.*?)\*\* \|", pages["zh"][f"families/{name}.md"], re.MULTILINE)
        assert len(rows) > 3
        assert not [row for row in rows if not re.fullmatch(r"[\u4e00-\u9fff]+", row)], name


@pytest.mark.parametrize("file", drawings.FILES.values(), ids=[*drawings.FILES])
def test_the_pictures_of_the_readme_are_those_that_are_drawn(file: Path) -> None:
    drawn = drawings.drawings()[file]
    assert file.read_text(encoding="utf-8") == drawn, "python -m tools.docs.drawings draws them anew"
    parse(file)  # a picture that is shown alone is well-formed XML
    for readme in ("README.md", "README.zh-CN.md"):
        assert str(file.relative_to(ROOT)) in (ROOT / readme).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_family_was_compared_with_is_a_test(name: str) -> None:
    rows = families.checked()[name]
    assert rows
    for row in rows:
        file, _, function = row["test"].partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), row["test"]
        assert all(what in WORDS[language] for what in row["compared"] for language in LANGUAGES)


def test_every_deviation_has_a_family_and_a_test_that_is_there() -> None:
    assert deviations.entries()
    for entry in deviations.entries():
        assert set(deviations.concerned(entry)) <= set(NAMES), entry
        files = re.findall(r"`(tests/[\w/.]+\.py)", entry)
        assert all((ROOT / file).exists() for file in files), entry


def test_deviations_are_the_same_in_all_languages() -> None:
    tests = [[re.findall(r"`(tests/[^`]+)`", entry) for entry in deviations.entries(one)] for one in LANGUAGES]
    assert tests[0] == tests[1]


def test_words_are_the_same_in_all_languages() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys() == {*WORDS["en"]}


def test_every_marked_block_is_read() -> None:
    for page in _written():
        text = page.read_text(encoding="utf-8")
        assert len(marked(text)) == count_marks(text), page


def test_chinese_paragraphs_are_not_broken() -> None:
    """A line break between two Chinese characters shows as a gap."""
    for page in _written():
        if "zh" in page.parts:
            text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not re.search(r"[\u4e00-\u9fff，。；：、]\n[\u4e00-\u9fff，。]", text), page


def test_the_settings_are_plain_yaml_without_fetched_fonts() -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert "http" not in json.dumps(settings)


def _written() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def _defined(source: Path) -> set[str]:
    """Names that a module gives a value at its top level."""
    found: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_map_shows_every_room_and_names_files_that_are_there(
    pages: dict[str, dict[str, str]], language: str
) -> None:
    page, graph = pages[language]["architecture.md"], rooms.imports()
    there = {path.stem for path in (ROOT / "zoo").iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"}
    assert set(graph) == there - {"__init__", "__main__"}
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == list(dict.fromkeys(re.findall(r"^\| `(\w+)` \|", page, re.M)))
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(graph)
    assert all(f">{room}</text>" in page for room in graph)
    named = set(re.findall(r"`((?:zoo|plugins|conf)/[\w./]+)`", page))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_page_of_what_plugins_may_import_names_every_public_name(pages: dict[str, dict[str, str]]) -> None:
    for language in LANGUAGES:
        for module in PUBLIC:
            section = pages[language]["plugin-api.md"].partition(f"\n## {module}\n")[2].partition("\n## ")[0]
            assert set(re.findall(r"`(\w+)`", section)) >= {n for n in import_module(module).__all__ if n[0] != "_"}
