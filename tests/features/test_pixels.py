"""Scenes and their pixels: exact masks, features where they belong, and quality by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nclib
from nclib.data.scene_sets import UNLABELLED, Scenes, composed
from nclib.experiments.words import fit_best
from nclib.features.backbones import AsTrained, Backbone
from nclib.features.pixels import Segmenter, mean_iou, pixel_features, pixel_layer, prepared
from nclib.peft.finetuning import Tuning
from nclib.probing.linear import probe_layer


def test_scenes_are_composed_of_the_images_that_their_masks_name():
    tiles = nclib.load("digits", per_class=1)
    bright = nclib.ImageSet(torch.full((2, 1, 28, 28), 255, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    scenes = composed(bright, 5, torch.Generator().manual_seed(0))
    assert scenes.classes == ("ground", "a", "b")
    assert (scenes.images[:, 0][scenes.masks > 0] == 255).all()
    assert (scenes.images[:, 0][scenes.masks == 0] < 255).any()
    disc = int((scenes.masks > 0).sum()) / 5 / 4
    assert disc == pytest.approx(torch.pi * 14**2, rel=0.01)
    assert len(composed(tiles, 1, torch.Generator()).classes) == 11


def test_the_same_arguments_give_the_same_scenes_and_splits_differ():
    one, same = (nclib.scenes("digits", number=2) for _ in range(2))
    other = nclib.scenes("digits", "test", number=2)
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.masks, same.masks)
    assert not torch.equal(one.masks, other.masks)


def test_a_folder_of_images_and_labels_is_read(tmp_path):
    for split, value in (("train", 1), ("test", 255)):
        for part in ("images", "labels"):
            (tmp_path / split / part).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((4, 6, 3), 10 * i, np.uint8)).save(tmp_path / split / "images" / f"{i}.png")
            Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / split / "labels" / f"{i}.png")
    found = nclib.scenes(f"folder:{tmp_path}", number=2)
    assert found.images.shape == (2, 3, 4, 6)
    assert found.images[:, 0, 0, 0].tolist() == [0, 10]
    assert found.masks.unique().tolist() == [1]
    assert found.classes == ("0", "1")
    (tmp_path / "classes.txt").write_text("road\n")
    with pytest.warns(UserWarning, match="values 1 beyond the 1 classes"):
        assert nclib.scenes(f"folder:{tmp_path}").masks.unique().tolist() == [UNLABELLED]
    assert nclib.scenes(f"folder:{tmp_path}", "test").masks.unique().tolist() == [UNLABELLED]
    assert repr(found) == "Scenes(2 images of (3, 4, 6), 2 classes)"
    with pytest.raises(ValueError, match=r"which nclib\.scenes reads"):
        nclib.load(f"folder:{tmp_path}")
    (tmp_path / "classes.txt").write_text("road\n\ncar\n")
    with pytest.raises(ValueError, match="has an empty line"):
        nclib.scenes(f"folder:{tmp_path}")
    (tmp_path / "train" / "labels" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"1.png has no file of labels"):
        nclib.scenes(f"folder:{tmp_path}")


def test_bad_scenes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="number is 0"):
        nclib.scenes("digits", number=0)
    with pytest.raises(FileNotFoundError, match="train/images"):
        nclib.scenes(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="docstrings/libraries holds texts; scenes are composed of grey images"):
        nclib.scenes("docstrings/libraries", number=1)
    with pytest.raises(TypeError, match="ImageSet"):
        pixel_features(pooling(1), nclib.load("digits", per_class=1))
    colours = nclib.ImageSet(torch.zeros(1, 3, 28, 28, dtype=torch.uint8), torch.tensor([0]), ("a",))
    with pytest.raises(ValueError, match="3 channels"):
        composed(colours, 1, torch.Generator())
    with pytest.raises(ValueError, match="must be"):
        Scenes(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 5, dtype=torch.int64), ("a",))
    with pytest.raises(ValueError, match="classes 0 to 3"):
        Scenes(torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [2, 3]]]), ("a", "b"))


class Pool(nn.Module):
    """Means of windows, then the mean of all."""

    def __init__(self, window):
        super().__init__()
        self.maps = nn.Sequential(nn.AvgPool2d(window))
        self.coarse = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.coarse(self.maps(x)).flatten(1)


def pooling(window):
    return Backbone(f"pool{window}", Pool(window), AsTrained(1, 28))


def two_halves():
    """Scenes whose left half is dark, class 0, and whose right half is bright, class 1; a column counts nowhere."""
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[..., 4:] = 255
    masks = (images[:, 0] > 0).long()
    masks[:, :, 0] = UNLABELLED
    return Scenes(images, masks, ("dark", "bright"))


def test_a_pixels_features_are_those_of_its_place():
    """Every pixel of many oblong scenes has a value of its own, and so a class of its own number."""
    images = torch.arange(20 * 3 * 4).view(20, 1, 3, 4).to(torch.uint8)
    scenes = Scenes(images, images[:, 0].long(), tuple(map(str, range(240))))
    features, labels = pixel_features(pooling(1), scenes, per_class=1, layer="maps")
    assert labels.tolist() == list(range(240))
    assert features.squeeze(1).tolist() == pytest.approx([k / 127.5 - 1 for k in range(240)], abs=1e-5)


def test_so_many_pixels_of_each_class_are_drawn_or_all():
    labels = pixel_features(pooling(1), two_halves(), per_class=5, layer="maps")[1]
    assert labels.bincount().tolist() == [5, 5]
    labels = pixel_features(pooling(1), two_halves(), per_class=10_000, layer="maps")[1]
    assert labels.bincount().tolist() == [3 * 8 * 3, 3 * 8 * 4]
    empty = Scenes(two_halves().images, torch.full((3, 8, 8), UNLABELLED), ("a",))
    with pytest.raises(ValueError, match="no pixel is labelled"):
        pixel_features(pooling(1), empty)


def test_a_segmenter_says_of_a_pixel_what_its_head_says_of_the_features():
    scenes = nclib.scenes("digits", number=2)
    model = pooling(5)  # whose map does not divide the scene
    features, labels = pixel_features(model, scenes, per_class=10_000, layer="maps")
    head = probe_layer(features, labels, 11)
    logits = Segmenter(model, head, "maps")(prepared(model, scenes.images)).permute(0, 2, 3, 1)
    assert torch.allclose(logits.reshape(-1, 11)[: len(features)], head(features), atol=1e-4)


def test_the_layer_is_the_deepest_that_is_fine_enough():
    model = nclib.backbone("resnet18", weights="random", device="cpu")
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    names = [pixel_layer(model, images, stride=stride) for stride in (32, 16, 8)]
    assert [name.partition(".")[0] for name in names] == ["layer4", "layer3", "layer2"]
    with pytest.raises(ValueError, match="for every 1 rows"):
        pixel_layer(model, images, stride=1)


def test_images_are_normalised_as_the_transform_does():
    model = nclib.backbone("resnet18", weights="random", device="cpu")
    image = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8)
    from torchvision.transforms.functional import to_pil_image, to_tensor

    mean, std = (torch.tensor(side).view(3, 1, 1) for side in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(prepared(model, image)[0], (to_tensor(to_pil_image(image[0])) - mean) / std, atol=1e-6)
    grey = prepared(model, image[:, :1])
    assert grey.shape == image.shape
    assert prepared(pooling(1), image).shape == (1, 1, 224, 224)
    with pytest.raises(ValueError, match="does not say mean and std"):
        prepared(Backbone("plain", nn.Identity(), nn.Identity()), image)


class Constant(nn.Module):
    """Logits that are the inputs themselves."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return x


def test_mean_iou_by_hand():
    masks = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, UNLABELLED]]])
    guess = torch.tensor([[[0, 0, 0, 1], [0, 0, 1, 0]]])
    logits = nn.functional.one_hot(guess, 3).permute(0, 3, 1, 2).float()
    assert mean_iou(Constant(), logits, masks) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_masks_without_a_labelled_pixel_have_no_mean_iou():
    with pytest.raises(ValueError, match=r"masks \(1, 2, 2\) have no labelled pixel; give masks"):
        mean_iou(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), UNLABELLED))


def test_mean_iou_is_that_of_eval_mode_and_leaves_the_mode():
    torch.manual_seed(0)
    segmenter = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    inputs, masks = 5 + torch.randn(4, 3, 6, 6), torch.randint(0, 2, (4, 6, 6))
    expected, before = mean_iou(segmenter.eval(), inputs, masks), segmenter[1].running_mean.clone()
    assert mean_iou(segmenter.train(), inputs, masks) == expected
    assert segmenter.training
    assert torch.equal(segmenter[1].running_mean, before)


def test_a_segmenter_that_begins_as_a_probe_and_learns():
    scenes = two_halves()
    model = pooling(2)
    features, labels = pixel_features(model, scenes, per_class=20, layer="maps")
    begun = Segmenter(model, probe_layer(features, labels, 2), "maps")
    inputs = prepared(model, scenes.images)
    assert begun(inputs).shape == (3, 2, 8, 8)
    assert mean_iou(begun, inputs, scenes.masks) > 0.8

    def make(images, masks):
        assert len(images) == len(masks) in (12, 15)  # of a trial, and of all
        torch.manual_seed(0)
        return Segmenter(model, nn.Linear(1, 2), "maps")

    def loss(module, x, y):
        return nn.functional.cross_entropy(module(x), y, ignore_index=UNLABELLED)

    settings = [Tuning(learning_rate=rate, epochs=30, batch_size=3) for rate in (1e-6, 0.3)]
    tuned = fit_best(make, inputs.repeat(5, 1, 1, 1), scenes.masks.repeat(5, 1, 1), loss, settings, mean_iou)
    assert mean_iou(tuned, inputs, scenes.masks) > 0.8


def test_the_last_layer_has_no_pixels():
    model = nclib.backbone("test_resnet", weights="random", device="cpu")
    with pytest.raises(ValueError, match="layer 'last' gives a vector for a whole image"):
        nclib.pixel_features(model, nclib.scenes("digits", number=2), layer="last")


def test_scenes_without_scenes_say_so():
    with pytest.raises(ValueError, match=r"masks are \(0, 4, 4\); there must be at least one scene"):
        Scenes(torch.zeros(0, 3, 4, 4, dtype=torch.uint8), torch.zeros(0, 4, 4, dtype=torch.int64), ("a", "b"))
