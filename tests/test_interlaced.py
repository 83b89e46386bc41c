"""Interlaced clips give their own pictures, and the same ones every time."""

import av
import cv2
import numpy as np
import pytest
from film import number_of, numbered_picture, write_video
from test_h264 import read_through, write_h264

from actionrec import video
from actionrec.interlaced import converted
from actionrec.video import read_frame, resize, sample_clip


def write_mpeg4(path, length):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"flags": "+ildct+ilme"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 80, 48
        for number in range(length):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")))
        container.mux(stream.encode())
    return path


def write_interlaced(folder, kind, length=40):
    if kind == "mpeg4":
        return write_mpeg4(folder / "a.avi", length)
    return write_h264(folder / f"a.{kind}", length, **{"x264-params": "interlaced=1"})


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mpeg4"])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_interlaced_frames_are_the_ones_that_they_say(tmp_path, kind, count):
    path = write_interlaced(tmp_path, kind)
    sampled = sample_clip(path, count, 80)
    assert (sampled.decoder, sampled.decoded_frames) == ("pyav", 40)
    for index, frame in zip(sampled.indices, sampled.frames, strict=True):
        assert number_of(frame) == index
        picture = cv2.cvtColor(resize(numbered_picture(index), 80), cv2.COLOR_RGB2BGR)
        assert np.abs(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR).astype(int) - picture).mean() < 25
    np.testing.assert_array_equal(sample_clip(path, count, 80).frames, sampled.frames)


@pytest.mark.parametrize("kind", ["mp4", "mpeg4"])
def test_one_frame_of_an_interlaced_clip_is_the_one_that_it_says(tmp_path, kind):
    path = write_interlaced(tmp_path, kind)
    assert [number_of(read_frame(path, index)) for index in (0, 7, 39)] == [0, 7, 39]


def test_what_opencv_can_convert_stays_as_it_is(tmp_path):
    still = write_video(tmp_path / "still.avi", [numbered_picture(5)] * 20)
    for path in (still, write_video(tmp_path / "one.avi", 1), write_video(tmp_path / "moving.avi", 20)):
        sampled = sample_clip(path, 8, 40)
        assert sampled.decoder == "opencv"
        np.testing.assert_array_equal(sampled.frames, read_through(path, 8, 40)[2])


def test_moving_clips_are_not_decoded_twice(tmp_path, monkeypatch):
    path = write_video(tmp_path / "moving.avi", 20)
    monkeypatch.setattr(video.interlaced, "converted", lambda *_: pytest.fail("decoded twice"))
    assert sample_clip(path, 8, 40).decoder == "opencv"


@pytest.mark.parametrize("name", ["rotated_0.mov", "rotated_90.mov"])
def test_pictures_are_opencv_s_where_it_can_convert(shared, name):
    path = shared / "data" / "broken" / name
    capture = cv2.VideoCapture(str(path))
    found = list(converted(path, [0, 2, 9]))
    assert [one.interlaced for one in found] == [False, False]
    np.testing.assert_array_equal(found[0].picture, capture.read()[1])


def test_what_does_not_decode_has_no_pictures(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"RIFF" + bytes(4000))
    assert list(converted(tmp_path / "a.avi", [0])) == []


def test_a_clip_of_which_only_the_first_frame_is_interlaced_has_that_frame_too(tmp_path):
    """Two H.264 streams, one after the other: a frame that is interlaced, and thirty that are not."""
    contents = b""
    for interlaced, numbers in ((1, range(5, 6)), (0, range(6, 36))):
        part = tmp_path / "part.h264"
        with av.open(str(part), "w", format="h264") as container:
            options = {"x264-params": f"interlaced={interlaced}:bframes=0"}
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.pix_fmt, stream.width, stream.height = "yuv420p", 80, 48
            for number in numbers:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")))
            container.mux(stream.encode())
        contents += part.read_bytes()
    path = tmp_path / "a.h264"
    path.write_bytes(contents)
    assert [frame.interlaced for frame in converted(path, range(31))] == [True] + 30 * [False]
    sampled = sample_clip(path, 8, 80)
    assert [number_of(frame) for frame in sampled.frames] == [index + 5 for index in sampled.indices]
    assert sampled.decoder == "pyav"
