"""Parquet tables: batch by batch what a table in memory gives, and what is wrong with one is said."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nclib import arrow_batches, arrow_statistics, class_statistics, measure
from nclib.cli import app
from nclib.features.files import read_classes, read_features, write_arrow, write_features

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def table():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    return torch.randn(90, 4, generator=generator) + labels.unsqueeze(1), labels


def test_names_of_classes_are_read_without_the_features(tmp_path, monkeypatch):
    np.savez(tmp_path / "t.npz", features=np.eye(2), labels=np.arange(2), classes=np.array(["cat", "dog"]))
    read, get = [], np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda file, name: read.append(name) or get(file, name))
    assert read_classes(tmp_path / "t.npz") == ("cat", "dog")
    assert read == ["classes"]


def test_statistics_of_a_file_and_of_a_folder_of_files(table, tmp_path):
    features, labels = table
    batches = [(features[:50].numpy(), labels[:50].numpy()), (features[50:].numpy(), labels[50:].numpy())]
    assert write_arrow(tmp_path / "one.parquet", batches) == 4
    for i, batch in enumerate(batches):
        write_arrow(tmp_path / "several" / f"{i}.parquet", [batch])
    expected = class_statistics(features, labels).state_dict()
    for path in (tmp_path / "one.parquet", tmp_path / "several"):
        for name, tensor in arrow_statistics(path, batch_size=7).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-10)
    sizes = [len(numbers) for _, numbers in arrow_batches(tmp_path / "one.parquet", batch_size=7)]
    assert max(sizes) <= 7
    assert sum(sizes) == 90


def test_lists_of_one_length_and_other_names_do(tmp_path):
    rows = arrow.table({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], "y": [0, 1, 1]})
    parquet.write_table(rows, tmp_path / "t.parquet")
    large = rows.set_column(0, "x", rows["x"].cast(arrow.large_list(arrow.float64())))
    parquet.write_table(large, tmp_path / "large.parquet")
    for name in ("t", "large"):
        ((features, labels),) = arrow_batches(tmp_path / f"{name}.parquet", features="x", labels="y")
        assert features.tolist() == [[1, 2], [3, 4], [5, 7]]
        assert labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"features": [[1.0], [2.0]]}, "has columns features; it must have features and labels"),
        (
            {"features": [1.0, 2.0], "labels": [0, 1]},
            "are double and int64; they must be lists of floats, and integers",
        ),
        ({"features": [[1.0], [2.0]], "labels": [0.0, 1.0]}, "they must be lists of floats, and integers or texts"),
        (
            {"features": [[1.0], [2.0, 3.0]], "labels": [0, 1]},
            "features of several lengths; all must have the same length",
        ),
        ({"features": [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0], [7.0, 8.0]], "labels": [0, 1, 0, 1]}, "several lengths"),
        ({"features": [[1.0], None], "labels": [0, 1]}, "rows without features or labels"),
        ({"features": [[1.0], [None]], "labels": [0, 1]}, "features with missing numbers"),
    ],
)
def test_what_is_wrong_is_said(columns, message, tmp_path):
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message):
        list(arrow_batches(tmp_path / "t.parquet"))


def test_a_table_without_rows_is_not_written_and_not_measured(tmp_path):
    with pytest.raises(ValueError, match="there are no features to write to"):
        write_arrow(tmp_path / "t.parquet", [])
    empty = {"features": arrow.array([], arrow.list_(arrow.float32())), "labels": arrow.array([], arrow.int64())}
    parquet.write_table(arrow.table(empty), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="has no rows"):
        arrow_statistics(tmp_path / "t.parquet")


def test_what_is_no_parquet_is_said(tmp_path):
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"t\.parquet is not a Parquet file or a folder of them"):
        list(arrow_batches(tmp_path / "t.parquet"))


def test_the_command_line_measures_it(table, tmp_path):
    features, labels = table
    paths = [tmp_path / "t.parquet", tmp_path / "t.npz"]
    for path in paths:
        assert write_features(path, [(features[:60], labels[:60]), (features[60:], labels[60:])]) == 4
    first, second = (CliRunner().invoke(app, ["measure", str(path), "--metrics", "nc1,cdnv"]).output for path in paths)
    assert first == second
    assert "90 samples, 3 classes, 4 features" in first
    assert np.load(paths[1])["features"].shape == (90, 4)


@pytest.mark.parametrize("end", [".safetensors", ".npz", ".parquet"])
def test_tables_keep_the_names_of_classes(end, tmp_path):
    if end == ".parquet":
        pytest.importorskip("pyarrow")
    path, names = tmp_path / f"features{end}", ["chat, noir", "caf\u00e9", "z"]
    batches = [(torch.eye(3), torch.tensor([0, 1, 2]))]
    write_features(path, batches, names)
    assert read_classes(path) == tuple(names)
    assert measure(**read_features(path), metrics=["cdnv"]).num_classes == 3
    write_features(path, batches)
    assert read_classes(path) == ()
    with pytest.raises(ValueError, match=r"features\.npy keeps no names of classes; only files that end in"):
        read_classes(tmp_path / "features.npy")


NAMES = ["dog", "cat", "eel"]


def written_by_others(path, features, names):
    """A table with labels that are texts, as people write it."""
    if path.suffix == ".npz":
        np.savez(path, features=features.numpy(), labels=np.array(names))
    elif path.suffix == ".pt":
        torch.save({"features": features, "labels": names}, path)
    else:
        columns = {"features": list(features.numpy()), "labels": names}
        pandas = pytest.importorskip("pandas").DataFrame(columns)
        pandas.astype({"labels": "category"} if path.stem == "categories" else {}).to_parquet(path)


@pytest.mark.parametrize("name", ["t.npz", "t.pt", "t.parquet", "categories.parquet"])
def test_labels_of_a_file_may_be_texts(name, table, tmp_path):
    features, labels = table
    written_by_others(tmp_path / name, features, [NAMES[label] for label in labels.tolist()])
    found = measure(**read_features(tmp_path / name))
    assert found.classes == ("cat", "dog", "eel")
    assert dict(found) == pytest.approx(dict(measure(features, labels)))


def test_labels_beside_an_array_may_be_texts(table, tmp_path):
    features, labels = table
    np.save(tmp_path / "features.npy", features.numpy())
    np.save(tmp_path / "labels.npy", np.array(NAMES)[labels.numpy()])
    done = CliRunner().invoke(app, ["measure", str(tmp_path / "features.npy"), str(tmp_path / "labels.npy")])
    assert "90 samples, 3 classes, 4 features" in done.output


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "statistics"])
def test_names_that_a_file_keeps_are_those_of_notes(suffix, table, tmp_path):
    features, labels = table[0], (table[1] > 0).long() * 2  # none of the second class
    if suffix == "statistics":
        path = tmp_path / "t.safetensors"
        class_statistics(features, labels, classes=NAMES).save(path)
    else:
        path = tmp_path / f"t.{suffix}"
        write_features(path, [(features, labels)], NAMES)
    done = CliRunner().invoke(app, ["measure", str(path), "--metrics", "nc1"])
    assert "1 of 3 classes has no samples and is left out (cat)" in done.stdout
    assert read_classes(path) == ("dog", "cat", "eel")
    done = CliRunner().invoke(app, ["measure", str(path), "--metrics", "nc1", "--json"])
    assert json.loads(done.stdout)["classes"] == ["dog", "eel"]


@pytest.mark.parametrize("classes", [np.array([0, 1, 2]), np.arange(6).reshape(3, 2)])
def test_what_others_call_classes_is_no_names(classes, table, tmp_path):
    np.savez(tmp_path / "t.npz", features=table[0].numpy(), labels=table[1].numpy(), classes=classes)
    assert read_classes(tmp_path / "t.npz") == ()
    assert measure(**read_features(tmp_path / "t.npz")).classes == ()
