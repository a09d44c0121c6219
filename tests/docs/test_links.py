"""What pages point to is there: files, verbs, commands, extras, scripts and their options."""

from __future__ import annotations

import re
import tomllib

import pytest
from pages import PAGES, ROOT, commands, links

import xsoil
from xsoil.accessor import SoilAccessor
from xsoil.command_line import main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in links(page):
        assert (PAGES[page].parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_exist(page):
    """Not run (they install, build, or work for hours), but what they name is there, down to the options."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for command in commands(page):
        words = command.split()
        if words[0] == "make":
            named = [word for word in words[1:] if "=" not in word]
            assert set(named) <= set(targets), command
        elif words[0] == "xsoil" and words[1:]:
            subcommand = main.commands.get(words[1])
            assert subcommand or words[1].startswith("-"), command
            known = {name for option in subcommand.params for name in option.opts} if subcommand else {"--help"}
            assert set(re.findall(r"--[\w-]+", command)) <= known | {"--help"}, command
        elif words[0] == "python" and words[1:] and words[1].endswith(".py"):
            text = (ROOT / words[1]).read_text()
            for option in re.findall(r"--([\w-]+)", command):
                assert f'"--{option}"' in text, command
        elif words[0] == "pip":
            for extra in re.findall(r"\[([\w,]+)\]", command):
                assert set(extra.split(",")) <= set(PROJECT["optional-dependencies"]), command


def test_verbs_of_the_readme_exist():
    text = PAGES["README"].read_text()
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    assert len(rows) >= 8
    for row in rows:
        for name in re.findall(r"`(\w+)\(", row):
            assert hasattr(SoilAccessor, name), name
            assert hasattr(xsoil, name), name
    for path in re.findall(r"`xsoil\.([\w.]+)\(", text):
        owner: object = xsoil
        for part in path.split("."):
            owner = getattr(owner, part)


def test_every_page_can_be_reached():
    index = PAGES["index"].read_text()
    listed = re.findall(r"^(\w+)$", index, flags=re.MULTILINE)
    assert sorted(set(PAGES) - {"README", "CONTRIBUTING", "index"} - set(listed)) == []
