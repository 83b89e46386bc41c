import copy

import openvino
import pytest
import torch
from torchvision.models.video.mvit import MultiscaleAttention

from actionrec.features import mvit_attention

SIZE, DIM, HEADS = (2, 4, 6), 8, 2


@pytest.fixture(params=[True, False], ids=["class token added to", "class token left alone"])
def attention(request):
    """A layer of MViT v2's kind with random weights and positions, which pools queries by half."""
    torch.manual_seed(0)
    layer = MultiscaleAttention(
        list(SIZE), DIM, DIM, HEADS, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1], True, request.param, True
    ).eval()
    for name in ("rel_pos_h", "rel_pos_w", "rel_pos_t"):
        torch.nn.init.normal_(getattr(layer, name))
    return layer.requires_grad_(False)


def tokens():
    return torch.randn(3, 1 + SIZE[0] * SIZE[1] * SIZE[2], DIM)


def operations(layer):
    class Alone(torch.nn.Module):
        def forward(self, values):
            return layer(values, SIZE)[0]

    model = openvino.convert_model(Alone(), example_input=tokens())
    return {operation.get_type_name() for operation in model.get_ops()}


def test_the_answer_is_torchvisions_to_the_bit(attention):
    changed = copy.deepcopy(attention)
    mvit_attention.add_to_whole_tensors(torch.nn.Sequential(changed))
    values = tokens()
    expected, thw = attention(values, SIZE)
    found, found_thw = changed(values, SIZE)
    assert torch.equal(found, expected)
    assert found_thw == thw
    assert list(changed.state_dict()) == list(attention.state_dict())


def test_openvino_scatters_nothing(attention):
    assert "ScatterNDUpdate" in operations(attention)
    mvit_attention.add_to_whole_tensors(torch.nn.Sequential(attention))
    assert "ScatterNDUpdate" not in operations(attention)


def test_copies_keep_it(attention):
    network = torch.nn.Sequential(attention)
    mvit_attention.add_to_whole_tensors(network)
    assert "ScatterNDUpdate" not in operations(copy.deepcopy(network)[0])
