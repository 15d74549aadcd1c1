"""All studies and claims of the book: the cells of each study, and what the records say about each claim."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pandas as pd

from nclib.experiments.chapters import complexity, downstream, fine_tuning, in_training, selection, source
from nclib.experiments.claims import Claim, Verdict, judge, with_survivors
from nclib.experiments.protocols import Protocol, all_in_force, confirming, confirms, in_force, of_study
from nclib.experiments.records import Cell, Records, as_table, cell_of
from nclib.experiments.scales import SCALES, check, settings
from nclib.experiments.scales.scale import Scale

CHAPTERS = (in_training, source, downstream, fine_tuning, complexity, selection)

Study = Callable[[Scale, Iterable[int]], list[Cell]]


def by_name(studies: Iterable[Study]) -> dict[str, Study]:
    """Studies by their names, in their order; ValueError if two have the same name."""
    found: dict[str, Study] = {}
    for study in studies:
        if study.__name__ in found:
            raise ValueError(f"two studies are called {study.__name__}; each must have a name of its own")
        found[study.__name__] = study
    return found


STUDIES = by_name(study for chapter in CHAPTERS for study in chapter.STUDIES)
# For each study the cell of the scale "check" that is measured live: the first one with these settings, which its
# chapter gives. Studies without one measure seconds, or all their cells need a download.
LIVE: dict[str, Cell] = {name: chosen for chapter in CHAPTERS for name, chosen in chapter.LIVE.items()}
TOO_MANY = 0.1  # a share of the cells of an arm: if more failed, the rest is not the study that was declared
ELSEWHERE = "verdicts_elsewhere.csv"
CLAIMS: tuple[Claim, ...] = tuple(claim for chapter in CHAPTERS for claim in chapter.CLAIMS)


def chapter_mates(study: str) -> list[str]:
    """All studies of the chapter that a study belongs to, itself included."""
    names = [[each.__name__ for each in chapter.STUDIES] for chapter in CHAPTERS]
    return next((mates for mates in names if study in mates), [study])


def cells_of(study: str, scale: str, claim: str = "", *, given: Scale | None = None) -> list[Cell]:
    """The cells of a study at a scale, or those that decide one of its claims: what the protocol in force asks for.

    Without a protocol they are those of exploration. `given` are settings in place of the scale's.
    """
    given = given or settings(scale)
    if protocol := in_force(study, scale, claim):
        return _under(protocol, study, scale, given)
    return STUDIES[study](given, given.seeds)


def _under(protocol: Protocol, study: str, scale: str, given: Scale) -> list[Cell]:
    return protocol.cells(partial(STUDIES[study], given), scale)


def followed_up(study: str, scale: str) -> list[list[Cell]]:
    """The cells of a study that decide some of its claims apart: a list for each protocol that follows for them."""
    return [_under(each, study, scale, settings(scale)) for each in all_in_force(study, scale) if each.claims]


def every_cell(study: str, scale: str) -> list[Cell]:
    """All cells of a study at a scale: those of its tables, and those that decide single claims."""
    return [*cells_of(study, scale), *(cell for cells in followed_up(study, scale) for cell in cells)]


def earlier(records: Records, study: str, scale: str) -> pd.DataFrame | None:
    """The table of a study under the protocol before the present; None if there is none, or if records are missing."""
    if len(protocols := of_study(study, scale)) < 2:
        return None
    before = protocols[1]
    cells = _under(before, study, scale, settings(scale))
    return _whole(
        records.select(study, scale, cells, lambda found: [each for each in found if confirms(each, before)]), cells
    )


def explored(records: Records, study: str, scale: str) -> pd.DataFrame | None:
    """The table of a study's cells for the seeds of exploration; None if a record is missing."""
    return _whole(records.select(study, scale, cells := STUDIES[study](settings(scale), settings(scale).seeds)), cells)


def live_cell(study: str) -> Cell:
    """The cell of a study that its chapter measures live."""
    if study not in LIVE:
        raise ValueError(f"{study} has no live cell; the studies with one are {', '.join(LIVE)}")
    cells = STUDIES[study](check.SCALE, check.SCALE.seeds)
    found = [cell for cell in cells if all(cell.get(name) == value for name, value in LIVE[study].items())]
    if not found:
        raise ValueError(f"no cell of {study} at the scale check has {LIVE[study]}, as LIVE of its chapter asks for")
    return found[0]


def declared(records: Records, study: str, scale: str, claim: str = "") -> pd.DataFrame | None:
    """The table of a study's `cells_of` a scale, or of those that decide a claim, without those that failed.

    None if a cell has not been tried, if none has a record, or if a record was not made under the protocol in force.
    """
    cells = cells_of(study, scale, claim)
    found = records.select(study, scale, cells, among=_in_force(study, scale))
    return _whole(found, cells, failures(records, study, scale, claim))


def decided_apart(records: Records, study: str) -> dict[str, dict[str, pd.DataFrame]]:
    """The tables on which protocols decide single claims of a study: by claim, and then by scale."""
    found = {}
    for claim in _claims(study):
        tables = {scale: declared(records, study, scale, claim.key) for scale in SCALES if _rests_on(claim, scale)[1]}
        if known := {scale: table for scale, table in tables.items() if table is not None}:
            found[claim.key] = known
    return found


def failures(records: Records, study: str, scale: str, claim: str = "") -> list[dict]:
    """The failures among a study's `cells_of` a scale, without cells that have a record since."""
    return _in_force(study, scale)(records.failed(study, scale, cells_of(study, scale, claim)))


def _in_force(study: str, scale: str) -> Callable[[list[dict]], list[dict]]:
    """A filter that keeps the records made under the protocol in force; it keeps all if there is none."""
    return confirming if all_in_force(study, scale) else list


def _whole(found: list[dict], cells: list[Cell], failed: Sequence[dict] = ()) -> pd.DataFrame | None:
    return as_table(found) if found and len(found) + len(failed) == len(cells) else None


def _claims(study: str | Sequence[str] | None) -> list[Claim]:
    """The claims of one study, of several in their order, or all."""
    if study is None:
        return list(CLAIMS)
    studies = [study] if isinstance(study, str) else study
    return [claim for name in studies for claim in CLAIMS if claim.study == name]


def verdicts(records: Records, scale: str, study: str | Sequence[str] | None = None) -> list[Verdict]:
    """The verdict on every claim, or on those of some studies, from the records of a scale.

    The adjustment for several tests is over all claims. Where confirming records are missing, those of exploration
    are judged.
    """
    rests_on = {claim.key: _rests_on(claim, scale) for claim in CLAIMS}
    known = {place: _known(records, place[0], scale, place[1]) for place in dict.fromkeys(rests_on.values())}
    others = elsewhere(records)
    judged = with_survivors([_judged(claim, known[rests_on[claim.key]], others, scale) for claim in CLAIMS])
    by_key = {verdict.claim.key: verdict for verdict in judged}
    return [by_key[claim.key] for claim in _claims(study)]


def _rests_on(claim: Claim, scale: str) -> tuple[str, str]:
    """The study whose cells decide a claim and, if only some of them do, the claim's key."""
    apart = in_force(claim.study, scale, claim.key) != in_force(claim.study, scale)
    return claim.study, claim.key if apart else ""


class _Known(NamedTuple):
    """What the records of a study say at a scale: the table to judge, or why nothing on it is tested."""

    table: pd.DataFrame | None
    confirmed: bool
    failed: bool = False
    said: str = ""  # on what failed, or on records that do not count
    refused: str = ""


def _known(records: Records, study: str, scale: str, claim: str) -> _Known:
    confirmed, failed = in_force(study, scale, claim) is not None, failures(records, study, scale, claim)
    if why := too_many_failed(cells_of(study, scale, claim), failed):
        return _Known(None, confirmed, refused=why)
    table = declared(records, study, scale, claim)
    if table is None:
        return _Known(explored(records, study, scale), False, said=_said_of_refused(records, study, scale, claim))
    table, said = _without_seeds_of(failed, table)
    return _Known(table, confirmed, bool(failed), said)


def _judged(claim: Claim, known: _Known, others: pd.DataFrame, scale: str) -> Verdict:
    if known.refused:
        return Verdict(claim, "not tested", why=known.refused, confirmed=known.confirmed)
    try:
        verdict = judge(claim, known.table)
    except (ValueError, KeyError) as error:
        if not known.failed:
            raise
        return Verdict(claim, "not tested", why=f"{known.said}: {error}", confirmed=known.confirmed)
    return _with_why(_held_elsewhere(replace(verdict, confirmed=known.confirmed), others, scale), known.said)


def _with_why(verdict: Verdict, said: str) -> Verdict:
    return replace(verdict, why="; ".join(filter(None, [verdict.why, said])))


def _without_seeds_of(failed: Sequence[dict], table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table without the seeds of which a cell failed, and a note on that.

    A contrast or slope of such a seed would rest on fewer cells than those of other seeds do. If there is only one
    seed, its other cells stay.
    """
    if not failed:
        return table, ""
    said = f"{len(failed)} {'cell' if len(failed) == 1 else 'cells'} failed"
    if table["seed"].nunique() < 2:
        return table, said
    seeds = {failure["seed"] for failure in failed}
    return table[~table["seed"].isin(seeds)], f"{said}: without {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}"


def _said_of_refused(records: Records, study: str, scale: str, claim: str) -> str:
    """A note on records of the confirming seeds that other sources, or another protocol, made; else empty."""
    cells = cells_of(study, scale, claim) if in_force(study, scale, claim) else []
    number = len(records.select(study, scale, cells)) - len(records.select(study, scale, cells, confirming))
    return f"{number} records of its seeds were not made under its protocol" if number else ""


def too_many_failed(cells: Sequence[Cell], failed: Sequence[dict]) -> str:
    """Why claims on a study are not tested: more than a tenth of an arm failed. Empty if no arm has that many failures.

    An arm is all cells, or the cells with one value of a setting other than the seed.
    """
    gone = Counter(arm for failure in failed for arm in _arms(cell_of(failure)))
    if not gone:
        return ""
    counts = Counter(arm for cell in cells for arm in _arms(cell))
    worst = max(sorted(gone), key=lambda arm: (gone[arm] / counts[arm], counts[arm]))
    if gone[worst] <= TOO_MANY * counts[worst]:
        return ""
    name, value = worst
    of_arm = f" with {name} {value}" if counts[worst] < len(cells) else ""
    reasons = sorted({failure["reason"] for failure in failed if worst in _arms(cell_of(failure))})
    return f"{gone[worst]} of {counts[worst]} cells{of_arm} failed: {'; '.join(reasons)}"


def _arms(cell: Cell) -> set[tuple[str, str]]:
    return {(name, json.dumps(value)) for name, value in cell.items() if name != "seed"}


def elsewhere(records: Records) -> pd.DataFrame:
    """The verdicts from records of other processors: a row for each claim and processor, read from a file."""
    path = records.folder.parent / ELSEWHERE
    columns = ["claim", "scale", "protocol", "processor", "word", "said"]
    return pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame(columns=columns)


def _held_elsewhere(verdict: Verdict, others: pd.DataFrame, scale: str) -> Verdict:
    """The verdict, or *undecided* if another processor found another verdict under the same protocol."""
    protocol = in_force(verdict.claim.study, scale, verdict.claim.key)
    if protocol is None or not verdict.confirmed:
        return verdict
    same = (
        (others["claim"] == verdict.claim.key) & (others["scale"] == scale) & others["protocol"].isin(protocol.digests)
    )
    other = others[same & (others["word"] != verdict.word)]
    if other.empty:
        return verdict
    why = "; ".join(f"{row.word} on {row.processor}" for row in other.itertuples())
    return replace(verdict, word="undecided", p=math.nan, why=f"{verdict.word} here, {why}")


def verdicts_by_scale(records: Records, study: str | Sequence[str] | None = None) -> dict[str, list[Verdict]]:
    """The `verdicts` by scale, for the scales at which any claim was judged."""
    found = {scale: verdicts(records, scale, study) for scale in SCALES}
    return {scale: judged for scale, judged in found.items() if {each.word for each in judged} != {"not run yet"}}


def score_card(records: Records, *, study: str | Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each claim, one column for each scale that was run: verdict, statistic and 95% interval.

    The claims are those of one study, of several, or all; their keys are the index.
    """
    by_scale = verdicts_by_scale(records, study)
    rows = []
    for claim, *judged in zip(_claims(study), *by_scale.values(), strict=True):
        row = {"claim": claim.key, "sentence": claim.sentence, "statistic": claim.statistic, "needed": claim.needed}
        rows.append(row | dict(zip(by_scale, map(str, judged), strict=True)))
    return pd.DataFrame(rows).set_index("claim").rename_axis(None)
