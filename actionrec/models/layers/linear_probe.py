"""Linear probe: a linear layer on one vector per clip, the kind of the baselines that ignore the order of frames."""

from torch import Tensor, nn


class LinearProbe(nn.Module):
    """Features (B, T, D) -> `pool` -> (B, P) -> linear -> logits (B, K).

    Its loss is convex, so it is not trained in epochs but solved, see `actionrec.training.logistic_regression`.
    """

    order_blind = True  # the order of frames cannot change its answer

    def __init__(self, pooled_dim: int, class_count: int) -> None:
        super().__init__()
        self.fc = nn.Linear(pooled_dim, class_count)

    def pool(self, features: Tensor) -> Tensor:
        """Reduce features (B, T, D) to (B, P), in any way that has no weights and does not depend on the order of frames."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        return self.fc(self.pool(features))
