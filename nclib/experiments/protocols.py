"""Protocols: what a chapter fixed before the records that confirm its claims were made.

Earlier runs, with seeds from 0 on, are exploration: statistics, sizes and numbers of seeds were chosen on them. A
protocol is frozen by the commit that adds it here. From then on the chapter's studies use its seeds, and their records
carry its digest, which covers cells, statistics and claims, how cells are measured, and how claims are judged.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST = 10  # the lowest seed that may confirm


@dataclass(frozen=True)
class Protocol:
    """A protocol of a chapter: its number in the chapter, its studies, and the seeds that confirm, by scale.

    `digest` stands for all that it fixed, see `workflow.protocols`; `why` says what it was chosen on, or why it follows
    another. `amended` maps earlier digests to what was corrected since in how cells are named or claims are judged, if
    that left every verdict of its records as it was; records that carry one of these digests confirm as well. `only`
    restricts some settings to these values: a protocol that follows another need measure only what undecided claims
    rest on. `claims` are those that it decides, if it leaves the study's other claims to an earlier protocol.
    """

    chapter: str
    number: int
    studies: tuple[str, ...]
    seeds: Mapping[str, tuple[int, ...]]
    digest: str
    why: str
    amended: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, tuple] = field(default_factory=dict)
    claims: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if early := [seed for seeds in self.seeds.values() for seed in seeds if seed < FIRST]:
            raise ValueError(f"seeds {early} of {self.chapter} are exploration; those that confirm begin at {FIRST}")

    @property
    def digests(self) -> tuple[str, ...]:
        """All digests that its records may carry."""
        return self.digest, *self.amended

    def keep(self, cells: Iterable[dict]) -> list[dict]:
        """The cells of a study that belong to the protocol."""
        return [cell for cell in cells if all(cell.get(name) in allowed for name, allowed in self.only.items())]

    def cells(self, study: Callable[[Sequence[int]], list[dict]], scale: str) -> list[dict]:
        """The cells that it asks of a study, which is a function of seeds.

        Studies may have fewer repeats than there are seeds; a protocol of some claims has as many as seeds.
        """
        seeds = self.seeds[scale]
        groups = [[seed] for seed in seeds] if self.claims else [seeds]
        return self.keep(cell for group in groups for cell in study(group))


def _first(number: int) -> tuple[int, ...]:
    return tuple(range(FIRST, FIRST + number))


_REVIEWED = (
    "A review found mistakes in how claims are judged, none of which decided a verdict here. If a claim has several "
    "contrasts, the estimate and p-value shown could belong to a contrast other than the deciding one. Mixed verdicts "
    "had the p-value of the pooled mean. Infinite values were averaged. The number of replicates that would be enough "
    "ignored that replicates may show no effect. A1-mediation did not name its measure."
)

PROTOCOLS: tuple[Protocol, ...] = (  # oldest first
    Protocol(
        "in_training",
        1,
        ("collapse_in_training",),
        {"demo": _first(8), "lab": _first(8)},
        "74e19001cc8035f7",
        "Three networks were explored at each scale. At lab they train for 100 epochs, so that 11 measured epochs "
        "belong to the terminal phase, which begins at 0.1% training error. Eight networks give P2 at lab a power of "
        "99%.",
        {"483e9e4eb2db8c3a": _REVIEWED},
    ),
    Protocol(
        "source",
        1,
        ("source_collapse",),
        {"demo": _first(16), "lab": _first(10)},
        "9fb659ce539ace2c",
        "Three networks of each recipe, scale and source were explored. From them we chose the best places of the dial "
        "and of the length of training, the end of the dial (at 1, source accuracy falls), the slope over the losses "
        "(a rank correlation would need 32 networks), and the numbers. At demo all claims but A1-projection have a "
        "power of 95% to find the effect seen or to show that there is none; at lab all but A1-extent (55%) do.",
        {"8488d831233d1770": _REVIEWED},
    ),
    Protocol(
        "downstream",
        1,
        ("downstream_collapse", "collapse_by_layer"),
        {"demo": _first(10), "lab": _first(2)},
        "f1639dd2ad063798",
        "Three networks of each recipe were explored, and the bank on five tasks. At lab the models are the same with "
        "every draw: other images of those tasks (draws of flowers and textures overlap: most of these images are "
        "used), and five alphabets that were not explored. Width is held fixed since it ranks models, too, and layers "
        "no wider than the number of classes are left out since NC1 has fewer directions there. All claims have power "
        "of 84% or more to find the effect seen.",
    ),
    Protocol(
        "complexity",
        1,
        ("geometric_complexity", "complexity_penalty", "dialled_complexity", "complexity_estimates"),
        {"demo": _first(12), "lab": _first(8)},
        "d72720f5cc8600ae",
        "Three networks of each setting were explored, but only one of each VGG with batch norm, of each step of the "
        "dial of collapse and of the strongest penalties. The effects of L2 on new classes are next to nothing; the "
        "power to find them is about one half.",
    ),
    Protocol(
        "fine_tuning",
        1,
        ("fine_tuning", "data_scarcity", "tuned_layer", "forced_collapse"),
        {"demo": _first(15), "lab": _first(12)},
        "4578c9aa4401dd0c",
        "Two networks and draws were explored at demo, one draw of each model at lab. From them we chose the rate of "
        "every method (the best of two or three with the most images), and the tasks on which full fine-tuning is four "
        "points ahead of a linear probe. The number of epochs is fixed, because validation on few images stopped so "
        "early that nothing overfitted. Every method then learns its training images by heart, so a gap between "
        "accuracies says no more about overfitting than the test accuracy alone, and A5-gap compares losses.",
        {
            "eb0c04cee66bbaa6": "The dial of collapse in fine-tuning now has a name of its own. Before, it shared the "
            "name of the dial in pre-training, so both moved together at demo; a later protocol repeats it."
        },
    ),
    Protocol(
        "fine_tuning",
        2,
        ("data_scarcity",),
        {"lab": tuple(range(30, 110))},
        "0da1c23697e764a3",
        "Under the first protocol A5-scarce and A5-most were undecided at lab: [-1.6, 1.6] and [-0.7, 3.0] points in "
        "12 draws. The claims rest on two methods and the two ends of the curve, so only these are measured again, "
        "with 80 fresh draws. Their intervals should be six tenths of a point to either side, short enough for the "
        "effects seen. The first 12 draws do not count; figures show them as the curve.",
        only={"method": ("skip", "full"), "train_per_class": (1, 40)},
    ),
    Protocol(
        "fine_tuning",
        3,
        ("forced_collapse",),
        {"demo": tuple(range(30, 38))},
        "417592385e249fba",
        "A mistake: under the first protocol the networks of the demo were pre-trained with their collapse forced or "
        "prevented as in fine-tuning. So A6-force compared different networks, and its records were deleted. Claim, "
        "cells and smallest effect are as they were; the eight networks are fresh.",
    ),
    Protocol(
        "fine_tuning",
        4,
        ("data_scarcity",),
        {"demo": tuple(range(30, 90))},
        "eaa587e09585e455",
        "Under the first protocol A5-scarce held at demo with 15 networks and draws, 2.6 points [1.2, 4.0]. Another "
        "processor found 1.6 [-0.3, 3.5], so it was undecided. As at lab, two methods and the ends of the curve are "
        "measured again, with 60 fresh networks and draws. Their interval should be eight tenths of a point to either "
        "side: two thirds of the mean effect are then found on either processor with a power of 90%. The first 15 do "
        "not count; figures show them as the curve.",
        only={"method": ("skip", "full"), "train_per_class": (1, 50)},
    ),
    Protocol(
        "fine_tuning",
        5,
        ("fine_tuning",),
        {"demo": tuple(range(90, 130))},
        "717f46a26103af12",
        "Under the first protocol eight networks showed no effect for A4-skip at demo, 0.06 points [-0.07, 0.19]. "
        "Another processor found a small one, 0.37 [0.18, 0.55], so the claim was undecided. The two methods that it "
        "compares are tuned again, on the same tasks and images of forty fresh networks. Their interval should be "
        "seven hundredths of a point to either side: two thirds of the mean effect are then found on either processor "
        "with a power of 95%. The study's other claims stay with the first protocol.",
        only={"method": ("skip", "layer")},
        claims=("A4-skip",),
    ),
    Protocol(
        "selection",
        1,
        ("model_selection", "scene_selection", "text_selection"),
        {"demo": _first(8), "lab": _first(6)},
        "a6483b63222f7303",
        "Two networks of each recipe and draws of images were explored at demo, some of each zoo at lab. From them we "
        "chose the rate and length of fine-tuning, for which seeds agree on the order of the models (rank correlations "
        "of accuracy from 0.64 to 0.94), the models of each zoo, and the zoos: losses make no difference to pixels and "
        "words at demo. The rival in C2 is the mean of nine estimators. At demo all claims but C2-architectures (71%) "
        "have a power of 95% to find the effect seen or to show that there is none.",
    ),
)


def of_study(study: str, scale: str, claim: str = "") -> list[Protocol]:
    """The protocols of a study at a scale, or those that decide one of its claims, newest first."""
    known = [each for each in reversed(PROTOCOLS) if study in each.studies and scale in each.seeds]
    return [each for each in known if not each.claims or claim in each.claims]


def in_force(study: str, scale: str, claim: str = "") -> Protocol | None:
    """The newest protocol of a study at a scale, or of one of its claims; None while the study is still explored."""
    return next(iter(of_study(study, scale, claim)), None)


def all_in_force(study: str, scale: str) -> list[Protocol]:
    """The protocol of a study at a scale, if it has one, and those of single claims that follow it."""
    claims = dict.fromkeys(["", *(claim for each in PROTOCOLS for claim in each.claims)])
    found = {each.digest: each for claim in claims if (each := in_force(study, scale, claim))}
    return list(found.values())


def stamped(record: dict) -> dict:
    """The record, with the digest of the protocol that its seed and settings belong to, if there is one."""
    for protocol in all_in_force(record["study"], record["scale"]):
        if record["seed"] in protocol.seeds[record["scale"]] and protocol.keep([record["config"]]):
            return record | {"provenance": record["provenance"] | {"protocol": protocol.digest}}
    return record


def confirming(records: Iterable[dict]) -> list[dict]:
    """The records made under a protocol in force, by sources that were committed."""
    return [each for each in records if any(confirms(each, one) for one in all_in_force(each["study"], each["scale"]))]


def confirms(record: Mapping[str, Any], protocol: Protocol | None) -> bool:
    """Whether a record was made under a protocol, by sources that were committed."""
    made = record["provenance"]
    commit = str(made.get("commit") or "+")
    return protocol is not None and made.get("protocol") in protocol.digests and not commit.endswith("+")
