"""The description of the package: README.md with links that also lead somewhere on a package index."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
_LINK = re.compile(r"(?P<picture>!?)(?P<text>\[[^\]]*\]\()(?![a-z]+:|#)")  # of a path in the repository


def description() -> str:
    """The README; links are those of the repository that pyproject.toml names, if it names one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not (url := project.get("urls", {}).get("Repository")):
        return text

    def absolute(link: re.Match[str]) -> str:
        return f"{link[0]}{url}/{'raw' if link['picture'] else 'blob'}/main/"

    return _LINK.sub(absolute, text)


setup(long_description=description(), long_description_content_type="text/markdown")
