"""The site is built without a warning, and a browser finds nothing wrong with its pages."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
WIDTHS = (1440, 390)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: make test-docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def pages_of_nav() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r": (\S+\.(?:md|ipynb))$", text, re.MULTILINE)


def test_every_page_of_the_navigation_stands_once() -> None:
    pages = pages_of_nav()
    assert len(pages) == len(set(pages)) > 30
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text())["strict"] is True


@pytest.mark.docs
def test_the_site_is_built_whole_and_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in pages_of_nav():
        text = (site / Path(page).with_suffix(".html")).read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)", text)
        assert [address for address in loaded if "canonical" not in address] == [], page


@pytest.mark.docs
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_shows_every_page_without_an_error(address: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: make test-docs")
    faults: dict[str, list[str]] = {}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            for name in pages_of_nav():
                found = look(page, f"{address}/{Path(name).with_suffix('.html').as_posix()}")
                if found:
                    faults[f"{name} at {width} px"] = found
            page.close()
        browser.close()
    assert not faults


def look(page: Any, address: str) -> list[str]:
    """Return what is wrong with a page: errors, failed requests, missing images, too wide."""
    found: list[str] = []
    listeners = {
        "console": lambda said: found.append(said.text) if said.type == "error" else None,
        "pageerror": lambda error: found.append(str(error)),
        "requestfailed": lambda request: found.append(f"failed: {request.url}"),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(address, wait_until="load")
    if page.locator("h1").count() == 0:
        found.append("no heading")
    width = page.evaluate("document.scrollingElement.scrollWidth")
    if width > page.viewport_size["width"] + 1:
        found.append(f"{width} px wide")
    missing = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    found += [f"no image: {source}" for source in page.evaluate(missing)]
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    return found
