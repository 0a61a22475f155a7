"""Read a YAML file of settings, and say where a value stands and how YAML understood it.

YAML keeps the last of two equal keys and drops the first without a word, and it reads a bare
``00123``, ``1_000``, ``2024-01-31`` or ``no`` as a number, a date or a truth value. Here the first
is refused, and :meth:`YamlFile.misread` says the second in a sentence.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rls.runtime.errors import InputError, first_line

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE, TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
# Numbers that YAML 1.1 takes for text, because it wants a point and a signed exponent.
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)")


@dataclass(frozen=True)
class YamlFile:
    """A file of settings and its nodes, which know the lines.

    Attributes:
        content: What the file says.
        root: The outermost node; None for an empty file.
    """

    path: Path
    content: Mapping[str, Any]
    root: yaml.Node | None

    @classmethod
    def read(cls, path: Path | str) -> YamlFile:
        """Read a file of YAML or JSON.

        Raises:
            InputError: The file does not exist, is no YAML or no mapping, gives a key twice, or has
                a key that YAML does not read as text.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"The configuration file {path} does not exist.")
        try:
            text = path.read_text(encoding="utf-8-sig")
            with contextlib.suppress(ValueError):
                json.loads(text)
                text = text.replace("\t", " ")  # JSON may be indented so, YAML may not.
            root = yaml.compose(text, Loader=Loader)
            _check_keys(root, path)
            content = yaml.load(text, Loader=Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is no YAML: {_fault(error)}. Correct it.") from error
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise InputError(f"{path} holds no keys. See config/README.md.")
        return cls(path, content, root)

    def node(self, keys: Sequence[str | int]) -> yaml.Node | None:
        """Return the node that stands under ``keys`` from the top, None where there is none."""
        found = self.root
        for key in keys:
            found = _below(found, key)
        return found

    def misread(self, keys: Sequence[str | int], value: object) -> str:
        """Return a sentence on how YAML understood the value under ``keys``, '' if it says nothing.

        Arguments:
            keys: Keys and positions in lists, from the top.
            value: The value that is not what was expected; another one at this place, which came
                from another file, is not spoken of. Of a list, the first item that is no text.
        """
        node = self.node(keys)
        if not isinstance(value, dict | list) and isinstance(node, yaml.ScalarNode):
            found = _constructed(node)
            if type(found) is type(value) and found == value:
                where = f" ({self.path}, line {node.start_mark.line + 1})"
                return misread(value, node.value, where, quoted=node.style in ("'", '"'))
        if isinstance(value, list):
            items = (self.misread([*keys, index], item) for index, item in enumerate(value))
            return next(filter(None, items), "")
        return ""


def misread(value: object, written: str = "", where: str = "", *, quoted: bool = False) -> str:
    """Return a sentence on a value that YAML did not read as its writer meant, '' for others.

    Arguments:
        value: What YAML made of it: not text where text is expected, or text where a number is.
        written: What stands in the file; '' if that is not known.
        where: The file and the line, in parentheses, likewise.
        quoted: Whether it stands in quotes.
    """
    if isinstance(value, str):
        if EXPONENT.fullmatch(value) and not quoted:
            return f" YAML reads {value}{where} as text: write 5.0e-5, not 5e-5."
        if EXPONENT.fullmatch(value) or NUMBER.fullmatch(value):
            return f" In quotes {value}{where} is text: write it without."
        return ""
    if isinstance(value, dict | list) or (value is None and not written):
        return ""
    kind = {bool: f"as {str(value).lower()}", type(None): "as nothing"}.get(type(value))
    if isinstance(value, datetime.date):
        kind = f"as the date {value}"
    kind = kind or f"as the number {value}"
    if not written:
        return f" YAML reads a bare word or number {kind}: write the text in quotes."
    return f' YAML reads {written}{where} {kind}: write "{written}", in quotes.'


def _fault(error: Exception) -> str:
    """Return what is wrong with a file, and in which line, in one line of text."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return first_line(error)


def _constructed(node: yaml.Node) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _below(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    """Return the node under a key or position; keys that are merged in (``<<``) come last."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return node.value[key] if key < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for name, value in node.value:
        if name.tag == MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif name.value == key:
            return value
    return next((found for base in merged if (found := _below(base, key)) is not None), None)


def _check_keys(root: yaml.Node | None, path: Path) -> None:
    """Refuse keys that are given twice or are no text, at any depth.

    Raises:
        InputError: The sentence names the file, the key and its lines.
    """
    seen: set[int] = set()  # A block may be used again by its name, even within itself.
    for node, place in _mappings(root, (), seen):
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == MERGE:
                continue
            if key.tag != TEXT:
                said = "is no text: write a name."
                if isinstance(key, yaml.ScalarNode):
                    where = f" ({path}, line {line})"
                    said = f"is no text.{misread(_constructed(key), key.value or '~', where)}"
                raise InputError(f"A key in {'.'.join(place) or 'the top level'} {said}")
            if key.value in first:
                inside = f" in {'.'.join(place)}" if place else ""
                raise InputError(
                    f"{path} gives the key '{key.value}'{inside} twice, in lines "
                    f"{first[key.value]} and {line}, and YAML would drop the first. Make one of "
                    "them."
                )
            first[key.value] = line


def _mappings(
    node: yaml.Node | None, place: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[yaml.MappingNode, tuple[str, ...]]]:
    """Walk over all mappings of a file once, with the keys that lead there."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node, place
        for key, value in node.value:
            yield from _mappings(value, (*place, str(key.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _mappings(value, (*place, str(index)), seen)
