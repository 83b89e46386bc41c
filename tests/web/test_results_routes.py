"""Addresses of test clips and confusion matrices, and `POST /predict` of a test clip."""

import tarfile
from pathlib import Path

import bundles
import fabricate
import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient

from actionrec.core import paths
from actionrec.data import tar_shards
from actionrec.data.clip_files import write_members
from actionrec.evaluation.prediction_files import write_predictions
from actionrec.web import app, schema
from actionrec.web.evaluated_clips import QUERY
from actionrec.web.predict_request import Limits

CLIPS = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in bundles.CLASSES for group in (1, 2)]


@pytest.fixture
def client(project, registry, temporary):
    """Six test clips, the last of which was deleted: gru errs on the second, and simple_rnn on the first and the second."""
    bundles.clips(Path("data/raw/mine"))
    (Path("data/raw/mine") / CLIPS[-1]).unlink()
    Path("params.yaml").write_text("data: {dataset: mine}\n")
    labels = np.arange(len(CLIPS)) // 2
    for name, wrong in (("gru", [1]), ("simple_rnn", [0, 1])):
        predicted = labels.copy()
        predicted[wrong] = 2
        logits = 4 * np.eye(len(bundles.CLASSES), dtype=np.float32)[predicted]
        write_predictions(paths.predictions(name), fabricate.predictions(CLIPS, labels, ["test"] * len(CLIPS), logits))
        fabricate.write(paths.model_folder(name) / "model.json", {"class_names": bundles.CLASSES})
        fabricate.write(paths.model_metrics(name), {})
    with TestClient(app.create_app(registry, [], Limits())) as client:
        yield client


def test_errors_are_listed_and_lead_to_the_clip(client):
    told = client.get("/test-clips", params={"model": "simple_rnn", "correct": False, "true": "Bright", "predicted": "Striped"})
    assert told.json()["total"] == 2
    one = told.json()["clips"][0]
    assert (one["clip"], one["label"], one["predicted"], one["correct_models"]) == (CLIPS[0], "Bright", "Striped", 1)
    assert [one["clip"] for one in client.get("/test-clips?disagree=true").json()["clips"]] == [CLIPS[0]]
    answers = client.get("/test-clips/answers", params={"clip": CLIPS[0]}).json()["answers"]
    assert [(one["model"], one["label"]) for one in answers] == [("gru", "Bright"), ("simple_rnn", "Striped")]
    picture = client.get("/test-clips/thumbnail", params={"clip": CLIPS[0]})
    assert (picture.headers["content-type"], picture.content[:2]) == ("image/jpeg", b"\xff\xd8")
    video = client.get("/test-clips/preview", params={"clip": CLIPS[0]})
    assert (video.headers["content-type"], video.content[4:8]) == ("video/mp4", b"ftyp")
    counts = client.get("/confusion", params={"model": "simple_rnn"}).json()["counts"]
    assert counts == [[0, 0, 2], [0, 2, 0], [0, 0, 2]]
    assert client.get("/test-clips/choices").json()["models"] == ["gru", "simple_rnn"]


def test_a_test_clip_is_predicted_like_its_file(client):
    path = Path("data/raw/mine") / CLIPS[2]
    with path.open("rb") as stream:
        expected = client.post("/predict", files={"video": (path.name, stream)}).json()
    assert client.post("/predict", data={"clip": CLIPS[2]}).json() == expected
    assert expected["label"] == "Dark"


def test_a_clip_in_a_tar_shard_is_shown_and_predicted(client):
    folder = Path("data/raw/mine")
    expected = client.post("/predict", data={"clip": CLIPS[2]}).json()
    with tarfile.open(folder / "0.tar", "w") as archive:
        archive.add(folder / CLIPS[2], CLIPS[2])
    (folder / CLIPS[2]).unlink()
    write_members(paths.TAR_MEMBERS, tar_shards.scan(folder).members)
    parameters = {"clip": CLIPS[2]}
    assert client.get("/test-clips/thumbnail", params=parameters).content[:2] == b"\xff\xd8"
    assert client.get("/test-clips/preview", params=parameters).content[4:8] == b"ftyp"
    assert client.post("/predict", data=parameters).json() == expected


@pytest.mark.parametrize(
    ("address", "parameters", "status", "message"),
    [
        ("/test-clips", {"modle": "gru"}, 400, "'modle': no such parameter; expected model, true, predicted, "),
        ("/test-clips", {"correct": ["true", "false"]}, 400, "correct: sent more than once."),
        ("/test-clips", {"limit": 101}, 400, "limit: Input should be less than or equal to 100, got '101'."),
        ("/test-clips", {"offset": -1}, 400, "offset: Input should be greater than or equal to 0"),
        ("/test-clips", {"min_confidence": "nan"}, 400, "min_confidence: Input should be"),
        ("/test-clips", {"sort": "size"}, 400, "sort: Input should be 'clip'"),
        ("/test-clips", {"true": "Jump"}, 400, "true: no such class, got 'Jump'."),
        ("/test-clips/choices", {"clip": "a"}, 400, "'clip': no such parameter; expected none."),
        ("/test-clips/answers", {}, 400, "clip: Field required"),
        ("/test-clips/thumbnail", {"clip": "../../params.yaml"}, 404, "clip '../../params.yaml': no such test clip."),
        ("/test-clips/thumbnail", {"clip": CLIPS[-1]}, 404, f"clip '{CLIPS[-1]}': its file is missing."),
        ("/test-clips/preview", {"clip": CLIPS[-1]}, 404, f"clip '{CLIPS[-1]}': its file is missing."),
        ("/confusion", {"model": "nix"}, 404, "model 'nix': no stored predictions; there are those of gru, simple_rnn."),
    ],
)
def test_wrong_parameters_are_refused(client, address, parameters, status, message):
    told = client.get(address, params=parameters)
    assert (told.status_code, told.json()["error"][: len(message)]) == (status, message)


ONE_OF = "send one of video (a file), sample (its number) and clip (a test clip)"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"clip": CLIPS[0], "sample": 0}, 400, f"{ONE_OF}; got sample, clip."),
        ({"model": "gru"}, 400, f"{ONE_OF}; got none."),
        ({"clip": "../params.yaml"}, 404, "clip '../params.yaml': no such test clip."),
        ({"clip": CLIPS[-1]}, 404, f"clip '{CLIPS[-1]}': its file is missing. `dvc pull` or `dvc repro` fetches the data set."),
    ],
)
def test_wrong_clips_are_not_predicted(client, fields, status, message):
    told = client.post("/predict", data=fields)
    assert (told.status_code, told.json()) == (status, {"error": message})


def test_a_broken_clip_is_named(client):
    (Path("data/raw/mine") / CLIPS[0]).write_bytes(b"no video")
    told = client.get("/test-clips/thumbnail", params={"clip": CLIPS[0]})
    assert told.status_code == 422
    assert Path(CLIPS[0]).name in told.json()["error"]


def test_the_description_fits_the_answers(client):
    known = client.get("/openapi.json").json()
    addresses = {"/test-clips": {}, "/test-clips/choices": {}, "/test-clips/answers": {"clip": CLIPS[0]}, "/confusion": {}}
    for address, parameters in addresses.items():
        described = known["paths"][address]["get"]["responses"]
        shape = {**described["200"]["content"]["application/json"]["schema"], "components": known["components"]}
        jsonschema.Draft202012Validator(shape).validate(client.get(address, params=parameters).json())
        assert {"400", "404", "422"} <= set(described)
    assert {one["name"] for one in known["paths"]["/test-clips"]["get"]["parameters"]} == set(QUERY)
    form = next(one for name, one in known["components"]["schemas"].items() if name.startswith("Body_predict"))
    assert set(form["properties"]) == set(schema.FIELDS)
    assert form["oneOf"] == [{"required": [source]} for source in ("video", "sample", "clip")]
