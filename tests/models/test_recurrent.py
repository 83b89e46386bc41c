import pytest
import torch
from torch import nn

from actionrec.models import create_model

FEATURE_DIM, HIDDEN, CLASS_COUNT, FRAMES = 5, 4, 3, 7


def build(name, **arguments):
    arguments = {"hidden_dim": HIDDEN, **arguments}
    return create_model(name, arguments, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT).eval()


def last_hidden(cell, recurrent, layer, frames):
    """Run torch's cell over frames (T, D), with the weights of one layer; return the hidden states (T, H)."""
    cell.load_state_dict({key: getattr(recurrent, f"{key}_l{layer}") for key in cell.state_dict()})
    state, hidden = None, []
    for frame in frames:
        state = cell(frame, state)
        hidden.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(hidden)


@pytest.mark.parametrize(
    ("name", "layer", "kind"), [("simple_rnn", "rnn", nn.RNNCell), ("lstm", "lstm", nn.LSTMCell), ("gru", "gru", nn.GRUCell)]
)
def test_the_last_state_of_the_recurrence_is_classified(name, layer, kind):
    model, frames = build(name), torch.randn(FRAMES, FEATURE_DIM)
    hidden = last_hidden(kind(FEATURE_DIM, HIDDEN), getattr(model, layer), 0, frames)
    torch.testing.assert_close(model(frames[None])[0], model.fc(hidden[-1]))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_stacked_lstm_feeds_each_layer_with_the_one_below(layers):
    model, hidden = build("stacked_lstm", num_layers=layers), torch.randn(FRAMES, FEATURE_DIM)
    frames = hidden
    for layer in range(layers):
        hidden = last_hidden(nn.LSTMCell(hidden.shape[1], HIDDEN), model.lstm, layer, hidden)
    torch.testing.assert_close(model(frames[None])[0], model.fc(hidden[-1]))


def test_stacked_lstm_drops_between_the_layers_too():
    model = build("stacked_lstm", dropout=0.5)
    model.train()
    model.dropout.eval()
    frames = torch.randn(1, FRAMES, FEATURE_DIM)
    assert not torch.equal(model(frames), model(frames))


@pytest.mark.filterwarnings("error")
def test_one_layer_with_dropout_warns_about_nothing():
    build("stacked_lstm", num_layers=1, dropout=0.5)
