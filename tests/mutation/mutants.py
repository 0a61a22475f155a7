"""Draw a sample of mutants, made by the operators of cosmic-ray."""

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tests.conftest import ROOT
from tests.mutation.parts import LOOKS, MARKS, SHARES, WORDS

MODULE = "<module>"
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}
BITS = {"BitOr", "BitAnd", "BitXor"}
IDENTITY = {"Is", "IsNot"}
KEYWORDS_ONLY = re.compile(r"((def |\w+: ).*)?\*,")
OTHERS = {
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr"),
    *("ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *("ExceptionReplacer", "NumberReplacer", "ZeroIterationForLoop"),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not"),
    "ReplaceUnaryOperator_Delete_Invert",
}


@dataclass(frozen=True)
class Mutant:
    """A mutant by name: the ``place``-th use of an operator in equal lines of a function."""

    file: str
    function: str
    source: str
    operator: str
    place: int
    line: int
    occurrence: int

    @property
    def name(self) -> tuple[str, ...]:
        """What stays the same while other lines of the file move."""
        return (self.file, self.function, self.source, self.operator, str(self.place))

    def mutated(self) -> str:
        """Return the file's source with this one mutation."""
        visitor = _visitor(_operator(self.operator), self.occurrence)
        return visitor.walk(_tree((ROOT / self.file).read_text())).get_code()

    def compiles(self) -> bool:
        """Say whether the mutated source is a program; the * of keyword arguments is no product."""
        if self.operator.startswith("ReplaceBinary") and KEYWORDS_ONLY.match(self.source):
            return False
        try:
            return bool(compile(self.mutated(), self.file, "exec", dont_inherit=True))
        except SyntaxError:
            return False

    def change(self) -> str:
        """Return the mutated lines, as one line of text."""
        old = (ROOT / self.file).read_text().splitlines()
        new = self.mutated().splitlines()
        start = next((i for i, pair in enumerate(zip(old, new, strict=False)) if len({*pair}) > 1))
        stop = start + 1 + max(0, len(new) - len(old))
        return " ".join(line.strip() for line in new[start:stop])


def sample(size: int, seed: int, files: Sequence[str] = ()) -> list[Mutant]:
    """Draw about ``size`` mutants, at most one at a place of the source, by each file's share."""
    total, drawn = sum(SHARES.values()), []
    for file, share in SHARES.items():
        if (files and file not in files) or not (ROOT / file).exists():
            continue
        dice = random.Random(f"{seed} {file}")
        sites = defaultdict(list)
        for mutant, position in mutants_of(file):
            sites[position].append(mutant)
        count = min(len(sites), max(2, round(size * share / total)))
        for position in sorted(dice.sample(sorted(sites), count)):
            dice.shuffle(sites[position])
            drawn += [m for m in sites[position] if m.compiles()][:1]
    return drawn


def mutants_of(file: str) -> Iterator[tuple[Mutant, tuple[int, int]]]:
    """Yield every mutant of a file with its position (line, column)."""
    from cosmic_ray.ast import ast_nodes

    text = (ROOT / file).read_text()
    lines, skipped, functions = text.splitlines(), _skipped(text), _functions(text)
    nodes = [node for node in ast_nodes(_tree(text)) if node.type not in ("newline", "name")]

    @cache
    def function_at(line: int) -> str:
        return next((name for name, first, last in functions if first <= line <= last), MODULE)

    @cache
    def counts(position: tuple[int, int]) -> bool:
        inside = any(first <= position < last for first, last in skipped)
        return not inside and _draws_marks(file, function_at(position[0]))

    for operator in _operators():
        places: Counter[tuple[str, str]] = Counter()
        found = (at for node in nodes for at, _ in _operator(operator).mutation_positions(node))
        for occurrence, position in enumerate(found):
            line = position[0]
            function, source = function_at(line), lines[line - 1].strip()
            place = places[function, source]
            places[function, source] += 1
            if counts(position):
                yield Mutant(file, function, source, operator, place, line, occurrence), position


def _draws_marks(file: str, function: str) -> bool:
    """Say whether a function of a figure turns data into marks; true outside the figures."""
    folder, _, stem = file.removesuffix(".py").rpartition("/")
    return folder != "analysis/drawing" or function.split(".")[0] in MARKS[stem]


def _skipped(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the spans (first, last) of what is no computation, each end (line, column)."""
    nodes = [part for node in ast.walk(ast.parse(text)) for part in _no_computation(node) if part]
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def _no_computation(node: ast.AST) -> list[ast.AST | None]:
    """Return the parts of a node that are annotations, messages, looks, asserts or fields."""
    if isinstance(node, ast.FunctionDef):
        return [node.returns, *node.decorator_list]
    if isinstance(node, ast.ClassDef):
        return [n for n in node.body if not isinstance(n, ast.FunctionDef)] + node.decorator_list
    if isinstance(node, (ast.arg, ast.AnnAssign)):
        return [node.annotation]
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg in LOOKS else []
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        is_type = any(isinstance(n, ast.Name) and n.id[:2].istitle() for n in node.targets)
        return [node.value] if is_type else []
    whole = isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr))
    whole |= isinstance(node, ast.Call) and _last_name(node.func) in WORDS
    whole |= isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING"
    return [node] if whole else []


def _last_name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _functions(text: str) -> list[tuple[str, int, int]]:
    """Return (qualified name, first line, last line), inner functions first."""
    found = []

    def visit(node: ast.AST, before: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = before
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                name = f"{before}.{child.name}" if before else child.name
                if isinstance(child, ast.FunctionDef):
                    found.append((name, child.lineno, child.end_lineno))
                    name = f"{name}.<locals>"
            visit(child, name)

    visit(ast.parse(text), "")
    return found[::-1]


@cache
def _operators() -> list[str]:
    from cosmic_ray.operators.provider import OperatorProvider

    return sorted(name for name in OperatorProvider() if _chosen(name))


def _chosen(name: str) -> bool:
    """Say whether an operator makes faults that a person could make and that are not absurd."""
    kind, _, change = name.partition("_")
    before, _, after = change.partition("_")
    if kind == "ReplaceBinaryOperator":
        return any({before, after} <= group for group in (ARITHMETIC, BITS))
    if kind == "ReplaceComparisonOperator":
        return (before in IDENTITY) == (after in IDENTITY)
    return name in OTHERS


@cache
def _operator(name: str):
    from cosmic_ray.operators.provider import OperatorProvider

    return OperatorProvider()[name]()


def _tree(text: str):
    from cosmic_ray.ast import get_ast

    return get_ast(text)


def _visitor(operator, occurrence: int):
    from cosmic_ray.mutating import MutationVisitor

    return MutationVisitor(occurrence, operator)
