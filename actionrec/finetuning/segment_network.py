"""Temporal segment network (TSN, arXiv 1608.00859): a backbone and a linear head, whose logits are averaged over a clip's segments.

B clips, S segments, M streams, L frames per snippet, D features, K classes.
"""

from torch import Tensor, nn

from actionrec.models.mean_pool import MeanPool
from actionrec.training.classifier import Classifier


class SegmentNetwork(nn.Module):
    """The tuned part of a backbone, and the head.

    The head is the baseline `mean_pool`: a linear layer on the mean of standardised features, which is the mean of logits. Batch
    normalisation keeps its statistics and nothing in the backbone is dropped: it stays in evaluation mode.
    """

    def __init__(self, backbone: nn.Module, gain: float, feature_dim: int, class_count: int, dropout: float) -> None:
        """Args: `gain` is the factor of the backbone's features, and `feature_dim` is M * D."""
        super().__init__()
        self.backbone, self.gain, self.dropout = backbone, gain, nn.Dropout(dropout)
        self.head = Classifier(feature_dim, MeanPool(feature_dim=feature_dim, class_count=class_count))

    def train(self, mode: bool = True) -> "SegmentNetwork":
        """Switch dropout before the head on or off."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, pictures: Tensor, clips: int, streams: int, frames: int) -> Tensor:
        """Map what the frozen part gives for all pictures of B clips to features (B, S, M * D).

        Args:
            pictures: (B * S * M * frames, ...)
            clips: B.
            streams: M.
            frames: the features whose mean stands for a segment: L for an image network, 1 for a video network.
        """
        features = self.backbone(pictures).flatten(1).float()
        features = features if self.gain == 1 else features * self.gain
        return features.unflatten(0, (clips, -1, streams, frames)).mean(dim=3).flatten(2)

    def forward(self, pictures: Tensor, clips: int, streams: int, frames: int) -> Tensor:
        """Map the same to logits (B, K)."""
        features = self.head.standardise(self.features(pictures, clips, streams, frames))
        logits: Tensor = self.head.model(self.dropout(features))
        return logits
