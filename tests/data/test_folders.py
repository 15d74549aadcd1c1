"""Folders of images, with and without folders of splits."""

import pytest

import nclib
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
    (root / "pets/train/dog/notes.txt").touch()
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


def test_a_class_may_be_called_train(root):
    class_folders("vehicles", {"": ""}, ("car", "train"))(root)
    assert nclib.load("folder:vehicles", "all").classes == ("car", "train")


BAD_FOLDERS = {
    "only train": (["train/cat/1.jpg"], "unknown split 'test' of folder:x; there are train$"),
    "no classes": (["1.jpg"], "/x has no class folders"),
    "other classes": (
        ["train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", *(f"test/{k}/1.jpg" for k in range(9))],
        "x/train, .*x/test differ: train has dog; test has 0, 1, 2, 3, 4 and 4 more, which others lack",
    ),
    "an empty class": (["a/1.jpg", "b/1.txt", "c/d/1.jpg"], r"no image right in them \(\.jpg, .*\): b, c$"),
    "lone images": (["a/1.jpg", "a/2.jpg", "b/1.jpg"], "folder:x has classes of one image, .*: b; take split 'all'"),
}


@pytest.mark.parametrize(("files", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_folder_that_is_laid_out_otherwise_says_how(files, message, root):
    for file in files:
        picture(root / "x" / file, 0)
    with pytest.raises(ValueError, match=message):
        nclib.load("folder:x", "test")


def test_a_network_is_trained_on_a_folder(root):
    class_folders("pets", {"train": "train", "val": "test"}, ("cat", "dog"))(root)
    recipe = nclib.Recipe(source="folder:pets", per_class=None, width=4, epochs=1, batch_size=4)
    network = nclib.train(recipe, device="cpu", progress=False)
    test = nclib.load("folder:pets", "test").in_memory()
    assert network(test.inputs()).shape == (4, 2)
