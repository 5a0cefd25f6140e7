"""The page in a real browser, with the network off: what a reader sees and touches."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, sync_playwright

import sample_report
from spincross.overview import render_index
from spincross.report import render_report
from spincross.summary import summary_row

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "workflow/report"
ARTEFACTS = ROOT / "tests/artefacts"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# WebGL without a graphics card
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic"]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def installed():
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def chromium():
    """Return the browser's path; Debian's package is installed where it is missing and that is allowed."""
    if installed() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "--quiet", *command], capture_output=True, timeout=600, check=False)
    return installed()


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here and none can be installed")
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Folder with pages: a broken symmetry with a Landau model, 300 atoms, hostile names, the index."""
    folder = tmp_path_factory.mktemp("pages")
    broken = sample_report.sample()
    hostile = sample_report.sample(landau=False)
    hostile["complex"] = hostile["entry"]["title"] = hostile["molecule"]["source"] = HOSTILE
    cases = {"broken": broken, "large": sample_report.of_size(300), "hostile": hostile}
    cases["unbroken"] = sample_report.unbroken(calorimetry=False)
    for name, data in cases.items():
        (folder / f"{name}.html").write_text(render_report(data, TEMPLATES))
    rows = [summary_row(data) for data in cases.values()]
    (folder / "index.html").write_text(render_index(rows, {("sample", "pbe0_def2-svp")}, TEMPLATES))
    ARTEFACTS.mkdir(exist_ok=True)
    return folder


class Visit:
    """One page, opened offline; what it complains about and asks for is kept."""

    def __init__(self, browser, path, width=1200, height=900):
        self.context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        self.page: Page = self.context.new_page()
        self.complaints, self.requests, self.dialogs = [], [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.set_default_timeout(180_000)
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def drawn(self):
        """Wait until every figure of the page is drawn; return their ids."""
        names = self.page.eval_on_selector_all("[data-figure]", "places => places.map(place => place.id)")
        for name in names:
            self.page.wait_for_function("name => document.querySelector('#' + name + ' .main-svg')", arg=name)
        return names

    def trace(self, figure, index, axis):
        """Return the numbers that a trace of a figure shows now."""
        return self.page.evaluate(f"Array.from(document.getElementById('{figure}').data[{index}].{axis})")

    def move(self, slider, value):
        """Set a range input as a hand would."""
        self.page.eval_on_selector(
            f"#{slider}", "(place, value) => { place.value = value; place.dispatchEvent(new Event('input')); }", value
        )


@pytest.fixture(scope="module")
def desktop(browser, pages):
    with Visit(browser, pages / "broken.html") as visit:
        visit.figures = visit.drawn()
        yield visit


def test_every_figure_is_drawn_and_nothing_is_loaded_or_complained_about(desktop):
    expected = {"scene-LS", "scene-HS_parent", "scene-HS", "overlay-spin", "overlay-breaking", "well", "animation"}
    expected |= {"spectra", "waterfall", "curves", "cumulative", "levels", "landau-branches", "landau-well", "history"}
    assert expected <= set(desktop.figures)
    assert desktop.complaints == []
    assert [url for url in desktop.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    desktop.page.screenshot(path=ARTEFACTS / "desktop.png", full_page=True)


def test_nothing_jumps_while_the_page_is_built(desktop):
    shift = desktop.page.evaluate(
        """() => new Promise((done) => {
            let sum = 0;
            const add = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; };
            new PerformanceObserver(add).observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 300);
        })"""
    )
    assert shift < 0.1


def test_the_mode_moves_while_it_plays_and_follows_its_amplitude(desktop):
    stage = desktop.page.locator("#animation")
    stage.scroll_into_view_if_needed()
    first = stage.screenshot()
    rest = desktop.page.evaluate("JSON.parse(document.getElementById('animation-data').textContent).motion.positions")
    desktop.page.click("#play")
    desktop.page.wait_for_function(
        "start => document.getElementById('animation').data[1].y.some((v, i) => Math.abs(v - start[i]) > 0.1)",
        arg=desktop.trace("animation", 1, "y"),
    )
    second = stage.screenshot()
    desktop.page.click("#pause")
    assert first != second
    desktop.move("amplitude", "0")
    desktop.page.wait_for_function(
        "rest => document.getElementById('animation').data[1].y.every((v, i) => Math.abs(v - rest[i][1]) < 1e-6)",
        arg=rest,
    )
    assert desktop.page.inner_text("#amplitude-value") == "0.0 ×"


def test_the_slider_changes_the_well(desktop):
    path = "document.querySelector('#landau-well .lines path.js-line').getAttribute('d')"
    before, curve = desktop.trace("landau-well", 0, "y"), desktop.page.evaluate(path)
    desktop.move("temperature", "0")
    desktop.page.wait_for_function(f"old => {path} !== old", arg=curve)
    assert desktop.trace("landau-well", 0, "y") != before
    assert desktop.page.inner_text("#temperature-value").endswith(" K")


def test_modes_are_sorted_and_filtered(desktop):
    page = desktop.page
    page.click("details.modes summary")
    column = (
        "() => [...document.querySelectorAll('#mode-table tbody tr:not([hidden])')].map(r => r.cells[2].textContent)"
    )

    def shown():
        return [float(text.replace("−", "-")) for text in page.evaluate(column)]

    assert len(shown()) == 18
    page.click("#mode-table th:nth-child(3) button")
    assert shown() == sorted(shown())
    page.click("#mode-table th:nth-child(3) button")
    assert shown() == sorted(shown(), reverse=True)
    page.select_option("#mode-state", label="LS")
    page.fill("#mode-top", "1300")
    assert shown() == [1268.2, 1201.5]
    assert page.inner_text("#mode-count") == "2 of 18 modes"


def test_arrow_keys_turn_a_structure_and_the_others_follow(desktop):
    eye = "() => ['LS', 'HS'].map(s => document.getElementById('scene-' + s)._fullLayout.scene.camera.eye.x)"
    before = desktop.page.evaluate(eye)
    desktop.page.focus("#scene-LS")
    desktop.page.keyboard.press("ArrowRight")
    desktop.page.wait_for_function(
        f"old => {{ const now = ({eye})(); return now[0] !== old[0] && now[1] === now[0]; }}", arg=before
    )


def test_methods_and_references_can_be_copied(desktop):
    for button in desktop.page.locator("button.copy").all():
        button.click()
        said = button.evaluate("place => place.nextElementSibling.textContent")
        assert said in ("Copied.", "Selected; press Ctrl+C.")
    assert "10.1039/d4mh01318b" in desktop.page.inner_text("#references")


def test_print_shows_drawings_where_webgl_would_stay_white(desktop):
    desktop.page.emulate_media(media="print")
    assert desktop.page.locator(".still:visible").count() == len(desktop.page.locator(".plot.molecule").all()) == 6
    assert desktop.page.locator(".plot.molecule:visible").count() == 0
    desktop.page.emulate_media(media="screen")
    assert desktop.page.locator(".still:visible").count() == 0


@pytest.mark.parametrize("name", ["broken", "unbroken", "large", "index"])
def test_a_phone_shows_the_page_without_sideways_scrolling(browser, pages, name):
    with Visit(browser, pages / f"{name}.html", 390, 844) as visit:
        visit.drawn()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.complaints == []
        if name in ("broken", "index"):
            visit.page.screenshot(path=ARTEFACTS / f"phone-{name}.png", full_page=True)


def test_hostile_names_are_text(browser, pages):
    with Visit(browser, pages / "hostile.html") as visit:
        visit.drawn()
        assert visit.dialogs == [] and visit.complaints == []
        assert visit.page.inner_text("h1") == HOSTILE
        assert visit.page.locator("img").count() == 0


def test_a_network_address_is_really_out_of_reach(browser, pages):
    """The visits above prove something only if the network is off in them."""
    with Visit(browser, pages / "index.html") as visit, pytest.raises(Error, match="ERR_INTERNET_DISCONNECTED"):
        visit.page.goto("https://example.org")
