"""Results of the GPU benchmark, and its tables: a part of `benchmarks.gpu`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace

FRAMES, UCF50_CLIPS, EPOCHS = 32, 6681, 20
SEEKS, EAGER = "OpenCV: seeks (the study)", "torch eager fp32, NCHW"
READING, NETWORK = "reading JPEGs, all cores", "network, frames in memory"
NVJPEG, DIFFERENCE = "decoding JPEGs on the GPU", "decoding JPEGs on the GPU, mean difference from the CPU's pictures"
DECODING, OURS = "decode only (PyAV)", "actionrec"


@dataclass(frozen=True)
class TrainingRun:
    """Times of one training in seconds."""

    start: float
    """Until its data is read."""
    first_epoch: float
    further_epoch: float
    end: float
    """After its last epoch."""

    @property
    def whole(self) -> float:
        """Seconds for 20 epochs."""
        return self.start + self.first_epoch + (EPOCHS - 1) * self.further_epoch + self.end


@dataclass
class Found:
    """What has been measured; a part that failed leaves gaps."""

    rates: dict[str, float] = field(default_factory=dict)
    """Clips or images a second, by name."""
    starts: dict[str, float] = field(default_factory=dict)
    """Stage -> seconds without those of its clips."""
    processor: dict[str, float] = field(default_factory=dict)
    """Stage -> milliseconds of processor time of each further clip, in all processes."""
    steps: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage -> step -> seconds."""
    trainings: dict[int, dict[str, TrainingRun]] = field(default_factory=lambda: defaultdict(dict))
    """Models at a time -> model -> its times."""
    study: dict[str, float] = field(default_factory=dict)
    """Model -> seconds of 20 epochs of the study's loop."""
    busy: dict[str, float] = field(default_factory=dict)
    """Part -> share of the time in which the GPU ran a kernel, in percent."""
    errors: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    """Warnings of the programs about CUDA graphs that could not be used."""


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Seconds until all jobs are done that start in this order, `jobs` at a time.

    >>> makespan([3, 2, 2], jobs=2)
    4
    """
    free_at: list[float] = [0] * jobs
    heapify(free_at)
    for one in seconds:
        heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def tables(found: Found, models: Sequence[str], epochs: int) -> str:
    """All tables in Markdown.

    Args:
        models: all that were to be trained.
        epochs: of each measured training.
    """
    parts = (targets(found, models), where_frames_and_features_go(found), where_training_goes(found, epochs))
    return "\n\n".join(filter(None, parts))


def targets(found: Found, models: Sequence[str]) -> str:
    """What is measured against its target. `compare` and the other stages that are not measured are not in the last row."""
    rates, starts = found.rates, found.starts
    study = sum(found.study.values()) if len(found.study) == len(models) else None
    together = {
        jobs: makespan([run.whole for run in runs.values()], jobs)
        for jobs, runs in found.trainings.items()
        if len(runs) == len(models)
    }
    best = min(together, key=together.__getitem__, default=None)
    fastest = None if best is None else together[best]
    stages = [part.get(name) for name in ("extract_frames", "resnet_features") for part in (starts, rates)]
    rows = [
        ("features, images/s, each further clip", "about 230", rates.get(EAGER), rates.get("resnet_features"), "10,000"),
        ("start of resnet_features, s", "", None, starts.get("resnet_features"), "6"),
        ("extract_frames, clips/s, all cores", "about 7", rates.get(SEEKS), rates.get("extract_frames"), "400"),
        (f"{len(models)} trainings, {EPOCHS} epochs, one after the other, s", "688", study, together.get(1), "70"),
        (f"the same, {best or '-'} at a time, s", "", study, fastest, "35"),
        (
            "clips to trained models, s",
            "about 1,600",
            end_to_end(0, rates.get(SEEKS), 0, rates.get(EAGER), study),
            end_to_end(*stages, fastest),
            "150 with `compare`",
        ),
    ]
    lines = ["| what | study (T4) | baseline, this run | actionrec | target |", "|---|---|---|---|---|"]
    lines += [f"| {what} | {paper} | {shown(base)} | {shown(ours)} | {target} |" for what, paper, base, ours, target in rows]
    baselines = "Baselines: OpenCV's seeks in one process; torch eager in fp32, its images on the device already; the study's loop."
    return "\n".join([*lines, "", baselines])


def end_to_end(
    frames_start: float | None,
    clips_a_second: float | None,
    features_start: float | None,
    images_a_second: float | None,
    trainings: float | None,
) -> float | None:
    """Seconds from UCF-50's clips to trained models; None if a part was not measured."""
    if None in (frames_start, clips_a_second, features_start, images_a_second, trainings):
        return None
    return frames_start + UCF50_CLIPS / clips_a_second + features_start + UCF50_CLIPS * FRAMES / images_a_second + trainings


def shown(value: float | None) -> str:
    """A number with three digits, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def where_frames_and_features_go(found: Found) -> str:
    """Rates of single steps, the steps of each stage's start, and how busy the GPU is."""
    rates = found.rates
    lines = [f"| {name} | {shown(rates[name])} images/s |" for name in (NETWORK, READING, NVJPEG, EAGER) if name in rates]
    if DIFFERENCE in rates:
        lines.append(f"| {DIFFERENCE} | {shown(rates[DIFFERENCE])} levels |")
    lines += [f"| {name}, one process | {shown(rates[name])} clips/s |" for name in (DECODING, OURS, SEEKS) if name in rates]
    lines += [f"| {stage}: processor time of each further clip | {shown(used)} ms |" for stage, used in found.processor.items()]
    for stage, steps in found.steps.items():
        lines += [f"| {stage}: {step} | {shown(seconds)} s |" for step, seconds in steps.items()]
    lines += [f"| {stage}: its start in all | {shown(seconds)} s |" for stage, seconds in found.starts.items()]
    lines += [f"| {part}: GPU runs kernels | {shown(share)} % of the time |" for part, share in found.busy.items()]
    return "\n".join(["| where the time goes | |", "|---|---|", *lines]) if lines else ""


def where_training_goes(found: Found, epochs: int) -> str:
    """Times of each training, and of all of them several at a time."""
    lines = []
    for jobs, runs in found.trainings.items():
        beside = f", {jobs} at a time" if jobs > 1 else ""
        for model, run in runs.items():
            cells = [run.start, run.first_epoch, run.further_epoch, run.end, run.whole, found.study.get(model)]
            lines.append(f"| {model}{beside} | {' | '.join(map(shown, cells))} |")
        together = makespan([run.whole for run in runs.values()], jobs)
        lines.append(f"| **these {len(runs)}{beside}** | | | | | {shown(together)} | |")
    if not lines:
        return ""
    header = f"| s, from {epochs} epochs | start | first epoch | each further | end | {EPOCHS} epochs | study's loop |"
    return "\n".join([header, "|---|---|---|---|---|---|---|", *lines])
