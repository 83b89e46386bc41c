"""HTTP API, described at /openapi.json, and the page that uses it. The page loads nothing from other sites."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from actionrec.core.errors import ActionrecError, DataError, VideoError
from actionrec.core.text import printable_lines, shortened
from actionrec.web import predict_routes, project_routes, results_routes, schema
from actionrec.web.clip_media import ClipMedia
from actionrec.web.evaluation_cache import EvaluationCache
from actionrec.web.fair_queue import FairQueue
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits, RequestError
from actionrec.web.predict_routes import PredictRoutes
from actionrec.web.request_middleware import RequestMiddleware
from actionrec.web.samples import SampleClip
from actionrec.web.uploads import Uploads

STATIC = Path(__file__).parent / "static"

_WRONG_METHOD = 405
_TOO_SLOW = 408


def create_app(
    registry: ModelRegistry,
    samples: Sequence[SampleClip],
    limits: Limits,
    *,
    hosts: Sequence[str] = ("*",),
    framed_by: str = "'self'",
    collect: Path | None = None,
) -> FastAPI:
    """Create the server's application.

    Args:
        registry: the models.
        samples: clips to try.
        limits: of uploads and videos.
        hosts: allowed Host headers, against DNS rebinding.
        framed_by: which sites may show the page in a frame, as in Content-Security-Policy.
        collect: folder of clips that visitors label and agree to save; None: none are saved.

    Returns:
        The application, for `server.Server`; `state.queue.end()` fails all waiting requests.
    """
    queue, uploads = FairQueue(limits), Uploads()
    media, evaluation = ClipMedia(uploads.folder), EvaluationCache()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.end()
        media.close()
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
    app.openapi = lambda: schema.completed(described())  # type: ignore[method-assign]
    app.state.queue, app.state.limits = queue, limits
    app.add_middleware(RequestMiddleware, queue=queue, limits=limits, framed_by=framed_by)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _answer_errors(app)
    predict_routes.add_routes(app, PredictRoutes(registry, samples, limits, queue, uploads, media, evaluation, collect))
    project_routes.add_routes(app, registry, samples, limits, media, collect is not None)
    results_routes.add_routes(app, evaluation, media)
    for address, page in (("/", "index.html"), ("/results", "results.html"), ("/docs", "docs.html")):
        app.add_api_route(address, lambda page=page: FileResponse(STATIC / page), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _answer_errors(app: FastAPI) -> None:
    """Answer errors as {"error": "..."}; RequestMiddleware does this for unexpected ones."""

    @app.exception_handler(ActionrecError)
    async def known(request: Request, error: Exception) -> Response:
        return _error(_status(error), str(error), error.headers if isinstance(error, RequestError) else None)

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
