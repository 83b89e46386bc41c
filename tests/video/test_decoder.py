"""What opens, which stream is read, colours, rotation, and what is said of damage; real odd files and made ones."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from damaged import DECODABLE, UNDECODABLE
from film import HEIGHT, WIDTH, number_of, numbered_picture, read_all, write_h264, write_video

from actionrec.core.errors import VideoError
from actionrec.video import decoder
from actionrec.video.clip_reader import read_frame, sample_clip, timed_frames
from actionrec.video.decoder import Header, PictureTooLargeError, open_video, read_header, upright
from actionrec.video.sampling import evenly_spaced, resize

REENCODE = "Re-encode it: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"


def timed(path, resolution):
    with open_video(path) as video:
        return list(timed_frames(video, resolution))


@pytest.mark.parametrize("name", DECODABLE)
def test_real_odd_files_give_all_their_frames_by_every_path(shared, name):
    path = shared / "data" / "broken" / name
    sampled, shown = sample_clip(path, 32, 96), timed(path, 96)
    assert (sampled.header_frames, sampled.decoded_frames, sampled.warning) == DECODABLE[name]
    assert sampled.indices == evenly_spaced(len(shown), 32)
    np.testing.assert_array_equal(sampled.frames, np.stack([shown[index].picture for index in sampled.indices]))
    np.testing.assert_array_equal(sample_clip(path, 32, 96).frames, sampled.frames)  # the same on every run
    middle = sampled.indices[16]
    np.testing.assert_array_equal(resize(read_frame(path, middle), 96), sampled.frames[16])


@pytest.mark.parametrize("name", UNDECODABLE)
def test_real_files_that_cannot_be_decoded_say_why_and_what_to_do(shared, name):
    path = shared / "data" / "broken" / name
    for read in (lambda: sample_clip(path, 32, 96), lambda: timed(path, 96), lambda: read_frame(path, 0)):
        with pytest.raises(VideoError) as error:
            read()
        assert str(error.value) == UNDECODABLE[name]


def test_conversions_start_no_threads(monkeypatch, tmp_path):
    threads = []

    class Reformatter:
        def reformat(self, frame, **options):
            threads.append(options["threads"])  # by default one per core, started for each conversion
            return VideoReformatter().reformat(frame, **options)

    monkeypatch.setattr(decoder, "VideoReformatter", Reformatter)
    sample_clip(write_video(tmp_path / "a.avi", 5), 4, 32)
    assert threads == [1] * 5  # one finds out how pictures are turned


@pytest.mark.parametrize("name", ["gop12.avi", "packed_b.avi", "h264_b.mp4"])
def test_conversion_keeps_no_frame(name):
    """After damage, a decoder may show what its buffers held before, so pictures would depend on which frames are kept."""

    def buffers(step):
        """The buffer of each frame, numbered in the order of first use; each `step`-th frame is converted."""
        places, numbers = [], {}
        with open_video(Path(__file__).parent / "videos" / name) as video:
            for number, frame in enumerate(video.frames()):
                places.append(numbers.setdefault(frame.planes[0].buffer_ptr, len(numbers)))
                if number % step == 0:
                    video.picture(frame)
        return places

    assert buffers(1) == buffers(7) == buffers(10_000)


def test_every_file_of_the_folder_is_tested_here(shared):
    videos = {path.name for path in (shared / "data" / "broken").iterdir() if path.suffix not in (".md", ".pth")}
    assert videos == {*DECODABLE, *UNDECODABLE}


def test_frames_of_an_interlaced_file_differ(shared):
    shown = timed(shared / "data" / "broken" / "interlaced_pva.mpg", 96)
    assert len({one.picture.tobytes() for one in shown}) == 9


@pytest.mark.parametrize(("name", "turn"), [("rotated_0.mov", lambda one: one), ("rotated_90.mov", lambda one: np.rot90(one, -1))])
def test_rotation_tags_are_obeyed(shared, name, turn):
    path = shared / "data" / "broken" / name
    stored = read_all(path)[0]
    assert stored.shape == (320, 568, 3)
    np.testing.assert_array_equal(read_frame(path, 0), turn(stored))


def test_mirroring_tags_are_obeyed(shared):
    path = shared / "data" / "broken" / "mirrored.mov"
    np.testing.assert_array_equal(read_frame(path, 3), read_all(path)[3][:, ::-1])


def test_a_crop_is_ffmpegs(shared):
    path = shared / "data" / "broken" / "crop_left_8.mp4"
    assert read_frame(path, 0).shape == (216, 304, 3)
    np.testing.assert_array_equal(read_frame(path, 0), read_all(path)[0])


def test_a_tag_of_other_primaries_changes_colours_by_a_few_levels_at_most(shared):
    """Untagged and BT.709 in the same file would differ by 9 levels on average."""
    path = shared / "data" / "broken" / "primaries_p3.mp4"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        frame.color_primaries = frame.color_trc = 2  # unspecified
        untagged = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
    assert np.abs(read_frame(path, 0).astype(int) - untagged).mean() < 2


@pytest.mark.parametrize(("transfer", "hdr"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_is_reported_and_converted_as_sdr(tmp_path, transfer, hdr):
    params = "colorprim=bt2020:colormatrix=bt2020nc"
    tagged = write_h264(tmp_path / "a.mp4", 10, **{"x264-params": f"{params}:transfer={transfer}"})
    plain = write_h264(tmp_path / "b.mp4", 10, **{"x264-params": params})
    assert (read_header(tagged).hdr, read_header(plain).hdr) == (hdr, "")
    np.testing.assert_array_equal(sample_clip(tagged, 8, 40).frames, sample_clip(plain, 8, 40).frames)


def test_the_colour_matrix_is_the_tagged_one_and_bt601_without_a_tag(tmp_path):
    def mean_colour(matrix):
        red = [numbered_picture(0) * 0 + np.array([20, 20, 220], np.uint8)] * 3
        path = tmp_path / f"{matrix}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"x264-params": f"colormatrix={matrix}"} if matrix else {})
            stream.pix_fmt, stream.width, stream.height = "yuv420p", WIDTH, HEIGHT
            for picture in red:
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                spaces = {"bt709": "ITU709", "": "ITU601"}
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=spaces[matrix])))
            container.mux(stream.encode())
        return read_frame(path, 0).mean(axis=(0, 1))

    np.testing.assert_allclose(mean_colour("bt709"), (220, 20, 20), atol=4)
    np.testing.assert_allclose(mean_colour(""), (220, 20, 20), atol=4)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("across", [1, -1])
@pytest.mark.parametrize("down", [1, -1])
def test_each_of_the_eight_orientations_puts_pixels_where_the_matrix_says(turned, across, down):
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    a, b, c, d = (0, down, across, 0) if turned else (across, 0, 0, down)
    matrix = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], np.int32)
    shown = upright(picture, matrix)
    places = {(x, y): (a * x + c * y, b * x + d * y) for x in range(3) for y in range(2)}
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    for (x, y), (shown_x, shown_y) in places.items():
        assert shown[shown_y - top, shown_x - left].tolist() == picture[y, x].tolist()


def write_streams(path, *numbers, default=None, cover=False):
    """Write a Matroska file with a video stream for each start number, and perhaps a cover picture."""
    with av.open(str(path), "w") as container:
        streams = []
        if cover:
            container.add_attachment("cover.jpg", "image/jpeg", cv2.imencode(".jpg", numbered_picture(900))[1].tobytes())
        for start in numbers:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.disposition = Disposition(int(default == start))
            streams.append((stream, range(start, start + 10)))
        for stream, inside in streams:
            for place, number in enumerate(inside):
                frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")
                frame.pts = place
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("default", "first"), [(None, 100), (100, 100), (200, 200)])
def test_the_default_stream_is_read_else_the_first(tmp_path, default, first):
    path = write_streams(tmp_path / "a.mkv", 100, 200, default=default)
    assert [number_of(frame) for frame in sample_clip(path, 10, 80).frames] == list(range(first, first + 10))


def test_an_attached_picture_is_not_the_video(tmp_path):
    path = write_streams(tmp_path / "a.mkv", 100, cover=True)
    with av.open(str(path)) as container:
        video, cover = sorted(container.streams.video, key=lambda one: bool(one.disposition & Disposition.attached_pic))
        assert cover.disposition & Disposition.attached_pic
        both = SimpleNamespace(streams=StreamList([cover, video]))
        assert decoder._video_stream(both, 10_000) is video
        with pytest.raises(VideoError, match="only an attached picture"):
            decoder._video_stream(SimpleNamespace(streams=StreamList([cover])), 10_000)
    assert number_of(sample_clip(path, 10, 80).frames[0]) == 100


class StreamList(list):
    """Streams in an order that no writer here gives them."""

    @property
    def video(self):
        return self


def test_a_header_says_frames_rate_size_and_codec(tmp_path):
    path = write_video(tmp_path / "a.avi", 10, frames_per_second=12.5)
    assert read_header(path) == Header(10, 12.5, WIDTH, HEIGHT, "mpeg4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "mpg", "flv"])
def test_pictures_over_the_limit_are_refused_before_any_is_decoded(tmp_path, suffix):
    path = write_h264(tmp_path / f"a.{suffix}", 30, codec="mpeg2video" if suffix == "mpg" else "libx264")
    with (
        pytest.raises(PictureTooLargeError, match="got 80 x 48, expected at most 3,839 pixels"),
        open_video(path, WIDTH * HEIGHT - 1),
    ):
        pass
    with open_video(path, WIDTH * HEIGHT) as video:
        assert (video.header.width, video.header.height) == (WIDTH, HEIGHT)


def test_a_header_with_an_absurd_size_takes_no_memory(tmp_path):
    path = write_h264(tmp_path / "a.avi", 10, codec="ffv1")  # whose decoder believes the header
    contents = path.read_bytes()
    place = contents.index(b"strf") + 8 + 4
    assert int.from_bytes(contents[place : place + 4], "little") == WIDTH
    path.write_bytes(contents[:place] + (30_000).to_bytes(4, "little") + (30_000).to_bytes(4, "little") + contents[place + 8 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VideoError, match="the picture size is unknown, or over 67,108,864 pixels"):
        sample_clip(path, 8, 40)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_playlist_that_names_other_files_is_refused(tmp_path):
    write_h264(tmp_path / "secret.ts", 40)
    playlists = {
        "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "b.mp4": "ffconcat version 1.0\nfile secret.ts\n",
        "c.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="not a video file that FFmpeg can open"):
            sample_clip(tmp_path / name, 8, 40)


def test_a_pipe_or_folder_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.avi")
    for path in (tmp_path / "a.avi", tmp_path):
        with pytest.raises(VideoError, match=r"^not a regular file; expected a video file"):
            sample_clip(path, 8, 40)


def test_a_file_without_read_permission_says_so(tmp_path):
    path = write_video(tmp_path / "a.avi", 5)
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.chmod(0o600)
        load = "import os; from pathlib import Path; from actionrec.video.clip_reader import sample_clip"
        code = f"{load}; os.setuid(65534); sample_clip(Path({str(path)!r}), 8, 40)"  # root may read everything
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "VideoError: permission denied. Make the file and its folders readable: chmod u+rX FILE" in done.stderr
    else:
        with pytest.raises(VideoError, match=r"^permission denied"):
            sample_clip(path, 8, 40)


def test_an_mp4_without_its_index_is_cut_off(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 30)
    contents = path.read_bytes()
    assert contents.index(b"moov") > len(contents) // 2
    path.write_bytes(contents[: len(contents) // 2])
    with pytest.raises(VideoError, match=r"^the file is cut off: its index"):
        sample_clip(path, 8, 40)


def test_an_unknown_codec_says_how_to_re_encode(tmp_path):
    path = write_video(tmp_path / "a.avi", 10)
    contents = path.read_bytes()
    path.write_bytes(contents.replace(b"FMP4", b"QQQQ").replace(b"XVID", b"QQQQ"))
    with pytest.raises(VideoError, match=rf"^unknown video codec. {REENCODE}$"):
        sample_clip(path, 8, 40)


def test_reading_goes_on_behind_a_burst_of_damage_and_counts_it(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 60, g=10, crf=18)
    whole = read_all(path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    contents = bytearray(path.read_bytes())
    for packet in packets[22:25]:
        contents[packet.pos : packet.pos + 12] = b"\xff" * 12  # lengths that do not add up
    path.write_bytes(contents)
    sampled = sample_clip(path, 60, 40)
    assert sampled.decoded_frames == len(read_all(path)) == 57
    assert sampled.warning == "3 packets damaged; 57 of 60 frames read"
    np.testing.assert_array_equal(sampled.frames[-1], resize(whole[-1], 40))


def test_an_error_of_the_demuxer_is_not_the_end(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", 30)

    class Faulty:
        """A container whose demuxer fails once, after ten packets."""

        def __init__(self, container):
            self.container, self.failures = container, 1

        def demux(self, stream):
            for number, packet in enumerate(self.container.demux(stream)):
                yield packet
                if number == 9 and self.failures:
                    self.failures -= 1
                    raise av.error.InvalidDataError(1, "bad")

    with open_video(path) as video:
        monkeypatch.setattr(video, "_container", Faulty(video._container))
        assert len(list(video.frames())) == 30
        assert video.warning == "1 packet damaged; 30 of 30 frames read"


def test_a_demuxer_that_never_stops_failing_is_the_end(tmp_path, monkeypatch):
    class Endless:
        def demux(self, stream):
            raise av.error.InvalidDataError(1, "bad")

    with open_video(write_video(tmp_path / "a.avi", 30)) as video:
        monkeypatch.setattr(video, "_container", Endless())
        assert list(video.packets()) == []
        assert video.damaged == 1


def test_opencv_reads_the_same_pictures(shared):
    """Where OpenCV reads a file right, its pictures are ours: stored features stay valid."""
    for path in sorted((shared / "data" / "real_clips").glob("*/*_g01_c01.mp4")):
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        for one in timed(path, 64)[:20]:
            picture = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
            np.testing.assert_array_equal(resize(picture, 64), one.picture)


def test_the_limit_is_what_the_documentation_says():
    assert decoder.MAX_PIXELS == 8192 * 8192
