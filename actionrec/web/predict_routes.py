"""Route `POST /predict`: receives a video, waits in the queue, and streams the answer."""

import json
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from actionrec.core.errors import ActionrecError
from actionrec.core.text import first_few, is_printable, printable_lines
from actionrec.data.clips import SUFFIXES
from actionrec.io.tar_member import ClipFile, TarMember
from actionrec.web import answers, collected_clips, schema
from actionrec.web.clip_media import ClipMedia
from actionrec.web.evaluation_cache import EvaluationCache
from actionrec.web.fair_queue import FairQueue
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import LONGEST_WINDOW, SHORTEST_STRIDE, Limits, PredictRequest, RequestError
from actionrec.web.preview import MEDIA_TYPE
from actionrec.web.request_fields import refuse_unknown
from actionrec.web.request_middleware import DEFECT
from actionrec.web.samples import SampleClip, find_sample
from actionrec.web.uploads import Uploads

logger = logging.getLogger(__name__)

LINES = "application/x-ndjson"
"""Clients that accept it get one line of JSON for each step of `POST /predict`; the last line has the result."""

_DISCONNECTED = 499  # the status that nginx logs for a client that disconnected
_NAME_LENGTH = 120  # characters of a file's name that are kept


@dataclass(frozen=True)
class Upload:
    """A file that a client sent."""

    video: UploadFile
    name: str
    """One line, without folders."""

    @classmethod
    def of(cls, video: UploadFile | None) -> Self:
        """Raises RequestError: the name does not end like a video's."""
        assert video is not None
        return cls(video, _file_name(video.filename or "video"))


@dataclass(frozen=True)
class ClipOnServer:
    """A clip on the server's machine."""

    file: ClipFile

    @property
    def name(self) -> str:
        return self.file.name


Source = Upload | ClipOnServer


@dataclass(frozen=True)
class PredictRoutes:
    """What `POST /predict` needs."""

    registry: ModelRegistry
    samples: Sequence[SampleClip]
    limits: Limits
    queue: FairQueue
    uploads: Uploads
    media: ClipMedia
    evaluation: EvaluationCache
    collect: Path | None = None
    """Folder of labelled clips; None: none are saved."""

    async def steps(self, source: Source, model: str | None, options: PredictRequest) -> AsyncGenerator[answers.Step, None]:
        """Yield the steps of one request; the last one has the result."""
        async with self.opened(source) as path, self._preview(path, source, options) as token:
            if token:
                yield {"doing": "Waiting", "preview": f"/previews/{token}"}
            with self.queue.in_line() as ticket:
                async with aclosing(self.queue.places(ticket)) as places:
                    async for place in places:
                        yield {"doing": f"Waiting, place {place} in the queue", "place": place}
                if options.all_models:
                    work = answers.steps_of_all(self.registry, path, source.name, options, self.limits)
                else:
                    work = answers.steps(lambda: self.registry.predictor(model), path, source.name, options, self.limits)
                async with aclosing(self.queue.each(work)) as steps:
                    async for step in steps:
                        yield step
                        if "result" in step:
                            return  # do not queue again only to see the end of the iterator

    @asynccontextmanager
    async def opened(self, source: Source) -> AsyncIterator[Path]:
        """The path of a clip, or of an upload or a copy from a tar shard, which are deleted afterwards."""
        if isinstance(source, ClipOnServer):
            if isinstance(source.file, Path):
                yield source.file
                return
            with self.uploads.draft(PurePosixPath(source.name).suffix.lower()) as draft:
                await run_in_threadpool(_copy, source.file, draft)
                yield draft
            return
        with self.uploads.draft(PurePosixPath(source.name).suffix.lower()) as draft:
            await _save(source.video, draft)
            yield draft

    @asynccontextmanager
    async def _preview(self, path: Path, source: Source, options: PredictRequest) -> AsyncIterator[str | None]:
        """Start a preview of an upload, if asked for; yield its token."""
        if not options.preview or isinstance(source, ClipOnServer):
            yield None
            return
        preview = self.media.start_upload(path)
        try:
            yield preview.token
        except BaseException:
            preview.cancelled.set()
            raise
        finally:
            await self.media.finish_upload(preview)  # it reads the upload, which is deleted next


def add_routes(app: FastAPI, routes: PredictRoutes) -> None:
    """Add the address `/predict`, and that of the previews of uploads."""

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
        clip: Annotated[str | None, Form(description="A test clip from /test-clips, instead of a file.")] = None,
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
        start: Annotated[float | None, Form(ge=0, allow_inf_nan=False, description="Predict from here, seconds.")] = None,
        end: Annotated[
            float | None,
            Form(ge=0, allow_inf_nan=False, description=f"Predict up to here, at most {LONGEST_WINDOW:g} s from start."),
        ] = None,
        explain: Annotated[bool, Form(description="Also explain which frames mattered.")] = False,
        pictures: Annotated[bool, Form(description="Also send frames, as data URLs.")] = False,
        preview: Annotated[bool, Form(description="Streamed answers: also make an MP4 that browsers play.")] = False,
        models: Annotated[Literal["all"] | None, Query(description="all: the answers of all models, side by side.")] = None,
    ) -> Response:
        """Answer with the same fields as `python -m actionrec predict --json`.

        `?models=all` answers with `{"video": ..., "answers": [...]}`: those fields for each model, in the order of /models. The
        video is decoded once, and models that share a backbone share its features.

        Accept `application/x-ndjson` to get one line for each step, `{"doing": ...}`, and at the end `{"result": ...}` or
        `{"error": ...}`. Of a timeline, each window is sent as soon as it is predicted: `{"doing": ..., "window": {...}}`.
        """
        await _refuse_unknown(request, schema.QUERY, schema.FIELDS)
        streamed = LINES in request.headers.get("accept", "")
        options = PredictRequest(
            top, window, stride, explain, pictures, preview and streamed, all_models=models == "all", start=start, end=end
        )
        if options.all_models and model is not None:
            raise RequestError(400, "models=all takes no model. Omit one of them.")
        sent = [name for name, value in (("video", video), ("sample", sample), ("clip", clip)) if value is not None]
        if len(sent) != 1:
            raise RequestError(
                400, f"send one of video (a file), sample (its number) and clip (a test clip); got {first_few(sent) or 'none'}."
            )
        source: Source
        if clip is not None:
            source = ClipOnServer(await run_in_threadpool(routes.evaluation.file, clip))
        elif sample is not None:
            source = ClipOnServer(find_sample(routes.samples, sample).path)
        else:
            source = Upload.of(video)
        work = routes.steps(source, model, options)
        if streamed:
            return StreamingResponse(_lines(work), media_type=LINES)
        last: answers.Step = {}
        async with aclosing(work) as steps:
            async for last in steps:
                if "result" not in last and await request.is_disconnected():
                    return Response(status_code=_DISCONNECTED)
        return JSONResponse(last["result"])

    if routes.collect is not None:
        _add_collection(app, routes, routes.collect)

    @app.get("/previews/{token}", summary="A preview of an upload", **schema.files(MEDIA_TYPE))
    async def preview(token: str) -> Response:
        """An MP4, for browsers that cannot play the file. Its address is in a streamed answer; it can be fetched once."""
        return Response(await routes.media.take_upload(token), media_type=MEDIA_TYPE)


def _add_collection(app: FastAPI, routes: PredictRoutes, folder: Path) -> None:
    @app.post(
        "/collect",
        summary="Save a video and its label",
        response_model=schema.Collected,
        responses=schema.refusals(400, 403, 408, 413, 415, 422, 500, 503),
    )
    async def collect(
        request: Request,
        video: Annotated[UploadFile, File(description="The file.")],
        label: Annotated[str, Form(description="What it shows: a class, or a new one.")],
        consent: Annotated[bool, Form(description="Whether the sender agrees that the server keeps the video.")] = False,
    ) -> schema.Collected:
        """The video is saved on the server, where it may be used to train models. Without consent it is refused."""
        await _refuse_unknown(request, (), ("video", "label", "consent"))
        if not consent:
            raise RequestError(400, "the video was not saved, as consent is not true.")
        source = Upload.of(video)
        collected_clips.check_label(label)
        async with routes.opened(source) as path:
            clip = await run_in_threadpool(collected_clips.save, folder, path, label)
        logger.info("saved %s", clip)
        return schema.Collected(clip.parent.name)


def _copy(member: TarMember, target: Path) -> None:
    with member.open() as contents, target.open("wb") as stream:
        shutil.copyfileobj(contents, stream)


async def _refuse_unknown(request: Request, query: Collection[str], fields: Collection[str]) -> None:
    """Raises RequestError: a parameter of the address or a field of the form is unknown, or was sent twice."""
    form = await request.form()
    refuse_unknown("parameter", request.query_params.multi_items(), query)
    refuse_unknown("field", form.multi_items(), fields)


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
