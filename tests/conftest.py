"""The slowest files of tests go first, so that no process is left alone with one of them in the end."""

SLOWEST = ("grid", "site", "commands", "notebooks", "feature_statistics", "variants", "training", "live", "release")


def pytest_collection_modifyitems(items):
    place = {f"test_{name}.py": i for i, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(SLOWEST)))
