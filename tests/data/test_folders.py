"""Folders of images, with and without folders of splits."""

import pytest

import nclib
from nclib.data.catalogue import data_name, training_images
from tests.layouts import GREEN, class_folders, picture


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NCLIB_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("where", ["pets", "{root}/pets", "~/pets"])
@pytest.mark.parametrize("second", ["test", "val"])
def test_a_folder_with_splits(second, where, root, monkeypatch):
    class_folders("pets", {"train": "train", second: "test"}, ("cat", "dog"), ".JPG")(root)
    picture(root / "pets/train/cat/.hidden.jpg", 1)
    picture(root / "pets/.cache/x.jpg", 1)
    (root / "pets/train/dog/Thumbs.db").touch()
    picture(root / "pets/__MACOSX/train/x.jpg", 1)
    monkeypatch.setenv("HOME", str(root))
    if where != "pets":
        monkeypatch.delenv("NCLIB_DATA")
    name = f"folder:{where.format(root=root)}"
    train, test = nclib.load(name), nclib.load(name, "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert [path.relative_to(root / "pets").as_posix() for path in train.paths] == [
        f"train/{name}/image_000{i}.JPG" for name in ("cat", "dog") for i in (1, 2)
    ]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert test.image(3).getpixel((0, 0)) == (255, GREEN["test"], 0)


def test_a_folder_may_have_a_validation_split(root):
    class_folders("pets", {part: part for part in ("train", "val", "test")}, ("cat", "dog"))(root)
    for split in ("train", "val", "test"):
        assert nclib.load("folder:pets", split).image(0).getpixel((0, 0)) == (0, GREEN[split], 0)
    whole, parts = nclib.load("folder:pets", "all"), [nclib.load("folder:pets", split) for split in GREEN if split]
    assert sorted(whole.paths) == sorted(path for part in parts for path in part.paths)
    assert whole.labels.tolist() == [int(path.parent.name == "dog") for path in whole.paths]
    assert len(training_images("folder:pets", "all")[0]) == 12
    assert len(training_images("folder:pets", None)[0]) == 4  # of data with splits, those to train on
    digits = nclib.load("digits", "all")
    assert len(digits) == 1797
    assert len(digits.take(3)) == len(nclib.load("digits", "all", per_class=3)) == 30


def test_a_class_may_be_called_train(root):
    class_folders("vehicles", {"": ""}, ("car", "train"))(root)
    assert nclib.load("folder:vehicles", "all").classes == ("car", "train")


BAD_FOLDERS = {
    "only train": (["train/cat/1.jpg"], "unknown split 'test' of folder:x; there are train, all$"),
    "no classes": (["1.jpg"], "/x has no class folders"),
    "other classes": (
        ["train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", *(f"test/{k}/1.jpg" for k in range(9))],
        "x/train, .*x/test differ: train has dog; test has 0, 1, 2, 3, 4 and 4 more, which others lack",
    ),
    "an empty class": (["a/1.jpg", "b/1.txt"], r"without an image directly in them \(\.jpg, .*\): b$"),
    "folders within": (
        ["a/1.jpg", "c/d/1.jpg", "c/e/1.jpg"],
        "directly in them .*: c; 2 are in folders within, which may",
    ),
    "two names of train": (["train/a/1.jpg", "Training/a/1.jpg", "test/a/1.jpg"], "x has Training, train, which name"),
    "lone images": (["a/1.jpg", "a/2.jpg", "b/1.jpg"], "folder:x has classes of one image, .*: b; use split 'all'"),
}


@pytest.mark.parametrize(("files", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_folder_that_is_laid_out_otherwise_says_how(files, message, root):
    for file in files:
        picture(root / "x" / file, 0)
    with pytest.raises(ValueError, match=message):
        nclib.load("folder:x", "test")


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train", "valid"), ("TRAIN", "validation")])
def test_splits_have_other_names(names, root):
    class_folders("pets", dict(zip(names, ("train", "test"), strict=True)), ("cat", "dog"))(root)
    assert nclib.load("folder:pets", "train").image(0).getpixel((0, 0)) == (0, GREEN["train"], 0)
    assert nclib.load("folder:pets", "test").image(0).getpixel((0, 0)) == (0, GREEN["test"], 0)


def test_folders_within_a_class_belong_to_it_and_what_is_left_out_is_counted_and_named(root):
    for file in ("cat/1.jpg", "cat/more/2.jfif", "cat/more/deep/3.avif", "dog/1.JPE", "dog/2.apng"):
        picture(root / "x" / file, 0)
    assert [path.stem for path in nclib.load("folder:x", "all").paths] == ["1", "2", "3", "1", "2"]
    for file in ("cat/1.heic", "cat/more/2.HEIC", "dog/readme", "stray.png"):
        picture(root / "x" / file, 0)
    with pytest.warns(UserWarning, match=r"files left out: 2 \.heic, 1 without a suffix, 1 \.png, such as .*1\.heic"):
        assert len(nclib.load("folder:x", "all")) == 5


def test_class_names_are_compared_in_one_form_of_unicode(root):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for file in (f"train/{composed}/1.jpg", "train/tea/1.jpg", f"test/{decomposed}/1.jpg", "test/tea/1.jpg"):
        picture(root / "x" / file, 0)
    train, test = (nclib.load("folder:x", split) for split in ("train", "test"))
    assert train.classes == test.classes == (composed, "tea")
    picture(root / f"x/train/{decomposed}/2.jpg", 0)
    with pytest.raises(ValueError, match=f"two folders '{composed}', which differ in the form"):
        nclib.load("folder:x", "train")


def test_a_folder_may_have_brackets_in_its_name(root):
    for file in ("a/1.jpg", "b/1.jpg", "c/1.jpg"):
        picture(root / "set[0:2]" / file, 0)
    assert nclib.load("folder:set[0:2]", "all").classes == ("a", "b", "c")
    assert nclib.load("folder:set[0:2][1:3]", "all").classes == ("b", "c")


def test_a_data_set_goes_before_a_folder_of_its_name(root, monkeypatch):
    monkeypatch.chdir(root)
    for file in ("digits/a/1.jpg", "digits/b/1.jpg", "pets/a/1.jpg", "pets/b/1.jpg"):
        picture(root / file, 0)
    with pytest.warns(UserWarning, match="digits is the data set, not the folder here; the folder is folder:digits"):
        assert training_images("digits", "train")[0].classes == tuple("0123456789")
    assert training_images("./digits", None)[0].classes == training_images("pets", None)[0].classes == ("a", "b")
    (root / "usps").touch()
    assert data_name("usps") == "usps"


def test_a_network_is_trained_on_a_folder(root):
    class_folders("pets", {"train": "train", "val": "test"}, ("cat", "dog"))(root)
    recipe = nclib.Recipe(source="folder:pets", per_class=None, width=4, epochs=1, batch_size=4)
    network = nclib.train(recipe, device="cpu", progress=False)
    test = nclib.load("folder:pets", "test").in_memory()
    assert network(test.inputs()).shape == (4, 2)
