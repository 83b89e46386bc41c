"""The page in a real browser: Debian's Chromium, without a window."""

import base64
import csv
import io
import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import bundles
import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import CHROMIUM, DESK, PHONE
from playwright.sync_api import expect
from served import local, running, serving

from actionrec.web.app import create_app
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits

pytestmark = pytest.mark.slow

STRICT = {"temperature": 1.5, "threshold": 0.99999}


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
        page.wait_for_function("() => [...document.querySelectorAll('.strip img')].every((one) => one.naturalWidth > 0)")
        with page.expect_download() as kept:
            page.locator("#download").click()
        told = httpx.post(f"{address}/predict", data={"sample": 2, "model": "gru"}, timeout=60).json()
        assert json.loads(Path(kept.value.path()).read_text()) == told
        assert kept.value.suggested_filename == f"{told['video']}.json"


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_an_upload_is_predicted_and_explained_and_another_model_asked(visit, clips, viewport):
    with visit(viewport=viewport) as page:
        page.locator("#file").set_input_files(next(clips.glob("Bright/*")))
        expect(page.locator("#label")).to_have_text("Bright")
        expect(page.locator("#label")).to_be_in_viewport()
        expect(page.locator("#elapsed")).to_have_text(re.compile(r"^gru on resnet18, answered in \d+\.\d s$"))
        video = page.locator("#stage video")  # an AVI, which the server makes playable
        expect(video).to_be_visible()
        expect(video).to_have_js_property("videoWidth", 96)
        expect(video).to_have_js_property("videoHeight", 64)

        page.get_by_role("button", name="Explain this answer").click()
        expect(page.locator("#why .chart rect")).to_have_count(8, timeout=30_000)
        expect(page.locator("#why")).to_be_focused()  # a keyboard goes on from here
        expect(page.locator(".regions img")).to_have_count(8)
        expect(page.locator(".regions img").first).to_have_js_property("naturalWidth", 320)
        width = page.locator("#why .chart").evaluate("(one) => one.getBoundingClientRect().width")
        page.locator("#why .chart").click(position={"x": width * 0.75, "y": 20})
        assert video.evaluate("(one) => one.currentTime") == pytest.approx(0.75 * 0.48, abs=0.03)
        page.get_by_role("button", name="Go to 0.24 s").click()
        assert video.evaluate("(one) => one.currentTime") == pytest.approx(0.24, abs=0.01)

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
        assert answers[2].endswith("not sure")
        expect(table.locator("[aria-current=true] th")).to_have_text("gru")
        expect(page.locator("#all")).to_contain_text(
            re.compile(r"All models give the same answer|The models give 2 different answers")
        )
        expect(page.locator("#all")).to_be_focused()  # a keyboard goes on from here
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        expect(page.locator("#label")).to_have_text("Striped")


def test_below_the_threshold_the_headline_is_the_likeliest_class_and_not_sure(visit):
    with visit() as page:
        page.get_by_label("strict").check()
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("#label")).to_have_text("Dark not sure")
        expect(page.locator("#answer")).to_contain_text("The video may show none of the classes.")


def test_a_broken_file_gets_the_command_lines_message_and_the_next_one_an_answer(visit, clips, tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "notes.txt").write_text("no video")
    with visit(viewport=PHONE) as page:
        page.locator("#file").set_input_files(tmp_path / "noise.mp4")
        alert = page.get_by_role("alert")
        expect(alert).to_have_text(
            "noise.mp4: not a video file that FFmpeg can open (Invalid data found when processing input). "
            "Copy or download it again.  Try again"
        )
        expect(alert).to_be_in_viewport()
        page.locator("#file").set_input_files(tmp_path / "notes.txt")
        expect(alert).to_contain_text("notes.txt: not a video's file name")
        page.locator("#file").set_input_files(next(clips.glob("Dark/*")))
        expect(page.locator("#label")).to_have_text("Dark")
        expect(page.locator("#error")).to_be_hidden()


def test_files_that_are_chosen_while_the_page_loads_wait_and_are_kept(visit, clips):
    with visit() as page:
        page.add_init_script(FAR_AWAY)
        page.reload()
        page.locator("#file").set_input_files(sorted(clips.glob("*/*.avi")))
        expect(page.locator("#batch [role=status]")).to_have_text("3 of 3 done.", timeout=30_000)


def test_a_timeline_that_is_asked_for_while_the_page_loads_comes_into_view(visit, long_film):
    with visit(viewport=PHONE) as page:
        page.add_init_script(FAR_AWAY)
        page.reload()
        page.get_by_label("Timeline").check()
        page.get_by_label("Seconds per window").fill("1")
        page.locator("#file").set_input_files(long_film)
        expect(page.locator("#label")).to_have_text("Bright, Dark, Striped", timeout=30_000)
        expect(page.get_by_label("Seconds per window")).to_have_value("1")
        expect(page.locator("#label")).to_be_in_viewport()


FAR_AWAY = """const near = fetch;
window.fetch = (...rest) => new Promise((done) => setTimeout(done, 1000)).then(() => near(...rest));"""


def test_a_file_chosen_where_the_page_could_not_load_is_not_sent(visit, clips):
    with visit() as page:
        page.route("**/models", lambda route: route.abort())
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
        page.locator("#file").set_input_files(next(clips.glob("Dark/*")))
        page.wait_for_timeout(200)
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")


def test_a_file_that_is_too_large_is_not_sent(visit, tmp_path):
    with (tmp_path / "huge.mp4").open("wb") as stream:
        stream.truncate(201_000_000)
    with visit() as page:
        sent = []
        page.on("request", lambda request: sent.append(request.method))
        page.locator("#file").set_input_files(tmp_path / "huge.mp4")
        expect(page.get_by_role("alert")).to_have_text("huge.mp4 has 201 MB; this server takes 200 MB. Send a shorter piece.")
        assert "POST" not in sent


def timeline_of(page, path, window="1"):
    page.get_by_label("Timeline").check()
    page.get_by_label("Seconds per window").fill(window)
    page.locator("#file").set_input_files(path)
    expect(page.locator(".runs li").first).to_be_visible(timeout=30_000)
    expect(page.locator("#status")).to_be_hidden(timeout=60_000)
    expect(page.locator("#stage video")).to_be_visible()


def saved(page, name):
    with page.expect_download() as kept:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(kept.value.path()).read_text()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_a_timeline_is_that_of_the_api_and_can_be_saved(visit, address, long_film, viewport):
    with long_film.open("rb") as stream:
        told = httpx.post(
            f"{address}/predict", files={"video": (long_film.name, stream)}, data={"window": 1, "model": "gru"}, timeout=60
        )
    runs = told.json()["runs"]
    with visit(viewport=viewport) as page:
        timeline_of(page, long_film)
        expect(page.locator("#label")).to_have_text("Bright, Dark, Striped")
        expect(page.locator(".runs .what")).to_have_text([run["answer"] for run in runs])
        assert page.locator(".band span").count() == len(runs) == page.locator(".runs .jump img").count()
        assert json.loads(saved(page, "Download as JSON")) == told.json()
        rows = list(csv.DictReader(io.StringIO(saved(page, "CSV"))))
        for row, run in zip(rows, runs, strict=True):
            assert float(row["start_seconds"]) == pytest.approx(run["start_seconds"], abs=2e-3)
            assert float(row["end_seconds"]) == pytest.approx(run["end_seconds"], abs=2e-3)
            assert (row["video"], row["answer"], row["windows"]) == (long_film.name, run["answer"], str(run["windows"]))
            assert float(row["confidence"]) == pytest.approx(run["confidence"], abs=1e-6)
        for name, mark in (("SRT", ","), ("VTT", ".")):
            cues = re.findall(rf"(\d\d):(\d\d):(\d\d){re.escape(mark)}(\d\d\d) --> .*\n(\w+)", saved(page, name))
            starts = [3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000 for h, m, s, ms, _ in cues]
            assert starts == pytest.approx([run["start_seconds"] for run in runs], abs=2e-3)
            assert [cue[-1] for cue in cues] == [run["answer"] for run in runs]


def test_player_track_list_and_keyboard_are_in_step(visit, long_film):
    with visit() as page:
        timeline_of(page, long_film)
        video, track = page.locator("#stage video"), page.get_by_role("slider", name="Position in the video")
        place = "(one) => one.currentTime"
        page.locator(".runs .jump").nth(2).click()
        page.wait_for_timeout(700)  # it plays
        assert page.evaluate(BEHIND) == pytest.approx(0, abs=0.2)
        assert not video.evaluate("(one) => one.paused")
        track.focus()
        page.keyboard.press("Space")
        assert video.evaluate("(one) => one.paused")
        page.keyboard.press("Home")
        expect(track).to_have_attribute("aria-valuenow", "0.0")
        page.keyboard.press("ArrowRight")
        expect(track).to_have_attribute("aria-valuenow", "0.5")  # a stride
        assert video.evaluate(place) == pytest.approx(0.5, abs=0.05)
        page.keyboard.press("PageDown")
        expect(page.locator(".runs [aria-current=true] .what")).to_have_text("Dark")
        expect(track).to_have_attribute("aria-valuetext", re.compile("^0:01.7, Dark, "))
        video.evaluate("(one) => one.addEventListener('seeking', () => { one.dataset.sought ??= one.currentTime; })")
        box = track.bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + 10)
        expect(video).to_have_attribute("data-sought", re.compile(r"^\d"))
        assert float(video.get_attribute("data-sought")) == pytest.approx(4.8, abs=0.3)
        page.wait_for_function(
            "(from) => document.querySelector('#stage video').currentTime > from", arg=5
        )  # it plays on from there
        for _ in range(3):
            page.get_by_role("button", name="Zoom in").click()
        assert track.evaluate("(one) => one.offsetWidth / one.parentElement.clientWidth") == pytest.approx(8, abs=0.1)
        page.keyboard.press("Tab")


# Seconds from the playhead to what the player shows, of 8.
BEHIND = """() => document.querySelector("#stage video").currentTime
  - parseFloat(document.querySelector(".playhead").style.left) / 100 * 8"""


def test_the_threshold_merges_segments_and_can_be_reset(visit, long_film):
    with visit() as page:
        timeline_of(page, long_film)
        before = page.locator(".runs .what").all_inner_texts()
        slider = page.get_by_label("Not sure below")
        slider.fill("100")
        expect(page.locator(".runs li")).to_have_count(1)
        expect(page.locator(".runs .pill")).to_have_text("not sure")
        expect(page.locator("#label .pill")).to_have_text("not sure")
        page.get_by_role("button", name="Reset").click()
        expect(page.locator(".runs .what")).to_have_text(before)
        expect(page.locator("#threshold")).to_be_focused()


def test_a_segment_is_explained(visit, long_film):
    with visit() as page:
        timeline_of(page, long_film)
        page.locator(".runs li", has_text="Dark").first.get_by_role("button", name="Explain this segment").click()
        expect(page.locator("#why h2")).to_have_text(re.compile(r"^Why “Dark” at 0:0\d\.\d – 0:0\d\.\d$"), timeout=30_000)
        expect(page.locator("#why")).to_be_focused()
        expect(page.locator(".runs li").first).to_be_visible()  # the timeline stays
        page.locator(".regions button").last.click()
        assert 1.7 <= page.locator("#stage video").evaluate("(one) => one.currentTime") <= 3.8


def test_segments_appear_while_the_rest_is_computed(visit, long_film):
    with visit() as page:
        page.evaluate(SLOW_END)
        page.get_by_label("Timeline").check()
        page.get_by_label("Seconds per window").fill("1")
        page.locator("#file").set_input_files(long_film)
        expect(page.locator(".runs .what").first).to_have_text("Bright", timeout=30_000)
        expect(page.get_by_role("button", name="Cancel")).to_be_visible()  # the end has not come


# The page gets the first lines of the answer, and never its end.
SLOW_END = """() => {
  const known = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, "responseText");
  Object.defineProperty(XMLHttpRequest.prototype, "responseText", { get() {
    return known.get.call(this).split("\\n").filter((line) => !line.includes('"result"')).join("\\n");
  } });
  const listen = XMLHttpRequest.prototype.addEventListener;
  XMLHttpRequest.prototype.addEventListener = function (kind, ...rest) { if (kind !== "load") listen.call(this, kind, ...rest); };
}"""


def test_several_files_get_a_table_and_a_csv(visit, clips, tmp_path):
    noise = tmp_path / "=noise.mp4"
    noise.write_bytes(b"no video at all" * 100)
    paths = [*sorted(clips.glob("*/*.avi")), noise]
    with visit() as page:
        page.locator("#file").set_input_files(paths)
        expect(page.locator("#batch [role=status]")).to_have_text("4 of 4 done, 1 could not be predicted.", timeout=30_000)
        assert page.locator("#batch tbody td:nth-child(2)").all_inner_texts()[:3] == ["Bright", "Dark", "Striped"]
        rows = list(csv.DictReader(io.StringIO(saved(page, "Save as CSV"))))
        assert [row["label"] for row in rows] == ["Bright", "Dark", "Striped", ""]
        assert rows[3]["video"] == "'=noise.mp4"  # not a formula
        assert "not a video file" in rows[3]["error"]
        page.locator("#batch").get_by_role("button", name=paths[1].name).click()
        expect(page.locator("#label")).to_have_text("Dark")
        expect(page.locator("#stage video")).to_be_visible()


def test_the_address_and_the_session_keep_what_was_asked(visit, clips, address):
    with visit("/?sample=1&model=simple_rnn&window=0.4") as page:
        expect(page.locator("#elapsed")).to_contain_text("simple_rnn")
        expect(page.get_by_label("Seconds per window")).to_have_value("0.4")
        expect(page.locator(".runs li").first).to_be_visible()
        page.get_by_label("Timeline").uncheck()
        expect(page.locator(".bars")).to_be_visible()
        expect(page).to_have_url(f"{address}/?sample=1&model=simple_rnn")
        page.locator("#file").set_input_files(next(clips.glob("Bright/*")))
        expect(page.locator("#label")).to_have_text("Bright")
        page.reload()
        expect(page.locator(".earlier button").first).to_contain_text("Dark")
        page.locator(".earlier button").first.click()
        expect(page.locator("#label")).to_have_text("Dark")
        expect(page.locator("#stage video")).to_be_visible()


def test_a_full_server_is_asked_again(visit):
    with visit() as page:
        answers = iter([(503, {"Retry-After": "1"}, '{"error": "full"}')])

        def refuse_once(route):
            if (told := next(answers, None)) is None:
                route.continue_()
            else:
                route.fulfill(status=told[0], headers=told[1], body=told[2])

        page.route("**/predict", refuse_once)
        page.get_by_role("button", name="Dark").click()
        expect(page.get_by_role("status")).to_contain_text("The server is full. Trying again in 1 s")
        expect(page.locator("#label")).to_have_text("Dark")


def test_a_lost_connection_loses_no_file(visit, clips):
    with visit() as page:
        page.route("**/predict", lambda route: route.abort())
        page.locator("#file").set_input_files(next(clips.glob("Dark/*")))
        expect(page.get_by_role("alert")).to_contain_text("The connection to the server was lost. Your video is still here")
        page.unroute("**/predict")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#label")).to_have_text("Dark")


def test_a_video_is_pasted_or_recorded(playwright, address, clips):
    camera = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with closing(playwright.chromium.launch(executable_path=CHROMIUM, args=camera)) as own:
        page = own.new_page()
        page.goto(address)
        expect(page.locator("#choice input").first).to_be_visible()
        contents = base64.b64encode(next(clips.glob("Striped/*")).read_bytes()).decode()
        page.evaluate(PASTE, contents)
        expect(page.locator("#label")).to_have_text("Striped")
        page.get_by_role("button", name="Record with the camera").click()
        page.get_by_role("button", name="Start recording").click()
        expect(page.get_by_role("timer")).to_contain_text("Recording, 0:01", timeout=10_000)
        page.get_by_role("button", name="Stop and predict").click()
        expect(page.locator(".over")).to_have_text("recording.webm", timeout=20_000)
        expect(page.locator("#label")).not_to_be_empty()
        page.wait_for_function("() => document.querySelector('#stage video')?.duration < 30")  # the preview knows its length


PASTE = """(contents) => {
  const bytes = Uint8Array.from(atob(contents), (one) => one.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "pasted.avi"));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def test_a_sample_plays_while_it_is_pointed_at_or_focused(visit):
    with visit() as page:
        tile = page.get_by_role("button", name="Dark")
        tile.hover()
        expect(tile.locator("video")).to_be_attached()
        page.mouse.move(1, 1)
        expect(tile.locator("video")).to_have_count(0)
        tile.focus()
        expect(tile.locator("video")).to_be_attached()


NEVER_LOADED = """() => {
  const known = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "src");
  const set = function (url) { if (!String(url).startsWith("blob:")) known.set.call(this, url); };
  Object.defineProperty(HTMLMediaElement.prototype, "src", { ...known, set });
}"""


def test_a_file_that_takes_long_to_open_does_not_replace_a_later_choice(visit, clips):
    with visit() as page:
        page.clock.install()
        page.evaluate(NEVER_LOADED)  # the page asks the browser how long a file is, and gives up after 3 s
        page.locator("#file").set_input_files(path := next(clips.glob("Bright/*")))
        expect(page.get_by_role("status")).to_contain_text(f"Opening {path.name}")
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("#label")).to_have_text("Dark")
        page.clock.fast_forward(3500)
        page.wait_for_timeout(500)
        expect(page.locator("#label")).to_have_text("Dark")
        expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")

        page.locator("#file").set_input_files(path)
        page.get_by_role("button", name="Cancel").click()
        page.clock.fast_forward(3500)
        page.wait_for_timeout(500)
        expect(page.get_by_role("status")).to_have_text("Cancelled.Try again")
        page.locator("#file").set_input_files(path)
        expect(page.get_by_role("status")).to_contain_text(f"Opening {path.name}")
        page.clock.fast_forward(3500)
        expect(page.locator("#label")).to_have_text("Bright")


def test_models_are_read_aloud_with_what_their_figures_are(visit):
    with visit() as page:
        name = "gru top-1 75 % 50–90 parameters 0.1 M latency –"
        expect(page.get_by_role("radio", name=name, exact=True)).to_be_visible()


def test_files_are_offered_that_the_server_takes_and_no_others(visit, address):
    suffixes = httpx.get(f"{address}/models").json()["limits"]["suffixes"]
    with visit() as page:
        expect(page.locator("#choice input").first).to_be_visible()
        expect(page.locator("#file")).to_have_attribute("accept", ",".join(suffixes))


def test_long_work_can_be_cancelled(visit, long_film):
    with visit() as page:
        page.get_by_label("Seconds per window").fill("0.5")
        page.get_by_label("Timeline").check()
        page.route("**/predict", lambda route: None)  # a server that takes its time
        page.get_by_role("button", name="Dark").click()
        page.get_by_role("button", name="Cancel").press("Enter")
        expect(page.get_by_role("status")).to_have_text("Cancelled.Try again")
        expect(page.get_by_role("button", name="Try again")).to_be_focused()
        page.unroute("**/predict")
        page.keyboard.press("Enter")
        expect(page.locator(".runs")).to_be_visible()
        page.get_by_label("Timeline").uncheck()
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


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone", "desk"])
def test_every_state_is_accessible_by_axe(visit, clips, long_film, viewport, scheme):
    def check(state):
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == [], state

    with visit(viewport=viewport, color_scheme=scheme, reduced_motion="reduce") as page:
        expect(page.locator(".thumbs button")).to_have_count(3)
        check("empty")
        page.get_by_label("strict").check()
        page.get_by_role("button", name="Dark").click()
        page.get_by_role("button", name="Explain this answer").click()
        expect(page.locator("#why .chart rect")).to_have_count(8, timeout=30_000)
        page.get_by_role("button", name="Compare all models").click()
        expect(page.locator("#all table")).to_be_visible()
        check("answer, not sure, with explanation and all models")
        page.get_by_label("gru").check()
        timeline_of(page, long_film)
        check("timeline")
        page.locator("#file").set_input_files([*clips.glob("*/*.avi")])
        expect(page.locator("#batch [role=status]")).to_contain_text("3 of 3 done", timeout=30_000)
        check("several files")
        page.route("**/predict", lambda route: route.abort())
        page.get_by_role("button", name="Bright", exact=True).click()
        expect(page.get_by_role("alert")).to_be_visible()
        check("error")


def test_a_page_is_light(visit):
    for path in ("/", "/results", "/docs"):
        with visit() as page:
            sizes = []
            page.on("response", lambda told, sizes=sizes: sizes.append((told.url, len(told.body()))))
            page.goto(page.url.rstrip("/") + path)
            page.wait_for_load_state("networkidle")
            own = [size for url, size in sizes if "/samples/" not in url and "/plots/" not in url and "/test-clips/" not in url]
            assert 5_000 < sum(own) < 150_000, path


def test_names_are_text_and_never_markup(visit, clips, tmp_path):
    name = "<img src=x onerror=alert(1)>.avi"
    path = shutil.copyfile(next(clips.glob("Dark/*")), tmp_path / name)
    with visit() as page:
        page.locator("#file").set_input_files(path)
        expect(page.locator(".over")).to_have_text(name)
        assert page.locator("img[src=x]").count() == 0


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


def test_one_model_is_no_choice(visit, models, project):
    app = create_app(ModelRegistry([models[0]]), [], Limits())
    with running(app) as (port, _), visit(server=local(port)) as page:
        expect(page.locator("#models")).to_contain_text("gru")
        expect(page.locator("input[type=radio]")).to_have_count(0)
        expect(page.locator("#samples")).to_be_hidden()
        expect(page.get_by_role("link", name="Results")).to_be_hidden()
        page.goto(f"{local(port)}/results")
        expect(page.locator("#setting")).to_contain_text("There is no comparison yet.")
