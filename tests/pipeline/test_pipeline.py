"""The pipeline itself: what its stages declare, and real runs of the whole DAG in a temporary project."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lookalikes
import pytest
from declared import covers, declared_code, is_empty, is_plumbing
from dvc.repo import Repo
from fabricate import BASELINES
from projects import edit_params, ran, run
from ruamel.yaml import YAML

from actionrec.data import archives
from actionrec.models import MODELS

ROOT = Path(__file__).parents[2]
TRAINS = {f"train@{name}" for name in MODELS}
RECURRENT = {f"train@{name}" for name in ("bilstm", "gru", "gru_attention", "lstm", "simple_rnn", "stacked_lstm")}


def changed(project: Path) -> set[str]:
    """Stages that `dvc status` finds changed."""
    return set(json.loads(run("dvc", "status", "--json", cwd=project)))


STAGES = Repo(ROOT).index.stages


@pytest.fixture
def project(finished_copy):
    return finished_copy


@pytest.mark.slow
def test_repro_makes_all_that_the_contract_names(finished):
    project, printed, _ = finished
    before = {"check", "fetch", "weights", "split", "extract_frames", "finetune", "resnet_features"}
    assert ran(printed) == {*before, *TRAINS, "audit", "clip_cost", "compare", "package"}
    files = {
        "data/clips.csv",
        "data/split.csv",
        "data/other_folds.csv",
        "data/tar_members.csv",
        "data/clip_seconds.csv",
        "data/frames/ledger.csv",
        "data/backbone/backbone.json",
        "metrics/extract_frames.json",
        "metrics/finetune.json",
        "metrics/finetune_timing.json",
        "metrics/audit.json",
        "metrics/clip_cost.json",
        "metrics/clip_timing.json",
        "metrics/compare.json",
        "metrics/curves.csv",
        "metrics/details.md",
        "metrics/per_class.csv",
        "metrics/report.md",
        "metrics/results_table.csv",
        "metrics/results_table.tex",
        "metrics/suspect_labels.csv",
        "plots/model_comparison.png",
        "plots/all_models_grid.png",
        "plots/risk_coverage.png",
        *(f"data/models/{name}/{file}" for name in MODELS for file in ("model.safetensors", "model.json")),
        *(f"data/best/{file}" for file in ("model.safetensors", "model.json", "README.md")),
        *(f"metrics/cards/{name}.md" for name in (*MODELS, "DATASET")),
        *(f"data/predictions/{name}.npz" for name in MODELS),
        *(f"metrics/{name}/{file}.json" for name in MODELS for file in ("metrics", "timing")),
        *(f"plots/{name}_{picture}.png" for name in MODELS for picture in ("curves", "confusion")),
    }
    assert {file for file in files if not (project / file).is_file()} == set()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_declares_every_file_that_its_processes_imported(finished, stage):
    files = (finished[2] / stage.name).read_text().splitlines()
    imported = {file for file in files if file.startswith(("actionrec/", "stages/"))}
    assert stage.cmd.split()[2].replace(".", "/") + ".py" in imported
    code = {file for file in imported if not is_plumbing(file) and not is_empty(ROOT / file)}
    assert {file for file in code if not covers(declared_code(stage), file)} == set()


@pytest.mark.slow
def test_repro_again_does_nothing(finished):
    assert "up to date" in run("dvc", "repro", cwd=finished[0])
    assert changed(finished[0]) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"seed": 1}, {"split", "finetune", *TRAINS, "package"}),
        ({"split.protocol": "random"}, {"split", "finetune", *TRAINS}),
        ({"split.fold": 1}, {"split", "finetune", *TRAINS}),
        ({"evaluation.folds": "all"}, {"split"}),
        ({"compare.margin": 0.05}, {"compare"}),
        ({"frames.count": 4}, {"extract_frames", "clip_cost"}),
        ({"features.precision": "bf16"}, {"finetune", "resnet_features", "clip_cost"}),
        ({"features.backbone": "resnet34"}, {"weights", "finetune", "resnet_features", "clip_cost"}),
        ({"finetune.epochs": 1}, {"finetune"}),
        ({"train.epochs": 3}, {*TRAINS, "package"}),
        ({"model.dropout": 0.1}, {*TRAINS, "package"} - {f"train@{name}" for name in BASELINES}),
        ({"model.hidden_dim": 8}, {*RECURRENT, "package"}),
        ({"models.transformer.ff_dim": 16}, {"train@transformer", "package"}),
        ({"models.stacked_lstm.num_layers": 3}, {"train@stacked_lstm", "package"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_parameter_reruns_only_what_reads_it(project, change, stages):
    edit_params(project, change)
    assert changed(project) == {"check", *stages}


@pytest.mark.slow
def test_a_new_fold_computes_features_again_only_with_a_tuned_backbone(project):
    def rerun(change: dict[str, object]) -> set[str]:
        edit_params(project, change)
        return ran(run("dvc", "repro", "resnet_features", cwd=project))

    new_fold = {"check", "split", "finetune"}
    assert rerun({"split.fold": 1}) == new_fold
    tuned = {"finetune.epochs": 1, "finetune.segments": 2, "finetune.flip": False}
    assert rerun(tuned) == {"check", "finetune", "resnet_features"}
    assert rerun({"split.fold": 2}) == {*new_fold, "resnet_features"}


@pytest.mark.slow
def test_editing_one_models_file_retrains_that_model_alone(project):
    with (project / "actionrec/models/gru.py").open("a") as stream:
        stream.write("\n# changed\n")
    assert changed(project) == {"check", "train@gru", "package"}  # check and package read all models' parameters


@pytest.mark.slow
def test_a_sweep_runs_from_the_queue_and_its_result_is_a_row_a_value(project):
    run("dvc", "exp", "run", "--queue", "-S", "models.transformer.ff_dim=8,16", cwd=project)
    run("dvc", "queue", "start", cwd=project)
    for _ in range(240):
        if "Running" not in (status := run("dvc", "queue", "status", cwd=project)) and "Queued" not in status:
            break
        time.sleep(1)
    assert status.count("Success") == 2, status
    wanted = "Experiment|.*ff_dim|transformer"
    shown = run("dvc", "exp", "show", "--csv", "--drop", ".*", "--keep", wanted, cwd=project)
    rows = [row for row in csv.DictReader(shown.splitlines()) if row.get("Experiment")]
    assert {row["models.transformer.ff_dim"] for row in rows} == {"8", "16"}
    assert all(0 <= float(row["transformer"]) <= 1 for row in rows)

    [command] = re.findall(r"^\$ (dvc exp show .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    sequence_models = [name for name in MODELS if name not in BASELINES]
    everything = f"dvc exp show --drop '.*' --keep 'Experiment|best|{'|'.join(sequence_models)}|models.transformer.ff_dim'"
    for shown, columns, most in ((command, ["transformer"], 160), (everything, sequence_models, 180)):
        table = run("sh", "-c", shown, cwd=project)
        assert all(name in table for name in (*columns, "models.transformer.ff_dim")), table
        assert max(len(line.rstrip()) for line in table.splitlines()) <= most, table


@pytest.mark.slow
def test_a_forced_rerun_gives_the_same_bytes(project):
    before, drawn = (project / "dvc.lock").read_text(), pictures(project)
    shutil.rmtree(project / ".work")  # or finished shards and trainings would be taken from there
    assert len(ran(run("dvc", "repro", "-f", cwd=project))) == len(STAGES)
    assert without_timings((project / "dvc.lock").read_text()) == without_timings(before)
    assert pictures(project) == drawn


def pictures(project: Path) -> dict[str, bytes]:
    """The charts that show no timings."""
    timed = {"model_comparison.png", "accuracy_against_cost.png"}
    return {path.name: path.read_bytes() for path in (project / "plots").glob("*.png") if path.name not in timed}


def without_timings(text: str) -> dict[str, dict[str, str]]:
    """Stage -> output -> hash, without the timing files and what shows them."""
    shown = ("timing.json", "report.md", "details.md", "results_table.csv", "results_table.tex", "plots")
    stages = YAML(typ="safe").load(text)["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage["outs"] if not out["path"].endswith(shown)}
        for name, stage in stages.items()
    }


@pytest.mark.slow
def test_real_clips_among_damaged_ones_run_to_the_end(project, shared):
    mixed = project / "data" / "raw" / "mixed"
    for folder in ("Fight", "NoFight"):
        (mixed / folder).parent.mkdir(exist_ok=True)
        (mixed / folder).symlink_to((shared / "data/real_clips" / folder).resolve())
    (mixed / "Odd").mkdir()
    for file in (shared / "data/broken").resolve().iterdir():
        if file.suffix in (".avi", ".mp4", ".mov", ".mkv"):
            (mixed / "Odd" / file.name).symlink_to(file)
    edit_params(
        project,
        {
            "data.dataset": "mixed",
            "features.backbone": "mobilenet_v2",
            "features.weights": str((shared / "weights/mobilenet_v2_imagenet.safetensors").resolve()),
            "frames.max_failed": 0.02,
        },
    )
    refused = subprocess.run(("dvc", "repro"), cwd=project, text=True, capture_output=True, check=False)
    assert refused.returncode != 0
    assert "Odd/empty.avi: the file is empty" in refused.stdout + refused.stderr
    assert "raise frames.max_failed" in refused.stdout + refused.stderr

    edit_params(project, {"frames.max_failed": 0.2})
    assert "train@gru" in ran(run("dvc", "repro", "train@gru", cwd=project))
    counts = json.loads((project / "metrics/extract_frames.json").read_text())
    assert counts["failed"] >= 6
    assert counts["clips"] == counts["decoded"] + counts["failed"] == len([*mixed.glob("*/*.*")])
    bundle = (project / "data/models/gru/model.json").read_text()
    assert json.loads(bundle)["features"]["backbone"] == "mobilenet_v2"
    assert "/weights/" not in bundle  # no path of a machine in results


needs_unpacker = pytest.mark.skipif(
    not archives.installed(),
    reason=f"no program that unpacks RAR is installed. {archives.INSTALL}",
)


@pytest.fixture
def mirror(host, tmp_path):
    """The address of look-alikes of the published data sets."""
    lookalikes.publish(host, tmp_path)
    return host.url


@pytest.mark.slow
@needs_unpacker
def test_an_experiment_with_a_published_data_set_fetches_it_and_no_other(project, mirror, host):
    settings = {"ACTIONREC_MIRROR": mirror}
    printed = run("dvc", "exp", "run", "-S", "data.dataset=ucf50", "extract_frames", cwd=project, **settings)
    assert ran(printed) == {"check", "fetch", "split", "extract_frames"}
    assert [path for path, _ in host.asked] == ["/UCF50.rar"]
    assert (project / "data/archives.sha256").read_text().endswith("  UCF50.rar\n")
    assert "data/raw/ucf50" not in run("git", "status", "--porcelain", "--untracked-files=all", cwd=project)

    # Other code for fetching, as with a newer version: what is there is checked and kept.
    with (project / "actionrec/data/download.py").open("a") as stream:
        stream.write("\n# changed\n")
    clip = project / "data/raw/ucf50/YoYo/v_YoYo_g01_c01.avi"
    contents = clip.read_bytes()
    assert "already exists and is kept" in run("dvc", "repro", "fetch", cwd=project, **settings)
    assert clip.read_bytes() == contents
    assert len(host.asked) == 1


@pytest.mark.slow
@needs_unpacker
def test_official_lists_are_the_split_of_a_fetched_data_set(project, mirror):
    edit_params(project, {"data.dataset": "ucf101", "split.protocol": "official", "split.fold": 2})
    run("dvc", "repro", "split", cwd=project, ACTIONREC_MIRROR=mirror)
    with (project / "data/split.csv").open(newline="") as stream:
        subsets = {row["clip"]: row["subset"] for row in csv.DictReader(stream)}
    tested = {clip for clip, subset in subsets.items() if subset == "test"}
    assert tested == {clip for clip in subsets if "_g02_" in clip or "_g05_" in clip}


@pytest.mark.slow
@needs_unpacker
def test_clips_that_an_official_list_leaves_out_are_neither_trained_on_nor_tested(project, mirror):
    edit_params(project, {"data.dataset": "hmdb51", "split.protocol": "official", "split.fold": 1, "split.validation": 0})
    run("dvc", "repro", "train@gru", cwd=project, ACTIONREC_MIRROR=mirror)
    counts = json.loads((project / "metrics/gru/metrics.json").read_text())
    assert (counts["train_clips"], counts["val_clips"], counts["test_clips"]) == (12, 0, 3)
    assert json.loads((project / "metrics/split.json").read_text())["unused_clips"] == 3
    assert json.loads((project / "metrics/extract_frames.json").read_text())["clips"] == 18


@pytest.mark.slow
def test_clips_in_a_layout_of_ones_own_run_by_a_list_beside_them(project, tiny_clips):
    mine = project / "data/raw/mine"
    mine.mkdir()
    rows = ["clip,label,group,subset"]
    for number, clip in enumerate(sorted(tiny_clips.rglob("*.avi"))):
        shutil.copy(clip, mine / f"{number}.avi")
        person = clip.name.split("_")[2]
        rows.append(f"{number}.avi,{clip.parent.name},{person},{'test' if person == 'g06' else 'train'}")
    (mine / "clips.csv").write_text("\n".join(rows) + "\n")
    edit_params(project, {"data.dataset": "mine", "split.protocol": "official", "split.fold": 1})
    run("dvc", "repro", "extract_frames", cwd=project)
    summary = json.loads((project / "metrics/split.json").read_text())
    assert (summary["test_clips"], summary["clips_without_group"], summary["groups"]) == (3, 0, 6)


@pytest.mark.slow
@pytest.mark.parametrize("subset", ["val", "test"])
def test_a_trained_model_is_evaluated_to_the_last_digit_of_its_training(finished: tuple[Path, str, Path], subset: str) -> None:
    project = finished[0]
    recorded = json.loads((project / "metrics/swin_transformer/metrics.json").read_text())
    command = (sys.executable, "-m", "actionrec", "evaluate", "--model", "swin_transformer", "--subset", subset, "--json")
    printed = run(*command, cwd=project)
    found, _ = json.JSONDecoder().raw_decode(printed)
    assert {key: found[key] for key in ("top1", "top5", "mean_class", "loss")} == {
        key: recorded[f"{subset}_{key}"] for key in ("top1", "top5", "mean_class", "loss")
    }
    assert "another number" not in printed


@pytest.mark.slow
def test_the_best_model_predicts_a_clip(finished: tuple[Path, str, Path]) -> None:
    project = finished[0]
    found = json.loads(
        run(sys.executable, "-m", "actionrec", "predict", "data/raw/tiny/Dark/v_Dark_g01_c01.avi", "--json", cwd=project)
    )
    assert found["model"] == json.loads((project / "metrics/compare.json").read_text())["best"]
    assert {one["label"] for one in found["top"]} == {"Bright", "Dark", "Striped"}


def readme_commands() -> list[str]:
    """The README's own commands: all lines of its `sh` blocks, but `make test`, which this is a part of."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and line != "make test"]


@pytest.mark.slow
def test_the_readmes_commands_run(project):
    commands = readme_commands()
    assert {"make repro", "dvc metrics show metrics/*/metrics.json"} <= set(commands)
    for command in commands:
        printed = run("sh", "-c", command, cwd=project, VENV=sys.prefix)
        assert printed.strip(), command
        if command == "dvc exp run -S model.hidden_dim=256":
            assert ran(printed) == {"check", *RECURRENT, "compare", "package"}
        if command == "dvc metrics diff":
            assert "metrics/summary.json" in run("dvc", "metrics", "diff", "--all", cwd=project)


def test_the_readmes_dag_is_the_one_that_dvc_draws():
    assert run("dvc", "dag", "--md", cwd=ROOT).strip() in (ROOT / "README.md").read_text()


def test_the_committed_lock_is_current(tmp_path):
    """A fresh clone without data has nothing to run: code, parameters and dvc.lock belong together."""
    run("git", "clone", "-q", str(ROOT), str(tmp_path / "clone"), cwd=tmp_path)
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "clone" / name)
    assert ran(run("dvc", "repro", "--allow-missing", "--dry", cwd=tmp_path / "clone")) == set()
