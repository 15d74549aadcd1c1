"""The built book in a real browser, as a reader has it: offline, with the keyboard, on a phone."""

import hashlib
import io
import multiprocessing
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pandas as pd
import pytest
from PIL import Image

from workflow import pdf, plain
from workflow.pdf import BROWSER

ROOT = Path(__file__).parents[2]
START = "index.html"  # which leads to the front page
PHONE, DESKTOP = {"width": 360, "height": 800}, {"width": 1280, "height": 900}
pytestmark = pytest.mark.skipif(not BROWSER, reason="there is no chromium; NCLIB_BROWSER may name another browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built of the committed notebooks."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "workflow.pages", "status_table"], cwd=ROOT, check=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, "--path-output", folder, "-W", "-n"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(site, browser):
    """Each page by its path below the site: what it complained of and asked for, and what is on it."""
    page, said, asked = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    found = {}
    for path in sorted(path for path in site.rglob("*.html") if "_static" not in path.parts and path.name != START):
        page.set_viewport_size(DESKTOP)
        page.goto(path.as_uri())
        page.wait_for_function("!window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)")
        seen = page.evaluate(_READ) | {"said": list(said), "asked": list(asked)}
        page.set_viewport_size(PHONE)
        found[str(path.relative_to(site))] = seen | {"phone": page.evaluate("document.documentElement.scrollWidth")}
        said.clear(), asked.clear()
    page.close()
    assert len(found) > 20
    return found


_READ = """() => ({
    formulas: document.querySelectorAll('.math').length,
    typeset: document.querySelectorAll('.math mjx-container').length,
    wrong: document.querySelectorAll('mjx-merror, [data-mjx-error], mjx-container [fill="red"]').length,
    dollars: [...document.querySelectorAll('article p, article td, article li, figcaption')].filter(e => {
        const copy = e.cloneNode(true);
        copy.querySelectorAll('code, pre, mjx-container, script').forEach(inner => inner.remove());
        return copy.textContent.includes('$');
    }).length,
    images: [...document.querySelectorAll('article img')].map(i => ({alt: i.alt, width: i.naturalWidth, src: i.src})),
    links: [...document.querySelectorAll('a[href]')].map(a => a.href),
    ids: [...document.querySelectorAll('[id]')].map(e => e.id),
    headings: [...document.querySelectorAll('h1')].filter(e => e.offsetParent).length,
    levels: [...document.querySelectorAll('main :is(h1, h2, h3, h4, h5, h6)')].filter(e => e.offsetParent)
        .map(e => Number(e.tagName[1])),
    unscoped: [...document.querySelectorAll('article th')].filter(e => e.innerText.trim() && !e.scope).length,
    flat: [...document.querySelectorAll('article figure img')].filter(e => !e.closest('a[href][title]')).length,
    told: Object.fromEntries([...document.querySelectorAll('meta[name=description], meta[property^=og]')].map(
        e => [e.getAttribute('name') || e.getAttribute('property'), e.content])),
    icon: document.querySelector('link[rel~=icon]')?.href,
    main: document.querySelectorAll('main').length,
    language: document.documentElement.lang,
    unnamed: [...document.querySelectorAll('a[href], button')].filter(e => !(
        e.innerText.trim() || e.textContent.trim() || e.ariaLabel || e.title || e.querySelector('img[alt]')
    )).map(e => e.outerHTML.slice(0, 120)),
})"""


def each(pages, wrong):
    """What is wrong with the pages that anything is wrong with."""
    return {path: found for path, page in pages.items() if (found := wrong(page))}


def test_no_page_complains(pages):
    assert each(pages, lambda page: page["said"]) == {}


def test_no_request_leaves_the_machine(pages):
    assert each(pages, lambda page: [url for url in page["asked"] if not url.startswith(("file:", "data:"))]) == {}


def test_every_formula_is_typeset(pages):
    assert sum(page["formulas"] for page in pages.values()) > 50
    assert each(pages, lambda page: page["formulas"] != page["typeset"] or page["wrong"] or page["dollars"]) == {}


def test_every_image_is_there_and_described(pages):
    images = [image for page in pages.values() for image in page["images"]]
    assert len(images) > 15
    assert [image for image in images if not image["width"] or not image["alt"]] == []
    figures = [image for path, page in pages.items() if path.startswith("notebooks") for image in page["images"]]
    assert [image for image in figures if len(image["alt"]) < 40] == []


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("[0-9]*.py"))[1:], ids=lambda path: path.stem)
def test_a_chapter_has_the_roles_of_its_source_and_the_numbers_of_its_notebook(site, source):
    page = (site / "notebooks" / f"{source.stem}.html").read_text()
    text = source.read_text()
    ours = {name: f"Fig. {number}" for name, (path, number) in plain.figures(source).items() if path == source}
    for name, number in ours.items():
        assert f'<span class="caption-number">{number} </span>' in page.partition(f'id="{name}"')[2][:500_000]
    assert page.count('class="std std-numref"') == text.count("{numref}`")
    assert page.count('class="bibtex-citation"') == text.count("{cite}`")
    assert page.count('class="pasted-text"') == text.count("{glue:text}`")
    assert len(re.findall(r'href="\.\./book/glossary\.html#term-', page)) == text.count("{term}`")
    assert "How to run this notebook" not in page
    assert "How to run this notebook" in (site / "_sources" / "notebooks" / f"{source.stem}.ipynb").read_text()


def test_links_and_anchors_of_the_site_resolve(site, pages):
    lost = set()
    for path, page in pages.items():
        for link in page["links"]:
            url, anchor = urldefrag(link)
            if not url.startswith("file:"):
                continue
            target = Path(unquote(urlsplit(url).path))
            there = target.exists() and target.is_relative_to(site)
            known = pages.get(str(target.relative_to(site))) if there else None
            if not there or (anchor and known and unquote(anchor) not in known["ids"]):
                lost.add((path, link.removeprefix(site.as_uri())))
    assert lost == set()


def test_nothing_scrolls_sideways_on_a_phone(pages):
    assert each(pages, lambda page: page["phone"] if page["phone"] > PHONE["width"] else 0) == {}


def test_a_screen_reader_finds_its_way(pages):
    assert each(pages, lambda page: page["language"] != "en" or page["main"] != 1 or page["headings"] != 1) == {}
    assert each(pages, lambda page: page["unnamed"] or page["unscoped"]) == {}
    skipped = {
        path: [pair for pair in pairwise(page["levels"]) if pair[1] > pair[0] + 1] for path, page in pages.items()
    }
    assert {path: pairs for path, pairs in skipped.items() if pairs} == {}


def test_every_figure_opens_in_full_size(pages):
    assert each(pages, lambda page: page["flat"]) == {}


def test_every_page_has_an_icon_and_says_what_it_is_about(site, pages):
    assert each(pages, lambda page: not page["icon"].startswith(site.as_uri())) == {}
    written = {path: page["told"] for path, page in pages.items() if path.startswith(("notebooks", "book"))}
    for path, told in written.items():
        assert told["og:title"]
        assert "<" not in told["og:title"]
        assert (site / path).parent.joinpath(told["og:image"]).exists(), path
        if path != "book/references.html":
            assert told["description"] == told["og:description"]
            assert len(told["description"]) > 20
            assert not re.search(r"\[.*\d{4}|\n", told["description"])
    assert "og:url" not in written["notebooks/00_score_card.html"]  # while pyproject.toml names no host


def test_the_keyboard_skips_to_the_text_of_the_front_page(site, browser):
    page = browser.new_page()
    page.goto((site / START).as_uri())
    page.wait_for_url("**/00_score_card.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    page.close()


@pytest.mark.parametrize("width", [PHONE["width"], 600])
def test_a_phone_shows_the_verdicts_before_how_they_were_tested(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    for name, column in (("00_score_card", "demo"), ("02_collapse_on_the_source_data", "lab")):
        page.goto((site / "notebooks" / f"{name}.html").as_uri())
        rows = page.locator(f'tr:has(td[data-label="{column}"]):visible', has_text="A1-force")
        verdict, whole = rows.last.locator(f'td[data-label="{column}"]').bounding_box(), rows.last.bounding_box()
        assert whole["x"] <= verdict["x"] <= verdict["x"] + verdict["width"] <= width
    page.goto((site / "notebooks" / "00_score_card.html").as_uri())
    row = page.locator("tr", has_text="A1-force").first
    parts = [row.locator(part).first for part in ("strong", '[data-label="demo"]', '[data-label="lab"]', "svg", "em")]
    tops = [part.bounding_box()["y"] for part in parts]
    assert tops == sorted(tops)
    page.close()


def test_the_keyboard_reaches_all_and_shows_where_it_is(site, browser):
    """The way to the text, the sidebar, the text with its folds and figures; but not every formula."""
    page = browser.new_page(viewport=DESKTOP, reduced_motion="reduce")
    page.goto((site / "notebooks" / "01_watch_a_network_collapse.html").as_uri())
    page.wait_for_function("window.MathJax?.startup?.promise.then(() => true)")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(_FOCUS))
    assert [stop for stop in seen if not stop["shown"] or stop["tag"] == "MJX-CONTAINER"] == []
    assert {"skip", "sidebar", "text"} == {stop["part"] for stop in seen if stop["part"]}
    parts = [stop["part"] for stop in seen if stop["part"]]
    assert parts == sorted(parts, key=["skip", "sidebar", "text"].index)
    assert any(stop["tag"] == "SUMMARY" and stop["name"] == "Show code cell source" for stop in seen)
    assert any("letters" in stop["name"] for stop in seen if stop["figure"])
    page.close()


_FOCUS = """() => {
    const e = document.activeElement, style = getComputedStyle(e);
    const part = ['skip:#pst-skip-link, .skip-link', 'sidebar:.bd-sidebar-primary', 'text:article'].find(
        where => e.closest(where.split(':')[1]));
    return {
        tag: e.tagName, part: part?.split(':')[0],
        name: e.ariaLabel || e.querySelector('img')?.alt || e.innerText.trim(), figure: e.matches('figure a'),
        shown: style.outlineStyle != 'none' && parseFloat(style.outlineWidth) > 1 || style.boxShadow != 'none',
    };
}"""


LOOKED_AT = [
    *("notebooks/00_score_card", "notebooks/01_watch_a_network_collapse", "notebooks/02_collapse_on_the_source_data"),
    *("book/own_models", "book/evidence", "book/status", "book/glossary", "genindex"),
]


@pytest.mark.parametrize("name", LOOKED_AT)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(site, browser, scheme, name):
    """By a ratio of luminances of 4.5, and 3 if it is large: WCAG's level AA."""
    page = browser.new_page(color_scheme=scheme, reduced_motion="reduce")
    page.goto((site / f"{name}.html").as_uri())
    texts = page.evaluate(_TEXTS)
    ground = re.findall(r"[\d.]+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (luminance(ground[:3]) < 0.2) == (scheme == "dark")
    if name.startswith("notebooks/01"):
        kinds = {text["kind"] for text in texts}
        assert {"P", "A", "TD", "TH", "SUMMARY", "CODE", "PRE", "FIGCAPTION", "ADMONITION"} <= kinds
    assert [text for text in texts if contrast(*flattened(text)) < (3 if text["large"] else 4.5)] == []
    page.close()


_TEXTS = """() => {
    const parsed = colour => { const found = colour.match(/[\\d.]+/g).map(Number); return [...found, 1].slice(0, 4); };
    const tags = ['summary', 'figcaption', 'pre', 'code', 'td', 'th', 'a', 'p'];
    const kinds = [['div.admonition', 'ADMONITION'], ...tags.map(tag => [tag, tag.toUpperCase()])];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Map();
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.textContent.trim() || !element.checkVisibility({visibilityProperty: true})) continue;
        if (element.closest('script, style, noscript, svg, mjx-container')) continue;
        const style = getComputedStyle(element), grounds = [];
        for (let outer = element; outer && grounds.at(-1)?.[3] != 1; outer = outer.parentElement)
            grounds.push(parsed(getComputedStyle(outer).backgroundColor));
        const kind = kinds.find(([selector]) => element.closest(selector))?.[1];
        const seen = {kind, colour: parsed(style.color), grounds, large: parseFloat(style.fontSize) >= 24};
        found.set(JSON.stringify(seen), {...seen, text: texts.currentNode.textContent.trim().slice(0, 40)});
    }
    return [...found.values()];
}"""


def flattened(text):
    """The colours of a text and of its ground, which lie on what is below them."""
    ground = [255, 255, 255]
    for *colour, opacity in reversed(text["grounds"]):
        ground = [opacity * new + (1 - opacity) * old for new, old in zip(colour, ground, strict=True)]
    *colour, opacity = text["colour"]
    return [opacity * new + (1 - opacity) * old for new, old in zip(colour, ground, strict=True)], ground


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_figures_stand_out_in_light_and_dark(site, browser, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto((site / "notebooks" / "00_score_card.html").as_uri())
    figure = page.locator("td:has(svg circle):has(svg rect)").first
    shown = Image.open(io.BytesIO(figure.screenshot())).convert("RGB")
    for mark in ("circle", "rect"):
        place, whole = figure.locator(mark).first.bounding_box(), figure.bounding_box()
        column = round(place["x"] - whole["x"] + place["width"] / 2)
        top = round(place["y"] - whole["y"])
        upper_edge = (shown.getpixel((column, row)) for row in range(top - 1, top + 3))  # a mark may be hollow
        assert max(contrast(pixel, shown.getpixel((4, 4))) for pixel in upper_edge) > 3
    page.close()


def test_a_figure_is_a_white_card_on_a_dark_page(site, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto((site / "notebooks" / "01_watch_a_network_collapse.html").as_uri())
    card = Image.open(io.BytesIO(page.locator("figure img").nth(1).screenshot())).convert("RGB")
    edge, inside = card.getpixel((card.width // 2, 2)), card.getpixel((card.width // 2, 12))
    assert edge == inside
    assert luminance(edge) > 0.7
    page.close()


def test_a_page_is_printed_black_on_white_with_all_unfolded(site, browser):
    """From a dark page, too, and without what one can only click."""
    page = browser.new_page(color_scheme="dark", reduced_motion="reduce")
    page.goto((site / "notebooks" / "02_collapse_on_the_source_data.html").as_uri())
    page.emulate_media(media="print")
    texts = [flattened(text) for text in page.evaluate(_TEXTS)]
    assert min(contrast(colour, [255, 255, 255]) for colour, ground in texts) > 4.5
    assert page.locator("summary:visible, .copybtn:visible, .bd-sidebar-primary:visible, button:visible").count() == 0
    assert page.get_by_text("from nclib.experiments.studies import score_card").is_visible()
    texts = page.locator("article section > p, article section > p a")
    assert len(set(texts.evaluate_all("all => all.map(e => getComputedStyle(e).color)"))) == 1  # links are no brighter
    assert page.evaluate("getComputedStyle(document.querySelector('figure img')).filter") == "none"
    page.close()


def luminance(rgb):
    """Of a colour in sRGB, 0 to 255; WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (float(part) / 255 for part in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_pdf_has_all_unfolded_and_no_path_of_this_machine(site, tmp_path):
    from pypdf import PdfReader

    names = ("00_score_card", "05_fine_tune_with_a_skip_connection")
    printing = multiprocessing.get_context("spawn").Process(  # beside the browser of these tests
        target=pdf.write, args=([site / "notebooks" / f"{name}.html" for name in names], tmp_path / "book.pdf")
    )
    printing.start()
    printing.join()
    assert b"file:///" not in (tmp_path / "book.pdf").read_bytes()
    book = PdfReader(tmp_path / "book.pdf")
    assert len(book.outline) >= len(names)
    assert "from torchvision.models import resnet18" in "".join(
        page.extract_text() for page in book.pages
    )  # a solution
    drawn = [hashlib.sha256(image.data).hexdigest() for page in book.pages for image in page.images]
    assert len(drawn) == len(set(drawn)) > 2  # no figure goes over two pages


def test_below_every_figure_of_a_chapter_are_its_data_and_code(site):
    """Of which the data are a table that pandas reads, and the code is a function on a page of the site."""
    found = []
    for path in sorted((site / "notebooks").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        below = re.findall(
            r'<figure [^>]*id="(fig-[^"]*)".*?</figure>\s*<p class="take-away"[^>]*>(.*?)</p>', text, re.DOTALL
        )
        assert [name for name, _ in below] == re.findall(r'<figure [^>]*id="(fig-[^"]*)"', text), path.name
        found += [(path.parent / link, name) for name, line in below for link in re.findall('href="(.*?)"', line)]
    assert len(found) > 40
    data = [(link, name) for link, name in found if link.suffix in (".csv", ".zip")]
    for link, name in data:
        assert link.name in (f"{name}.csv", f"{name}.csv.zip")
        assert len(pd.read_csv(link)) > 2
    codes = [(str(link), name) for link, name in found if (link, name) not in data]
    schematics = {name for _, name in found if name.startswith("fig-scheme-")}  # which have no data
    assert len(data) >= len(codes) - len(schematics) - 1  # a sheet of images has too many rows
    functions = [link for link, _ in codes if "_modules" in link]
    in_the_page = {name for _, name in codes if name.startswith("fig-own-")} | {"fig-scenes"}
    assert len(functions) == len(codes) - len(in_the_page)  # what those pages show is how to draw it
    assert all("#" in link for link in functions)


def test_below_every_chapter_are_the_records_behind_it(site):
    for path in sorted((site / "notebooks").glob("0[1-7]*.html")):
        (line,) = re.findall("All records behind this chapter.*?</p>", path.read_text(encoding="utf-8"), re.DOTALL)
        for link in re.findall('href="(.*?)"', line):
            rows = pd.read_csv(path.parent / link)
            study, _, scale = Path(link).stem.rpartition("-")
            assert set(rows["study"]) == {study}
            assert set(rows["scale"]) == {scale}
            assert {"seed", "provenance.commit", "provenance.date", "provenance.machine"} <= set(rows)


@pytest.mark.parametrize("chapter", ["02", "03", "04", "06"])
def test_points_of_the_main_scatter_plots_say_seed_and_commit(site, chapter):
    (path,) = (site / "notebooks").glob(f"{chapter}_*.html")
    titles = re.findall("<circle [^>]*><title>(.*?)</title>", path.read_text(encoding="utf-8"))
    assert len(titles) > 50
    assert all(re.search(r"seed \d+.*, commit [0-9a-f]{7}", title) for title in titles)


def test_search_finds_face(site, browser):
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=FaCe")
    page.wait_for_selector("#search-results li a")
    found = page.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("06_which_model_should_i_fine_tune" in link for link in found)
    page.close()


def test_the_site_is_small(site, pages):
    """In whole, half of it records to download, and each page with its figures, without what all pages share."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 70_000_000
    for name, page in pages.items():
        images = {Path(unquote(urlsplit(image["src"]).path)) for image in page["images"]}
        assert sum(path.stat().st_size for path in {site / name, *images}) < 1_500_000, name
