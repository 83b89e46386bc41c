"""Previews play in browsers, keep the video's shape, and stay in step with it."""

import av
import film
import pytest
from damaged import DECODABLE, UNDECODABLE

from actionrec.core.errors import VideoError
from actionrec.web.preview import preview_size, write_preview


def frames_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        about = stream.codec_context.name, stream.codec_context.pix_fmt, stream.height, stream.width
        return about, [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_each_frame_is_at_its_time_and_shows_its_number(tmp_path):
    clip = film.write_video(tmp_path / "clip.avi", 60, frames_per_second=20)
    write_preview(clip, tmp_path / "preview.mp4")
    (codec, colours, height, width), frames = frames_of(tmp_path / "preview.mp4")
    assert (codec, colours, height, width) == ("h264", "yuv420p", film.HEIGHT, film.WIDTH)
    assert [film.number_of(picture) for _, picture in frames] == list(range(60))
    assert [time for time, _ in frames] == pytest.approx([number / 20 for number in range(60)], abs=1e-3)


def test_a_fast_video_loses_frames_but_not_its_times(tmp_path):
    clip = film.write_video(tmp_path / "clip.avi", 120, frames_per_second=120)
    write_preview(clip, tmp_path / "preview.mp4")
    _, frames = frames_of(tmp_path / "preview.mp4")
    assert 20 <= len(frames) <= 31
    for time, picture in frames:
        assert film.number_of(picture) == round(time * 120)


@pytest.mark.parametrize(
    ("size", "expected"), [((1080, 1920), (360, 640)), ((1920, 1080), (640, 360)), ((101, 75), (100, 76)), ((1, 3000), (2, 3000))]
)
def test_sizes_are_even_and_keep_the_shape(size, expected):
    assert preview_size(*size) == expected


def test_real_clips_keep_their_length(shared, tmp_path):
    for clip in sorted((shared / "data/real_clips").glob("*/*"))[::25]:
        write_preview(clip, tmp_path / "preview.mp4")
        with av.open(str(clip)) as original, av.open(str(tmp_path / "preview.mp4")) as preview:
            wanted = float(original.streams.video[0].duration * original.streams.video[0].time_base)
            assert preview.duration / av.time_base == pytest.approx(wanted, abs=0.15), clip.name


def test_damaged_files_give_what_can_be_read_or_an_error(shared, tmp_path):
    for name in DECODABLE:
        write_preview(shared / "data/broken" / name, tmp_path / "preview.mp4")
        assert frames_of(tmp_path / "preview.mp4")[1], name
    for name in UNDECODABLE:
        with pytest.raises(VideoError):
            write_preview(shared / "data/broken" / name, tmp_path / "preview.mp4")


def test_it_can_be_cancelled(tmp_path):
    clip = film.write_video(tmp_path / "clip.avi", 50)
    asked = []
    write_preview(clip, tmp_path / "preview.mp4", lambda: asked.append(1) or len(asked) > 5)
    assert len(asked) == 6
