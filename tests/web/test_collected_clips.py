"""Clips that visitors label are saved only with consent, and become a data set."""

import pytest
from fastapi.testclient import TestClient

from actionrec.core.errors import DataError, VideoError
from actionrec.data.clip_search import find_clips
from actionrec.web import app as web_app
from actionrec.web import collected_clips
from actionrec.web.predict_request import Limits, RequestError


@pytest.fixture
def collecting(registry, tmp_path, temporary):
    with TestClient(web_app.create_app(registry, [], Limits(), collect=tmp_path / "mine")) as client:
        collected_clips.require_folder(tmp_path / "mine")
        yield client


def send(client, clip, **fields):
    return client.post("/collect", data=fields, files={"video": (clip.name, clip.read_bytes())})


def test_a_clip_is_saved_under_its_label_and_can_be_trained_on(collecting, clips, tmp_path, temporary):
    first, second = sorted(clips.glob("*/*.avi"))[:2]
    assert collecting.get("/models").json()["collects"] is True
    for clip, label in ((first, "Bright"), (second, "Something new"), (first, "Bright")):
        told = send(collecting, clip, label=label, consent=True)
        assert (told.status_code, told.json()) == (200, {"label": label})
    found = find_clips(tmp_path / "mine")
    assert sorted(one.label for one in found) == ["Bright", "Something new"]
    assert len({one.cluster for one in found}) == 2
    assert {(tmp_path / "mine" / one.id).read_bytes() for one in found} == {first.read_bytes(), second.read_bytes()}
    assert not [path for path in temporary.rglob("*") if path.is_file()]

    send(collecting, first, label="Dark", consent=True)  # the visitor corrects the label
    assert sorted(one.label for one in find_clips(tmp_path / "mine")) == ["Dark", "Something new"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "Dark"}, "the video was not saved, as consent is not true."),
        ({"label": "../up", "consent": True}, "label '../up' cannot be a class name."),
        ({"label": ".hidden", "consent": True}, "label '.hidden' cannot be a class name."),
        ({"label": " ", "consent": True}, "label must have 1 to 60 characters; got 0."),
        ({"label": "x" * 61, "consent": True}, "label must have 1 to 60 characters; got 61."),
        ({"label": "Dark", "consent": True, "more": 1}, "'more': no such field"),
    ],
)
def test_nothing_is_saved_without_consent_or_a_label(collecting, clips, tmp_path, fields, message):
    told = send(collecting, next(clips.glob("Dark/*")), **fields)
    assert told.status_code == 400
    assert told.json()["error"].startswith(message)
    assert not [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]


def test_what_is_not_a_video_is_not_saved(collecting, tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    assert send(collecting, tmp_path / "noise.mp4", label="Dark", consent=True).status_code == 422
    with pytest.raises(VideoError):
        collected_clips.save(tmp_path / "mine", tmp_path / "noise.mp4", "Dark")
    assert not [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]


def test_a_server_that_does_not_collect_has_no_such_address(client, clips):
    assert client.get("/models").json()["collects"] is False
    assert send(client, next(clips.glob("Dark/*")), label="Dark", consent=True).status_code in (404, 405)


def test_labels_are_composed_and_trimmed():
    assert collected_clips.check_label(" Bogenschu\u0308tze ") == "Bogensch\u00fctze"
    with pytest.raises(RequestError):
        collected_clips.check_label("a\u202eb")


def test_a_folder_that_cannot_be_used_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"--collect .*: the folder cannot be created"):
        collected_clips.require_folder(tmp_path / "file/mine")
