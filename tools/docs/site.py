"""Puts the sources of the site together, per language: pages by hand, pages from the code, navigation, settings."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

from . import commands, config_fields, cuts, drawings, families, plugin_api, python_api, rooms, shelf
from .deviations import ROOT
from .words import LANGUAGES, WORDS

DOCS = ROOT / "docs"
EXTRA = {"changelog.md": ROOT / "CHANGELOG.md", "contributing.md": ROOT / "CONTRIBUTING.md"}
SHARED = ("deviations.md", "benchmarks.md")  # pages that lie in docs/ itself, in English

DOCSTRINGS = {
    "heading_level": 2,
    "show_root_heading": True,
    "show_root_full_path": False,
    "show_source": False,
    "separate_signature": True,
    "line_length": 80,
    "show_signature_annotations": True,
    "members_order": "source",
    "docstring_section_style": "list",
    "filters": ["!^_"],
}

# Page -> its name in the navigation, in English and Chinese; a title without a page begins a section.
NAV: tuple[tuple[str, str, str], ...] = (
    ("index.md", "Home", "首页"),
    ("quickstart.md", "Quick start", "快速上手"),
    ("", "Concepts", "核心概念"),
    ("concepts/configs.md", "Configs and overrides", "配置与覆盖"),
    ("concepts/ledger.md", "The ledger", "账本"),
    ("concepts/caches.md", "Caches", "缓存"),
    ("concepts/generation.md", "Generation and its settings", "文本生成及其设置"),
    ("concepts/vectors.md", "Vectors and classes", "向量与类别"),
    ("concepts/tokenizers.md", "Tokenizers", "分词器"),
    ("concepts/weights.md", "Weight tables", "权重表"),
    ("concepts/packed.md", "Packed weights", "打包的权重"),
    ("concepts/proof.md", "How a model is proved right", "如何证明模型是对的"),
    ("concepts/plugins.md", "Plugins", "插件"),
    ("architecture.md", "Architecture", "架构"),
    ("", "Families", "模型家族"),
    ("families/index.md", "Overview", "总览"),
    ("families/*", "", ""),
    ("", "Work with models", "使用模型"),
    ("serve.md", "Serve", "提供服务"),
    ("train-command.md", "Train with one command", "一条命令训练"),
    ("training.md", "Training", "训练"),
    ("parallel.md", "Many devices", "多台设备"),
    ("export.md", "Compile and export", "编译与导出"),
    ("inside.md", "Look inside and change", "查看与修改模型内部"),
    ("notebooks.md", "Notebooks", "笔记本"),
    ("", "Extend", "扩展"),
    ("add-a-family.md", "How to add a family", "如何新增一个家族"),
    ("plugin-api.md", "What a plugin may import", "插件可以导入什么"),
    ("contributing.md", "Contributing", "参与贡献"),
    ("", "What is right", "正确性"),
    ("mistakes.md", "Common mistakes", "常见误解"),
    ("deviations.md", "Known deviations", "已知差异"),
    ("benchmarks.md", "Benchmarks", "性能测试"),
    ("security.md", "Security and reliability", "安全与可靠性"),
    ("", "Reference", "参考"),
    ("reference/commands.md", "Commands", "命令"),
    ("reference/config.md", "Config fields", "配置字段"),
    ("reference/python.md", "Python", "Python 接口"),
    ("reference/hooks.md", "Hooks", "钩子"),
    ("reference/blocks.md", "Blocks", "模块"),
    ("reference/weights.md", "Weight tables", "权重表接口"),
    ("reference/description.md", "Anatomy", "结构描述"),
    ("reference/generation.md", "Generation", "文本生成"),
    ("reference/testing.md", "Testing", "契约测试"),
    ("changelog.md", "Changelog", "更新日志"),
)


def pages(language: str) -> dict[str, str]:
    """Every page of one language by its path in the site."""
    english = _english()
    if language == "en":
        return dict(english)
    own = _by_hand(language) | _made(language)
    own |= {f"families/{name}.md": families.page(name, language) for name in shelf.built_in()}
    return {path: own[path] if path in own else _untranslated(text, language) for path, text in english.items()} | own


def write(folder: Path) -> None:
    """Write the pages of both languages below `folder` and their settings beside it, in place of those there."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        shutil.rmtree(folder / language, ignore_errors=True)
        found = pages(language)
        for path, text in found.items():
            (folder / language / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / language / path).write_text(text, encoding="utf-8")
        shutil.copytree(DOCS / "theme" / "assets", folder / language / "assets")
        (folder / language / "assets" / "layer.css").write_text(drawings.layer_css(), encoding="utf-8")
        # JSON is YAML, and needs no writer of its own.
        settings = json.dumps(_settings(language, folder, found), ensure_ascii=False, indent=1)
        (folder.parent / f"{language}.yml").write_text(settings, encoding="utf-8")


@cache  # the pages of other languages begin with these
def _english() -> dict[str, str]:
    found = _by_hand("en")
    found |= {name: (DOCS / name).read_text(encoding="utf-8") for name in SHARED if (DOCS / name).exists()}
    found |= {name: file.read_text(encoding="utf-8") for name, file in EXTRA.items()}
    found |= _made("en")
    found |= {f"families/{name}.md": families.page(name, "en") for name in shelf.built_in()}
    found |= {"reference/commands.md": commands.page(), "reference/config.md": config_fields.page()}
    return found | {f"reference/{name}.md": text for name, text in python_api.pages().items()}


def _made(language: str) -> dict[str, str]:
    """Pages that are made from the code in every language, besides the families'."""
    return {"families/index.md": families.index(language), "plugin-api.md": plugin_api.page(language)}


def _by_hand(language: str) -> dict[str, str]:
    root = DOCS / language
    found = {f.relative_to(root).as_posix(): f.read_text(encoding="utf-8") for f in sorted(root.rglob("*.md"))}
    pictures = (
        ("architecture.md", rooms.PLACE, rooms.picture(rooms.imports())),
        ("parallel.md", cuts.PLACE, cuts.picture()),
    )
    drawn = {page: found[page].replace(place, picture) for page, place, picture in pictures}
    return found | drawn


def _untranslated(text: str, language: str) -> str:
    """An English page for readers of another language, with a note that says so below its title."""
    title, _, body = text.partition("\n")
    return f"{title}\n\n{WORDS[language]['untranslated']}{body}"


def _nav(language: str, found: dict[str, str]) -> list[object]:
    nav: list[object] = []
    inside: list[object] = nav
    for path, *titles in NAV:
        title = titles[list(LANGUAGES).index(language)]
        if not path:
            inside = []
            nav.append({title: inside})
        elif path == "families/*":
            inside += [{name: f"families/{name}.md"} for name in shelf.built_in()]
        elif path in found:
            inside.append({title: path})
    return nav


def _settings(language: str, folder: Path, found: dict[str, str]) -> dict[str, object]:
    is_english = language == "en"
    others = [{"name": name, "link": "./", "lang": code} for code, name in LANGUAGES.items()]
    return {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": f"{folder.name}/{language}",
        "site_dir": "site" if is_english else f"site/{language}",
        "theme": {"language": language, "custom_dir": str(DOCS / "theme")},
        "extra": {"alternate": others, "language": language},
        "plugins": [{"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": DOCSTRINGS}}}}],
        "nav": _nav(language, found),
    }
