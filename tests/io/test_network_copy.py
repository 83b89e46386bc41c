import subprocess
import sys

import pytest
import torch
from torch import nn

from actionrec.io.network_copy import copied


def network():
    """With recurrent layers, which keep their weights in a list as well, a buffer, and a weight that is not trained."""
    made = nn.ModuleDict({"rnn": nn.LSTM(3, 4, num_layers=2), "norm": nn.BatchNorm1d(4), "fc": nn.Linear(4, 2)})
    made["fc"].weight.requires_grad_(False)
    return made


def answer(one, clip):
    return one["fc"](one["norm"](one["rnn"](clip)[0][-1]))


def test_a_copy_computes_the_same_and_shares_nothing():
    original = network()
    made = copied(original, "cpu")
    clip = torch.randn(5, 6, 3)
    assert torch.equal(answer(made.eval(), clip), answer(original.eval(), clip))
    wanted = answer(made, clip)
    with torch.no_grad():
        for tensor in [*original.parameters(), *original.buffers()]:
            tensor.zero_()
    assert torch.equal(answer(made, clip), wanted)
    assert [one.requires_grad for one in made.parameters()] == [one.requires_grad for one in original.parameters()]
    assert list(made.state_dict()) == list(original.state_dict())


def test_a_copy_on_meta_has_shapes_alone():
    original = network()
    made = copied(original, "meta").eval()
    assert {tensor.device.type for tensor in [*made.parameters(), *made.buffers()]} == {"meta"}
    assert answer(made, torch.empty(5, 6, 3, device="meta")).shape == (6, 2)
    assert {tensor.device.type for tensor in original.parameters()} == {"cpu"}


def test_tensors_that_a_layer_moves_itself_are_moved_too():
    class Own(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.table = torch.ones(3)

        def _apply(self, function, *rest):
            self.table = function(self.table)
            return super()._apply(function, *rest)

    assert copied(Own(), "meta").table.device.type == "meta"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_copy_does_not_load_torchs_compiler(device):
    program = f"""
import sys
from torch import nn
from actionrec.io.network_copy import copied
copied(nn.Sequential(nn.LSTM(3, 4), nn.BatchNorm1d(4)), "{device}")
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
