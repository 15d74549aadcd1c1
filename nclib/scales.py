"""Scales: one table of settings each, so that no notebook branches on how large it runs."""

from dataclasses import dataclass, replace

from nclib import sweeps, zoos
from nclib.sweeps import Sweep
from nclib.tasks import SceneTask, Task
from nclib.training import Recipe
from nclib.words import TextRecipe
from nclib.zoos import Zoo


@dataclass(frozen=True)
class FineTuning:
    """What a scale fixes for the studies of fine-tuning.

    `models` are named, or there is the `recipe` of the one network. `scarce` are the numbers of images a class, the
    last being all, that the methods are given of the first of the `tasks`, in so many `draws`. `layers` (by their
    place in `Backbone.layers`) are the candidates for the one that is tuned, and `rates` the learning rates of every
    method, of which validation chooses; `all_layers` are compared. Every method is tried with so many of the seeds,
    which are those of the networks or, of named models, those of the training: its `repeats`.
    """

    tasks: tuple[Task, ...]
    scarce: tuple[int, ...]
    epochs: int
    recipe: Recipe | None = None
    models: tuple[str, ...] = ()
    draws: int = 5
    repeats: int = 3
    layers: tuple[int, ...] = (-5, -4)
    all_layers: tuple[int, ...] = (-7, -4, -2)
    rates: tuple[float, ...] = (2e-3, 1e-2)
    augmentation: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """What a scale fixes for the studies of geometric complexity.

    The networks of the `sweeps` are compared where their training loss has fallen to `loss`, and tried in so many
    few-shot `episodes` on each of the new data sets, of which `new_per_class` images are used. Complexity is that of
    `per_class` training images; how few of them do is seen on `population_per_class`.
    """

    sweeps: tuple[Sweep, ...]
    loss: float = 0.1
    per_class: int = 4
    population_per_class: int = 10
    new_per_class: int = 20
    episodes: int = 600


@dataclass(frozen=True)
class Scale:
    """What a scale fixes for every chapter.

    `recipe` is the base that the studies of networks trained here vary, `tasks` are their downstream data
    sets, of which `train_per_class` and `test_per_class` images are used, and `seeds` are those of the
    networks. `models` are pre-trained models, for `nclib.backbone`, and `model_tasks` what they are tried
    on; without models the networks trained here stand in for them. Of each of the `zoos` the best model is chosen,
    of `scene_zoos` for tasks of pixels, of `text_zoos` for tasks of words; those of `encoder_zoos` are Hugging Face's.
    `device` is what a run computes on if it is not told: a scale of small networks gains nothing from a GPU.
    """

    recipe: Recipe
    tasks: tuple[str, ...]
    train_per_class: int
    test_per_class: int
    seeds: tuple[int, ...]
    fine_tuning: FineTuning
    geometry: Geometry
    zoos: tuple[Zoo, ...]
    scene_zoos: tuple[Zoo, ...]
    text_zoos: tuple[Zoo, ...]
    models: tuple[str, ...] = ()
    model_tasks: tuple[Task, ...] = ()
    encoder_zoos: tuple[Zoo, ...] = ()
    device: str = "auto"


_GLYPHS = ("glyphs/greek", "glyphs/cyrillic", "glyphs/armenian", "glyphs/georgian", "digits")

SCALES = {
    "demo": Scale(
        recipe=Recipe(source="glyphs/latin", per_class=60, width=16, epochs=16),
        tasks=_GLYPHS,
        train_per_class=40,
        test_per_class=40,
        seeds=(0, 1, 2),
        model_tasks=tuple(Task(name, name, 40, 40) for name in _GLYPHS),
        fine_tuning=FineTuning(
            recipe=Recipe(source="glyphs/latin", per_class=60, width=16, blocks=2, epochs=24, augmentation=1.0),
            tasks=tuple(Task(name, name, 20, 40) for name in ("glyphs/georgian", "glyphs/greek", "digits")),
            scarce=(2, 5, 20),
            epochs=8,
        ),
        geometry=Geometry(sweeps.DEMO, episodes=300),
        zoos=zoos.DEMO,
        scene_zoos=zoos.DEMO_SCENES,
        text_zoos=zoos.DEMO_TEXTS,
        device="cpu",
    ),
    "lab": Scale(
        recipe=Recipe(source="fashion-mnist", per_class=600, width=16, epochs=16),
        tasks=("mnist", "digits", "glyphs/latin", "glyphs/greek"),
        train_per_class=80,
        test_per_class=80,
        seeds=(0, 1, 2),
        fine_tuning=FineTuning(
            models=("bank_mbv2_w035", "bank_mcunet_5fps", "bank_proxyless_w030"),  # no batch norm without statistics
            tasks=(
                Task("dtd (10 classes, 160 px)", "folder:dtd10", 40, 40),
                Task("cifar10 (JPEG copy)", "folder:cifar10", 40, 50),
                Task("fashion-mnist", "fashion-mnist", 40, 50),
                Task("flowers102 (5 + 8, 160 px)", "folder:flowers102", 5, 8),
            ),
            scarce=(2, 10, 40),
            repeats=1,
            layers=(-6, -5),  # a tenth of the parameters at most, the head of ten classes included
            rates=(1e-4, 1e-3),
            epochs=8,
        ),
        geometry=Geometry(sweeps.LAB, per_class=10, population_per_class=24, new_per_class=16),
        zoos=zoos.LAB,
        scene_zoos=zoos.LAB_SCENES,
        text_zoos=zoos.LAB_TEXTS,
        encoder_zoos=zoos.LAB_ENCODERS,
        models=(  # small ImageNet models, but for two of iNaturalist; register your own with timm in their place
            "bank_mobilenet_v1_025_128",
            "bank_mobilenet_v1_050_160",
            "bank_mobilenet_v1_075_192",
            "bank_mobilenet_v1_100_224",
            "bank_mobilenet_v2_100_224",
            "bank_mobilenet_v2_100_224_tf2",
            "bank_mobilenet_v2_100_224_gluon",
            "bank_mobilenet_v2_100_224_inat_bird",
            "bank_mobilenet_v2_100_224_inat_insect",
            "bank_mbv2_w035",
            "bank_mcunet_5fps",
            "bank_proxyless_w030",
            "bank_squeezenet1_0_dc",
            "bank_squeezenet1_1",
        ),
        model_tasks=(
            Task("flowers102 (22 + 8, 160 px)", "folder:flowers102", 22, 8),
            Task("dtd (10 classes, 160 px)", "folder:dtd10", 80, 40),
            Task("cifar10 (JPEG copy)", "folder:cifar10", 150, 50),
            Task("fashion-mnist", "fashion-mnist", 150, 50),
            Task("mnist", "mnist", 150, 50),
        ),
    ),
    "paper": Scale(
        recipe=Recipe(source="cifar100", per_class=None, width=64, blocks=2, epochs=200, augmentation=0.5),
        tasks=("cifar10", "svhn", "stl10"),
        train_per_class=500,
        test_per_class=500,
        seeds=(0, 1, 2),
        fine_tuning=FineTuning(
            models=("torchvision:resnet18", "torchvision:resnet50", "torchvision:vit_b_32"),
            tasks=tuple(
                Task(name, name, None, None)
                for name in ("dtd", "cifar10", "cifar100", "fgvc-aircraft", "oxford-iiit-pet")
            ),
            scarce=(2, 10, 40),
            epochs=30,
            rates=(1e-4, 3e-4, 1e-3),
        ),
        geometry=Geometry(sweeps.PAPER, per_class=20, population_per_class=24),
        zoos=zoos.PAPER,
        scene_zoos=zoos.PAPER_SCENES,
        text_zoos=zoos.PAPER_TEXTS,
        encoder_zoos=zoos.PAPER_ENCODERS,
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
        model_tasks=tuple(
            Task(name, name, None, None)
            for name in (
                *("cifar10", "cifar100", "dtd", "flowers102", "oxford-iiit-pet", "fgvc-aircraft"),
                *("food101", "svhn", "stl10", "eurosat"),
            )
        ),
    ),
}

# A miniature of the demo, with the live cell of each study. It is computed in float64: in float32 processors round
# differently, a few of a million activations fall on the other side of a ReLU, and the gradients of a batch of forty
# differ by hundredths after three steps. In float64 none does, and processors agree to all digits of a record.
_TINY = Recipe(source="glyphs/greek[0:8]", per_class=20, width=8, epochs=2, batch_size=40, learning_rate=0.05)
_TINY_TASK = Task("digits", "digits", 10, 20)
_TINY_ZOO = Zoo("check", (_TINY_TASK,), (_TINY,), rates=(1e-3,), epochs=2, repeats=1)
CHECK = Scale(
    recipe=_TINY,
    tasks=("digits",),
    train_per_class=10,
    test_per_class=20,
    seeds=(0,),
    model_tasks=(_TINY_TASK,),
    fine_tuning=FineTuning(
        (_TINY_TASK,), scarce=(4,), epochs=2, recipe=_TINY, draws=1, layers=(-2,), all_layers=(-2,), rates=(1e-3,)
    ),
    geometry=Geometry(
        (Sweep("check", _TINY, (0.05,), (40,), (5e-4,), ("digits",), penalties=(1e-4,)),),
        loss=2.0,
        per_class=2,
        population_per_class=10,
        new_per_class=10,
        episodes=30,
    ),
    zoos=(_TINY_ZOO,),
    scene_zoos=(replace(_TINY_ZOO, tasks=(SceneTask("scenes of digits", "digits[0:6]", 12, 8),)),),
    text_zoos=(
        Zoo(
            "check",
            (Task("docstrings, which part of networkx", "docstrings/networkx", 20, 20),),
            (TextRecipe("docstrings/docutils", epochs=8, learning_rate=0.05),),
            rates=(1e-2,),
            epochs=4,
            repeats=1,
        ),
    ),
)


def settings(scale: str) -> Scale:
    """The settings of a scale by name."""
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; there are {', '.join(SCALES)}")
    return SCALES[scale]
