import pytest
import torch
from torch.nn import functional

from actionrec.training.losses import mean_loss, mixed_loss

LABELS = torch.tensor([0, 2, 1, 1])
PARTNERS = torch.tensor([1, 0, 2, 1])
SHARES = torch.tensor([0.5, 0.9, 0.7, 1.0])
WEIGHTS = torch.tensor([0.5, 2.0, 1.5])


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(4, 3)


def test_weights_scale_each_clip_and_the_mean_is_over_clips(logits):
    losses = functional.cross_entropy(logits, LABELS, reduction="none")
    torch.testing.assert_close(mean_loss(logits, LABELS, None), losses.mean())
    torch.testing.assert_close(mean_loss(logits, LABELS, WEIGHTS), (losses * WEIGHTS[LABELS]).mean())


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_mixture_is_judged_against_both_labels_each_with_its_class_s_weight(logits, weights):
    expected = 0.0
    for clip in range(4):
        for label, share in ((LABELS[clip], SHARES[clip]), (PARTNERS[clip], 1 - SHARES[clip])):
            loss = -logits[clip].log_softmax(dim=0)[label]
            expected += share * loss * (1 if weights is None else weights[label]) / 4
    torch.testing.assert_close(mixed_loss(logits, LABELS, weights, SHARES), expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_whole_share_is_no_mixture(logits, weights):
    torch.testing.assert_close(mixed_loss(logits, LABELS, weights, torch.ones(4)), mean_loss(logits, LABELS, weights))


def test_without_weights_the_target_is_the_mixture_of_both_labels(logits):
    targets = SHARES[:, None] * functional.one_hot(LABELS, 3) + (1 - SHARES)[:, None] * functional.one_hot(PARTNERS, 3)
    torch.testing.assert_close(mixed_loss(logits, LABELS, None, SHARES), functional.cross_entropy(logits, targets))
