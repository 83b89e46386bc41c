import dataclasses
import hashlib
import logging
import shutil
import zipfile
from functools import partial
from pathlib import Path

import lookalikes
import pytest
from rar import rar

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data import archives, official_splits, published
from actionrec.data.clip_search import find_clips
from actionrec.data.datasets import hmdb51, ucf50, ucf101
from actionrec.data.download import DownloadError
from actionrec.data.published import fetch_published
from stages import fetch

pytestmark = pytest.mark.skipif(
    not archives.installed(),
    reason=f"no program that unpacks RAR is installed. {archives.INSTALL}",
)


UCF101_LISTS = "UCF101TrainTestSplits-RecognitionTask.zip"


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def sources(project, host, films, monkeypatch):
    """A project, and the published sets as a host on this machine has them."""
    monkeypatch.delenv(published.MIRROR, raising=False)
    return lookalikes.publish(host, films)


def raw(name):
    return paths.RAW / name


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def asked(host):
    return [path for path, _ in host.asked]


@pytest.fixture
def fetch_ucf50(sources):
    return partial(fetch_published, sources["ucf50"], raw("ucf50"))


@pytest.fixture
def offer(sources, host):
    """Replace the archive of UCF-50 on the host; returns a function that fetches it."""

    def offer(contents):
        host.files["UCF50.rar"] = contents
        clips = dataclasses.replace(sources["ucf50"].clips, bytes=None)
        return partial(fetch_published, dataclasses.replace(sources["ucf50"], clips=clips), raw("ucf50"))

    return offer


def test_ucf50_comes_with_its_classes_groups_and_odd_names(sources, caplog):
    fetch_published(sources["ucf50"], raw("ucf50"))
    clips = find_clips(raw("ucf50"))
    assert {clip.label for clip in clips} == {"Billiards", "PullUps", "YoYo"}
    assert {clip.group for clip in clips} == {f"g{group:02d}" for group in range(1, 7)}
    assert clips[0].id == "Billiards/v_Billards_g01_c01.avi"
    assert warnings(caplog) == []
    assert sorted(path.name for path in raw("ucf50").iterdir()) == ["Billiards", "PullUps", "YoYo"]
    assert list(paths.DOWNLOADS.iterdir()) == []  # the archive is not kept beside what came out of it


def test_ucf101_comes_with_its_lists(sources, caplog):
    fetch_published(sources["ucf101"], raw("ucf101"))
    clips = [clip.id for clip in find_clips(raw("ucf101"))]
    assert official_splits.list_numbers(raw("ucf101")) == [1, 2, 3]
    tested = {clip: "_g02_" in clip or "_g05_" in clip for clip in clips}
    subsets = {clip: "test" if is_tested else "train" for clip, is_tested in tested.items()}
    assert official_splits.read_lists(raw("ucf101"), 2, clips) == subsets
    assert warnings(caplog) == []


def test_hmdb51_comes_out_of_archives_within_its_archive(sources, caplog):
    fetch_published(sources["hmdb51"], raw("hmdb51"))
    clips = find_clips(raw("hmdb51"))
    assert {clip.label for clip in clips} == set(lookalikes.HMDB51_CLASSES)
    assert {clip.group for clip in clips} == set(lookalikes.HMDB51_SOURCES)
    lists = official_splits.read_lists(raw("hmdb51"), 1, [clip.id for clip in clips])
    assert len(lists) == len(clips) - 3  # those marked 0 are for nothing
    assert {clip.split("/")[1][:8] for clip, subset in lists.items() if subset == "test"} == {"April_09"}
    assert warnings(caplog) == []
    assert not list(raw("hmdb51").rglob("*.rar*"))


def test_the_archive_s_hash_is_recorded_and_enforced_under_any_name(sources, fetch_ucf50, host, tmp_path, monkeypatch):
    fetch_ucf50()
    digest = hashlib.sha256(host.files["UCF50.rar"]).hexdigest()
    assert paths.ARCHIVES.read_text() == f"{digest}  UCF50.rar\n"
    shutil.rmtree(raw("ucf50"))
    fetch_ucf50()  # the same file is accepted
    shutil.rmtree(raw("ucf50"))

    (tmp_path / "mine.rar").write_bytes(rar({"UCF50/Run/a.avi": b"another"}))
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "mine.rar"))
    with pytest.raises(DataError) as caught:
        fetch_ucf50()
    other = hashlib.sha256((tmp_path / "mine.rar").read_bytes()).hexdigest()
    assert str(caught.value).startswith(
        f"{tmp_path}/mine.rar: SHA-256 differs from the first fetch; got {other}, expected {digest} (data/archives.sha256)."
    )
    assert not raw("ucf50").exists()


def test_a_damaged_download_is_removed_and_not_recorded(fetch_ucf50, host):
    right = host.files["UCF50.rar"]
    host.files["UCF50.rar"] = b"<html>Not found</html>"
    with pytest.raises(DataError, match="neither a RAR nor a ZIP"):
        fetch_ucf50()
    assert not paths.ARCHIVES.exists()
    assert not raw("ucf50").exists()
    host.files["UCF50.rar"] = right
    raw("ucf50").mkdir()  # an empty folder is filled
    fetch_ucf50()
    assert len(find_clips(raw("ucf50"))) == 21


def test_differences_from_the_published_data_set_are_warnings(sources, host, caplog):
    source = sources["ucf50"]
    known = {**source.class_clips, "YoYo": 9, "Rowing": 137}
    del known["PullUps"]
    clips = dataclasses.replace(source.clips, bytes=5)
    fetch_published(dataclasses.replace(source, clips=clips, class_clips=known, classes=4, total_clips=150), raw("ucf50"))
    differs = "data/raw/ucf50 differs from the published UCF-50"
    assert warnings(caplog) == [
        f".work/downloads/UCF50.rar has {len(host.files['UCF50.rar']):,} bytes; expected 5. It may be a newer version.",
        f"{differs}: 1 classes are missing: Rowing",
        f"{differs}: 1 classes are unexpected: PullUps",
        f"{differs}: other numbers of clips in 1 classes: YoYo 7 (not 9)",
        f"{differs}: 21 clips in 3 classes, not 150 in 4",
    ]


def test_clips_that_differ_from_the_lists_and_missing_lists_are_warnings(sources, caplog):
    fetch_published(sources["ucf101"], raw("ucf101"))
    (raw("ucf101") / "YoYo/v_YoYo_g06_c01.avi").rename(raw("ucf101") / "YoYo/extra.avi")
    fetch_published(sources["ucf101"], raw("ucf101"))
    shutil.rmtree(raw("ucf101") / "ucfTrainTestlist")
    fetch_published(sources["ucf101"], raw("ucf101"))
    differs = "data/raw/ucf101 differs from the published UCF-101"
    assert warnings(caplog) == [
        f"{differs}: 1 clips are missing: YoYo/v_YoYo_g06_c01.avi",
        f"{differs}: 1 clips are in no official list: YoYo/extra.avi",
        f"{differs}: the official lists are missing (unpack {UCF101_LISTS} into data/raw/ucf101/ucfTrainTestlist)",
    ]


@pytest.mark.parametrize(
    ("file", "mirror", "name", "requests"),
    [
        ("UCF101.rar", "/", "ucf101", ["/UCF101.rar", f"/{UCF101_LISTS}"]),
        ("x/UCF101.rar", "/x/UCF101.rar", "ucf101", ["/x/UCF101.rar", f"/x/{UCF101_LISTS}", f"/{UCF101_LISTS}"]),
        ("kaggle/archive.rar", "/kaggle/archive.rar", "ucf50", ["/kaggle/archive.rar"]),
        ("x/UCF50.rar?download=1", "/x/UCF50.rar?download=1", "ucf50", ["/x/UCF50.rar?download=1"]),
    ],
    ids=["folder", "lists from their own host", "another name", "query"],
)
def test_a_mirror_may_be_an_address(sources, host, monkeypatch, file, mirror, name, requests):
    archive = sources[name].clips.file
    contents = host.files.pop(archive)  # the publisher's host does not have it
    host.files[file] = contents
    monkeypatch.setenv(published.MIRROR, f"{host.url}{mirror}")
    fetch_published(sources[name], raw(name))
    assert asked(host) == requests
    assert f"  {archive}\n" in paths.ARCHIVES.read_text()


@pytest.mark.parametrize(
    ("name", "names_the_file", "requests"),
    [("ucf50", True, []), ("ucf50", False, []), ("ucf101", True, [f"/{UCF101_LISTS}"])],  # lists from their own host
)
def test_a_local_archive_is_used_and_left_where_it_is(sources, host, tmp_path, monkeypatch, name, names_the_file, requests):
    archive = tmp_path / sources[name].clips.file
    archive.write_bytes(host.files[archive.name])
    monkeypatch.setenv(published.MIRROR, str(archive if names_the_file else tmp_path))
    fetch_published(sources[name], raw(name))
    assert len(find_clips(raw(name))) == 21
    assert asked(host) == requests
    assert archive.exists()


def test_a_missing_or_unpacked_mirror_is_reported(fetch_ucf50, tmp_path, monkeypatch):
    folder = tmp_path / "UCF50"
    monkeypatch.setenv(published.MIRROR, str(folder))
    with pytest.raises(DataError) as caught:
        fetch_ucf50()
    assert str(caught.value) == (
        f"ACTIONREC_MIRROR is {folder}, but {folder}/UCF50.rar does not exist. Correct the path: it must be a RAR or ZIP archive, "
        "or a folder with an archive of that name."
    )
    (folder / "Run").mkdir(parents=True)
    (folder / "Run" / "a.avi").touch()
    with pytest.raises(DataError, match=r"ln -s .*/UCF50 data/raw/UCF-50, and set data.dataset to UCF-50\.$"):
        fetch_ucf50()


def test_a_failed_download_says_how_to_use_a_mirror(fetch_ucf50, host):
    del host.files["UCF50.rar"]
    with pytest.raises(DownloadError) as caught:
        fetch_ucf50()
    assert "404" in str(caught.value)
    assert str(caught.value).endswith(
        "UCF-50 is described at https://www.crcv.ucf.edu/data/UCF50.php. If you have the archive, or know a mirror, set "
        "ACTIONREC_MIRROR to its path or address: ACTIONREC_MIRROR=/path/to/UCF50.rar"
    )


@pytest.mark.parametrize("is_link", [False, True])
def test_an_existing_data_set_or_link_is_kept_and_only_checked(sources, fetch_ucf50, host, tmp_path, caplog, is_link):
    folder = tmp_path / "copy" if is_link else raw("ucf50")
    fetch_published(sources["ucf50"], folder)
    if is_link:
        paths.RAW.mkdir(parents=True)
        raw("ucf50").symlink_to(folder)
    (folder / "YoYo" / "v_YoYo_g01_c01.avi").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    host.asked.clear()
    fetch_ucf50()
    assert host.asked == []
    assert raw("ucf50").is_symlink() == is_link
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert "other numbers of clips in 1 classes: YoYo 6 (not 7)" in caplog.text


@pytest.mark.parametrize("kind", ["link", "broken link", "folder"])
def test_a_folder_or_link_without_clips_is_rejected_and_kept(kind, fetch_ucf50, tmp_path):
    target = raw("ucf50") if kind == "folder" else tmp_path / "thesis"
    if kind != "broken link":
        target.mkdir(parents=True)
        (target / "thesis.txt").write_text("years of work")
    if kind != "folder":
        paths.RAW.mkdir(parents=True)
        raw("ucf50").symlink_to(target)
    before = sorted(paths.RAW.rglob("*"))
    with pytest.raises(DataError) as caught:
        fetch_ucf50()
    link = "" if kind == "folder" else f" (a symlink to {tmp_path}/thesis)"
    assert str(caught.value) == f"data/raw/ucf50{link} contains no clips in class folders. Remove it to fetch UCF-50."
    assert sorted(paths.RAW.rglob("*")) == before


def test_an_interrupted_unpacking_leaves_no_data_set(fetch_ucf50, monkeypatch):
    def unpack_some(archive, folder):
        (folder / "UCF50" / "YoYo").mkdir(parents=True)
        (folder / "UCF50" / "YoYo" / "v_YoYo_g01_c01.avi").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "unpack", unpack_some)
    with pytest.raises(KeyboardInterrupt):
        fetch_ucf50()
    assert not raw("ucf50").exists()


def test_room_for_archive_and_clips_is_looked_for_before_the_download(sources, monkeypatch):
    size = 100_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": size}))
    with pytest.raises(DownloadError, match=r"the rest of UCF50.rar, with its unpacked contents, takes .* GB, but .* GB free"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert list(paths.DOWNLOADS.iterdir()) == []


def test_hidden_files_and_folders_of_macos_are_skipped(offer):
    files = ["Run/a.avi", "Sit/b.avi", "__MACOSX/UCF50/Run/._a.avi", "Run/.hidden.avi"]
    offer(rar({f"a/UCF50/{file}": b"x" for file in files}))()
    assert sorted(path.relative_to(raw("ucf50")).as_posix() for path in raw("ucf50").rglob("*.avi")) == files[:2]


def test_an_archive_without_clips_is_rejected(offer):
    with pytest.raises(DataError, match=r"contains no clips in class folders\. Check that it is the right archive"):
        offer(rar({"papers/readme.pdf": b"a"}))()
    assert not raw("ucf50").exists()


def test_ucf50_s_counts_add_up():
    assert (len(ucf50.CLASS_CLIPS), sum(ucf50.CLASS_CLIPS.values())) == (50, 6681)
    assert [source.total_clips for source in (ucf50.SOURCE, ucf101.SOURCE, hmdb51.SOURCE)] == [6681, 9537 + 3783, 6766]


def test_the_stage_fetches_the_data_set_of_params_yaml(sources, monkeypatch):
    monkeypatch.setattr("actionrec.data.datasets.ucf50.fetch", partial(fetch_published, sources["ucf50"]))
    Path("params.yaml").write_text("data: {dataset: ucf50, group: null}\n")
    fetch.main()
    assert len(find_clips(raw("ucf50"))) == 21
    assert [path.name for path in paths.RAW.iterdir()] == ["ucf50"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{'ab' * 32}  UCF50.rar", rf"expected {'ab' * 32} \(data/archives\.sha256\)"),
        (f"{'ab' * 32} *UCF50.rar", rf"expected {'ab' * 32} \(data/archives\.sha256\)"),
        ("UCF50.rar is fine", r"line 1: got 'UCF50.rar is fine', expected `<SHA-256>  <file>`"),
    ],
)
def test_every_form_of_sha256sum_is_enforced(fetch_ucf50, line, message):
    paths.ARCHIVES.parent.mkdir(exist_ok=True)
    paths.ARCHIVES.write_text(f"{line}\n")
    with pytest.raises(DataError, match=message):
        fetch_ucf50()


def test_archives_within_an_archive_may_hold_their_clips_without_a_folder(sources, host):
    inner = {f"{name}.rar": rar({f"film_{name}_u_nm_np1_ba_goo_0.avi": name.encode()}) for name in lookalikes.HMDB51_CLASSES}
    host.files["hmdb51_org.rar"] = rar({**inner, "__MACOSX/._brush_hair.rar": b"no archive"})
    fetch_published(sources["hmdb51"], raw("hmdb51"))
    assert {clip.label for clip in find_clips(raw("hmdb51"))} == set(lookalikes.HMDB51_CLASSES)


def test_a_damaged_inner_archive_is_reported_with_both_names(sources, host):
    host.files["hmdb51_org.rar"] = rar({"brush_hair.rar": b"Rar!\x1a\x07\x00 and no more"})
    with pytest.raises(DataError, match=r"^.work/downloads/hmdb51_org.rar: inner archive brush_hair.rar: "):
        fetch_published(sources["hmdb51"], raw("hmdb51"))


def test_a_zip_copy_of_a_rar_archive_has_its_own_checksum(sources, host, films, tmp_path, monkeypatch):
    """As Kaggle's copy: what is recorded of the one does not stand against the other."""
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, contents in lookalikes.ucf_clips(lookalikes.UCF50_FILES, films).items():
            archive.writestr(f"UCF50/{name}", contents)
    fetch_published(sources["ucf50"], raw("ucf50"))
    shutil.rmtree(raw("ucf50"))
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "archive.zip"))
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert [line.split("  ")[1] for line in paths.ARCHIVES.read_text().splitlines()] == ["UCF50.rar", "UCF50.zip"]


def test_without_a_tool_nothing_is_downloaded(sources, host, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"no program that unpacks it is installed. On Debian and Ubuntu: apt install unar"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert host.asked == []
