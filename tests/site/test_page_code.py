"""What the pages say to do with other packages runs: the page's own code, without a copy of it here."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import nclib

BOOK = Path(__file__).parents[2] / "book"


def blocks(page: str, heading: str) -> list[str]:
    """The Python blocks below a heading, but for examples with a prompt, which other tests run."""
    text = re.split(rf"^#+ {re.escape(heading)}$", (BOOK / page).read_text(), flags=re.MULTILINE)[1]
    section = re.split(r"^##+ ", text, flags=re.MULTILINE)[0]
    return [code for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if not code.startswith(">>>")]


def run(codes: list[str], **names: object) -> dict:
    for code in codes:
        exec(code, names)
    return names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Files that a page writes go into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_a_page_without_the_heading_or_without_code_is_an_error():
    """Else the tests below would run nothing."""
    with pytest.raises(IndexError):
        blocks("in_training.md", "No such heading")
    for page, heading, number in RECIPES:
        assert len(blocks(page, heading)) == number
        assert all(len(code.splitlines()) <= 30 for code in blocks(page, heading))


RECIPES = [
    ("in_training.md", "With torchmetrics or Lightning", 1),
    ("in_training.md", "With the Trainer of Hugging Face", 2),
    ("own_models.md", "Export it to ONNX", 2),
]


def test_the_trainer_of_hugging_face_measures_saves_and_loads():
    for package in ("transformers", "accelerate"):
        pytest.importorskip(package)
    found = run(blocks("in_training.md", "With the Trainer of Hugging Face"))
    logged = [entry for entry in found["trainer"].state.log_history if "nc1" in entry]
    assert [entry["epoch"] for entry in logged] == [1, 2, 3]
    now = nclib.measure(nclib.extract(found["tuned"].backbone, found["images"]), found["images"].labels)
    assert (logged[-1]["nc1"], logged[-1]["cdnv"]) == pytest.approx((now["nc1"], now["cdnv"]), rel=1e-4)
    assert logged[0]["cdnv"] != pytest.approx(now["cdnv"], rel=1e-2)
    tuned, images = found["tuned"].cpu().eval(), torch.rand(3, 3, 64, 64)
    for again in (found["again"].tuned, found["same"]):
        torch.testing.assert_close(again.cpu().eval()(images), tuned(images))
    assert found["trainer"].predict(found["rows"][:5]).predictions.shape == (5, 10)


def data() -> dict:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(96) % 3
    images = torch.randn(96, 20, generator=generator) + 4 * torch.eye(3, 20)[labels]
    backbone = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.Tanh())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=8)
    return {"backbone": backbone, "loader": loader}


def stand_in(logged: list) -> dict[str, ModuleType]:
    """As much of Lightning as the page takes, its hooks called in Lightning's order: this shows our part."""

    class Module(torch.nn.Module):
        def log_dict(self, values):
            logged.append({name: float(value) for name, value in values.items()})

    class Trainer:
        def __init__(self, max_epochs, logger):
            self.max_epochs = max_epochs

        def fit(self, module, loader):
            optimizer = module.configure_optimizers()
            for _ in range(self.max_epochs):
                for number, batch in enumerate(loader):
                    optimizer.zero_grad()
                    module.training_step(batch, number).backward()
                    optimizer.step()
                module.on_train_epoch_end()

    made = {name: ModuleType(name) for name in ("lightning", "lightning.pytorch", "lightning.pytorch.loggers")}
    made["lightning"].LightningModule, made["lightning"].Trainer = Module, Trainer
    made["lightning.pytorch.loggers"].TensorBoardLogger = lambda folder: None
    return made


def check(logged: list[dict]) -> None:
    assert len(logged) == 5
    assert {"collapse/nc1", "collapse/nc3"} <= logged[0].keys()
    assert logged[-1]["collapse/nc1"] < logged[0]["collapse/nc1"]


def test_what_the_page_gives_to_lightning_logs_collapse_in_a_stand_in_for_it(monkeypatch):
    logged: list = []
    for name, module in stand_in(logged).items():
        monkeypatch.setitem(sys.modules, name, module)
    torch.manual_seed(0)
    run(blocks("in_training.md", "With torchmetrics or Lightning"), **data())
    check(logged)


def test_lightning_logs_collapse_for_tensorboard():
    pytest.importorskip("lightning")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    torch.manual_seed(0)
    run(blocks("in_training.md", "With torchmetrics or Lightning"), **data())
    (file,) = Path("logs").rglob("events*")
    events = reader.EventAccumulator(str(file)).Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith("collapse/")]
    check([{name: events.Scalars(name)[i].value for name in names} for i in range(5)])


@pytest.fixture
def tuned():
    network = nclib.backbone("test_resnet", weights="random", device="cpu")
    made = nclib.skip_tuning(network, "layer3.0", num_classes=10)
    torch.nn.init.normal_(made.head.weight)
    return made, nclib.load("digits", "test", per_class=1)


def test_what_goes_to_onnx_is_features_and_logits_of_any_number_of_images(tuned):
    """Without ONNX: torch's own program, which its export goes through, in the page's shapes."""
    model, test = tuned
    found = run(blocks("own_models.md", "Export it to ONNX")[:1], torch=torch, tuned=model, test=test)
    program = torch.export.export(found["exported"], (found["inputs"],), **found["options"]).module()
    for number in (2, 3, 7):
        images = torch.rand(number, *found["inputs"].shape[1:])
        features, logits = program(images)
        torch.testing.assert_close(features, model.features(images))
        torch.testing.assert_close(logits, model(images))


def test_onnx_gives_the_same_numbers(tuned):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    model, test = tuned
    found = run(blocks("own_models.md", "Export it to ONNX"), torch=torch, tuned=model, test=test)
    images = found["inputs"][:2]
    torch.testing.assert_close(torch.as_tensor(found["features"]), model.features(images), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.as_tensor(found["logits"]), model(images), rtol=1e-3, atol=1e-4)
