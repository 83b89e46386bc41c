"""Settings of sampled frames: their limits, and the description that is stored with frames, features and bundles."""

import pytest

from actionrec.video.frame_settings import FrameSettings, Sampling, Snippet

PLAIN = Sampling(count=4, resolution=64, format="jpeg", quality=95)


def test_a_description_leaves_out_what_older_ones_imply():
    assert PLAIN.sampling() == {"count": 4, "resolution": 64, "format": "jpeg", "quality": 95}
    assert Sampling.of(PLAIN.sampling()) == PLAIN


@pytest.mark.parametrize("fit", ["squash", "crop", (64, 70)])
@pytest.mark.parametrize("snippet", [Snippet(), Snippet(8), Snippet(16, 7.5)])
def test_a_description_gives_the_same_sampling(fit, snippet):
    sampling = Sampling(4, 64, "raw", 90, snippet, fit)
    described = sampling.sampling()
    assert Sampling.of(described) == sampling
    assert ("snippet" in described, "fit" in described) == (snippet.length > 1, fit != "squash")


def test_the_shape_is_that_of_a_clips_pictures():
    assert PLAIN.shape == (4, 64, 64, 3)
    assert Sampling(4, 64, "jpeg", 95, Snippet(8)).shape == (4, 8, 64, 64, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": 0}, "length must be from 1 to 4096; got 0"),
        ({"length": 8, "rate": 0.0}, "rate must be null or from 0.01 to 1000 frames per second; got 0.0"),
        ({"length": 1, "rate": 15.0}, "rate has no effect on snippets of one frame; got 15.0. Set it to null, or raise length"),
    ],
)
def test_a_snippet_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match="^" + message + "$"):
        Snippet(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count must be from 1 to 4096; got 0"),
        ({"resolution": 7}, "resolution must be from 8 to 4096; got 7"),
        ({"quality": 101}, "quality must be from 1 to 100; got 101"),
        (
            {"count": 512, "snippet": Snippet(16)},
            "count and snippet.length must give at most 4096 frames per clip; got 512 snippets of 16",
        ),
        ({"fit": (64,)}, r"fit must be squash, crop, or a height and a width from resolution \(64\) to 8192; got \[64\]"),
        ({"fit": (60, 80)}, r"fit must be squash, crop, or a height and a width from resolution \(64\) to 8192; got \[60, 80\]"),
        ({"shards": 0}, "shards must be from 1 to 10000; got 0"),
        ({"max_failed": 1.5}, "max_failed must be from 0 to 1; got 1.5"),
    ],
)
def test_frames_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match="^" + message + "$"):
        FrameSettings(**{"count": 4, "resolution": 64, "format": "jpeg", "quality": 95, "shards": 8, "max_failed": 0.02, **values})
