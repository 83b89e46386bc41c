from dataclasses import replace

import numpy as np

from actionrec.inference.explanation import Explanation
from actionrec.inference.predictor import Prediction
from actionrec.report import prediction as texts

EXPLANATION = Explanation(
    Prediction(("Run", "Sit"), np.array([0.75, 0.25]), 0.0),
    "Run",
    [0, 10, 20, 30],
    np.array([0.5, -0.25, 0.0, 1.0]),
    np.array([0.0, 0.25, 0.5, 0.25]),
    None,
    {},
)


def test_attention_is_a_column_per_frame_and_the_frame_with_the_most():
    assert texts.attention_text(EXPLANATION) == "  attention over time  ▁▅█▅  most on frame 20: 50.0 %\n"


def test_a_model_without_attention_has_no_line():
    assert texts.attention_text(replace(EXPLANATION, attention=None)) == ""


def test_an_explanation_as_json_has_attention_and_has_streams_only_if_there_are_several():
    fields = texts.explanation_fields(EXPLANATION)
    assert fields == {
        "label": "Run",
        "frames": [0, 10, 20, 30],
        "importance": [0.5, -0.25, 0.0, 1.0],
        "attention": [0.0, 0.25, 0.5, 0.25],
    }
    other = texts.explanation_fields(replace(EXPLANATION, attention=None, streams={"rgb": 3.0, "diff": 1.0}))
    assert other["attention"] is None
    assert other["stream_shares"] == {"rgb": 0.75, "diff": 0.25}
