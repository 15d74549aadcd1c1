"""Tiny data sets, laid out in a data root as torchvision wants them.

An image's red channel is 255 times its label, 0 or 1. Of an image in a file, the green channel says the
part that it was written for.
"""

import bz2
import json
import pickle

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

GREEN = {"train": 0, "val": 40, "test": 80, "": 120}
LABELS = [0, 1, 1, 0]


def picture(path, label, part="", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (255 * label, GREEN[part], 0)).save(path, "PNG")  # Pillow looks inside, not at the name
    return path


def text(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def pixels(*shape, labels=LABELS):
    """uint8 (N, *shape), all of an image 255 times its label."""
    return np.broadcast_to(255 * np.array(labels, np.uint8).reshape(-1, *[1] * len(shape)), (len(labels), *shape))


def idx(path, array):
    """The format of MNIST: big-endian uint8 or int32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (0x800 if array.dtype == np.uint8 else 0xC00) + array.ndim
    numbers = np.array([header, *array.shape], ">i4").tobytes()
    path.write_bytes(numbers + array.astype(array.dtype.newbyteorder(">")).tobytes())


def mnist(folder):
    def write(root):
        for prefix in ("train", "t10k"):
            idx(root / folder / "raw" / f"{prefix}-images-idx3-ubyte", pixels(28, 28))
            idx(root / folder / "raw" / f"{prefix}-labels-idx1-ubyte", np.array(LABELS, np.uint8))

    return write


def qmnist(root):
    for part in ("train", "test"):
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-images-idx3-ubyte", pixels(28, 28))
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-labels-idx2-int", np.array([[k] + [7] * 7 for k in LABELS], "i4"))


def emnist(kind, first):
    def write(root, images=None):
        for part in ("train", "test"):
            prefix = root / "EMNIST" / "raw" / f"emnist-{kind}-{part}"
            idx(prefix.with_name(f"{prefix.name}-images-idx3-ubyte"), pixels(28, 28) if images is None else images)
            idx(prefix.with_name(f"{prefix.name}-labels-idx1-ubyte"), np.array(LABELS, np.uint8) + first)

    return write


def usps(root):
    for name in ("usps.bz2", "usps.t.bz2"):
        lines = [f"{k + 1} " + " ".join(f"{i}:{2 * k - 1}" for i in range(1, 257)) + "\n" for k in LABELS]
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))


def cifar(folder, files, key, meta, names):
    def write(root):
        (root / folder).mkdir()
        for name in files:
            (root / folder / name).write_bytes(pickle.dumps({"data": pixels(3072).copy(), key: LABELS}))
        (root / folder / meta).write_bytes(pickle.dumps({names: ["cat", "dog"]}))

    return write


def svhn(root):
    for part in ("train", "test"):
        labels = np.array([k or 10 for k in LABELS])  # a 0 is called 10
        savemat(root / f"{part}_32x32.mat", {"X": pixels(32, 32, 3).transpose(1, 2, 3, 0), "y": labels[:, None]})


def stl10(root):
    text(root / "stl10_binary" / "class_names.txt", ["cat", "dog"])
    (root / "stl10_binary" / "unlabeled_X.bin").touch()
    for part in ("train", "test"):
        (root / "stl10_binary" / f"{part}_X.bin").write_bytes(pixels(3, 96, 96).tobytes())
        (root / "stl10_binary" / f"{part}_y.bin").write_bytes((np.array(LABELS, np.uint8) + 1).tobytes())


def dtd(root):
    for part in ("train", "val", "test"):
        names = [f"{'ab'[k]}/{part}_{i}.jpg" for i, k in enumerate(LABELS)]
        for name, k in zip(names, LABELS, strict=True):
            picture(root / "dtd/dtd/images" / name, k, part)
        text(root / "dtd/dtd/labels" / f"{part}1.txt", names)


def flowers102(root):
    number, ids = 0, {}
    for key, part in (("trnid", "train"), ("valid", "val"), ("tstid", "test")):
        ids[key] = range(number + 1, number + 5)
        for number, k in zip(ids[key], LABELS, strict=True):
            picture(root / "flowers-102/jpg" / f"image_{number:05d}.jpg", k, part)
    savemat(root / "flowers-102/setid.mat", {key: np.array(numbers) for key, numbers in ids.items()})
    savemat(root / "flowers-102/imagelabels.mat", {"labels": np.array(3 * LABELS) + 1})


def oxford_iiit_pet(root):
    for theirs, part in (("trainval", "train"), ("test", "test")):
        names = [f"{('Birman', 'great_dane')[k]}_{part}{i}" for i, k in enumerate(LABELS)]
        for name, k in zip(names, LABELS, strict=True):
            picture(root / "oxford-iiit-pet/images" / f"{name}.jpg", k, part)
        lines = [f"{name} {k + 1} 1 1" for name, k in zip(names, LABELS, strict=True)]
        text(root / "oxford-iiit-pet/annotations" / f"{theirs}.txt", lines)


def fgvc_aircraft(root):
    data = root / "fgvc-aircraft-2013b" / "data"
    text(data / "variants.txt", ["707-320", "Falcon 900"])
    for part in ("train", "val", "test"):
        for i, k in enumerate(LABELS):
            picture(data / "images" / f"{part}{i}.jpg", k, part)
        lines = [f"{part}{i} {('707-320', 'Falcon 900')[k]}" for i, k in enumerate(LABELS)]
        text(data / f"images_variant_{part}.txt", lines)


def food101(root):
    for part in ("train", "test"):
        names = {"apple_pie": [f"apple_pie/{part}{i}" for i in range(2)], "waffles": [f"waffles/{part}0"]}
        text(root / "food-101/meta" / f"{part}.json", [json.dumps(names)])
        for k, of_class in enumerate(names.values()):
            for name in of_class:
                picture(root / "food-101/images" / f"{name}.jpg", k, part)


def stanford_cars(root):
    cars = root / "stanford_cars"
    text(cars / "devkit/README.txt", [])
    savemat(cars / "devkit/cars_meta.mat", {"class_names": np.array(["Acura RL", "Audi V8"], object)})
    for part, annotations in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = [(f"{i}.jpg", np.uint8(k + 1)) for i, k in enumerate(LABELS)]
        savemat(cars / annotations, {"annotations": np.array(rows, [("fname", object), ("class", object)])})
        for name, k in rows:
            picture(cars / f"cars_{part}" / name, int(k) - 1, part)


def gtsrb(root):
    base = root / "gtsrb"
    for i, k in enumerate(LABELS):
        picture(base / "GTSRB/Training" / f"{k:05d}" / f"{i}.ppm", k, "train")
        picture(base / "GTSRB/Final_Test/Images" / f"{i}.ppm", k, "test")
    text(base / "GT-final_test.csv", ["Filename;ClassId", *(f"{i}.ppm;{k}" for i, k in enumerate(LABELS))])


def class_folders(folder, parts, names, suffix=".jpg", count=2):
    """``folder/part/class/number.jpg``; parts by the words of the set, with ours."""

    def write(root):
        for theirs, ours in parts.items():
            for k, name in enumerate(names):
                for i in range(1, count + 1):
                    picture(root / folder / theirs / name / f"image_{i:04d}{suffix}", k, ours)

    return write


def sun397(root):
    text(root / "SUN397/ClassName.txt", ["/a/abbey", "/b/bar/indoor"])
    for k, name in enumerate(("a/abbey", "b/bar/indoor")):
        for i in range(5):
            picture(root / "SUN397" / name / f"sun_{i}.jpg", k)


def caltech101(root):
    names = ("accordion", "yin_yang")
    class_folders("caltech101/101_ObjectCategories", {"": ""}, names, count=5)(root)
    picture(root / "caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg", 0)


def voc2007(root):
    """The last image of each part has objects of two classes."""
    folder = root / "VOCdevkit/VOC2007"
    for theirs, part in (("trainval", "train"), ("test", "test")):
        names = [f"{part}{i}" for i in range(len(LABELS) + 1)]
        text(folder / "ImageSets/Main" / f"{theirs}.txt", names)
        for name, classes in zip(names, [*([k] for k in LABELS), [0, 1]], strict=True):
            picture(folder / "JPEGImages" / f"{name}.jpg", classes[0], part)
            objects = "".join(f"<object><name>{('aeroplane', 'bicycle')[k]}</name></object>" for k in classes)
            text(folder / "Annotations" / f"{name}.xml", [f"<annotation>{objects}</annotation>"])


def imagenet(root):
    names = {"n1": ("crane",), "n2": ("maillot", "tank suit")}
    class_folders("imagenet", {"train": "train", "val": "test"}, names, ".JPEG")(root)
    torch.save((names, ["n1", "n2"]), root / "imagenet/meta.bin")


_BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
_TRAIN_VAL = {"train": "train", "val": "test"}

WRITERS = {
    "mnist": mnist("MNIST"),
    "fashion-mnist": mnist("FashionMNIST"),
    "kmnist": mnist("KMNIST"),
    "qmnist": qmnist,
    "emnist/letters": emnist("letters", first=1),
    "emnist/balanced": emnist("balanced", first=0),
    "usps": usps,
    "cifar10": cifar("cifar-10-batches-py", _BATCHES, "labels", "batches.meta", "label_names"),
    "cifar100": cifar("cifar-100-python", ["train", "test"], "fine_labels", "meta", "fine_label_names"),
    "svhn": svhn,
    "stl10": stl10,
    "dtd": dtd,
    "flowers102": flowers102,
    "oxford-iiit-pet": oxford_iiit_pet,
    "fgvc-aircraft": fgvc_aircraft,
    "food101": food101,
    "stanford-cars": stanford_cars,
    "gtsrb": gtsrb,
    "country211": class_folders("country211", {"train": "train", "valid": "val", "test": "test"}, ("AD", "AE")),
    "sun397": sun397,
    "eurosat": class_folders("eurosat/2750", {"": ""}, ("Forest", "River"), count=5),
    "caltech101": caltech101,
    "voc2007": voc2007,
    "imagenette": class_folders("imagenette2", _TRAIN_VAL, ("n01440764", "n02102040"), ".JPEG"),
    "imagenet": imagenet,
}
