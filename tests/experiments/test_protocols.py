"""Protocols: what is fixed before it is confirmed, which records confirm it, and how its digest notices a change."""

import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from nclib.experiments import protocols, studies
from nclib.experiments.chapters import source
from nclib.experiments.claims import judge
from nclib.experiments.protocols import PROTOCOLS, Protocol, confirming, in_force, stamped
from nclib.experiments.records import Records, fill
from nclib.experiments.scales import settings
from workflow.measures import RECORDS, ROOT
from workflow.protocols import JUDGING, definitions, digest, meaning, measuring, reached

SEEDS = {"demo": (10, 11), "lab": (10,)}
ONE = Protocol("source", 1, ("source_collapse",), SEEDS, "d" * 16, "because")


@pytest.fixture
def one_protocol(monkeypatch):
    monkeypatch.setattr(protocols, "PROTOCOLS", (replace(ONE, digest="old"), ONE))


def record(seed=10, scale="demo", study="source_collapse", commit="abc", **made):
    head = {"study": study, "scale": scale, "seed": seed, "config": {"augmentation": 1.0}}
    return head | {"provenance": {"commit": commit} | made}


def test_records_of_its_seeds_carry_its_digest(one_protocol):
    assert in_force("source_collapse", "demo") is ONE
    assert stamped(record())["provenance"] == {"commit": "abc", "protocol": ONE.digest}
    for other in (record(seed=0), record(seed=11, scale="lab"), record(study="fine_tuning")):
        assert stamped(other) == other


def test_a_record_with_settings_that_its_protocol_leaves_out_carries_no_digest(monkeypatch):
    for allowed, there in ((1.0, True), (0.0, False)):
        monkeypatch.setattr(protocols, "PROTOCOLS", (replace(ONE, only={"augmentation": (allowed,)}),))
        assert ("protocol" in stamped(record())["provenance"]) == there


def test_records_of_another_protocol_or_of_changed_sources_do_not_confirm(one_protocol):
    good = record(protocol=ONE.digest)
    others = [record(), record(protocol="old"), record(commit="abc+", protocol=ONE.digest)]
    others.append(record(commit=None, protocol=ONE.digest))
    assert confirming([good, *others]) == [good]
    others.append({**record(), "provenance": {"protocol": ONE.digest}})
    assert confirming([good, *others]) == [good]


def test_records_of_a_protocol_before_it_was_corrected_confirm(monkeypatch):
    monkeypatch.setattr(protocols, "PROTOCOLS", (replace(ONE, amended={"before": "a mistake"}),))
    before, now = record(protocol="before"), record(protocol=ONE.digest)
    assert confirming([before, now, record(protocol="other")]) == [before, now]


def test_a_later_record_that_does_not_confirm_takes_no_place_of_one_that_does(one_protocol, monkeypatch, tmp_path):
    def measure(cell):
        return {"nc1": 1.0 + cell["augmentation"], "nc1_ratio": 1.0, "accuracy": [0.5 + cell["seed"] / 1000] * 5}

    monkeypatch.setattr("nclib.experiments.records.versions", lambda: {"commit": "abc"})
    records, cells = Records(tmp_path), studies.cells_of("source_collapse", "demo")
    fill(records, "source_collapse", "demo", cells, measure)
    last = records.select("source_collapse", "demo", cells)[-1]
    records.append(last | {"provenance": last["provenance"] | {"commit": "abc+"}})
    assert len(studies.declared(records, "source_collapse", "demo")) == len(cells)
    for each in records.select("source_collapse", "demo", cells):
        records.append(each | {"provenance": each["provenance"] | {"protocol": "other"}})
    assert len(studies.declared(records, "source_collapse", "demo")) == len(cells)
    lines = records.path("source_collapse", "demo").read_text().splitlines()[len(cells) :]
    records.path("source_collapse", "demo").write_text("\n".join(lines))
    verdict, *_ = studies.verdicts(records, "demo", "source_collapse")
    assert (verdict.word, verdict.why) == (
        "not run yet",
        f"{len(cells)} records of its seeds were not made under its protocol",
    )


def test_a_study_is_of_the_seeds_that_confirm_and_judged_on_exploration_until_they_are_there(one_protocol, tmp_path):
    for study, scale, seeds in (
        ("source_collapse", "demo", (10, 11)),
        ("source_collapse", "paper", settings("paper").seeds),
        ("fine_tuning", "demo", settings("demo").seeds),
    ):
        assert {cell["seed"] for cell in studies.cells_of(study, scale)} == {*seeds}

    def measure(cell):
        return {"nc1": 1.0 + cell["augmentation"], "nc1_ratio": 1.0, "accuracy": [0.5 + cell["seed"] / 1000] * 5}

    records = Records(tmp_path)
    explored = source.source_collapse(settings("demo"), settings("demo").seeds)
    fill(records, "source_collapse", "demo", explored, measure)
    fill(records, "source_collapse", "demo", source.source_collapse(settings("demo"), [10]), measure)
    assert studies.declared(records, "source_collapse", "demo") is None
    by_key = {verdict.claim.key: verdict for verdict in studies.verdicts(records, "demo", "source_collapse")}
    assert (by_key["A1-mechanism"].number, by_key["A1-mechanism"].confirmed) == (3, False)


@pytest.mark.parametrize(
    ("found", "protocol", "said"),
    [
        ("fails", ONE.digest, "undecided (holds here, fails on a toaster)"),
        ("holds", ONE.digest, "holds"),
        ("fails", "old", "holds"),
    ],
)
def test_what_another_processor_finds_otherwise_is_undecided(
    one_protocol, monkeypatch, tmp_path, found, protocol, said
):
    def measure(cell):
        augmented = cell["augmentation"] + cell["seed"] / 1000
        return {"nc1": 1.0 + augmented, "nc1_ratio": 1.0, "accuracy": [0.5 + augmented / 100] * 5}

    monkeypatch.setattr("nclib.experiments.records.versions", lambda: {"commit": "abc"})
    records = Records(tmp_path / "book" / "records")
    fill(records, "source_collapse", "demo", studies.cells_of("source_collapse", "demo"), measure)
    row = {"claim": "A1-mechanism", "scale": "demo", "protocol": protocol, "processor": "a toaster", "word": found}
    pd.DataFrame([row | {"said": ""}]).to_csv(tmp_path / "book" / studies.ELSEWHERE, index=False)
    by_key = {verdict.claim.key: verdict for verdict in studies.verdicts(records, "demo", "source_collapse")}
    assert str(by_key["A1-mechanism"]).startswith(said)
    assert by_key["A1-mechanism"].confirmed
    assert not by_key["A1-mechanism"].survives or by_key["A1-mechanism"].word == "holds"


def test_a_protocol_may_follow_another_at_one_scale_and_with_some_of_its_cells(monkeypatch, tmp_path):
    def measure(cell):
        return {"nc1": 1.0 + cell["augmentation"], "nc1_ratio": 1.0, "accuracy": [0.5 + cell["seed"] / 1000] * 5}

    monkeypatch.setattr("nclib.experiments.records.versions", lambda: {"commit": "abc"})
    monkeypatch.setattr(protocols, "PROTOCOLS", (ONE,))
    records, whole = Records(tmp_path), studies.cells_of("source_collapse", "demo")
    fill(records, "source_collapse", "demo", whole, measure)
    assert studies.earlier(records, "source_collapse", "demo") is None
    allowed = (whole[0]["augmentation"],)
    second = replace(ONE, number=2, seeds={"demo": (20, 21, 22)}, digest="e" * 16, only={"augmentation": allowed})
    monkeypatch.setattr(protocols, "PROTOCOLS", (ONE, second))
    assert in_force("source_collapse", "demo") is second
    assert in_force("source_collapse", "lab") is ONE
    cells = studies.cells_of("source_collapse", "demo")
    assert {cell["seed"] for cell in cells} == {20, 21, 22}
    assert {cell["augmentation"] for cell in cells} == set(allowed)
    assert studies.declared(records, "source_collapse", "demo") is None
    assert len(studies.earlier(records, "source_collapse", "demo")) == len(whole)
    fill(records, "source_collapse", "demo", cells, measure)
    assert len(studies.declared(records, "source_collapse", "demo")) == len(cells)
    assert len(studies.earlier(records, "source_collapse", "demo")) == len(whole)


def test_a_protocol_may_follow_for_a_single_claim(monkeypatch, tmp_path):
    def measure(cell):
        later = cell["seed"] >= 20
        moved = 0.02 * (cell["method"] == "skip") * later + cell["seed"] / 1e4 * (cell["method"] == "skip")
        return {"nc1": 1.0, "accuracy": 0.5 + moved, "body_share": 0.08, "loss": 1.0, "train_loss": 0.5}

    def words(records):
        return {each.claim.key: each for each in studies.verdicts(records, "demo", "fine_tuning")}

    monkeypatch.setattr("nclib.experiments.records.versions", lambda: {"commit": "abc"})
    first = Protocol("fine_tuning", 1, ("fine_tuning",), {"demo": (10, 11, 12)}, "d" * 16, "because")
    fresh = {"demo": tuple(range(20, 32))}  # more than the scale's repeats
    later = replace(first, number=2, seeds=fresh, digest="e" * 16, only={"method": ("skip", "layer")})
    later = replace(later, claims=("A4-skip",))
    monkeypatch.setattr(protocols, "PROTOCOLS", (first, later))
    records, whole = Records(tmp_path), studies.cells_of("fine_tuning", "demo")
    assert {cell["seed"] for cell in whole} == {10, 11, 12}
    fill(records, "fine_tuning", "demo", whole, measure)
    assert words(records)["A4-accuracy"].confirmed
    assert not words(records)["A4-skip"].confirmed
    (apart,) = studies.followed_up("fine_tuning", "demo")
    assert apart == studies.cells_of("fine_tuning", "demo", "A4-skip")
    assert {cell["seed"] for cell in apart} == {*fresh["demo"]}
    assert {cell["method"] for cell in apart} == {"skip", "layer"}
    fill(records, "fine_tuning", "demo", apart, measure)
    assert {each["provenance"]["protocol"] for each in records.select("fine_tuning", "demo", apart)} == {later.digest}
    found = words(records)
    assert (found["A4-skip"].number, found["A4-skip"].word, found["A4-accuracy"].number) == (12, "holds", 3)
    assert found["A4-skip"].confirmed
    assert found["A4-accuracy"].confirmed
    assert len(studies.declared(records, "fine_tuning", "demo")) == len(whole)
    tables = studies.decided_apart(records, "fine_tuning")
    assert {key: {scale: len(each) for scale, each in by_scale.items()} for key, by_scale in tables.items()} == {
        "A4-skip": {"demo": len(apart)}
    }
    monkeypatch.setattr(protocols, "PROTOCOLS", (first, later, replace(first, number=3, digest="f" * 16)))
    assert not studies.followed_up("fine_tuning", "demo")  # the third decides all claims


def test_seeds_of_exploration_cannot_confirm():
    with pytest.raises(ValueError, match=r"seeds \[2\] of source are exploration; those that confirm begin at 10"):
        replace(ONE, seeds={"demo": (2, 10)})


def test_a_digest_notices_what_is_computed_and_not_how_it_is_written():
    code = "def f(x):\n    'Doc.'\n    return x + 1  # why\n"
    assert meaning(code) == meaning("def f(x):\n\n    return (x + 1)\n")
    assert meaning(code) != meaning("def f(x):\n    return x + 2\n")


def test_a_digest_is_of_what_claims_rest_on():
    known = definitions(["nclib.experiments.chapters.source", *JUDGING])
    found = reached(["CLAIMS", "judge"], known)
    assert {"BEST_DIAL", "contrast", "panel", "unexplained", "summary", "mean", "Estimate", "holm"} <= found
    assert not {"recipes", "partial_spearman", "STUDIES"} & found
    functions = "".join(measuring("source_collapse"))
    assert "def measure(" in functions
    assert "import" not in functions
    found = digest(ONE)
    assert found == digest(replace(ONE, number=2, why="another reason"))
    assert found != digest(replace(ONE, seeds=SEEDS | {"lab": (10, 11)}))
    assert found != digest(replace(ONE, chapter="downstream"))


@pytest.mark.parametrize("protocol", {(p.chapter, p.studies): p for p in PROTOCOLS}.values(), ids=lambda p: p.digest)
def test_what_a_protocol_fixed_is_still_so(protocol):
    now = digest(protocol)
    assert now == protocol.digest, (
        f"{protocol.chapter} is no longer what its protocol fixed; put it back, or add the next protocol to "
        "nclib/experiments/protocols.py, with fresh seeds and the reason"
    )


CONFIRMED = {  # the words that the records of amended protocols earned before
    "in_training": {"demo": ("holds",) * 4, "lab": ("holds",) * 4},
    "source": {
        "demo": (*("fails", "holds", "holds", "holds", "fails", "holds", "holds", "fails", "fails: no effect"),),
        "lab": ("undecided", "holds", "holds", "holds", "not tested", "holds", "holds", "fails", "holds"),
    },
    "fine_tuning": {
        "demo": ("holds", "fails: no effect", "fails: no effect", "holds", "holds"),
        "lab": ("holds", "fails: no effect", "fails: no effect", "undecided", "holds", "not tested"),
    },
}


@pytest.mark.parametrize("protocol", [p for p in PROTOCOLS if p.amended], ids=lambda p: f"{p.chapter} {p.number}")
def test_what_is_corrected_in_a_protocol_leaves_every_verdict_as_it_was(protocol):
    for scale, words in CONFIRMED[protocol.chapter].items():
        claims = [claim for claim in studies.CLAIMS if in_force(claim.study, scale) is protocol]
        found = [judge(claim, studies.declared(RECORDS, claim.study, scale)) for claim in claims]
        assert tuple(verdict.word for verdict in found) == words


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="no repository")
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{p.chapter} {p.number}")
def test_what_confirms_was_made_after_the_protocol(protocol):
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)

    first = protocol.digests[-1]
    added = git(
        "log", "--full-history", "--format=%H", "-S", first, "--", "nclib/experiments/protocols.py"
    ).stdout.split()
    commits = {
        each["provenance"]["commit"]
        for study in protocol.studies
        for scale in protocol.seeds
        for each in RECORDS.read(study, scale)
        if each["provenance"].get("protocol") in protocol.digests
    }
    for commit in commits:
        assert git("merge-base", "--is-ancestor", added[-1], commit).returncode == 0, commit
