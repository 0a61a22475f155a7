"""Small pieces of HTML; everything that comes from data or configuration is escaped here."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

INTERVAL = re.compile(r"(\[[^\]]*\])")
SOFT = r'<span class="interval">\1</span>'  # draws it lighter


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def heading(text: str, anchor: str, level: int = 2) -> str:
    """Return a heading that the contents can link to."""
    return f'<h{level} id="{escape(anchor)}">{escape(text)}</h{level}>'


def facts(pairs: Mapping[str, str]) -> str:
    """Return a list of names and values; empty values are left out."""
    rows = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items() if v)
    return f'<dl class="facts">{"".join(rows)}</dl>'


def bullets(items: Iterable[str]) -> str:
    """Return a list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def table(
    frame: pd.DataFrame,
    *,
    caption: str = "",
    numbers: Sequence[str] = (),
    reference: Sequence[int] = (),
) -> str:
    """Return a table of strings; intervals in brackets are drawn lighter.

    Arguments:
        numbers: Columns to be set flush right.
        reference: Positions of rows that are no method (HR, LR, floor) and are tinted.
    """
    kinds = [_class("number" if name in numbers else "") for name in frame.columns]
    names = zip(kinds, frame.columns, strict=True)
    head = "".join(f"<th{kind}>{escape(str(name))}</th>" for kind, name in names)
    body = []
    for position, row in enumerate(frame.itertuples(index=False)):
        cells = "".join(
            f"<td{kind}>{INTERVAL.sub(SOFT, escape(str(value)))}</td>"
            for kind, value in zip(kinds, row, strict=True)
        )
        body.append(f"<tr{_class('reference' * (position in reference))}>{cells}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def image(png: bytes, alternative: str, kind: str = "") -> str:
    """Return an image with its bytes inside the page."""
    data = base64.b64encode(png).decode()
    return f'<img{_class(kind)} src="data:image/png;base64,{data}" alt="{escape(alternative)}">'


def figure(picture: str, caption: str) -> str:
    """Return a picture with its caption (already HTML)."""
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def restructured(text: str) -> str:
    """Return a caption written in plain reStructuredText (**bold**, *italic*, ``code``) as HTML."""
    parts = []
    for block in re.split(r"\n\s*\n", text.strip()):
        line = escape(" ".join(block.split()))
        line = re.sub(r"``(.+?)``", r"<code>\1</code>", line)
        line = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", line)
        line = re.sub(r"\*(.+?)\*", r"<i>\1</i>", line)
        parts.append(line)
    return "<br>".join(parts)


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
