"""The Results page in Firefox, as test_browser_results.py has it in Chromium."""

import pytest
from compared import write_compared
from firefox import PROGRAM, Firefox
from served import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Firefox is not installed; on Debian: apt install firefox-esr"),
]


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_a_confusion_leads_to_a_clip_that_plays(results, width):
    results.open(f"{results.address}/results?sort=clip", width)
    results.wait_for("document.querySelectorAll('svg.chart').length == 2 && document.querySelectorAll('.clip').length == 24")
    results.click(".pair")
    results.wait_for("document.querySelector('#clip-count').textContent.startsWith('30 test clips that gru gets wrong')")
    results.wait_for("document.querySelector('.clip').title == 'Bright/v_Bright_g01_c01.avi'")
    results.click(".clip")
    results.wait_for("document.querySelector('dialog[open] video')?.videoWidth == 96")
    assert results.evaluate("document.querySelectorAll('dialog tbody tr').length") == 3
    results.evaluate("document.querySelector('dialog').close() ?? null")
    results.wait_for("document.activeElement == document.querySelector('.clip')")
    assert results.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0  # nothing sticks out
    assert len(results.picture()) > 20_000


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Firefox, with the address of a project."""
    project = tmp_path_factory.mktemp("project")
    write_compared(project)
    with serving("--model", "data/models/gru", folder=project) as address, Firefox() as firefox:
        firefox.address = address
        yield firefox
