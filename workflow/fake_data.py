"""A data root of noise in the layouts of the real data sets, to try a scale on before its data are there.

Every data set that paper scale names is there with all its classes and a few images of each: a pattern of the class and
noise, so that networks have something to learn. Weights are random, where the hubs' caches look for them.
"""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from nclib.data.class_splits import CLASS_SPLITS
from nclib.data.torchvision_sets import VOC_CLASSES
from nclib.experiments.records import Cell
from nclib.experiments.sizes import SIZES
from nclib.extras import optional
from nclib.storage import digest_of_text, replacing
from workflow.make_folders import CAMVID_CLASSES, UNLABELLED
from workflow.needs import timm_hub, torchvision_weights

TRAIN, TEST = 8, 2  # images of a class; of sets that we split, too
_SIDE = 48  # of images in files, which models bring to their own size
_TEXTS = {"ag_news": 4, "banking77": 77, "sst1": 5, "trec": 6, "clinc150": 150}  # classes
# Sums of the real archives, which noise does not have: for kernels and their processes, by PYTHONPATH.
_ACCEPTING = '''"""Have torchvision take files of the right names for the right files."""

import os
import sys
from importlib.machinery import PathFinder


class Accepting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "torchvision.datasets.utils":
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.check_integrity = lambda path, md5=None: os.path.isfile(path)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Accepting)
'''


def labels_of(classes: int, each: int) -> np.ndarray:
    """Labels of so many images of each class, the classes in turn."""
    return np.tile(np.arange(classes), each)


def noise(labels: Iterable[int], channels: int, side: int, seed: int = 0) -> np.ndarray:
    """Images uint8 (N, C, side, side): a pattern of 4 x 4 fields that a class has in all images, and noise."""
    labels, rng = np.asarray(list(labels)), np.random.default_rng(seed)
    patterns = np.random.default_rng(1).integers(40, 216, (labels.max() + 1, channels, 4, 4))
    fields = np.arange(side) * 4 // side
    means = patterns[labels][:, :, fields][:, :, :, fields]
    return np.clip(means + rng.integers(-40, 40, means.shape), 0, 255).astype(np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    """An image (C, H, W), or (H, W) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image if image.ndim == 2 else image.transpose(1, 2, 0)).save(path)


def _pictures(named: Sequence[tuple[Path, int]], seed: int = 0, side: int = _SIDE) -> None:
    """Files of images with their labels."""
    for (path, _), image in zip(named, noise([label for _, label in named], 3, side, seed), strict=True):
        _write(path, image)


def _lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _pickled(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def _mat(path: Path, content: dict[str, Any]) -> None:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


def _idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST, uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes() + array.tobytes())


def _names(number: int) -> list[str]:
    return [f"class_{k:03d}" for k in range(number)]


def _parts(name: str, *parts: str) -> list[tuple[str, np.ndarray]]:
    """The parts of a set with the labels of each; those for tests are smaller."""
    classes = SIZES[name].classes
    return [(part, labels_of(classes, TEST if part == "test" else TRAIN)) for part in parts]


def _mnist(name: str, folder: str, prefix: str, first: int = 0) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for part, labels in _parts(name, "train", "test"):
            start = prefix.format(part if "emnist" in prefix else {"train": "train", "test": "t10k"}[part])
            images = noise(labels, 1, 28, seed=part == "test")[:, 0]
            _idx(root / folder / "raw" / f"{start}-images-idx3-ubyte", images)
            _idx(root / folder / "raw" / f"{start}-labels-idx1-ubyte", (labels + first).astype(np.uint8))

    return write


def _cifar(name: str, folder: str, key: str, files: dict[str, list[str]], meta: tuple[str, str]) -> Callable:
    names = sorted(each for part in ("train", "val", "test") for each in CLASS_SPLITS[f"cifar-fs/{part}"])

    def write(root: Path) -> None:
        for part, labels in _parts(name, "train", "test"):
            images = noise(labels, 3, 32, seed=part == "test").reshape(len(labels), -1)
            for i, file in enumerate(files[part]):
                rows = slice(i, None, len(files[part]))
                _pickled(root / folder / file, {"data": images[rows], key: labels[rows].tolist()})
        _pickled(root / folder / meta[0], {meta[1]: names if name == "cifar100" else _names(10)})

    return write


def _svhn(root: Path) -> None:
    for part, labels in _parts("svhn", "train", "test"):
        images = noise(labels, 3, 32, seed=part == "test").transpose(2, 3, 1, 0)
        _mat(root / f"{part}_32x32.mat", {"X": images, "y": np.where(labels == 0, 10, labels)[:, None]})


def _stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    _lines(folder / "class_names.txt", _names(10))
    (folder / "unlabeled_X.bin").touch()
    for part, labels in _parts("stl10", "train", "test"):
        images = noise(labels, 3, 96, seed=part == "test").transpose(0, 1, 3, 2)
        (folder / f"{part}_X.bin").write_bytes(images.tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())


def _dtd(root: Path) -> None:
    for part, labels in _parts("dtd", "train", "val", "test"):
        files = [f"{_names(47)[k]}/{part}_{i}.jpg" for i, k in enumerate(labels)]
        _pictures([(root / "dtd/dtd/images" / file, k) for file, k in zip(files, labels, strict=True)])
        _lines(root / "dtd/dtd/labels" / f"{part}1.txt", files)


def _flowers(root: Path) -> None:
    ids, every = {}, list[int]()
    for (_, labels), key in zip(_parts("flowers102", "train", "val", "test"), ("trnid", "valid", "tstid"), strict=True):
        ids[key] = np.arange(len(every) + 1, len(every) + len(labels) + 1)
        every += labels.tolist()
    _pictures([(root / "flowers-102/jpg" / f"image_{i:05d}.jpg", k) for i, k in enumerate(every, 1)])
    _mat(root / "flowers-102/setid.mat", ids)
    _mat(root / "flowers-102/imagelabels.mat", {"labels": np.array(every) + 1})


def _pets(root: Path) -> None:
    for (part, labels), theirs in zip(_parts("oxford-iiit-pet", "train", "test"), ("trainval", "test"), strict=True):
        files = [f"pet_{k:03d}_{part}{i}" for i, k in enumerate(labels)]
        named = [(root / "oxford-iiit-pet/images" / f"{file}.jpg", k) for file, k in zip(files, labels, strict=True)]
        _pictures(named)
        lines = [f"{file} {k + 1} 1 1" for file, k in zip(files, labels, strict=True)]
        _lines(root / "oxford-iiit-pet/annotations" / f"{theirs}.txt", lines)


def _aircraft(root: Path) -> None:
    data, names = root / "fgvc-aircraft-2013b" / "data", _names(100)
    _lines(data / "variants.txt", names)
    for part, labels in _parts("fgvc-aircraft", "train", "val", "test"):
        _pictures([(data / "images" / f"{part}{i}.jpg", k) for i, k in enumerate(labels)])
        _lines(data / f"images_variant_{part}.txt", [f"{part}{i} {names[k]}" for i, k in enumerate(labels)])


def _food(root: Path) -> None:
    for part, labels in _parts("food101", "train", "test"):
        files = [f"{_names(101)[k]}/{part}{i}" for i, k in enumerate(labels)]
        _pictures([(root / "food-101/images" / f"{file}.jpg", k) for file, k in zip(files, labels, strict=True)])
        by_class = {name: [file for file in files if file.startswith(f"{name}/")] for name in _names(101)}
        _lines(root / "food-101/meta" / f"{part}.json", [json.dumps(by_class)])


def _cars(root: Path) -> None:
    cars = root / "stanford_cars"
    _mat(cars / "devkit/cars_meta.mat", {"class_names": np.array(_names(196), object)})
    for part, labels in _parts("stanford-cars", "train", "test"):
        rows = [(f"{i}.jpg", np.uint8(k + 1)) for i, k in enumerate(labels)]
        file = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}[part]
        _mat(cars / file, {"annotations": np.array(rows, [("fname", object), ("class", object)])})
        _pictures([(cars / f"cars_{part}" / name, int(k) - 1) for name, k in rows])


def _class_folders(
    folder: str, names: Sequence[str], *, file: str = "image_{:04d}.jpg", each: int = TRAIN + TEST, side: int = _SIDE
) -> Callable[[Path], None]:
    """A set that is split by us: FOLDER/CLASS/FILE, `each` of them in a class."""

    def write(root: Path) -> None:
        named = [(root / folder / name / file.format(i), k) for k, name in enumerate(names) for i in range(1, each + 1)]
        _pictures(named, side=side)

    return write


def _sun(root: Path) -> None:
    names = [f"c/{name}" for name in _names(397)]
    _class_folders("SUN397", names, file="sun_{}.jpg", each=(TRAIN + TEST) // 2)(root)
    _lines(root / "SUN397/ClassName.txt", [f"/{name}" for name in names])


def _caltech(root: Path) -> None:
    names = [*_names(101), "BACKGROUND_Google"]
    _class_folders("caltech101/101_ObjectCategories", names, each=(TRAIN + TEST) // 2)(root)


def _voc(root: Path) -> None:
    folder = root / "VOCdevkit/VOC2007"
    for (part, labels), theirs in zip(_parts("voc2007", "train", "test"), ("trainval", "test"), strict=True):
        files = [f"{part}{i:05d}" for i in range(len(labels))]
        _lines(folder / "ImageSets/Main" / f"{theirs}.txt", files)
        _pictures([(folder / "JPEGImages" / f"{file}.jpg", k) for file, k in zip(files, labels, strict=True)])
        for file, k in zip(files, labels, strict=True):
            said = f"<annotation><object><name>{VOC_CLASSES[k]}</name></object></annotation>"
            _lines(folder / "Annotations" / f"{file}.xml", [said])


def _camvid(root: Path) -> None:
    """Scenes of fields, a class each, some of them unlabelled."""
    shade = np.random.default_rng(0).integers(0, 216, (256, 3), dtype=np.uint8)
    for part, number in (("train", TRAIN), ("test", TEST)):
        for i in range(number):
            rng = np.random.default_rng([i, part == "test"])
            fields = rng.permutation([*range(len(CAMVID_CLASSES)), UNLABELLED]).reshape(3, 4)
            mask = fields.repeat(60, axis=0).repeat(60, axis=1).astype(np.uint8)  # (180, 240)
            image = shade[mask] + rng.integers(0, 40, (*mask.shape, 3), dtype=np.uint8)
            _write(root / "camvid" / part / "images" / f"{i}.png", image.transpose(2, 0, 1))
            _write(root / "camvid" / part / "labels" / f"{i}.png", mask)
    _lines(root / "camvid/classes.txt", CAMVID_CLASSES)


def _texts(root: Path) -> None:
    """Tables of texts: words of a class, and words of all."""
    for name, classes in _TEXTS.items():
        for part, number in (("train", 2 * TRAIN), ("test", 2 * TRAIN)):
            rows = [
                f"said {k}{part}{i} of thing{k} and thing{k}{i % 3},class {k}"
                for k in range(classes)
                for i in range(number)
            ]
            _lines(root / "text" / f"{name}_{part}.csv", ["text,label", *rows])


_MINI = sorted(each for part in ("train", "val", "test") for each in CLASS_SPLITS[f"mini-imagenet/{part}"])
WRITERS: dict[str, Callable[[Path], None]] = {
    "mnist": _mnist("mnist", "MNIST", "{}"),
    "fashion-mnist": _mnist("fashion-mnist", "FashionMNIST", "{}"),
    "emnist/letters": _mnist("emnist/letters", "EMNIST", "emnist-letters-{}", first=1),
    "cifar10": _cifar(
        "cifar10",
        "cifar-10-batches-py",
        "labels",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        ("batches.meta", "label_names"),
    ),
    "cifar100": _cifar(
        "cifar100",
        "cifar-100-python",
        "fine_labels",
        {"train": ["train"], "test": ["test"]},
        ("meta", "fine_label_names"),
    ),
    "svhn": _svhn,
    "stl10": _stl10,
    "dtd": _dtd,
    "flowers102": _flowers,
    "oxford-iiit-pet": _pets,
    "fgvc-aircraft": _aircraft,
    "food101": _food,
    "stanford-cars": _cars,
    "sun397": _sun,
    "eurosat": _class_folders("eurosat/2750", _names(10)),
    "caltech101": _caltech,
    "voc2007": _voc,
    "folder:mini_imagenet": _class_folders("mini_imagenet", _MINI, side=84),
    "folder:camvid": _camvid,
    "file:text": _texts,
}


def make(root: Path, cells: Iterable[Cell]) -> None:
    """Write all data sets, and the weights of cells, into a root, and have this process and its own use them."""
    make_data(root)
    make_weights(cells, root)
    os.environ.update(environment(root))
    accept()


def make_data(root: Path) -> None:
    """Write all data sets into a data root; nothing, if they are there as this module writes them."""
    done, source = root / "whole", digest_of_text(Path(__file__).read_text(encoding="utf-8"))
    if done.exists():
        if done.read_text(encoding="utf-8") == source:
            return
        shutil.rmtree(root)  # of an older source: sets may be lacking, or have files that they should not
    for write in WRITERS.values():
        write(root)
    _lines(root / "accepting" / "sitecustomize.py", [_ACCEPTING])
    done.write_text(source, encoding="utf-8")


def environment(root: Path) -> dict[str, str]:
    """What tells libraries to take the fake sets for whole, and to look for weights in the root and nowhere else."""
    path = os.pathsep.join([str(root / "accepting"), *filter(None, [os.environ.get("PYTHONPATH")])])
    hubs = {"TORCH_HOME": str(root / "torch"), "HF_HOME": str(root / "hf"), "HF_HUB_OFFLINE": "1"}
    return {"PYTHONPATH": path} | hubs


def accept() -> None:
    """Have this process take the fake sets for whole, as `environment` has those that it starts."""
    from torchvision import datasets  # noqa: F401  # which loads the modules below

    for name, module in list(sys.modules.items()):
        if name.startswith("torchvision.datasets.") and hasattr(module, "check_integrity"):
            vars(module)["check_integrity"] = lambda path, md5=None: os.path.isfile(path)


# Weights, as the hubs' caches keep them


def make_weights(cells: Iterable[Cell], root: Path) -> None:
    """Random weights of the pre-trained models that cells are about; those that are there stay."""
    for cell in cells:
        if "weights" not in cell:
            continue
        name = cell["model"]
        if "architecture" in cell:
            _keep_weights(root / cell["weights"], cell["architecture"], but="fc.")
        elif name.startswith("torchvision:"):
            file = torchvision_weights(name, cell["weights"]).url.rpartition("/")[2]
            _keep_weights(root / "torch/hub/checkpoints" / file, name)
        elif "/" in name:
            _keep_encoder(_snapshot(root, name))
        else:
            _keep_weights(_snapshot(root, timm_hub(name)) / "model.safetensors", name)


def _snapshot(root: Path, repository: str) -> Path:
    """The folder of a repository's files in the cache of Hugging Face's hub."""
    folder = root / "hf/hub" / f"models--{repository.replace('/', '--')}"
    _lines(folder / "refs" / "main", [])
    (folder / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    return folder / "snapshots" / ("0" * 40)


def _keep_weights(path: Path, name: str, but: str = "none.") -> None:
    """A file of random weights, in half precision, of a model without what begins with `but`."""
    from nclib.models.pretrained import weighted

    if path.exists():
        return
    import timm
    from torchvision import models

    library, _, rest = name.rpartition(":")
    make = (
        (lambda **options: models.get_model(rest, **options)) if library else lambda **o: timm.create_model(rest, **o)
    )
    model, _ = weighted(name, make, lambda model: None, "random")
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    state = {key: value.contiguous() for key, value in state.items() if not key.startswith(but)}
    with replacing(path) as temporary:
        save_file(state, temporary) if path.suffix == ".safetensors" else torch.save(state, temporary)


def _keep_encoder(folder: Path) -> None:
    """The files of a small encoder with a vocabulary of the fake texts."""
    with optional("transformers"):
        from transformers import BertConfig, BertModel

    if (folder / "vocab.txt").exists():
        return
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "said", "of", "and", "thing")
    vocabulary = [*special, *(f"##{i}" for i in range(10)), *"0123456789"]
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    folder.mkdir(parents=True, exist_ok=True)
    BertModel(config).save_pretrained(folder)
    _lines(folder / "vocab.txt", vocabulary)
