"""The stages that come before training, on small videos written on the spot and on real odd files."""

import csv
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
from damaged import DECODABLE, UNDECODABLE, flip
from film import ODD_NAMES, numbered_picture, write_video
from projects import PARAMS, bytes_of
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.core.errors import DataError, VideoError, WeightsError
from actionrec.data.clip_files import read_clip_files
from actionrec.data.clip_seconds import read_clip_seconds
from actionrec.data.clips import SUFFIXES
from actionrec.features.feature_store import read_features
from actionrec.inference.predictor import load
from actionrec.io import checksums, files
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.video import clip_reader
from actionrec.video.frame_store import LEDGER_HEADER, read_shard
from stages import clip_cost, extract_frames, finetune, resnet_features, split, weights

ROOT = Path(__file__).parents[2]
ALL = (split, extract_frames, finetune, resnet_features)


def set_params(**changes):
    """Write params.yaml; keys are `section__key`."""
    document = {name: dict(section) if isinstance(section, dict) else section for name, section in PARAMS.items()}
    for name, value in changes.items():
        section, _, key = name.partition("__")
        document[section][key] = value
    YAML().dump(document, paths.PARAMS)


ENVIRONMENT = {
    "ACTIONREC_WORKERS": "1",
    "ACTIONREC_DEVICE": "cpu",
    "ACTIONREC_RUNTIME": "torch",
}  # torch starts sooner than OpenVINO


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with 3 classes of 5 clips, each in a group of its own, of 3 to 7 frames, after its three stages."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for first, label in enumerate(("Jump", "Run", "Sit")):
            for group in range(1, 6):
                pictures = [numbered_picture(100 * first + number) for number in range(group + 2)]
                write_video(paths.RAW / "mine" / label / f"v_{label}_g{group:02d}_c01.avi", pictures)
        set_params()
        for stage in ALL:
            stage.main()
    return folder


@pytest.fixture
def mine(project, finished, monkeypatch):
    """The clips of that project, before any stage."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(finished / paths.RAW, project / paths.RAW)
    set_params()
    return project / paths.RAW / "mine"


@pytest.fixture
def done(mine, finished):
    """The clips after the three stages."""
    shutil.copytree(finished, ".", dirs_exist_ok=True)
    return mine


def read_rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def read_ledger():
    return {row["clip"]: row for row in csv.DictReader((paths.FRAMES / "ledger.csv").open(encoding="utf-8", newline=""))}


def frame_metrics():
    return json.loads(paths.FRAME_METRICS.read_text(encoding="utf-8"))


def stored_clips():
    return sorted(clip for path in paths.FRAMES.glob("*.tar") for clip, _ in read_shard(path))


def fresh_shards(stage):
    """Number of shards in .work."""
    return len(list((paths.WORK / stage).iterdir()))


def test_split_writes_the_contract_s_files(mine):
    split.main()
    clips, subsets = read_rows(paths.CLIPS), read_rows(paths.SPLIT)
    assert clips[0] == ["clip", "label", "group", "bytes", "sha256"]
    assert subsets[0] == ["clip", "subset"]
    assert [row[0] for row in clips[1:]] == [row[0] for row in subsets[1:]] == sorted(row[0] for row in clips[1:])
    assert clips[1][:3] == ["Jump/v_Jump_g01_c01.avi", "Jump", "g01"]
    assert {row[1] for row in subsets[1:]} == {"train", "val", "test"}
    summary = json.loads(paths.SPLIT_METRICS.read_text(encoding="utf-8"))
    assert [*summary.items()][:6] == [
        ("dataset", "mine"), ("protocol", "group"), ("folds", 3), ("fold", 0), ("validation", 0.2), ("seed", 0),
    ]  # fmt: skip
    assert summary["train_clips"] + summary["val_clips"] + summary["test_clips"] == summary["clips"] == 15


def test_split_reports_duplicates_and_classes_that_are_not_tested(mine, caplog):
    shutil.copy(mine / "Jump" / "v_Jump_g01_c01.avi", mine / "Jump" / "copy.avi")
    shutil.copy(mine / "Run" / "v_Run_g02_c01.avi", mine / "Sit" / "other.avi")
    write_video(mine / "Wave" / "v_Wave_g01_c01.avi", 9)
    split.main()
    assert "the same contents, kept on one side of the split: Jump/copy.avi, Jump/v_Jump_g01_c01.avi" in caplog.text
    assert "the same contents in DIFFERENT classes, kept on one side of the split: " in caplog.text
    assert "no test clips of: Wave" in caplog.text


def test_frames_and_features_have_the_contract_s_form(done):
    assert tuple(read_rows(paths.FRAMES / "ledger.csv")[0]) == LEDGER_HEADER
    ledger = read_ledger()
    assert list(ledger) == sorted(ledger)
    assert [*ledger["Jump/v_Jump_g01_c01.avi"].values()] == ["Jump/v_Jump_g01_c01.avi", "3", "3", "3", "1", "pyav", "", ""]
    assert ledger["Sit/v_Sit_g05_c01.avi"]["padded"] == "0"
    assert read_clip_seconds(paths.CLIP_SECONDS) == {clip: int(row["decoded_frames"]) / 25 for clip, row in ledger.items()}
    assert [*frame_metrics().items()] == [("clips", 15), ("decoded", 15), ("padded", 3), ("damaged", 0), ("failed", 0)]
    assert stored_clips() == sorted(ledger)
    clips = []
    for path in paths.FEATURES.glob("*.safetensors"):
        with safetensors.safe_open(path, framework="numpy") as stream:
            clips += stream.keys()
            assert {(stream.get_tensor(clip).shape, str(stream.get_tensor(clip).dtype)) for clip in stream.keys()} == {  # noqa: SIM118
                ((4, 512), "float16")
            }
            metadata = stream.metadata()
        assert {"backbone", "weights", "weights_sha256", "precision", "preprocessing", "frames"} <= set(metadata)
        assert json.loads(metadata["frames"]) == {"count": 4, "resolution": 64, "format": "jpeg", "quality": 95}
    assert sorted(clips) == sorted(ledger)


def test_frames_from_before_the_resolution_was_renamed_become_features(done):
    files.write_json(paths.FRAMES / "frames.json", {"count": 4, "size": 64, "format": "jpeg", "quality": 95})
    (paths.FRAMES / checksums.FILE).unlink()  # it did not exist then, either
    resnet_features.main()
    assert read_features(paths.FEATURES).source["frames"] == {"count": 4, "resolution": 64, "format": "jpeg", "quality": 95}


def test_stages_write_checksums_and_reject_files_that_changed_later(done):
    for folder in (paths.FRAMES, paths.FEATURES):
        sums = checksums.read(folder)
        assert set(sums) == {path.name for path in folder.iterdir()} - {checksums.FILE}
        assert sums == {name: files.sha256_of(folder / name) for name in sums}
    quality = (paths.FRAMES / "frames.json").read_bytes().index(b"95")  # 85 instead
    for name, place in (("frames.json", quality), (next(paths.FRAMES.glob("*.tar")).name, 3)):
        flip(paths.FRAMES / name, place, keep_time=True)
        with pytest.raises(DataError, match=rf"do not match SHA256SUMS: {name}\. Run `python -m actionrec repair`"):
            resnet_features.main()
        flip(paths.FRAMES / name, place, keep_time=True)


OUTPUTS = (paths.FRAMES, paths.FEATURES)


def in_memory():
    """The features of each clip, read before another run replaces them."""
    stored = read_features(paths.FEATURES)
    return dict(zip(stored.clips, np.asarray(stored.features), strict=True))


def test_one_clip_more_costs_one_shard_and_other_clips_keep_their_features(done):
    counts, before, first = {name: fresh_shards(name) for name in ("frames", "features")}, bytes_of(*OUTPUTS), in_memory()
    write_video(done / "Jump" / "another.avi", 9)
    for stage in ALL:
        stage.main()
    assert {name: fresh_shards(name) - count for name, count in counts.items()} == {"frames": 1, "features": 1}
    changed = {name for name, contents in bytes_of(*OUTPUTS).items() if contents != before.get(name)}
    suffixes = sorted(Path(name).suffix or Path(name).name for name in changed)
    assert suffixes == [".csv", ".safetensors", ".tar", "SHA256SUMS", "SHA256SUMS"]

    (done / "Sit" / "v_Sit_g03_c01.avi").unlink()
    set_params(frames__shards=3)
    for stage in ALL:
        stage.main()
    second = in_memory()
    both = sorted(set(first) & set(second))
    assert len(both) == 14
    assert all(np.array_equal(first[clip], second[clip]) for clip in both)


def test_outputs_that_dvc_deletes_are_linked_again_and_other_parameters_decode_nothing(done, monkeypatch):
    before, clips, subsets = bytes_of(paths.FRAMES), paths.CLIPS.read_bytes(), paths.SPLIT.read_bytes()
    shutil.rmtree(paths.FRAMES)
    set_params(split__protocol="random", split__fold=1, frames__max_failed=0.5)
    split.main()
    assert paths.CLIPS.read_bytes() == clips
    assert paths.SPLIT.read_bytes() != subsets
    monkeypatch.setattr(clip_reader, "sample_clip", None)
    extract_frames.main()
    assert bytes_of(paths.FRAMES) == before
    assert all(path.stat().st_nlink == 2 for path in paths.FRAMES.glob("*.tar"))


def test_streams_are_computed_from_the_stored_frames_and_predicting_gives_the_same(done, tmp_path, monkeypatch):
    frames, rgb, plain = bytes_of(paths.FRAMES), in_memory(), read_features(paths.FEATURES).source
    assert "streams" not in plain
    monkeypatch.setattr(clip_reader, "sample_clip", None)  # nothing is decoded again
    set_params(features__streams=["diff", "rgb"])
    resnet_features.main()
    assert bytes_of(paths.FRAMES) == frames
    stored = in_memory()
    assert all(features.shape == (4, 1024) and np.array_equal(features[:, 512:], rgb[clip]) for clip, features in stored.items())
    assert all(np.array_equal(features[2, :512], features[3, :512]) for features in stored.values())  # the last one repeats
    source = read_features(paths.FEATURES).source
    assert source == {**plain, "streams": ["diff", "rgb"]}
    set_params()
    resnet_features.main()
    assert all(np.array_equal(features, rgb[clip]) for clip, features in in_memory().items())

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    architecture = Architecture("mean_pool", {}, 1024, ["Jump", "Run", "Sit"])
    save_bundle(tmp_path / "bundle", Bundle(architecture, architecture.create(), source))
    predictor = load(tmp_path / "bundle", device="cpu")
    assert predictor.bundle.features == source
    for clip in list(stored)[::5]:
        features = predictor.extractor(predictor.sample(done.resolve() / clip).frames)
        error = np.linalg.norm(features.astype(float) - stored[clip]) / np.linalg.norm(stored[clip].astype(float))
        assert error < 1e-2


SNIPPETS = {"count": 3, "resolution": 32, "fit": "crop", "snippet": {"length": 4, "rate": 12.5}}


def test_snippets_are_decoded_and_a_video_backbone_turns_each_into_a_feature(done, tmp_path, monkeypatch):
    set_params(features__backbone="r3d_18", **{f"frames__{key}": value for key, value in SNIPPETS.items()})
    for stage in (extract_frames, resnet_features):
        stage.main()
    assert files.read_json(paths.FRAMES / "frames.json") == {"format": "jpeg", "quality": 95, **SNIPPETS}
    ledger = read_ledger()
    assert ledger["Jump/v_Jump_g05_c01.avi"]["unique_frames"] == "4"  # of its 7 frames, two apart
    assert ledger["Jump/v_Jump_g05_c01.avi"]["padded"] == "2"
    stored, source = in_memory(), read_features(paths.FEATURES).source
    assert source["frames"] == files.read_json(paths.FRAMES / "frames.json")
    assert all(features.shape == (3, 512) for features in stored.values())

    # Another backbone decodes nothing, and an image backbone gives the mean over a snippet.
    monkeypatch.setattr(clip_reader, "sample_clip", None)
    set_params(**{f"frames__{key}": value for key, value in SNIPPETS.items()})
    resnet_features.main()
    assert all(features.shape == (3, 512) for features in in_memory().values())
    monkeypatch.undo()

    monkeypatch.chdir(tmp_path)
    architecture = Architecture("mean_pool", {}, 512, ["Jump", "Run", "Sit"])
    save_bundle(tmp_path / "bundle", Bundle(architecture, architecture.create(), source))
    predictor = load(tmp_path / "bundle", device="cpu")
    for clip in list(stored)[::5]:
        features = predictor.extractor(predictor.sample(done.resolve() / clip).pictures)
        error = np.linalg.norm(features.astype(float) - stored[clip]) / np.linalg.norm(stored[clip].astype(float))
        assert error < 1e-2


def test_raw_frames_give_nearly_the_features_of_jpegs(done):
    jpeg = read_features(paths.FEATURES).features[range(15)].astype(float)
    set_params(frames__format="raw")
    extract_frames.main()
    resnet_features.main()
    raw = read_features(paths.FEATURES).features[range(15)].astype(float)
    assert 0 < abs(jpeg - raw).mean() < 0.1 * abs(raw).mean()


def test_clips_that_cannot_be_decoded_are_listed_and_left_out(mine, caplog):
    (mine / "Jump" / "broken.avi").write_bytes(b"no video")
    (mine / "Run" / "empty.avi").touch()
    set_params(frames__max_failed=0.2, frames__shards=1000)  # a clip a shard: some shards are empty
    for stage in ALL:
        stage.main()
    ledger = read_ledger()
    assert frame_metrics() == {"clips": 17, "decoded": 15, "padded": 3, "damaged": 0, "failed": 2}
    assert ledger["Run/empty.avi"]["error"] == "the file is empty (0 bytes). Copy or download it again"
    assert [ledger["Run/empty.avi"][key] for key in ("decoded_frames", "unique_frames", "padded")] == ["0", "0", "0"]
    assert "2 of 17 clips cannot be decoded and are skipped:\n  Jump/broken.avi: not a video file" in caplog.text
    decoded = sorted(clip for clip, row in ledger.items() if not row["error"])
    assert stored_clips() == read_features(paths.FEATURES).clips == decoded


def test_more_failed_clips_than_allowed_stop_the_stage_with_a_list(mine):
    for number in range(5):
        (mine / "Run" / f"broken{number}.avi").write_bytes(b"no video %d" % number)
    split.main()
    set_params(frames__max_failed=0.24)  # 4.8 of 20
    with pytest.raises(VideoError) as error:
        extract_frames.main()
    first, second, *_, last = str(error.value).splitlines()
    assert first == "5 of 20 clips cannot be decoded (allowed: 24.0% of them):"
    assert second == (
        "  Run/broken0.avi: not a video file that FFmpeg can open (Invalid data found when processing input). "
        "Copy or download it again"
    )
    assert last == "Fix or remove them, or raise frames.max_failed in params.yaml to continue without them."
    assert not paths.FRAMES.exists()
    assert not paths.FRAME_METRICS.exists()
    set_params(frames__max_failed=0.25)
    extract_frames.main()
    (mine / "Run" / "broken0.avi").write_bytes((mine / "Run" / "v_Run_g01_c01.avi").read_bytes())  # a repaired clip
    split.main()
    extract_frames.main()
    assert frame_metrics()["failed"] == 4


def test_clips_that_all_fail_are_refused_whatever_is_allowed(mine):
    for path in mine.rglob("*.avi"):
        path.write_bytes(path.name.encode())
    set_params(frames__max_failed=1)
    split.main()
    with pytest.raises(VideoError, match=r"^15 of 15 clips cannot be decoded"):
        extract_frames.main()


def test_odd_names_pass_through_all_stages(mine):
    shutil.rmtree(mine)
    labels = ('Cl,a"s s #1\n', "日本")
    expected = sorted(f"{labels[number % 2]}/{name}" for number, name in enumerate(ODD_NAMES))
    for number, clip in enumerate(expected):
        write_video(mine / clip, 4 + number % 5)
    for stage in ALL:
        stage.main()
    assert list(read_ledger()) == stored_clips() == read_features(paths.FEATURES).clips == expected
    assert frame_metrics()["failed"] == 0


def test_stages_without_their_inputs_say_what_to_run(mine):
    with pytest.raises(DataError, match=r"data/clips\.csv is missing\. Run `dvc repro` to make it\."):
        extract_frames.main()
    with pytest.raises(DataError, match=r"data/backbone/backbone\.json is missing\. Run `dvc repro` to make it\."):
        resnet_features.main()
    finetune.main()
    with pytest.raises(DataError, match=r"data/frames/frames\.json is missing\. Run `dvc repro` to make it\."):
        resnet_features.main()


@pytest.mark.slow
def test_the_number_of_processes_does_not_change_a_byte(done, monkeypatch):
    expected = bytes_of(*OUTPUTS, paths.METRICS)
    for folder in (*OUTPUTS, paths.WORK):
        shutil.rmtree(folder)
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    for stage in (extract_frames, resnet_features):
        stage.main()
    assert bytes_of(*OUTPUTS, paths.METRICS) == expected


@pytest.mark.slow
def test_real_odd_files_among_real_clips(mine, shared, caplog):
    shutil.rmtree(mine)
    real = shared / "data" / "real_clips"
    for path in sorted((shared / "data" / "broken").iterdir()):
        if path.suffix in SUFFIXES:
            (mine / "Odd").mkdir(parents=True, exist_ok=True)
            (mine / "Odd" / path.name).symlink_to(path)
    for label in ("Fight", "NoFight"):
        (mine / label).mkdir()
        for path in sorted((real / label).iterdir())[:4]:
            (mine / label / path.name).symlink_to(path)
    set_params(frames__count=32, frames__max_failed=0.3)
    caplog.set_level(logging.INFO)
    for stage in (split, extract_frames, finetune, resnet_features):
        stage.main()
    ledger = read_ledger()
    failed = {clip for clip, row in ledger.items() if row["error"]}
    assert failed == {f"Odd/{name}" for name in UNDECODABLE}
    lengths = read_clip_seconds(paths.CLIP_SECONDS)
    assert set(lengths) <= set(ledger) - failed
    assert lengths["Odd/frame_count_lies_1820_for_854.avi"] == pytest.approx(854 / 25, rel=0.2)
    assert all(row["warning"] == DECODABLE[clip.removeprefix("Odd/")][2] for clip, row in ledger.items() if clip[4:] in DECODABLE)
    assert frame_metrics() == {"clips": 38, "decoded": 30, "padded": 10, "damaged": 4, "failed": 8}
    assert len(ledger) == 38
    assert "4 clips are damaged; their undamaged frames are used:\n  Odd/damaged_burst.mp4: 1 packet damaged" in caplog.text
    lies = ledger["Odd/frame_count_lies_1820_for_854.avi"]
    assert (lies["header_frames"], lies["decoded_frames"], lies["padded"]) == ("1820", "854", "0")
    assert (ledger["Odd/one_frame.mp4"]["unique_frames"], ledger["Odd/one_frame.mp4"]["padded"]) == ("1", "31")
    features = read_features(paths.FEATURES)
    assert features.clips == sorted(set(ledger) - failed)
    assert features.features.shape[1:] == (32, 512)


@pytest.mark.parametrize("change", ["other contents", "missing", "while it is read"])
def test_a_clip_that_changed_after_split_stops_the_stage_and_is_not_stored(mine, monkeypatch, change):
    """Frames of other contents must never be stored under this clip's key."""
    split.main()
    path, other = mine / "Jump" / "v_Jump_g01_c01.avi", mine / "Jump" / "v_Jump_g02_c01.avi"
    sample = clip_reader.sample_clip

    def write_and_sample(clip, *rest):
        if clip.name == path.name:
            path.write_bytes(path.read_bytes() + b"more")
        return sample(clip, *rest)

    with monkeypatch.context() as patch:
        if change == "other contents":
            path.write_bytes(other.read_bytes())
        elif change == "missing":
            path.unlink()
        else:
            patch.setattr(clip_reader, "sample_clip", write_and_sample)
        with pytest.raises(DataError, match=r"v_Jump_g01_c01\.avi (has changed since|is missing).*Rerun `dvc repro`"):
            extract_frames.main()
    split.main()
    extract_frames.main()
    if change == "other contents":
        frames = dict(clip for tar in paths.FRAMES.glob("*.tar") for clip in read_shard(tar))
        assert np.array_equal(frames["Jump/v_Jump_g01_c01.avi"], frames["Jump/v_Jump_g02_c01.avi"])


def test_an_unexpected_failure_of_one_clip_is_a_ledger_row_and_is_tried_again(mine, monkeypatch, caplog):
    set_params(frames__max_failed=0.2)
    split.main()
    sample = clip_reader.sample_clip

    def fail_once(path, *rest):
        if path.name == "v_Jump_g01_c01.avi":
            raise RuntimeError("a defect")
        return sample(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(clip_reader, "sample_clip", fail_once)
        extract_frames.main()
    row = read_ledger()["Jump/v_Jump_g01_c01.avi"]
    assert row["error"] == "unexpected error: RuntimeError: a defect. The log has its traceback"
    assert (frame_metrics()["decoded"], frame_metrics()["failed"]) == (14, 1)
    assert "Traceback" in caplog.text
    extract_frames.main()
    assert frame_metrics()["failed"] == 0


def test_stages_print_nothing_of_their_libraries_and_do_not_load_ray_or_openvino():
    """Ray and OpenVINO take seconds to load, and not every run uses them."""
    code = "import sys, stages.extract_frames, stages.resnet_features; print({'ray', 'openvino'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.usefixtures("project")
def test_weights_are_checked_before_clips_are_decoded_and_leave_the_same_note(shared):
    texts = []
    for changes in (
        {},
        {"features__backbone": "mobilenet_v2", "features__weights": f"{shared}/weights/mobilenet_v2_imagenet.safetensors"},
    ):
        set_params(**changes)
        weights.main()
        texts.append(paths.WEIGHTS_CHECK.read_bytes())
        paths.WEIGHTS_CHECK.unlink()
    assert texts[0] == texts[1]
    set_params(features__weights=f"{shared}/weights/mobilenet_v2_imagenet.safetensors")
    with pytest.raises(WeightsError, match=r"for resnet18 does not fit: .* set features\.backbone to mobilenet_v2"):
        weights.main()
    assert not paths.WEIGHTS_CHECK.exists()


def make_shards(folder):
    """Pack a data set's class folders by the commands in docs/data.md."""
    [block] = re.findall(
        r"```console\n(\$ mkdir data/raw/shards .*?)```", (ROOT / "docs/data.md").read_text(encoding="utf-8"), re.DOTALL
    )
    commands = block.replace("$ ", "", 1).replace("\n$ ", "\n").replace("\n> ", "\n").replace("raw/mine", f"raw/{folder.name}")
    subprocess.run(["bash", "-euc", commands], check=True)
    return folder.with_name("shards")


def test_clips_in_tar_shards_give_the_same_bytes_as_in_folders(done):
    (done / "Run" / "v_Run_g06_c01.avi").write_bytes((done / "Run" / "v_Run_g05_c01.avi").read_bytes()[:5000])  # cut off
    set_params(frames__max_failed=0.2)
    for stage in ALL:
        stage.main()
    clip_cost_clips = clip_cost.clips_to_time(read_clip_files(done))
    tables = (paths.CLIPS, paths.SPLIT, paths.FRAME_METRICS)
    before = [path.read_bytes() for path in tables], bytes_of(paths.FRAMES, paths.FEATURES)
    contents = [path.read_bytes() for path in clip_cost_clips]
    shards = make_shards(done)
    assert sorted(path.name for path in shards.iterdir()) == ["Jump.tar", "Run.tar", "Sit.tar"]
    shutil.rmtree(done)
    shutil.rmtree(paths.WORK)
    set_params(data__dataset="shards", frames__max_failed=0.2)
    for stage in ALL:
        stage.main()
    assert ([path.read_bytes() for path in tables], bytes_of(paths.FRAMES, paths.FEATURES)) == before
    members = clip_cost.clips_to_time(read_clip_files(shards))
    assert [member.open().read() for member in members] == contents


def test_a_damaged_shard_costs_its_clips_and_stops_nothing(mine, caplog):
    tar = make_shards(mine) / "Jump.tar"
    with tarfile.open(tar) as archive:
        cut, last = archive.getmembers()[-2:]
    os.truncate(tar, cut.offset_data + 100)  # the last clip is lost, and of the one before it there is a start
    set_params(data__dataset="shards", frames__max_failed=0.2)
    split.main()
    extract_frames.main()
    assert frame_metrics() == {"clips": 14, "decoded": 13, "padded": 3, "damaged": 0, "failed": 1}
    assert read_ledger()[cut.name]["error"]
    assert last.name not in read_ledger()
    damage = (
        f"{paths.RAW}/shards/Jump.tar is cut off at byte {cut.offset_data + 100:,}. Copy or download it again. Readable clips: 4."
    )
    assert json.loads(paths.SPLIT_METRICS.read_text())["warnings"] == [damage]
    assert caplog.messages.count(damage) == 1


def test_a_shard_that_changed_after_split_is_noticed(mine):
    tar = make_shards(mine) / "Jump.tar"
    set_params(data__dataset="shards")
    split.main()
    contents = tar.read_bytes()
    tar.write_bytes(contents[:1024] + bytes([contents[1024] ^ 1]) + contents[1025:])
    with pytest.raises(DataError, match=r"shards/Jump\.tar/Jump/v_Jump_g01_c01\.avi has changed since data/clips\.csv was written"):
        extract_frames.main()
    tar.unlink()
    with pytest.raises(DataError, match=r"Jump\.tar/Jump/.*\.avi is missing, but data/clips\.csv lists it"):
        extract_frames.main()
