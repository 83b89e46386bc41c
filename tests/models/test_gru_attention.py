import pytest
import torch

from actionrec.models import create_model

FEATURE_DIM, HIDDEN, CLASS_COUNT, FRAMES = 5, 4, 3, 7


def build(**arguments):
    arguments = {"hidden_dim": HIDDEN, "attention_dim": 6, **arguments}
    return create_model("gru_attention", arguments, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT).eval()


def test_the_mean_of_the_states_by_the_weights_is_classified():
    model, features = build(), torch.randn(2, FRAMES, FEATURE_DIM)
    states, _ = model.gru(features)
    weights = model.attention_over_time(features)
    summary = torch.stack([sum(weights[clip, step] * states[clip, step] for step in range(FRAMES)) for clip in range(2)])
    torch.testing.assert_close(model(features), model.fc(summary))


def test_the_weights_of_a_clip_are_shares_and_follow_its_scores():
    model, features = build(), torch.randn(2, FRAMES, FEATURE_DIM)
    weights = model.attention_over_time(features)
    assert weights.shape == (2, FRAMES)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    states, _ = model.gru(features)
    scores = torch.tanh(states @ model.project.weight.T + model.project.bias) @ model.query.weight[0]
    torch.testing.assert_close(weights.log() - weights[:, :1].log(), scores - scores[:, :1])


def test_without_a_preference_all_steps_weigh_the_same():
    model, features = build(), torch.randn(1, FRAMES, FEATURE_DIM)
    torch.nn.init.zeros_(model.query.weight)
    torch.testing.assert_close(model.attention_over_time(features), torch.full((1, FRAMES), 1 / FRAMES))
    torch.testing.assert_close(model(features), model.fc(model.gru(features)[0].mean(dim=1)))


@pytest.mark.parametrize("width", [0, -3])
def test_an_attention_without_width_is_refused(width):
    with pytest.raises(ValueError, match=f"attention_dim must be at least 1; got {width}"):
        build(attention_dim=width)
