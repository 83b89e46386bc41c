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
from actionrec.data.clips import find_clips
from actionrec.data.datasets import hmdb51, ucf50, ucf101
from actionrec.data.download import DownloadError
from actionrec.data.published import fetch_published
from stages import fetch

pytestmark = pytest.mark.skipif(
    not archives.installed(),
    reason=f"no program that unpacks RAR is installed. {archives.INSTALL}",
)


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
    lists = official_splits.read_lists(raw("ucf101"), 2, clips)
    assert set(lists) == set(clips)
    assert {clip for clip, subset in lists.items() if subset == "test"} == {
        clip for clip in clips if "_g02_" in clip or "_g05_" in clip
    }
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


def test_the_archive_s_hash_is_recorded_once_and_enforced_after(sources, host):
    fetch_published(sources["ucf50"], raw("ucf50"))
    digest = hashlib.sha256(host.files["UCF50.rar"]).hexdigest()
    assert paths.ARCHIVES.read_text() == f"{digest}  UCF50.rar\n"
    shutil.rmtree(raw("ucf50"))
    fetch_published(sources["ucf50"], raw("ucf50"))  # the same file is welcome
    shutil.rmtree(raw("ucf50"))

    host.files["UCF50.rar"] = rar({"UCF50/Run/a.avi": b"another"})
    with pytest.raises(DataError) as caught:
        fetch_published(sources["ucf50"], raw("ucf50"))
    other = hashlib.sha256(host.files["UCF50.rar"]).hexdigest()
    assert str(caught.value).startswith(
        f".work/downloads/UCF50.rar: SHA-256 differs from the first fetch; got {other}, expected {digest} (data/archives.sha256)."
    )
    assert not raw("ucf50").exists()


def test_an_archive_that_does_not_unpack_is_not_recorded(sources, host):
    host.files["UCF50.rar"] = b"<html>Not found</html>"
    with pytest.raises(DataError, match="neither a RAR nor a ZIP"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert not paths.ARCHIVES.exists()
    assert not raw("ucf50").exists()


def test_an_unexpected_archive_size_is_a_warning(sources, host, caplog):
    source = sources["ucf50"]
    source = dataclasses.replace(source, clips=dataclasses.replace(source.clips, bytes=5))
    fetch_published(source, raw("ucf50"))
    assert warnings(caplog) == [
        f".work/downloads/UCF50.rar has {len(host.files['UCF50.rar']):,} bytes; expected 5. It may be a newer version."
    ]


def test_missing_and_unexpected_classes_are_warnings(sources, caplog):
    source = sources["ucf50"]
    known = {**source.class_clips, "YoYo": 9, "Rowing": 137}
    del known["PullUps"]
    fetch_published(dataclasses.replace(source, class_clips=known, classes=4, total_clips=150), raw("ucf50"))
    differs = "data/raw/ucf50 differs from the published UCF-50"
    assert warnings(caplog) == [
        f"{differs}: 1 classes are missing: Rowing",
        f"{differs}: 1 classes are unexpected: PullUps",
        f"{differs}: other numbers of clips in 1 classes: YoYo 7 (not 9)",
        f"{differs}: 21 clips in 3 classes, not 150 in 4",
    ]


def test_clips_that_the_lists_name_and_the_archive_lacks_are_named(sources, host, films, caplog):
    clips = lookalikes.ucf_clips(lookalikes.UCF101_FILES, films)
    kept = {clip: contents for clip, contents in clips.items() if "YoYo_g06" not in clip}
    host.files["UCF101.rar"] = rar({f"UCF-101/{clip}": contents for clip, contents in {**kept, "YoYo/extra.avi": b"x"}.items()})
    source = sources["ucf101"]
    fetch_published(dataclasses.replace(source, clips=dataclasses.replace(source.clips, bytes=None)), raw("ucf101"))
    differs = "data/raw/ucf101 differs from the published UCF-101"
    assert warnings(caplog) == [
        f"{differs}: 1 clips are missing: YoYo/v_YoYo_g06_c01.avi",
        f"{differs}: 1 clips are in no official list: YoYo/extra.avi",
    ]


def test_a_mirror_serves_in_the_host_s_place(sources, host, films, monkeypatch):
    elsewhere = dataclasses.replace(sources["ucf101"], clips=published.Archive("http://127.0.0.1:1/data/UCF101.rar"))
    monkeypatch.setenv(published.MIRROR, f"{host.url}/")
    fetch_published(elsewhere, raw("ucf101"))
    assert asked(host) == ["/UCF101.rar", "/UCF101TrainTestSplits-RecognitionTask.zip"]


def test_a_mirror_may_be_the_address_of_an_archive_under_another_name(sources, host, monkeypatch):
    host.files["kaggle/archive.rar"] = host.files["UCF50.rar"]
    monkeypatch.setenv(published.MIRROR, f"{host.url}/kaggle/archive.rar")
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert asked(host) == ["/kaggle/archive.rar"]
    assert paths.ARCHIVES.read_text().endswith("  UCF50.rar\n")


@pytest.mark.parametrize("names_the_file", [True, False])
def test_a_local_archive_is_used_and_left_where_it_is(sources, host, tmp_path, monkeypatch, names_the_file):
    there = tmp_path / "there"
    there.mkdir()
    (there / "UCF50.rar").write_bytes(host.files["UCF50.rar"])
    monkeypatch.setenv(published.MIRROR, str(there / "UCF50.rar" if names_the_file else there))
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert len(find_clips(raw("ucf50"))) == 21
    assert host.asked == []
    assert (there / "UCF50.rar").exists()


def test_lists_that_are_not_beside_the_local_archive_come_from_their_host(sources, host, tmp_path, monkeypatch):
    (tmp_path / "UCF101.rar").write_bytes(host.files["UCF101.rar"])
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "UCF101.rar"))
    fetch_published(sources["ucf101"], raw("ucf101"))
    assert asked(host) == ["/UCF101TrainTestSplits-RecognitionTask.zip"]


def test_a_missing_mirror_is_reported(sources, tmp_path, monkeypatch):
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as caught:
        fetch_published(sources["ucf50"], raw("ucf50"))
    where = tmp_path / "nowhere"
    assert str(caught.value) == (
        f"ACTIONREC_MIRROR is {where}, but {where}/UCF50.rar does not exist. Correct the path: it must be a RAR or ZIP archive, or "
        "a folder with an archive of that name."
    )


def test_a_mirror_that_is_unpacked_already_gets_the_command_to_link_it(sources, tmp_path, monkeypatch):
    (tmp_path / "UCF50" / "Run").mkdir(parents=True)
    (tmp_path / "UCF50" / "Run" / "a.avi").touch()
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "UCF50"))
    with pytest.raises(DataError, match=r"ln -s .*/UCF50 data/raw/UCF-50, and set data.dataset to UCF-50\.$"):
        fetch_published(sources["ucf50"], raw("ucf50"))


def test_a_host_that_cannot_be_reached_leads_to_the_mirror(sources, host):
    del host.files["UCF50.rar"]
    with pytest.raises(DownloadError) as caught:
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert "404" in str(caught.value)
    assert str(caught.value).endswith(
        "UCF-50 is described at https://www.crcv.ucf.edu/data/UCF50.php. If you have the archive, or know a mirror, set "
        "ACTIONREC_MIRROR to its path or address: ACTIONREC_MIRROR=/path/to/UCF50.rar"
    )


def test_a_data_set_that_is_there_is_kept_and_only_checked(sources, host, caplog):
    fetch_published(sources["ucf50"], raw("ucf50"))
    clip = raw("ucf50") / "YoYo" / "v_YoYo_g01_c01.avi"
    clip.unlink()
    before = {path: path.stat().st_mtime_ns for path in raw("ucf50").rglob("*")}
    host.asked.clear()
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert host.asked == []
    assert {path: path.stat().st_mtime_ns for path in raw("ucf50").rglob("*")} == before
    assert "other numbers of clips in 1 classes: YoYo 6 (not 7)" in caplog.text


def test_a_link_to_a_copy_is_kept_and_only_checked(sources, host, tmp_path):
    fetch_published(sources["ucf50"], tmp_path / "copy")
    host.asked.clear()
    raw("ucf50").parent.mkdir(parents=True)
    raw("ucf50").symlink_to(tmp_path / "copy")
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert raw("ucf50").readlink() == tmp_path / "copy"
    assert host.asked == []


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_something_else_is_refused_and_kept(there, sources, tmp_path):
    if there:
        (tmp_path / "thesis").mkdir()
    raw("ucf50").parent.mkdir(parents=True)
    raw("ucf50").symlink_to(tmp_path / "thesis")
    with pytest.raises(DataError) as caught:
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert str(caught.value) == (
        f"data/raw/ucf50 (a symlink to {tmp_path}/thesis) contains no clips in class folders. Remove it to fetch UCF-50."
    )
    assert raw("ucf50").is_symlink()


def test_a_folder_of_something_else_is_refused_and_kept(sources):
    raw("ucf50").mkdir(parents=True)
    (raw("ucf50") / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="contains no clips in class folders"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert (raw("ucf50") / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(sources):
    raw("ucf50").mkdir(parents=True)
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert len(find_clips(raw("ucf50"))) == 21


def test_a_half_unpacked_set_is_never_taken_for_a_whole_one(sources, monkeypatch):
    """Unpacking is cut off after some files: nothing is where the data set would be."""

    def half(archive, folder):
        (folder / "UCF50" / "YoYo").mkdir(parents=True)
        (folder / "UCF50" / "YoYo" / "v_YoYo_g01_c01.avi").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives, "unpack", half)
        with pytest.raises(KeyboardInterrupt):
            fetch_published(sources["ucf50"], raw("ucf50"))
    assert not raw("ucf50").exists()
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert len(find_clips(raw("ucf50"))) == 21


def test_room_for_archive_and_clips_is_looked_for_before_the_download(sources, monkeypatch):
    size = 100_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": size}))
    with pytest.raises(DownloadError, match=r"the rest of UCF50.rar, with its unpacked contents, takes .* GB, but .* GB free"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    assert list(paths.DOWNLOADS.iterdir()) == []


def test_folders_of_other_systems_are_skipped(sources, host):
    host.files["UCF50.rar"] = rar(
        {
            "a/UCF50/Run/a.avi": b"a",
            "a/UCF50/Sit/b.avi": b"b",
            "a/__MACOSX/UCF50/Run/._a.avi": b"x",
            "a/UCF50/Run/.hidden.avi": b"x",
        }
    )
    source = dataclasses.replace(sources["ucf50"], clips=dataclasses.replace(sources["ucf50"].clips, bytes=None))
    fetch_published(source, raw("ucf50"))
    assert sorted(path.relative_to(raw("ucf50")).as_posix() for path in raw("ucf50").rglob("*.avi")) == ["Run/a.avi", "Sit/b.avi"]


def test_an_archive_of_something_else_is_refused(sources, host):
    host.files["UCF50.rar"] = rar({"papers/readme.pdf": b"a"})
    source = dataclasses.replace(sources["ucf50"], clips=dataclasses.replace(sources["ucf50"].clips, bytes=None))
    with pytest.raises(DataError, match=r"contains no clips in class folders\. Check that it is the right archive"):
        fetch_published(source, raw("ucf50"))
    assert not raw("ucf50").exists()


def test_ucf50_s_counts_add_up():
    assert (len(ucf50.CLASS_CLIPS), sum(ucf50.CLASS_CLIPS.values())) == (50, 6681)
    assert [source.total_clips for source in (ucf50.SOURCE, ucf101.SOURCE, hmdb51.SOURCE)] == [6681, 9537 + 3783, 6766]


@pytest.mark.parametrize("name", ["ucf50", "ucf101", "hmdb51"])
def test_the_stage_fetches_the_data_set_of_params_yaml(name, sources, monkeypatch):
    monkeypatch.setattr(f"actionrec.data.datasets.{name}.fetch", partial(fetch_published, sources[name]))
    Path("params.yaml").write_text(f"data: {{dataset: {name}, group: null}}\n")
    fetch.main()
    assert len(find_clips(raw(name))) > 17
    assert [path.name for path in paths.RAW.iterdir()] == [name]


def test_the_hash_is_enforced_whatever_name_the_archive_comes_under(sources, host, tmp_path, monkeypatch):
    fetch_published(sources["ucf50"], raw("ucf50"))
    shutil.rmtree(raw("ucf50"))
    (tmp_path / "mine.rar").write_bytes(rar({"UCF50/Run/a.avi": b"another"}))
    monkeypatch.setenv(published.MIRROR, str(tmp_path / "mine.rar"))
    with pytest.raises(DataError, match=r"mine.rar: SHA-256 differs"):
        fetch_published(sources["ucf50"], raw("ucf50"))


def test_two_sets_from_archives_of_one_name_are_not_mixed_up(sources, host, monkeypatch):
    host.files |= {"a/archive.rar": host.files["UCF50.rar"], "b/archive.rar": host.files["hmdb51_org.rar"]}
    for folder, name in (("a", "ucf50"), ("b", "hmdb51")):
        monkeypatch.setenv(published.MIRROR, f"{host.url}/{folder}/archive.rar")
        fetch_published(sources[name], raw(name))
    assert {path.name for path in raw("ucf50").iterdir()} == {"Billiards", "PullUps", "YoYo"}
    assert set(lookalikes.HMDB51_CLASSES) <= {path.name for path in raw("hmdb51").iterdir()}


def test_a_damaged_download_is_removed(sources, host):
    right = host.files["UCF50.rar"]
    host.files["UCF50.rar"] = b"please log in"
    with pytest.raises(DataError, match="neither a RAR nor a ZIP"):
        fetch_published(sources["ucf50"], raw("ucf50"))
    host.files["UCF50.rar"] = right
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert len(find_clips(raw("ucf50"))) == 21


def test_a_mirror_s_address_may_have_a_query(sources, host, monkeypatch):
    host.files["x/UCF50.rar?download=1"] = host.files["UCF50.rar"]
    monkeypatch.setenv(published.MIRROR, f"{host.url}/x/UCF50.rar?download=1")
    fetch_published(sources["ucf50"], raw("ucf50"))
    assert asked(host) == ["/x/UCF50.rar?download=1"]


def test_lists_that_a_mirror_lacks_come_from_their_host(sources, host, monkeypatch):
    host.files["x/UCF101.rar"] = host.files["UCF101.rar"]
    monkeypatch.setenv(published.MIRROR, f"{host.url}/x/UCF101.rar")
    fetch_published(sources["ucf101"], raw("ucf101"))
    assert asked(host)[-1] == "/UCF101TrainTestSplits-RecognitionTask.zip"
    assert official_splits.list_numbers(raw("ucf101")) == [1, 2, 3]


def test_a_copy_without_its_lists_gets_one_warning(sources, host, films, caplog):
    fetch_published(sources["ucf101"], raw("ucf101"))
    shutil.rmtree(raw("ucf101") / "ucfTrainTestlist")
    fetch_published(sources["ucf101"], raw("ucf101"))
    assert warnings(caplog) == [
        "data/raw/ucf101 differs from the published UCF-101: the official lists are missing (unpack "
        "UCF101TrainTestSplits-RecognitionTask.zip into data/raw/ucf101/ucfTrainTestlist)"
    ]


@pytest.mark.parametrize("mark", [" ", "*"])
def test_every_form_of_sha256sum_is_enforced(sources, mark):
    paths.ARCHIVES.parent.mkdir(exist_ok=True)
    paths.ARCHIVES.write_text(f"{'ab' * 32} {mark}UCF50.rar\n")
    with pytest.raises(DataError, match=rf"expected {'ab' * 32} \(data/archives\.sha256\)"):
        fetch_published(sources["ucf50"], raw("ucf50"))


def test_a_record_that_cannot_be_read_is_refused(sources):
    paths.ARCHIVES.parent.mkdir(exist_ok=True)
    paths.ARCHIVES.write_text("UCF50.rar is fine\n")
    with pytest.raises(DataError, match=r"line 1: got 'UCF50.rar is fine', expected `<SHA-256>  <file>`"):
        fetch_published(sources["ucf50"], raw("ucf50"))


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
