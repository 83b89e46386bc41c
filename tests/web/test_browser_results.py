"""The Results page in Chromium: table, charts, confusions, and the error browser by mouse and keyboard."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import DESK, PHONE, TABLET
from compared import FIGURES, write_compared
from playwright.sync_api import expect
from served import local, running, serving

from actionrec.web.app import create_app
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    write_compared(project)
    with serving("--model", "data/models/gru", folder=project) as address:
        yield address


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_verdict_comes_first_and_plots_and_files_last(visit, viewport):
    with visit("/", viewport) as page:
        page.get_by_role("link", name="Results").click()
        expect(page.locator("#setting")).to_contain_text("mine, official split, list 2, 120 test clips, 3 classes")
        expect(page.locator(".verdict-text")).to_have_text("Deploy gru: 72.5 % top-1.")
        expect(page.locator("#verdict li")).to_have_text(["It is small.", "To be surer: test all folds."])
        assert page.locator("#verdict").evaluate("(one) => one.getBoundingClientRect().top") < viewport["height"] / 2
        page.get_by_text("All plots").last.click()
        page.get_by_text("Plots of gru").click()
        pictures = page.locator("img.plot")
        expect(pictures).to_have_count(2)
        for place in range(2):
            pictures.nth(place).scroll_into_view_if_needed()
            expect(pictures.nth(place)).to_have_js_property("complete", True)
            page.wait_for_function("(place) => document.querySelectorAll('img.plot')[place].naturalWidth > 500", arg=place)
        with page.expect_response("**/metrics/report.md") as told:
            page.get_by_role("link", name="report.md").click()
        assert told.value.text() == "# Report"


def test_the_table_is_sorted_by_any_column_with_missing_values_last(visit):
    with visit("/results") as page:
        names = page.locator("#models tbody th button")
        expect(names).to_have_text(["gru", "simple_rnn", "lstm"])
        for title, expected, order in [
            ("own parameters", ["lstm", "gru", "simple_rnn"], "ascending"),
            ("own parameters", ["simple_rnn", "gru", "lstm"], "descending"),
            ("top-1 %", ["lstm", "simple_rnn", "gru"], "descending"),
            ("mean class %", ["lstm", "gru", "simple_rnn"], "descending"),
            ("mean class %", ["gru", "lstm", "simple_rnn"], "ascending"),
            ("model", ["gru", "lstm", "simple_rnn"], "ascending"),
        ]:
            page.get_by_role("button", name=title, exact=True).press("Enter")
            expect(names).to_have_text(expected)
            head = page.locator("#models th[aria-sort]")
            expect(head).to_have_count(1)
            expect(head).to_have_text(title)
            expect(head).to_have_attribute("aria-sort", order)


def test_the_table_marks_the_model_to_deploy_and_those_that_are_tied_with_rank_1(visit):
    def other(route):
        told = route.fetch().json()
        for one in told["models"]:
            one["tied_with_best"] = one["model"] != "lstm"
        route.fulfill(json={**told, "best": "simple_rnn"})

    with visit("/results") as page:
        expect(page.locator("#models th:has(.pill)")).to_have_text(["gru deploy"])
        page.route("**/comparison", other)
        page.reload()
        expect(page.locator("#models th:has(.pill)")).to_have_text(["gru tied", "simple_rnn deploy"])


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_charts_are_legible_and_their_labels_apart(visit, viewport):
    with visit("/results", viewport) as page:
        expect(page.locator("svg.chart")).to_have_count(2)
        for place, names in ((0, list(FIGURES)), (1, list(FIGURES))):
            chart = page.locator("svg.chart").nth(place)
            texts = chart.locator("text")
            assert set(names) <= set(texts.all_text_contents())
            assert min(texts.evaluate_all("(all) => all.map((one) => parseFloat(getComputedStyle(one).fontSize))")) >= 12
            boxes = texts.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().toJSON())")
            frame = chart.evaluate("(one) => one.getBoundingClientRect().toJSON()")
            for number, one in enumerate(boxes):
                assert frame["left"] - 1 <= one["left"], one
                assert one["right"] <= frame["right"] + 1, one
                for other in boxes[:number]:
                    apart = one["left"] >= other["right"] or other["left"] >= one["right"]
                    assert apart or one["top"] >= other["bottom"] - 4 or other["top"] >= one["bottom"] - 4
            for name in names:
                assert name in chart.get_attribute("aria-label")
        page.get_by_label("Cost", exact=True).select_option("parameters of the model alone")
        expect(page.locator("#cost svg")).to_have_attribute("aria-label", re.compile("gru 72.5 % for 4 millions"))


def test_a_confusion_leads_to_its_clips(visit):
    with visit("/results?model=simple_rnn") as page:
        section = page.locator("#confusions")
        expect(section).to_contain_text("simple_rnn gets 118 of 120 test clips right and 2 wrong.")
        section.get_by_label("Model").select_option("gru")
        expect(section.locator(".pair").first).to_have_text("Bright predicted as Dark30 of 40")
        page.get_by_role("button", name="3 of 40 Dark predicted as Striped").click()
        expect(page.locator("#clip-count")).to_have_text("3 test clips that gru gets wrong, of 120, with these filters.")
        expect(page.locator(".clip")).to_have_count(3)
        expect(page.locator(".clip").first).to_contain_text("Dark → ")
        expect(page).to_have_url(re.compile(r"/results\?true=Dark&predicted=Striped#clips$"))
        page.get_by_role("button", name="10 of 40 Bright predicted as Bright").click()
        expect(page.locator("#clip-count")).to_have_text("10 test clips that gru gets right, of 120, with these filters.")


def test_filters_are_in_the_address_and_pages_keep_the_focus(visit, address):
    with visit("/results") as page:
        expect(page.locator("#clip-count")).to_have_text("33 test clips that gru gets wrong, of 120.")
        expect(page.locator(".clip")).to_have_count(24)
        more = page.get_by_role("button", name="Show 9 more of 9")
        more.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".clip")).to_have_count(33)
        expect(page.locator(".clip").nth(24)).to_be_focused()
        page.get_by_label("Its answer is").select_option("any")
        expect(page.locator(".clip")).to_have_count(24)
        more = page.get_by_role("button", name="Show 24 more of 96")
        more.press("Enter")
        expect(page.locator(".clip")).to_have_count(48)
        expect(page.get_by_role("button", name="Show 24 more of 72")).to_be_focused()

        page.get_by_text("More filters").click()
        page.get_by_label("All models", exact=True).select_option("disagree (33)")
        page.get_by_label("Confidence from, %").fill("85")
        page.get_by_label("Confidence from, %").blur()
        page.get_by_label("Order").select_option("by name")
        expect(page.locator("#clip-count")).to_contain_text("with these filters")
        expect(page.locator(".stale")).to_have_count(0)
        shown, url = page.locator(".clip-answer").all_text_contents(), page.url
        assert 0 < len(shown) < 24
        assert "min_confidence=0.85" in url
        page.goto(f"{address}/docs")
        page.goto(url)
        expect(page.locator(".clip-answer")).to_have_text(shown)
        expect(page.get_by_label("Confidence from, %")).to_have_value("85")
        page.get_by_role("button", name="Clear the filters").click()
        expect(page.locator("#clip-count")).to_have_text("33 test clips that gru gets wrong, of 120.")
        page.get_by_label("Label", exact=True).select_option("suspect (1)")
        expect(page.locator(".clip")).to_contain_text(["suspect label"])


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_a_clip_plays_with_all_answers_by_keyboard_alone(visit, viewport):
    with visit("/results?sort=clip", viewport) as page:
        expect(page.locator(".clip")).to_have_count(24)
        page.locator(".clip").first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Bright")
        expect(dialog.locator("video")).to_have_js_property("videoWidth", 96)
        expect(dialog.locator("video")).to_have_js_property("muted", True)
        expect(dialog.locator("tbody th")).to_have_text(["gru", "simple_rnn", "lstm"])
        expect(dialog.locator("tbody td:nth-child(2)")).to_have_text(["✗ Dark, wrong", "✗ Striped, wrong", "✓ Bright, correct"])
        link = dialog.get_by_role("link", name="Open in Predict")
        expect(link).to_have_attribute("href", "./?clip=Bright%2Fv_Bright_g01_c01.avi&model=gru")
        expect(page).to_have_url(re.compile("clip=Bright%2Fv_Bright_g01_c01.avi"))
        expect(dialog.get_by_role("button", name="Previous")).to_be_disabled()
        dialog.get_by_role("button", name="Next").press("Enter")
        expect(dialog).to_contain_text("Bright/v_Bright_g02_c01.avi")
        expect(dialog).to_contain_text("suggest that this label is wrong")
        dialog.get_by_role("button", name="Next").press("Enter")
        expect(dialog.locator(".error")).to_contain_text("its file is missing. `dvc pull` or `dvc repro` fetches the data set.")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.locator(".clip").nth(2)).to_be_focused()  # when the dialog's event has come
        expect(page).to_have_url(re.compile(r"/results\?sort=clip#clips$"))
        expect(page.locator(".clip").nth(2)).to_contain_text("no picture")


def test_the_matrix_is_one_stop_for_tab_and_arrow_keys_move_in_it(visit):
    with visit("/results") as page:
        page.locator(".matrix button").first.wait_for()
        expect(page.locator(".matrix button[tabindex='0']")).to_have_count(1)
        page.locator(".matrix button[tabindex='0']").focus()
        for key, name in (("ArrowRight", "30 of 40 Bright"), ("ArrowDown", "37 of 40 Dark"), ("End", "3 of 40 Dark")):
            page.keyboard.press(key)
            expect(page.locator(".matrix button:focus")).to_have_attribute("aria-label", re.compile(f"^{name}"))
        page.keyboard.press("Enter")
        expect(page.locator("#clip-count")).to_contain_text("3 test clips")
        expect(page.locator("#clips")).to_be_focused()


def test_nothing_to_show_says_what_to_do(visit):
    with visit("/results?model=lstm") as page:
        expect(page.locator(".empty")).to_contain_text("lstm gets all 120 test clips right.")
        page.get_by_role("button", name="Show clips on which models disagree").click()
        expect(page.locator("#clip-count")).to_have_text("33 test clips, of 120, with these filters.")
        page.get_by_label("True class").select_option("Striped (40)")
        expect(page.locator(".empty")).to_contain_text("No test clip matches these filters.")
        page.get_by_role("button", name="Clear the filters").first.click()
        expect(page.locator(".empty")).to_contain_text("lstm gets all 120 test clips right.")
    with visit("/results?model=nix&true=nix&sort=nix&clip=nix.avi") as page:
        expect(page.locator("#clip-count")).to_contain_text("33 test clips that gru gets wrong")
        expect(page.locator("dialog .error")).to_have_text("clip 'nix.avi': no such test clip.")


def test_without_a_run_each_part_says_what_to_do(visit, models, project):
    with running(create_app(ModelRegistry([models[0]]), [], Limits())) as (port, _), visit("/results", server=local(port)) as page:
        expect(page.locator("#setting")).to_have_text(
            "There is no comparison yet. Run `dvc repro` to train and compare the models."
        )
        expect(page.locator("#clips .empty")).to_contain_text("There are no predictions of test clips. Run `dvc repro`")
        expect(page.locator("#confusions")).to_be_hidden()


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(PHONE, "light"), (TABLET, "dark"), (DESK, "light"), (PHONE, "dark")],
    ids=["phone-light", "tablet-dark", "desk-light", "phone-dark"],
)
def test_the_page_is_accessible(visit, viewport, scheme):
    with visit("/results", viewport, color_scheme=scheme, bypass_csp=True) as page:
        expect(page.locator(".clip")).to_have_count(24)
        page.get_by_text("More filters").click()
        assert flaws(page) == []
        page.locator(".clip").first.click()
        expect(page.locator("dialog tbody tr")).to_have_count(3)
        assert flaws(page) == []


def flaws(page):
    return [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
