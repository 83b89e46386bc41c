"""Thumbnails and previews are made once, at the same time for all who ask, and kept up to a number of bytes."""

import asyncio
import os

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
        token = media.start_upload(clip)
        media.cancel_upload(token)
        await media.finish_upload(token)
        with pytest.raises(RequestError, match="no such preview"):
            await media.take_upload(token)
        token = media.start_upload(clip)
        await media.finish_upload(token)
        assert len(await media.take_upload(token)) > 500
        with pytest.raises(RequestError, match="each can be fetched once"):
            await media.take_upload(token)
        media.close()

    asyncio.run(use())
    assert list(tmp_path.iterdir()) == []
