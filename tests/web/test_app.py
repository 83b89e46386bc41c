"""The HTTP API: the command line's answers and messages, limits, and nothing left behind."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bundles
import cv2
import film as films
import httpx
import jsonschema
import numpy as np
import pytest
from damaged import DECODABLE, UNDECODABLE
from fastapi.testclient import TestClient
from served import ROOT
from tar_files import write_tar

from actionrec.core import paths
from actionrec.data import tar_shards
from actionrec.data.clip_files import write_members
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import write_clips
from actionrec.inference import timeline
from actionrec.inference.predictor import Reading
from actionrec.plots import timeline as plots
from actionrec.report import prediction as texts
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import open_video
from actionrec.web import answers, clip_media, predict_routes, samples
from actionrec.web import app as web_app
from actionrec.web import schema as web_schema
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits

LINES = {"accept": predict_routes.LINES}


def send(client, path, *, name=None, headers=None, **fields):
    with path.open("rb") as stream:
        return client.post("/predict", files={"video": (name or path.name, stream)}, data=fields, headers=headers)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_clip_gets_the_command_lines_json(client, clips, predictors):
    for path in sorted(clips.glob("*/*.avi")):
        for name, predictor in predictors.items():
            found = predictor.predict(path)
            told = send(client, path, model=name, top=2)
            assert told.status_code == 200
            assert told.json() == json.loads(texts.clip_json(path.name, name, found, 2))
            assert told.json()["label"] == path.parent.name


def test_a_timeline_gets_the_command_lines_json(client, long_film, predictors):
    predictor = predictors["gru"]
    with open_video(long_film) as video:
        found = list(timeline.moments(predictor, timed_frames(video, predictor.sampling.resolution), 2.0, 1.0))
        reading = Reading(video.frames_read, 0, "")
    told = send(client, long_film, window=2)
    assert told.json() == json.loads(texts.timeline_json(long_film.name, "gru", found, timeline.segments(found), 5, reading))


def test_pictures_and_explanation_come_when_asked_for(client, clips, long_film):
    clip = next(clips.glob("Dark/*"))
    told = send(client, clip, pictures=True, explain=True).json()
    pictures, explained = told["pictures"], told["explanation"]
    assert [one["url"][:23] for one in pictures["frames"]] == ["data:image/jpeg;base64,"] * 8
    assert pictures["seconds"] == pytest.approx(12 / 25)
    height, width = bundles.pictures(1, 1)[0].shape[:2]
    assert pictures["aspect"] == pytest.approx(width / height, abs=1e-4)
    assert len(explained["importance"]) == len(explained["frames"]) == len(explained["seconds"]) == bundles.FRAMES["count"]
    assert explained["seconds"] == pytest.approx([frame / 25 for frame in explained["frames"]], abs=1e-3)
    assert [one["seconds"] for one in pictures["regions"]] == explained["seconds"]  # all of so few frames
    assert picture_of(pictures["regions"][0]).shape == (320, 320, 3)

    told = send(client, long_film, pictures=True, window=2).json()
    times = [one["seconds"] for one in told["pictures"]["frames"]]
    assert times == sorted(times)
    for run in told["runs"]:
        assert any(run["start_seconds"] <= seconds <= run["end_seconds"] for seconds in times)


def picture_of(frame):
    return cv2.imdecode(np.frombuffer(base64.b64decode(frame["url"].split(",")[1]), np.uint8), cv2.IMREAD_COLOR)


def test_a_piece_of_a_video_gets_its_windows_answer_and_an_explanation(client, long_film):
    windows = send(client, long_film, window=1.5, stride=0.7).json()["windows"]
    for window in windows[:-1]:
        times = {"start": window["start_seconds"], "end": window["end_seconds"]}
        told = send(client, long_film, **times).json()
        assert {key: told[key] for key in window} == window
    explained = send(client, long_film, **times, explain=True, pictures=True).json()
    assert explained["explanation"]["label"] == window["label"]
    assert explained["confidence"] == pytest.approx(window["confidence"])
    for seconds in explained["explanation"]["seconds"]:
        assert window["start_seconds"] <= seconds < window["end_seconds"]
    assert min(explained["explanation"]["frames"]) == pytest.approx(25 * window["start_seconds"], abs=1)

    told = send(client, long_film, start=30, end=31)
    assert (told.status_code, told.json()) == (
        422,
        {"error": "long.avi: the video ends at 8.000 s, before the piece from 30 s."},
    )


def test_windows_are_sent_as_soon_as_they_are_predicted(client, long_film):
    told = send(client, long_film, window=2, top=2, headers=LINES)
    steps = [json.loads(line) for line in told.text.splitlines()]
    assert [step["window"] for step in steps if "window" in step] == steps[-1]["result"]["windows"]
    assert all("result" not in step for step in steps[:-1])


def test_a_preview_of_an_upload_can_be_fetched_once(client, long_film, temporary):
    told = send(client, long_film, preview=True, window=2, headers=LINES)
    steps = [json.loads(line) for line in told.text.splitlines()]
    address = steps[0]["preview"]
    assert address.startswith("/previews/")
    preview = client.get(address)
    assert (preview.status_code, preview.headers["content-type"]) == (200, "video/mp4")
    assert b"ftyp" in preview.content[:12]
    assert client.get(address).status_code == 404
    assert files_in(temporary) == []
    assert "result" in steps[-1]

    plain = send(client, long_film, preview=True, window=2)
    assert plain.json() == steps[-1]["result"]
    assert files_in(temporary) == []  # an answer in one piece has no place for a preview's address
    sample = client.post("/predict", data={"sample": 0, "preview": True}, headers=LINES)
    assert "preview" not in sample.text  # a sample has an address of its own
    assert client.get("/samples/0/preview").headers["content-type"] == "video/mp4"


def test_a_preview_of_a_damaged_file_is_refused_with_the_reason(client, tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"no video at all" * 100)
    told = send(client, path, preview=True, headers=LINES)
    steps = [json.loads(line) for line in told.text.splitlines()]
    assert "error" in steps[-1]
    assert client.get(steps[0]["preview"]).status_code in (404, 422)


def test_steps_come_as_lines_and_the_last_is_the_answer(client, long_film):
    plain = send(client, long_film, window=2).json()
    told = send(client, long_film, window=2, headers=LINES)
    steps = [json.loads(line) for line in told.text.splitlines()]
    assert steps[-1] == {"result": plain}
    watched = [step["seconds"] for step in steps if "seconds" in step]
    assert watched == sorted(watched)
    assert watched[-1] == pytest.approx(8.0)


def test_samples_are_predicted_without_an_upload(client):
    known = client.get("/samples").json()
    assert [one["label"] for one in known] == bundles.CLASSES
    assert client.post("/predict", data={"sample": 1}).json()["label"] == "Dark"
    picture = client.get(known[0]["thumbnail"])
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.avi", "empty.avi: the file is empty (0 bytes). Copy or download it again."),
        (
            "noise.mp4",
            "noise.mp4: not a video file that FFmpeg can open (Invalid data found when processing input). "
            "Copy or download it again.",
        ),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"window": 2}])
def test_a_broken_file_is_named_as_its_sender_does(client, tmp_path, predictors, name, message, fields):
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"no video at all" * 100)
    told = send(client, path, **fields)
    assert (told.status_code, told.json()) == (422, {"error": message})
    assert json.loads(send(client, path, headers=LINES, **fields).text.splitlines()[-1]) == {"error": message}
    with pytest.raises(Exception, match=re.escape(message)) as refused:  # the command line's, but for the folder
        predictors["gru"].predict(path)
    assert str(refused.value) == f"{tmp_path}/{message}"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "nix"}, 404, "nix: no such model. There are gru, simple_rnn."),
        ({"top": 0}, 400, "top: Input should be greater than or equal to 1, got '0'."),
        ({"top": "9" * 5_000}, 400, "top: Unable to parse"),
        ({"explain": "\x1b"}, 400, "explain: Input should be a valid boolean"),
        ({"window": "inf"}, 400, "window: Input should be a finite number"),
        ({"window": 1e-18}, 400, "window: Input should be greater than or equal to 0.02"),
        ({"window": 61}, 400, "window: Input should be less than or equal to 60"),
        ({"window": 1, "stride": 1e-18}, 400, "stride: Input should be greater than or equal to 0.01"),
        ({"stride": 1}, 400, "stride needs window"),
        ({"window": 1, "explain": True}, 400, "explain and window cannot be combined."),
        ({"start": 1}, 400, "start and end belong together; got only one of them."),
        ({"start": 1, "end": 1}, 400, "end must be after start, by 60 seconds at most; got 0."),
        ({"start": 1, "end": 61.5}, 400, "end must be after start, by 60 seconds at most; got 60.5."),
        ({"start": -1, "end": 1}, 400, "start: Input should be greater than or equal to 0"),
        ({"start": 0, "end": "nan"}, 400, "end: Input should be"),
        ({"start": 1, "end": 2, "window": 1}, 400, "window and start cannot be combined."),
        ({"sample": 0}, 400, "send one of video (a file), sample (its number) and clip (a test clip); got video, sample."),
    ],
)
def test_wrong_fields_are_refused(client, clips, fields, status, message):
    told = send(client, next(clips.glob("Dark/*")), **fields)
    assert told.status_code == status
    assert told.json()["error"].startswith(message)
    assert told.json()["error"].isprintable()
    assert len(told.json()["error"]) < 300


@pytest.mark.parametrize(
    ("address", "fields", "message"),
    [
        ("/predict", {"topp": 3}, "'topp': no such field; expected video, sample, clip, model, top, "),
        ("/predict", {"models": "all"}, "'models': no such field"),
        ("/predict", {"top": ["1", "2"]}, "top: sent more than once."),
        ("/predict?top=3", {}, "'top': no such parameter; expected models."),
        ("/predict?models=all&models=all", {}, "models: sent more than once."),
        ("/predict?models=gru", {}, "models: Input should be 'all', got 'gru'."),
        ("/predict?models=all", {"model": "gru"}, "models=all takes no model. Omit one of them."),
        ("/predict?models=all", {"window": 2}, "models=all takes none of window, stride, explain, start and end."),
        ("/predict?models=all", {"explain": True}, "models=all takes none of window, stride, explain, start and end."),
    ],
)
def test_fields_that_would_have_no_effect_are_refused(client, address, fields, message):
    told = client.post(address, data={"sample": 0, **fields})
    assert told.status_code == 400
    assert told.json()["error"].startswith(message)


def test_all_models_answer_as_they_do_alone_and_share_the_backbone(client, clips, registry, monkeypatch):
    clip = next(clips.glob("Dark/*"))
    alone = [send(client, clip, model=name, top=2).json() for name in registry.names]
    runs = []
    for name in registry.names:
        extractor = registry.predictor(name).extractor
        monkeypatch.setattr(extractor, "_run", lambda frames, run=extractor._run: (runs.append(len(frames)), run(frames))[1])
    with clip.open("rb") as stream:
        told = client.post(
            "/predict?models=all", files={"video": (clip.name, stream)}, data={"top": 2, "pictures": True}, headers=LINES
        )
    *steps, last = [json.loads(line) for line in told.text.splitlines()]
    assert [step["doing"] for step in steps] == ["Asking gru, model 1 of 2", "Asking simple_rnn, model 2 of 2"]
    assert len(last["result"].pop("pictures")["frames"]) == 8
    without_video = [{key: value for key, value in one.items() if key != "video"} for one in alone]
    assert last["result"] == {"video": clip.name, "answers": without_video}
    # One extractor for both models, so it was wrapped twice, and each run counts twice.
    assert sum(runs) == 2 * bundles.FRAMES["count"]


def test_a_model_that_cannot_be_used_does_not_keep_the_others_from_answering(models, clips, temporary, tmp_path, caplog):
    broken = tmp_path / "broken"
    shutil.copytree(models[0], broken)
    (broken / "model.safetensors").write_bytes(b"")
    app = web_app.create_app(ModelRegistry([*models, broken]), samples.of_folder(clips), Limits())
    with TestClient(app) as client:
        answers = client.post("/predict?models=all", data={"sample": 1}).json()["answers"]
    assert [one["model"] for one in answers] == ["gru", "simple_rnn", "broken"]
    assert [one.get("label") for one in answers] == ["Dark", "Dark", None]
    assert answers[2]["error"] == "broken cannot be used: its files are damaged. Choose another model."
    assert "does not match model.json" in caplog.text


def test_work_without_end_is_refused_before_it_begins(client, long_film, monkeypatch):
    monkeypatch.setattr(answers, "_MOST_WINDOWS", 100)
    told = send(client, long_film, window=1, stride=0.01)
    assert told.status_code == 400
    assert told.json()["error"].startswith("with a stride of 0.01 s, this video has more than 100 windows.")


def test_a_window_with_more_frames_than_are_held_is_refused(client, long_film, monkeypatch):
    monkeypatch.setattr(timeline, "MOST_FRAMES", 50)
    told = send(client, long_film, window=4)
    assert (told.status_code, told.json()) == (
        400, {"error": "a window of 4 s has more than 50 frames. Choose a shorter window."},
    )  # fmt: skip


def test_what_is_not_there_is_not_found(client):
    assert client.post("/predict", data={"sample": 3}).status_code == 404
    assert client.post("/predict", data={"sample": -1}).status_code == 404
    for address in ("/samples/3.jpg", "/samples/3/video", "/plots/nix.png", "/metrics/nix.json", "/nix", "/static/nix.js"):
        told = client.get(address)
        assert (told.status_code, list(told.json())) == (404, ["error"]), address


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("HEAD", "/predict", "POST"),
        ("POST", "/models", "GET, HEAD"),
        ("DELETE", "/static/style.css", "GET, HEAD"),
    ],
)
def test_wrong_methods_are_refused_with_the_right_one(client, method, path, allowed):
    told = client.request(method, path)
    assert (told.status_code, told.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert told.json() == {"error": f"{path}: {method} is not allowed here; use {allowed}."}


@pytest.mark.parametrize(
    "path", ["/", "/models", "/samples/0.jpg", "/samples/0/video", "/static/style.css", "/openapi.json", "/nix"]
)
def test_head_gets_the_headers_of_get_and_no_body(client, path):
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.content))


def test_a_sample_that_is_gone_is_not_found(registry, temporary, tmp_path):
    (clip, *_) = bundles.clips(tmp_path, count=1)
    with TestClient(web_app.create_app(registry, samples.of_folder(tmp_path), Limits())) as client:
        assert client.get("/samples/0/video").status_code == 200
        clip.unlink()
        message = {"error": f"sample 0: {clip.name} is no longer there."}
        for told in (
            client.get("/samples/0/video"), client.get("/samples/0.jpg"), client.post("/predict", data={"sample": 0}),
        ):  # fmt: skip
            assert (told.status_code, told.json()) == (404, message)


def test_other_files_are_refused_by_name(client, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    told = send(client, tmp_path / "notes.txt")
    assert told.status_code == 415
    assert told.json()["error"].startswith("notes.txt: not a video's file name; expected one that ends in .avi, ")


def test_a_senders_name_never_touches_the_disk(client, clips, temporary):
    clip = next(clips.glob("Dark/*"))
    for name, shown in [
        ("../../../etc/passwd.avi", "passwd.avi"),
        ("C:\\Videos\\a.avi", "a.avi"),
        ("n" * 300 + ".avi", None),
        ("日本語.avi", "日本語.avi"),
        ("no suffix", "no suffix"),
    ]:
        told = send(client, clip, name=name)
        assert told.status_code == 200, told.text
        assert shown in (told.json()["video"], None)
        assert len(told.json()["video"]) <= 120
    assert files_in(temporary) == []


def test_uploads_that_are_too_large_are_refused(make_app, clips, temporary):
    clip = next(clips.glob("Bright/*"))
    limit = clip.stat().st_size / 1e6 / 4
    with TestClient(make_app(megabytes=limit)) as client:
        told = send(client, clip)
        assert told.status_code == 413
        assert told.json() == {"error": f"the upload is larger than {limit:g} MB. Send a shorter piece."}
        request = client.build_request("POST", "/predict", files={"video": clip.read_bytes()})
        body = request.read()
        told = client.post(
            "/predict", content=iter([body[:100], body[100:]]), headers={"content-type": request.headers["content-type"]}
        )
        assert told.status_code == 413  # without a length that was told before
    assert files_in(temporary) == []


def test_videos_that_are_too_long_are_refused_whatever_their_header_says(make_app, long_film, tmp_path):
    with TestClient(make_app(minutes=0.1)) as client:
        assert send(client, long_film).status_code == 413
        lying = tmp_path / "lying.avi"
        contents = bytearray(long_film.read_bytes())
        start = contents.index(b"avih") + 8 + 16  # the count of frames, in the header and in the stream's own
        contents[start : start + 4] = (10).to_bytes(4, "little")
        stream = contents.index(b"strh") + 8 + 32
        contents[stream : stream + 4] = (10).to_bytes(4, "little")
        lying.write_bytes(contents)
        for fields in ({"window": 2}, {}, {"explain": True}):
            told = send(client, lying, **fields)
            assert told.status_code == 413
            assert told.json()["error"].startswith("lying.avi is longer than 0.1 minutes.")


def test_a_length_that_no_header_tells_is_counted(make_app, long_film, tmp_path):
    """As browsers record them: a stream of WebM or of MPEG-4 that does not say how long it is."""
    import av

    path = tmp_path / "live.mkv"
    with av.open(str(long_film)) as source, av.open(str(path), "w", format="matroska", options={"live": "1"}) as target:
        copied = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
    with TestClient(make_app(minutes=0.1)) as client:
        for fields in ({}, {"window": 2}):
            assert send(client, path, **fields).json()["error"].startswith("live.mkv is longer than 0.1 minutes.")
    with TestClient(make_app(minutes=0.2)) as client:
        assert send(client, path).status_code == 200
        assert len(send(client, path, window=1, stride=1).json()["windows"]) == 8


def test_many_frames_in_a_short_time_are_refused(make_app, tmp_path):
    fast = films.write_video(tmp_path / "fast.avi", 300, frames_per_second=1000)
    with TestClient(make_app(minutes=1, frames_per_second=4)) as client:
        told = send(client, fast)
        assert (told.status_code, told.json()["error"][:32]) == (413, "fast.avi has more than 240 frame")


def test_large_pictures_are_refused_before_they_are_decoded(make_app, clips, tmp_path):
    wide = films.write_video(tmp_path / "wide.avi", [np.zeros((2000, 1100, 3), np.uint8)] * 2)
    still = tmp_path / "still.mp4"
    still.write_bytes(cv2.imencode(".png", np.zeros((2000, 1100, 3), np.uint8))[1].tobytes())
    with TestClient(make_app(pixels=2_000_000)) as client:
        assert send(client, next(clips.glob("Dark/*"))).status_code == 200
        for path in (wide, still):
            for fields in ({}, {"window": 2}):
                told = send(client, path, **fields)
                assert told.status_code == 413
                message = f"{path.name} has frames of more than 2 million pixels, or of an unknown size. Scale it down."
                assert told.json() == {"error": message}
    with TestClient(make_app()) as client:
        assert [send(client, path).status_code for path in (wide, still)] == [200, 200]


def test_a_huge_picture_takes_no_memory(make_app, tmp_path):
    """12,000 x 12,000 pixels in 400 kB, which take 0.4 GB once decoded."""
    path = tmp_path / "big.mp4"
    path.write_bytes(cv2.imencode(".png", np.zeros((12_000, 12_000), np.uint8))[1].tobytes())
    script = (
        "import resource, sys; from pathlib import Path; "
        "from actionrec.web import video_limits; from actionrec.web.predict_request import Limits, RequestError; import av\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: video_limits.check(Path(sys.argv[1]), 'big.mp4', Limits())\n"
        "except RequestError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    printed = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert int(printed) < 50_000  # kB


def test_uploads_are_deleted_whatever_comes_of_them(client, clips, long_film, tmp_path, temporary):
    (tmp_path / "broken.avi").write_bytes(b"x" * 5000)
    for path, fields in [
        (next(clips.glob("Dark/*")), {}),
        (long_film, {"window": 2}),
        (tmp_path / "broken.avi", {}),
        (long_film, {"model": "nix"}),
    ]:
        for headers in (None, LINES):
            send(client, path, headers=headers, **fields)
            assert files_in(temporary) == []
    assert held_below(temporary) == []


def held_below(folder):
    """Files that are open: one that is deleted meanwhile still takes its room."""
    held = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return [path for path in held if folder in path.parents and not path.is_dir()]


def test_an_upload_takes_its_room_once(client, long_film, temporary, tmp_path, monkeypatch):
    large = tmp_path / "large.avi"
    large.write_bytes(long_film.read_bytes() + bytes(2_000_000))  # more than is kept in memory
    held = []
    steps = answers.steps

    def watched(find, path, *rest):
        held.append((path.stat().st_size, held_below(temporary)))
        return steps(find, path, *rest)

    monkeypatch.setattr(answers, "steps", watched)
    assert send(client, large, window=4).status_code == 200
    assert held == [(large.stat().st_size, [])]


@pytest.mark.parametrize("headers", [{}, LINES])
def test_a_visitor_who_leaves_leaves_nothing_behind(make_app, long_film, temporary, headers):
    app = make_app(waiting=1)
    request = httpx.Request(
        "POST", "http://testserver/predict", headers=headers, data={"window": "0.5", "stride": "0.1"},
        files={"video": ("long.avi", long_film.read_bytes())},
    )  # fmt: skip
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "path": "/predict", "raw_path": b"/predict", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(name.lower(), value) for name, value in request.headers.raw], "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }  # fmt: skip
    answered = []

    async def visit():
        body = request.read()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not files_in(temporary):  # leaves when the work has begun
                await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def note(message):
            answered.append(message)

        await app(scope, receive, note)
        await asyncio.sleep(0.1)
        # There is room again.
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.post("/predict", data={"sample": "0"})

    assert asyncio.run(visit()).status_code == 200
    assert b"result" not in b"".join(message.get("body", b"") for message in answered)
    assert files_in(temporary) == []


def test_two_people_take_turns(make_app, clips, long_film):
    app, ended = make_app(), []

    async def ask(client, path, **fields):
        told = await client.post("/predict", data=fields, files={"video": (path.name, path.read_bytes())})
        ended.append(path.name)
        return told.json()

    async def both():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver", timeout=60) as client:
            film = asyncio.create_task(ask(client, long_film, window="1", stride="0.1"))
            await asyncio.sleep(0.3)
            short = [asyncio.create_task(ask(client, path)) for path in sorted(clips.glob("*/*.avi"))]
            return [*await asyncio.gather(*short), await film]

    *short, film = asyncio.run(both())
    assert [one["label"] for one in short] == bundles.CLASSES
    assert len(film["windows"]) > 50
    assert ended[-1] == long_film.name  # who came later with a clip need not wait for the film's end


def test_many_at_once_wait_in_line_and_each_gets_its_own_answer(make_app, clips, temporary):
    app = make_app()
    paths = sorted(clips.glob("*/*.avi"))

    async def ask(client, number):
        path = paths[number % len(paths)]
        files = {"video": (f"{number} {path.name}", path.read_bytes())}
        told = await client.post("/predict", data={"preview": "true"}, files=files, headers=LINES)
        return [json.loads(line) for line in told.text.splitlines()]

    async def all_of_them():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver", timeout=60) as client:
            told = await asyncio.gather(*(ask(client, number) for number in range(20)))
            for steps in told:
                assert (await client.get(steps[0]["preview"])).status_code == 200
            return told

    told = asyncio.run(all_of_them())
    for number, steps in enumerate(told):
        path = paths[number % len(paths)]
        assert steps[-1]["result"]["video"] == f"{number} {path.name}"
        assert steps[-1]["result"]["label"] == path.parent.name
    places = [[step["place"] for step in steps if "place" in step] for steps in told]
    assert max(max(one, default=0) for one in places) == 20 - Limits().interleaved
    for one in places:
        assert one == sorted(one, reverse=True)
    assert files_in(temporary) == []


def test_more_than_may_wait_are_turned_away(make_app, clips):
    app = make_app(waiting=2)

    async def many():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver", timeout=60) as client:
            return await asyncio.gather(*(client.post("/predict", data={"sample": "0"}) for _ in range(4)))

    told = asyncio.run(many())
    assert sorted(one.status_code for one in told) == [200, 200, 503, 503]
    refused = next(one for one in told if one.status_code == 503)
    assert refused.json() == {"error": "2 requests are already running or waiting. Try again in a few seconds."}
    assert int(refused.headers["retry-after"]) > 0


def test_pages_fetch_nothing_from_elsewhere(client):
    for address in ("/", "/results", "/docs", "/predict"):
        told = client.get(address)
        policy = told.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert told.headers["x-content-type-options"] == "nosniff"
    for path in web_app.STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        used = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))
        assert not re.search(r"https?://|//[a-z]", used), path.name


def test_a_class_has_one_colour_in_the_band_and_in_the_plot():
    text = (web_app.STATIC / "timeline.js").read_text()
    told = re.search(r"const COLOURS = (\[.*?\]);.*const NONE = (\S+);", text, re.DOTALL)
    assert re.findall(r"#\w{6}", told[1]) == list(plots.COLOURS)
    assert json.loads(told[2]) == plots.NONE_COLOUR
    assert len(set(plots.COLOURS)) == len(plots.COLOURS)


def test_other_host_names_are_refused(registry):
    with TestClient(web_app.create_app(registry, [], Limits(), hosts=["localhost", "[::1]"])) as client:
        assert client.get("/models", headers={"host": "localhost:8501"}).status_code == 200
        assert client.get("/models", headers={"host": "[::1]:8501"}).status_code == 200
        for host in ("", "[::1", "localhost:8501@evil.example", "localhost.evil.example"):
            assert client.get("/models", headers={"host": host}).status_code == 400, host
        told = client.get("/models", headers={"host": "evil.example:8501"})
        assert told.status_code == 400
        assert told.text == "Invalid host header"


def test_pages_elsewhere_cannot_have_it_work(client):
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        told = client.post("/predict", data={"sample": 1}, headers={"sec-fetch-site": site})
        assert told.status_code == status, site
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link


def test_the_api_describes_itself(client):
    known = client.get("/openapi.json").json()
    assert {"/predict", "/models", "/samples", "/comparison"} <= set(known["paths"])
    schema = known["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = known["components"]["schemas"][schema["$ref"].split("/")[-1]]["properties"]
    assert set(fields) == set(web_schema.FIELDS)


def test_the_description_fits_what_is_answered(client, clips, long_film):
    known = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in known["components"]["schemas"]
    assert client.get("/samples/x.jpg").status_code == 400
    told = known["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    for one in known["components"]["schemas"].values():
        one["additionalProperties"] = False

    def check(kind, answer):
        shape = {**told[kind]["schema"], "components": known["components"]}
        jsonschema.Draft202012Validator(shape).validate(answer)

    clip = next(clips.glob("Dark/*"))
    for path, fields in [(clip, {}), (clip, {"pictures": True, "explain": True}), (long_film, {"window": 2, "pictures": True})]:
        check("application/json", send(client, path, **fields).json())
        for line in send(client, path, headers=LINES, **fields).text.splitlines():
            check(predict_routes.LINES, json.loads(line))
    with pytest.raises(jsonschema.ValidationError):
        check("application/json", {"video": "a.avi", "model": "gru"})


def test_a_defect_is_told_without_its_insides(make_app, monkeypatch):
    monkeypatch.setattr(answers, "steps", lambda *_: 1 / 0)
    with TestClient(make_app(), raise_server_exceptions=False) as client:
        told = client.post("/predict", data={"sample": 0})
        assert (told.status_code, told.json()) == (500, {"error": "the server failed unexpectedly. Try again later."})
        assert told.headers["content-security-policy"].startswith("default-src 'self'; ")
        told = client.post("/predict", data={"sample": 0}, headers=LINES)
        assert json.loads(told.text) == {"error": "the server failed unexpectedly. Try again later."}


def test_without_a_comparison_there_are_no_results(client, project):
    comparison = client.get("/comparison").json()
    assert (comparison["models"], comparison["best"]) == ([], None)
    assert "top1" not in client.get("/models").json()["models"][0]


def test_the_comparison_stands_beside_the_models(project, temporary):
    bundles.tiny_bundle(Path("data/models/gru"))
    compared = {
        "rank": 1,
        "top1": 0.75,
        "top1_low": 0.5,
        "top1_high": 0.9,
        "mean_class": 0.7,
        "parameters": 9,
        "total_params": 23_508_041,
        "total_flops": 261_576_720_384,
        "tied_with_best": True,
    }
    Path("metrics/gru").mkdir(parents=True)
    Path("metrics/compare.json").write_text(json.dumps({"dataset": "mine", "best": "gru", "models": {"gru": compared}}))
    Path("metrics/gru/timing.json").write_text(json.dumps({"latency_ms": 4.2}))
    Path("metrics/clip_timing.json").write_text(json.dumps({"decode_ms": 40.0, "backbone_ms": 955.5, "device": "cpu"}))
    Path("metrics/report.md").write_text("# Report")
    Path("plots").mkdir()
    for name in ("gru_curves", "reliability", "accuracy_intervals"):
        Path(f"plots/{name}.png").write_bytes(b"\x89PNG")
    app = web_app.create_app(ModelRegistry([Path("data/models/gru")]), samples.of_project(), Limits())
    with TestClient(app) as client:
        (model,) = client.get("/models").json()["models"]
        assert (model["top1"], model["latency_ms"], model["total_ms"]) == (0.75, 4.2, 999.7)
        assert (model["total_params"], model["total_flops"]) == (23_508_041, 261_576_720_384)
        told = client.get("/comparison").json()
        assert told["best"] == "gru"
        assert [(one["title"], one["model"]) for one in told["pictures"]] == [
            ("Top-1 with intervals", None),
            ("Can confidence be believed?", None),
            ("gru: curves", "gru"),
        ]
        for address in [one["url"] for one in told["pictures"]] + told["files"]:
            assert client.get(address).status_code == 200


def test_samples_are_clips_that_no_model_was_trained_on(project):
    for name in ("a.avi", "b.avi", "c.avi"):
        films.write_video(Path("data/raw/mine/Jump") / name, 3)
    Path("params.yaml").write_text("data: {dataset: mine}\n")
    assert [one.path.name for one in samples.of_project()] == ["a.avi"]
    Path("data/split.csv").write_text("clip,subset\nJump/a.avi,train\nJump/b.avi,val\nJump/c.avi,test\n")
    assert [one.path.name for one in samples.of_project()] == ["c.avi"]


def test_samples_in_tar_shards_are_copied_so_that_they_can_be_played(project):
    folder = Path("data/raw/mine")
    contents = {f"{label}/{name}.avi": films.write_video(Path("a.avi"), length).read_bytes()
                for label in ("Jump", "Run") for length, name in enumerate(("a", "b"), start=3)}  # fmt: skip
    write_tar(folder / "a.tar", contents)
    write_clips(paths.CLIPS, find_clips(folder))
    write_members(paths.TAR_MEMBERS, tar_shards.scan(folder).members)
    Path("params.yaml").write_text("data: {dataset: mine}\n")
    Path("data/split.csv").write_text("clip,subset\nJump/a.avi,train\nJump/b.avi,test\nRun/a.avi,val\n")
    for _ in range(2):
        found = samples.of_project()
        assert [(one.label, one.path.name) for one in found] == [("Jump", "b.avi"), ("Run", "a.avi")]
        assert [one.path.read_bytes() for one in found] == [contents["Jump/b.avi"], contents["Run/a.avi"]]
        assert clip_media.thumbnail(found[0].path).startswith(b"\xff\xd8")
    (folder / "a.tar").rename("gone.tar")
    assert len(samples.of_project()) == 2
    shutil.rmtree(".work")
    assert samples.of_project() == []


def test_real_odd_files_get_an_answer_or_a_clear_refusal(client, shared):
    broken = shared / "data" / "broken"
    for name, (_, frames, warning) in DECODABLE.items():
        told = send(client, broken / name, pictures=True)
        assert told.status_code == 200, (name, told.text)
        assert (told.json()["frames_read"], told.json()["warning"]) == (frames, warning)
    for name, reason in UNDECODABLE.items():
        told = send(client, broken / name)
        assert told.status_code == 422, (name, told.text)
        assert told.json()["error"] == f"{name}: {reason}."


def test_a_model_that_is_not_there_is_named_shortly_and_in_printable_characters(client, clips):
    told = send(client, next(clips.glob("Dark/*")), model="\x1b[31m\u202e" + "x" * 1_000_000)
    assert told.status_code == 404
    assert told.json()["error"].isprintable()
    assert len(told.json()["error"]) < 300


@pytest.mark.parametrize(
    "description",
    ["[" * 100_000, "[]", '{"model": 7, "arguments": [], "features": [1], "frames": 3, "calibration": [1]}'],
    ids=["deep", "list", "wrong kinds"],
)
def test_a_damaged_model_is_listed_without_details_and_refused_in_one_line(tmp_path, clips, models, temporary, description, caplog):
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "model.json").write_text(description)
    with TestClient(web_app.create_app(ModelRegistry([*models, folder]), samples.of_folder(clips), Limits())) as client:
        assert [one["model"] for one in client.get("/models").json()["models"]] == ["gru", "simple_rnn", "damaged"]
        told = send(client, next(clips.glob("Dark/*")), model="damaged")
    assert told.status_code == 500
    assert told.json() == {"error": "damaged cannot be used: its files are damaged. Choose another model."}
    assert str(folder / "model.json") in caplog.text  # not in the answer


@pytest.mark.parametrize(
    "text", ["[]", '{"models": {"gru": {"rank": "x"}}, "advice": []}', '{"models": {"gru": 7}}']
)  # fmt: skip
def test_a_comparison_of_another_form_is_taken_for_none(client, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "compare.json").write_text(text)
    assert client.get("/comparison").json()["models"] == []
    assert client.get("/models").status_code == 200
