"""The scripts that make folders and weights for paper scale, on tiny downloads of the right layout."""

import csv
import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet50
from typer.testing import CliRunner

import nclib
from nclib.data.class_splits import CLASS_SPLITS
from workflow import make_folders, make_weights

EACH = 5  # images of a class in the lists; there are two more in the archive


def tar_of(files):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def grey(level):
    written = io.BytesIO()
    Image.new("RGB", (100, 90), (level,) * 3).save(written, "JPEG")
    return written.getvalue()


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """ImageNet's archive, in which the number of an image is ten times its place and its level too, and the lists."""
    folder = tmp_path_factory.mktemp("download")
    for part in ("train", "val", "test"):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filename", "label"])
            for label in CLASS_SPLITS[f"mini-imagenet/{part}"]:
                rows.writerows([f"{label}{place:08d}.jpg", label] for place in range(2, 2 + EACH))
    classes = [label for name, labels in CLASS_SPLITS.items() if name.startswith("mini") for label in labels]
    of_class = {label: {f"{label}_{10 * n}.JPEG": grey(10 * n) for n in (7, 6, 5, 4, 3, 2, 1)} for label in classes}
    content = tar_of({f"{label}.tar": tar_of(images) for label, images in of_class.items()})
    (folder / "train.tar").write_bytes(content)
    return folder, hashlib.md5(content).hexdigest()


def test_mini_imagenet_is_made_of_the_listed_images_and_read_by_its_splits(download, tmp_path):
    folder, md5 = download
    arguments = ["mini-imagenet", str(folder / "train.tar"), str(folder), str(tmp_path / "mini_imagenet")]
    done = CliRunner().invoke(make_folders.app, [*arguments, "--md5", md5])
    assert done.exit_code == 0, done.output
    assert "sha256 of the lists: " in done.output
    assert f"{100 * EACH} images of 100 classes" in done.output
    made = nclib.load("folder:mini_imagenet[mini-imagenet/test]", "all", data_root=tmp_path).in_memory()
    assert made.images.shape == (20 * EACH, 3, 84, 84)
    assert made.images[:EACH].float().mean((1, 2, 3)).round().tolist() == [20, 30, 40, 50, 60]  # the second on
    wrong = CliRunner().invoke(make_folders.app, [*arguments, "--md5", "0" * 32])
    assert wrong.exit_code != 0
    assert "download it again" in wrong.output


def test_the_archive_is_held_against_torchvision_s_sum(download, tmp_path):
    folder, _ = download
    arguments = ["mini-imagenet", str(folder / "train.tar"), str(folder), str(tmp_path)]
    assert CliRunner().invoke(make_folders.app, arguments).exit_code != 0


def test_camvid_is_made_at_the_size_of_the_book(tmp_path):
    for part in ("train", "test"):
        for folder in (part, f"{part}annot"):
            (tmp_path / "CamVid" / folder).mkdir(parents=True)
        Image.new("RGB", (480, 360), (9, 9, 9)).save(tmp_path / "CamVid" / part / "one.png")
        labels = np.tile(np.arange(12, dtype=np.uint8), (360, 40))
        Image.fromarray(labels).save(tmp_path / "CamVid" / f"{part}annot" / "one.png")
    done = CliRunner().invoke(make_folders.app, ["camvid", str(tmp_path / "CamVid"), str(tmp_path / "camvid")])
    assert done.exit_code == 0, done.output
    scenes = nclib.scenes("folder:camvid", data_root=tmp_path)
    assert repr(scenes) == "Scenes(1 images of (3, 180, 240), 11 classes)"
    assert scenes.masks.min() == -1
    lacking = CliRunner().invoke(make_folders.app, ["camvid", str(tmp_path), str(tmp_path / "other")])
    assert lacking.exit_code != 0


def test_texts_are_read_as_they_are_published(tmp_path):
    files = {
        "ag_news_test.csv": '"3","Fears, for pension","Unions say ""no"""\n"4","The Race","is On"\n',
        "banking77_train.csv": 'text,category\n"Where is it, my card?",card\nWhy?,fee\n',
        "banking77_test.csv": "text,category\nWhy?,fee\n",
        "clinc150_data_full.json": '{"train": [["say hi", "greet"]], "test": [["say ho", "greet"]], "oos_test": []}',
        "stsa.fine.train": "4 a caf\u00e9 , funny\n",
        "stsa.fine.test": "0 dull\n",
        "TREC.test.all": "1 Who ?\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "TREC.train.all").write_bytes(b"0 What is a caf\xe9 ?\n\n5 When ?\n")
    done = CliRunner().invoke(make_folders.app, ["texts", str(tmp_path), str(tmp_path / "text")])
    assert done.exit_code == 0, done.output
    assert "trec: 2 to train, 1 to test, 2 classes" in done.output

    def read(name, split):
        found = nclib.texts(f"file:text/{name}_{{split}}.csv", split, data_root=tmp_path)
        return list(zip(found.texts, [found.classes[label] for label in found.labels], strict=True))

    assert read("trec", "train") == [("What is a caf\u00e9 ?", "0"), ("When ?", "5")]
    assert read("banking77", "train") == [("Where is it, my card?", "card"), ("Why?", "fee")]
    assert (tmp_path / "text" / "ag_news_train.csv").read_text() == (
        'text,label\n"Fears, for pension Unions say ""no""",3\n'
    )
    assert (tmp_path / "text" / "sst1_train.csv").read_text(encoding="utf-8").endswith('"a caf\u00e9 , funny",4\n')


@pytest.mark.parametrize("prefix", ["", "module.encoder_q."])
def test_weights_are_found_behind_any_prefix(tmp_path, prefix):
    state = {name: value for name, value in resnet50().state_dict().items() if not name.startswith("fc.")}
    kept = {f"{prefix}{name}": value for name, value in state.items() if "num_batches" not in name}
    path = tmp_path / "byol.pth.tar"
    torch.save({"epoch": 3, "state_dict": kept | {"module.head.0.weight": torch.zeros(2)}}, path)
    make_weights.main(path, tmp_path / "self_supervised" / "byol.safetensors")
    cell = {"model": "byol", "architecture": "torchvision:resnet50", "weights": "self_supervised/byol.safetensors"}
    run = nclib.start("paper", root=tmp_path, device="cpu", data_root=tmp_path)
    model, network = run.pretrained(cell, None)
    assert network is None
    assert model.classifier is None
    assert torch.equal(model.model.state_dict()["layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])
    with pytest.raises(
        FileNotFoundError, match=r"swav.safetensors is not at .*; put what workflow/make_weights.py makes"
    ):
        run.pretrained(cell | {"model": "swav", "weights": "self_supervised/swav.safetensors"}, None)


def test_a_checkpoint_without_a_resnet50_says_what_it_must_have(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(Exception, match=r"holds no ResNet-50 by torchvision's names"):
        make_weights.main(tmp_path / "other.pth", tmp_path / "other.safetensors")
