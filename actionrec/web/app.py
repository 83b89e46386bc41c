"""The HTTP API, described at /openapi.json, and the page that is its client. Nothing is fetched from elsewhere."""

import json
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actionrec.core.errors import ActionrecError, DataError, VideoError
from actionrec.core.text import is_printable, printable_lines, shortened
from actionrec.data.clips import SUFFIXES
from actionrec.web import answers, figures, schema
from actionrec.web import samples as sample_clips
from actionrec.web.fair_queue import FairQueue
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import LONGEST_WINDOW, SHORTEST_STRIDE, Limits, PredictRequest, RequestError
from actionrec.web.request_middleware import DEFECT, RequestMiddleware
from actionrec.web.samples import Sample
from actionrec.web.uploads import Uploads

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
LINES = "application/x-ndjson"
"""For those who accept it, `POST /predict` answers a line of JSON a step, the last of which has the result."""

_TOO_SLOW = 408
_LEFT = 499  # the status that nginx logs for a client that is gone
_NAME_LENGTH = 120  # characters of a file's name that are kept


def create_app(
    shelf: ModelRegistry, samples: Sequence[Sample], limits: Limits, *, hosts: Sequence[str] = ("*",), framed_by: str = "'self'"
) -> FastAPI:
    """Make the server.

    Args:
        samples: clips to try.
        hosts: names that requests may be addressed to, against pages elsewhere that call this machine by a name of theirs.
        framed_by: who may show the page in a frame, as Content-Security-Policy has it.

    Returns:
        The server; `state.turns.end()` has it tell all who wait that it ends.
    """
    turns, uploads = FairQueue(limits), Uploads()

    @asynccontextmanager
    async def whole_life(app: FastAPI) -> AsyncIterator[None]:
        yield
        turns.end()
        uploads.close()

    app = FastAPI(
        title="actionrec",
        description='Says what happens in a video. Errors are `{"error": "..."}`.',
        version="1",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=whole_life,
    )
    app.state.turns = turns
    app.add_middleware(RequestMiddleware, turns=turns, limits=limits, hosts=tuple(hosts), framed_by=framed_by)
    _tell_errors(app)

    @app.post(
        "/predict",
        summary="Predict a video",
        response_model=schema.ClipAnswer | schema.TimelineAnswer,
        responses={200: {"description": "The answer.", "content": {LINES: {"schema": schema.lines()}}}, **schema.refusals()},
    )
    async def predict(
        request: Request,
        video: Annotated[UploadFile | None, File(description="The file; or name a sample.")] = None,
        sample: Annotated[int | None, Form(description="A sample's number, in place of a file.")] = None,
        model: Annotated[str | None, Form(description="A name from /models; without, the first of them.")] = None,
        top: Annotated[int, Form(ge=1, description="Classes to tell.")] = 5,
        window: Annotated[
            float | None,
            Form(ge=2 * SHORTEST_STRIDE, le=LONGEST_WINDOW, allow_inf_nan=False, description="Seconds: a timeline."),
        ] = None,
        stride: Annotated[
            float | None, Form(ge=SHORTEST_STRIDE, allow_inf_nan=False, description="Seconds; without, half a window.")
        ] = None,
        explain: Annotated[bool, Form(description="Also tell which frames mattered.")] = False,
        pictures: Annotated[bool, Form(description="Also send frames and plots, as data URLs.")] = False,
    ) -> Response:
        """Answer with the same fields as `python -m actionrec predict --json`.

        Accept `application/x-ndjson` to get a line for each step of the work, `{"doing": ...}`, and in the end `{"result": ...}`
        or `{"error": ...}`.
        """
        wish = PredictRequest(top, window, stride, explain, pictures)
        if (video is None) == (sample is None):
            raise RequestError(400, f"send a file as video, or a sample's number as sample; got {'both' if video else 'neither'}.")
        name, suffix = _name_and_suffix(video.filename or "video") if video else ("", "")

        async def told_steps() -> AsyncGenerator[answers.Step, None]:
            with uploads.draft(suffix) if video else nullcontext() as draft:
                if video and draft:
                    await _save(video, draft)
                    path, shown = draft, name
                else:
                    path = _sample(samples, sample or 0).path
                    shown = path.name
                work = answers.steps(lambda: shelf.predictor(model), path, shown, wish, limits)
                async with aclosing(turns.each(work)) as steps:
                    async for step in steps:
                        yield step
                        if "result" in step:
                            return  # rather than wait for another turn, to hear that there is no more

        if LINES in request.headers.get("accept", ""):
            return StreamingResponse(_lines(told_steps()), media_type=LINES)
        told: answers.Step = {}
        async with aclosing(told_steps()) as steps:
            async for told in steps:
                if "result" not in told and await request.is_disconnected():
                    return Response(status_code=_LEFT)
        return JSONResponse(told["result"])

    @app.get("/models", summary="What there is to choose from")
    def models() -> dict[str, Any]:
        """The models with what the comparison measured, the default first; and the server's limits."""
        return {
            "models": shelf.describe(),
            "limits": {"megabytes": limits.megabytes, "minutes": limits.minutes, "suffixes": SUFFIXES},
            "setting": figures.comparison()["setting"],
        }

    @app.get("/samples", summary="Clips to try")
    def list_samples() -> list[dict[str, Any]]:
        return [
            {"sample": place, "label": one.label, "video": one.path.name, "thumbnail": f"/samples/{place}.jpg"}
            for place, one in enumerate(samples)
        ]

    one_sample: dict[str, Any] = {"responses": {"4XX": schema.refusals(400)[400], **schema.refusals(404)}}

    @app.get("/samples/{place}.jpg", summary="A sample's middle frame", response_class=Response, **one_sample)
    def thumbnail(place: int) -> Response:
        return Response(sample_clips.thumbnail(_sample(samples, place).path), media_type="image/jpeg")

    @app.get("/samples/{place}/video", summary="A sample's file", response_class=FileResponse, **one_sample)
    def sample_file(place: int) -> FileResponse:
        return FileResponse(_sample(samples, place).path)

    @app.get("/comparison", summary="The comparison of the models")
    def comparison() -> dict[str, Any]:
        """Setting, figures, pictures and texts; without models where there was no comparison."""
        return figures.comparison()

    @app.get("/plots/{name}.png", include_in_schema=False)
    def plot(name: str) -> FileResponse:
        return _file(figures.pictures().get(name))

    @app.get("/metrics/{name}", include_in_schema=False)
    def text(name: str) -> FileResponse:
        found = figures.texts().get(name)
        return _file(found, "text/plain; charset=utf-8" if found and found.suffix == ".md" else None)

    for address, page in (("/", "index.html"), ("/results", "results.html"), ("/docs", "docs.html")):
        app.add_api_route(address, lambda page=page: FileResponse(STATIC / page), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _tell_errors(app: FastAPI) -> None:
    """Answer all errors as {"error": "..."}; the door does so for defects."""

    @app.exception_handler(ActionrecError)
    async def known(request: Request, error: Exception) -> Response:
        return _error(_status(error), str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        flaws = error.errors() if isinstance(error, RequestValidationError) else []
        return _error(400, "; ".join(f"{flaw['loc'][-1]}: {flaw['msg']}, got {str(flaw['input'])[:40]!r}" for flaw in flaws) + ".")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(getattr(error, "detail", error))
        return _error(status, f"{shortened(request.url.path)}: {detail}.")


def _status(error: Exception) -> int:
    if isinstance(error, RequestError):
        return error.status_code
    return 422 if isinstance(error, (VideoError, DataError)) else 500


def _error(status: int, message: str) -> JSONResponse:
    # Who sends slowly is not waited for.
    return JSONResponse({"error": printable_lines(message)}, status, {"connection": "close"} if status == _TOO_SLOW else None)


async def _lines(work: AsyncGenerator[answers.Step, None]) -> AsyncIterator[str]:
    """Tell steps, and an error that ends them, as lines of JSON."""
    try:
        async with aclosing(work) as steps:
            async for step in steps:
                yield json.dumps(step, ensure_ascii=False, allow_nan=False) + "\n"
    except ActionrecError as error:
        yield json.dumps({"error": printable_lines(error)}, ensure_ascii=False) + "\n"
    except Exception:
        logger.exception("a request failed")
        yield json.dumps({"error": DEFECT}) + "\n"


def _name_and_suffix(sent: str) -> tuple[str, str]:
    """A file's name as its sender has it, on one line, without folders; and the suffix that its copy gets.

    Raises:
        RequestError: it is no video's name.
    """
    name = PurePosixPath(sent.replace("\\", "/")).name
    name = "".join(sign if is_printable(sign) else "_" for sign in name)
    name = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 21]}…{name[-20:]}"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise RequestError(415, f"{name}: not a video's name (wanted {', '.join(SUFFIXES)}).")
    return name or "video", suffix


async def _save(video: UploadFile, path: Path) -> None:
    """Write an upload to a file, and let go of what it was received into, which takes as much room."""

    def copy() -> None:
        with path.open("wb") as target:
            shutil.copyfileobj(video.file, target, 1 << 20)

    await run_in_threadpool(copy)
    await video.close()


def _sample(samples: Sequence[Sample], place: int) -> Sample:
    if not 0 <= place < len(samples):
        raise RequestError(404, f"sample {place}: there is none; there are {len(samples)}, from 0.")
    if not samples[place].path.is_file():
        raise RequestError(404, f"sample {place}: {samples[place].path.name} is no longer there.")
    return samples[place]


def _file(path: Path | None, media_type: str | None = None) -> FileResponse:
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=media_type)
