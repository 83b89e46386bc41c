"""The Results page for 700 classes in Chromium: class filters, and the part of the confusion matrix that is shown."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import DESK, PHONE
from compared import MANY, write_many_classes
from playwright.sync_api import expect
from served import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = tmp_path_factory.mktemp("many")
    write_many_classes(project)
    with serving("--model", "data/models/gru", folder=project) as address:
        yield address


def test_a_class_is_found_by_typing(visit):
    with visit("/results") as page:
        expect(page.locator("#setting")).to_contain_text("1,400 test clips, 700 classes")
        expect(page.locator("#clip-count")).to_have_text("699 test clips that gru gets wrong, of 1,400.")
        true = page.get_by_label("True class")
        suggestions = true.evaluate("(one) => [...one.list.options].map((option) => [option.value, option.label])")
        assert suggestions == [[name, "2 clips"] for name in MANY]
        true.press_sequentially("playing instrument 12")
        expect(page.locator("#clip-count")).to_contain_text("699 test clips")  # not a class yet
        true.press_sequentially("3")
        expect(page.locator("#clip-count")).to_have_text("1 test clip that gru gets wrong, of 1,400, with these filters.")
        expect(page.locator(".clip")).to_contain_text(["playing instrument 123 → "])
        expect(page).to_have_url(re.compile(r"true=playing\+instrument\+123"))
        expect(true).to_be_focused()
        page.get_by_label("Predicted class").fill("PLAYING instrument 123")
        expect(page.locator(".empty")).to_contain_text("No test clip matches these filters.")
        true.fill("")
        expect(page.locator(".clip")).to_contain_text(["playing instrument 122 → "])
        page.reload()
        expect(page.get_by_label("Predicted class")).to_have_value("playing instrument 123")
        page.get_by_role("button", name="Clear the filters").click()
        expect(page.get_by_label("Predicted class")).to_have_value("")
        expect(page.locator("#clip-count")).to_have_text("699 test clips that gru gets wrong, of 1,400.")


def test_a_text_that_is_no_class_changes_nothing(visit):
    with visit("/results") as page:
        expect(page.locator(".clip")).to_have_count(24)
        true = page.get_by_label("True class")
        true.fill("instrument")
        true.blur()
        assert true.evaluate("(one) => one.validationMessage") == "There is no such class. Choose one from the list."
        expect(page.locator("#clip-count")).to_have_text("699 test clips that gru gets wrong, of 1,400.")
        assert "true=" not in page.url
        page.get_by_label("Its answer is").select_option("correct")  # removes the text
        expect(true).to_have_value("")
        assert true.evaluate("(one) => one.validity.valid")


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_matrix_has_the_most_confused_classes_side_by_side(visit, viewport):
    with visit("/results", viewport) as page:
        section = page.locator("#confusions")
        expect(section).to_contain_text("gru gets 701 of 1,400 test clips right and 699 wrong.")
        expect(section).to_contain_text("These are the 30 classes in the most frequent confusions, of 700; those that are confused")
        names = section.locator("tbody th")
        expect(names).to_have_count(30)
        numbers = [MANY.index(name) for name in names.all_text_contents()]
        assert sorted(numbers) == list(range(30))
        assert abs(numbers.index(11) - numbers.index(12)) == 1
        assert names.evaluate_all("(all) => all.every((one) => one.scrollWidth <= one.clientWidth)")
        page.get_by_role("button", name="1 of 2 playing instrument 011 predicted as playing instrument 012", exact=True).click()
        expect(page.get_by_label("True class")).to_have_value("playing instrument 011")
        expect(page.get_by_label("Predicted class")).to_have_value("playing instrument 012")
        expect(page.locator(".clip")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_answers_of_a_clip_fit_the_phone_and_the_page_is_accessible(visit, scheme):
    with visit("/results", PHONE, color_scheme=scheme, bypass_csp=True) as page:
        expect(page.locator(".clip")).to_have_count(24)
        assert flaws(page) == []
        page.locator(".clip").first.click()
        expect(page.locator("dialog tbody tr")).to_have_count(2)
        assert page.locator("dialog .answers").evaluate("(one) => one.scrollWidth - one.clientWidth") == 0
        assert flaws(page) == []


def flaws(page):
    return [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
