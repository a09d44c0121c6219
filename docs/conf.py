"""Sphinx configuration: MyST-NB pages, executed; numpydoc for the reference."""

from __future__ import annotations

import shutil
from pathlib import Path

import xsoil

project = "xsoil"
author = "The xsoil developers"
copyright = author
release = version = xsoil.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc", "myst_nb"]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

# The notebooks of the studies lie beside their scripts, stored with their results: hours of computing are not repeated.
HERE = Path(__file__).parent
NOTEBOOKS = HERE / "notebooks"
NOTEBOOKS.mkdir(exist_ok=True)
for notebook in sorted((HERE.parent / "examples").glob("*.ipynb")):
    shutil.copyfile(notebook, NOTEBOOKS / notebook.name)
nb_execution_excludepatterns = ["notebooks/*"]

html_theme = "alabaster"
html_theme_options = {"description": "Soil maps to soil moisture", "fixed_sidebar": True, "page_width": "1080px"}
html_title = "xsoil"
