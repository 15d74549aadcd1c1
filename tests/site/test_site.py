"""The built book in a real browser, as a reader has it: offline, with the keyboard, on a phone."""

import io
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from PIL import Image

from workflow import pdf
from workflow.pdf import BROWSER

ROOT = Path(__file__).parents[2]
START = "index.html"  # which leads to the front page
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
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
    assert each(pages, lambda page: page["unnamed"]) == {}


def test_the_keyboard_skips_to_the_text_of_the_front_page(site, browser):
    page = browser.new_page()
    page.goto((site / START).as_uri())
    page.wait_for_url("**/00_score_card.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_small_figures_stand_out_in_light_and_dark(site, browser, scheme):
    """Text by a ratio of luminances of 4.5, figures by 3: WCAG's level AA."""
    page = browser.new_page(color_scheme=scheme)
    page.goto((site / "notebooks" / "00_score_card.html").as_uri())
    background, *texts = (re.findall(r"[\d.]+", colour)[:3] for colour in page.evaluate(_COLOURS))
    assert (luminance(background) < 0.2) == (scheme == "dark")
    assert min(contrast(text, background) for text in texts) > 4.5
    figure = page.locator("td:has(svg circle):has(svg rect)").first
    shown = Image.open(io.BytesIO(figure.screenshot())).convert("RGB")
    for mark in ("circle", "rect"):
        place, whole = figure.locator(mark).first.bounding_box(), figure.bounding_box()
        column = round(place["x"] - whole["x"] + place["width"] / 2)
        top = round(place["y"] - whole["y"])
        upper_edge = (shown.getpixel((column, row)) for row in range(top - 1, top + 3))  # a mark may be hollow
        assert max(contrast(pixel, shown.getpixel((4, 4))) for pixel in upper_edge) > 3
    page.close()


_COLOURS = """() => [
    ['body', 'backgroundColor'], ['article p', 'color'], ['article p a', 'color'], ['article td', 'color'],
].map(([selector, property]) => getComputedStyle(document.querySelector(selector))[property])"""


def luminance(rgb):
    """Of a colour in sRGB, 0 to 255; WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (float(part) / 255 for part in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_pdf_has_all_unfolded_and_no_path_of_this_machine(site, tmp_path):
    from pypdf import PdfReader

    names = ("00_score_card", "04_fine_tune_with_a_skip_connection")
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


def test_search_finds_face(site, browser):
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=FaCe")
    page.wait_for_selector("#search-results li a")
    found = page.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("06_which_model_should_i_fine_tune" in link for link in found)
    page.close()


def test_the_site_is_small(site, pages):
    """In whole, and each page with its figures; scripts and styles are those of all pages, which a browser keeps."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40_000_000
    for name, page in pages.items():
        images = {Path(unquote(urlsplit(image["src"]).path)) for image in page["images"]}
        assert sum(path.stat().st_size for path in {site / name, *images}) < 1_500_000, name
