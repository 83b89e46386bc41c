"""Fixtures: small models in a registry, clips, and a browser."""

import tempfile
from contextlib import contextmanager

import bundles
import film
import pytest
from chromium import CHROMIUM, DESK
from fastapi.testclient import TestClient
from playwright.sync_api import sync_playwright

from actionrec.inference import predictor
from actionrec.web import app, samples
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Two bundles, gru and simple_rnn, which share a backbone."""
    folder = tmp_path_factory.mktemp("models")
    return [bundles.tiny_bundle(folder / name, name) for name in ("gru", "simple_rnn")]


@pytest.fixture(scope="session")
def registry(models):
    return ModelRegistry(models)


@pytest.fixture(scope="session")
def predictors(models):
    """The same models as the command line loads them, by name."""
    return {folder.name: predictor.load(folder) for folder in models}


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """A clip of each class, in a folder of its own."""
    folder = tmp_path_factory.mktemp("clips")
    bundles.clips(folder, count=1)
    return folder


@pytest.fixture(scope="session")
def long_film(tmp_path_factory):
    """Eight seconds: of each class two, and of the first two more."""
    shown = [picture for number in (0, 1, 2, 0) for picture in bundles.pictures(number, 1, 50)]
    return film.write_video(tmp_path_factory.mktemp("film") / "long.avi", shown)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where uploads go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def make_app(registry, clips, temporary):
    return lambda **limits: app.create_app(registry, samples.of_folder(clips), Limits(**limits))


@pytest.fixture
def client(make_app):
    with TestClient(make_app()) as client:
        yield client


@pytest.fixture(scope="module")
def playwright():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright):
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def visit(browser, address):
    """Open a page of the module's `address`; in the end, nothing may have gone wrong, or have been fetched from elsewhere."""

    @contextmanager
    def open_page(path="/", viewport=DESK, server=address, **options):
        context = browser.new_context(viewport=viewport, accept_downloads=True, **options)
        page = context.new_page()
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server}{path}")
        page.wait_for_selector("main:not([aria-busy=true])")  # until then, what loads moves what is below
        yield page
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0  # nothing sticks out
        context.close()
        assert [text for text in wrong if "Failed to load resource" not in text] == []
        assert [url for url in asked if not url.startswith((server, f"blob:{server}", "data:"))] == []

    return open_page
