"""`predict` and `evaluate`, as a person runs them."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import bundles
import commands
import pytest
from damaged import DECODABLE, UNDECODABLE
from film import write_video

from actionrec.core import paths
from actionrec.inference import predictor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a trained model that is the best, and clips of its classes."""
    folder = tmp_path_factory.mktemp("project")
    bundles.tiny_bundle(folder / paths.MODELS / "gru", clip_seconds=0.5)
    (folder / "metrics").mkdir()
    (folder / paths.COMPARISON).write_text('{"best": "gru"}')
    bundles.clips(folder / "clips")
    return folder


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """A bundle is loaded by the first command that names it; the next ones share its extractor, which is slow to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "load", cache(predictor.load))
        yield


@pytest.fixture
def actionrec(made):
    """Run the command line in the project: its exit status, what it prints, and what it says on stderr."""

    def run(*arguments):
        done = commands.actionrec(*arguments, cwd=made)
        return done.returncode, done.stdout, done.stderr

    return run


BRIGHT, STRIPED = "clips/Bright/v_Bright_g01_c01.avi", "clips/Striped/v_Striped_g02_c01.avi"


def test_a_clip_is_answered_with_its_most_probable_classes(actionrec):
    status, out, _ = actionrec("predict", BRIGHT, "--top", 2)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == f"{BRIGHT}: Bright"
    assert len(lines) == 3
    assert lines[1].split()[0] == "Bright"


def test_an_unsure_answer_has_the_probable_class_as_its_headline(actionrec, made):
    bundles.tiny_bundle(made / "others/strict", calibration={"temperature": 3.0, "threshold": 0.9999})
    (status, out, _), (_, line, _) = (actionrec("predict", BRIGHT, "--model", "others/strict", *more) for more in ([], ["--json"]))
    assert status == 0
    told = json.loads(line)
    assert (told["headline"], told["answer"], told["none_of_these"]) == (
        f"not sure: Bright, {100 * told['confidence']:.0f} %",
        "Bright",
        True,
    )
    assert out.splitlines()[0] == f"{BRIGHT}: {told['headline']} (below >99.9 %; perhaps none of the classes)"


def test_an_answer_of_a_model_that_was_not_calibrated_says_so(actionrec, made):
    unfitted = {"temperature": 1.0, "temperature_fitted": False, "threshold": 0.0}
    bundles.tiny_bundle(made / "others/unfitted", calibration=unfitted)
    _, out, _ = actionrec("predict", BRIGHT, "--model", "others/unfitted")
    assert out.splitlines()[-1] == "  (not calibrated: all validation clips were answered correctly)"
    _, out, _ = actionrec("predict", "-", "--model", "others/unfitted")
    assert "temperature 1, not calibrated: all validation clips were answered correctly; no threshold" in out


def test_json_is_an_object_a_video(actionrec):
    status, out, _ = actionrec("predict", BRIGHT, STRIPED, "--json", "--top", 3)
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["video"], first["model"], first["label"], first["answer"]) == (BRIGHT, "gru", "Bright", "Bright")
    assert second["label"] == "Striped"
    assert first["none_of_these"] is False
    assert sum(one["probability"] for one in first["top"]) == pytest.approx(1)
    assert first["confidence"] == first["top"][0]["probability"]


def test_csv_has_a_row_a_class_and_a_folder_stands_for_its_videos(actionrec):
    status, out, _ = actionrec("predict", "clips", "--csv", "--top", 1)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["video"] for row in rows] == sorted(row["video"] for row in rows)
    assert len(rows) == 6
    assert all(row["label"] in row["video"] for row in rows)


@pytest.fixture(scope="module")
def hostile(made, tmp_path_factory):
    """A bundle and clips, one of them broken, whose names hold control characters and formulas; their names."""
    folder = tmp_path_factory.mktemp("hostile")
    names = ["=1+1", "\x1b[31mred\u202e", "<b>\x9b2J"]
    bundles.tiny_bundle(folder / "bundle", class_names=names)
    clip = folder / "=\x1b]0;t\x07\u202e.avi"
    clip.write_bytes((made / BRIGHT).read_bytes())
    (folder / "bad\x1b[2J.avi").write_bytes(b"no video")
    return folder, clip, names


@pytest.mark.parametrize("form", [[], ["--csv"], ["--window", 0.2], ["--window", 0.2, "--json"]])
def test_no_name_of_a_clip_or_class_reaches_the_terminal_as_a_command(actionrec, hostile, form):
    folder, clip, _ = hostile
    status, out, err = actionrec("predict", clip, folder / "bad\x1b[2J.avi", "--model", folder / "bundle", *form)
    assert status == 2  # of the broken one
    assert out
    assert all(line.isprintable() for line in out.splitlines())
    assert r"bad\x1b[2J.avi: " in err
    assert "Traceback" not in err


def test_json_has_every_name_as_it_is(actionrec, hostile):
    folder, clip, names = hostile
    told = json.loads(actionrec("predict", clip, "--model", folder / "bundle", "--json")[1])
    assert told["video"] == str(clip)
    assert {one["label"] for one in told["top"]} == set(names)


def test_csv_shows_a_formula_as_text(actionrec, hostile):
    folder, _, _ = hostile
    rows = list(csv.DictReader(io.StringIO(actionrec("predict", BRIGHT, "--model", folder / "bundle", "--csv")[1])))
    assert {row["label"] for row in rows} == {"'=1+1", r"\x1b[31mred\u202e", r"<b>\x9b2J"}
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_a_broken_file_among_others_is_told_and_the_others_are_answered(actionrec, made):
    (made / "broken.avi").write_bytes(b"no video")
    status, out, err = actionrec("predict", BRIGHT, "broken.avi", STRIPED, "--json")
    assert status == 2
    assert [json.loads(line)["video"] for line in out.splitlines()] == [BRIGHT, STRIPED]
    assert "broken.avi: not a video file that FFmpeg can open" in err
    assert "1 of 3 videos could not be read" in err
    assert "Traceback" not in err


def test_nothing_but_the_model_is_asked_for_with_a_dash(actionrec):
    status, out, _ = actionrec("predict", "-")
    assert status == 0
    assert "gru, ready on" in out
    assert "Bright, Dark, Striped" in out
    assert "window     0.5 s, with --window auto" in out
    assert json.loads(actionrec("predict", "-", "--json")[1])["class_names"] == bundles.CLASSES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no video given. Name files or folders"),
        (["gone.avi"], "gone.avi: no such file or folder"),
        ([BRIGHT, "--model", "vgg"], "data/models/vgg: no such model. There are gru."),
        ([BRIGHT, "--stride", "1"], "--stride needs --window"),
        ([BRIGHT, "--plot", "a.png"], "--plot draws a timeline"),
        ([BRIGHT, "--explain", "gone/a.png"], "gone/a.png: the folder gone does not exist"),
        ([BRIGHT, STRIPED, "--explain", "a.png"], "--explain takes one video; got 2"),
        ([BRIGHT, "--camera", "0"], "videos and --camera cannot be combined"),
        ([BRIGHT, "--window", "0"], "expected seconds above 0, or auto; got '0'"),
        ([BRIGHT, "--top", "none"], "expected a whole number from 1; got 'none'"),
        (["--camera", "no/such/file.avi"], "no/such/file.avi cannot be opened"),
        (["--camera", BRIGHT, "--plot", "a.png"], "--plot draws a timeline, and needs a video"),
        (["-", "--explain", "a.png"], "--explain needs a video"),
        ([""], "a video's name is empty"),
        ([BRIGHT, "--model", ""], "--model is empty"),
        ([BRIGHT, "--explain", "clips"], "clips is a folder; expected a picture's name"),
        (["n" * 300], "File name too long"),
    ],
)
def test_bad_input_is_one_clear_message_and_status_2(actionrec, arguments, message):
    status, out, err = actionrec("predict", *arguments)
    assert status == 2
    assert message in err
    assert out == ""
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def film(made):
    """A second of one class, then one of another."""
    write_video(made / "film.avi", bundles.pictures(0, 7, 25) + bundles.pictures(2, 7, 25))
    return "film.avi"


def test_a_long_video_has_a_timeline(actionrec, film, made):
    status, out, _ = actionrec("predict", film, "--window", 0.5, "--json", "--plot", "timeline.png")
    assert status == 0
    found = json.loads(out)
    runs = found["runs"]
    assert runs[0]["answer"] == "Bright"
    assert len(runs) > 1
    assert [run["start_seconds"] for run in runs] == [0, *(run["end_seconds"] for run in runs[:-1])]
    assert len(found["windows"]) == sum(run["windows"] for run in found["runs"]) == 7
    assert (made / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "0:00.0" in actionrec("predict", film, "--window", 0.5)[1]
    _, out, err = actionrec("predict", film, "--window", "auto", "--csv")
    assert "windows of 0.5 s" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["windows"]) for row in rows] == [run["windows"] for run in runs]
    assert [row["answer"] for row in rows] == [run["answer"] for run in runs]


def test_a_file_plays_as_the_camera_in_windows_as_long_as_the_training_clips(actionrec, film):
    status, out, _ = actionrec("predict", "--camera", film, "--stride", 0.5, "--json")
    assert status == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert all(0.3 < one["end_seconds"] - one["start_seconds"] <= 0.5 for one in answers)
    assert answers[0]["label"] == "Bright"
    assert answers[-1]["label"] == "Striped"
    assert answers[-1]["end_seconds"] == pytest.approx(49 / 25, abs=0.01)


def test_an_explanation_is_a_picture(actionrec, made):
    status, out, err = actionrec("predict", BRIGHT, "--explain", "why.png")
    assert status == 0
    assert "attention over time" not in out  # this model has none
    assert (made / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "why.png shows which frames mattered" in err


def test_an_explanation_is_also_in_the_line_of_json(actionrec, made):
    status, out, _ = actionrec("predict", BRIGHT, "--explain", "why.png", "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["explanation"]["label"] == answer["label"]
    assert len(answer["explanation"]["importance"]) == len(answer["explanation"]["frames"]) == bundles.FRAMES["count"]
    assert answer["explanation"]["attention"] is None
    assert "explanation" not in json.loads(actionrec("predict", BRIGHT, "--json")[1])


def test_the_attention_of_a_model_is_printed_below_its_answer(actionrec, made, tmp_path):
    bundle = bundles.tiny_bundle(tmp_path / "attentive", "gru_attention")
    status, out, _ = actionrec("predict", BRIGHT, "--explain", "why.png", "--model", bundle)
    assert status == 0
    assert re.search(r"^  attention over time  [▁▂▃▄▅▆▇█]{8}  most on frame \d+: [\d.]+ %$", out, re.MULTILINE)
    attention = json.loads(actionrec("predict", BRIGHT, "--explain", "why.png", "--model", bundle, "--json")[1])["explanation"]
    assert sum(attention["attention"]) == pytest.approx(1)


def test_evaluate_on_a_folder(actionrec):
    status, out, _ = actionrec("evaluate", "--data", "clips", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["model"], found["clips"], found["top1"], found["of"]) == ("gru", 6, 1.0, "clips")
    assert "6 clips" in actionrec("evaluate", "--model", "gru", "--data", "clips")[1]
    csv = actionrec("evaluate", "--data", "clips", "--csv")[1]
    assert csv.splitlines() == ["class,clips,top1", *(f"{name},2,1.0000" for name in bundles.CLASSES)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg"], "data/models/vgg: no such model"),
        (["--data", "gone"], "gone: no such folder"),
        ([], "data/clips.csv is missing. Run `dvc repro` to make it."),
        (["--subset", "best"], "invalid choice: 'best'"),
        (["--model", " "], "--model is empty"),
        (["--data", "clips", "--group", "("], "'(' is not a regular expression"),
        (["--data", "clips", "--max-failed", "nan"], "expected a share from 0 to 1; got 'nan'"),
    ],
)
def test_evaluate_refuses_bad_input(actionrec, arguments, message):
    status, _, err = actionrec("evaluate", *arguments)
    assert status == 2
    assert message in err


def test_a_camera_without_a_frame_is_told(actionrec, shared):
    status, out, err = actionrec("predict", "--camera", shared / "data" / "broken" / "header_without_frames.mp4")
    assert (status, out) == (2, "")
    assert "header_without_frames.mp4" in err


def test_a_film_of_one_frame_has_a_timeline(actionrec, made):
    write_video(made / "one.avi", bundles.pictures(0, 7, 1))
    status, out, err = actionrec("predict", "one.avi", "--window", 1, "--json", "--plot", "one.png")
    assert status == 0
    (run,) = json.loads(out)["runs"]
    assert run["end_seconds"] == 0.04
    assert "Warning" not in err


def test_who_reads_no_further_ends_the_command(made, film):
    command = f"{sys.executable} -m actionrec predict --camera {film} --window 0.2 --stride 0.2 | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    done = subprocess.run(command, shell=True, cwd=made, env=environment, text=True, capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 60


def test_an_answer_is_not_written_onto_the_progress_bar(made):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(made)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "actionrec", "predict", "clips", "--csv", "--top", "1"])
    shown = b""
    with contextlib.suppress(OSError):  # the end of the terminal
        while part := os.read(terminal, 1 << 16):
            shown += part
    os.waitpid(pid, 0)
    lines = re.split(r"[\r\n]+", shown.decode())
    answers = [re.sub(r"\x1b\[\w+", "", line).strip() for line in lines if ".avi" in line]
    assert len(answers) == 6
    assert all(line.startswith("clips/") for line in answers), answers


def test_the_command_line_is_up_before_torch_is():
    """--help, and bad input that needs no model, load none of what takes seconds."""
    code = (
        "import sys\nfrom actionrec.cli import main as command_line\nsys.argv = ['actionrec', 'predict', '--help']\n"
        "try:\n    command_line.main()\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'cv2', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("window", [None, 2])
def test_real_odd_files_are_answered_or_reported_and_end_no_batch(actionrec, shared, window):
    broken = shared / "data" / "broken"
    options = ["--window", window, "--stride", 4 * window] if window else []
    status, out, err = actionrec("predict", broken, "--json", *options)
    answers = {Path(line["video"]).name: line for line in map(json.loads, out.splitlines())}
    assert set(answers) == set(DECODABLE)
    for name, (_, frames, warning) in DECODABLE.items():
        assert (answers[name]["frames_read"], answers[name]["warning"]) == (frames, warning)
        if not window:
            assert answers[name]["padded"] == max(0, 8 - frames)
    for name, reason in UNDECODABLE.items():
        assert f"error: {broken / name}: {reason}." in err
    assert f"{len(UNDECODABLE)} of {len(DECODABLE) + len(UNDECODABLE)} videos could not be read" in err
    assert "skipped 3 files that are not videos" in err
    assert status == 2
    assert "Traceback" not in err


def test_damage_and_repeats_are_said_to_people(actionrec, shared, tmp_path):
    status, out, _ = actionrec("predict", shared / "data" / "broken" / "damaged_burst.mp4")
    assert status == 0
    assert "  (1 packet damaged; 48 of 49 frames read)\n" in out
    short = write_video(tmp_path / "short.avi", 3)
    assert "  (only 3 frames; 5 of the sampled ones are repeats)\n" in actionrec("predict", short)[1]
