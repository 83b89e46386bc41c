"""The API's description: it allows the forms that the server takes, and has each refusal."""

import jsonschema
import pytest

from actionrec.web import app, samples, schema
from actionrec.web.predict_request import Limits


@pytest.fixture
def description(registry, clips, temporary):
    """The description of a server that also saves clips."""
    return app.create_app(registry, samples.of_folder(clips), Limits(), collect=temporary).openapi()


def form_of(description, operation):
    (name,) = [name for name in description["components"]["schemas"] if name.startswith(f"Body_{operation}_")]
    return jsonschema.Draft202012Validator(description["components"]["schemas"][name])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sample": 0, "clip": "Dark/a.avi"},
        {"sample": 0, "window": 0.2, "explain": False},
        {"sample": 0, "window": 0.2, "explain": True},
        {"sample": 0, "stride": 0.1},
        {"sample": 0, "start": 0.1, "end": 0.3},
        {"sample": 0, "start": 0.1},
        {"sample": 0, "window": 0.2, "start": 0.1, "end": 0.3},
        {"sample": 0, "top": 0},
        {"sample": 0, "topp": 3},
    ],
    ids=str,
)
def test_a_form_fits_the_description_if_the_server_takes_it(client, description, fields):
    answered = client.post("/predict", data=fields)
    assert form_of(description, "predict").is_valid(fields) == (answered.status_code == 200), answered.text


def test_a_clip_to_save_needs_a_label_and_consent(description):
    form = form_of(description, "collect")
    assert form.is_valid({"video": "...", "label": "Jump", "consent": True})
    for label, consent in (("", True), ("x" * 61, True), ("Jump", False)):
        assert not form.is_valid({"video": "...", "label": label, "consent": consent})


def test_each_operation_has_its_refusals_as_json(description):
    refusal = schema.refusals(400)[400]["content"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            if method == "post":
                assert {"400", "403", "408", "413", "415", "422", "500", "503"} <= set(answers), path
                assert answers["503"]["headers"]["Retry-After"]["required"]
            for status, answer in answers.items():
                if int(status) >= 400 and status != "416":
                    assert answer["content"] == refusal, (path, status)


def test_files_are_described_by_their_type(client, description):
    for path in ("/samples/{place}.jpg", "/samples/{place}/preview"):
        answered = client.get(path.replace("{place}", "0"), headers={"range": "bytes=0-9"})
        described = description["paths"][path]["get"]["responses"]
        assert answered.status_code == 206
        assert list(described["206"]["content"]) == list(described["200"]["content"]) == [answered.headers["content-type"]]
