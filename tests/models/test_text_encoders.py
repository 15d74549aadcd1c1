"""Encoders of texts by name, held against a Hugging Face model that is made here: no download."""

import pytest
import torch
from typer.testing import CliRunner

import nclib
from nclib import Texts, rank_models, text_encoder, text_features, text_layers
from nclib.cli import app
from nclib.features.files import read_table

transformers = pytest.importorskip("transformers")

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "cat", "dog", "sat", "ran", "on", "mat", "road", "and", "then", "again"],
]
TEXTS = ["the cat sat on the mat", "the dog ran", "again and again and again and again the dog ran on the road"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small BERT of three layers with its tokenizer, as sentence encoders are saved."""
    path = tmp_path_factory.mktemp("models") / "bert"
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    return path


def states(folder, text, layer=-1):
    """What transformers itself says of one text: the states of its tokens after a layer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]


def test_features_are_means_of_states_whatever_the_batch(folder):
    expected = torch.stack([states(folder, text).mean(0) for text in TEXTS])
    for size in (1, 2, 32):
        found = text_features(f"folder:{folder}", TEXTS, batch_size=size)
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_pooling_may_take_the_first_token(folder):
    encoder = text_encoder(f"folder:{folder}", pooling="first", device="cpu")
    expected = torch.stack([states(folder, text)[0] for text in TEXTS])
    torch.testing.assert_close(text_features(encoder, TEXTS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_first_layers_of_a_model(folder, number):
    encoder = text_encoder(f"folder:{folder.name}[:{number}]", device="cpu", data_root=folder.parent)
    expected = torch.stack([states(folder, text, number).mean(0) for text in TEXTS])
    torch.testing.assert_close(text_features(encoder, TEXTS), expected, rtol=1e-4, atol=1e-5)


def test_long_texts_are_cut(folder):
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    assert encoder.tokens(TEXTS, length=4).shape == (3, 4)
    assert encoder.tokens(TEXTS).shape == (3, 15)
    assert encoder.tokens([" ".join(["dog"] * 100)]).shape == (1, 30)  # the model knows 32 positions
    assert text_features(encoder, [" ".join(["dog"] * 100)]).isfinite().all()
    assert (encoder.tokens(TEXTS)[1] == -1).sum() == 15 - 5


def test_encoders_train_as_any_module(folder):
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    encoder(encoder.tokens(TEXTS)).sum().backward()
    assert encoder.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def of_two_parts(kind, folder):
    """A small T5 or BART, saved with the tokenizer."""
    small = {"vocab_size": len(WORDS), "d_model": 16}
    torch.manual_seed(0)
    if kind == "t5":
        model = transformers.T5Model(transformers.T5Config(**small, d_kv=8, d_ff=16, num_layers=2, num_heads=2))
    else:
        sizes = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
        model = transformers.BartModel(transformers.BartConfig(**small, **sizes, max_position_embeddings=40))
    path = folder.parent / kind
    model.save_pretrained(path)
    transformers.BertTokenizer.from_pretrained(folder).save_pretrained(path)
    return path, model.eval()


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_of_a_model_of_two_parts_it_is_the_encoder(kind, folder):
    path, model = of_two_parts(kind, folder)
    encoder = text_encoder(f"folder:{path}", device="cpu")
    tokens = encoder.tokens(TEXTS[:1])
    with torch.no_grad():
        expected = model.get_encoder()(input_ids=tokens).last_hidden_state.mean(1)
    torch.testing.assert_close(text_features(encoder, TEXTS[:1]), expected, rtol=1e-4, atol=1e-5)
    assert text_features(f"folder:{path}[:1]", TEXTS).shape == (3, 16)


def test_a_text_without_tokens_is_named(folder):
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    assert text_features(encoder, ["", *TEXTS]).isfinite().all()  # it has the tokens that begin and end a text
    plain = encoder.tokenizer
    encoder.tokenizer = type(
        "Plain",
        (),
        {
            "model_max_length": 99,
            "__call__": lambda self, texts, **options: plain(texts, add_special_tokens=False, **options),
        },
    )()
    assert text_features(encoder, TEXTS).isfinite().all()
    with pytest.raises(ValueError, match=r"makes no token of 2 texts \(0, 2\); leave out"):
        text_features(encoder, ["", TEXTS[0], " "])


def test_encoders_are_ranked_for_texts(folder):
    classes = {"cat": "the cat sat on the {}", "dog": "the dog ran and ran on {}", "road": "{} again then the road"}
    rows = [(text.format(end), k) for k, text in enumerate(classes.values()) for end in ("mat", "road", "cat", "and")]
    texts = Texts(tuple(text for text, _ in rows), torch.tensor([k for _, k in rows]), tuple(classes))
    names = [f"folder:{folder}[:{number}]" for number in (1, 2, 3)]
    ranking = rank_models(names, texts, scores=["face", "logme"], device="cpu", verify=1)
    assert "held-out texts" in ranking.sentence
    assert set(ranking.certainty.table.index) == set(ranking.table.index)
    assert sorted(ranking.table.index) == names
    with pytest.raises(FileNotFoundError, match=r"folder:nowhere is not at .*; folder:nor/here is not at"):
        rank_models([*names, "folder:nowhere", "folder:nor/here[:2]"], texts)
    features = text_features(text_encoder(names[0], device="cpu"), texts.texts)
    logme = nclib.logme(nclib.class_statistics(features, texts.labels))
    assert ranking.table.loc[names[0], "logme"] == pytest.approx(logme)
    with pytest.raises(ValueError, match="weights can be given for images only, and these are texts"):
        rank_models(names, texts, weights="random")
    with pytest.raises(ValueError, match="each needs a name of its own"):
        rank_models([text_encoder(names[0], device="cpu"), names[0]], texts)
    bare = rank_models([str(folder)], texts, scores=["logme"], device="cpu")  # as text_encoder takes it
    assert bare.table["logme"].tolist() == [ranking.table.loc[names[2], "logme"]]
    named = f"folder:{folder.name}"
    assert list(rank_models([named], texts, scores=["logme"], device="cpu", data_root=folder.parent).table.index) == [
        named
    ]


def test_what_is_wrong_is_said(folder, monkeypatch):
    clip = folder.parent / "clip"
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = {"text_config": small | {"vocab_size": len(WORDS)}, "vision_config": small | {"image_size": 32}}
    transformers.CLIPModel(transformers.CLIPConfig(**parts)).save_pretrained(clip)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(clip)
    for end, message in (
        ("", "returns no token states|have to specify pixel_values"),
        ("[:1]", "the layers of .* cannot be found"),
    ):
        with pytest.raises(ValueError, match=message):
            text_encoder(f"folder:{clip}{end}", device="cpu")
    with pytest.raises(ValueError, match="asks for 4 layers; the model has 3"):
        text_encoder(f"folder:{folder}[:4]")
    with pytest.raises(ValueError, match="pooling is 'max'; it must be 'mean' or 'first'"):
        text_encoder(f"folder:{folder}", pooling="max")
    with pytest.raises(FileNotFoundError, match="the files of a Hugging Face model"):
        text_encoder("folder:no/such")
    with pytest.raises(ValueError, match="give a list of at least one text"):
        text_features(f"folder:{folder}", "one text")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "nctransfer\[transformers\]"'):
        text_encoder(f"folder:{folder}")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A table of texts of two classes for each split, and the same as `Texts`."""
    folder = tmp_path_factory.mktemp("texts")
    endings = ("mat", "road", "cat", "and", "then", "again")
    rows = [f"{text} {end},{k}" for k, text in (("sit", "the cat sat on the"), ("run", "a dog ran")) for end in endings]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("\n".join(["said,kind", *rows]), "utf-8")
    columns = {"text_column": "said", "label_column": "kind"}
    name = f"file:{folder}/{{split}}.csv"
    return name, *(nclib.texts(name, split, **columns) for split in ("train", "test"))


def test_layers_are_the_hidden_states(folder):
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    assert encoder.layers == ("layers.0", "layers.1", "layers.2")
    found = text_layers(encoder, TEXTS, [0, "layers.1", -1, "last"], batch_size=2)
    assert list(found) == ["layers.0", "layers.1", "layers.2", "last"]
    for number, values in enumerate([*found.values()][:3], 1):
        expected = torch.stack([states(folder, text, number).mean(0) for text in TEXTS])
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found["layers.2"], found["last"])
    assert torch.equal(found["last"], text_features(encoder, TEXTS, batch_size=2))
    first = text_layers(text_encoder(f"folder:{folder}", pooling="first", device="cpu"), TEXTS, ["layers.0"])
    torch.testing.assert_close(first["layers.0"], torch.stack([states(folder, text, 1)[0] for text in TEXTS]))
    for wrong, message in ((["layers.3"], "has no layer 'layers.3'; there are layers.0, .*, last"), ([3], "0..2")):
        with pytest.raises(ValueError, match=message):
            text_layers(encoder, TEXTS, wrong)
    with pytest.raises(TypeError, match="layers are 'last'; give a list"):
        text_layers(encoder, TEXTS, "last")


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_layers_of_a_model_of_two_parts_are_its_encoders(kind, folder):
    path, _ = of_two_parts(kind, folder)
    found = text_layers(f"folder:{path}", TEXTS, [0, 1, "last"])
    assert [tuple(values.shape) for values in found.values()] == [(3, 16)] * 3
    torch.testing.assert_close(found["layers.1"], found["last"])


def test_collapse_and_accuracy_by_layer_of_texts(folder, task):
    _, train, test = task
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    table = nclib.layerwise(encoder, train, test, batch_size=4)
    assert list(table.index) == [*encoder.layers, "last"]
    for layer, values in text_layers(encoder, train.texts, ["layers.0", "last"]).items():
        expected = nclib.measure(values, train.labels, metrics=["nc1"])["nc1"]
        assert table.loc[layer, "nc1"] == pytest.approx(expected, rel=1e-4)
    assert table["accuracy"].between(0, 1).all()
    with pytest.raises(
        TypeError, match=r"train is ImageSet; for an encoder of texts it must be Texts, as nclib\.texts returns"
    ):
        nclib.layerwise(encoder, nclib.load("digits", per_class=1), test)


def test_encoders_are_ranked_over_their_layers(folder, task):
    _, train, _ = task
    encoder = text_encoder(f"folder:{folder}", device="cpu")
    found = rank_models([encoder], train, scores=["gbc", "logme"], layers="best", verify=1)
    for layer, values in text_layers(encoder, train.texts, [*encoder.layers, "last"]).items():
        value = nclib.logme(nclib.class_statistics(values, train.labels))
        assert found.by_layer.loc[(encoder.name, layer), "logme"] == pytest.approx(value, rel=1e-4)
    assert found.table["layer"].iloc[0] == found.layers[encoder.name]["logme"]
    one = nclib.Texts(train.texts[:3], torch.zeros(3, dtype=torch.int64), ("sit",))
    with pytest.raises(ValueError, match="of one class, sit; a ranking needs at least 2"):
        rank_models([encoder], one, layers="best")


@pytest.mark.parametrize("layer", ["last", "1", "layers.1"])
def test_the_command_line_extracts_features_of_texts(folder, task, tmp_path, layer):
    name, train, _ = task
    columns = ["--text-column", "said", "--label-column", "kind", "--device", "cpu", "--layer", layer]
    done = CliRunner().invoke(app, ["extract", f"folder:{folder}", name, str(tmp_path / "x.npz"), *columns])
    assert done.exit_code == 0, done.output
    assert "12 texts, 2 classes, 16 features" in done.stdout
    written = read_table(tmp_path / "x.npz")
    asked = "last" if layer == "last" else "layers.1"
    expected = text_layers(f"folder:{folder}", train.texts, [asked])[asked].cpu()
    torch.testing.assert_close(torch.as_tensor(written["features"]), expected)
    assert written["labels"].tolist() == train.labels.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "folder:no/such"}, "folder:no/such is not at"),
        ({"data": "file:no/such.csv"}, "file:no/such.csv is not at"),
        ({"layer": "layers.9"}, "has no layer 'layers.9'; there are layers.0"),
        ({"split": "validation"}, "split is 'validation'"),
        ({"model": "popular"}, "'popular' stands for 6 encoders"),
    ],
)
def test_the_command_line_says_what_is_wrong_with_texts(folder, task, tmp_path, change, message):
    given = {"model": f"folder:{folder}", "data": task[0], "layer": "last", "split": "train"} | change
    words = ["--text-column", "said", "--label-column", "kind", "--layer", given["layer"], "--split", given["split"]]
    done = CliRunner().invoke(app, ["extract", given["model"], given["data"], str(tmp_path / "x.npz"), *words])
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
