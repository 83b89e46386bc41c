"""Thumbnails and previews are made once, at the same time for all who ask, and kept up to a number of bytes."""

import asyncio
import gc
import os
import threading

import cv2
import pytest

from actionrec.core.errors import VideoError
from actionrec.web import clip_media
from actionrec.web.clip_media import ClipMedia
from actionrec.web.predict_request import RequestError


@pytest.fixture
def made(monkeypatch):
    """The clips of which previews were made."""
    names = []
    write = clip_media.write_preview
    monkeypatch.setattr(clip_media, "write_preview", lambda clip, *rest: (names.append(clip.name), write(clip, *rest)))
    return names


def test_each_is_made_once_and_again_when_the_clip_changes(tmp_path, clips, made):
    clip = tmp_path / "clip.avi"
    clip.write_bytes(next(clips.glob("Dark/*")).read_bytes())
    (tmp_path / "media").mkdir()

    async def use():
        media = ClipMedia(tmp_path / "media")
        first, second = await asyncio.gather(media.preview(clip), media.preview(clip))
        assert first == second == await media.preview(clip)
        assert made == ["clip.avi"]
        picture = cv2.imread(str(await media.thumbnail(clip)))
        assert picture.shape[1] == 240
        clip.write_bytes(next(clips.glob("Bright/*")).read_bytes())
        os.utime(clip, ns=(1, 1))
        assert await media.preview(clip) != first
        assert made == ["clip.avi", "clip.avi"]
        media.close()

    asyncio.run(use())


def test_the_least_recently_used_are_deleted(tmp_path, clips, made):
    paths = sorted(clips.glob("*/*.avi"))

    async def use():
        media = ClipMedia(tmp_path, most_bytes=0)
        for path in (*paths, paths[-1], paths[0]):
            await media.preview(path)
            assert len(list(tmp_path.iterdir())) == 1
        media.close()

    asyncio.run(use())
    assert made == [path.name for path in (*paths, paths[0])]


def test_a_clip_that_cannot_be_decoded_is_an_error_each_time(tmp_path):
    (tmp_path / "noise.avi").write_bytes(b"noise" * 100)
    (tmp_path / "media").mkdir()

    async def use():
        media = ClipMedia(tmp_path / "media")
        for _ in range(2):
            with pytest.raises(VideoError):
                await media.preview(tmp_path / "noise.avi")
        with pytest.raises(FileNotFoundError):
            await media.thumbnail(tmp_path / "missing.avi")
        media.close()

    asyncio.run(use())
    assert list((tmp_path / "media").iterdir()) == []


def test_a_cancelled_upload_leaves_nothing(tmp_path, clips):
    clip = next(clips.glob("Dark/*"))

    async def use():
        media = ClipMedia(tmp_path)
        preview = media.start_upload(clip)
        preview.cancelled.set()
        await media.finish_upload(preview)
        with pytest.raises(RequestError, match="no such preview"):
            await media.take_upload(preview.token)
        preview = media.start_upload(clip)
        await media.finish_upload(preview)
        assert len(await media.take_upload(preview.token)) > 500
        with pytest.raises(RequestError, match="each can be fetched once"):
            await media.take_upload(preview.token)
        media.close()

    asyncio.run(use())
    assert list(tmp_path.iterdir()) == []


def test_errors_that_nobody_waits_for_are_not_logged(tmp_path, caplog):
    (tmp_path / "noise.avi").write_bytes(b"noise" * 100)
    (tmp_path / "media").mkdir()

    async def use():
        media = ClipMedia(tmp_path / "media")
        preview = media.start_upload(tmp_path / "noise.avi")
        preview.cancelled.set()
        await media.finish_upload(preview)
        leaving = asyncio.ensure_future(media.preview(tmp_path / "noise.avi"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0.5)
        media.close()

    asyncio.run(use())
    gc.collect()
    assert caplog.text == ""


def test_the_upload_is_read_until_the_end_although_its_client_left(tmp_path, clips, monkeypatch):
    release, ended = threading.Event(), []

    def slow(*_):
        release.wait()
        ended.append(True)

    monkeypatch.setattr(clip_media, "write_preview", slow)

    async def use():
        media = ClipMedia(tmp_path)
        preview = media.start_upload(next(clips.glob("Dark/*")))
        client = asyncio.ensure_future(media.take_upload(preview.token))
        await asyncio.sleep(0)
        client.cancel()
        finished = asyncio.ensure_future(media.finish_upload(preview))
        await asyncio.sleep(0.05)
        assert not finished.done()
        release.set()
        await finished
        assert ended == [True]
        media.close()

    asyncio.run(use())
