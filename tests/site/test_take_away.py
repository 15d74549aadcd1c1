"""From a page of the book a reader takes the data and code of a figure, and learns what its points are."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from IPython.core.pylabtools import print_figure

from nclib.experiments import plots
from nclib.experiments.drawn import table
from nclib.experiments.pictures import with_data
from workflow import take_away
from workflow.execute import KERNEL
from workflow.pdf import BROWSER

ROOT = Path(__file__).parents[2]
CONFIG = f"""
title: toy
execute: {{execute_notebooks: "off"}}
sphinx:
  extra_extensions: [sphinx.ext.viewcode]
  local_extensions: {{take_away: {ROOT / "workflow"}}}
  config:
    html_static_path: [{ROOT / "book" / "_static"}]
    html_css_files: [book.css]
    html_js_files: [[points.js, {{defer: defer}}]]
"""
CHAPTER = (ROOT / "notebooks" / "01_watch_a_network_collapse.py").read_text(encoding="utf-8")
IMPORT = next(line for line in re.findall(r"# (from nclib.*)|(from nclib.*)", CHAPTER) if "as figures" in line[1])[1]
NETWORKS = pd.DataFrame(
    {
        "loss": ["cross-entropy", "squared <error>", "cross-entropy"],
        "seed": [10, 10, 11],
        "commit": ["abc1234", "abc1234", "0123456"],
        "nc1": [0.1, 1.0, 10.0],
        "accuracy": [0.25, 0.5, 0.75],
    }
)
ALT = "Three points that rise from left to right, one for each network of a toy."


def drawn():
    plt.switch_backend("agg")
    with plt.style.context(plots.STYLE):
        figure = plt.figure(figsize=(9, 3))
        for axis, title in zip(figure.subplots(1, 2), ("one", "other"), strict=True):
            plots.points(axis, NETWORKS, "nc1", "accuracy", label="networks")
            axis.set(title=title, xlabel="NC1 (lower is more collapsed)", ylabel="accuracy")
            plots.log_scale(axis, "x")
    return figure


def cell(code, name, output):
    mystnb = {"figure": {"caption": f"The caption of {name}.", "name": name}, "image": {"alt": ALT}}
    return nbformat.v4.new_code_cell(code, metadata={"mystnb": mystnb}, outputs=[output])


def shown(png, metadata):
    return nbformat.v4.new_output("display_data", {"image/png": png}, metadata={"image/png": metadata})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A toy book of one chapter with a figure, one without data, and two records."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "notebooks").mkdir()
    png, metadata = with_data(lambda figure: print_figure(figure, base64=True, bbox_inches="tight"))(drawn())
    cells = [
        nbformat.v4.new_markdown_cell("# A toy"),
        nbformat.v4.new_code_cell(f"%matplotlib inline\n{IMPORT}\nrun.study_by_scale('source_collapse', measure)"),
        cell("figures.contact_sheet(images, titles)\nplt.show()", "fig-toy", shown(png, metadata)),
        cell("plt.plot([1, 2])", "fig-bare", shown(png, {})),
        nbformat.v4.new_markdown_cell("## The end"),
    ]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / "notebooks" / "toy.ipynb")
    records = folder / "book" / "records" / "source_collapse-demo.jsonl"
    records.parent.mkdir(parents=True)
    lines = (ROOT / "book" / "records" / records.name).read_text(encoding="utf-8").splitlines(keepends=True)
    records.write_text("".join(lines[:2]), encoding="utf-8")
    records.with_name("source_collapse-demo.failed.jsonl").write_text("not to be read\n")
    (folder / "_config.yml").write_text(CONFIG)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: notebooks/toy\n")
    command = list(map(str, [Path(sys.executable).with_name("jupyter-book"), "build", folder, "-W"]))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def lines(site):
    """The quiet lines of the page, in their order, each as the links and what they are called."""
    text = (site / "notebooks" / "toy.html").read_text(encoding="utf-8")
    found = re.findall(r'<p class="take-away"[^>]*>(.*?)</p>', text, re.DOTALL)
    return [
        {
            re.sub("<.*?>", "", name): site / "notebooks" / link
            for link, name in re.findall(r'href="(.*?)">(.*?)</a>', each)
        }
        for each in found
    ]


def test_below_a_figure_are_its_data(lines):
    expected = table(drawn()).drop(columns=["left", "top"])
    found = pd.read_csv(lines[0]["Data (CSV)"], dtype={"commit": str})
    assert len(found) == 2 * len(NETWORKS)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize(("large", "name"), [(6, "fig-toy.csv"), (5, "fig-toy.csv.zip")])
def test_data_of_very_many_rows_are_zipped(monkeypatch, tmp_path, large, name):
    monkeypatch.setattr(take_away, "LARGE", large)
    path = take_away._data_file(SimpleNamespace(srcdir=tmp_path), "fig-toy", table(drawn()))
    assert path.name == name
    assert pd.read_csv(tmp_path / path)["y"].tolist() == [0.25, 0.5, 0.75] * 2


def test_below_a_figure_is_the_code_of_its_function(lines):
    page, _, name = str(lines[0]["Code"]).partition("#")
    source = Path(page).read_text(encoding="utf-8")
    assert name == "contact_sheet"
    assert f'id="{name}"' in source
    back = re.search(r'class="viewcode-back" href="(.*?)"', source)[1]
    chapter, _, anchor = back.partition("#")
    assert f'id="{anchor}"' in (Path(page).parent / chapter).resolve().read_text(encoding="utf-8")


def test_a_figure_without_data_offers_the_notebook_alone(lines):
    assert list(lines[1]) == ["Code"]
    assert json.loads(lines[1]["Code"].read_text(encoding="utf-8"))["cells"]


def test_at_the_end_of_a_chapter_are_all_records_behind_it(site, lines):
    assert list(lines[-1]) == ["source_collapse, demo"]
    found = pd.read_csv(lines[-1]["source_collapse, demo"])
    assert len(found) == 2
    assert {"study", "scale", "seed", "config.loss", "metrics.nc1", "provenance.commit", "provenance.date"} <= set(
        found
    )
    assert "provenance.machine" in found
    assert len(json.loads(found["metrics.accuracy"][0])) == len(json.loads(found["config.tasks"][0]))
    text = (site / "notebooks" / "toy.html").read_text(encoding="utf-8")
    assert text.index("The end") < text.index("All records behind this chapter")


@pytest.mark.parametrize(
    ("code", "function"),
    [
        ("figures.dial(tables)", ("nclib.experiments.plots", "use_style")),
        ("use_style()\nplt.show()", ("nclib.experiments.plots", "use_style")),
        ("%matplotlib inline\nplots.use_style(plots.log_ticks(1))", ("nclib.experiments.plots", "log_ticks")),
        ("plots.log_ticks(1)\nplots.use_style()", ("nclib.experiments.plots", "use_style")),
        ("plots.no_such()", None),
        ("other.use_style()", None),
        ("1 + 1", None),
    ],
)
def test_the_function_that_draws_is_the_last_that_a_cell_calls(monkeypatch, code, function):
    monkeypatch.setattr(take_away, "FIGURES", "nclib.experiments.plots")
    imports = "from nclib.experiments import plots\nfrom nclib.experiments.plots import use_style\nimport pandas as pd"
    cells = [
        nbformat.v4.new_code_cell(imports),
        nbformat.v4.new_code_cell(code),
        nbformat.v4.new_code_cell("%%bash\nls -l | head"),
        nbformat.v4.new_markdown_cell("a ! b"),
    ]
    if code.startswith("figures"):
        cells[0].source += "\nimport nclib.experiments.plots as figures"
        cells[1].source = "figures.use_style()"
    assert take_away.drawing_function(nbformat.v4.new_notebook(cells=cells), cells[1]) == function


def test_a_point_on_an_axis_without_a_label_says_which_axis():
    rows = pd.DataFrame({"model": ["a", "b"], "x": [1, 2], "y": [3, 4], "left": 5.0, "top": 6.0})
    svg = take_away.layer(rows.assign(x_axis=["epoch (of 8)", None]), 10, 10)
    assert re.findall("<title>(.*?)</title>", svg) == ["model a; epoch 1, y 3", "model b; x 2, y 4"]


# In a browser


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("there is no chromium; NCLIB_BROWSER may name another browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


WIDTHS = {"desktop": 1280, "phone": 390}
SECOND = "one: loss squared <error>, seed 10, commit abc1234; NC1 1, accuracy 0.5"


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids="-".join)
def page(request, browser, site):
    """The page of the toy, on screens of two sizes, light and dark, without network."""
    width, scheme = request.param
    touch = width == "phone"
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 800}, color_scheme=scheme, has_touch=touch, offline=True
    )
    page = context.new_page()
    page.goto((site / "notebooks" / "toy.html").as_uri())
    yield page
    context.close()


def place(circle):
    box = circle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_point_says_what_it_is_to_mouse_touch_and_keyboard(page):
    circles, said = page.locator("#fig-toy circle"), page.locator("#fig-toy + p output")
    assert circles.count() == 2 * len(NETWORKS)
    circles.nth(1).scroll_into_view_if_needed()
    assert "Point at" in said.text_content()
    page.mouse.move(*place(circles.nth(1)))
    assert said.text_content() == circles.nth(1).text_content() == SECOND
    if page.evaluate("'ontouchstart' in window"):
        x, y = place(circles.nth(2))
        page.touchscreen.tap(x + 6, y)  # beside it: fingers are wide
        assert "seed 11, commit 0123456" in said.text_content()
    page.locator("#fig-toy svg").focus()
    page.mouse.move(0, 0)
    start = said.text_content()
    page.keyboard.press("ArrowRight")
    after = said.text_content()
    page.keyboard.press("ArrowLeft")
    assert said.text_content() == start != after


def test_points_lie_on_those_of_the_picture(page):
    """In light and dark: the middle of a circle has the colour of the marker."""
    import io

    from PIL import Image

    circle = page.locator("#fig-toy circle").nth(2)
    circle.scroll_into_view_if_needed()
    picture, layer = (page.locator(f"#fig-toy {name}").bounding_box() for name in ("img", "svg"))
    assert layer == pytest.approx(picture, abs=0.5)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    red, green, blue = shot.getpixel(tuple(map(round, place(circle))))
    assert blue > red + 60
    assert blue > green + 30


def test_the_data_are_downloaded_and_nothing_scrolls_sideways(page):
    with page.expect_download() as download:
        page.locator("#fig-toy + p a").first.click()
    assert download.value.suggested_filename == "fig-toy.csv"
    assert pd.read_csv(download.value.path())["y"].tolist() == [0.25, 0.5, 0.75] * 2
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_without_scripts_points_have_titles_and_links_work(browser, site):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((site / "notebooks" / "toy.html").as_uri())
    circle = page.locator("#fig-toy circle").nth(1)
    assert circle.locator("title").text_content() == SECOND
    assert page.locator("#fig-toy img").get_attribute("alt") == ALT
    assert page.locator("#fig-toy svg").get_attribute("aria-hidden") == "true"
    target = page.locator("#fig-toy + p a").first.get_attribute("href")
    assert (site / "notebooks" / unquote(urlsplit(target).path)).exists()
    context.close()


def test_the_picture_is_there_on_paper_and_its_layer_is_not(browser, site):
    page = browser.new_page()
    page.goto((site / "notebooks" / "toy.html").as_uri())
    page.emulate_media(media="print")
    assert page.locator("#fig-toy img").is_visible()
    assert not page.locator("#fig-toy svg").is_visible()
    assert not page.locator("p.take-away").first.is_visible()
    page.close()
