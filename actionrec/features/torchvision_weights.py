"""Weights that torchvision publishes: find them by name in torch's cache, or download them there, and check their hash.

The next call resumes an interrupted download.
"""

import logging
from pathlib import Path

import torchvision

from actionrec.core.errors import WeightsError
from actionrec.data.download import DownloadError, download, require_connection
from actionrec.features import torchvision_models, weights_cache
from actionrec.features.frame_requirements import VIDEO_BACKBONES
from actionrec.io.files import sha256_of

logger = logging.getLogger(__name__)


def weights_file(backbone: str, name: str) -> Path:
    """The file of a backbone's weights in torch's cache ($TORCH_HOME/hub/checkpoints); downloaded if it is not there.

    Args:
        name: such as IMAGENET1K_V1.

    Raises:
        WeightsError: there are no weights of that name, the download fails, or the file's hash is not the one in its name.
    """
    is_torchvision_model = backbone in [*torchvision_models.names(), *VIDEO_BACKBONES]
    published = torchvision.models.get_model_weights(backbone).__members__ if is_torchvision_model else {}
    if name not in published:
        expected = ", ".join(["random", *published])
        raise WeightsError(f"features.weights: {backbone} has no such weights; got {name!r}, expected {expected}, or a path.")
    url = published[name].url
    path = weights_cache.folder() / url.rsplit("/", 1)[-1]
    prefix = path.stem.rsplit("-", 1)[-1]
    is_new = not path.is_file()
    if is_new:
        logger.info("downloading %s to %s", url, path)
        path.parent.mkdir(parents=True, exist_ok=True)  # also for users who copy the file there
        try:
            require_connection(url, weights_cache.PATIENCE_SECONDS)  # fail now, not after minutes of attempts
            download(url, path)
        except DownloadError as error:
            raise WeightsError(
                f"{error}\nWithout a network, download the file elsewhere and copy it to {path}; or set features.weights to "
                "its path."
            ) from None
    if not sha256_of(path).startswith(prefix):
        problem = f"{path} is damaged: its SHA-256 does not start with {prefix}."
        if is_new:
            path.unlink()
            raise WeightsError(f"{problem} The download was damaged, or {url} is another file. Rerun.")
        raise WeightsError(f"{problem} Remove it and rerun to download it again.")
    return path
