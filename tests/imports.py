"""The imports of the program, read from its source: commands, arrows between modules, circles."""

import ast
from functools import cache

from tests.conftest import ROOT

PACKAGES = ("rls", "analysis")
DOOR = 'if __name__ == "__main__":'


@cache
def modules():
    """Dotted name -> file of every module; a package is named as its folder."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def commands():
    """The modules that one runs with ``python -m``, by the name that one types."""
    names = [name for name, path in modules().items() if DOOR in path.read_text()]
    return {name.removesuffix(".__main__"): modules()[name] for name in names}


def imported(path):
    """Names that a file imports, at its top, in its functions and for its types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module


@cache
def arrows():
    """Module -> the modules of the program that it imports."""
    return {name: {m for m in imported(path) if m in modules()} for name, path in modules().items()}


def circles(graph):
    """Sets of modules that import each other, directly or by others (Tarjan 1972)."""
    order, low, stack, found = {}, {}, [], []

    def visit(name):
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1 or name in graph[name]:
                found.append(sorted(circle))

    for name in graph:
        if name not in order:
            visit(name)
    return found
