"""Print the built site's pages to one PDF, in the order of the table of contents, by a chromium."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "book.pdf"
BROWSER = os.environ.get("NCLIB_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
# On paper nothing unfolds, and links to other pages would name this machine's folders.
_FOR_PAPER = """
    document.querySelectorAll('details').forEach(folded => folded.open = true);
    document.querySelectorAll('a[href]').forEach(link => {
        if (link.protocol == 'file:' && !link.getAttribute('href').startsWith('#')) link.removeAttribute('href');
    });
"""
_NOTHING_FOLDS = (
    "summary { display: none !important } * { animation: none !important }"  # what unfolds would fade in, too late
)
MARGINS: Any = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}


def pages() -> list[Path]:
    """The pages of the site in their order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [SITE / f"{name}.html" for name in (toc["root"], *chapters)]


def print_pages(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A PDF of each page, in the folder."""
    from playwright.sync_api import sync_playwright
    from tqdm import tqdm

    printed = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        for path in tqdm(paths, "print", unit="page"):
            page.goto(path.as_uri())
            page.wait_for_function("!window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)")
            page.evaluate(_FOR_PAPER)
            page.add_style_tag(content=_NOTHING_FOLDS)
            printed.append(folder / f"{path.stem}.pdf")
            page.pdf(path=printed[-1], format="A4", margin=MARGINS, outline=True, tagged=True)
        browser.close()
    return printed


def write(paths: Sequence[Path], book: Path) -> None:
    """Write the pages into one file."""
    from tempfile import TemporaryDirectory

    from nclib.extras import optional
    from nclib.storage import replacing

    with optional("pypdf"):
        from pypdf import PdfWriter

    if not BROWSER:
        sys.exit("there is no chromium; install one, or name another browser in NCLIB_BROWSER")
    with TemporaryDirectory() as folder, PdfWriter() as writer, replacing(book) as temporary:
        for path in print_pages(paths, Path(folder)):
            writer.append(path)
        writer.write(temporary)
    print(book)


if __name__ == "__main__":
    write(pages(), PDF)
