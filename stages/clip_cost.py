"""What a clip costs from its file to its features: operations and memory of the backbone, counted; time, measured."""

import logging
from dataclasses import dataclass

import numpy as np

from actionrec.core import entry, paths
from actionrec.core.errors import DataError
from actionrec.data.clip_files import ClipFiles, read_clip_files
from actionrec.evaluation import cost
from actionrec.features import backbones, extractors
from actionrec.features.backbones import Backbone, FeatureSettings
from actionrec.features.settings import described_streams
from actionrec.inference import clip_latency
from actionrec.io import files, machine, params
from actionrec.io.params import DataSettings
from actionrec.io.tar_member import ClipFile
from actionrec.models import parameter_count
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import LEDGER, LEDGER_HEADER

logger = logging.getLogger(__name__)

TIMED = 5  # clips


@dataclass(frozen=True)
class Params:
    """The sections of params.yaml that this stage reads."""

    data: DataSettings
    frames: FrameSettings
    features: FeatureSettings


def main() -> None:
    settings = params.read(Params)
    backbone = backbones.create_backbone(settings.features, settings.frames.snippet.length)
    files.write_json(paths.CLIP_COST, counted(backbone, settings))

    # The machine that starts a Ray cluster's work may have no GPU, whatever ACTIONREC_DEVICE says for the others.
    device = "cpu" if machine.engine() == "ray" else machine.device()
    extractor = extractors.create_extractor(
        backbone,
        precision=settings.features.precision,
        size=settings.frames.resolution,
        device=device,
        threads=machine.workers(),
        streams=settings.features.streams,
    )
    latency = clip_latency.measure(clips_to_time(read_clip_files(paths.RAW / settings.data.dataset)), settings.frames, extractor)
    timing = {"decode_ms": round(latency.decode_ms, 3), "backbone_ms": round(latency.backbone_ms, 3)}
    files.write_json(paths.CLIP_TIMING, {**timing, "device": machine.device_name(device)})
    logger.info("One clip: %.0f ms to decode, %.0f ms for the backbone on %s", *timing.values(), machine.device_name(device))


def counted(backbone: Backbone, settings: Params) -> dict[str, object]:
    """The costs that are the same on every machine."""
    frames, size = settings.frames.frames, settings.frames.resolution
    used = cost.backbone_memory(backbone, min(frames, extractors.batch_frames(backbone, on_gpu=False)), size)
    return {
        "backbone": settings.features.backbone,
        **described_streams(settings.features.streams),
        "frames": frames,
        "resolution": size,
        "parameters": parameter_count(backbone),
        "flops": cost.backbone_flops(backbone, frames * len(settings.features.streams), size),
        "memory_mb": round((used.parameter_bytes + used.activation_bytes) / 1e6, 1),
    }


def clips_to_time(files_of: ClipFiles) -> list[ClipFile]:
    """A few clips that can be decoded, spread evenly over the data set."""
    ledger = paths.FRAMES / LEDGER
    decoded = sorted(row["clip"] for row in files.read_csv(ledger, LEDGER_HEADER) if not row["error"])
    if not decoded:
        raise DataError(f"{ledger}: all clips failed to decode. Run `dvc repro -f extract_frames`.")
    places = np.linspace(0, len(decoded) - 1, min(TIMED, len(decoded))).round().astype(int)
    return [files_of[decoded[place]] for place in places]


if __name__ == "__main__":
    entry.run(main)
