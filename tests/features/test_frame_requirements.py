"""Frames that video backbones and their weights need."""

import subprocess
import sys

import pytest
import torchvision

from actionrec.features.frame_requirements import (
    VIDEO_BACKBONES,
    FrameFormat,
    FrameLimits,
    frame_problems,
    limits_of,
    published_frames,
)
from actionrec.features.settings import FeatureSettings

AS_R3D = FrameFormat(112, (128, 171), 16, 15)
STUDY = FrameFormat(224, "squash")
ANYTHING = FrameFormat(1, "squash")


def problems(backbone, weights, frames):
    return frame_problems(FeatureSettings(backbone, weights, "fp32"), frames)


def test_all_video_models_of_torchvision_are_known():
    assert set(VIDEO_BACKBONES) == set(torchvision.models.list_models(module=torchvision.models.video))


@pytest.mark.parametrize(
    ("backbones", "frames"),
    [
        (("r3d_18", "mc3_18", "r2plus1d_18"), AS_R3D),
        (("s3d",), FrameFormat(224, (256, 256), 128, 15)),
        (("mvit_v1_b", "mvit_v2_s"), FrameFormat(224, "crop", 16, 7.5)),
        (("swin3d_t", "swin3d_s", "swin3d_b"), FrameFormat(224, "crop", 32, 15)),
    ],
)
def test_published_weights_need_the_frames_that_torchvision_documents(backbones, frames):
    for backbone in backbones:
        for member in torchvision.models.get_model_weights(backbone):
            assert published_frames(backbone, member.name) == frames
            assert problems(backbone, member.name, frames) == problems(backbone, "a.pth", frames) == problems("x", "y", STUDY)
            if frames.fit == "crop":  # the short side becomes 8/7 of the resolution
                assert member.transforms().resize_size == [frames.resolution * 8 // 7]


def test_other_frames_than_those_of_published_weights_are_errors_that_name_the_right_values():
    found = problems("r3d_18", "KINETICS400_V1", STUDY)
    assert found.warnings == []
    assert found.errors == [
        "frames.resolution: does not fit KINETICS400_V1 of r3d_18; got 224, expected 112. Set it to 112.",
        "frames.fit: does not fit KINETICS400_V1 of r3d_18; got squash, expected [128,171]. Set it to [128,171].",
        "frames.snippet.length: does not fit KINETICS400_V1 of r3d_18; got 1, expected 16. Set it to 16.",
        "frames.snippet.rate: does not fit KINETICS400_V1 of r3d_18; got null, expected 15. Set it to 15.",
    ]


def test_only_the_values_that_differ_are_reported():
    frames = FrameFormat(224, "crop", 16, 15.0)
    assert problems("mvit_v2_s", "KINETICS400_V1", frames).errors == [
        "frames.snippet.rate: does not fit KINETICS400_V1 of mvit_v2_s; got 15, expected 7.5. Set it to 7.5."
    ]


def test_a_weights_file_may_be_trained_on_other_frames_so_they_are_warnings():
    found = problems("swin3d_t", "mine.pth", FrameFormat(224, "crop", 16, 15))
    assert found.errors == []
    assert found.warnings == [
        "frames.snippet.length: does not fit the published weights of swin3d_t; got 16, expected 32. Set it to 32."
    ]


def test_a_layers_limits_hold_for_a_weights_file_too_and_are_reported_once():
    found = problems("mvit_v1_b", "mine.pth", FrameFormat(224, "squash", 8, 7.5))
    assert found.errors == ["frames.snippet.length: does not fit mvit_v1_b; got 8, expected 16. Set it to 16."]
    assert found.warnings == [
        "frames.fit: does not fit the published weights of mvit_v1_b; got squash, expected crop. Set it to crop."
    ]
    both = problems("mvit_v1_b", "KINETICS400_V1", FrameFormat(224, "squash", 8, 7.5))
    assert both.errors == [
        *found.errors,
        "frames.fit: does not fit KINETICS400_V1 of mvit_v1_b; got squash, expected crop. Set it to crop.",
    ]


@pytest.mark.parametrize("backbone", VIDEO_BACKBONES)
def test_random_weights_have_the_limits_of_the_layers_only(backbone):
    limits = limits_of(backbone)
    for frames in (
        FrameFormat(limits.resolution, "squash", limits.length),
        FrameFormat(limits.resolution, (300, 400), limits.length, 3),
    ):
        assert problems(backbone, "random", frames) == problems("x", "y", STUDY)
    found = problems(backbone, "random", FrameFormat(limits.resolution - 1, "squash", limits.length - 1))
    assert len(found.errors) == 2
    assert found.warnings == []


def test_s3d_needs_enough_frames_and_pixels():
    assert problems("s3d", "random", FrameFormat(112, "squash", 8)).errors == [
        "frames.resolution: does not fit s3d; got 112, expected 224 or more. Set it to 224 or more.",
        "frames.snippet.length: does not fit s3d; got 8, expected 13 or more. Set it to 13 or more.",
    ]
    assert limits_of("s3d").problems(256, 64) == {}


@pytest.mark.parametrize(("resolution", "length"), [(224, 17), (224, 15), (225, 16), (256, 16)])
def test_mvit_takes_one_size_and_length(resolution, length):
    [problem] = limits_of("mvit_v2_s").problems(resolution, length)
    assert problem == ("frames.snippet.length" if length != 16 else "frames.resolution")


@pytest.mark.parametrize("weights", ["random", "IMAGENET1K_V1", "a.pth"])
def test_image_backbones_take_all_frames(weights):
    for frames in (STUDY, AS_R3D, ANYTHING):
        assert problems("resnet50", weights, frames) == problems("my_network", weights, frames) == problems("x", "y", STUDY)
    assert (problems("x", "y", STUDY).errors, problems("x", "y", STUDY).warnings) == ([], [])


def test_unknown_weights_are_left_to_the_code_that_reads_them():
    assert problems("r3d_18", "KINETICS400_V9", ANYTHING).errors == []


def test_values_are_written_as_in_params_yaml():
    assert AS_R3D.values() == {
        "frames.resolution": "112",
        "frames.fit": "[128,171]",
        "frames.snippet.length": "16",
        "frames.snippet.rate": "15",
    }
    assert STUDY.values()["frames.snippet.rate"] == "null"
    assert limits_of("r3d_18") == FrameLimits("r3d_18")


def test_the_module_does_not_import_torch():
    script = "import sys, actionrec.features.frame_requirements; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True).stdout == "False\n"
