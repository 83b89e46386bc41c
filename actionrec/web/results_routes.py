"""Routes for the test clips of the project's last run: their answers, thumbnails and previews, and confusion matrices."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from actionrec.core.errors import VideoError
from actionrec.io.tar_member import ClipFile
from actionrec.web import schema
from actionrec.web.clip_media import ClipMedia
from actionrec.web.confusions import ConfusionSummary
from actionrec.web.evaluated_clips import QUERY, Choices, ClipAnswers, ClipList, ClipQuery
from actionrec.web.evaluation_cache import EvaluationCache
from actionrec.web.preview import MEDIA_TYPE
from actionrec.web.request_fields import refuse_unknown

_Clip = Annotated[str, Query(description="A test clip's path in the data set, as in /test-clips.")]


def add_routes(app: FastAPI, evaluation: EvaluationCache, media: ClipMedia) -> None:
    """Add the addresses of test clips and confusion matrices."""
    answers: dict[str, Any] = {"responses": schema.refusals(400, 404, 422)}

    async def media_response(make: Callable[[ClipFile], Awaitable[Path]], clip: str) -> FileResponse:
        file = await run_in_threadpool(evaluation.file, clip)
        try:
            return FileResponse(await make(file))
        except VideoError as error:
            raise VideoError(f"{file.name}: {error}") from None

    @app.get("/test-clips", summary="Test clips that match", dependencies=[_only(*QUERY)], **answers)
    def test_clips(query: Annotated[ClipQuery, Query()]) -> ClipList:
        """Test clips with a model's stored answer. Confidence is calibrated, as on the page Predict."""
        return evaluation.clips().listed(query)

    @app.get("/test-clips/choices", summary="What test clips can be filtered by", dependencies=[_only()], **answers)
    def choices() -> Choices:
        return evaluation.clips().choices()

    @app.get("/test-clips/answers", summary="All models' answers for a test clip", dependencies=[_only("clip")], **answers)
    def clip_answers(clip: _Clip) -> ClipAnswers:
        """The stored answers; a clip in several official lists has one for each list."""
        return evaluation.clips().answers_for(clip)

    @app.get(
        "/test-clips/thumbnail", summary="A test clip's middle frame", dependencies=[_only("clip")], **schema.files("image/jpeg")
    )
    async def thumbnail(clip: _Clip) -> FileResponse:
        return await media_response(media.thumbnail, clip)

    @app.get("/test-clips/preview", summary="A test clip as a small MP4", dependencies=[_only("clip")], **schema.files(MEDIA_TYPE))
    async def preview(clip: _Clip) -> FileResponse:
        return await media_response(media.preview, clip)

    @app.get("/confusion", summary="A model's confusion matrix", dependencies=[_only("model")], **answers)
    def confusion(
        model: Annotated[str | None, Query(description="A model's name; the default is the best one.")] = None,
    ) -> ConfusionSummary:
        """All classes if there are at most 50; else, those of the most confused pairs."""
        return evaluation.clips().confusion(model)


def _only(*known: str) -> Any:
    """Refuse other parameters of the address."""

    def check(request: Request) -> None:
        refuse_unknown("parameter", request.query_params.multi_items(), known)

    return Depends(check)
