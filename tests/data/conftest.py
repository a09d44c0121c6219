"""Fixtures of the readers' tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Small files of every product, under the names that docs/readers.md gives."""
    import page_files

    root = tmp_path_factory.mktemp("page")
    page_files.readers(root)
    return root
