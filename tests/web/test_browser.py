"""The page in a real browser: Debian's Chromium, without a window."""

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import bundles
import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from served import serving

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 860}
STRICT = {"temperature": 1.5, "threshold": 0.99999}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A project with three models, samples, and a comparison."""
    project = tmp_path_factory.mktemp("project")
    models = project / "data/models"
    for name in ("gru", "simple_rnn"):
        bundles.tiny_bundle(models / name, name)
    bundles.tiny_bundle(models / "strict", calibration=STRICT)
    bundles.clips(project / "data/raw/mine", count=1)
    (project / "params.yaml").write_text("data: {dataset: mine}\n")
    figures = {"top1": 0.75, "top1_low": 0.5, "top1_high": 0.9, "mean_class": 0.7, "parameters": 90_000, "tied_with_best": True}
    compared = {
        "dataset": "mine",
        "protocol": "official",
        "fold": 2,
        "folds": 5,
        "test_clips": 4,
        "headline": ["Deploy gru: 75.0 % top-1.", "To be surer: test all folds."],
    }
    compared["models"] = {name: {"rank": rank, **figures} for rank, name in enumerate(("gru", "simple_rnn"), start=1)}
    (project / "metrics").mkdir()
    (project / "metrics/compare.json").write_text(json.dumps(compared))
    (project / "metrics/report.md").write_text("# Report")
    (project / "plots").mkdir()
    for name in ("accuracy_intervals", "gru_curves"):
        shutil.copyfile(Path(__file__).parents[2] / "plots/accuracy_intervals.png", project / f"plots/{name}.png")
    with serving(folder=project) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Open a page; in the end, nothing may have gone wrong, or have been fetched from elsewhere."""

    @contextmanager
    def open_page(path="/", viewport=DESK, server=address, **options):
        context = browser.new_context(viewport=viewport, accept_downloads=True, **options)
        page = context.new_page()
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server}{path}")
        yield page
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0  # nothing sticks out
        context.close()
        assert [text for text in wrong if "Failed to load resource" not in text] == []
        assert [url for url in asked if not url.startswith((server, f"blob:{server}", "data:"))] == []

    return open_page


def test_a_sample_is_predicted_and_the_answer_can_be_kept(visit, address):
    with visit() as page:
        expect(page.locator("#answer")).to_contain_text("The answer appears here.")
        page.get_by_role("button", name="Striped").click()
        expect(page.locator("#label")).to_have_text("Striped")
        assert page.locator(".bars .label").all_inner_texts()[0] == "Striped"
        assert sum(float(text.strip(">% ")) for text in page.locator(".bars .share").all_inner_texts()) == pytest.approx(
            100, abs=0.2
        )
        expect(page.locator(".strip img")).to_have_count(8)
        assert all(page.locator(".strip img").evaluate_all("(all) => all.map((one) => one.naturalWidth > 0)"))
        with page.expect_download() as kept:
            page.locator("#download").click()
        told = httpx.post(f"{address}/predict", data={"sample": 2, "model": "gru"}, timeout=60).json()
        assert json.loads(Path(kept.value.path()).read_text()) == told
        assert kept.value.suggested_filename == f"{told['video']}.json"


def opened(page, link):
    """The width, in pixels, of the picture that a link opens."""
    with page.context.expect_page() as found:
        page.get_by_role("link", name=link).click()
    found.value.wait_for_load_state()
    width = found.value.locator("img").evaluate("(one) => one.naturalWidth")
    found.value.close()
    return width


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_an_upload_is_predicted_and_explained_and_another_model_asked(visit, clips, viewport):
    with visit(viewport=viewport) as page:
        page.locator("#file").set_input_files(next(clips.glob("Bright/*")))
        expect(page.locator("#label")).to_have_text("Bright")
        expect(page.locator("#label")).to_be_in_viewport()
        expect(page.locator("#elapsed")).to_have_text(re.compile(r"^gru on resnet18, answered in \d+\.\d s$"))

        page.get_by_role("button", name="Explain this answer").click()
        expect(page.locator("img.plot")).to_be_visible(timeout=30_000)
        assert page.locator("img.plot").evaluate("(one) => one.naturalWidth") > 500
        assert page.evaluate("() => document.activeElement.id") == "why"  # a keyboard goes on from here
        assert opened(page, "Open at full size") == page.locator("img.plot").evaluate("(one) => one.naturalWidth")

        page.get_by_label("simple_rnn").check()
        expect(page.locator("#elapsed")).to_contain_text("simple_rnn on resnet18")
        expect(page.locator("#label")).to_have_text("Bright")


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_all_models_answer_side_by_side(visit, viewport):
    with visit(viewport=viewport) as page:
        page.get_by_role("button", name="Striped").click()
        page.get_by_role("button", name="Compare all models").focus()
        page.keyboard.press("Enter")
        table = page.locator("#all table")
        expect(table.locator("tbody th")).to_have_text(["gru", "simple_rnn", "strict"])
        answers = table.locator("tbody td:nth-child(2)").all_inner_texts()
        assert answers[:2] == ["Striped", "Striped"]
        assert answers[2].endswith(", unsure")
        expect(table.locator("[aria-current=true] th")).to_have_text("gru")
        expect(page.locator("#all")).to_contain_text(
            re.compile(r"All models give the same answer|The models give 2 different answers")
        )
        assert page.evaluate("() => document.activeElement.id") == "all"  # a keyboard goes on from here
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        expect(page.locator("#label")).to_have_text("Striped")


def test_below_the_threshold_the_headline_is_the_probable_class(visit):
    with visit() as page:
        page.get_by_label("strict").check()
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("#label")).to_have_text(re.compile(r"^probably Dark, (>99|\d+) %$"))
        expect(page.locator("#answer")).to_contain_text("This answer is unsure")


def test_a_broken_file_gets_the_command_lines_message_and_the_next_one_an_answer(visit, clips, tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "notes.txt").write_text("no video")
    with visit(viewport=PHONE) as page:
        page.locator("#file").set_input_files(tmp_path / "noise.mp4")
        alert = page.get_by_role("alert")
        expect(alert).to_have_text(
            "noise.mp4: not a video file that FFmpeg can open (Invalid data found when processing input). "
            "Copy or download it again."
        )
        expect(alert).to_be_in_viewport()
        page.locator("#file").set_input_files(tmp_path / "notes.txt")
        expect(alert).to_contain_text("notes.txt: not a video's file name")
        page.locator("#file").set_input_files(next(clips.glob("Dark/*")))
        expect(page.locator("#label")).to_have_text("Dark")
        expect(page.locator("#error")).to_be_hidden()


def test_a_file_that_is_too_large_is_not_sent(visit, tmp_path):
    with (tmp_path / "huge.mp4").open("wb") as stream:
        stream.truncate(201_000_000)
    with visit() as page:
        sent = []
        page.on("request", lambda request: sent.append(request.method))
        page.locator("#file").set_input_files(tmp_path / "huge.mp4")
        expect(page.get_by_role("alert")).to_have_text("huge.mp4 has 201 MB; this server takes 200 MB. Send a shorter piece.")
        assert "POST" not in sent


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_a_long_video_gets_a_timeline(visit, long_film, viewport):
    with visit(viewport=viewport) as page:
        page.get_by_label("Timeline: one answer per window of").check()
        page.get_by_label("Seconds per window").fill("1")
        page.locator("#file").set_input_files(long_film)
        expect(page.locator(".runs")).to_be_visible(timeout=30_000)
        expect(page.locator("#label")).to_have_text(re.compile(r"^\d actions in \d parts$"))
        answers = page.locator(".runs .what").all_inner_texts()
        assert answers[0] == answers[-1] == "Bright"
        assert {"Dark", "Striped"} <= set(answers)
        assert page.locator(".band span").count() == len(answers) == page.locator(".runs img").count()
        assert page.locator("img.plot").evaluate("(one) => one.naturalWidth") > 500
        assert opened(page, "Open at full size") > 500


NEVER_LOADED = """() => {
  const known = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "src");
  const set = function (url) { if (!String(url).startsWith("blob:")) known.set.call(this, url); };
  Object.defineProperty(HTMLMediaElement.prototype, "src", { ...known, set });
}"""


def test_a_file_that_takes_long_to_open_does_not_replace_a_later_choice(visit, clips):
    with visit() as page:
        page.evaluate(NEVER_LOADED)  # the page asks the browser how long a file is, and gives up after 3 s
        page.locator("#file").set_input_files(path := next(clips.glob("Bright/*")))
        expect(page.get_by_role("status")).to_contain_text(f"Opening {path.name}")
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("#label")).to_have_text("Dark")
        page.wait_for_timeout(3500)
        expect(page.locator("#label")).to_have_text("Dark")
        assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"

        page.locator("#file").set_input_files(path)
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_timeout(3500)
        expect(page.get_by_role("status")).to_have_text("Cancelled.")
        page.locator("#file").set_input_files(path)
        expect(page.locator("#label")).to_have_text("Bright")


def test_models_are_read_aloud_with_what_their_figures_are(visit):
    with visit() as page:
        name = "gru top-1 75 % 50–90 parameters 0.1 M latency –"
        expect(page.get_by_role("radio", name=name, exact=True)).to_be_visible()


def test_files_are_offered_that_the_server_takes_and_no_others(visit, address):
    suffixes = httpx.get(f"{address}/models").json()["limits"]["suffixes"]
    with visit() as page:
        expect(page.locator("#choice input").first).to_be_visible()
        assert page.locator("#file").get_attribute("accept").split(",") == suffixes


def test_long_work_can_be_cancelled(visit, long_film):
    with visit() as page:
        page.get_by_label("Seconds per window").fill("0.5")
        page.get_by_label("Timeline: one answer per window of").check()
        page.route("**/predict", lambda route: None)  # a server that takes its time
        page.get_by_role("button", name="Dark").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_have_text("Cancelled.")
        page.unroute("**/predict")
        page.get_by_role("button", name="Bright").click()
        expect(page.locator("#label")).to_have_text("Bright")


def test_it_is_used_without_a_mouse(visit):
    with visit() as page:
        expect(page.locator(".thumbs button")).to_have_count(3)
        names = []
        for _ in range(12):
            page.keyboard.press("Tab")
            names.append(page.evaluate("() => document.activeElement.id || document.activeElement.textContent"))
            if names[-1] == "Dark":
                break
        assert "file" in names
        page.keyboard.press("Enter")
        expect(page.locator("#label")).to_have_text("Dark")


def test_names_are_text_and_never_markup(visit, clips, tmp_path):
    name = "<img src=x onerror=alert(1)>.avi"
    path = shutil.copyfile(next(clips.glob("Dark/*")), tmp_path / name)
    with visit() as page:
        page.locator("#file").set_input_files(path)
        expect(page.locator(".over")).to_have_text(name)
        assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_results_have_table_and_pictures(visit, viewport):
    with visit("/", viewport) as page:
        page.get_by_role("link", name="Results").click()
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("#setting")).to_contain_text("mine, official split, list 2, 4 test clips")
        expect(page.locator("#results .card").first.locator("li")).to_have_text(
            ["Deploy gru: 75.0 % top-1.", "To be surer: test all folds."]
        )
        page.get_by_text("gru", exact=True).last.click()
        pictures = page.locator("img.plot")
        expect(pictures).to_have_count(2)
        for place in range(2):
            pictures.nth(place).scroll_into_view_if_needed()
            expect(pictures.nth(place)).to_have_js_property("complete", True)
            assert pictures.nth(place).evaluate("(one) => one.naturalWidth") > 500
        with page.expect_response("**/metrics/report.md") as told:
            page.get_by_role("link", name="report.md").click()
        assert told.value.text() == "# Report"


def test_the_api_is_described(visit):
    with visit("/docs", PHONE) as page:
        expect(page.get_by_role("heading", name="POST /predict")).to_be_visible()
        expect(page.locator("#paths")).to_contain_text("Too many requests are waiting, or the server is stopping.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_the_dark(visit, scheme):
    with visit(color_scheme=scheme) as page:
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("#label")).to_have_text("Dark")
        for place in ("#label", ".share >> nth=1", ".small >> nth=0", "nav a >> nth=1", "#download", ".hint button >> nth=1"):
            assert page.locator(place).evaluate(CONTRAST) >= 4.5, place


CONTRAST = """(one) => {
  const light = (colour) => colour.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  let behind = one;
  while (behind && (parts(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const two = [parts(getComputedStyle(one).color), parts(getComputedStyle(behind ?? document.body).backgroundColor)]
    .map((colour) => light(colour.slice(0, 3))).sort();
  return (two[1] + 0.05) / (two[0] + 0.05);
}"""


def test_one_model_is_no_choice(visit, models):
    with serving("--model", models[0], folder=models[0].parent) as address, visit(server=address) as page:
        expect(page.locator("#models")).to_contain_text("gru")
        expect(page.locator("input[type=radio]")).to_have_count(0)
        expect(page.locator("#samples")).to_be_hidden()
        expect(page.get_by_role("link", name="Results")).to_be_hidden()
        page.goto(f"{address}/results")
        expect(page.locator("#setting")).to_contain_text("There is no comparison yet.")
