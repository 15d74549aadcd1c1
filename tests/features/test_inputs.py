"""Models and inputs as they come: of any precision and layout they give the right numbers, or one sentence says why."""

import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn
from torchvision.models import vit_b_32

import nclib
from nclib.data.batches import finite
from nclib.features.inputs import coarsest, precision

IMAGES = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
HALVES = (torch.float16, torch.bfloat16)


def net(channels=3):
    torch.manual_seed(0)
    body = (nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3))
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def half_but_for_its_norm():
    model = net().half()
    model[1].float()
    return model


class Casting(nn.Module):
    """Scales in float32, convolves in bfloat16, and goes on in float32."""

    def __init__(self):
        super().__init__()
        self.net = net()
        self.net[0].bfloat16()

    def forward(self, x):
        return self.net[1:](self.net[0](((x - 0.5) / 0.2).bfloat16()).float())


class OfFirst(nn.Module):
    """Linear in float32, then a convolution that it casts for: its first kernel is not what inputs are for."""

    def __init__(self):
        super().__init__()
        self.linear, self.conv = nn.Linear(12, 12), nn.Conv2d(3, 4, 3).bfloat16()

    def forward(self, x):
        return self.conv(self.linear(x).bfloat16()).mean((2, 3))


MODELS = {
    "float16": (lambda: net().half(), torch.float32, 2**-10),
    "bfloat16": (lambda: net().bfloat16(), torch.float32, 2**-7),
    "float64": (lambda: net().double(), torch.float64, 0),
    "float32": (net, torch.float32, 0),
    "half but for its norm": (half_but_for_its_norm, torch.float32, 2**-10),
    "parallel": (lambda: nn.DataParallel(net().double()), torch.float64, 0),
    "compiled": (lambda: torch.compile(net().bfloat16(), backend="eager"), torch.float32, 2**-7),
}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_any_precision_takes_inputs_of_any(name, kind):
    make, dtype, rounding = MODELS[name]
    features = nclib.extract(make(), IMAGES.to(kind))
    assert features.dtype == dtype
    assert features.rounding == rounding
    expected = nclib.extract(net(), IMAGES).to(dtype)
    torch.testing.assert_close(features, expected, rtol=0.02, atol=0.02 if rounding or kind in HALVES else 1e-5)


@pytest.mark.parametrize("make", [Casting, OfFirst])
def test_a_model_that_casts_by_itself_gets_inputs_as_they_are(make):
    model = make().eval()
    with torch.no_grad():
        expected = model(IMAGES.contiguous(memory_format=torch.channels_last))
    found = nclib.extract(model, IMAGES)
    assert torch.equal(found, expected.float())
    assert found.rounding == 2**-7


@pytest.mark.parametrize("dtype", [*HALVES, torch.float64])
def test_layers_statistics_rankings_and_complexity_are_of_models_of_any_precision(dtype):
    own, reference, data = net().to(dtype), net(), (IMAGES, LABELS)
    close = {"rel": 0.05}
    table, expected = (nclib.layerwise(model, data, data) for model in (own, reference))
    assert table["nc1"].tolist() == pytest.approx(expected["nc1"].tolist(), **close)
    stats, known = (nclib.feature_statistics(model, data) for model in (own, reference))
    assert nclib.nc1(stats) == pytest.approx(nclib.nc1(known), **close)
    assert stats.precision == max(torch.finfo(dtype).eps if dtype in HALVES else 0, stats.precision)
    ranking = nclib.rank_models([nclib.Backbone("own", own), nclib.Backbone("known", reference)], data)
    assert not ranking.failures
    for method in ("exact", "rademacher", "entries"):
        values = [nclib.geometric_complexity(m, IMAGES, method=method, number=2).value for m in (own, reference)]
        assert values[0] == pytest.approx(values[1], **close)
    linear = nn.Linear(4, 3).to(dtype)
    squares = float(linear.weight.detach().double().square().sum())  # by columns, forward mode
    assert nclib.geometric_complexity(linear, torch.rand(5, 4)).value == pytest.approx(squares, rel=1e-6)


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
def test_the_head_of_a_tuned_model_takes_what_is_extracted(dtype):
    tuned = nclib.linear_probe(nn.Sequential(*net(), nn.Linear(16, 3)).to(dtype))
    logits = tuned.head(nclib.extract(tuned.backbone, IMAGES))
    torch.testing.assert_close(logits, tuned(IMAGES))
    cast = tuned.to(dtype)  # also the head
    torch.testing.assert_close(cast.head(nclib.extract(cast, IMAGES)), cast(IMAGES), rtol=0.02, atol=0.02)
    again = nclib.linear_probe(cast, 4)
    assert again(IMAGES).shape == (6, 4)


def test_half_is_for_models_of_float32():
    assert nclib.extract(net().bfloat16(), IMAGES, half=True).rounding == 2**-7
    with pytest.raises(ValueError, match=r"half is True, but Sequential is torch\.float64; give half=False"):
        nclib.extract(net().double(), IMAGES, half=True)


def test_half_is_not_taken_from_the_environment_for_models_of_float64(monkeypatch):
    monkeypatch.setenv("NCLIB_HALF", "1")
    assert nclib.extract(net().double(), IMAGES).rounding == 0


def test_the_cache_keeps_float64(tmp_path):
    made = [nclib.extract(net().double(), IMAGES, cache=tmp_path) for _ in range(2)]
    assert made[0].dtype == made[1].dtype == torch.float64
    assert torch.equal(*made)


def test_the_precision_of_a_model_is_that_of_its_kernels_and_the_coarsest_that_of_any_number():
    model = nn.ModuleList([nn.Linear(2, 2), nn.Conv2d(3, 4, 3).bfloat16()])
    assert (precision(model, torch.float64), coarsest(model)) == (torch.bfloat16, torch.bfloat16)
    assert (precision(nn.Flatten(), torch.float64), coarsest(nn.Flatten())) == (torch.float64, torch.float32)
    integers = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)])
    assert precision(integers, torch.float64) == torch.float64


def test_quantised_models_are_taken():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what will leave torch
        model = nn.Sequential(nn.Flatten(), nn.Linear(432, 16), nn.ReLU())
        own = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    torch.testing.assert_close(nclib.extract(own, IMAGES), nclib.extract(model, IMAGES), rtol=0.1, atol=0.1)


def test_a_model_with_buffers_alone_says_its_device():
    model = nn.Module()
    model.register_buffer("mean", torch.zeros(3, device="meta"))
    assert nclib.Backbone("own", model).device.type == "meta"


VIT = nclib.backbone("test_vit", weights="random", device="cpu")
REFUSED = {
    "channels last": (net(), IMAGES.permute(0, 2, 3, 1), r"\(N, 3, H, W\), which inputs\.permute\(0, 3, 1, 2\) is"),
    "grey": (net(), IMAGES[:, :1], r"\(N, 3, H, W\), which inputs\.expand\(-1, 3, -1, -1\) is"),
    "with alpha": (net(), torch.rand(6, 4, 12, 12), r"\(N, 3, H, W\), which inputs\[:, :3\] is"),
    "colours for grey": (net(1), IMAGES, r"\(N, 1, H, W\), which inputs\.mean\(1, keepdim=True\) is"),
    "grey, channels last": (net(), torch.rand(6, 12, 12, 1), r"permute\(0, 3, 1, 2\)\.expand\(-1, 3, -1, -1\) is"),
    "two channels": (net(), torch.rand(6, 2, 12, 12), r"it takes \(N, 3, H, W\)\. It fails in its layer '0', Conv2d"),
    "one image": (net(), IMAGES[0], r"inputs\[None\] for a single image, inputs\.unsqueeze\(1\)\.expand"),
    "no channels": (net(1), IMAGES[:, 0], r"inputs\.unsqueeze\(1\) for images \(N, H, W\)"),
    "rows": (net(), torch.rand(6, 10), r"\(6, 10\), float32: it takes \(N, 3, H, W\)"),
    "wide rows": (nn.Sequential(nn.Linear(5, 3), nn.ReLU()), torch.rand(6, 10), r"it takes \(N, 5\)"),
    "integers": (net(), (255 * IMAGES).int(), r"int32: give floats .* or pictures as bytes, uint8"),
    "booleans": (net(), IMAGES > 0.5, r"bool: give floats"),
    "complex": (net(), IMAGES + 0j, r"complex64: it takes real numbers: inputs\.abs\(\)"),
    "too small": (net(), IMAGES[..., :2, :2], r"Kernel size can't be greater than actual input size"),
    "timm's size": (
        VIT,
        IMAGES,
        r"made for \(3, 160, 160\); torch\.nn\.functional\.interpolate\(inputs, \(160, 160\)\)",
    ),
    "two arguments": (nn.Bilinear(2, 2, 2), torch.rand(6, 2), "missing 1 required positional argument"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_a_model_does_not_take_are_named_with_the_cure(name):
    model, inputs, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        nclib.extract(model, inputs)
    assert "cannot take inputs" in str(error.value)


def test_torchvisions_size_is_named():
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match=r"made for \(3, 224, 224\)"):
        nclib.extract(vit_b_32(), torch.rand(1, 3, 64, 64))


def test_complexity_and_tuning_say_the_same():
    turned = IMAGES.permute(0, 2, 3, 1)
    tuned = nclib.full_tuning(nn.Sequential(*net(), nn.Linear(16, 3)), 3)
    before = {name: value.clone() for name, value in tuned.state_dict().items()}
    with pytest.raises(ValueError, match=r"Sequential cannot take .* which inputs\.permute\(0, 3, 1, 2\) is"):
        nclib.geometric_complexity(net(), turned)
    with pytest.raises(ValueError, match=r"tuned full cannot take .* which inputs\.permute\(0, 3, 1, 2\) is"):
        nclib.finetune(tuned, (turned, LABELS), nclib.Tuning(epochs=1, probe_first=False))
    assert all(torch.equal(before[name], value) for name, value in tuned.state_dict().items())


def test_a_failing_model_of_any_error_is_reported_and_the_others_are_ranked():
    ranking = nclib.rank_models([nclib.Backbone("vit", VIT.model, last=VIT.last), net()], (IMAGES, LABELS))
    assert list(ranking.table.index) == ["Sequential"]
    assert "made for (3, 160, 160)" in ranking.failures["vit"]


def test_rows_that_are_not_one_for_each_input_are_refused():
    unbatched = nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="layer last of Sequential gives 16 rows for 3 inputs, not one each"):
        nclib.extract(unbatched, IMAGES[0])


def test_complex_features_are_refused():
    model = nclib.Backbone("own", net(), last=lambda x: torch.fft.fft(x.mean((2, 3))))
    with pytest.raises(ValueError, match=r"layer last of own gives torch\.complex64; features must be real"):
        nclib.extract(model, IMAGES)


BAD = IMAGES.clone()
BAD[2, 0, 0, 0], BAD[4, 1] = float("nan"), float("inf")
BROKEN = {
    "tensor": lambda use: use(BAD),
    "with labels": lambda use: use((BAD, LABELS)),
    "list": lambda use: use([*BAD.numpy()]),
    "pairs": lambda use: use(list(zip(BAD, LABELS.tolist(), strict=True))),
    "stream": lambda use: use(zip(BAD, LABELS.tolist(), strict=True)),
    "loader": lambda use: use(torch.utils.data.DataLoader([*zip(BAD, LABELS.tolist(), strict=True)], batch_size=4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_inputs_with_nan_or_infinity_are_counted_and_named(name):
    with pytest.raises(ValueError, match=r"NaN or infinity in 2 rows of (6|the 6 from row 0 on): 2, 4; leave out"):
        BROKEN[name](lambda data: nclib.extract(net(), data))
    with pytest.raises(ValueError, match=r"NaN or infinity in 2 rows of (6|the 6 from row 0 on): 2, 4; leave out"):
        BROKEN[name](lambda data: nclib.geometric_complexity(net(), data, method="rademacher"))


def test_what_a_network_would_swallow_is_refused_and_large_numbers_are_not():
    swallowed = IMAGES.clone()
    swallowed[1] = -float("inf")
    with pytest.raises(ValueError, match="in 1 row of 6: 1;"):
        nclib.extract(nn.Sequential(nn.Flatten(), nn.ReLU()), swallowed)
    large = torch.full((2, 4), 6e4, dtype=torch.float16)  # whose sum is none
    assert finite(large) is large


def test_tuning_refuses_nan_before_anything_is_trained():
    tuned = nclib.full_tuning(nn.Sequential(*net(), nn.Linear(16, 3)), 3)
    for data in ((BAD, LABELS), list(zip(BAD, LABELS.tolist(), strict=True))):
        with pytest.raises(ValueError, match="NaN or infinity in 2 rows"):
            nclib.finetune(tuned, data, nclib.Tuning(epochs=1, probe_first=False))


def test_features_with_nan_of_finite_inputs_are_warned_of(monkeypatch):
    model = nclib.Backbone("own", net(), last=lambda x: (x.mean((2, 3)) - 9).log())
    with pytest.warns(UserWarning, match="layer last of own gives NaN or infinity for 6 images of the 6 from row 0"):
        nclib.extract(model, IMAGES)
    monkeypatch.setattr(nclib.data.items, "_TOGETHER", 4)
    with pytest.warns(UserWarning, match="for 2 images of the 2 from row 4 on: 4, 5"):
        nclib.extract(model, zip(IMAGES, LABELS.tolist(), strict=True))


def test_what_a_function_of_c_does_not_take_is_named_as_of_any_other():
    function = partial(nn.functional.linear, weight=torch.eye(4))
    with pytest.raises(ValueError, match=r"own cannot take inputs \(2, 3\), float32.* mat1 and mat2"):
        nclib.extract(nclib.Backbone("own", nn.Identity(), last=function), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"function cannot take inputs \(.*3\), float32.* mat1 and mat2"):
        nclib.geometric_complexity(function, torch.zeros(2, 3))


def test_inputs_of_one_dimension_are_named():
    with pytest.raises(ValueError, match="inputs hold NaN or infinity in 1 row of 2: 1"):
        nclib.extract(nn.Linear(3, 2), torch.tensor([1.0, float("nan")]))


def test_bytes_as_floats_are_warned_of_where_a_model_says_how_it_was_trained(recwarn):
    bright = (255 * torch.rand(3, 3, 64, 64)).round()
    resnet = nclib.backbone("test_resnet", weights="random", device="cpu")
    for use in (nclib.extract, lambda m, x: nclib.geometric_complexity(m, x, method="rademacher", number=2)):
        with pytest.warns(UserWarning, match=r"inputs run from 0 to 255, as bytes do; .* test_resnet was trained on"):
            use(resnet, bright)
    with pytest.warns(UserWarning, match="as bytes do"):
        nclib.extract(timm.create_model("test_resnet", num_classes=0), bright)
    recwarn.clear()
    nclib.extract(resnet, bright / 255)
    nclib.extract(resnet, bright.byte())
    nclib.extract(net(), bright)
    assert not [each for each in recwarn if "as bytes do" in str(each.message)]


def test_bytes_have_a_complexity_as_their_transform_prepares_them():
    resnet = nclib.backbone("test_resnet", weights="random", device="cpu")
    pictures = (255 * torch.rand(2, 3, 64, 64)).byte()
    images = nclib.ImageSet(pictures, torch.tensor([0, 1]), ("a", "b"))
    how = {"method": "rademacher", "number": 2}
    assert nclib.geometric_complexity(resnet, pictures, **how).value == pytest.approx(
        nclib.geometric_complexity(resnet, images, **how).value
    )


WRONG = {
    "a string": ({"layers": "0,last"}, TypeError, r"such as \['0', 'last'\]"),
    "a number": ({"layers": 0}, TypeError, r"layers are 0; give a list"),
    "none": ({"layers": None}, TypeError, r"layers are None; give a list"),
    "a real number": ({"layers": [0.0]}, TypeError, r"layers hold 0\.0; each must be a name, or a place"),
    "true": ({"layers": [True]}, TypeError, "layers hold True"),
    "no list": ({"layers": [["0"]]}, TypeError, r"layers hold \['0'\]"),
    "a batch of text": ({"batch_size": "4"}, ValueError, "batch_size is '4'; it must be a whole number, at least 1"),
    "a part": ({"batch_size": 2.5}, ValueError, r"batch_size is 2\.5; it must be a whole number"),
    "less than none": ({"workers": -1}, ValueError, "workers is -1; it must be at least 0"),
    "yes": ({"half": "yes"}, ValueError, "half is 'yes'; it must be True, False or None"),
    "no folder": ({"cache": 3}, TypeError, "cache is 3; it must be the path of a folder"),
    "a name": ({"model": "resnet18"}, TypeError, r"model is str; .*: nclib\.backbone\('resnet18'\)"),
    "a function": ({"model": torch.flatten}, TypeError, r"nclib\.Backbone\(name, module, last=function\)"),
    "meta": ({"model": net().to("meta")}, ValueError, "the model has no numbers yet; load weights"),
    "lazy": ({"model": nn.LazyLinear(3)}, ValueError, "the model has no numbers yet"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_arguments_say_what_they_must_be(name):
    wrong, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        nclib.extract_layers(**({"model": net(), "images": IMAGES, "layers": ["last"]} | wrong))


def test_layers_may_be_any_list():
    model = net()
    for layers in (range(2), np.arange(2), (place for place in (0, 1)), {0: "a", 1: "b"}):
        assert [*nclib.extract_layers(model, IMAGES, layers)] == ["0", "1"]


class Words:
    """A tokenizer that counts letters."""

    model_max_length = 9

    def __call__(self, texts, **options):
        return {"input_ids": [[len(word) for word in text.split()] for text in texts]}


def encoder(dtype=torch.float32):
    states = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Embedding.from_pretrained(states).to(dtype)
    looked_up = SimpleNamespace(last_hidden_state=None)

    class Model(nn.Module):
        config = SimpleNamespace(num_hidden_layers=0)

        def __init__(self):
            super().__init__()
            self.states = model

        def forward(self, input_ids, attention_mask):
            looked_up.last_hidden_state = self.states(input_ids)
            return looked_up

    return nclib.TextEncoder("own", Model(), Words(), "mean")


def test_a_pooling_must_be_known():
    with pytest.raises(ValueError, match="pooling is 'max'; it must be 'mean' or 'first'"):
        nclib.TextEncoder("own", nn.Identity(), lambda texts: texts, "max")


TEXTS = nclib.Texts(("a bb", "ccc dddd", "ee a f"), torch.tensor([0, 1, 1]), ("x", "y"))


PURRS = [("it purrs", "cat"), ("it barks", "dog")]


def test_texts_may_be_any_list_and_have_labels():
    expected = nclib.text_features(encoder(), list(TEXTS.texts))
    for texts in (TEXTS, np.array(TEXTS.texts), (text for text in TEXTS.texts)):
        assert torch.equal(nclib.text_features(encoder(), texts), expected)
    coarse = nclib.text_features(encoder(torch.bfloat16), TEXTS)
    assert (coarse.dtype, coarse.rounding) == (torch.float32, 2**-7)
    torch.testing.assert_close(coarse, expected, rtol=0.02, atol=0.01)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nclib.text_features(encoder(), [1, "a"]), TypeError, "texts hold 1 in row 0; .* leave out 1 row"),
        (
            lambda: nclib.text_features(encoder(), ["a", None, None]),
            TypeError,
            "hold None in row 1; .* leave out 2 rows",
        ),
        (
            lambda: nclib.text_features(encoder(), pd.DataFrame({"text": ["a"]})),
            TypeError,
            r"give one column: table\['text'\]",
        ),
        (lambda: nclib.text_features(encoder(), IMAGES), TypeError, r"nclib\.extract computes features of images"),
        (lambda: nclib.text_features(net(), ["a"]), TypeError, r"encoder is Sequential; it must be a TextEncoder"),
        (lambda: nclib.text_features(encoder().model, ["a"]), TypeError, r"nclib\.TextEncoder\(name, model, tokenizer"),
        (lambda: nclib.extract(encoder(), ["a"]), TypeError, r"own is an encoder of texts; nclib\.text_features"),
        (lambda: nclib.extract(encoder(), IMAGES), TypeError, r"own is an encoder of texts; nclib\.text_features"),
        (lambda: nclib.extract(net(), ["it purrs"]), ValueError, r"'it purrs', is not a file; nclib\.text_features"),
        (lambda: nclib.extract(net(), ["a.png"]), ValueError, "item 0: a.png cannot be read as an image"),
        (
            lambda: nclib.rank_models("x", PURRS),
            ValueError,
            r"'it purrs', is not a file; .* nclib\.Texts\(texts, labels\)",
        ),
        (lambda: nclib.rank_models("x", tuple(zip(*PURRS, strict=True))), ValueError, "'it purrs', is not a file"),
        (lambda: nclib.rank_models("x", iter(PURRS)), ValueError, "'it purrs', is not a file"),
        (
            lambda: nclib.rank_models("x", [{"text": "it purrs", "label": 0}]),
            ValueError,
            r"an item has text, label; .*; for texts, give nclib\.Texts\(texts, labels\)",
        ),
        (lambda: nclib.extract(nn.Flatten, IMAGES), TypeError, r"model is the class Flatten; .*: Flatten\(\.\.\.\)"),
        (
            lambda: nclib.Backbone(nn.Flatten(), "own"),
            TypeError,
            "name and model are Flatten and str; they must be a text",
        ),
        (lambda: nclib.Backbone("own", nn.Flatten(), "resize"), TypeError, "transform is str; it must be a function"),
        (
            lambda: nclib.extract(net(), IMAGES, cache=__file__),
            ValueError,
            r"test_inputs\.py, a file; it must be the path",
        ),
        (lambda: nclib.extract(net(), ["it purrs " * 999]), ValueError, r"is not a file; nclib\.text_features"),
        (lambda: nclib.extract(net(), TEXTS), TypeError, r"Texts hold no images; nclib\.text_features"),
        (lambda: nclib.feature_statistics(net(), TEXTS), TypeError, r"Texts hold no images; nclib\.text_features"),
        (lambda: nclib.layerwise(net(), TEXTS, TEXTS), TypeError, r"Texts hold no images; nclib\.text_features"),
        (lambda: nclib.layerwise(encoder(), IMAGES, IMAGES), TypeError, "for an encoder of texts it must be Texts"),
        (lambda: nclib.geometric_complexity(encoder(), TEXTS), TypeError, "own is an encoder of texts, whose tokens"),
        (lambda: nclib.linear_probe(encoder(), 2), TypeError, "own is an encoder of texts; only models of images"),
    ],
)
def test_texts_and_images_point_to_each_other(call, error, message):
    with pytest.raises(error, match=message):
        call()
    tokens = encoder().tokens(["a bb"])
    assert nclib.extract(encoder(), tokens).shape == (1, 4)
