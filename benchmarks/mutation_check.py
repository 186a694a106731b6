"""Break decisions on purpose and see which breaks the tests notice.

    python benchmarks/mutation_check.py                       # 64 breaks, half of them in what watches scripts
    python benchmarks/mutation_check.py --count 200 --seed 7  # others
    python benchmarks/mutation_check.py --only rules/loss     # a corner
    python benchmarks/mutation_check.py --again               # those that survived, after a test was written for them

Each break changes one decision of one function in a copy of the tree: a comparison turned round, *and* for *or*, a
negation dropped, a threshold ten times larger. It is tried against tests of `make test`, the nearest first: those named
after it (by the code of a rule, its module, what the module defines), then those of the records it reads or writes and
of the rules that read them, then those that import what imports it, then those of its corner of the tree; among those
that are equally near, the ones that share rare words with the broken function. It ends with the first that fails, or
when `--budget` seconds of processor are spent. A test counts only if it passes in the tree without the break, and one
that did not end, only if it fails a second time with it. So the rate is a lower bound of what `make test` notices: a
break that survives here may yet fail a test that was never reached.

What survives is printed with its line: a test is missing there, or the line decides nothing. Everything happens in
forks of one process that holds torch already. What is known is kept in `--state` after each break, so that an
interrupted check goes on where it stopped. Exit code 1 if fewer than `--least` are noticed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

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
    ("pipeline.py", 0.03),
)
FOLDERS_OF_TESTS = {  # where a corner's tests are, for what nothing nearer notices
    "rules": ("rules", "watch", "checks"),
    "watch": ("watch", "rules"),
    "trials": ("trials", "trials_script"),
    "data": ("data", "rules/data"),
    "fix": ("fix", "trials_script"),
    "pipeline.py": ("", "cli", "checks"),
}
BATCHES = (10.0, 40.0)  # expected seconds of a break's first and second fork; a third one has the rest
WORD = re.compile(r"\w[\w-]*\w")
PART = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]{3,}")  # of a name
HOUSE = "{house}"  # stands for the folder of the copy in what is stored
USUAL_SECONDS = 0.5  # of a test that `--seconds` does not know
PRELOADED = (
    "torch", "torch._dynamo", "torch.utils.data", "numpy", "scipy.stats", "scipy.ndimage", "pydantic", "libcst", "rich",
    "typer", "jinja2", "yaml", "nibabel", "pydicom", "tifffile", "PIL.Image", "pytest", "_pytest.python", "hypothesis",
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


@dataclass(frozen=True)
class Break:
    """One decision turned: the place in a file below the root, what it was, and what it is made to be."""

    path: str
    line: int
    begin: int
    end: int
    was: str
    made: str

    def __str__(self) -> str:
        was, made = (" ".join(text.split())[:60] for text in (self.was, self.made))
        return f"{self.path}:{self.line}  {was!r} -> {made!r}"


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
    zero = set(re.findall(r"(\w+)=Threshold\(\s*0(?:\.0)?\s*,", text.decode(errors="replace")))  # the same ten times
    offered: set[tuple[int, int]] = set()
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef) or _only_draws(function):
            continue
        for node in _deciding(function):
            made = _turned(node)
            if made is None or (isinstance(node, ast.Attribute) and node.attr in zero):
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
                shutil.copy2(ROOT / name, folder / name)  # with its time, so that what is compiled holds for it
        for compiled in (path for top in ("src", "tests") for path in (ROOT / top).rglob("__pycache__")):
            shutil.copytree(compiled, folder / compiled.relative_to(ROOT), dirs_exist_ok=True)

    def put(self, path: str, pieces: Sequence[tuple[int, int, str]]) -> None:
        """Write a file with some places of it replaced; places may hold one another."""
        text = (ROOT / path).read_bytes()
        for begin, end, made in sorted(pieces, key=lambda piece: (-piece[0], piece[1])):
            text = text[:begin] + made.encode() + text[end:]
        (self.folder / path).write_bytes(text)
        for compiled in (self.folder / path).parent.glob(f"__pycache__/{Path(path).stem}.*"):
            compiled.unlink()  # one of the same second and size would be taken for this text's

    def run(self, tests: Sequence[str], budget: float, words: Sequence[str] = ("-x",)) -> Ran:
        """Run tests in a fork, as long as the budget of processor seconds lasts; by default up to the first failure."""
        arguments, log, output = (self.folder / name for name in ("tests.txt", "reports.jsonl", "output.txt"))
        arguments.write_text("\n".join(tests), "utf-8")
        log.write_text("")
        pid = os.fork()
        if not pid:
            try:
                self._become([f"@{arguments}", *words], log, output, budget)
            finally:
                os._exit(70)
        deadline = time.monotonic() + 300 + 10 * budget  # of a machine that others use as well
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what it started is gone with it, or goes now
            os.killpg(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(ended[1] if ended[0] else os.waitpid(pid, 0)[1])
        ran = Ran(code, output.read_text(encoding="utf-8", errors="replace"))
        for line in log.read_text("utf-8").splitlines():
            kind, name, value = json.loads(line)
            if kind == "begins":
                ran.begun.append(name)
            elif kind in ("failed", "late"):
                ran.failed.append(name)
                ran.late = ran.late or kind == "late"
            ran.seconds = max(ran.seconds, value)
        if not ended[0] or code < 0 or (code not in (0, 1, 2, 5) and ran.begun):  # 5: nothing to run
            ran.failed += ran.begun[-1:]
            ran.late = True
        return ran

    def _become(self, words: Sequence[str], log: Path, output: Path, budget: float) -> None:
        os.setsid()
        printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.chdir(self.folder)
        path = str(self.folder / "src")
        os.environ.update(PYTHONPATH=path, OMP_NUM_THREADS="1")
        if "--collect-only" not in words:  # the one that leaves compiled files for all the others
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
        sys.path[:0] = [path]
        import pytest

        options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--timeout=200"]
        code = pytest.main([*options, *words], plugins=[Reporter(log, budget, Forked(self.folder))])
        sys.stdout.flush()
        os._exit(int(code))


@dataclass
class Ran:
    """What a fork did."""

    code: int
    output: str
    begun: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of processor
    late: bool = False  # a test did not end by itself


class Forked:
    """What `tests/forked.py` is as a program, in a fork made before anything of the package is imported."""

    def __init__(self, folder: Path) -> None:
        ask, self.ask = os.pipe()
        self.answer, answer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.dup2(ask, 0)
            os.dup2(answer, 1)
            for one in (ask, self.ask, self.answer, answer):
                os.close(one)
            sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w")
            script = folder / "tests" / "forked.py"
            if sys.stdin.readline():  # nothing of it is done for tests that watch no script
                sys.argv = [str(script)]
                exec(
                    compile(script.read_text("utf-8"), str(script), "exec"),
                    {"__name__": "__main__", "__file__": str(script)},
                )
            os._exit(0)
        os.close(ask)
        os.close(answer)
        self.stdin, self.stdout = os.fdopen(self.ask, "w"), os.fdopen(self.answer, "r")

    def start(self) -> None:
        self.stdin.write("go\n")
        self.stdin.flush()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        return os.waitpid(self.pid, 0)[1]

    def seconds(self) -> float:
        """Of processor, with those of scripts that ended; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Reporter:
    """Plugin of pytest: what begins and what fails, in a file as it comes; ends the session when its time is spent."""

    def __init__(self, log: Path, budget: float, forked: Forked) -> None:
        self.log, self.budget, self.forked = log, budget, forked
        self.begun = self.seconds()
        self.used = False

    def seconds(self) -> float:
        return sum(os.times()[:4]) + self.forked.seconds()

    def write(self, kind: str, name: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps([kind, name, self.seconds() - self.begun]) + "\n")

    def pytest_collection_finish(self, session) -> None:
        if session.config.option.collectonly:
            for item in session.items:
                self.write("begins", item.nodeid)
            return
        with contextlib.suppress(ImportError):
            import forked

            plain = forked.subprocess

            def popen(*args, **kwargs):
                if self.used:
                    return plain.Popen(*args, **kwargs)
                self.used = True
                self.forked.start()
                return self.forked

            forked.subprocess = SimpleNamespace(**{**vars(plain), "Popen": popen})

    def pytest_collectreport(self, report) -> None:
        if report.outcome == "failed":
            self.write("failed", report.nodeid)

    def pytest_runtest_logstart(self, nodeid: str, location) -> None:
        self.write("begins", nodeid)

    def pytest_runtest_logreport(self, report) -> None:
        if report.outcome == "failed":
            self.write("late" if "Timeout" in str(report.longrepr) else "failed", report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str, location) -> None:
        self.write("ends", nodeid)

    def pytest_runtest_teardown(self, item, nextitem) -> None:
        if self.seconds() - self.begun > self.budget:
            item.session.shouldstop = "its time is spent"

    def pytest_unconfigure(self) -> None:
        self.forked.kill()


class Nearness:
    """How near each file of tests is to a break, by names alone."""

    def __init__(self, tests: Sequence[str], seconds: dict[str, float]) -> None:
        self.tests: dict[str, list[str]] = {}
        for name in tests:
            self.tests.setdefault(name.partition("::")[0], []).append(name)
        self.seconds = seconds
        self.words: dict[str, set[str]] = {}
        self.stems = Counter(place.stem for place in (ROOT / SOURCE).rglob("*.py"))
        self.defined: Counter[str] = Counter()
        self.imports: dict[str, set[str]] = {}
        for path in self.tests:
            self.imports[path] = _imported(_text(path))
            self.words.update({f"{path}::{name}": words for name, words in _words_of_functions(_text(path)).items()})
        self.parts = {name: _parts(words) for name, words in self.words.items()}
        holding = Counter(part for parts in self.parts.values() for part in parts)
        self.weights = {part: math.log(len(self.parts) / count) for part, count in holding.items()}
        self.modules: dict[str, set[str]] = {}
        self.codes: dict[str, set[str]] = {}  # of the rules that read a record
        for place in sorted((ROOT / SOURCE).rglob("*.py")):
            path = place.relative_to(ROOT).as_posix()
            self.modules[_module(path)] = _imported(_text(path))
            self.defined.update(_defined(_text(path)))
            for code in _code(path):
                for record in _records(path):
                    self.codes.setdefault(record, set()).add(code)

    def ordered(self, one: Break) -> list[str]:
        """Tests, the nearest first, then those that speak of the same things, then the quickest."""
        module, code, records = _module(one.path), _code(one.path), _records(one.path)
        above = {name for name, imported in self.modules.items() if module in imported}
        further = {name for name, imported in self.modules.items() if imported & above} - above
        defined = {name for name in _defined(_text(one.path)) if len(name) > 4 and self.defined[name] == 1}
        around = Path(one.path).parent.name
        named = set(code) | defined | ({around, around.replace("_", "-")} if "_" in around else set())
        others = set().union(*(self.codes.get(record, set()) for record in records)) - set(code)
        corner = next(name for name in FOLDERS_OF_TESTS if one.path.startswith(f"{SOURCE.as_posix()}/{name}"))
        stem_of = Path(one.path).stem if self.stems[Path(one.path).stem] == 1 else None  # not ``case``, ``script``
        about = _parts(WORD.findall(_around(one)))
        found = []
        for path, names in self.tests.items():
            stem, imports, anywhere = Path(path).stem, self.imports[path], self.words[f"{path}::"]
            parts = set(stem.upper().split("_"))
            folder = str(Path(path).parent).removeprefix("tests").lstrip("/")
            of_file = (
                (0, parts & set(code) or (stem_of and stem_of in stem)),
                (3, module in imports),
                (4, anywhere & named),
                (5, parts & others),
                (6, anywhere & records),
                (7, imports & above),
                (8, anywhere & others),
                (9, imports & further),
                (10, folder.startswith(FOLDERS_OF_TESTS[corner])),
            )
            nearest = next((distance for distance, holds in of_file if holds), None)
            for name in names if nearest is not None else ():
                function = f"{path}::{name.rpartition('::')[2].partition('[')[0]}"
                words = self.words.get(function, set()) | set(WORD.findall(name.partition("[")[2]))
                distance = min(nearest, 1 if words & named else 2 if words & (records | others) else nearest)
                if words & named and words & records:  # what a rule makes of a record that is written by hand
                    distance = -1
                alike = sum(self.weights[part] for part in about & self.parts.get(function, set()))
                found.append((distance, -alike, self.seconds.get(name, USUAL_SECONDS), name))
        return [name for *_, name in sorted(found)]

    def batches(self, one: Break, budget: float, without: set[str]) -> list[list[str]]:
        """The tests that may be run within a budget, those of one fork together."""
        found: list[list[str]] = [[] for _ in range(len(BATCHES) + 1)]
        spent = 0.0
        for name in self.ordered(one):
            if name not in without and spent < 10 * budget:  # the fork itself looks at the processor's time
                found[sum(spent >= bound for bound in BATCHES)].append(name)
                spent += self.seconds.get(name, USUAL_SECONDS)
        return [batch for batch in found if batch]


def _words_of_functions(text: str) -> dict[str, set[str]]:
    """Words of each function of a file, its decorators among them; those of the whole file under the empty name."""
    found, lines = {"": set(WORD.findall(text))}, text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            begin = min([node.lineno, *(it.lineno for it in node.decorator_list)])
            found[node.name] = set(WORD.findall("\n".join(lines[begin - 1 : node.end_lineno])))
    return found


def _around(one: Break) -> str:
    """The innermost function that a break is in."""
    lines = _text(one.path).splitlines()
    functions = [
        node
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.FunctionDef) and node.lineno <= one.line <= (node.end_lineno or 0)
    ]
    inner = max(functions, key=lambda node: node.lineno, default=None)
    return "\n".join(lines[inner.lineno - 1 : inner.end_lineno]) if inner else lines[one.line - 1]


def _parts(words: Iterable[str]) -> set[str]:
    """What names are made of, without endings: ``_closures`` and ``closure`` are about the same."""
    return {part.lower().rstrip("s") for word in words for part in PART.findall(word)}


def _module(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _code(path: str) -> tuple[str, ...]:
    found = re.match(r"([a-z]\d{3,4})_", Path(path).name)
    return (found[1].upper(),) if found else ()


def _defined(text: str) -> set[str]:
    """Names of functions and classes at the top of a file."""
    return set(re.findall(r"^(?:class|def) (\w+)", text, re.M))


def _imported(text: str) -> set[str]:
    found = set()
    for module, names in re.findall(r"from (traindx[\w.]*) import (\([^)]*\)|[^\n]*)", text):
        found.add(module)
        found.update(f"{module}.{name}" for name in re.findall(r"\w+", names))
    return found | set(re.findall(r"traindx(?:\.\w+)+", text))


def _records(path: str) -> set[str]:
    found = {name.rpartition(".")[2] for name in _imported(_text(path)) if name.startswith("traindx.evidence")}
    return {name for name in found if name[0].isupper()} - {"Record", "Evidence", "Where", "CallSite"}


@dataclass
class Verdict:
    """What became of a break."""

    by: str | None  # the test that noticed it
    tests: int  # that were run
    seconds: float  # of processor
    confirmed: bool = False  # that test passes without the break


def tried(one: Break, near: Nearness, house: House, budget: float, unfit: set[str]) -> Verdict:
    """Run the nearest tests against a break up to the first that fails."""
    tests, seconds = 0, 0.0
    for batch in near.batches(one, budget, unfit):
        if seconds >= budget:
            break
        house.put(one.path, [(one.begin, one.end, one.made)])
        ran = house.run(batch, budget - seconds)
        by = ran.failed[0] if ran.failed else None
        if by and ran.late and not house.run([by], budget).failed:
            by = None  # the machine was busy
        house.put(one.path, ())
        tests, seconds = tests + len(ran.begun), seconds + ran.seconds
        if by:
            return Verdict(by, tests, seconds)
        if ran.late:
            continue
        if ran.code not in (0, 2, 5):  # 2: its time was spent
            raise RuntimeError(f"{one}: pytest ended with {ran.code} and no failed test:\n{ran.output[-2000:]}")
    return Verdict(None, tests, seconds)


@dataclass
class State:
    """What is known of some breaks, in a folder."""

    folder: Path
    work: list[Break]
    verdicts: dict[int, Verdict]  # by the break's number

    @classmethod
    def of(cls, folder: Path, given: argparse.Namespace) -> State:
        """The breaks drawn before, where their decisions are today, or new ones."""
        folder.mkdir(parents=True, exist_ok=True)
        drawn, results = folder / "breaks.json", folder / "results.json"
        if not drawn.exists():
            fields = [list(vars(one).values()) for one in chosen(given.count, given.seed, given.only)]
            drawn.write_text(json.dumps(fields, indent=0), "utf-8")
        stored = [Break(*fields) for fields in json.loads(drawn.read_text("utf-8"))]
        known = json.loads(results.read_text("utf-8")) if results.exists() else {}
        verdicts = {int(number): Verdict(**fields) for number, fields in known.items()}
        if given.again:
            verdicts = {number: verdict for number, verdict in verdicts.items() if verdict.by is not None}
        work = []
        for number, one in enumerate(stored):
            today = moved(one)
            if today is None:
                print(f"no longer there: {one}", flush=True)
                verdicts.pop(number, None)
            work.append(today or one)
        return cls(folder, work, verdicts)

    def left(self) -> list[int]:
        return [number for number, one in enumerate(self.work) if number not in self.verdicts and moved(one)]

    def keep(self) -> None:
        known = {number: vars(verdict) for number, verdict in sorted(self.verdicts.items())}
        (self.folder / "results.json").write_text(json.dumps(known, indent=0), "utf-8")

    def tests(self, house: House) -> list[str]:
        """All tests that `make test` has, with their parameters."""
        texts = "".join(_text(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / "tests").rglob("*.py")))
        digest = hashlib.sha256(texts.encode()).hexdigest()
        stored = self.folder / "tests.json"
        if stored.exists():
            known = json.loads(stored.read_text("utf-8"))
            if known["of"] == digest:
                return [name.replace(HOUSE, str(house.folder)) for name in known["tests"]]
        found = house.run(["tests"], 3600, ["--collect-only"]).begun
        named = [name.replace(str(house.folder), HOUSE) for name in found]  # of parameters that are paths
        stored.write_text(json.dumps({"of": digest, "tests": named}, indent=0), "utf-8")
        return found

    def confirm(self, house: House) -> set[str]:
        """Tests that failed with a break and fail without it as well; what they noticed is open again."""
        doubtful = {it.by for it in self.verdicts.values() if it.by is not None and not it.confirmed}
        ran = house.run(sorted(doubtful), 3600, ()) if doubtful else None
        failed = {by for by in doubtful if ran and any(name.startswith(by) for name in ran.failed)}
        for number, verdict in list(self.verdicts.items()):
            if verdict.by in failed:
                del self.verdicts[number]
            elif verdict.by is not None:
                verdict.confirmed = True
        self.keep()
        return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64, help="breaks to try (64)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--budget", type=float, default=60, help="seconds of processor for one break's tests (60)")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be noticed (0.95)")
    parser.add_argument("--state", type=Path, help="folder for what is known already (.mutations in the checkout)")
    parser.add_argument("--seconds", type=Path, help="output of a `pytest --durations=0`: quicker tests come first")
    parser.add_argument("--again", action="store_true", help="try those that survived again, with today's tests")
    given = parser.parse_args()
    state = State.of((given.state or ROOT / ".mutations" / f"{given.count}-{given.seed}").resolve(), given)
    for name in PRELOADED:  # so that no fork has to
        with contextlib.suppress(ImportError):
            import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder).resolve())
        near = Nearness(state.tests(house), _seconds(given.seconds))
        unfit: set[str] = set()
        while left := state.left():
            for number in left:
                verdict = state.verdicts[number] = tried(state.work[number], near, house, given.budget, unfit)
                state.keep()
                said = f"noticed by {verdict.by}" if verdict.by is not None else "SURVIVED"
                print(f"{state.work[number]}  {said}  ({verdict.tests} tests, {verdict.seconds:.0f} s)", flush=True)
            unfit |= state.confirm(house)
    killed = sum(verdict.by is not None for verdict in state.verdicts.values())
    print(f"{killed} of {len(state.verdicts)} breaks noticed ({killed / max(1, len(state.verdicts)):.1%})")
    return 0 if killed >= given.least * len(state.verdicts) else 1


def _seconds(log: Path | None) -> dict[str, float]:
    found: dict[str, float] = {}
    if log:
        for line in log.read_text("utf-8", errors="replace").splitlines():
            if match := re.match(r"([\d.]+)s (?:call|setup|teardown) +(\S.*?)\s*$", line):
                found[match[2]] = found.get(match[2], 0.0) + float(match[1])
    return found


if __name__ == "__main__":
    # Once more, as no file of anybody's: probes that follow their callers would take these lines for a script's, and
    # evaluate them. What is loaded under the name of this file is not looked at either.
    checker = sys.modules["checker"] = ModuleType("checker")
    checker.__file__ = __file__
    exec(compile(Path(__file__).read_text("utf-8"), "<checker>", "exec"), vars(checker))
    del checker.__file__, sys.modules["__main__"].__file__
    sys.exit(checker.main())
