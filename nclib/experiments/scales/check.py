"""A miniature of the demo, with the live cell of each study; not a scale to run a chapter at.

It is computed in float64: in float32 processors round differently, a few of a million activations fall on the other
side of a ReLU, and the gradients of a batch of forty differ by hundredths after three steps. In float64 none does, and
processors agree to all digits of a record.
"""

from dataclasses import replace

from nclib.experiments.scales.scale import FineTuning, Geometry, Scale, SceneTask, Sweep, Task, Zoo
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe

_recipe = Recipe(source="glyphs/greek[0:8]", per_class=20, width=8, epochs=2, batch_size=40, learning_rate=0.05)
_task = Task("digits", "digits", 10, 20)
_sweep = Sweep("check", _recipe, (0.05,), (40,), (5e-4,), ("digits",), penalties=(1e-4,))
_words = TextRecipe("docstrings/docutils", epochs=8, learning_rate=0.05)
_on_texts = Task("docstrings, which part of networkx", "docstrings/networkx", 20, 20)
_zoo = Zoo("check", (_task,), (_recipe,), rates=(1e-3,), epochs=2, repeats=1)

SCALE = Scale(
    recipe=_recipe,
    tasks=("digits",),
    train_per_class=10,
    test_per_class=20,
    seeds=(0,),
    watched=5,
    model_tasks=(_task,),
    fine_tuning=FineTuning(
        (_task,),
        scarce=(4,),
        scarce_tasks=(_task,),
        epochs=2,
        length=2,
        recipe=_recipe,
        layer=-2,
        layers=(-2,),
        all_layers=(-2,),
        rates=(1e-3,),
        rate=dict.fromkeys(("linear", "layer", "skip", "last", "full"), 1e-3),
    ),
    geometry=Geometry((_sweep,), loss=2.0, per_class=2, new_per_class=10, episodes=30),
    zoos=(_zoo,),
    scene_zoos=(replace(_zoo, tasks=(SceneTask("scenes of digits", "digits[0:6]", 12, 8),)),),
    text_zoos=(Zoo("check", (_on_texts,), (_words,), rates=(1e-2,), epochs=4, repeats=1),),
)
