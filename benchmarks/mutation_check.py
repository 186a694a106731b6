"""Break decisions on purpose and see which breaks the tests notice.

    python benchmarks/mutation_check.py                       # 64 breaks, half of them in what watches scripts
    python benchmarks/mutation_check.py --count 200 --seed 7  # others
    python benchmarks/mutation_check.py --only rules/loss     # a corner
    python benchmarks/mutation_check.py --again               # those that survived, after a test was written for them

Each break changes one decision of one function in a copy of the tree: a comparison turned round, *and* for *or*, a
negation dropped, a threshold ten times larger. The tests that `make test` has of rules, collectors, trials and data are
run once with every place marked, which says what tests come by it; then each break is tried against the tests that do,
the nearest first, up to the first that fails. A break that none notices survives, and is printed with its line: a test
is missing there, or the line decides nothing. Everything happens in one process and its forks. What is known is kept
in `--state` after each break, so that an interrupted check goes on where it stopped. Exit code 1 if fewer than
`--least` are noticed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("src/traindx")
RECORDS_OF_SCRIPTS = ("traindx.evidence.observed", "traindx.evidence.probed")

CORNERS: tuple[tuple[str, float], ...] = (  # files below src/traindx, share of the breaks
    ("rules of scripts", 0.25),
    ("watch/collectors", 0.20),
    ("watch/probes", 0.05),
    ("rules", 0.15),  # those of cases and of data
    ("trials", 0.17),
    ("data", 0.11),
    ("fix", 0.03),
    ("pipeline.py", 0.04),
)
TESTS = ("rules", "watch", "trials", "trials_script", "data", "fix", "scripts", "checks", "cli")  # and tests/test_*.py
MOST_TESTS = 80  # for one break: a decision that so many tests come by and none notices has no test
TOO_LONG = "tests/watch/transparency"  # hundreds of runs in processes of their own
PRELOADED = (
    "torch", "torch._dynamo", "torch.utils.data", "numpy", "scipy.stats", "scipy.ndimage", "pydantic", "libcst", "rich",
    "typer", "jinja2", "yaml", "nibabel", "pydicom", "tifffile", "PIL.Image", "pytest", "hypothesis",
)  # fmt: skip
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
# Told by files, since a watched script runs in another process than the test that wants it.
MARKER = '''
import os as _os

_folder = _os.environ.get("TRAINDX_MARKED", "")
_seen = set()


def at(number):
    """Write down that the running test came by a place; false, so that the place decides as before."""
    try:
        with_name = _os.open(_folder + "/test", _os.O_RDONLY)
        name = _os.read(with_name, 1000)
        _os.close(with_name)
        if name and (number, name) not in _seen:
            _seen.add((number, name))
            log = _os.open(_folder + "/reached", _os.O_WRONLY | _os.O_APPEND | _os.O_CREAT)
            _os.write(log, b"%d\\t%s\\n" % (number, name))
            _os.close(log)
    except OSError:
        pass
    return False
'''
MARKING = "\nimport builtins as _builtins\nfrom traindx import _marked\n_builtins._traindx_marked = _marked.at\n"
PLUGIN = """
import json, os, pathlib
import pytest

_folder = pathlib.Path(os.environ["TRAINDX_MARKED"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    (_folder / "test").write_text(item.nodeid)
    try:
        return (yield)
    finally:
        (_folder / "test").write_text("")


def pytest_runtest_logreport(report):
    with (_folder / "tests").open("a") as log:
        log.write(json.dumps([report.nodeid, report.when, report.outcome, report.duration]) + "\\n")
"""


@dataclass(frozen=True)
class Break:
    """One decision turned: the place in a file below the root, what it was, and what it is made to be."""

    path: str
    line: int
    begin: int
    end: int
    was: str
    made: str

    @property
    def key(self) -> str:
        """What a verdict on it holds for: this place in this text."""
        return hashlib.sha256(f"{self.path} {self.begin} {self.made} {_text(self.path)}".encode()).hexdigest()[:20]


@functools.cache  # as it was when the check began, whatever is edited meanwhile
def _text(path: str) -> str:
    return (ROOT / path).read_text("utf-8") if (ROOT / path).exists() else ""


def moved(one: Break) -> Break | None:
    """The same break where its file has changed since it was drawn; None where its decision is gone."""
    path = ROOT / one.path
    alike = [it for it in (breaks_of(path) if path.exists() else ()) if (it.was, it.made) == (one.was, one.made)]
    return min(alike, key=lambda it: abs(it.line - one.line), default=None)


def breaks_of(path: Path) -> Iterator[Break]:
    """Every break that a file offers, in the order of its lines; messages, docstrings and types are left alone."""
    text = path.read_bytes()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    offered: set[tuple[int, int]] = set()
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef) or _only_draws(function):
            continue
        for node in _deciding(function):
            made = _turned(node)
            if made is None:
                continue
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            was = text[begin:end].decode(errors="replace")
            if _is(was, node) and (begin, end) not in offered:
                offered.add((begin, end))
                yield Break(path.relative_to(ROOT).as_posix(), node.lineno, begin, end, was, made)


def _deciding(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions below a node that are no part of a message, of a number that is reported, or of an assertion."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr | ast.Dict | ast.Assert | ast.Raise):
            continue
        if isinstance(child, ast.keyword) and child.arg in {"message", "numbers", "remedy"}:
            continue
        if isinstance(child, ast.expr):
            yield child
        yield from _deciding(child)


def _turned(node: ast.expr) -> str | None:
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


def files_of(corner: str) -> list[Path]:
    """The files that a corner's breaks are drawn from."""
    rules = sorted((ROOT / SOURCE / "rules").rglob("*.py"))
    of_scripts = [path for path in rules if any(name in path.read_text("utf-8") for name in RECORDS_OF_SCRIPTS)]
    if corner == "rules of scripts":
        return of_scripts
    if corner == "rules":
        return [path for path in rules if path not in of_scripts]
    place = ROOT / SOURCE / corner
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def chosen(count: int, seed: int, only: str) -> list[Break]:
    """Breaks drawn at random: first a file, then a place in it, so that long files do not lead."""
    draw = random.Random(seed)
    found: list[Break] = []
    for corner, share in CORNERS:
        offers = {path: list(breaks_of(path)) for path in files_of(corner) if only in path.as_posix()}
        offers = {path: items for path, items in offers.items() if items}
        for _ in range(min(round(share * count), sum(map(len, offers.values())))):
            path = draw.choice(sorted(offers))
            found.append(offers[path].pop(draw.randrange(len(offers[path]))))
            if not offers[path]:
                del offers[path]
    return found


class House:
    """A copy of the tree, in which tests run in forks of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)

    def put(self, path: str, pieces: Sequence[tuple[int, int, str]]) -> None:
        """Write a file with some places of it replaced; places may hold one another."""
        text = (ROOT / path).read_bytes()
        for begin, end, made in sorted(pieces, key=lambda piece: (-piece[0], piece[1])):
            text = text[:begin] + made.encode() + text[end:]
        (self.folder / path).write_bytes(text)

    def run(self, words: Sequence[str], limit: float, marked: Path | None = None) -> tuple[int | None, str]:
        """Exit code of pytest (None where it did not end in time) and what it printed."""
        log = self.folder / "output.txt"
        pid = os.fork()
        if not pid:
            try:
                self._become(words, log, marked)
            finally:
                os._exit(70)
        deadline = time.monotonic() + limit
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        code = os.waitstatus_to_exitcode(ended[1]) if ended[0] else None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what it started is gone with it, or goes now
            os.killpg(pid, signal.SIGKILL)
        if code is None:
            os.waitpid(pid, 0)
        return code, log.read_text(encoding="utf-8", errors="replace")

    def _become(self, words: Sequence[str], log: Path, marked: Path | None) -> None:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self.folder)
        paths = [str(self.folder / "src")] + ([str(marked)] if marked else [])
        os.environ.update(PYTHONPATH=os.pathsep.join(paths), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        os.environ.update({"TRAINDX_MARKED": str(marked)} if marked else {})
        sys.dont_write_bytecode = True
        sys.path[:0] = paths
        import pytest

        code = pytest.main(["-q", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--tb=no", *words])
        sys.stdout.flush()
        os._exit(int(code))


def come_by(breaks: Sequence[Break], house: House, state: Path, limit: float) -> dict[str, list[str]]:
    """For each break, the tests that come by its place, the nearest first and then the quickest; kept in the state."""
    known = state / "reached.json"
    stored: dict[str, list[str]] = json.loads(known.read_text("utf-8")) if known.exists() else {}
    fresh = [one for one in breaks if one.key not in stored]
    if not fresh:
        return stored
    marked = state / "marked"
    shutil.rmtree(marked, ignore_errors=True)
    marked.mkdir(parents=True)
    (marked / "test").write_text("")
    (marked / "marking_plugin.py").write_text(PLUGIN, "utf-8")
    for path in {one.path for one in fresh}:
        here = [(number, one) for number, one in enumerate(fresh) if one.path == path]
        house.put(path, _marks(here))
    first = house.folder / SOURCE / "__init__.py"
    plain = first.read_text("utf-8")
    first.write_text(plain + MARKING, "utf-8")
    (first.parent / "_marked.py").write_text(MARKER, "utf-8")
    tests = [f"tests/{name}" for name in TESTS] + [str(path) for path in sorted(house.folder.glob("tests/test_*.py"))]
    begun = time.monotonic()
    _, output = house.run(["-p", "marking_plugin", f"--ignore={TOO_LONG}", *tests], limit, marked)
    print(
        f"tests with {len(fresh)} places marked: {output.splitlines()[-1]}  ({time.monotonic() - begun:.0f} s)",
        flush=True,
    )
    first.write_text(plain, "utf-8")
    (first.parent / "_marked.py").unlink()
    for path in {one.path for one in fresh}:
        house.put(path, ())
    seconds: dict[str, float] = {}
    failed: set[str] = set()
    for line in (marked / "tests").read_text("utf-8").splitlines():
        name, _, outcome, duration = json.loads(line)
        seconds[name] = seconds.get(name, 0) + duration
        if outcome == "failed":
            failed.add(name)
    reached: dict[int, set[str]] = {number: set() for number in range(len(fresh))}
    for line in (marked / "reached").read_text("utf-8").splitlines():
        number, name = line.split("\t", 1)
        reached[int(number)].add(name)
    for number, one in enumerate(fresh):
        stem = Path(one.path).stem.split("_")[0]
        usable = reached[number] - failed
        order = sorted(usable, key=lambda name: (stem not in name.lower(), seconds.get(name, 0), name))
        stored[one.key] = order[:MOST_TESTS]
    known.write_text(json.dumps(stored), "utf-8")
    return stored


def _marks(here: Sequence[tuple[int, Break]]) -> list[tuple[int, int, str]]:
    """Insertions that mark places, as pieces without length; one that holds another closes after it."""
    pieces = []
    for number, one in here:
        pieces.append((one.begin, one.begin, f"(_traindx_marked({number}) or ("))
        pieces.append((one.end, one.end, "))"))
    return pieces


def noticed(one: Break, tests: Sequence[str], house: House, limit: float) -> str | None:
    """What noticed a break: the first failing test, or None where it survived."""
    if not tests:
        return None
    house.put(one.path, [(one.begin, one.end, one.made)])
    arguments = house.folder / "tests.txt"
    arguments.write_text("\n".join(tests), "utf-8")
    try:
        code, output = house.run(["-x", f"@{arguments}"], limit)
    finally:
        house.put(one.path, ())
    if code is None:
        return "it no longer ends"
    if code == 0:
        return None
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0][:120] if failed else f"exit code {code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64, help="breaks to try (64)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one break's tests (600)")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be noticed (0.95)")
    parser.add_argument("--state", type=Path, help="folder for what is known already (.mutations in the checkout)")
    parser.add_argument("--again", action="store_true", help="try those that survived again, with today's tests")
    given = parser.parse_args()
    state = (given.state or ROOT / ".mutations" / f"{given.count}-{given.seed}").resolve()
    state.mkdir(parents=True, exist_ok=True)
    drawn = state / "breaks.json"
    if drawn.exists():
        stored = [Break(*fields) for fields in json.loads(drawn.read_text("utf-8"))]
        work = [one for one in map(moved, stored) if one is not None]
        print(f"{len(work)} of {len(stored)} decisions drawn before are still there", flush=True)
    else:
        work = chosen(given.count, given.seed, given.only)
        drawn.write_text(json.dumps([list(vars(one).values()) for one in work], indent=0), "utf-8")
    results = state / "results.json"
    verdicts: dict[str, str | None] = json.loads(results.read_text("utf-8")) if results.exists() else {}
    if given.again:
        verdicts = {key: by for key, by in verdicts.items() if by is not None}
        (state / "reached.json").unlink(missing_ok=True)
    for name in PRELOADED:  # so that no fork has to
        with contextlib.suppress(ImportError):
            import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder).resolve())
        left = [one for one in work if one.key not in verdicts]
        tests = come_by(left, house, state, 10 * given.limit)
        for one in left:
            begun = time.monotonic()
            by = noticed(one, tests[one.key], house, given.limit)
            verdicts[one.key] = by
            results.write_text(json.dumps(verdicts, indent=0), "utf-8")
            verdict = f"noticed by {by}" if by is not None else f"SURVIVED {len(tests[one.key])} tests"
            change = f"{' '.join(one.was.split())[:60]!r} -> {' '.join(one.made.split())[:60]!r}"
            print(f"{one.path}:{one.line}  {change}  {verdict}  ({time.monotonic() - begun:.0f} s)", flush=True)
    killed = sum(verdicts[one.key] is not None for one in work)
    print(f"{killed} of {len(work)} breaks noticed ({killed / max(1, len(work)):.1%})")
    return 0 if killed >= given.least * len(work) else 1


if __name__ == "__main__":
    sys.exit(main())
