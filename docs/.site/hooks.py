"""Build the documentation site from files that also stand outside docs/.

The readme files of config/, workflow/ and models/, the changelog and the guide for contributors
are pages of the site, too, and pages link to files of the program. MkDocs knows only docs/. So
these files are added under the names in `PAGES`, and every relative link is rewritten from the
place of a file in the repository to its place in the site. A file that is linked and is no page
is copied below source/. A link to a file that does not exist stops the build.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

PAGES = {  # file of the repository -> page of the site
    "config/README.md": "reference/configuration.md",
    "workflow/README.md": "how_to/cluster.md",
    "models/README.md": "reference/models.md",
    "models/candidates/README.md": "reference/models_candidates.md",
    "models/bbbc021_64px/README.md": "reference/models_bbbc021_64px.md",
    "models/golgi_64px/README.md": "reference/models_golgi_64px.md",
    "models/translocation_32px/README.md": "reference/models_translocation_32px.md",
    "tests/cluster/README.md": "tests_on_a_cluster.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```|`[^`]*`)", re.DOTALL | re.MULTILINE)
COPIES: dict[str, str] = {}  # page of the site -> file of the repository


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/, and the files that any page links to."""
    COPIES.clear()
    for source, page in PAGES.items():
        if not (ROOT / source).is_file():
            raise PluginError(f"{source} is listed in docs/.site/hooks.py and does not exist.")
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
        COPIES[page] = source
    for file in list(files.documentation_pages()):
        source = COPIES.get(file.src_uri, f"docs/{file.src_uri}")
        if not source.endswith(".md"):
            continue
        for part in _prose(file.content_string):
            for link in LINK.finditer(part):
                _add_file(files, config, source, link["target"])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's text with links to places of the site."""
    source = COPIES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(link: re.Match[str]) -> str:
        target = link["target"]
        if not target or ":" in target:
            return link[0]
        place = _place(_resolved(source, target))
        relative = posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")
        return f"{link['before']}{relative}{link['anchor'] or ''})"

    parts = CODE.split(markdown)
    return "".join(
        part if number % 2 else LINK.sub(moved, part) for number, part in enumerate(parts)
    )


def _prose(markdown: str) -> list[str]:
    """Return the parts of a page that are no code."""
    return CODE.split(markdown)[::2]


def _resolved(source: str, target: str) -> str:
    """Return the path in the repository of what `source` links to as `target`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _place(path: str) -> str:
    """Return the path in the site of a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}"


def _add_file(files: Files, config: MkDocsConfig, source: str, target: str) -> None:
    """Copy a file outside docs/ into the site if a page links to it."""
    if not target or ":" in target:
        return
    path = _resolved(source, target)
    if not (ROOT / path).exists():
        raise PluginError(f"{source} links to {target}, which does not exist.")
    place = _place(path)
    if not place.startswith("source/") or files.get_file_from_path(place):
        return
    if not (ROOT / path).is_file():
        raise PluginError(f"{source} links to the folder {target}; name a file in it.")
    files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
