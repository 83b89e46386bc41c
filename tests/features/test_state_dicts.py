import pickle
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from actionrec.core.errors import WeightsError
from actionrec.features import state_dicts
from actionrec.models import create_model


@pytest.fixture
def state():
    torch.manual_seed(0)
    return {name: tensor.clone() for name, tensor in small().state_dict().items()}


def save(path, state, **options):
    """Save a state dict in the format of the file's suffix."""
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(state, path, **options)
    return path


def rejection(path):
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises users to disable this protection
    return str(caught.value)


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".tar"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path, state, suffix):
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}  # DataParallel's prefix
    assert same(state_dicts.read_file(save(tmp_path / f"some{suffix}", state)), state)
    assert same(state_dicts.read_file(save(tmp_path / f"parallel{suffix}", parallel)), state)


def test_torchs_older_format_is_read(tmp_path, state):
    assert same(state_dicts.read_file(save(tmp_path / "old.pth", state, _use_new_zipfile_serialization=False)), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_found_inside_a_checkpoint(tmp_path, state, wrapper):
    optimiser = torch.optim.Adam(small().parameters())
    torch.save({"epoch": 3, "optimizer_state_dict": optimiser.state_dict(), wrapper: state, "loss": 0.5}, tmp_path / "a.pth")
    assert same(state_dicts.read_file(tmp_path / "a.pth"), state)


def test_a_missing_file_and_a_git_lfs_pointer_are_reported(tmp_path):
    path = tmp_path / "a.pth"
    assert rejection(path) == f"{path}: the weights file does not exist."
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 97781949\n")
    assert rejection(path) == f"{path} is a Git LFS pointer, not weights. Fetch the file itself: `git lfs pull`."


class Executes:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_rejected_and_does_not_run(tmp_path, state, zipped):
    ran = tmp_path / "ran"
    path = save(tmp_path / "a.pth", {**state, "x": Executes(ran)}, _use_new_zipfile_serialization=zipped)
    message = rejection(path)
    assert not ran.exists()
    assert message.startswith(f"{path} contains other objects than tensors (")
    assert message.endswith(") and is not loaded, since that could run code. Save only its state dict, as .safetensors or .pth.")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "contents",
    [lambda ran: pickle.dumps(Executes(ran)), lambda ran: b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."],
    ids=["code", "deeply nested"],
)
def test_a_plain_pickle_is_rejected(tmp_path, contents):
    (tmp_path / "a.pth").write_bytes(contents(tmp_path / "ran"))
    rejection(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], 7, {"a": 1}, {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}}])
def test_a_file_without_a_state_dict_is_rejected(tmp_path, content):
    path = save(tmp_path / "a.pth", content)
    kind = type(content).__name__
    assert rejection(path) == f"{path}: got a {kind}, expected a state dict of named tensors. Save its state dict."


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [".safetensors", ".pth", "old.pth"])
def test_damage_of_any_kind_is_a_clear_error_or_harmless(tmp_path, state, kind):
    """Files cut short, with wrong bytes near the start, or of noise alone never end in another exception."""
    options = {"_use_new_zipfile_serialization": False} if kind == "old.pth" else {}
    path = save(tmp_path / f"some{kind}", state, **options)
    whole, dice, rejected = path.read_bytes(), random.Random(0), []
    for case in range(150):
        damaged = bytearray(whole)
        if case % 3 == 0:
            damaged = damaged[: dice.randrange(len(damaged))]
        elif case % 3 == 1:
            for _ in range(5):
                damaged[dice.randrange(min(len(damaged), 800))] = dice.randrange(256)
        else:
            damaged = bytearray(dice.randbytes(dice.randrange(300)))
        path.write_bytes(damaged)
        try:
            state_dicts.read_file(path)
        except WeightsError as error:
            rejected.append(str(error))
    assert len(rejected) > 50
    assert not any("\n" in message for message in rejected)


def test_numbers_of_another_precision_are_converted_and_a_counter_may_be_missing(state):
    network = small()
    del state["1.num_batches_tracked"]  # inference does not read it
    state_dicts.load_state(network, {name: tensor.half() for name, tensor in state.items()}, "x")
    assert network[0].weight.dtype == torch.float32
    torch.testing.assert_close(network[0].weight.data, state["0.weight"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0.bias": None, "fc.bias": torch.zeros(2), "3.bias": torch.zeros(5), "3.weight": torch.zeros(1)},
            "0.bias is missing; fc.bias is unexpected; 3.weight has shape (1,), expected (2, 16) and 1 more.",
        ),
        ({"3.bias": torch.zeros(5)}, "3.bias has shape (5,), expected (2,)."),
        ({"3.bias": torch.tensor([0, torch.nan])}, "3.bias holds numbers that are not finite."),
        ({"1.running_var": torch.tensor([1, 1, 1, torch.inf])}, "1.running_var holds numbers that are not finite."),
        ({"3.weight": torch.zeros(2, 16, dtype=torch.int8)}, "3.weight has numbers of type int8, expected float32."),
        (
            {"3.weight": torch.full((2, 16), 1e300, dtype=torch.float64)},
            "3.weight holds numbers that are too large for float32.",
        ),
        ({"\x1b[31m\n" + "x" * 10**6: torch.zeros(1)}, f"\\x1b[31m\\n{'x' * 70}... is unexpected."),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(state, change, message):
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wrong = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    with pytest.raises(WeightsError) as caught:
        state_dicts.load_state(network, wrong, "x")
    assert str(caught.value) == f"x does not fit: {message}"
    assert same(network.state_dict(), before)


def test_mnasnet_which_requires_the_version_of_its_layout_is_loaded():
    first, second = (torchvision.models.mnasnet0_5(weights=None) for _ in range(2))
    state_dicts.load_state(second, {name: tensor.clone() for name, tensor in first.state_dict().items()}, "x")
    assert same(second.state_dict(), first.state_dict())


def test_the_hash_is_of_names_shapes_types_and_values():
    def digest(**layers):
        torch.manual_seed(0)
        return state_dicts.state_sha256(nn.ModuleDict({name: build() for name, build in layers.items()}))

    def linear():
        return nn.Linear(2, 3)

    assert digest(a=linear) == digest(a=linear)
    assert len(digest(a=linear)) == 64
    others = {digest(b=linear), digest(a=lambda: nn.Linear(3, 2)), digest(a=lambda: linear().double()), digest(a=linear, c=linear)}
    assert len(others | {digest(a=linear)}) == 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: torch.zeros(1).expand(2, 16), "has shape (2, 16) but stores fewer numbers"),
        (lambda: torch.zeros(1).expand(10**7, 10**7), "has shape (10000000, 10000000) but stores fewer numbers"),
        (lambda: torch.zeros(20).as_strided((2, 16), (1, 1)), "has shape (2, 16) but stores fewer numbers"),
        (lambda: torch.zeros(2, 16).to_sparse(), "is stored as sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2, 16), 0.1, 0, torch.qint8), "is quantised"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "is a nested tensor"),
        (lambda: torch.zeros(2, 16, device="meta"), "has a shape but no values (meta)"),
        (lambda: torch.zeros(2, 16, dtype=torch.complex64), "has numbers of type complex64"),
        (lambda: torch.zeros(2, 16).to(torch.float8_e4m3fn), "has numbers of type float8_e4m3fn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_that_does_not_have_plain_numbers_is_rejected_by_name(tmp_path, state, build, why):
    path = save(tmp_path / "a.pth", {**state, "3.weight": build()})
    assert rejection(path) == f"{path}: 3.weight {why}. Save plain tensors of floating-point numbers."


def test_tensors_that_share_memory_are_rejected(tmp_path):
    shared = torch.zeros(1_000)
    path = save(tmp_path / "a.pth", {f"layer{number}": shared for number in range(100)})
    assert rejection(path).endswith("but its tensors have 400,000: some share memory. Save copies of them.")


def test_a_zip_bomb_is_rejected(tmp_path, state):
    save(tmp_path / "plain.pth", state)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in plain.namelist():
            bomb.writestr(member, plain.read(member))
        bomb.writestr("archive/data/99", bytes(10 << 20))
    assert "a.pth unpacks to 10,4" in rejection(tmp_path / "a.pth")


def test_a_file_of_very_many_tensors_is_rejected(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for number in range(10_001):
            archive.writestr(f"archive/data/{number}", b"")
    assert rejection(tmp_path / "a.pth") == f"{tmp_path}/a.pth has 10,001 members; expected at most 10,000 tensors."


STUDY = [("simple_rnn", "rnn"), ("lstm", "lstm"), ("gru", "gru"), ("bilstm", "lstm"), ("stacked_lstm", "lstm")]


@pytest.mark.parametrize(("name", "layer"), STUDY)
def test_a_checkpoint_of_the_study_loads_into_the_matching_model(tmp_path, name, layer):
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    is_bidirectional = name == "bilstm"
    recurrent = kinds[layer](8, 6, num_layers=1 + (name == "stacked_lstm"), batch_first=True, bidirectional=is_bidirectional)
    study = nn.ModuleDict({layer: recurrent, "fc": nn.Linear(12 if is_bidirectional else 6, 3)})
    torch.save({"epoch": 12, "model_state_dict": study.state_dict(), "val_acc": 97.2}, tmp_path / "best.pth")
    model = create_model(name, {"hidden_dim": 6}, feature_dim=8, class_count=3).eval()
    state_dicts.load_state(model, state_dicts.read_file(tmp_path / "best.pth"), "best.pth")
    features = torch.randn(2, 5, 8)
    if not is_bidirectional:  # the study reads its backward direction after one frame
        torch.testing.assert_close(model(features), study["fc"](recurrent(features)[0][:, -1]))
    assert same(model.state_dict(), study.state_dict())


@pytest.mark.parametrize("content", [small(), {"model": {"a": torch.zeros(1)}, "val_acc": np.float64(97.2)}])
def test_other_objects_than_tensors_are_rejected(tmp_path, content):
    assert "contains other objects than tensors (" in rejection(save(tmp_path / "a.pth", content))


def test_no_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"\x80\x02cevil_module\nThing\n.")
    rejection(tmp_path / "a.pth")
    assert "evil_module" not in sys.modules
