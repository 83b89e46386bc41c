"""HTTP API, described at /openapi.json, and the page that uses it. The page loads nothing from other sites."""

import json
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from actionrec.core.errors import ActionrecError, DataError, VideoError
from actionrec.core.text import first_few, is_printable, printable_lines, quoted, shortened
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
"""Clients that accept it get one line of JSON for each step of `POST /predict`; the last line has the result."""

_WRONG_METHOD = 405
_TOO_SLOW = 408
_DISCONNECTED = 499  # the status that nginx logs for a client that disconnected
_NAME_LENGTH = 120  # characters of a file's name that are kept


def create_app(
    registry: ModelRegistry, samples: Sequence[Sample], limits: Limits, *, hosts: Sequence[str] = ("*",), framed_by: str = "'self'"
) -> FastAPI:
    """Create the server's application.

    Args:
        registry: the models.
        samples: clips to try.
        limits: of uploads and videos.
        hosts: allowed Host headers, against DNS rebinding.
        framed_by: which sites may show the page in a frame, as in Content-Security-Policy.

    Returns:
        The application; `state.queue.end()` fails all waiting requests.
    """
    queue, uploads = FairQueue(limits), Uploads()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.end()
        uploads.close()

    app = FastAPI(
        title="actionrec",
        description='Predict which action a video shows. Errors are `{"error": "..."}`.',
        version="1",
        docs_url=None,  # FastAPI's pages load scripts from another site
        redoc_url=None,
        lifespan=lifespan,
    )
    described = app.openapi
    app.openapi = lambda: schema.require_video_or_sample(described())  # type: ignore[method-assign]
    app.state.queue = queue
    app.add_middleware(RequestMiddleware, queue=queue, limits=limits, framed_by=framed_by)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _answer_errors(app)
    _add_prediction(app, _Prediction(registry, samples, limits, queue, uploads))
    _add_models_and_samples(app, registry, samples, limits)
    _add_comparison(app)
    for address, page in (("/", "index.html"), ("/results", "results.html"), ("/docs", "docs.html")):
        app.add_api_route(address, lambda page=page: FileResponse(STATIC / page), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


@dataclass(frozen=True)
class _Prediction:
    """What `POST /predict` needs."""

    registry: ModelRegistry
    samples: Sequence[Sample]
    limits: Limits
    queue: FairQueue
    uploads: Uploads

    async def steps(
        self, video: UploadFile | None, name: str, sample: int | None, model: str | None, options: PredictRequest
    ) -> AsyncGenerator[answers.Step, None]:
        """Yield the steps of one request; the last one has the result.

        Args:
            name: of the uploaded video.
        """
        with self.uploads.draft(PurePosixPath(name).suffix.lower()) if video else nullcontext() as draft:
            if video and draft:
                await _save(video, draft)
                path = draft
            else:
                path = _sample(self.samples, sample or 0).path
            name = name or path.name
            if options.all_models:
                work = answers.steps_of_all(self.registry, path, name, options, self.limits)
            else:
                work = answers.steps(lambda: self.registry.predictor(model), path, name, options, self.limits)
            async with aclosing(self.queue.each(work)) as steps:
                async for step in steps:
                    yield step
                    if "result" in step:
                        return  # do not queue again only to see the end of the iterator


def _add_prediction(app: FastAPI, prediction: _Prediction) -> None:
    @app.post(
        "/predict",
        summary="Predict a video",
        response_model=schema.ClipAnswer | schema.TimelineAnswer | schema.AllAnswers,
        responses={200: {"description": "The answer.", "content": {LINES: {"schema": schema.lines()}}}, **schema.refusals()},
    )
    async def predict(
        request: Request,
        video: Annotated[UploadFile | None, File(description="The file; or choose a sample.")] = None,
        sample: Annotated[int | None, Form(description="A sample's number, instead of a file.")] = None,
        model: Annotated[str | None, Form(description="A name from /models; the default is the first.")] = None,
        top: Annotated[int, Form(ge=1, description="Number of classes in the answer.")] = 5,
        window: Annotated[
            float | None,
            Form(ge=2 * SHORTEST_STRIDE, le=LONGEST_WINDOW, allow_inf_nan=False, description="Timeline: seconds of a window."),
        ] = None,
        stride: Annotated[
            float | None,
            Form(ge=SHORTEST_STRIDE, allow_inf_nan=False, description="Timeline: seconds from window to window (window / 2)."),
        ] = None,
        explain: Annotated[bool, Form(description="Also explain which frames mattered.")] = False,
        pictures: Annotated[bool, Form(description="Also send frames and plots, as data URLs.")] = False,
        models: Annotated[Literal["all"] | None, Query(description="all: the answers of all models, side by side.")] = None,
    ) -> Response:
        """Answer with the same fields as `python -m actionrec predict --json`.

        `?models=all` answers with `{"video": ..., "answers": [...]}`: those fields for each model, in the order of /models. The
        video is decoded once, and models that share a backbone share its features.

        Accept `application/x-ndjson` to get one line for each step, `{"doing": ...}`, and at the end `{"result": ...}` or
        `{"error": ...}`.
        """
        await _refuse_unknown(request, schema.QUERY, schema.FIELDS)
        options = PredictRequest(top, window, stride, explain, pictures, all_models=models == "all")
        if options.all_models and model is not None:
            raise RequestError(400, "models=all takes no model. Omit one of them.")
        if (video is None) == (sample is None):
            raise RequestError(
                400, f"send either a file as video or a sample's number as sample; got {'both' if video else 'neither'}."
            )
        name = _file_name(video.filename or "video") if video else ""
        work = prediction.steps(video, name, sample, model, options)
        if LINES in request.headers.get("accept", ""):
            return StreamingResponse(_lines(work), media_type=LINES)
        last: answers.Step = {}
        async with aclosing(work) as steps:
            async for last in steps:
                if "result" not in last and await request.is_disconnected():
                    return Response(status_code=_DISCONNECTED)
        return JSONResponse(last["result"])


def _add_models_and_samples(app: FastAPI, registry: ModelRegistry, samples: Sequence[Sample], limits: Limits) -> None:
    @app.get("/models", summary="The models to choose from")
    def models() -> dict[str, Any]:
        """The models, with the figures of the comparison, the default first; and the server's limits."""
        return {
            "models": registry.describe(),
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


def _add_comparison(app: FastAPI) -> None:
    @app.get("/comparison", summary="The comparison of the models")
    def comparison() -> dict[str, Any]:
        """Setting, figures, pictures and files; no models if there was no comparison."""
        return figures.comparison()

    @app.get("/plots/{name}.png", include_in_schema=False)
    def plot(name: str) -> FileResponse:
        return _file(figures.pictures().get(name))

    @app.get("/metrics/{name}", include_in_schema=False)
    def text(name: str) -> FileResponse:
        found = figures.texts().get(name)
        return _file(found, "text/plain; charset=utf-8" if found and found.suffix == ".md" else None)


def _answer_errors(app: FastAPI) -> None:
    """Answer errors as {"error": "..."}; RequestMiddleware does this for unexpected ones."""

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
        path, detail = shortened(request.url.path), str(getattr(error, "detail", error))
        if status == _WRONG_METHOD:
            allowed = (getattr(error, "headers", None) or {}).get("Allow", "GET")
            allowed = "GET, HEAD" if "GET" in allowed else allowed
            return _error(status, f"{path}: {request.method} is not allowed here; use {allowed}.", {"allow": allowed})
        return _error(status, f"{path}: {detail}.")


def _status(error: Exception) -> int:
    if isinstance(error, RequestError):
        return error.status_code
    return 422 if isinstance(error, (VideoError, DataError)) else 500


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    if status == _TOO_SLOW:  # do not wait for the rest of a slow upload
        headers = {"connection": "close"}
    return JSONResponse({"error": printable_lines(message)}, status, headers)


async def _refuse_unknown(request: Request, query: Collection[str], fields: Collection[str]) -> None:
    """Refuse fields that do not exist: a misspelt one would silently have no effect.

    Args:
        query: the parameters that the address may have.
        fields: those of the form.

    Raises:
        RequestError: a field is unknown, or was sent twice.
    """
    form = await request.form()
    for kind, sent, known in (("parameter", request.query_params, query), ("field", form, fields)):
        names = [name for name, _ in sent.multi_items()]
        if unknown := [name for name in dict.fromkeys(names) if name not in known]:
            raise RequestError(400, f"{first_few([*map(quoted, unknown)])}: no such {kind}; expected {', '.join(known)}.")
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise RequestError(400, f"{first_few(twice)}: sent more than once.")


async def _lines(work: AsyncGenerator[answers.Step, None]) -> AsyncIterator[str]:
    """Steps, or the error that ends them, as lines of JSON."""
    try:
        async with aclosing(work) as steps:
            async for step in steps:
                yield json.dumps(step, ensure_ascii=False, allow_nan=False) + "\n"
    except ActionrecError as error:
        yield json.dumps({"error": printable_lines(error)}, ensure_ascii=False) + "\n"
    except Exception:
        logger.exception("a request failed")
        yield json.dumps({"error": DEFECT}) + "\n"


def _file_name(sent: str) -> str:
    """An upload's file name, on one line and without folders.

    Raises:
        RequestError: it does not end like a video's name.
    """
    name = PurePosixPath(sent.replace("\\", "/")).name
    name = "".join(character if is_printable(character) else "_" for character in name)
    name = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 21]}…{name[-20:]}"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise RequestError(415, f"{name}: not a video's file name; expected one that ends in {', '.join(SUFFIXES)}.")
    return name or "video"


async def _save(video: UploadFile, path: Path) -> None:
    """Write an upload to a file, and close the temporary file that it was received into."""

    def copy() -> None:
        with path.open("wb") as target:
            shutil.copyfileobj(video.file, target, 1 << 20)

    await run_in_threadpool(copy)
    await video.close()


def _sample(samples: Sequence[Sample], place: int) -> Sample:
    if not 0 <= place < len(samples):
        raise RequestError(404, f"sample {place}: no such sample; there are {len(samples)}, numbered from 0.")
    if not samples[place].path.is_file():
        raise RequestError(404, f"sample {place}: {samples[place].path.name} is no longer there.")
    return samples[place]


def _file(path: Path | None, media_type: str | None = None) -> FileResponse:
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=media_type)
