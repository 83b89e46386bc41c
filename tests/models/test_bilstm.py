import torch
from torch import nn

from actionrec.models.bilstm import BiLstm


def test_equals_two_one_way_lstms_read_where_each_has_seen_the_whole_clip():
    model = BiLstm(feature_dim=5, class_count=3, hidden_dim=4).eval()
    forward, backward = nn.LSTM(5, 4, batch_first=True), nn.LSTM(5, 4, batch_first=True)
    weights = model.lstm.state_dict()
    forward.load_state_dict({key: value for key, value in weights.items() if not key.endswith("_reverse")})
    backward.load_state_dict({key.removesuffix("_reverse"): value for key, value in weights.items() if key.endswith("_reverse")})

    features = torch.randn(2, 7, 5)
    states = torch.cat([forward(features)[0][:, -1], backward(features.flip(1))[0][:, -1]], dim=1)
    torch.testing.assert_close(model(features), model.fc(states))


def test_the_study_reads_both_directions_at_the_last_frame():
    model = BiLstm(feature_dim=3, class_count=2, hidden_dim=4, read="last").eval()
    features = torch.randn(2, 5, 3)
    output, _ = model.lstm(features)
    torch.testing.assert_close(model(features), model.fc(output[:, -1]))
    changed = features.clone()
    changed[:, 0] += 1  # the backward direction's reading has not seen the first frame
    other, _ = model.lstm(changed)
    torch.testing.assert_close(other[:, -1, 4:], output[:, -1, 4:])
