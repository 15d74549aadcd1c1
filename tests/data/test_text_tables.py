"""Tables of texts as people have them: separators, columns, quotes, long texts, labels that are one in all files."""

import csv
import json

import pandas as pd
import pyarrow as pa
import pytest
import torch

import nclib

LONG = "long " * 40_000  # characters: the csv module stops at 131,072


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NCLIB_DATA", str(tmp_path))
    return tmp_path


def found(name="t.csv", split="train", **options):
    """Texts with the names of their classes, in the order of these."""
    read = nclib.texts(f"file:{name}", split, **options)
    return sorted(zip(read.texts, (read.classes[k] for k in read.labels), strict=True))


GOOD = {
    "plain": ("t.csv", "text,label\ngood,pos\nbad,neg\n"),
    "columns in another order": ("t.csv", "label,text\npos,good\nneg,bad\n"),
    "more columns": ("t.csv", "id, text ,stars,label\n1,good,5,pos\n2,bad,1,neg\n"),
    "semicolons": ("t.csv", "text;label\ngood;pos\nbad;neg\n"),
    "bars": ("t.csv", "text|label\ngood|pos\nbad|neg\n"),
    "tabs": ("t.tsv", "text\tlabel\ngood\tpos\nbad\tneg\n"),
    "empty lines, and Windows": ("t.csv", "\ufefftext,label\r\ngood,pos\r\n\r\nbad,neg\r\n \r\n"),
    "space around labels": ("t.csv", "text,label\ngood, pos\nbad,neg \n"),
    "JSON lines": ("t.jsonl", '{"text": "good", "label": "pos", "id": 1}\n\n{"label": "neg", "text": "bad"}\n'),
}


@pytest.mark.parametrize(("file", "content"), GOOD.values(), ids=GOOD)
def test_tables_as_people_have_them(file, content, root):
    (root / file).write_text(content, encoding="utf-8", newline="")
    assert found(file) == found(file, "all") == [("bad", "neg"), ("good", "pos")]


def test_all_texts_of_a_table_keep_its_order_however_it_is_named(root, monkeypatch):
    rows = [(f"{i} of a text", ("neg", "pos", "odd")[i * i % 3 + (i % 7 == 0)]) for i in range(20)]
    for split, part in (("train", rows), ("test", rows[::-3])):
        content = "".join(f"{text},{label}\n" for text, label in [("text", "label"), *part])
        (root / f"t_{split}.csv").write_text(content, encoding="utf-8")
    monkeypatch.chdir(root)
    expected = {"train": rows, "test": rows[::-3], "all": [*rows, *rows[::-3]]}
    for split, of_split in expected.items():
        for path in ("t_{split}.csv", "./t_{split}.csv", f"{root}/t_{{split}}.csv"):
            read = nclib.texts(f"file:{path}", split)
            assert read.classes == ("neg", "odd", "pos")
            assert read.labels.dtype == torch.int64
            assert list(zip(read.texts, (read.classes[k] for k in read.labels), strict=True)) == of_split
    assert list(nclib.texts("file:t_train.csv").texts) == [text for text, _ in rows]


def test_texts_that_are_drawn_are_those_that_were(root):
    (root / "t.csv").write_text("text,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)), encoding="utf-8")
    assert nclib.texts("file:t.csv", per_class=3).texts == ("4", "8", "10", "15", "11", "9")


def test_a_parquet_table(root):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"review": ["good", "bad"], "stars": pandas.Categorical(["pos", "neg"]), "id": [1, 2]})
    table.to_parquet(root / "t.parquet")
    columns = {"text_column": "review", "label_column": "stars"}
    assert found("t.parquet", **columns) == [("bad", "neg"), ("good", "pos")]
    with pytest.raises(
        ValueError, match="has the columns review, stars, id; it must have text and label, or name yours"
    ):
        found("t.parquet")
    table.assign(stars=[1, None]).to_parquet(root / "t.parquet")
    with pytest.raises(ValueError, match=r"row 1 has 1\.0 for stars; it must be a text or a whole number"):
        found("t.parquet", **columns)


def test_long_texts_and_quoted_ones_are_whole(root):
    with (root / "t.csv").open("w", newline="") as file:
        rows = [("text", "label"), (LONG, "a"), ('say "hi", twice\nor more', "b"), (f"{LONG}\nand on", "a")]
        csv.writer(file).writerows(rows)
    before = csv.field_size_limit()
    assert found() == sorted(rows[1:])
    assert csv.field_size_limit() == before


def test_texts_of_several_lines_may_hold_what_is_a_label(root):
    (root / "t.csv").write_text('text,label\n"Scores:\n1, 2, 3\nend",1\n"so\n2\nit is",2\n')
    assert found() == [("Scores:\n1, 2, 3\nend", "1"), ("so\n2\nit is", "2")]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_of_another_encoding_is_named(name, root):
    rows = {"t.csv": "text,label\nnaïve,pos\n", "t.jsonl": '{"text": "naïve", "label": "pos"}\n'}
    (root / name).write_text(rows[name], encoding="latin-1")
    with pytest.raises(ValueError, match=rf"{name} is not in UTF-8 \(.*\); save it in UTF-8"):
        found(name)


BAD = {
    "an open quote": ('text,label\n"great,pos\nbad,neg\nso "so",pos\n', r"line 2: .* expected after .*quote"),
    "an open quote that ends": (
        'text,label\n"great,pos\nbad,neg\nso so",pos\nx,neg\n',
        r"line 2 begins .* 'great,pos'",
    ),
    "a quote to the end": ('text,label\ngood,pos\n"bad,neg\nso,pos\n', r"line 3: unexpected end of data"),
    "an inch": ('text,label\ngood,pos\n"5" screen",neg\n', "line 3: .* write a quote within a quoted text twice"),
    "too many columns": (
        "text,label\ngood, and bad,pos\n",
        "line 2 has 3 columns; there must be 2, text,label: a text",
    ),
    "too few": ("text,label\ngood,pos\nbad\n", "line 3 has 1 column;"),
    "no label": ("text,label\ngood,pos\nbad,\n", "line 3 has no label"),
    "other columns": ("review;stars\ngood;5\n", "has the columns review, stars; it must have text and label, or name"),
    "columns of the same name": ("text,label,text\na,b,c\n", "two columns of the same name"),
    "nothing": ("", "has the columns none"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_a_table_that_cannot_be_read_says_where_and_why(content, message, root):
    (root / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        found()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{text: 1}", "line 2 is not JSON"),
        ('["a", "b"]', r"line 2 has the columns none"),
        ('{"text": "a"}', r"line 2 has the columns text; it must"),
        ('{"text": null, "label": "a"}', "line 2 has None for text"),
        ('{"text": "a", "label": null}', "line 2 has no label"),
        ('{"text": "a", "label": 1.5}', r"line 2 has 1\.5 for label"),
    ],
)
def test_a_line_of_json_that_cannot_be_read_says_why(row, message, root):
    (root / "t.jsonl").write_text(json.dumps({"text": "x", "label": 1}) + f"\n{row}\n")
    with pytest.raises(ValueError, match=message):
        found("t.jsonl")


def split_files(root, train, test, names=("train", "test")):
    for name, labels in zip(names, (train, test), strict=True):
        lines = "".join(f"{name} {i},{label}\n" for i, label in enumerate(labels))
        (root / f"t_{name}.csv").write_text("text,label\n" + lines)


def test_a_class_has_one_number_in_all_files(root):
    split_files(root, "abc", "cb")  # the test file lacks a
    test = nclib.texts("file:t_{split}.csv", "test")
    assert test.classes == ("a", "b", "c")
    assert dict(zip(test.texts, test.labels.tolist(), strict=True)) == {"test 0": 2, "test 1": 1}
    assert len(nclib.texts("file:t_{split}.csv", "all")) == 5
    split_files(root, "ab", "abd")
    with pytest.raises(ValueError, match="has texts of d in the test split but not in the training split"):
        nclib.texts("file:t_{split}.csv", "test")


def test_labels_that_look_alike_are_one_class(root):
    split_files(root, ("caf\u00e9", "tea", " tea"), ("cafe\u0301", "tea "))
    train, test = (nclib.texts("file:t_{split}.csv", split) for split in ("train", "test"))
    assert train.classes == test.classes == ("caf\u00e9", "tea")
    assert len(test.labels.unique()) == 2


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train", "validation"), ("training", "dev")])
def test_files_of_splits_have_other_names(names, root):
    split_files(root, "ab", "ab", names)
    assert set(nclib.texts("file:t_{split}.csv", "test").texts) == {f"{names[1]} 0", f"{names[1]} 1"}


@pytest.mark.parametrize("labels", [["dog", "cat"], pd.Series(["dog", "cat"]), [1, 0], torch.tensor([1, 0])])
def test_texts_of_ones_own_are_numbered(labels):
    given = ["it barks", "it purrs"]
    found = nclib.Texts(pd.Series(given), labels)
    assert found.digest == nclib.Texts(pa.array(given), labels).digest == nclib.Texts(given, labels).digest
    assert (found.texts, found.labels.tolist()) == (("it barks", "it purrs"), [1, 0])
    assert found.classes == (("0", "1") if labels[0] == 1 else ("cat", "dog"))


@pytest.mark.parametrize(
    ("texts", "labels", "error", "message"),
    [
        (["a", "b"], ["x"], ValueError, "there are 2 texts and 1 label; give one label for each text"),
        ("ab", ["x", "y"], ValueError, "texts are 'ab'; give a list of at least one text"),
        ({"ab"}, ["x"], ValueError, "texts are {'ab'}; give a list of at least one text"),  # a set has no order
        (None, ["x"], ValueError, "texts are None; give a list of at least one text"),
        ([], [], ValueError, r"texts are \[\]; give a list of at least one text"),
        (["a", None], ["x", "y"], TypeError, "texts hold None in row 1; they must be strings"),
        (["a", "b"], ["x", None], ValueError, "labels hold None in row 1, which is not a class"),
        # A table is an iterable of the names of its columns, which would be texts as good as any.
        (pd.DataFrame({"a": ["b"]}), ["x"], TypeError, r"texts are a table, DataFrame, of columns a; .*table\['a'\]"),
        (pa.table({"a": ["b"]}), ["x"], TypeError, r"texts are a table, Table, of columns a; .*table\['a'\]"),
        ({"a": ["b"], "c": ["d"]}, ["x", "y"], TypeError, r"texts are a table, dict, of columns a, c; give one"),
        (pa.array(["a", None]), ["x", "y"], TypeError, "texts hold None in row 1; .* leave out 1 row without a text"),
        ([("a", 1), ("b", 2)], ["x", "y"], TypeError, r"texts hold \('a', 1\) in row 0; they must be strings$"),
    ],
)
def test_texts_of_ones_own_that_are_none_say_so(texts, labels, error, message):
    with pytest.raises(error, match=message):
        nclib.Texts(texts, labels)
