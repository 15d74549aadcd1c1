"""Labels of every kind: each gives the right classes, or a message that says what was given and the cure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

import nclib
from nclib.arrays import as_tensor
from nclib.checks import check_least, check_whole
from nclib.complexity.geometric import geometric_complexity
from nclib.labels import check_labels, check_same_kind, class_names, integer_labels, numbered_labels

FEATURES = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
NUMBERS = [0, 1, 1, 0, 2, 2]
TEXTS = ["a", "b", "b", "a", "c", "c"]

INTEGERS = {
    "list": NUMBERS,
    "tuple": tuple(NUMBERS),
    "tensor": torch.tensor(NUMBERS),
    "tensor of uint8": torch.tensor(NUMBERS, dtype=torch.uint8),
    "array of int16": np.array(NUMBERS, dtype=np.int16),
    "array of uint64": np.array(NUMBERS, dtype=np.uint64),
    "other end first": np.array(NUMBERS, dtype=">i4"),
    "objects": np.array(NUMBERS, dtype=object),
    "reversed": np.array(NUMBERS[::-1])[::-1],
    "masked nowhere": np.ma.array(NUMBERS, mask=False),
    "series": pd.Series(NUMBERS, index=range(5, 11)),
    "nullable series": pd.Series(NUMBERS, dtype="Int64"),
    "categories": pd.Series(pd.Categorical(NUMBERS)),
    "categorical": pd.Categorical(NUMBERS),
    "list of tensors": [torch.tensor(number) for number in NUMBERS],
}
CLASSES = {
    "list of texts": (TEXTS, TEXTS),
    "array of texts": (np.array(TEXTS), TEXTS),
    "objects that are texts": (np.array(TEXTS, dtype=object), TEXTS),
    "texts of numpy": (np.array(TEXTS, dtype=np.dtypes.StringDType()), TEXTS),
    "series of texts": (pd.Series(TEXTS), TEXTS),
    "Arrow's texts": (pa.array(TEXTS), TEXTS),
    "Arrow's dictionary of texts": (pa.chunked_array([TEXTS]).dictionary_encode(), TEXTS),
    "Arrow's booleans": (pa.array([True, False]), [True, False]),
    "categories of texts": (pd.Series(TEXTS, dtype="category"), TEXTS),
    "booleans": ([True, False], [True, False]),
    "tensor of booleans": (torch.tensor([True, False]), [True, False]),
    "whole numbers": ([0.0, 2.0], [0.0, 2.0]),
    "tensor of whole numbers": (torch.tensor([0.0, 2.0], requires_grad=True), [0.0, 2.0]),
    "objects that are whole numbers": (np.array([0.0, 2], dtype=object), [0.0, 2.0]),
    "less than 0": ([-1, 1], [-1, 1]),
}
# What neither metrics nor probes take: labels, the error and its words.
WRONG = {
    "nothing": (None, ValueError, "None; give one for each sample"),
    "None among objects": (
        ["a", None, "b"],
        ValueError,
        "hold None in row 1, which is not a class; leave out the 1 sample without a label",
    ),
    "NaN among texts": (["a", float("nan")], ValueError, "hold nan in row 1, which is not a class"),
    "NaN of a series of texts": (pd.Series(["a", None, None]), ValueError, "in row 1, .* leave out the 2 samples"),
    "NA of pandas": (pd.Series([1, None], dtype="Int64"), ValueError, "hold nan in row 1"),
    "null of Arrow": (
        pa.array(["a", None]),
        ValueError,
        "hold None in row 1, which is not a class; leave out the 1 sample",
    ),
    "null among Arrow's numbers": (
        pa.chunked_array([[1, None]]),
        ValueError,
        "hold None in row 1, which is not a class",
    ),
    "a missing category": (pd.Series(["a", None], dtype="category"), ValueError, "hold nan in row 1"),
    "NaN": ([0.0, float("nan")], ValueError, "hold nan in row 1, which is not a class"),
    "NaN of a tensor": (torch.tensor([0.0, torch.nan]), ValueError, "hold nan in row 1, which is not a class"),
    "NA among objects": (np.array([1, pd.NA], dtype=object), ValueError, "hold <NA> in row 1"),
    "masked": (
        np.ma.array([0, 1, 2], mask=[0, 1, 0]),
        ValueError,
        "1 entry is masked, the first in row 1; leave out",
    ),
    "texts and numbers": (["a", 1], TypeError, "are int and str; they must be all integers, or all texts"),
    "numbers beyond 64 bits": ([10**30, 1], TypeError, "are int; they must be all integers"),
    "a sparse column": (sparse.csr_matrix([[1], [0]]), TypeError, r"a sparse csr_matrix; .* toarray\(\).ravel\(\)"),
    "a sparse tensor": (torch.tensor([1, 0]).to_sparse(), TypeError, r"torch.sparse_coo; .* give their to_dense\(\)"),
    "bytes": (np.array([b"a", b"b"]), TypeError, r"are \|S1; they must be integers or texts: astype\(str\)"),
    "dates": (
        np.array(["2020-01-01"], dtype="M8[D]"),
        TypeError,
        r"are datetime64\[D\]; they must be integers or texts: astype\(str\) makes texts of dates",
    ),
    "lists of different lengths": ([[1], [1, 2]], TypeError, "list holds no labels"),
    "complex numbers": (torch.tensor([1j, 2]), TypeError, "complex64; they must be integers"),
    "objects of two types of one name": (
        [type("E", (), {})(), type("E", (), {})()],
        TypeError,
        "labels are E; they must",
    ),
    "objects": ([object(), object()], TypeError, "are object; they must be all integers, or all texts"),
}
NO_CLASSES = {
    "real numbers": (np.linspace(0, 1, 60), ValueError, r"Unknown label type: .* row 1, .* continuous; .* np.digitize"),
    "infinity": ([0.0, float("inf")], ValueError, "hold inf in row 1, which is continuous"),
    "half precision": (torch.tensor([0, 1]).half(), TypeError, "are torch.float16, which rounds large whole numbers"),
    "bfloat16": (torch.tensor([0, 1]).bfloat16(), TypeError, "are torch.bfloat16, .* give the original integers"),
    "an array of half precision": (np.array([0, 1], dtype=np.float16), TypeError, "are float16, which rounds"),
    "one-hot rows": (
        np.eye(3, dtype=int),
        ValueError,
        r"are \(3, 3\); .*; labels.argmax\(1\) makes classes of one-hot",
    ),
    "a set": ({1, 2}, TypeError, r"are a set; give a list of them, one for each sample \(N,\)"),
    "a generator": ((label for label in "ab"), TypeError, "are a generator; give a list of them"),
    "a dict": ({"label": [0, 1]}, TypeError, "are a dict; give a list of them"),
    "one text": ("ab", TypeError, "are a str; give a list of them"),
    "a number": (3, ValueError, r"are \(\); y should be a 1d array"),
}
BLANK = {
    "an empty text": (["a", ""], ValueError, "hold '' in row 1, which is not a class; leave out the 1 sample without"),
    "blank texts": (["a", " ", "\t"], ValueError, "hold ' ' in row 1, which is not a class; leave out the 2 samples"),
    "space around": (["a", "b", " a"], ValueError, r"hold ' a' and 'a', which differ only .*; give label.strip\(\)"),
}


def cases(*tables):
    return pytest.mark.parametrize(
        ("labels", "error", "message"),
        [pytest.param(*case, id=name) for table in tables for name, case in table.items()],
    )


@pytest.mark.parametrize("labels", INTEGERS.values(), ids=INTEGERS.keys())
def test_integers_are_labels_whatever_holds_them(labels):
    checked = check_labels(labels)
    assert checked.dtype == torch.int64
    assert checked.tolist() == class_names(labels).tolist() == NUMBERS
    assert dict(nclib.measure(FEATURES, labels)) == dict(nclib.measure(FEATURES, NUMBERS))
    probe = nclib.NearestClassMean().fit(FEATURES, labels)
    assert probe.classes_.tolist() == [0, 1, 2]
    assert probe.score(FEATURES, labels) == probe.score(FEATURES, NUMBERS)


@pytest.mark.parametrize(("labels", "expected"), CLASSES.values(), ids=CLASSES.keys())
def test_names_of_classes_are_integers_booleans_or_texts(labels, expected):
    assert class_names(labels).tolist() == expected


@cases(WRONG, NO_CLASSES, BLANK)
def test_what_is_no_name_of_a_class_is_an_error_with_a_cure(labels, error, message):
    with pytest.raises(error, match=message):
        class_names(labels)


@cases(WRONG, NO_CLASSES, BLANK)
def test_what_cannot_be_numbered_is_the_same_error(labels, error, message):
    with pytest.raises(error, match=message):
        check_labels(labels)


NUMBERED = {
    "list of texts": (TEXTS, NUMBERS, ("a", "b", "c")),
    "tuple of texts": (tuple(TEXTS), NUMBERS, ("a", "b", "c")),
    "texts in another order": (["c", "a", "b", "b"], [2, 0, 1, 1], ("a", "b", "c")),
    "array of texts": (np.array(TEXTS), NUMBERS, ("a", "b", "c")),
    "texts of numpy": (np.array(TEXTS, dtype=np.dtypes.StringDType()), NUMBERS, ("a", "b", "c")),
    "objects": (np.array(TEXTS, dtype=object), NUMBERS, ("a", "b", "c")),
    "single texts of numpy": ([np.str_(text) for text in TEXTS], NUMBERS, ("a", "b", "c")),
    "series": (pd.Series(TEXTS, index=range(9, 3, -1)), NUMBERS, ("a", "b", "c")),
    "strings of pandas": (pd.Series(TEXTS, dtype="string"), NUMBERS, ("a", "b", "c")),
    "index": (pd.Index(TEXTS), NUMBERS, ("a", "b", "c")),
    "unused categories": (pd.Categorical(TEXTS, ["z", "c", "b", "a"]), NUMBERS, ("a", "b", "c")),
    "series of categories": (pd.Series(TEXTS, dtype="category"), NUMBERS, ("a", "b", "c")),
    "digits": (["10", "9"], [0, 1], ("10", "9")),
    "two forms of Unicode": (["caf\u00e9", "cafe\u0301", "bar"], [1, 1, 0], ("bar", "caf\u00e9")),
    "booleans": ([True, False, True], [1, 0, 1], ("False", "True")),
    "one of two booleans": (torch.tensor([True]), [1], ("False", "True")),
    "series of booleans": (pd.Series([True, False], dtype="boolean"), [1, 0], ("False", "True")),
    "whole numbers": ([0.0, 2.0], [0, 2], ()),
    "tensor of whole numbers": (torch.tensor([0.0, 2.0], requires_grad=True), [0, 2], ()),
    "integers": (NUMBERS, NUMBERS, ()),
}


@pytest.mark.parametrize(("labels", "numbers", "names"), NUMBERED.values(), ids=NUMBERED.keys())
def test_labels_of_every_kind_are_numbered_and_texts_are_names(labels, numbers, names):
    found = numbered_labels(labels)
    assert found.labels.dtype == torch.int64
    assert (found.labels.tolist(), found.classes) == (numbers, names)


def test_texts_are_numbered_by_the_names_that_are_given():
    assert numbered_labels(["c", "a"], classes=["c", "b", "a"]).labels.tolist() == [0, 2]
    assert numbered_labels(["cafe\u0301"], classes=["caf\u00e9"]).labels.tolist() == [0]
    assert numbered_labels([2, 0], classes=pd.Index(["c", "b", "a"])).classes == ("c", "b", "a")
    with pytest.raises(ValueError, match="labels hold d, which is not among the classes c, b, a"):
        numbered_labels(["c", "d"], classes=["c", "b", "a"])
    with pytest.raises(ValueError, match=r"labels run from 0 to 3; they must be 0\.\.2"):
        numbered_labels([0, 3], classes=["c", "b", "a"])
    with pytest.raises(
        TypeError, match=r"labels are texts \(a, b\), and it is unknown which of 2 classes each of them"
    ):
        numbered_labels(["a", "b"], num_classes=2)
    with pytest.raises(ValueError, match=r"classes are 2 names \(a, b\), and num_classes is 3"):
        numbered_labels([0], num_classes=3, classes=["a", "b"])
    with pytest.raises(TypeError, match="classes hold 0; their names must be texts"):
        numbered_labels([0], classes=[0, 1])
    for none in (
        "ab",
        2,
        2.5,
        {"a"},
        frozenset("a"),
        {"b": 1, "a": 0},
    ):  # a set has no order, so that it would name by chance
        with pytest.raises(TypeError, match=r"classes are .*; give a list of their names, in order"):
            numbered_labels([0], classes=none)
    crane = ["crane", "crane", "heron"]  # of ImageNet, which has two
    assert numbered_labels([0, 1, 2], classes=crane).labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="two classes are called 'crane'"):
        numbered_labels(["crane", "heron"], classes=crane)


def test_a_probe_takes_texts_as_they_are_so_that_two_forms_of_one_are_an_error():
    decomposed = ["cafe\u0301", "bar"] * 3
    assert nclib.NearestClassMean().fit(FEATURES, decomposed).classes_.tolist() == ["bar", "cafe\u0301"]
    with pytest.raises(ValueError, match="one text in two forms of Unicode; give unicodedata"):
        nclib.NearestClassMean().fit(FEATURES, ["caf\u00e9", "cafe\u0301", "bar"] * 2)


@pytest.mark.parametrize(
    "taker",
    [
        lambda labels: dict(nclib.measure(FEATURES, labels, metrics=["nc1", "cdnv", "directional_cdnv"])),
        lambda labels: nclib.measure(FEATURES, labels).values_,
        lambda labels: nclib.class_statistics(FEATURES, labels).means.tolist(),
        lambda labels: nclib.ClassStatistics.from_batches([(FEATURES, labels)]).means.tolist(),
        lambda labels: nclib.class_ranks(FEATURES, labels)["stable"].tolist(),
        lambda labels: dict(nclib.score(FEATURES, labels)),
        lambda labels: nclib.sfda(FEATURES, labels),
        lambda labels: nclib.transrate(FEATURES, labels),
        lambda labels: nclib.h_score_shrunk(FEATURES, labels),
        lambda labels: nclib.ncti_parts(FEATURES, labels),
        lambda labels: nclib.nleep(FEATURES, labels, per_class=1),
        lambda labels: nclib.probe_accuracy(FEATURES, labels, share=0.5),
        lambda labels: nclib.leep(probabilities=FEATURES.softmax(1), labels=labels),
        lambda labels: nclib.nce(probabilities=FEATURES.softmax(1), labels=labels),
        lambda labels: nclib.poincare_constant(FEATURES, labels),
        lambda labels: geometric_complexity(lambda x: x**2, FEATURES).by_class(labels).tolist(),
        lambda labels: nclib.directional_cdnv_pairs(
            nclib.class_statistics(FEATURES, labels), FEATURES, labels
        ).tolist(),
    ],
)
@pytest.mark.parametrize("labels", [TEXTS, np.array(TEXTS), pd.Series(TEXTS, dtype="category")], ids=type)
def test_all_that_takes_labels_takes_texts_and_gives_what_their_numbers_give(taker, labels):
    assert taker(labels) == taker(NUMBERS)


def test_a_weight_needs_the_names_of_its_rows():
    weight = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    with pytest.raises(TypeError, match=r"it is unknown which of 3 classes each of them is; give the names in order"):
        nclib.measure(FEATURES, TEXTS, weight)
    found = nclib.measure(FEATURES, TEXTS, weight[[2, 0, 1]], classes=["c", "a", "b"])
    assert dict(found) == pytest.approx(dict(nclib.measure(FEATURES, NUMBERS, weight)))


def test_notes_and_errors_call_classes_by_their_names():
    one = ["cat", "cat", "dog", "cat", "cat", "cat"]
    found = nclib.measure(FEATURES, one, metrics=["cdnv"])
    assert found.notes == ("1 of 2 classes has one sample, whose spread is taken as 0 (dog)",)
    assert (found.classes, found.to_dict()["classes"]) == (("cat", "dog"), ["cat", "dog"])
    more = nclib.measure(FEATURES, one, metrics=["cdnv"], classes=["dog", "eel", "cat"])
    assert more.notes[0] == "1 of 3 classes has no samples and is left out (eel)"
    assert more.classes == ("dog", "cat")
    assert more["cdnv"] == pytest.approx(found["cdnv"])
    numbers = nclib.measure(FEATURES, [0, 0, 2, 0, 0, 0], classes=["cat", "eel", "dog"], metrics=["cdnv"])
    assert numbers.notes[0] == more.notes[0]
    stats = nclib.class_statistics(FEATURES, one, classes=["dog", "eel", "cat"])
    with pytest.raises(ValueError, match=r"1 of 3 classes has no samples \(eel\)"):
        nclib.nc1(stats)
    assert stats.without_empty_classes().classes == ("dog", "cat")
    assert nclib.measure(stats, metrics=["cdnv"]).notes == more.notes
    with pytest.raises(ValueError, match="no sample of class cat was measured"):
        geometric_complexity(lambda x: x, FEATURES, samples=2).by_class(_alone())


def _alone():
    """Labels of which one class is of a sample that was not measured."""
    measured = geometric_complexity(lambda x: x, FEATURES, samples=2).indices.tolist()
    return ["dog" if row in measured else "cat" for row in range(6)]


def test_messages_call_labels_by_their_name():
    with pytest.raises(ValueError, match="test labels hold None in row 0"):
        class_names([None, "a"], "test labels")


@pytest.mark.parametrize(
    "column",
    [
        np.array([NUMBERS]).T,
        torch.tensor([NUMBERS]).T,
        np.array([NUMBERS]).T.astype(float),
        pd.DataFrame({"y": NUMBERS}),
        pd.DataFrame({"y": TEXTS}),
        np.array([TEXTS]).T,
    ],
)
def test_a_column_is_taken_with_a_warning(column):
    with pytest.warns(DataConversionWarning, match=r"A column-vector y was passed .* \(6, 1\); give \(N,\)"):
        assert check_labels(column).tolist() == NUMBERS
    with pytest.warns(DataConversionWarning):
        assert len(class_names(column)) == 6
    with pytest.warns(DataConversionWarning):
        assert dict(nclib.measure(FEATURES, column)) == dict(nclib.measure(FEATURES, NUMBERS))


def test_labels_below_0_are_an_error_with_a_cure_but_integers():
    assert integer_labels([-1, 1]).tolist() == [-1, 1]
    with pytest.raises(ValueError, match="run from -1 to 1; they must be 0 or more; leave out samples without a class"):
        check_labels([-1, 1])


@pytest.mark.parametrize(
    "taker",
    [
        lambda labels: nclib.measure(FEATURES, labels),
        lambda labels: nclib.measure(FEATURES, labels, torch.ones(3, 3)),
        lambda labels: nclib.class_statistics(FEATURES, labels),
        lambda labels: nclib.ClassStatistics(3, 3).update(FEATURES, labels),
        lambda labels: nclib.class_ranks(FEATURES, labels),
        lambda labels: nclib.score(FEATURES, labels),
        lambda labels: nclib.leep(probabilities=FEATURES.softmax(1), labels=labels),
        lambda labels: nclib.poincare_constant(FEATURES, labels),
        lambda labels: geometric_complexity(torch.nn.Linear(3, 2), FEATURES).by_class(labels),
        lambda labels: nclib.NearestClassMean().fit(FEATURES, labels),
        lambda labels: nclib.NearestClassMean().fit(FEATURES, NUMBERS).score(FEATURES, labels),
        lambda labels: nclib.few_shot(FEATURES, labels, ways=2, shots=1, queries=1, episodes=2),
        lambda labels: nclib.few_shot(FEATURES, NUMBERS, ways=2, shots=1, queries=1, test=(FEATURES, labels)),
    ],
)
def test_all_that_takes_labels_says_which_is_missing(taker):
    for missing in (None, float("nan")):
        with pytest.raises(ValueError, match="in row 5, which is not a class"):
            taker([*NUMBERS[:5], missing])
    with pytest.raises(ValueError, match="masked, the first in row 5"):
        taker(np.ma.array(NUMBERS, mask=[0] * 5 + [1]))


def test_labels_of_another_kind_than_the_classes_are_an_error():
    with pytest.raises(TypeError, match=r"labels are texts \(a, b, ...\), and the classes numbers \(0, 1, 2\)"):
        check_same_kind(np.array(["a", "b"]), np.array([0, 1, 2]))
    with pytest.raises(TypeError, match=r"are numbers .* and the classes texts"):
        check_same_kind(np.array([0, 1]), np.array(["a", "b"], dtype=object))
    check_same_kind(np.array([7.0]), np.array([False, True]))
    check_same_kind(np.array([]), np.array(["a", "b"]))


WHOLE = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0], [0.0, 3.0]])  # the same in any type
TABLES = {
    "table": lambda: pd.DataFrame(WHOLE.numpy()),
    "nullable": lambda: pd.DataFrame(WHOLE.numpy()).astype("Float64"),
    "nullable float32": lambda: pd.DataFrame(WHOLE.numpy()).astype("Float32"),
    "two types": lambda: pd.DataFrame(WHOLE.numpy()).astype({0: "Float64", 1: "Int64"}),
    "nullable beside plain": lambda: pd.DataFrame(WHOLE.numpy()).astype({0: "Float32"}),
    "sparse columns": lambda: pd.DataFrame(WHOLE.numpy()).astype(pd.SparseDtype(float)),
    "categories of numbers": lambda: pd.DataFrame(WHOLE.numpy()).astype("category"),
    "rows of arrays": lambda: list(WHOLE.numpy()),
    "rows of tensors": lambda: list(WHOLE),
    "lists": lambda: WHOLE.tolist(),
    "read-only": lambda: np.broadcast_to(WHOLE.numpy(), (4, 2)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES.keys())
def test_tables_are_features_without_a_warning_and_give_the_right_numbers(make):
    assert dict(nclib.measure(make(), [0, 0, 1, 1])) == pytest.approx(dict(nclib.measure(WHOLE, [0, 0, 1, 1])))
    assert as_tensor(make()).tolist() == WHOLE.tolist()


def test_columns_of_arrow_are_features_of_their_own_type():
    pytest.importorskip("pyarrow")
    table = pd.DataFrame(WHOLE.numpy())
    assert as_tensor(table.astype("double[pyarrow]")).dtype == torch.float64
    assert as_tensor(table.astype("float[pyarrow]")).dtype == as_tensor(table.astype("Float32")).dtype == torch.float32
    assert as_tensor(table.astype("double[pyarrow]")).tolist() == WHOLE.tolist()


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (
            pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
            TypeError,
            "DataFrame is not .* it holds 'x', which is not a number; leave out",
        ),
        (pd.DataFrame({"a": [1.0, None]}, dtype="Float64"), ValueError, "hold NaN or infinity, the first in row 1"),
        (
            pd.DataFrame({"a": [1, 2]}, dtype="Int64"),
            TypeError,
            r"are torch.int64; .*; if they are numbers, .*float\(\)",
        ),
        (pd.DataFrame({"a": [1, None]}, dtype="Int64"), ValueError, "hold NaN or infinity, the first in row 1"),
        (pd.Series([np.ones(2), np.ones(2)]), TypeError, r"Series .* a ndarray; np.stack\(list\(rows\)\)"),
        (np.array([[1.0], [2.0]], dtype=object), TypeError, r"as objects; give its astype\(float\)"),
        (np.array([[1.0], [None]], dtype=object), TypeError, "it holds None, which is not a number"),
        ([np.ones(2), np.ones(3)], TypeError, "list is not a tensor or array of numbers: .* same shape"),
        ([torch.ones(2), torch.ones(3)], TypeError, "list is not a tensor or array of numbers: .* equal size"),
        (torch.ones(2, 1).to_sparse(), TypeError, r"torch.sparse_coo; it must be dense: give its to_dense\(\)"),
        (torch.ones(2, 1, device="meta"), TypeError, "on the device meta"),
        (sparse.csr_array([[1.0], [2.0]]), TypeError, r"csr_array .* it is sparse, .* give its toarray\(\)"),
        (pd.Series([1.0, 2.0]), ValueError, r"features \(2,\) .*; features.reshape\(-1, 1\) is \(N, 1\)"),
    ],
)
def test_features_of_no_numbers_are_an_error_with_a_cure(features, error, message):
    with pytest.raises(error, match=message):
        nclib.measure(features, [0, 1])


ONE_HOT = np.eye(3)[NUMBERS]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (ONE_HOT, r"labels.argmax\(1\) makes classes of one-hot rows"),
        (torch.tensor(ONE_HOT), r"labels.argmax\(1\) makes classes of one-hot rows"),
        (ONE_HOT.astype(bool), r"labels.argmax\(1\) makes classes of one-hot rows"),
        (pd.get_dummies(pd.Series(NUMBERS)), r"a DataFrame \(6, 3\); .*labels.to_numpy\(\).argmax\(1\)"),
        (np.array([NUMBERS]), r"labels\[0\] is \(N,\)"),
        (sparse.csr_matrix(ONE_HOT), r"give toarray\(\).argmax\(1\), if its rows are one-hot"),
        (sparse.coo_array(np.array(NUMBERS)), r"give toarray\(\).ravel\(\)"),
        (sparse.csr_matrix(np.array([NUMBERS])), r"give toarray\(\).ravel\(\)"),
    ],
)
def test_labels_of_another_shape_are_an_error_with_a_cure_that_works(labels, message):
    for taker in (nclib.measure, nclib.class_statistics, nclib.score):
        with pytest.raises((TypeError, ValueError), match=message):
            taker(FEATURES, labels)


def test_a_table_of_one_hot_labels_has_its_cure_in_probes_too():
    with pytest.raises(ValueError, match=r"labels.to_numpy\(\).argmax\(1\)"):
        nclib.LinearProbe().fit(FEATURES, pd.get_dummies(pd.Series(NUMBERS)))


def test_probabilities_may_be_a_table():
    given = FEATURES.softmax(1)
    found = nclib.score(FEATURES, NUMBERS, probabilities=pd.DataFrame(given.numpy()), scores=["leep"])
    assert found["leep"] == nclib.score(FEATURES, NUMBERS, probabilities=given, scores=["leep"])["leep"]


def test_masked_features_are_an_error_and_sparse_ones_have_a_cure():
    with pytest.raises(ValueError, match="1 entry is masked, the first in row 1"):
        as_tensor(np.ma.array([[1.0], [2.0]], mask=[[0], [1]]))
    with pytest.raises(TypeError, match=r"csr_matrix is not a tensor or array of numbers: .*; give its toarray\(\)"):
        as_tensor(sparse.csr_matrix([[1.0], [2.0]]))


@pytest.mark.parametrize(
    "given",
    [
        pa.table({"a": [1.0, 3.0], "b": [2.0, 4.0]}),
        pa.array([[1.0, 2.0], [3.0, 4.0]]),
        pa.chunked_array(
            [pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)), pa.array([[3.0, 4.0]], pa.list_(pa.float64(), 2))]
        ),
    ],
    ids=["a table", "lists", "lists of one length in two parts"],
)
def test_tables_and_lists_of_arrow_are_features(given):
    assert as_tensor(given).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert as_tensor(given).dtype == torch.float64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"NoneType is not a tensor or array of numbers; give an array \(N, d\)$"),
        ("x.npy", r"str is not a tensor .*, such as numpy\.load\(path\)"),
        (Path("x.npy"), r"Path is not a tensor .*, such as numpy\.load\(path\)"),
        ({"features": torch.eye(2)}, r"dict is not a tensor .*, such as values\['features'\]"),
        (
            np.array([["1.5"]]),
            r"ndarray is not a tensor .*: it holds <U3; if these are numbers, give its astype\(float\)",
        ),
        (np.array([["2020-01-01"]], dtype="M8[D]"), r"it holds datetime64\[D\]; if these are numbers"),
        (
            pa.array([[1.0, 2.0], None]),
            "ListArray is not a tensor .*: it holds None, which is not a number|it holds objects",
        ),
        (pa.array([[1.0, 2.0], [3.0]]), "ListArray is not a tensor or array of numbers: "),
    ],
)
def test_what_holds_no_numbers_says_what_does(given, message):
    with pytest.raises(TypeError, match=message):
        as_tensor(given)
    with pytest.raises(TypeError, match="is not a tensor or array of numbers"):
        nclib.measure(given, [0, 1])


def test_features_of_8_bits_say_what_makes_more_of_them():
    with pytest.raises(TypeError, match=r"float8_e5m2; .* of 16 to 64 bits; give features\.float\(\)"):
        nclib.measure(torch.eye(2).to(torch.float8_e5m2), [0, 1])


def test_messages_name_a_class_once():
    with pytest.raises(TypeError, match=r"labels are texts \(dog, cat\), and it is unknown which of 2 classes"):
        nclib.measure(torch.eye(4), ["dog", "dog", "cat", "cat"], torch.eye(2, 4))
    with pytest.raises(TypeError, match=r"labels are texts \(dog, cat\); they must be integers"):
        integer_labels(["dog", "dog", "cat"])


@pytest.mark.parametrize("value", ["2", None, True, np.bool_(True), 1j, [2], float("nan")])
def test_what_is_no_number_is_refused_by_its_name(value):
    with pytest.raises(ValueError, match=r"shots is .*; it must be "):
        check_least(1, shots=value)
    with pytest.raises(ValueError, match=r"shots is .*; it must be a whole number, at least 1"):
        check_whole(1, shots=value)


def test_numbers_of_any_library_are_numbers():
    check_least(0.5, share=np.float32(0.5), other=torch.tensor(0.5), third=np.array(2))
    check_whole(2, count=np.int64(2), other=torch.tensor(3), third=2)
    for part in (2.0, np.float64(3), torch.tensor(2.0)):
        with pytest.raises(ValueError, match="must be a whole number"):
            check_whole(1, count=part)


SEEDED = {
    "load": lambda seed: nclib.load("digits", per_class=1, seed=seed),
    "glyphs": lambda seed: nclib.load("glyphs/greek", per_class=1, seed=seed),
    "take": lambda seed: nclib.load("digits").take(1, seed=seed),
    "split_off": lambda seed: nclib.load("digits").split_off(0.5, seed=seed),
    "scenes": lambda seed: nclib.scenes("digits", number=1, seed=seed),
    "Recipe": lambda seed: nclib.Recipe(seed=seed),
    "geometric_complexity": lambda seed: geometric_complexity(torch.nn.Flatten(), torch.ones(2, 3), seed=seed),
    "nleep": lambda seed: nclib.nleep(torch.eye(4), [0, 0, 1, 1], per_class=1, seed=seed),
}


@pytest.mark.parametrize("seed", ["a", 1.5, None, True, -1])
@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_is_a_whole_number(name, seed):
    with pytest.raises(ValueError, match=rf"seed is {seed!r}; it must be (a whole number, )?at least 0"):
        SEEDED[name](seed)


def test_equal_seeds_of_any_library_draw_the_same():
    digits = nclib.load("digits", per_class=20)
    assert digits.take(2, seed=np.int64(3)).digest == digits.take(2, seed=3).digest
