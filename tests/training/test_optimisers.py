import subprocess
import sys

import pytest
import torch
from torch import nn

from actionrec.training.optimisers import Adam, AdamW


@pytest.mark.parametrize(("ours", "torchs"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
def test_steps_and_states_are_torchs(ours, torchs):
    """Two groups of weights; the state moves to a new optimiser halfway."""

    def trained(kind):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
        groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in zip(model, (1e-2, 1e-3), strict=True)]
        state = None
        for _ in range(2):
            optimiser = kind(groups, weight_decay=0.1, fused=True)
            if state:
                optimiser.load_state_dict(state)
            for _ in range(3):
                optimiser.zero_grad()
                model(torch.randn(6, 5)).square().sum().backward()
                optimiser.step()
            state = optimiser.state_dict()
        moments = [moment for one in state["state"].values() for moment in one.values()]
        return [*model.parameters(), *moments], state["param_groups"]

    (tensors, groups), (expected, expected_groups) = trained(ours), trained(torchs)
    assert all(torch.equal(one, other) for one, other in zip(tensors, expected, strict=True))
    assert groups == expected_groups


def test_training_does_not_load_torchs_compiler():
    program = """
import sys, numpy as np, torch
from actionrec.training.loop import Examples, TrainSettings, fit
from actionrec.models import create_model
augmented = {"mixup": 0.5, "drop_frames": 0.1, "time_jitter": 1}
settings = TrainSettings(1, 4, 1e-3, 0.0, 1, 0.5, 0.0, True, 1.0, "fp32", "balanced", [0], **augmented)
for name, size in {"stacked_lstm": {"hidden_dim": 4}, "transformer": {}, "swin_transformer": {}}.items():
    model = create_model(name, {"dropout": 0.1} | size, feature_dim=8, class_count=3)
    features, rows = np.zeros((9, 4, 8), dtype=np.float16), np.arange(9)
    fit(model, Examples(features, torch.arange(9) % 3, rows, rows), settings, 0, lambda epoch: None)
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
