"""The page in Firefox, as test_browser.py has it in Chromium."""

import bundles
import pytest
from firefox import PROGRAM, Firefox
from served import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Firefox is not installed; on Debian: apt install firefox-esr"),
]

LABEL = "document.querySelector('#label')?.textContent"
VIDEO = "document.querySelector('#stage video')"


@pytest.fixture(scope="module")
def firefox():
    with Firefox() as firefox:
        yield firefox


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    for name in ("gru", "simple_rnn"):
        bundles.tiny_bundle(project / "data/models" / name, name)
    bundles.clips(project / "data/raw/mine", count=1)
    (project / "params.yaml").write_text("data: {dataset: mine}\n")
    with serving(folder=project) as address:
        yield address


@pytest.mark.parametrize("width", [390, 1440])
def test_an_upload_plays_and_is_predicted_explained_and_compared(firefox, address, clips, width):
    firefox.open(address, width)
    firefox.wait_for("document.querySelectorAll('.thumbs button').length == 3")
    firefox.choose("#file", next(clips.glob("Bright/*")))
    firefox.wait_for(f"{LABEL} == 'Bright'")
    firefox.wait_for(f"{VIDEO}?.videoWidth == 96 && !{VIDEO}.hidden")  # an AVI, which the server makes playable
    firefox.click("#explain")
    firefox.wait_for("document.querySelectorAll('#why .chart rect').length == 8")
    firefox.click("#compare")
    firefox.wait_for("document.querySelectorAll('#all tbody tr').length == 2")
    assert firefox.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0  # nothing sticks out
    assert len(firefox.picture()) > 20_000


def test_a_timeline_is_in_step_with_the_player(firefox, address, long_film):
    firefox.open(f"{address}/?window=1&model=simple_rnn")
    firefox.wait_for("document.querySelector('#timeline').checked")
    firefox.choose("#file", long_film)
    firefox.wait_for("document.querySelector('#status').hidden && document.querySelectorAll('.runs li').length > 2")
    firefox.wait_for(f"{VIDEO}?.videoWidth == 96")
    firefox.evaluate("[...document.querySelectorAll('.runs .jump')].at(-1).click() ?? null")
    firefox.wait_for(f"{VIDEO}.currentTime > 4")
    start = "parseFloat(document.querySelector('.playhead').style.left) / 100 * 8"
    for _ in range(5):
        assert firefox.evaluate(f"{start} - {VIDEO}.currentTime") == pytest.approx(0, abs=0.2)
    assert firefox.evaluate("document.querySelector('.runs [aria-current=true]') == document.querySelector('.runs').lastChild")
