"""Your own clips: used where they are, or linked to, and never changed."""

from pathlib import Path

import pytest

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data import own_clips
from stages import fetch

MINE = paths.RAW / "mine"


@pytest.fixture(autouse=True)
def in_project(project, monkeypatch):
    monkeypatch.delenv(own_clips.FOLDERS, raising=False)
    paths.RAW.mkdir(parents=True)
    Path("params.yaml").write_text("data: {dataset: mine, group: null}\n")


def clips(folder):
    (folder / "Jump").mkdir(parents=True)
    (folder / "Jump" / "a.avi").write_bytes(b"clip")
    return folder


def test_a_folder_is_used_as_it_is_even_if_the_variable_names_another(tmp_path, monkeypatch):
    monkeypatch.setenv(own_clips.FOLDERS, str(tmp_path / "sets"))
    clips(tmp_path / "sets" / "mine")
    clips(MINE)
    fetch.main()
    assert not MINE.is_symlink()
    assert (MINE / "Jump" / "a.avi").read_bytes() == b"clip"


def test_a_link_is_left_as_it_is(tmp_path):
    MINE.symlink_to(clips(tmp_path / "elsewhere"))
    fetch.main()
    assert MINE.readlink() == tmp_path / "elsewhere"


@pytest.mark.parametrize("name", ["mine", "ucf50"])  # a published data set is not downloaded then
def test_a_data_set_in_the_folder_that_the_variable_names_is_linked_to(name, tmp_path, monkeypatch):
    monkeypatch.setenv(own_clips.FOLDERS, str(tmp_path / "sets"))
    clips(tmp_path / "sets" / name)
    Path("params.yaml").write_text(f"data: {{dataset: {name}, group: null}}\n")
    fetch.main()
    assert (paths.RAW / name).readlink() == tmp_path / "sets" / name


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_an_experiment_in_a_copy_of_the_project_finds_the_projects_clips(kind, tmp_path, monkeypatch):
    there = clips(tmp_path / "elsewhere" if kind == "link" else Path.cwd() / MINE)
    if kind == "link":
        MINE.symlink_to(there)
    workspace = tmp_path / ".dvc/tmp/exps/standalone/tmpabc"
    workspace.mkdir(parents=True)
    (workspace / "params.yaml").write_text("data: {dataset: mine, group: null}\n")
    monkeypatch.chdir(workspace)
    fetch.main()
    assert (workspace / MINE).readlink() == there


def test_a_missing_set_is_named_with_what_to_do():
    with pytest.raises(DataError) as caught:
        fetch.main()
    assert str(caught.value) == (
        "data/raw/mine (data.dataset in params.yaml) is missing. Put your clips there, or link to them: "
        "`ln -s /path/to/clips data/raw/mine`. If your data sets are in another folder, set ACTIONREC_DATA to that folder. "
        "Without the clips, `dvc pull` and then `dvc repro --allow-missing` run the stages that do not read them. "
        "Data sets that can be fetched: hmdb51, sample, ucf101, ucf50."
    )


def test_a_link_that_leads_nowhere_is_named_with_its_target(tmp_path):
    MINE.symlink_to(tmp_path / "unmounted")
    with pytest.raises(DataError) as caught:
        fetch.main()
    assert str(caught.value) == (
        f"data/raw/mine is a symlink to {tmp_path}/unmounted, which is not a folder. Correct the symlink, or mount its target."
    )
    assert MINE.is_symlink()


def test_a_file_in_place_of_the_folder_is_refused():
    MINE.write_bytes(b"zip")
    with pytest.raises(DataError, match="data/raw/mine is a file; expected a folder with one folder per class"):
        fetch.main()
