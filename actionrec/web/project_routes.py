"""Routes for what the project has: models, samples and the comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from actionrec.data.clips import SUFFIXES
from actionrec.web import figures, schema
from actionrec.web.clip_media import ClipMedia
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits
from actionrec.web.preview import MEDIA_TYPE
from actionrec.web.samples import SampleClip, find_sample


def add_routes(
    app: FastAPI, registry: ModelRegistry, samples: Sequence[SampleClip], limits: Limits, media: ClipMedia, collects: bool
) -> None:
    """Add the addresses of models, samples and comparison."""

    @app.get("/models", summary="The models to choose from")
    def models() -> dict[str, Any]:
        """The models, with the figures of the comparison, the default first; and the server's limits."""
        return {
            "models": registry.describe(),
            "collects": collects,
            "limits": {"megabytes": limits.megabytes, "minutes": limits.minutes, "suffixes": SUFFIXES},
            "setting": figures.comparison()["setting"],
        }

    @app.get("/samples", summary="Clips to try")
    def list_samples() -> list[schema.SampleClip]:
        return [
            schema.SampleClip(place, one.label, one.path.name, thumbnail=f"/samples/{place}.jpg")
            for place, one in enumerate(samples)
        ]

    @app.get("/samples/{place}.jpg", summary="A sample's middle frame", **schema.files("image/jpeg"))
    async def thumbnail(place: int) -> FileResponse:
        return FileResponse(await media.thumbnail(find_sample(samples, place).path))

    @app.get("/samples/{place}/preview", summary="A sample as a small MP4", **schema.files(MEDIA_TYPE))
    async def preview(place: int) -> FileResponse:
        return FileResponse(await media.preview(find_sample(samples, place).path))

    @app.get("/samples/{place}/video", summary="A sample's file", **schema.files("video/*"))
    def sample_file(place: int) -> FileResponse:
        return FileResponse(find_sample(samples, place).path)

    @app.get("/comparison", summary="The comparison of the models")
    def comparison() -> dict[str, Any]:
        """Setting, figures, pictures and files; no models if there was no comparison."""
        return figures.comparison()

    @app.get("/plots/{name}.png", include_in_schema=False)
    def plot(name: str) -> FileResponse:
        return _file(figures.pictures().get(name))

    @app.get("/metrics/{name}", include_in_schema=False)
    def text(name: str) -> FileResponse:
        path = figures.texts().get(name)
        return _file(path, "text/plain; charset=utf-8" if path and path.suffix == ".md" else None)


def _file(path: Path | None, media_type: str | None = None) -> FileResponse:
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=media_type)
