"""Texts and their encoders: docstrings of what is installed, tables, hashed words, training that repeats itself."""

import numpy as np
import pytest
import torch

import nclib
from nclib.data.text_sets import LIBRARIES, docstrings, texts, tokens
from nclib.experiments.words import TextRecipe, fit_best, train_words
from nclib.peft.finetuning import Tuning
from nclib.probing.linear import LinearProbe, probe_layer


def test_docstrings_are_told_by_their_library_and_splits_share_none():
    train, test = (texts("docstrings/libraries", split, per_class=50) for split in ("train", "test"))
    assert train.classes == test.classes == LIBRARIES
    assert train.labels.bincount().tolist() == [50] * 6
    assert set(train.texts).isdisjoint(test.texts)
    assert train.digest == texts("docstrings/libraries", per_class=50).digest != test.digest
    assert any("ndarray" in text for text, label in zip(train.texts, train.labels, strict=True) if label == 0)


def test_parts_of_a_package_have_enough_docstrings():
    found = docstrings("networkx")
    assert found["train"].keys() == found["test"].keys() >= {"algorithms", "generators"}
    every = [text for parts in found.values() for part in parts.values() for text in part]
    assert len(set(every)) == len(every)
    assert min(len(part) for parts in found.values() for part in parts.values()) >= 50


def test_a_table_is_read_by_split(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"t_{split}.csv").write_text(f'text,label\n"a, {split}",x\nb,y\nc,x\n')
    found = texts("file:t_{split}.csv", "test", data_root=tmp_path)
    assert found.classes == ("x", "y")
    assert sorted(found.texts) == ["a, test", "b", "c"]
    assert texts("file:t_{split}.csv", per_class=1, data_root=tmp_path).labels.tolist() == [0, 1]


def test_bad_texts_are_refused(tmp_path):
    for name, message in (
        ("poems", "does not name texts"),
        ("docstrings/no_such_package", "not an installed package"),
        ("docstrings/six", "not an installed package"),
    ):
        with pytest.raises(ValueError, match=message):
            texts(name)
    with pytest.raises(ValueError, match="split is 'val'"):
        texts("docstrings/libraries", "val")
    with pytest.raises(ValueError, match="per_class is 0"):
        texts("docstrings/libraries", per_class=0)
    with pytest.raises(ValueError, match="is one file, without a test split"):
        texts("file:reviews.csv", "test")
    with pytest.raises(ValueError, match="per_class is 9999; class numpy"):
        texts("docstrings/libraries", per_class=9999)
    with pytest.raises(FileNotFoundError, match="a table with columns text and label"):
        texts(f"file:{tmp_path}/nowhere.csv")
    for content, message in (
        ("text,label\nhello,x\nhi,there,y\n", "line 3 has 3 columns"),
        ("text,label\nhello, \n", "line 2 has no label"),
        ("text,label\nhello,x\n", "texts of 1 class;"),
        ("text,label\ncafé,x\n", "not in UTF-8"),
    ):
        (tmp_path / "t.csv").write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match=message):
            texts(f"file:{tmp_path}/t.csv")
    with pytest.raises(ValueError, match="unknown loss"):
        TextRecipe(loss="hinge")


def test_words_have_one_index_each():
    rows = tokens(["The mean, the MEAN of 2", "", "a " * 100], length=8)
    the, mean, again, mean_again, _, _, *rest = rows[0].tolist()
    assert (the, mean) == (again, mean_again)
    assert 0 not in (the, mean)
    assert rest == [0, 0]
    assert rows[1].tolist() == [0] * 8
    assert len(rows[2].unique()) == 1
    assert int(rows.max()) <= 8192


TINY = TextRecipe(source="docstrings/networkx", per_class=30, width=8, depth=1, epochs=3)


def test_an_encoder_is_the_same_again_and_read_from_its_cache(tmp_path):
    first, again = train_words(TINY, cache=tmp_path), train_words(TINY)
    read = train_words(TINY, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    for a, b, c in zip(*(network.state_dict().values() for network in (first, again, read)), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    other = train_words(TextRecipe(**TINY.config | {"seed": 1}))
    assert not torch.equal(first.backbone.words.weight, other.backbone.words.weight)


@pytest.mark.parametrize("loss", ["cross-entropy", "label smoothing", "squared error", "contrastive"])
def test_every_loss_learns_its_texts(loss):
    recipe = TextRecipe(**TINY.config | {"loss": loss, "epochs": 60, "learning_rate": 0.03})
    source = texts(recipe.source, per_class=recipe.per_class)
    right = train_words(recipe)(tokens(source.texts)).argmax(1) == source.labels
    assert right.double().mean() > 0.8


def test_a_probe_layer_says_what_the_probe_says():
    images = nclib.load("digits", per_class=10)
    features = images.images.flatten(1).float()
    layer, probe = probe_layer(features, images.labels, 12, C=0.1), LinearProbe(C=0.1).fit(features, images.labels)
    logits = layer(features)
    assert logits.shape == (100, 12)
    assert np.array_equal(logits[:, :10].argmax(1).numpy(), probe.predict(features))
    assert not logits[:, 10:].any()  # of classes without a sample


def test_of_several_settings_the_best_on_held_out_texts_is_taken():
    inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0] > 0).long()

    def accuracy(module, x, y):
        return float((module(x).argmax(1) == y).double().mean())

    sizes = []

    def make(x, y):
        sizes.append(len(x))
        torch.manual_seed(0)
        return torch.nn.Linear(3, 2)

    def loss(module, x, y):
        return torch.nn.functional.cross_entropy(module(x), y)

    settings = [Tuning(learning_rate=rate, epochs=20, batch_size=8) for rate in (1e-8, 0.1)]
    alone = fit_best(make, inputs, labels, loss, settings[1:], accuracy)
    best = fit_best(make, inputs, labels, loss, settings, accuracy)
    assert torch.equal(best.weight, alone.weight)
    assert sizes == [40, 32, 32, 40]  # of one candidate there is no trial
    assert accuracy(best, inputs, labels) > 0.9 > accuracy(make(inputs, labels), inputs, labels)
