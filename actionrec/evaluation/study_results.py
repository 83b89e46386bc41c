"""The published numbers of the study that this project re-does, to stand beside ours.

Source: "Comparative Analysis of Sequence Models for Video Action Recognition: An Empirical Study on UCF-50", public repository
NoobML/ucf50-action-recognition, 2025.
"""

import re
from dataclasses import dataclass

from actionrec.evaluation.intervals_and_tests import Interval, wilson

TRAIN_CLIPS = 5344
TEST_CLIPS = 1337
DEVICE = "Tesla T4"
SOURCE = "NoobML/ucf50-action-recognition (2025)"
PROTOCOL = (
    f"random split by clip, {TRAIN_CLIPS:,} to train and {TEST_CLIPS:,} to test; "
    "the epoch is chosen on the clips that are reported, and top-5 comes from the last epoch"
)
# Computed from the group sizes of UCF-101 for these 50 classes, not published by the study.
TEST_CLIPS_WITH_SIBLING_IN_TRAINING = 0.997


def is_its_data_set(name: str) -> bool:
    """Whether a data set's folder is named UCF-50, however spelt."""
    return re.sub(r"[^a-z0-9]", "", name.lower()) == "ucf50"


@dataclass(frozen=True)
class StudyResult:
    """One row of the study's table."""

    top1_percent: float  # at the best epoch
    top5_percent: float  # at the last epoch
    parameters: int  # with 50 classes, 2048 features, hidden size 512
    train_seconds: float  # on a Tesla T4

    @property
    def correct(self) -> int:
        """Test clips answered correctly: the count that the published percentage is rounded from."""
        return round(self.top1_percent / 100 * TEST_CLIPS)

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of top-1; the study itself gives none."""
        return wilson(self.correct, TEST_CLIPS)


RESULTS = {
    "simple_rnn": StudyResult(94.99, 99.33, 1_337_394, 57.6),
    "lstm": StudyResult(96.63, 99.93, 5_272_626, 81.2),
    "gru": StudyResult(97.23, 99.85, 3_960_882, 69.7),
    "bilstm": StudyResult(95.89, 99.55, 10_545_202, 133.0),
    "stacked_lstm": StudyResult(89.90, 99.10, 7_373_874, 113.2),
    "transformer": StudyResult(3.14, 11.37, 13_684_274, 161.9),
    "swin_transformer": StudyResult(93.79, 99.18, 4_227_122, 70.9),
}
