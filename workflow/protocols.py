"""Digests of what a chapter fixes before it is confirmed, for `nclib.experiments.protocols`."""

import ast
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import jupytext
import typer

from nclib.experiments.protocols import FIRST, Protocol
from nclib.experiments.scales import settings
from nclib.experiments.studies import CHAPTERS, STUDIES
from nclib.storage import digest_of_text
from workflow.measures import chapter, measuring_cells

JUDGING = ("nclib.estimates", "nclib.experiments.inference", "nclib.experiments.claims")


def meaning(node: ast.AST | str) -> str:
    """What Python code computes: without comments, layout and docstrings."""
    tree = ast.parse(node) if isinstance(node, str) else node
    for each in ast.walk(tree):
        if isinstance(each, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(each) is not None:
            each.body = each.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def definitions(modules: Iterable[str]) -> dict[str, ast.stmt]:
    """The functions, classes and values that modules define, by their names."""
    found: dict[str, ast.stmt] = {}
    for name in modules:
        for node in ast.parse(Path(str(importlib.import_module(name).__file__)).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {
                    each.id: node for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)
                }
    return found


def reached(roots: Iterable[str], known: Mapping[str, ast.stmt]) -> set[str]:
    """The names of the definitions that some rest on, these among them."""
    found, todo = set[str](), list(roots)
    while todo:
        name = todo.pop()
        if name in known and name not in found:
            found.add(name)
            todo += [each.id for each in ast.walk(known[name]) if isinstance(each, ast.Name)]
            todo += [each.attr for each in ast.walk(known[name]) if isinstance(each, ast.Attribute)]
    return found


def measuring(study: str) -> Iterator[str]:
    """The functions of the notebook that measures a study."""
    for cell in measuring_cells(jupytext.read(chapter(study))):
        lines = (line for line in cell.source.splitlines() if not line.startswith("%"))
        for node in ast.parse("\n".join(lines)).body:
            if isinstance(node, ast.FunctionDef):
                yield ast.unparse(node)


def digest(protocol: Protocol) -> str:
    """The digest of a chapter's claims, what judges them, what measures its studies, and the cells that it asks for.

    What is added to these modules for other chapters changes nothing.
    """
    known, studies = definitions([f"nclib.experiments.chapters.{protocol.chapter}", *JUDGING]), protocol.studies
    code = [meaning(known[each]) for each in sorted(reached(["CLAIMS", "judge", "with_survivors", *studies], known))]
    code += [meaning(function) for study in studies for function in measuring(study)]
    places = [(study, scale) for study in studies for scale in sorted(protocol.seeds)]
    cells = [protocol.cells(partial(STUDIES[study], settings(scale)), scale) for study, scale in places]
    return digest_of_text(json.dumps([code, cells], sort_keys=True), 8)


def main(
    name: Annotated[str, typer.Argument(help="a chapter's module")],
    demo: Annotated[int, typer.Option(help="seeds that confirm at demo scale")] = 8,
    lab: Annotated[int, typer.Option(help="seeds that confirm at lab scale")] = 8,
) -> None:
    """Print a protocol that fixes a chapter as it is now, to be added to nclib/experiments/protocols.py."""
    known = {module.__name__.rpartition(".")[2]: module for module in CHAPTERS}
    if name not in known:
        raise typer.BadParameter(f"there is no chapter {name!r}; there are {', '.join(known)}")
    studies = tuple(study.__name__ for study in known[name].STUDIES)
    seeds = {scale: tuple(range(FIRST, FIRST + number)) for scale, number in (("demo", demo), ("lab", lab))}
    new = Protocol(name, 1, studies, seeds, "", "why")
    typer.echo(replace(new, digest=digest(new)))


if __name__ == "__main__":
    typer.run(main)
