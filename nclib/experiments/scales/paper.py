"""The paper scale: the published networks and data sets, for a GPU; what it would cost is in *Beyond one machine*."""

from dataclasses import replace
from functools import partial

from nclib.experiments.scales import lab
from nclib.experiments.scales.families import losses, resnet_sweep, vgg_sweep
from nclib.experiments.scales.scale import FineTuning, Geometry, Scale, Task, Zoo
from nclib.models.recipes import Recipe


def _whole(*names: str) -> tuple[Task, ...]:
    """Tasks of all images of data sets."""
    return tuple(Task(name, name, None, None) for name in names)


# Full-sized networks, ResNets with the stem of CIFAR; the number of images of a class is one that the batches divide.
_ten = Recipe(source="cifar10", per_class=4800, network="cifar_resnet", width=64, blocks=2, epochs=120, batch_size=200)
_hundred = replace(_ten, source="cifar100", per_class=400)
_small = replace(_ten, network="vgg11", blocks=1)
_vgg13 = replace(_ten, network="vgg")
_mini = "folder:mini_imagenet"  # made by workflow/make_folders.py; at 84 pixels the stem of small images will not do
_photographs = replace(_hundred, source=f"{_mini}[mini-imagenet/train]", network="resnet", size=84)
_batches = (100, 200, 400, 800, 1600)
_resnet, _vgg = partial(resnet_sweep, batches=_batches), partial(vgg_sweep, batches=_batches)
# What the paper penalises is a VGG-13 at this rate and batch, by these strengths; batches divide 48,640 images.
_penalties = (0.0, 1e-7, 1e-6, 1e-5, 1e-4)
_penalised = replace(_vgg13, per_class=4864, batch_size=256, learning_rate=0.01)
_sweeps = (
    _resnet("CIFAR-10, ResNet-18", _ten, ("cifar100", "svhn")),
    replace(
        _vgg("CIFAR-10, VGG-13", _vgg13, ("cifar100", "svhn"), penalties=_penalties),
        penalised=_penalised,
    ),
    _vgg("MNIST, VGG-11", replace(_small, source="mnist"), ("fashion-mnist", "emnist/letters")),
    _vgg("Fashion-MNIST, VGG-11", replace(_small, source="fashion-mnist"), ("mnist", "emnist/letters")),
    _resnet("CIFAR-100, ResNet-50", replace(_hundred, network="cifar_resnet50", blocks=1), ("cifar10", "svhn")),
    _resnet("CIFAR-FS, ResNet-18", replace(_hundred, source="cifar100[cifar-fs/train]"), ("cifar100[cifar-fs/test]",)),
    _resnet("mini-ImageNet, ResNet-18", _photographs, (f"{_mini}[mini-imagenet/test]",)),
)

# The 11 supervised networks, the 12 self-supervised ones and the data sets of the published accuracies; and ResNet-50s
# of other data and trainings.
_published = tuple(
    f"torchvision:{name}"
    for name in (
        *("resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet169", "densenet201"),
        *("mnasnet1_0", "mobilenet_v2", "googlenet", "inception_v3"),
    )
)
_self_supervised = (  # by workflow/make_weights.py, from what their authors published
    *("byol", "deepcluster-v2", "infomin", "insdis", "moco-v1", "moco-v2", "pcl-v1", "pcl-v2", "sela-v2"),
    *("simclr-v1", "simclr-v2", "swav"),
)
_resnet50s = (
    *("resnet50.tv_in1k", "resnet50.tv2_in1k", "resnet50.a1_in1k", "resnet50.a3_in1k", "resnet50.gluon_in1k"),
    *("resnet50.fb_ssl_yfcc100m_ft_in1k", "resnet50.fb_swsl_ig1b_ft_in1k", "resnet50.ram_in1k", "resnet50.am_in1k"),
)
_of_published = _whole(
    *("fgvc-aircraft", "caltech101", "stanford-cars", "cifar10", "cifar100", "dtd", "flowers102"),
    *("food101", "oxford-iiit-pet", "sun397", "voc2007"),
)
_of_resnet50s = _whole("cifar10", "dtd", "oxford-iiit-pet")

# As large as the networks of CIFAR, and trained in the ways that losses differ; tried on what they can see.
_by_loss = losses(replace(_hundred, per_class=None, epochs=200, augmentation=0.5, size=32))
_of_losses = _whole("cifar10", "svhn", "stl10")

_encoders = (
    *(f"sentence-transformers/all-{name}" for name in ("MiniLM-L6-v2", "MiniLM-L12-v2", "mpnet-base-v2")),
    *("google-bert/bert-base-uncased", "FacebookAI/roberta-base", "distilbert/distilbert-base-uncased"),
)
_on_texts = lab.SCALE.encoder_zoos[0].tasks

SCALE = Scale(
    recipe=replace(_hundred, per_class=None, epochs=200, batch_size=128, augmentation=0.5, size=32),
    tasks=("cifar10", "svhn", "stl10", "eurosat", f"{_mini}[mini-imagenet/test]"),
    train_per_class=400,
    test_per_class=None,
    seeds=(0, 1, 2),
    watched=500,
    models=(
        *("torchvision:" + name for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
        *("torchvision:" + name for name in ("densenet121", "densenet169", "densenet201")),
        *("torchvision:" + name for name in ("mobilenet_v2", "mnasnet1_0", "googlenet", "inception_v3")),
        *("torchvision:" + name for name in ("vit_b_16", "vit_b_32", "convnext_tiny", "swin_t")),
        "resnet50.a1_in1k",
        "resnet50.fb_ssl_yfcc100m_ft_in1k",
        "vit_base_patch16_224.augreg_in21k",
        "vit_small_patch14_dinov2.lvd142m",
        "convnext_tiny.fb_in22k",
        "mobilenetv3_large_100.ra_in1k",
    ),
    model_tasks=_whole(
        *("cifar10", "cifar100", "dtd", "flowers102", "oxford-iiit-pet", "fgvc-aircraft"),
        *("food101", "svhn", "stl10", "eurosat"),
    ),
    fine_tuning=FineTuning(
        models=("torchvision:resnet18", "torchvision:resnet50", "torchvision:vit_b_32"),
        tasks=_whole("dtd", "cifar10", "cifar100", "fgvc-aircraft", "oxford-iiit-pet"),
        scarce=(1, 2, 5, 10, 20, 40),
        scarce_tasks=_whole("dtd", "cifar100", "oxford-iiit-pet"),
        rate=dict.fromkeys(("linear", "last", "layer", "skip"), 1e-3) | {"full": 1e-4},
        epochs=30,
        rates=(1e-4, 3e-4, 1e-3),
    ),
    geometry=Geometry(_sweeps, per_class=20, estimated_per_class=4, truth_error=0.01),
    zoos=(
        Zoo(
            "architectures",
            _of_published,
            models=_published,
            weights="IMAGENET1K_V1",  # those that were fine-tuned
            method="published",
            repeats=1,
        ),
        Zoo(
            "self-supervised trainings",
            _of_published,
            models=_self_supervised,
            architecture="torchvision:resnet50",
            weights="self_supervised",
            method="published",
            repeats=1,
        ),
        Zoo("training losses", _of_losses, _by_loss, epochs=30),
        Zoo("source data sets", _of_resnet50s, models=_resnet50s, rates=(1e-4, 1e-3), epochs=30, repeats=1),
    ),
    scene_zoos=(replace(lab.SCALE.scene_zoos[0], models=_published, method="full", rates=(1e-4, 1e-3), epochs=30),),
    # The claim on words is about encoders of the hub, too, which at this scale are fine-tuned as others are.
    text_zoos=(
        *lab.SCALE.text_zoos,
        Zoo("encoders of the hub", _on_texts, models=_encoders, rates=(1e-5, 5e-5), epochs=5),
    ),
)
