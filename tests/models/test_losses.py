"""Losses: known values, what they leave alone, and that each can be trained by."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import nclib
from nclib.experiments.words import TextRecipe
from nclib.models import recipes
from nclib.models.losses import LOSSES, VIEWS

TINY = nclib.Recipe(source="digits", per_class=8, width=8, epochs=3, batch_size=32, augmentation=0.5)
LABELS = torch.tensor([0, 1])


def plane() -> nclib.Network:
    """A network that sees points of the plane, whose three class weights have lengths 2, 1 and 1; in eval mode."""
    network = nclib.Network(torch.nn.Identity(), 2, 3)
    network.classifier.weight.data = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    network.classifier.bias.data = torch.zeros(3)
    return network.eval()


POINTS = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
LOGITS = torch.tensor([[6.0, 4.0, -3.0], [0.0, 2.0, 0.0]])
COSINES = torch.tensor([[0.6, 0.8, -0.6], [0.0, 1.0, 0.0]])
PLAIN = cross_entropy(LOGITS, LABELS)
KNOWN = {
    "cross-entropy": PLAIN,
    "dropout": PLAIN,
    "final L2": PLAIN + 0.0025 * 6,
    "logit penalty": PLAIN + 0.001 * (61 + 4) / 2,
    "logit normalisation": cross_entropy(20 * torch.stack([LOGITS[0] / 61**0.5, LOGITS[1] / 2]), LABELS),
    "cosine softmax": cross_entropy(20 * COSINES, LABELS),
    "sigmoid": binary_cross_entropy_with_logits(LOGITS - math.log(3), torch.eye(2, 3)) * 3,
}


@pytest.mark.parametrize("loss", KNOWN)
def test_a_loss_has_its_known_value(loss):
    torch.testing.assert_close(LOSSES[loss](plane(), POINTS, LABELS), KNOWN[loss])


def test_cross_entropy_of_the_logits_is_what_it_is_by_hand():
    shares = [6 - math.log(math.exp(6) + math.exp(4) + math.exp(-3)), 2 - math.log(2 + math.exp(2))]
    assert float(PLAIN) == pytest.approx(-sum(shares) / 2)


def test_sigmoid_starts_from_a_probability_of_one_over_the_classes():
    loss = LOSSES["sigmoid"](plane(), torch.zeros(2, 2), LABELS)
    probability = 1 / (1 + 3)  # of logits of zero, less log 3
    assert loss.item() == pytest.approx(-math.log(probability) - 2 * math.log(1 - probability))


@pytest.mark.parametrize("loss", LOSSES)
def test_in_eval_mode_no_loss_is_random(loss):
    assert torch.equal(*(LOSSES[loss](plane(), POINTS, LABELS) for _ in range(2)))


def test_dropout_is_random_in_training_only_and_right_in_the_mean():
    network = plane().train()
    network.classifier.weight.data *= 1e-3  # so small that the loss is linear in what is dropped
    torch.manual_seed(0)
    found = torch.stack([LOSSES["dropout"](network, POINTS, LABELS) for _ in range(2000)])
    assert found.std() > 0
    torch.testing.assert_close(found.mean(), LOSSES["cross-entropy"](network, POINTS, LABELS), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_by_a_loss_lowers_it(loss):
    digits, found = nclib.load("digits", per_class=8), []

    def note(epoch, network):
        with torch.no_grad():
            found.append(float(LOSSES[loss](network, network.embed(digits.inputs()), digits.labels)))

    recipe = replace(TINY, loss=loss, epochs=15, learning_rate=0.05, augmentation=0.2)  # batch norm follows slowly
    nclib.train(recipe, on_epoch=note, progress=False, device="cpu")
    assert all(math.isfinite(value) for value in found)
    assert found[-1] < found[0]


@pytest.mark.parametrize("loss", ["dropout", "two views"])
def test_equal_recipes_of_random_losses_give_equal_networks_and_leave_the_users_numbers_alone(loss):
    torch.manual_seed(5)
    expected = torch.rand(3)
    networks = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        networks.append(nclib.train(replace(TINY, loss=loss, projection=1), progress=False, device="cpu"))
        assert torch.equal(torch.rand(3), expected) == (seed == 5)
    for one, other in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_two_views_are_of_the_same_images_with_other_distortions(monkeypatch):
    seen, distorted = [], []
    real = recipes.distort

    def note(images, strength, generator):
        distorted.append((images, real(images, strength, generator)))
        return distorted[-1][1]

    def loss(network, embedding, labels):
        seen.append(labels)
        return LOSSES["contrastive"](network, embedding, labels)

    monkeypatch.setattr(recipes, "distort", note)
    monkeypatch.setitem(recipes.LOSSES, "two views", loss)
    nclib.train(replace(TINY, loss="two views", epochs=1), progress=False, device="cpu")
    assert [len(labels) for labels in seen] == [64, 64, 32]  # of 80 images in batches of 32, 32 and 16
    for labels, (images, views) in zip(seen, distorted, strict=True):
        assert torch.equal(*labels.chunk(2))
        assert torch.equal(*images.chunk(2))
        one, other = views.chunk(2)
        assert ((one - other).abs().flatten(1).amax(1) > 0).all()


def test_every_loss_of_views_is_a_loss():
    assert VIEWS.keys() <= LOSSES.keys()


def test_views_without_distortion_are_refused_and_texts_have_none():
    with pytest.raises(ValueError, match="loss 'two views' needs augmentation above 0"):
        nclib.Recipe(loss="two views")
    with pytest.raises(ValueError, match="unknown loss 'two views'"):
        TextRecipe(loss="two views")
