import numpy as np
import pytest
from bundles import CLASSES, FRAMES, clips, tiny_bundle
from exported import project_of

from actionrec.core.errors import DataError
from actionrec.data.clips import read_clips
from actionrec.export import reference_clips
from actionrec.inference.predictor import load
from actionrec.io.files import write_csv, write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("models") / "gru", "gru")


@pytest.fixture(scope="module")
def predictor(folder):
    return load(folder, device="cpu")


def test_without_a_project_it_is_the_same_noise_each_time(predictor, project):
    shown, again = (reference_clips.to_check(predictor, []) for _ in range(2))
    assert shown.description == "4 clips of noise, because no clips are available"
    assert [frames.shape for frames in shown.frames] == [(8, 64, 64, 3)] * 4
    assert np.array_equal(shown.frames, again.frames)
    assert not np.array_equal(shown.frames[0], shown.frames[1])


def test_videos_are_sampled_as_predict_does(predictor, project):
    paths = clips(project / "videos", count=1)
    shown = reference_clips.to_check(predictor, paths)
    assert shown.description == "3 videos"
    assert np.array_equal(shown.frames[2], predictor.sample(paths[2]).frames)


def test_of_many_videos_some_from_first_to_last_are_taken(predictor, project, monkeypatch):
    monkeypatch.setattr(reference_clips, "_MOST_VIDEOS", 3)
    paths = clips(project / "videos", count=2)
    shown = reference_clips.to_check(predictor, paths)
    assert shown.description == "3 of 6 videos, evenly spaced"
    for place, frames in zip((0, 2, 5), shown.frames, strict=True):
        assert np.array_equal(frames, predictor.sample(paths[place]).frames)


def test_in_a_project_it_is_test_clips_of_different_classes(predictor, project):
    project_of(project)
    shown = reference_clips.to_check(predictor, [])
    assert shown.description == "3 test clips"
    wanted = [clip.id for clip in reference_clips.stored_clips("test")]
    assert [clip.split("/")[0] for clip in wanted] == CLASSES
    for clip, frames in zip(wanted, shown.frames, strict=True):
        assert np.array_equal(frames, predictor.sample(project / "data/raw/mine" / clip).frames)


def test_frames_of_another_size_are_of_no_use(predictor, project):
    project_of(project)
    write_json(project / "data/frames/frames.json", {**FRAMES, "resolution": 32})
    assert "noise" in reference_clips.to_check(predictor, []).description
    with pytest.raises(DataError, match=r"data/frames has frames of \{.*'resolution': 32.*\}, but gru was trained on frames of"):
        reference_clips.labelled_clips(predictor, "train", 4)


def test_frames_from_before_the_resolution_was_renamed_are_used(predictor, project):
    project_of(project)
    renamed = {"size" if key == "resolution" else key: value for key, value in FRAMES.items()}
    write_json(project / "data/frames/frames.json", renamed)
    assert reference_clips.why_not_stored(predictor) is None


@pytest.mark.parametrize(("subset", "purpose"), [("train", "calibrate"), ("test", "measure")])
def test_int8_with_missing_files_of_frames_raises_an_error(predictor, project, subset, purpose):
    """The ledger is there, and the frames are not."""
    project_of(project)
    for file in (project / "data/frames").glob("*.tar"):
        file.unlink()
    with pytest.raises(
        DataError, match=rf"^data/frames: no clips to {purpose} on, because files with frames are missing\. Run `dvc"
    ):
        reference_clips.labelled_clips(predictor, subset, 4)


def test_int8_without_frames_says_what_to_do(predictor, project):
    with pytest.raises(DataError) as caught:
        reference_clips.labelled_clips(predictor, "train", 4)
    assert str(caught.value) == (
        "--int8 is calibrated on training clips and measured on test clips, from data/frames: data/clips.csv is missing. "
        "Run `dvc repro extract_frames` in the project that the model was trained in, or omit --int8."
    )


def test_int8_with_classes_that_the_model_does_not_know_raises_an_error(folder, project):
    project_of(project)
    strange = load(tiny_bundle(project / "other", class_names=["Bright", "Dark", "Plain"]), device="cpu")
    with pytest.raises(DataError, match=r"classes that other does not know: Striped\."):
        reference_clips.labelled_clips(strange, "test", None)


def test_int8_without_clips_in_a_subset_raises_an_error(predictor, project):
    project_of(project)
    write_csv(
        project / "data/split.csv", ("clip", "subset"), [(clip.id, "train") for clip in read_clips(project / "data/clips.csv")]
    )
    with pytest.raises(DataError, match=r"needs test clips, but data/split\.csv has none that could be decoded"):
        reference_clips.labelled_clips(predictor, "test", None)


def test_clips_that_could_not_be_decoded_are_passed_over(predictor, project):
    project_of(project)
    ledger = project / "data/frames/ledger.csv"
    lost = reference_clips.stored_clips("train")[0].id
    lines = ledger.read_text().splitlines()
    ledger.write_text("\n".join(f"{line}no picture" if line.startswith(lost) else line for line in lines) + "\n")
    chosen = [clip.id for clip in reference_clips.labelled_clips(predictor, "train", None)]
    assert lost not in chosen
    assert len(chosen) == 5


def test_few_clips_are_spread_over_the_classes(predictor, project):
    project_of(project)
    chosen = reference_clips.labelled_clips(predictor, "train", 4)
    assert [clip.label for clip in chosen] == [*CLASSES, CLASSES[0]]
    assert len({clip.id for clip in chosen}) == 4


def test_frames_come_in_the_order_of_the_clips_and_lost_ones_are_left_out(project, monkeypatch):
    project_of(project)
    monkeypatch.setattr(reference_clips, "_AT_ONCE", 2)
    wanted = read_clips(project / "data/clips.csv")[::-1]
    (project / "data/frames/shard-0000.tar").unlink()
    left = read_clips(project / "data/clips.csv")
    done = []
    found = [clip for clip, _ in reference_clips.stored_frames(wanted, done.append)]
    assert 0 < len(found) < len(wanted) == len(left)
    assert found == [clip for clip in wanted if clip in found]
    assert sum(done) == len(wanted)
