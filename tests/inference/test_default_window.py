import pytest

from actionrec.inference.default_window import default_window
from actionrec.video.frame_settings import Snippet

SLOW = Snippet(16, 7.5)  # 2 s from its first frame to its last


@pytest.mark.parametrize(
    ("clip_seconds", "snippet", "window"),
    [
        (3.217, Snippet(), 3.2),
        (7, Snippet(16), 7.0),
        (None, Snippet(), 4.0),
        (0.0, Snippet(), 0.5),
        (1e39, Snippet(), 60.0),
        (1.2, SLOW, 2.0),
        (2.96, SLOW, 3.0),
        (None, Snippet(30, 7.0), 4.2),  # 4.143 s
    ],
)
def test_a_window_is_as_long_as_the_training_clips_and_never_shorter_than_a_snippet(clip_seconds, snippet, window):
    assert default_window(clip_seconds, snippet) == window
