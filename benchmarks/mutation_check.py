"""Break decisions on purpose and see which breaks the tests notice.

    python benchmarks/mutation_check.py                       # 64 breaks, half of them in rules and collectors
    python benchmarks/mutation_check.py --count 200 --seed 7  # others
    python benchmarks/mutation_check.py --only rules/loss     # a corner

Each break changes one decision of one function in a copy of the tree: a comparison turned round, *and* for *or*, a
negation dropped, a threshold ten times larger. The tests of that corner (as `make test` runs them, without the slow
ones) are run against the copy. A break that no test notices survives, and is printed with its line: a test is missing
there, or the line decides nothing. Exit code 1 if fewer than `--least` are noticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("src/traindx")

CORNERS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    # folder or file below src/traindx, share of the breaks, tests that `make test` has of it
    ("rules", 0.30, ()),  # their own family's, see tests_of
    ("watch/collectors", 0.20, ("tests/rules/watched", "tests/watch")),
    ("watch/probes", 0.05, ("tests/rules", "tests/watch")),
    ("trials", 0.20, ("tests/trials", "tests/trials_script")),
    ("data", 0.15, ("tests/data", "tests/rules/data")),
    ("fix", 0.05, ("tests/fix",)),
    ("pipeline.py", 0.05, ("tests/test_examination.py", "tests/test_pipeline.py", "tests/watch")),
)
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True)
class Break:
    """One decision turned: the place, what it was, and what it is made to be."""

    path: Path
    line: int
    begin: int
    end: int
    was: str
    made: str


def breaks_of(path: Path) -> Iterator[Break]:
    """Every break that a file offers, in the order of its lines; messages, docstrings and types are left alone."""
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef) or _only_draws(function):
            continue
        for node in ast.walk(function):
            made = _turned(node)
            if made is None or not isinstance(node, ast.expr):
                continue
            begin, end = span(node)
            if not _is(text[begin:end].decode(errors="replace"), node):  # within f-strings places are not to be had
                continue
            yield Break(path, node.lineno, begin, end, text[begin:end].decode(), made)


def _turned(node: ast.AST) -> str | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPPOSITE:
        changed = ast.Compare(node.left, [OPPOSITE[type(node.ops[0])]()], node.comparators)
        return f"({ast.unparse(changed)})"
    if isinstance(node, ast.BoolOp):
        return f"({ast.unparse(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))})"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return f"bool({ast.unparse(node.operand)})"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "limits":
        return f"(10 * {ast.unparse(node)})"
    return None


def _is(text: str, node: ast.expr) -> bool:
    try:
        return ast.dump(ast.parse(f"({text})", mode="eval").body) == ast.dump(node)
    except SyntaxError:
        return False


def _only_draws(function: ast.FunctionDef) -> bool:
    return function.name.startswith(("__repr__", "_name", "_message", "_words"))


def tests_of(path: Path, corner: tuple[str, ...]) -> list[str]:
    """The tests of a file's corner that exist."""
    parts = path.relative_to(ROOT / SOURCE).parts
    if parts[0] == "rules" and len(parts) > 2:
        corner = (f"tests/rules/{parts[1]}", "tests/rules/watched", f"tests/rules/test_{path.stem}.py")
    return [name for name in corner if (ROOT / name).exists()]


def chosen(count: int, seed: int, only: str) -> list[tuple[Break, list[str]]]:
    """Breaks drawn at random: first a file, then a place in it, so that long files do not lead."""
    draw = random.Random(seed)
    found: list[tuple[Break, list[str]]] = []
    for name, share, corner in CORNERS:
        place = ROOT / SOURCE / name
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        offers = {path: list(breaks_of(path)) for path in files if only in path.as_posix()}
        offers = {path: items for path, items in offers.items() if items}
        for _ in range(min(round(share * count), sum(map(len, offers.values())))):
            path = draw.choice(sorted(offers))
            one = offers[path].pop(draw.randrange(len(offers[path])))
            if not offers[path]:
                del offers[path]
            found.append((one, tests_of(path, corner)))
    return found


def noticed(one: Break, tests: list[str], house: Path, limit: float) -> str | None:
    """What noticed a break: the first failing test, or None where it survived."""
    target = house / one.path.relative_to(ROOT)
    whole = one.path.read_bytes()
    target.write_bytes(whole[: one.begin] + one.made.encode() + whole[one.end :])
    environment = {**os.environ, "PYTHONPATH": str(house / "src"), "OMP_NUM_THREADS": "1"}
    words = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests]
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *words], cwd=house, env=environment, text=True, capture_output=True,
            check=False, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it no longer ends"
    finally:
        target.write_bytes(whole)
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0][:120] if failed else f"exit code {run.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64, help="breaks to try (64)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (2)")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one break's tests (900)")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be noticed (0.95)")
    given = parser.parse_args()
    work = chosen(given.count, given.seed, given.only)
    with tempfile.TemporaryDirectory() as folder:
        houses = []
        for number in range(given.jobs):
            house = Path(folder) / str(number)
            for name in ("src", "tests", "scripts", "docs", "pyproject.toml", "README.md", "benchmarks"):
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                house.mkdir(exist_ok=True)
                copy(source, house / name)
            houses.append(house)
        free = list(houses)

        def attempt(item: tuple[Break, list[str]]) -> tuple[Break, str | None, float]:
            house, begun = free.pop(), time.monotonic()
            try:
                return item[0], noticed(*item, house, given.limit), time.monotonic() - begun
            finally:
                free.append(house)

        survived = 0
        with ThreadPoolExecutor(given.jobs) as pool:
            for one, by, seconds in pool.map(attempt, work):
                place = f"{one.path.relative_to(ROOT / SOURCE)}:{one.line}"
                survived += by is None
                verdict = f"noticed by {by}" if by is not None else "SURVIVED"
                print(f"{place}  {one.was[:60]!r} -> {one.made[:60]!r}  {verdict}  ({seconds:.0f} s)", flush=True)
    share = 1 - survived / max(1, len(work))
    print(f"{len(work) - survived} of {len(work)} breaks noticed ({share:.0%})")
    return 0 if share >= given.least else 1


if __name__ == "__main__":
    sys.exit(main())
