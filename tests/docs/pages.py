"""The pages of the documentation as the tests see them: blocks of code, console lines, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    path.stem: path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
FENCE = re.compile(r"^(`{3,})(\S*)[^\n]*\n(.*?)^\1\s*$", flags=re.MULTILINE | re.DOTALL)
PYTHON = ("python", "{code-cell}")
OTHERS = ("", "console", "text", "{eval-rst}", "{toctree}", "{include}")
"""Kinds of blocks that are not Python: output, commands (read by `commands`) and Sphinx's own."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, with the line on which each begins."""
    text = PAGES[page].read_text()
    return [Block(m[2], m[3], text.count("\n", 0, m.start(3)) + 1) for m in FENCE.finditer(text)]


def code(page: str) -> list[Block]:
    """The Python of a page, without the options (`:tags: ...`) of its cells."""
    found = [block for block in blocks(page) if block.kind in PYTHON]
    return [
        Block(b.kind, re.sub(r"\A(:[\w-]+:.*\n)+", lambda m: "\n" * m[0].count("\n"), b.text), b.line) for b in found
    ]


def commands(page: str) -> list[str]:
    """Commands that a reader may type: of console blocks, of indented lines, and those in backticks."""
    text = PAGES[page].read_text()
    lines = []
    for block in blocks(page):
        typed = block.text.splitlines() if block.kind == "console" else []
        lines += [line for line in typed if line.startswith("$ ")] or typed  # behind a prompt, else all of it
    lines += re.findall(r"^    ((?:make|python|xsoil|pip) .*)$", FENCE.sub("", text), flags=re.MULTILINE)
    lines += re.findall(r"`((?:make|python|xsoil|pip) [^`]+)`", text)
    return [re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip() for line in lines if line.strip()]


def links(page: str) -> list[str]:
    """Targets of links and images that are files, without their anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", PAGES[page].read_text()))
    return [target.partition("#")[0] for target in found if "://" not in target and not target.startswith("#")]
