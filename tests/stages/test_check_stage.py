"""The stage that checks params.yaml: frames that do not fit a video backbone or its weights."""

import pytest
from projects import PARAMS
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.core.errors import ParamsError
from stages import check


def with_backbone(backbone, weights, *, resolution=112, fit=(128, 171), length=16, rate=15.0):
    snippet = {"length": length, "rate": rate}
    frames = {**PARAMS["frames"], "resolution": resolution, "fit": fit if fit == "crop" else list(fit), "snippet": snippet}
    features = {**PARAMS["features"], "backbone": backbone, "weights": weights}
    YAML().dump({**PARAMS, "frames": frames, "features": features}, paths.PARAMS)
    check.refuse_unfit_frames()


@pytest.mark.usefixtures("project")
def test_published_weights_need_the_frames_that_they_were_trained_on():
    with_backbone("r2plus1d_18", "KINETICS400_V1")
    with_backbone("mvit_v2_s", "KINETICS400_V1", resolution=224, fit="crop", rate=7.5)
    with pytest.raises(ParamsError) as caught:
        with_backbone("r2plus1d_18", "KINETICS400_V1", resolution=120, fit="crop", rate=30.0)
    whose = "does not fit KINETICS400_V1 of r2plus1d_18"
    assert str(caught.value).splitlines() == [
        f"params.yaml: frames.resolution: {whose}; got 120, expected 112. Set it to 112.",
        f"params.yaml: frames.fit: {whose}; got crop, expected [128,171]. Set it to [128,171].",
        f"params.yaml: frames.snippet.rate: {whose}; got 30, expected 15. Set it to 15.",
    ]


@pytest.mark.usefixtures("project")
def test_a_weights_file_with_other_frames_is_a_warning(caplog):
    with_backbone("r3d_18", "mine.pth", length=8)
    expected = "frames.snippet.length: does not fit the published weights of r3d_18; got 8, expected 16. Set it to 16."
    assert [record.message for record in caplog.records] == [expected]


@pytest.mark.usefixtures("project")
def test_random_weights_need_only_what_the_network_accepts(caplog):
    with_backbone("r3d_18", "random", resolution=64, fit=(64, 64), length=8, rate=None)
    assert not caplog.records
    with pytest.raises(
        ParamsError, match=r"frames\.snippet\.length: does not fit s3d; got 8, expected 13 or more\. Set it to 13 or more"
    ):
        with_backbone("s3d", "random", resolution=224, fit="crop", length=8)
