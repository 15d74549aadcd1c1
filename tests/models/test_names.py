"""Names of models: what wildcards and "popular" stand for, which are refused, and what is said without a hub."""

import socket
import time

import pytest
import timm
from huggingface_hub import constants

import nclib
from nclib import model_names
from nclib.models import hub
from nclib.models.names import POPULAR
from nclib.models.text_encoders import POPULAR_ENCODERS, encoder_names


def test_wildcards_are_timms():
    assert model_names("resnet18*") == timm.list_models("resnet18*", pretrained=True)
    assert model_names("resnet18*", weights="random") == timm.list_models("resnet18*")
    assert model_names("resnet18.a?_in1k", weights="random") == [f"resnet18.a{i}_in1k" for i in (1, 2, 3)]
    assert model_names("resnet[13][48]", weights="random") == ["resnet18", "resnet34"]
    assert model_names("torchvision:vgg1[13]") == ["torchvision:vgg11", "torchvision:vgg13"]


def test_a_name_that_is_given_twice_is_one():
    assert model_names(["resnet18.a1_in1k", "resnet18.a[12]_in1k", "resnet18.a1_in1k"]) == [
        "resnet18.a1_in1k",
        "resnet18.a2_in1k",
    ]


def test_popular_models_are_there_and_small():
    assert model_names(["popular", "resnet18.a1_in1k"]) == [*POPULAR]
    assert set(POPULAR) <= set(timm.list_models(pretrained=True))
    for name in POPULAR:
        size = sum(parameter.numel() for parameter in timm.create_model(name, device="meta").parameters())
        assert size < 90e6
    assert encoder_names("popular") == [*POPULAR_ENCODERS]


def test_checkpoints_are_found_by_a_wildcard(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.safetensors").touch()
    found = model_names(f"recipe:{tmp_path}/*.safetensors")
    assert found == [f"recipe:{tmp_path}/{name}.safetensors" for name in "ab"]
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*c\.safetensors; there is no folder no/such"):
        model_names([f"recipe:{tmp_path}/c.safetensors", "local-dir:no/such"])


def test_all_names_that_are_wrong_are_named_at_once():
    names = ["ResNet50", "resnet18", "resnet18.nope", "timm/resnet18", "torchvision:resnet19", "vitt*", "coatnet_0_224"]
    with pytest.raises(ValueError, match="timm has no model") as caught:
        model_names(names)
    said = str(caught.value).split("; ")
    assert "timm has no model 'ResNet50'" in said
    assert any(part.startswith("similar names are resnet50") for part in said)
    assert "timm has no weights 'nope' of resnet18" in said
    assert "use 'hf-hub:timm/resnet18' for one of the hub, 'local-dir:PATH' for one in a folder" in said
    assert "torchvision has no model 'resnet19'" in said
    assert "'vitt*' matches no model of timm" in said
    assert "timm has no pretrained weights of 'coatnet_0_224'" in said
    assert said[-1].endswith("imports=[...], --import on the command line")
    assert said.count(said[-1]) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coatnet_?_224", "matches 6 models of timm, but none with pretrained weights"),
        ("hf-hub:timm/resnet*", "is a wildcard; models of the hub need their full name"),
        ("torchvision:nothing*", r"'nothing\*' matches no model of torchvision"),
        ("", "timm has no model ''"),
    ],
)
def test_a_wildcard_that_stands_for_nothing_says_why(name, message):
    with pytest.raises(ValueError, match=message):
        model_names(name)


def test_names_that_only_the_hub_knows_are_left_to_it():
    names = ["hf-hub:timm/resnet18.a1_in1k@main", "hf_hub:timm/resnet18.a1_in1k"]
    assert model_names(names) == names
    assert encoder_names(["some/encoder", "some/encoder[:2]"]) == ["some/encoder", "some/encoder[:2]"]
    with pytest.raises(ValueError, match=r"'some/\*' is not the name of an encoder"):
        encoder_names("some/*")


def test_a_backbone_is_one_model():
    assert nclib.backbone("resnet18.a1*", weights="random", device="cpu").name == "resnet18.a1_in1k"
    with pytest.raises(ValueError, match=r"'resnet18\*' stands for 9 models, resnet18\.a1_in1k, .*; give one of them"):
        nclib.backbone("resnet18*")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A machine without a network, and with nothing in the hub's cache."""

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


FETCH = "fetch it where there is a network: `hf download "


@pytest.mark.parametrize("set_offline", [False, True])
def test_without_a_network_it_is_one_line_at_once(offline, monkeypatch, capfd, set_offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", set_offline)
    why = "HF_HUB_OFFLINE is set" if set_offline else r"cannot be reached \("
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError, match=rf"timm/test_vit.r160_in1k is not among .*{why}.*{FETCH}timm/test_vit"):
        nclib.backbone("test_vit", device="cpu")
    with pytest.raises(FileNotFoundError, match=f"{FETCH}timm/test_vit.r160_in1k --revision main`"):
        nclib.backbone("hf-hub:timm/test_vit.r160_in1k@main", device="cpu")
    assert time.monotonic() - begun < 10
    assert capfd.readouterr().err.count("Retrying") == 0
    assert set_offline == constants.HF_HUB_OFFLINE


def test_without_a_network_an_encoder_is_one_line_at_once(offline):
    pytest.importorskip("transformers")
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError, match=f"some/encoder is not among .*{FETCH}some/encoder`"):
        nclib.text_encoder("some/encoder[:2]", device="cpu")
    assert time.monotonic() - begun < 20


def test_what_fails_for_another_reason_is_told_as_it_is(offline):
    with pytest.raises(OSError, match="disk full"), hub.hub("timm/x"):
        raise OSError("disk full")
