"""Default window: seconds of a timeline's window, if the user names none."""

import math

from actionrec.video.frame_settings import ONE_FRAME, Snippet

UNKNOWN = 4.0
"""Seconds, for a model that does not know the length of its training clips."""
SHORTEST, LONGEST = 0.5, 60.0
"""Seconds. A shorter window has too few frames of a usual video; a longer one may have more than are held in memory."""


def default_window(clip_seconds: float | None, snippet: Snippet = ONE_FRAME) -> float:
    """The median length of the model's training clips, since it saw actions for that long; in seconds, rounded to 0.1.

    It is from SHORTEST to LONGEST, but at least as long as a snippet. UNKNOWN if there is no length.

    >>> default_window(2.16), default_window(None), default_window(1.2, Snippet(16, 7.5)), default_window(600)
    (2.2, 4.0, 2.0, 60.0)

    Args:
        clip_seconds: of the bundle.
        snippet: of the bundle's frames.
    """
    seconds = UNKNOWN if clip_seconds is None else min(max(clip_seconds, SHORTEST), LONGEST)
    shortest = 0.0 if snippet.rate is None else (snippet.length - 1) / snippet.rate
    return max(round(seconds, 1), math.ceil(10 * shortest) / 10)
