"""The addresses of a checkout, which the site, the notebooks and the pages take from one place."""

from pathlib import Path

from nclib.experiments.addresses import addresses

ROOT = Path(__file__).parents[2]
URLS = '[project.urls]\nRepository = "https://github.com/someone/toy"\n'


def test_addresses_are_those_of_the_project_or_none(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "toy"\n')
    assert addresses(tmp_path) == {}
    (tmp_path / "pyproject.toml").write_text(URLS)
    assert addresses(tmp_path) == {"Repository": "https://github.com/someone/toy"}


def test_no_other_file_reads_them():
    files = [*(ROOT / "workflow").glob("*.py"), *(ROOT / "nclib").rglob("*.py")]
    assert [path.name for path in files if "tomllib" in path.read_text(encoding="utf-8")] == ["addresses.py"]
