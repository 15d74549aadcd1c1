"""The lab scale: small pre-trained models on real data sets, and networks trained on Fashion-MNIST; hours on two cores.

The models are registered with timm by a module of your own (`imports`), the data lie in a data root.
"""

from dataclasses import replace

from nclib.experiments.scales.families import PENALTIES, encoders, losses, resnet_sweep, text_losses, vgg_sweep
from nclib.experiments.scales.scale import FineTuning, Geometry, Scale, SceneTask, Source, Task, Zoo
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe

_clothes = Recipe(source="fashion-mnist", per_class=600, width=16, epochs=16)
# Not the other way round: here Tiny ImageNet has 100 images a class, from which a network of this size learns little,
# and it does not collapse.
_photographs = Source(
    replace(_clothes, source="folder:cifar10", per_class=1000, size=32),
    (*(f"folder:tiny_imagenet[{first}:{first + 20}]" for first in range(0, 200, 20)), "folder:dtd10"),
    train_per_class=80,
    test_per_class=25,
)
_bank = (  # small ImageNet models, but for two of iNaturalist; register your own with timm in their place
    *("bank_mobilenet_v1_025_128", "bank_mobilenet_v1_050_160", "bank_mobilenet_v1_075_192"),
    *("bank_mobilenet_v1_100_224", "bank_mobilenet_v2_100_224", "bank_mobilenet_v2_100_224_tf2"),
    *("bank_mobilenet_v2_100_224_gluon", "bank_mobilenet_v2_100_224_inat_bird"),
    *("bank_mobilenet_v2_100_224_inat_insect", "bank_mbv2_w035", "bank_mcunet_5fps"),
    *("bank_proxyless_w030", "bank_squeezenet1_0_dc", "bank_squeezenet1_1"),
)

_swept = Recipe(source="fashion-mnist", per_class=72, width=8, epochs=36, batch_size=60)
_clothes_vgg, _objects = replace(_swept, network="vgg11"), replace(_swept, source="folder:cifar10")
_alphabets = ("Balinese", "Korean", "Sanskrit", "Tagalog", "Japanese_(katakana)")
_characters = tuple(f"folder:omniglot/{alphabet}" for alphabet in ("Balinese", "Korean", "Sanskrit"))
_other_objects = ("folder:tiny_imagenet[100:140]", "folder:dtd10")
_sweeps = (
    resnet_sweep("Fashion-MNIST, ResNet", _swept, ("mnist", *_characters)),
    vgg_sweep("Fashion-MNIST, VGG-11", _clothes_vgg, ("mnist", *_characters), penalties=PENALTIES),
    vgg_sweep("MNIST, VGG-11", replace(_clothes_vgg, source="mnist"), ("fashion-mnist", *_characters)),
    resnet_sweep("Fashion-MNIST, VGG-11 with batch norm", replace(_swept, network="vgg11_bn"), ("mnist", *_characters)),
    resnet_sweep("CIFAR-10 (JPEG copy), ResNet", _objects, _other_objects),
    resnet_sweep("CIFAR-10 (JPEG copy), VGG-11 with batch norm", replace(_objects, network="vgg11_bn"), _other_objects),
    vgg_sweep("CIFAR-10 (JPEG copy), VGG-11", replace(_objects, network="vgg11"), _other_objects, penalties=PENALTIES),
)

_sources = (
    *(("fashion-mnist", 60), ("mnist", 600), ("mnist", 60), ("folder:cifar10", 600), ("folder:cifar10", 100)),
    *(("glyphs/latin", 60), ("glyphs/latin", 10), ("folder:tiny_imagenet[0:60]", None)),
    *((f"folder:omniglot/{alphabet}", None) for alphabet in ("Balinese", "Sanskrit", "Early_Aramaic")),
)
_by_source = (_clothes, *(replace(_clothes, source=name, per_class=number) for name, number in _sources))
_on_small = (
    *(Task(name, name, 20, 80) for name in ("glyphs/greek", "glyphs/georgian", "digits")),
    *(Task(f"omniglot, {name}", f"folder:omniglot/{name}", 12, 4) for name in ("Korean", "Japanese_(katakana)")),
)
_on_objects = (
    Task("dtd (10 classes, 160 px)", "folder:dtd10", 40, 40),
    Task("cifar10 (JPEG copy)", "folder:cifar10", 40, 60),
    Task("fashion-mnist", "fashion-mnist", 40, 60),
    Task("omniglot, Korean", "folder:omniglot/Korean", 12, 4),
)
_small = (  # of the bank, those that can be tuned whole in half a minute
    *("bank_mobilenet_v1_025_128", "bank_mobilenet_v1_050_160", "bank_mbv2_w035", "bank_mcunet_5fps"),
    *("bank_proxyless_w030", "bank_squeezenet1_1"),
)
_zoos = (
    Zoo("source data sets", _on_small, _by_source, rates=(2e-3,), epochs=8),
    Zoo("training losses", _on_small, losses(_clothes), rates=(2e-3,), epochs=8),
)
_on_scenes = (
    SceneTask("scenes of digits", "digits[0:6]", 60, 200),
    SceneTask("scenes of Greek letters", "glyphs/greek[0:6]", 60, 200),
)
_on_camvid = SceneTask("CamVid (180 x 240)", "folder:camvid", 150, 100, 400)
_depths = tuple(f"folder:text_models/all-MiniLM-L6-v2[:{number}]" for number in range(7))
_on_texts, _on_sentences = (
    tuple(Task(name, f"file:text/{name}_{{split}}.csv", train, test) for name, train, test in sets)
    for sets in (
        (("ag_news", 20, 500), ("banking77", 20, 40), ("trec", 20, None)),
        (("ag_news", 50, 300), ("banking77", 20, 30), ("sst1", 50, 200)),
    )
)

_questions = TextRecipe(source="file:text/clinc150_{split}.csv", per_class=40)

SCALE = Scale(
    recipe=_clothes,
    tasks=("mnist", "digits", "glyphs/latin", "glyphs/greek"),
    train_per_class=80,
    test_per_class=80,
    seeds=(0, 1, 2),
    watched=100,
    other_sources=(_photographs,),
    models=_bank,
    model_tasks=(
        Task("flowers102 (18 + 8, 160 px)", "folder:flowers102", 18, 8),
        Task("dtd (10 classes, 160 px)", "folder:dtd10", 64, 32),
        Task("cifar10 (JPEG copy)", "folder:cifar10", 150, 50),
        Task("fashion-mnist", "fashion-mnist", 150, 50),
        Task("mnist", "mnist", 150, 50),
        *(Task(f"omniglot, {name}", f"folder:omniglot/{name}", 12, 4) for name in _alphabets),
    ),
    fine_tuning=FineTuning(
        models=("bank_mbv2_w035", "bank_mcunet_5fps"),  # no batch norm without statistics
        tasks=(
            Task("dtd (10 classes, 160 px)", "folder:dtd10", 40, 40),
            Task("cifar10 (JPEG copy)", "folder:cifar10", 60, 100),
            Task("fashion-mnist", "fashion-mnist", 40, 100),
            Task("omniglot, Korean", "folder:omniglot/Korean", 12, 4),
        ),
        scarce_tasks=(
            Task("dtd (10 classes, 160 px)", "folder:dtd10", 40, 40),
            Task("cifar10 (JPEG copy)", "folder:cifar10", 40, 100),
            Task("fashion-mnist", "fashion-mnist", 40, 100),
        ),
        scarce=(1, 2, 5, 10, 20, 40),
        length=20,
        repeats=6,
        layer=-5,  # with a tenth of the parameters at most
        rates=(),
        rate=dict.fromkeys(("linear", "full"), 1e-3)
        | dict.fromkeys(("last", "lora", "loha"), 3e-3)
        | dict.fromkeys(("bias", "layer", "skip"), 1e-2)
        | {"ia3": 3e-2},
        epochs=8,
    ),
    geometry=Geometry(_sweeps, per_class=10, new_per_class=16),
    zoos=(
        Zoo(
            "architectures",
            _on_objects,
            models=_bank,
            method="skip",  # of one late block: full fine-tuning of the bank takes hours
            rates=(1e-3,),
            layers=(-2,),  # what comes before it is computed once
            epochs=8,
        ),
        Zoo("small architectures", _on_objects, models=_small, rates=(1e-3,), epochs=8),
        *_zoos,
    ),
    # Of the bank a linear classifier of a map's places: fine-tuning it takes hours.
    scene_zoos=(
        Zoo("architectures", (_on_camvid,), models=_bank, method="linear", repeats=1),
        replace(_zoos[0], tasks=_on_scenes, rates=(1e-2,), epochs=12),  # by source
    ),
    text_zoos=(
        Zoo("architectures", _on_texts, encoders(_questions), rates=(1e-2,), epochs=15),
        Zoo("training losses", _on_texts[1:], text_losses(_questions), rates=(1e-2,), epochs=15),
    ),
    encoder_zoos=(Zoo("depths of a sentence encoder", _on_sentences, models=_depths, method="linear", repeats=1),),
)
