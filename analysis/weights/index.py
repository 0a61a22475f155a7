"""Find a file in the simple index of Python packages that pip is configured for (PEP 503, 691)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

from rls.runtime.errors import InputError

DEFAULT = "https://pypi.org/simple"
JSON = "application/vnd.pypi.simple.v1+json"
MOST_BYTES = 1 << 24  # a page of the index may have


def configured_index() -> str:
    """Return the address of the index that pip is configured for; PyPI without a configuration."""
    if address := os.environ.get("PIP_INDEX_URL"):
        return address
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or DEFAULT


def find_file(index: str, package: str, file: str, sha256: str, timeout_s: float) -> str:
    """Return the address of one file of a package.

    Arguments:
        index: Address of the simple index, over http(s) and without a user's name.
        sha256: The digest that is expected; the index must not give another one.

    Raises:
        InputError: The index cannot be reached, does not list the file, or lists it with another
            SHA-256.
    """
    if not re.match(r"https?://[^@/]+(/|$)", index):
        shown = re.sub(r"//.*@", "//...@", index)
        raise InputError(
            f"Found the package index {shown}, expected an http(s) address without a user's name. "
            f"Fetch {file} by other means, and give it as --archive."
        )
    page = f"{index.rstrip('/')}/{package}/"
    for url, given in _listed(page, timeout_s):
        if urlsplit(url).path.rpartition("/")[2] != file:
            continue
        if given and given != sha256:
            raise InputError(
                f"{page} lists {file} with the SHA-256 {given}, expected {sha256}. It is another "
                "file; nothing was fetched."
            )
        return url
    raise InputError(
        f"Found no {file} on {page}, expected it there. Give another --index-url, or fetch the "
        "file by other means and give it as --archive."
    )


def _listed(page: str, timeout_s: float) -> list[tuple[str, str]]:
    """Return the address of every file on a page of the index, and its SHA-256 or ''."""
    headers = {"Accept": f"{JSON}, text/html;q=0.5", "User-Agent": "rls-super-resolution"}
    try:
        request = urllib.request.Request(page, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            kind, text = response.headers.get("Content-Type", ""), response.read(MOST_BYTES)
            page = response.url
        if kind.startswith(JSON):
            files = json.loads(text)["files"]
            found = [(one["url"], one["hashes"].get("sha256", "")) for one in files]
        else:
            links = _Links()
            links.feed(text.decode("utf-8"))
            found = links.found
    except (OSError, ValueError, KeyError, TypeError) as error:  # URLError is an OSError
        raise InputError(
            f"The package index {page} cannot be read ({error}). Check the connection, or give "
            "another --index-url."
        ) from error
    return [(urljoin(page, url), digest.lower()) for url, digest in found]


class _Links(HTMLParser):
    """The addresses of a page of links, and the SHA-256 behind each, or ''."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        for name, value in attrs:
            if tag == "a" and name == "href" and value:
                url, fragment = urldefrag(value)
                self.found.append(
                    (url, fragment.removeprefix("sha256=") if "=" in fragment else "")
                )
