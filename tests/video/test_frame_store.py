import io
import json
import re
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest
import webdataset
from damaged import flip
from film import ODD_NAMES

from actionrec.core.errors import DataError
from actionrec.io import checksums
from actionrec.video import frame_store
from actionrec.video.frame_settings import FrameSettings, Snippet
from actionrec.video.frame_store import (
    FrameWriter,
    count_clips,
    decode_jpegs,
    encode_jpeg,
    read_frames,
    read_shard,
    read_shards,
)
from actionrec.video.sampling import SampledClip

JPEG = FrameSettings(count=3, resolution=32, format="jpeg", quality=95, shards=4, max_failed=0.02)
RAW = replace(JPEG, format="raw")
BOTH = pytest.mark.parametrize("settings", [JPEG, RAW], ids=["jpeg", "raw"])


def sampled(seed=0, count=3, size=32):
    """A clip with smooth, colourful frames."""
    y, x = np.mgrid[0:size, 0:size] / size
    frames = np.stack([[x, y, 0.5 + 0.5 * np.sin(6 * x + index + seed)] for index in range(count)])  # (T, 3, H, W)
    frames = (255 * frames).astype(np.uint8).transpose(0, 2, 3, 1)
    return SampledClip(np.ascontiguousarray(frames), list(range(count)), 10, 10)


def write(path, settings, clips):
    with FrameWriter(path, settings) as writer:
        for clip_id, clip in clips.items():
            writer.add(clip_id, clip_id.split("/")[0], clip)
    return path


@BOTH
def test_clips_come_back_in_order_under_their_ids(tmp_path, settings):
    clips = {f"Clâss #1\n/{name}": sampled(number) for number, name in enumerate(reversed(ODD_NAMES))}
    path = write(tmp_path / "shard.tar", settings, clips)
    assert write(tmp_path / "same.tar", settings, clips).read_bytes() == path.read_bytes()
    stored = list(read_shard(path))
    assert [clip_id for clip_id, _ in stored] == list(clips)
    for clip_id, frames in stored:
        assert frames.dtype == np.uint8
        if settings is RAW:
            np.testing.assert_array_equal(frames, clips[clip_id].frames)
        else:
            assert np.abs(frames.astype(int) - clips[clip_id].frames).max() <= 8
    assert count_clips(path) == len(clips)


@BOTH
def test_a_shard_without_clips_can_be_read(tmp_path, settings):
    path = write(tmp_path / "shard.tar", settings, {})
    assert list(read_shard(path)) == []
    assert count_clips(path) == 0


def test_more_than_a_thousand_frames_stay_in_order(tmp_path):
    settings = replace(JPEG, count=1002, resolution=8)
    frames = np.zeros((1002, 8, 8, 3), np.uint8)
    frames[:] = (np.arange(1002) // 4)[:, None, None, None]
    path = write(tmp_path / "shard.tar", settings, {"A/a.avi": SampledClip(frames, list(range(1002)), 1002, 1002)})
    [(_, read)] = read_shard(path)
    assert np.abs(read.astype(int) - frames).max() <= 1


@BOTH
def test_webdataset_reads_frames_grouped_by_clip(tmp_path, settings):
    clips = {f"A/v_{name}": sampled(number) for number, name in enumerate(ODD_NAMES)}
    path = write(tmp_path / "shard.tar", settings, clips)
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8"))
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    for sample, (clip_id, clip) in zip(samples, clips.items(), strict=True):
        assert sample["json"] == {"clip": clip_id, "label": "A", "frame_indices": [0, 1, 2], "decoded_frames": 10}
        frames = sample["npy"] if settings is RAW else np.stack([sample[f"{index:03d}.jpg"] for index in range(3)])
        assert np.abs(frames.astype(int) - clip.frames).max() <= (0 if settings is RAW else 8)


@BOTH
def test_snippets_share_stored_frames_and_come_back_whole(tmp_path, settings):
    places = np.array([[0, 1, 2], [1, 2, 3]])
    clip = replace(sampled(count=4), snippets=places, frame_rate=12.5)
    path = write(tmp_path / "shard.tar", replace(settings, count=2, snippet=Snippet(3, 12.5)), {"A/a.avi": clip, "A/b.avi": clip})
    for _, read in read_shard(path):
        assert read.shape == (2, 3, 32, 32, 3)
        assert np.abs(read.astype(int) - clip.frames[places]).max() <= (0 if settings.format == "raw" else 8)
    assert (dict(read_shard(path, threads=2))["A/b.avi"] == read).all()
    with tarfile.open(path) as tar:
        names = tar.getnames()
        description = json.load(tar.extractfile(names[0]))
    assert len(names) == 2 * (2 if settings.format == "raw" else 5)  # no frame is stored twice
    assert (description["snippets"], description["frame_rate"], description["frame_indices"]) == (
        places.tolist(),
        12.5,
        [0, 1, 2, 3],
    )


def test_a_snippet_of_frames_that_are_not_stored_is_reported_as_damage(tmp_path):
    clip = replace(sampled(), snippets=np.array([[0, 3]]))
    path = write(tmp_path / "shard.tar", JPEG, {"A/a.avi": clip})
    with pytest.raises(DataError, match=r"shard\.tar is damaged"):
        list(read_shard(path))


def test_edges_of_colour_survive():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 40, 40), (40, 40, 200)
    decoded = decode_jpegs([encode_jpeg(stripes, 95)])[0].astype(int)
    assert (decoded[:, ::2, 0] - decoded[:, 1::2, 0]).min() > 120


@BOTH
def test_a_shard_cut_anywhere_is_reported_as_damaged(tmp_path, settings):
    clips = {f"A/{number}.avi": sampled(number, size=16) for number in range(3)}
    path = write(tmp_path / "shard.tar", replace(settings, resolution=16), clips)
    contents = path.read_bytes()
    end = len(contents.rstrip(b"\0"))
    cuts = {0, 1, 100, end - 1, *range(512, end + 512, 512), *range(700, end, 1999)}  # between members too, as disks cut them
    for kept in sorted(cuts):
        path.write_bytes(contents[:kept])
        with pytest.raises(DataError, match=r"shard\.tar is damaged \(.+\)\. Run `python -m actionrec repair`\.$"):
            list(read_shard(path))


@pytest.mark.parametrize("contents", [b"", b"not a tar file" * 100, bytes(5000), b"\x1f\x8b" + bytes(2000)])
def test_a_file_that_is_not_a_shard_is_reported_as_damaged(tmp_path, contents):
    path = tmp_path / "shard.tar"
    path.write_bytes(contents)
    for read in (count_clips, lambda path: list(read_shard(path))):
        with pytest.raises(DataError, match=r"shard\.tar is damaged"):
            read(path)


ABOUT = json.dumps({"clip": "A/a.avi", "label": "A", "frame_indices": [0], "decoded_frames": 1}).encode()


def pickled():
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


PICTURE = {"k.000.jpg": encode_jpeg(sampled().frames[0], 95)}


@pytest.mark.parametrize(
    "contents_of",
    [
        {"k.json": ABOUT},
        {"k.json": ABOUT, "k.000.jpg": b"not a picture"},
        {"k.json": ABOUT, "k.000.jpg": b""},
        {"k.json": ABOUT, "k.npy": b"\x93NUMPY\x01\x00"},
        {"k.json": ABOUT, "k.npy": pickled()},
        {"k.json": b'{"clip": "A/a.avi"}', **PICTURE},
        {"k.json": b"[]", **PICTURE},
        {"k.json": b"\xff", **PICTURE},
    ],
)
def test_invalid_members_are_reported_as_damage(tmp_path, contents_of):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name, contents in contents_of.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    with pytest.raises(DataError, match=r"shard\.tar is damaged \(.+\)\."):
        list(read_shard(tmp_path / "shard.tar"))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("count", 0, "1 to 4096"),
        ("count", 4097, "1 to 4096"),
        ("resolution", 7, "8 to 4096"),
        ("quality", 101, "1 to 100"),
        ("shards", 0, "1 to 10000"),
        ("max_failed", -0.1, "0 to 1"),
        ("max_failed", 2, "0 to 1"),
    ],
)
def test_settings_out_of_range_are_rejected(key, value, allowed):
    with pytest.raises(ValueError, match=rf"^{key} must be from {allowed}; got {value}$"):
        replace(JPEG, **{key: value})


def test_sampling_has_only_the_settings_that_decide_pixels():
    assert JPEG.sampling() == {"count": 3, "resolution": 32, "format": "jpeg", "quality": 95}
    assert replace(JPEG, shards=64, max_failed=1).sampling() == JPEG.sampling()


@BOTH
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("places", [None, np.array([[0, 1], [1, 2]])], ids=["frames", "snippets"])
def test_clips_are_decoded_into_the_arrays_that_the_caller_makes(tmp_path, settings, threads, places):
    clips = {f"A/{number}.avi": replace(sampled(number), snippets=places, frame_rate=12.5) for number in range(4)}
    path = write(tmp_path / "s.tar", settings, clips)
    made = []

    def empty(shape):
        made.append(np.full(shape, 77, np.uint8))
        return made[-1]

    read = {clip: frames for _, clip, frames in read_shards([path], threads, empty=empty)}
    assert sorted(map(id, read.values())) == sorted(map(id, made))
    assert all(np.array_equal(frames, dict(read_shard(path))[clip]) for clip, frames in read.items())


def test_pictures_of_different_sizes_are_refused():
    jpegs = [encode_jpeg(sampled(size=size).frames[0], 95) for size in (32, 16)]
    with pytest.raises(ValueError, match=r"^pictures of different sizes: \(16, 16\) and \(32, 32\)$"):
        decode_jpegs(jpegs)


@BOTH
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_the_frames(tmp_path, settings, threads):
    path = write(tmp_path / "s.tar", settings, {f"A/{number}.avi": sampled(number) for number in range(9)})
    alone, ahead = dict(read_shard(path)), dict(read_shard(path, threads))
    assert list(ahead) == list(alone)
    assert all(np.array_equal(alone[clip], ahead[clip]) for clip in alone)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match="is damaged"):
        list(read_shard(path, threads))


def test_threads_read_one_array_at_a_time(tmp_path, monkeypatch):
    """NumPy reads a header with Python's parser, which fails at times if several threads use it (3.11.7)."""
    path = write(tmp_path / "shard.tar", RAW, {f"A/{number}": sampled(number) for number in range(12)})
    load, reading, most = np.load, [], []

    def watched(*arguments, **options):
        reading.append(1)
        most.append(len(reading))
        time.sleep(0.005)
        reading.pop()
        return load(*arguments, **options)

    monkeypatch.setattr(np, "load", watched)
    assert len(list(read_shard(path, threads=4))) == len(most) == 12
    assert max(most) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_shards_are_read_one_after_another_and_threads_do_not_stop_between_them(tmp_path, monkeypatch, threads):
    paths = [write(tmp_path / f"{one}.tar", JPEG, {f"{one}/{clip}.avi": sampled(clip) for clip in range(2)}) for one in "acb"]
    opened, open_shard = [], frame_store.open_shard
    monkeypatch.setattr(frame_store, "open_shard", lambda path, buffering: opened.append(path) or open_shard(path, buffering))
    reading = read_shards(paths, threads)
    first = next(reading)
    assert opened == (paths[:1] if threads == 1 else paths)
    read = [first, *reading]
    assert [(path, clip) for path, clip, _ in read] == [(path, clip) for path in paths for clip, _ in read_shard(path)]
    assert all(np.array_equal(frames, dict(read_shard(path))[clip]) for path, clip, frames in read)


@pytest.mark.parametrize("damage", ["cut off", "not a JPEG"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_clips_before_a_damaged_shard_are_read(tmp_path, monkeypatch, threads, damage):
    first, second = (tmp_path / "a.tar", tmp_path / "b.tar")
    write(first, JPEG, {f"A/{clip}.avi": sampled(clip) for clip in range(2)})
    with monkeypatch.context() as patch:
        if damage == "not a JPEG":
            patch.setattr(frame_store, "encode_jpeg", lambda frame, quality: b"no picture")
        write(second, JPEG, {"B/0.avi": sampled()})
    if damage == "cut off":
        second.write_bytes(second.read_bytes()[:-5000])
    reading = read_shards([first, second], threads)
    assert [next(reading)[1] for _ in range(2)] == ["A/0.avi", "A/1.avi"]
    with pytest.raises(DataError, match=r"b\.tar is damaged"):
        next(reading)


@pytest.fixture(params=[JPEG, RAW], ids=["jpeg", "raw"])
def store(request, tmp_path):
    """Two shards of clips with odd names."""
    for shard in range(2):
        clips = {f"A/{name}": sampled(number) for number, name in enumerate(ODD_NAMES[shard::2])}
        write(tmp_path / f"shard-{shard:04d}.tar", request.param, clips)
    return tmp_path


def test_single_clips_equal_those_of_the_whole_shard(store):
    everything = {clip: frames for path in store.glob("*.tar") for clip, frames in read_shard(path)}
    clips = [f"A/{name}" for name in ODD_NAMES[3:8]]
    frames = read_frames(store, clips)
    assert set(frames) == set(clips)
    assert all(np.array_equal(frames[clip], everything[clip]) for clip in clips)


def test_clips_that_are_not_in_the_store_are_left_out(store):
    for _ in range(2):
        assert read_frames(store, ["B/unknown.avi"]) == {}
        assert read_frames(store, []) == {}
        checksums.write(store, {})


def test_reading_single_clips_reports_a_damaged_shard(store):
    path = store / "shard-0000.tar"
    contents = path.read_bytes()
    for start in (b"\xff\xd8\xff", b"\x93NUMPY"):
        contents = contents.replace(start, b"damage"[: len(start)])
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"shard-0000.tar is damaged .*Run `python -m actionrec repair`"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])


@pytest.mark.parametrize(
    ("place", "message"), [("header", "is damaged (the header at byte "), ("picture", "do not match SHA256SUMS: shard-0000.tar.")]
)
def test_a_flipped_byte_is_reported(store, place, message):
    checksums.write(store, {})
    file = store / "shard-0000.tar"
    with tarfile.open(file) as tar:
        member = next(member for member in tar if not member.name.endswith(".json"))
    flip(file, member.offset if place == "header" else member.offset_data + member.size - 5, keep_time=True)
    with pytest.raises(DataError, match=rf"{re.escape(message)}.* Run `python -m actionrec repair`\.$"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])
    assert read_frames(store, [f"A/{ODD_NAMES[1]}"])  # in the other shard


def test_a_missing_shard_is_reported(store):
    checksums.write(store, {})
    (store / "shard-0000.tar").unlink()
    with pytest.raises(DataError, match=r"1 files are missing: shard-0000\.tar"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])
