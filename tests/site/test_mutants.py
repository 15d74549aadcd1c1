"""Mutation tests: what is sampled, what is copied, and how the codes of mutmut are counted."""

import json

import pandas as pd
import pytest
import typer

from workflow import mutants


def test_a_sample_is_the_same_every_time_and_knows_no_order():
    names = [f"nclib.estimates.x_mean__mutmut_{i}" for i in range(300)]
    assert mutants.sample(names, 150) == mutants.sample(names[::-1], 150)
    assert len(set(mutants.sample(names, 150))) == 150
    assert sorted(mutants.sample(names[:9], 150)) == sorted(names[:9])


def test_scores_count_what_tests_found():
    found = {"a": 1, "b": 0, "c": 33, "d": 36, "e": -24, "interrupted": 2, "skipped": 34, "not tried": None}
    assert mutants.row("nclib/estimates.py", found) == {
        "module": "nclib.estimates",
        "tried": 5,
        "killed": 3,
        "survived": 1,
        "untested": 1,
        "score": 0.6,
    }


def test_the_rows_of_other_modules_stay_in_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(mutants, "TABLE", tmp_path / "mutants.csv")
    for code, module in ((0, "nclib/metrics"), (1, "nclib/estimates.py"), (1, "nclib/metrics")):
        monkeypatch.setattr(mutants, "tried", lambda module, number, code=code: (tmp_path, {"a": code}))
        monkeypatch.setattr(mutants, "mutmut", lambda folder, *arguments: "")
        mutants.main([module], 1, keep=True)
    table = pd.read_csv(mutants.TABLE).set_index("module")["score"]
    assert table.to_dict() == {"nclib.estimates": 1, "nclib.metrics": 1}
    with pytest.raises(typer.BadParameter, match="there is no module nclib/cli"):
        mutants.main(["nclib/cli"], 1)


@pytest.mark.parametrize("module", mutants.MODULES)
def test_faults_are_put_into_a_copy_of_the_module_alone(module, monkeypatch, tmp_path):
    for name in ("nclib", "tests", "workflow", "README.md", "pyproject.toml"):
        (tmp_path / name).symlink_to(mutants.ROOT / name)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    folder = mutants.copied(module)
    said = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert f'only_mutate = ["{module}' in said
    assert (folder / mutants.MODULES[module]).exists()
    assert "@with_cure\n" in (mutants.ROOT / "nclib" / "metrics" / "variability.py").read_text(encoding="utf-8")
    assert "@with_cure\n" not in (folder / "nclib" / "metrics" / "variability.py").read_text(encoding="utf-8")


def test_codes_come_from_all_of_mutmuts_files(tmp_path):
    for name, found in (("estimates.py.meta", {"a": 1}), ("metrics/pairs.py.meta", {"b": None})):
        path = tmp_path / "mutants" / "nclib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"exit_code_by_key": found}), encoding="utf-8")
    assert mutants.codes(tmp_path) == {"a": 1, "b": None}
