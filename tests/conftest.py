"""The slowest files of tests go first, so that no process is left alone with one of them in the end."""

import os
from pathlib import Path

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and what is printed would be broken into lines

SLOWEST = (
    *("site/test_grid", "site/test_site", "site/test_commands", "site/test_notebooks", "features/test_statistics"),
    *("site/test_variants", "models/test_recipes", "site/test_live", "test_release"),
)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    place = {HERE / f"{name}.py": i for i, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path, len(SLOWEST)))
