"""The pages of docs/ as a site, with a reference of the package from its docstrings.

sphinx-build --fail-on-warning docs docs/_build
"""

import scarlet_jax

project = "scarlet-jax"
version = release = scarlet_jax.__version__
html_title = f"scarlet-jax {version}"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
default_role = "literal"  # of what stands in backticks in a docstring
