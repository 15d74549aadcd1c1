"""The demo scale: small networks on letters and digits that need no download, minutes on two cores."""

from dataclasses import replace

from nclib.experiments.scales.families import PENALTIES, architectures, encoders, losses, resnet_sweep, vgg_sweep
from nclib.experiments.scales.scale import FineTuning, Geometry, Scale, SceneTask, Task, Zoo
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe

_letters = Recipe(source="glyphs/latin", per_class=60, width=16, epochs=16)
_tuned = ("glyphs/georgian", "glyphs/greek", "digits", "glyphs/cyrillic", "glyphs/armenian")
_tasks = ("glyphs/greek", "glyphs/cyrillic", "glyphs/armenian", "glyphs/georgian", "digits")

# Networks whose geometric complexity is looked at are trained without augmentation, to a training loss of nothing.
_greek = Recipe(source="glyphs/greek", per_class=30, width=8, epochs=36, batch_size=60)
_new = ("glyphs/armenian", "glyphs/georgian")

_scripts = ("latin", "greek", "cyrillic", "armenian", "georgian")
_sources = (
    *(f"glyphs/{script}" for script in _scripts),
    *(f"glyphs/{script}[0:{few}]" for script, few in zip(_scripts, (10, 8, 11, 12, 11), strict=True)),
    *("glyphs/latin[0:26]", "digits", "digits[0:5]"),
)
_on_letters = tuple(
    Task(name, name, number, 80)
    for name, number in (*((f"glyphs/{script}", 10) for script in _scripts[1:]), ("digits", 20))
)
_zoos = tuple(
    Zoo(name, _on_letters, models, rates=(2e-3,), epochs=8)
    for name, models in (
        ("architectures", architectures(_letters)),
        ("source data sets", tuple(replace(_letters, source=name) for name in _sources)),
        ("training losses", losses(_letters)),
    )
)
_on_scenes = (
    SceneTask("scenes of digits", "digits[0:6]", 60, 200),
    SceneTask("scenes of Greek letters", "glyphs/greek[0:6]", 60, 200),
)
_on_texts = (
    Task("docstrings, which library", "docstrings/libraries", 20, 95),
    Task("docstrings, which part of scipy", "docstrings/scipy", 20, None),
    Task("docstrings, which part of Python", "docstrings/python", 20, None),
)

SCALE = Scale(
    recipe=_letters,
    tasks=_tasks,
    train_per_class=40,
    test_per_class=40,
    seeds=(0, 1, 2),
    watched=40,
    model_tasks=tuple(Task(name, name, 40, 40) for name in _tasks),
    fine_tuning=FineTuning(
        recipe=replace(_letters, blocks=2, epochs=24, augmentation=1.0),
        tasks=tuple(Task(name, name, 20, 80) for name in _tuned),
        scarce_tasks=tuple(Task(name, name, 20, 80) for name in ("glyphs/georgian", "glyphs/greek", "digits")),
        scarce=(1, 2, 5, 10, 20, 50),
        rates=(),
        rate=dict.fromkeys(("linear", "last", "layer", "skip", "lora", "loha"), 1e-2)
        | dict.fromkeys(("bias", "norm", "ia3"), 3e-2)
        | {"full": 2e-3},
        epochs=16,
        repeats=8,
    ),
    geometry=Geometry(
        (
            resnet_sweep("Greek, ResNet", _greek, _new),
            vgg_sweep("Greek, VGG", replace(_greek, network="vgg"), _new, penalties=PENALTIES),
            resnet_sweep("Greek, VGG with batch norm", replace(_greek, network="vgg_bn"), _new),
        ),
        episodes=300,
    ),
    zoos=_zoos,
    # For tasks of pixels and words zoos whose models differ in quality by more than chance: losses make none.
    scene_zoos=tuple(replace(zoo, tasks=_on_scenes, rates=(1e-2,), epochs=12) for zoo in _zoos[:2]),
    text_zoos=(Zoo("architectures", _on_texts, encoders(TextRecipe()), rates=(1e-2,), epochs=15),),
    device="cpu",
)
