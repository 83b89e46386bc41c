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


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".tar"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path, state, suffix):
    path = tmp_path / f"some{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, path)
    assert same(state_dicts.read_file(path), state)


def test_torchs_older_format_is_read(tmp_path, state):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(state_dicts.read_file(tmp_path / "old.pth"), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_found_inside_a_checkpoint(tmp_path, state, wrapper):
    optimiser = torch.optim.Adam(small().parameters())
    torch.save({"epoch": 3, "optimizer_state_dict": optimiser.state_dict(), wrapper: state, "loss": 0.5}, tmp_path / "a.pth")
    assert same(state_dicts.read_file(tmp_path / "a.pth"), state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_prefix_of_data_parallel_is_dropped(tmp_path, state, suffix):
    path = tmp_path / f"some{suffix}"
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(parallel, path)
    assert same(state_dicts.read_file(path), state)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(tmp_path / "none.pth")
    assert str(caught.value) == f"{tmp_path}/none.pth: the weights file does not exist."


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_git_lfs_pointer_says_how_to_fetch_the_file(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 97781949\n")
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(tmp_path / name)
    assert str(caught.value) == f"{tmp_path}/{name} is a Git LFS pointer, not weights. Fetch the file itself: `git lfs pull`."


class Executes:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, state, zipped):
    ran = tmp_path / "ran"
    torch.save({**state, "x": Executes(ran)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="contains other objects than tensors") as caught:
        state_dicts.read_file(tmp_path / "a.pth")
    assert not ran.exists()
    assert str(caught.value).startswith(f"{tmp_path}/a.pth contains other objects than tensors (")
    assert str(caught.value).endswith(
        ") and is not loaded, since that could run code. Save only its state dict, as .safetensors or .pth."
    )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_pickle_that_would_run_code_does_not_run(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Executes(tmp_path / "ran")))
    with pytest.raises(WeightsError):
        state_dicts.read_file(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused_without_advice_to_trust_it(tmp_path):
    torch.save(small(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="contains other objects than tensors") as caught:
        state_dicts.read_file(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], 7, {"a": 1}, {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}}])
def test_a_file_with_another_object_is_rejected(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(tmp_path / "a.pth")
    assert (
        str(caught.value)
        == f"{tmp_path}/a.pth: got a {type(content).__name__}, expected a state dict of named tensors. Save its state dict."
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [".safetensors", ".pth", "old.pth"])
def test_damage_of_any_kind_is_a_clear_error_or_harmless(tmp_path, state, kind):
    """Files cut short, with wrong bytes near the start, or of noise alone never end in another exception."""
    path = tmp_path / f"some{kind}"
    if kind == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == ".pth")
    whole, dice, refusals = path.read_bytes(), random.Random(0), []
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
            refusals.append(str(error))
    assert len(refusals) > 50
    assert not any("\n" in refusal for refusal in refusals)


def test_the_shared_truncated_file_is_rejected(shared):
    with pytest.raises(WeightsError, match=r"truncated_weights\.pth is cut off, damaged, or not a weights file \("):
        state_dicts.read_file(shared / "data/broken/truncated_weights.pth")


def test_the_shared_git_lfs_pointer_is_recognised(shared):
    with pytest.raises(WeightsError, match=r"lfs_pointer\.pth is a Git LFS pointer"):
        state_dicts.read_file(shared / "data/broken/lfs_pointer.pth")


def test_a_matching_state_dict_is_loaded(state):
    network = small()
    state_dicts.load_state(network, state, "x")
    assert same(network.state_dict(), state)


def test_a_counter_that_inference_never_reads_may_be_missing(state):
    del state["1.num_batches_tracked"]
    state_dicts.load_state(small(), state, "x")


def test_numbers_of_another_precision_are_converted(state):
    network = small()
    state_dicts.load_state(network, {name: tensor.half() for name, tensor in state.items()}, "x")
    assert network[0].weight.dtype == torch.float32
    torch.testing.assert_close(network[0].weight.data, state["0.weight"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "x does not fit: 0.bias is missing."),
        ({"fc.bias": torch.zeros(2)}, "x does not fit: fc.bias is unexpected."),
        ({"3.bias": torch.zeros(5)}, "x does not fit: 3.bias has shape (5,), expected (2,)."),
        ({"3.bias": torch.tensor([0, torch.nan])}, "x does not fit: 3.bias holds numbers that are not finite."),
        ({"1.running_var": torch.tensor([1, 1, 1, torch.inf])}, "x does not fit: 1.running_var holds numbers that are not finite."),
        (
            {"0.bias": None, "fc.bias": torch.zeros(2), "3.bias": torch.zeros(5), "3.weight": torch.zeros(1)},
            "x does not fit: 0.bias is missing; fc.bias is unexpected; 3.weight has shape (1,), expected (2, 16) and 1 more.",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(state, change, message):
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wrong = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    with pytest.raises(WeightsError) as caught:
        state_dicts.load_state(network, wrong, "x")
    assert str(caught.value) == message
    assert same(network.state_dict(), before)


def test_a_network_that_insists_on_the_version_of_its_layout_loads_too():
    first = torchvision.models.mnasnet0_5(weights=None)
    second = torchvision.models.mnasnet0_5(weights=None)
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


def test_the_hash_does_not_depend_on_what_else_a_process_did(state):
    network = small()
    state_dicts.load_state(network, state, "x")
    before = state_dicts.state_sha256(network)
    state_dicts.load_state(network.to(memory_format=torch.channels_last), state, "x")
    assert state_dicts.state_sha256(network) == before
    with torch.no_grad():
        network[0].bias[0] += 1e-6
    assert state_dicts.state_sha256(network) != before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: torch.zeros(1).expand(2, 16), "has shape (2, 16) but stores fewer numbers"),
        (lambda: torch.zeros(1).expand(10**7, 10**7), "has shape (10000000, 10000000) but stores fewer numbers"),
        (lambda: torch.zeros(20).as_strided((2, 16), (1, 1)), "has shape (2, 16) but stores fewer numbers"),
        (lambda: torch.zeros(2, 16).to_sparse(), "is stored as sparse_coo"),
        (lambda: torch.zeros(2, 16).to_sparse_csr(), "is stored as sparse_csr"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2, 16), 0.1, 0, torch.qint8), "is quantised"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "is a nested tensor"),
        (lambda: torch.zeros(2, 16, device="meta"), "has a shape but no values (meta)"),
        (lambda: torch.zeros(2, 16, dtype=torch.complex64), "has numbers of type complex64"),
        (lambda: torch.zeros(2, 16).to(torch.float8_e4m3fn), "has numbers of type float8_e4m3fn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_that_is_not_of_plain_numbers_is_refused_by_name(tmp_path, state, build, why):
    torch.save({**state, "3.weight": build()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(tmp_path / "a.pth")
    assert str(caught.value) == f"{tmp_path}/a.pth: 3.weight {why}. Save plain tensors of floating-point numbers."


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2])
def test_the_same_tensors_in_safetensors_are_refused(tmp_path, state, dtype):
    safetensors.torch.save_file({**state, "3.weight": torch.zeros(2, 16).to(dtype)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"a\.safetensors: 3\.weight has numbers of type (complex64|float8_e5m2)\. Save plain"):
        state_dicts.read_file(tmp_path / "a.safetensors")


def test_many_tensors_over_the_same_numbers_are_refused(tmp_path):
    shared = torch.zeros(1_000)
    torch.save({f"layer{number}": shared for number in range(100)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"but its tensors have 400,000: some share memory\. Save copies of them\.$"):
        state_dicts.read_file(tmp_path / "a.pth")


def test_a_file_that_unpacks_to_more_than_its_size_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in plain.namelist():
            bomb.writestr(member, plain.read(member))
        with bomb.open("archive/data/99", "w") as stream:
            for _ in range(100):
                stream.write(bytes(1 << 20))
    assert (tmp_path / "a.pth").stat().st_size < 1 << 20
    with pytest.raises(
        WeightsError, match=r"a\.pth unpacks to 104,\d+,\d+ bytes, more than its size; torch\.save does not write such files"
    ):
        state_dicts.read_file(tmp_path / "a.pth")


def test_a_file_of_very_many_tensors_is_refused_before_they_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for number in range(10_001):
            archive.writestr(f"archive/data/{number}", b"")
    with pytest.raises(WeightsError, match=r"a\.pth has 10,001 members; expected at most 10,000 tensors"):
        state_dicts.read_file(tmp_path / "a.pth")


def test_a_deeply_nested_pickle_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".")
    with pytest.raises(WeightsError) as caught:
        state_dicts.read_file(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.zeros(2, 16, dtype=torch.int8), "has numbers of type int8, expected float32"),
        (torch.zeros(2, 16, dtype=torch.bool), "has numbers of type bool, expected float32"),
        (torch.full((2, 16), 1e300, dtype=torch.float64), "holds numbers that are too large for float32"),
        (torch.full((2, 16), -torch.inf, dtype=torch.float16), "holds numbers that are not finite"),
    ],
)
def test_tensors_that_cannot_be_converted_are_rejected(state, tensor, why):
    with pytest.raises(WeightsError) as caught:
        state_dicts.load_state(small(), {**state, "3.weight": tensor}, "x")
    assert str(caught.value) == f"x does not fit: 3.weight {why}."


def test_a_name_that_is_long_or_upsets_a_terminal_is_shown_short_and_escaped(state):
    with pytest.raises(WeightsError) as caught:
        state_dicts.load_state(small(), {**state, "\x1b[31m\n" + "x" * 10**6: torch.zeros(1)}, "x")
    assert str(caught.value).startswith("x does not fit: \\x1b[31m\\nxxx")
    assert len(str(caught.value)) < 200


STUDY = [("simple_rnn", "rnn"), ("lstm", "lstm"), ("gru", "gru"), ("bilstm", "lstm"), ("stacked_lstm", "lstm")]


@pytest.mark.parametrize(("name", "layer"), STUDY)
def test_a_checkpoint_of_the_study_loads_into_the_matching_model(tmp_path, name, layer):
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    theirs = nn.ModuleDict(
        {
            layer: kinds[layer](
                8, 6, num_layers=2 if name == "stacked_lstm" else 1, batch_first=True, bidirectional=name == "bilstm"
            ),
            "fc": nn.Linear(12 if name == "bilstm" else 6, 3),
        }
    )
    optimiser = torch.optim.Adam(theirs.parameters(), lr=1e-3, weight_decay=1e-5)
    theirs["fc"](theirs[layer](torch.randn(2, 4, 8))[0][:, -1]).sum().backward()
    optimiser.step()
    checkpoint = {
        "epoch": 12,
        "model_state_dict": theirs.state_dict(),
        "optimizer_state_dict": optimiser.state_dict(),
        "val_acc": 97.2,
    }
    torch.save(checkpoint, tmp_path / "best.pth")

    ours = create_model(name, {"hidden_dim": 6}, feature_dim=8, class_count=3).eval()
    state_dicts.load_state(ours, state_dicts.read_file(tmp_path / "best.pth"), "best.pth")
    features = torch.randn(2, 5, 8)
    if name != "bilstm":  # which the study reads where its backward direction has seen one frame
        torch.testing.assert_close(ours(features), theirs["fc"](theirs[layer](features)[0][:, -1]))
    assert same(ours.state_dict(), theirs.state_dict())


def test_numpys_numbers_beside_the_state_dict_are_refused_by_name(tmp_path, state):
    torch.save({"model_state_dict": state, "val_acc": np.float64(97.2)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"contains other objects than tensors \(numpy"):
        state_dicts.read_file(tmp_path / "a.pth")


def test_reading_weights_leaves_the_random_state_alone(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    before = torch.random.get_rng_state()
    state_dicts.load_state(small_without_drawing(), state_dicts.read_file(tmp_path / "a.pth"), "x")
    assert torch.equal(torch.random.get_rng_state(), before)


def small_without_drawing():
    with torch.random.fork_rng(devices=[]):
        return small()


def test_no_code_of_a_foreign_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"\x80\x02cevil_module\nThing\n.")
    with pytest.raises(WeightsError):
        state_dicts.read_file(tmp_path / "a.pth")
    assert "evil_module" not in sys.modules
