"""False alarms on programs that nobody here wrote: every healthy program of a local folder, run unwatched and watched.

    python benchmarks/healthy_programs.py FOLDER [--only NAME ...] [--out DIR] [--traindx CMD] [--jobs N] [--as-used]

``FOLDER`` holds one folder a program: its sources and a ``run.json``

    {"source": "repository", "commit": "...", "script": "train.py", "args": ["--epochs", "3"], "cwd": ".", "env": {},
     "prepare": ["make_data.py", "64"], "change": "the least change it needed, or none", "seconds": 20,
     "learning": "first and last figure"}

``script`` and ``prepare`` are relative to the program's folder, ``cwd`` is where the script is run; ``{root}`` in
``env`` stands for the program's folder; ``"module": true`` runs ``script`` as ``python -m`` does; ``"seeded": false``
says that it sets no seed: one is set for it, from outside, in every run. Every run takes place in a scratch copy with
fresh data, one core and no network needed.

A program is run once unwatched (what it left is kept in ``unwatched.json``) and once under ``traindx examine``. If
the two do not print the same lines and write the same files (weights bit for bit), it is run unwatched once more:
what differs there too is the program's own doing, and only what both unwatched runs share is asked of the watched
one. It is *not in order* if watching changes its exit code, what it prints or what it writes; if anything above
*suspected* is said of it; or if its training was not seen. By default it is watched for the usual 300 iterations and
then left alone to its own end (``--no-stop``), so that outputs can be compared; ``--as-used`` examines it as a user
would, ended after the window, and compares nothing; with ``--watched`` it is not run unwatched at all.

Results: ``results.json`` (everything) and ``results.md`` (a table, then every finding) in ``--out``. They are
written after every program; what is there already is kept unless ``--again`` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from program_outputs import SEEDS, Left, first_difference, settled, shared, stamps, weights_among, written

ABOVE = ("demonstrated", "proven")
PHASES = ("training", "validation", "sampling", "auxiliary", "inference")
CODE = re.compile(r"^[A-Z]\d{3,4}\b")


@dataclass
class Run:
    """One run of a program.

    Attributes:
        code: Exit code; negative for a signal, None if it had to be ended for lack of time.
        seconds: Wall time.
        cpu: Processor seconds of it and its children.
        output: What it printed, stdout and stderr together.
        files: What it wrote, a name and a digest each.
    """

    code: int | None
    seconds: float
    cpu: float
    output: str
    files: list[str] = field(default_factory=list)

    @property
    def left(self) -> Left:
        """Lines and files that two equal runs have in common."""
        return Left(settled(self.output), self.files)


@dataclass
class Result:
    """What became of one program."""

    name: str
    source: str = ""
    exit_unwatched: int | None = None
    exit_watched: int | None = None
    exit_traindx: int | None = None
    deterministic: bool | None = None
    output_same: bool | None = None
    difference: str = ""
    compared: str = ""
    outcome: str = ""
    ending: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    not_examined: list[str] = field(default_factory=list)
    iterations: int = 0
    watched: int = 0
    phases: list[str] = field(default_factory=list)
    rules_applied: int = 0
    rules_applicable: int = 0
    seconds: float = 0.0
    seconds_watched: float = 0.0
    cpu: float = 0.0
    cpu_watched: float = 0.0
    problem: str = ""

    @property
    def above(self) -> list[dict[str, Any]]:
        """Findings that a user is told of as established."""
        return [found for found in self.findings if found["standing"] in ABOVE]

    @property
    def suspected(self) -> list[dict[str, Any]]:
        """Findings that are only suspicions."""
        return [found for found in self.findings if found["standing"] == "suspected"]

    @property
    def in_order(self) -> bool:
        """Nothing changed, nothing claimed, and the training seen."""
        same_exit = self.exit_watched is None or self.exit_watched == self.exit_unwatched
        unchanged = self.output_same is not False and same_exit
        return unchanged and not self.above and not self.problem and not self.errors and "training" in self.phases


def programs(folder: Path, only: list[str]) -> list[Path]:
    """Folders with a ``run.json`` whose name begins with a number, optionally those that ``only`` names or begins."""
    found = [path.parent for path in sorted(folder.glob("[0-9]*/run.json"))]
    return [path for path in found if not only or any(path.name.startswith(name) for name in only)]


@contextlib.contextmanager
def scratch(program: Path, spec: dict[str, Any], python: str) -> Iterator[Path]:
    """A copy of the program with its data made, removed afterwards. Always at the same path, which may be printed."""
    base = Path(tempfile.gettempdir()) / f"healthy-{os.getpid()}"
    root = base / program.name
    shutil.rmtree(root, ignore_errors=True)
    base.mkdir(exist_ok=True)
    shutil.copytree(program, root, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        if spec.get("prepare"):
            done = subprocess.run(
                [python, *spec["prepare"]],
                cwd=root,
                env=environment(spec, root),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(spec['prepare'])} failed: {done.stderr.strip()[-300:]}")
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(OSError):
            base.rmdir()


def environment(spec: dict[str, Any], root: Path) -> dict[str, str]:
    """One core, no display, nothing to the network; then what the program asks for."""
    fixed = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg", "WANDB_MODE": "disabled"}
    fixed |= {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "TQDM_MININTERVAL": "1e9"}
    fixed |= {"PYTHONHASHSEED": "0"}
    own = {key: str(value).replace("{root}", str(root)) for key, value in spec.get("env", {}).items()}
    if spec.get("seeded") is False:
        own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(seeds_folder()), own.get("PYTHONPATH")]))
    return {**os.environ, **fixed, **own}


def seeds_folder() -> Path:
    """A folder whose ``sitecustomize`` sets the seeds of a program that sets none."""
    folder = Path(tempfile.gettempdir()) / "healthy-seeds"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SEEDS, encoding="utf-8")
    return folder


def run(command: list[str], cwd: Path, env: dict[str, str], limit: float, stdout: Path | None = None) -> Run:
    """Run a command in a process group of its own; all of the group is ended when it has not finished in time."""
    begun, cpu = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as output, contextlib.ExitStack() as stack:
        out = stack.enter_context(stdout.open("wb")) if stdout else output
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=output, start_new_session=True)
        code: int | None = None
        while time.monotonic() < begun + limit:
            # The usage is that of the process and of all that it waited for.
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                code, cpu = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
                process.returncode = code
                break
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if code is None:
            process.wait()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return Run(code, time.monotonic() - begun, cpu, text)


def command_of(spec: dict[str, Any], root: Path) -> tuple[list[str], Path]:
    """What stands after ``python`` (or ``traindx examine``) and the folder it is run in."""
    cwd = root / spec.get("cwd", ".")
    if spec.get("module"):
        return ["-m", spec["script"]], cwd
    return [os.path.relpath(root / spec["script"], cwd)], cwd


def examined(out: Path) -> dict[str, Any]:
    """What the evidence directory says: the diagnosis, and of the log how much of the training was seen."""
    seen: dict[str, Any] = {"iterations": 0, "watched": 0, "phases": []}
    phases: set[str] = set()
    log = out / "evidence.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if record.get("kind") == "IterationsSeen":
                seen |= {"iterations": record.get("iterations", 0), "watched": record.get("watched", 0)}
            elif record.get("kind") == "NetworkCalls":
                phases.add(record.get("phase", ""))
    seen["phases"] = [phase for phase in PHASES if phase in phases]
    if (out / "diagnosis.json").exists():
        seen["diagnosis"] = json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))
    return seen


def unwatched(program: Path, spec: dict[str, Any], options: argparse.Namespace, name: str) -> Run:
    """Run the program by itself, and keep what it printed."""
    with scratch(program, spec, options.python) as root:
        target, cwd = command_of(spec, root)
        before = stamps(root)
        ran = run([options.python, *target, *spec["args"]], cwd, environment(spec, root), options.limit)
        ran.files = written(root, before)
    (options.out / "unwatched").mkdir(exist_ok=True)
    (options.out / "unwatched" / f"{name}.txt").write_text(ran.output, encoding="utf-8")
    return ran


def judge(program: Path, options: argparse.Namespace, cache: dict[str, Any]) -> Result:
    """Run one program unwatched and watched, and compare."""
    spec = json.loads((program / "run.json").read_text(encoding="utf-8"))
    result = Result(program.name, source=spec.get("source", ""))
    known = cache.get(program.name) if not options.again else None
    try:
        if options.watched and not known:
            known = {"exit": 0, "seconds": 0.0, "cpu": float(spec.get("seconds") or 0)}
        if not known:
            ran = unwatched(program, spec, options, program.name)
            known = {"exit": ran.code, "seconds": ran.seconds, "cpu": ran.cpu, **asdict(ran.left)}
            keep(cache, program, known, options)
        result.exit_unwatched, result.seconds, result.cpu = known["exit"], known["seconds"], known["cpu"]
        if result.exit_unwatched != 0:
            last = " / ".join(known.get("lines", [])[-2:])[-200:]
            result.problem = f"unwatched it ends with {result.exit_unwatched}: {last}"
            return result
        if options.unwatched:
            return result
        left = watch(program, spec, options, result)
        if left is None or "lines" not in known:
            return result
        (options.out / "evidence" / program.name / "left.json").write_text(json.dumps(asdict(left), indent=1))
        if difference(known, left) and "again" not in known and not options.once:
            known["again"] = asdict(unwatched(program, spec, options, f"{program.name}.again").left)
            keep(cache, program, known, options)
        compare(known, left, result)
    except (RuntimeError, OSError) as error:
        result.problem = str(error)
    return result


def keep(cache: dict[str, Any], program: Path, known: dict[str, Any], options: argparse.Namespace) -> None:
    """Write down at once what an unwatched run was like."""
    cache[program.name] = known
    (options.out / "unwatched.json").write_text(json.dumps(cache, indent=1), encoding="utf-8")


def difference(known: dict[str, Any], left: Left) -> str:
    """What a watched run printed or wrote that the unwatched one did not, or the other way round."""
    return first_difference(known["lines"], left.lines) or first_difference(known["files"], left.files)


def compare(known: dict[str, Any], left: Left, result: Result) -> None:
    """Say whether watching changed what the program prints and writes, and how much could be compared."""
    lines, files = known["lines"], known["files"]
    again = known.get("again")
    if again:
        lines, files = shared(lines, again["lines"]), shared(files, again["files"])
        left = Left(shared(lines, left.lines), shared(files, left.files))
    result.deterministic = (lines, files) == (known["lines"], known["files"])
    result.difference = first_difference(lines, left.lines) or first_difference(files, left.files)
    result.output_same = not result.difference
    whole = "" if result.deterministic else f" of {len(known['lines'])}"
    whole_files = "" if result.deterministic else f" of {len(known['files'])}"
    result.compared = f"{len(lines)}{whole} lines, {len(files)}{whole_files} files"
    if weights := weights_among(files):
        result.compared += f" ({weights} of weights)"


def watch(program: Path, spec: dict[str, Any], options: argparse.Namespace, result: Result) -> Left | None:
    """Examine the program, fill in what was said, and return what it left; None where that cannot be compared."""
    evidence = options.out / "evidence" / program.name
    shutil.rmtree(evidence, ignore_errors=True)
    evidence.mkdir(parents=True)
    with scratch(program, spec, options.python) as root:
        target, cwd = command_of(spec, root)
        whole = [] if options.as_used else ["--no-stop", "--until", options.until]
        flags = ["--json", "--out", str(evidence), *whole]
        if "-m" in target:
            command = [*options.traindx.split(), "examine", *flags, *target, "--", *spec["args"]]
        else:
            command = [*options.traindx.split(), "examine", *target, *flags, "--", *spec["args"]]
        before = stamps(root)
        ran = run(command, cwd, environment(spec, root), 3 * options.limit, stdout=evidence / "printed.json")
        ran.files = written(root, before)
    (evidence / "output.txt").write_text(ran.output, encoding="utf-8")
    result.exit_traindx, result.seconds_watched, result.cpu_watched = ran.code, ran.seconds, ran.cpu
    seen = examined(evidence)
    diagnosis = seen.get("diagnosis")
    result.iterations, result.watched, result.phases = seen["iterations"], seen["watched"], seen["phases"]
    if diagnosis is None:
        result.problem = f"traindx left no diagnosis (exit {ran.code}): {ran.output.strip()[-300:]}"
        return None
    script = diagnosis.get("extras", {}).get("script", {})
    result.outcome, result.ending = diagnosis["outcome"], str(script.get("ending", ""))
    result.errors = [str(error) for error in diagnosis.get("errors", [])]
    result.not_examined = [f"{note['subject']}: {note['reason']}" for note in diagnosis.get("not_examined", ())]
    scratch_root = f"healthy-{os.getpid()}/{program.name}/"
    for found in diagnosis["findings"]:
        place = found.get("location") or {}
        file = str(place.get("file", "")).rsplit(scratch_root, maxsplit=1)[-1]
        keep = {key: found[key] for key in ("code", "name", "standing", "severity", "message")}
        where = f"{file}:{place.get('line', '')}" if file else ""
        result.findings.append({**keep, "place": where, "numbers": found["numbers"]})
    codes = {note["subject"].split()[0] for note in diagnosis["healthy"] if CODE.match(note["subject"])}
    coverage = diagnosis.get("coverage") or {}
    result.rules_applied = coverage.get("looked_at", 0) or len(codes | {found["code"] for found in result.findings})
    result.rules_applicable = coverage.get("applicable", 0)
    if options.as_used:
        return None
    result.exit_watched = script.get("exit_code")
    return ran.left


def mark(value: bool | None) -> str:
    """A word for the table."""
    return {True: "yes", False: "NO", None: "-"}[value]


def table(results: list[Result]) -> str:
    """One row a program, then every finding, error and changed output."""
    head = ("program", "in order", "outcome", "above", "suspected", "exit", "output same", "compared")
    head += ("iterations (watched)", "phases", "checks", "CPU s", "CPU ratio")
    rows = [head, tuple("---" for _ in head)]
    for r in results:
        codes = [", ".join(found["code"] for found in group) or "-" for group in (r.above, r.suspected)]
        exits = f"{r.exit_unwatched}/{r.exit_watched}"
        ratio = f"{r.cpu_watched / r.cpu:.2f}" if r.cpu and r.cpu_watched else "-"
        seen = f"{r.iterations} ({r.watched})"
        row = (r.name, mark(r.in_order), r.outcome or "-", *codes, exits, mark(r.output_same), r.compared or "-", seen)
        checks = f"{r.rules_applied} of {r.rules_applicable}"
        rows.append((*row, ", ".join(r.phases) or "NONE", checks, f"{r.cpu:.0f}", ratio))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    good = sum(r.in_order for r in results)
    above, suspected = sum(len(r.above) for r in results), sum(len(r.suspected) for r in results)
    total = f"{good} of {len(results)} programs in order; {above} findings above *suspected*, {suspected} suspected."
    lines += ["", total, ""]
    for r in results:
        notes = [f"* `{f['code']}` {f['name']}, {f['standing']}, {f['place']}: {f['message']}" for f in r.findings]
        notes += [f"* ERROR: {error}" for error in r.errors]
        notes += [f"* PROBLEM: {r.problem}"] if r.problem else []
        notes += [f"* OUTPUT CHANGED: {r.difference}"] if r.difference else []
        if not r.problem and "training" not in r.phases:
            notes.append("* TRAINING NOT SEEN: " + "; ".join(n for n in r.not_examined if not CODE.match(n))[:400])
        if notes:
            lines += [f"**{r.name}** ({r.source})", "", *notes, ""]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Command line; 0 if every chosen program is in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names, or what they begin with")
    parser.add_argument("--out", type=Path, default=Path("healthy-results"))
    parser.add_argument("--traindx", default="traindx", help="command; its interpreter must be --python")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the unwatched runs")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for an unwatched run; thrice that watched")
    until = "time to watch (traindx's own default is too short on a busy machine)"
    parser.add_argument("--until", default="1200s", help=until)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--once", action="store_true", help="never run unwatched a second time")
    parser.add_argument("--watched", action="store_true", help="do not run unwatched: these are known to run")
    parser.add_argument("--unwatched", action="store_true", help="only see that they run, and keep that; no results")
    parser.add_argument("--again", action="store_true", help="forget cached unwatched runs and earlier results")
    parser.add_argument("--rewatch", action="store_true", help="watch again, keep cached unwatched runs")
    parser.add_argument("--as-used", action="store_true", help="end the program after the window, as examine does")
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    cache_file, results_file = options.out / "unwatched.json", options.out / "results.json"
    cache: dict[str, Any] = json.loads(cache_file.read_text(encoding="utf-8")) if cache_file.exists() else {}
    results: dict[str, Result] = {}
    if results_file.exists() and not options.again:
        results = {entry["name"]: Result(**entry) for entry in json.loads(results_file.read_text(encoding="utf-8"))}

    chosen = programs(options.folder, options.only)
    todo = [path for path in chosen if options.again or options.rewatch or path.name not in results]
    with ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda path: judge(path, options, cache), todo):
            if options.unwatched:
                print(f"{result.name}: exit {result.exit_unwatched}, {result.cpu:.0f} s {result.problem}", flush=True)
                continue
            results[result.name] = result
            told = "in order" if result.in_order else "NOT IN ORDER"
            print(f"{result.name}: {told} {[f['code'] for f in result.findings]} {result.problem}", flush=True)
            ordered = [results[name] for name in sorted(results)]
            cache_file.write_text(json.dumps(cache, indent=1), encoding="utf-8")
            results_file.write_text(json.dumps([asdict(r) for r in ordered], indent=1), encoding="utf-8")
            (options.out / "results.md").write_text(table(ordered), encoding="utf-8")
    wanted = [results[path.name] for path in chosen if path.name in results]
    return 0 if all(result.in_order for result in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
