"""Where the project is on the web."""

import tomllib
from pathlib import Path


def addresses(root: Path) -> dict[str, str]:
    """The [project.urls] of a checkout's pyproject.toml, such as Repository and Documentation; empty if there are none.

    It is not in workflow/, because Sphinx loads extensions without the checkout on its path.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, str] = project.get("urls", {})
    return found
