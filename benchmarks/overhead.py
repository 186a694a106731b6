"""What watching costs: time as paired ratios within one process, memory as peaks of paired processes, whole programs.

    python benchmarks/overhead.py [--styles monai2d monai3d ...] [--pairs 7] [--steps 150] [--write]
    python benchmarks/overhead.py --programs FOLDER --only 01 15 --pairs 3      # see healthy_programs.py

Time: one process trains one model on one thread; wall time and processor time are both given, since neighbours on a
shared machine disturb the first more than the second. Windows of steps with nothing of traindx in place alternate with
windows of as many steps that are watched, in random order within each pair; a pair gives one ratio, and the median of
the ratios is reported with an interval (order statistics, 95 %). Processor time includes that of experiments in child
processes, of putting everything in place and of the last summary. Ways of watching that are compared with the bare run:
``window``, the first iterations of a run as ``traindx examine`` watches them; ``passive``, the same without
experiments; ``full``, every iteration in full; ``sparse``, two hundred iterations of which four are watched, one of
them in full, after sixty others (``--lead``; the summaries after the 64th and 256th iteration are among the two
hundred then, and none with ``--lead 600``).
Memory: peak resident set of whole processes, bare and watched, paired.

Programs: each is run bare, watched to its own end, and watched without experiments, in random order within a pair, and
the processor time of all of its processes is compared. The fixed cost (start, import, report) is what a script that
takes one step costs more when it is examined; it is given apart, and the ratio both with it and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overhead_styles import STYLES, Train

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "overhead.md"
WAYS = {"window": 0, "passive": 0, "full": 1, "sparse": 50}  # by the ``every`` of the settings
LIMITS = {"window": 1.25, "passive": 1.25, "full": 0.0, "sparse": 1.03}
CLOCKS = ("wall", "processor")
MEMORY_LIMIT = 1.15
SPARSE_STEPS = 200
LEAD = 60  # iterations before the sparse ones that are timed: the start is over


# -- measuring, in a child -------------------------------------------------------------------------------------------


def begin_watching(every: int, folder: str, *, probes: bool = True) -> Any:
    """Put everything in place, as for a script; nothing of it was there before."""
    import torch

    from traindx.watch.runtime.assembly import WithoutTorch, collectors_for
    from traindx.watch.runtime.settings import Settings
    from traindx.watch.runtime.sink import Sink
    from traindx.watch.runtime.watch import Watch

    settings = Settings("overhead", every=every, steps=0, seconds=0.0, stop=False, extras={"probes": probes})
    watch = Watch(torch, settings, Sink(Path(folder)))
    watch.collectors = collectors_for(watch, WithoutTorch())
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
    watch.start()
    return watch


def seconds_of(train: Train, count: int) -> tuple[float, float]:
    """Wall time and processor time of so many steps, this process alone."""
    begun, used = time.perf_counter(), time.process_time()
    train(count)
    return time.perf_counter() - begun, time.process_time() - used


def children_seconds() -> float:
    """Processor time of the children that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(train: Train, way: str, count: int, folder: str, lead: int = LEAD) -> tuple[float, float]:
    """Wall and processor time of a window; experiments in child processes and the last summary are counted."""
    if way == "bare":
        return seconds_of(train, count)
    children, used = children_seconds(), time.process_time()
    watch = begin_watching(WAYS[way], folder, probes=way != "passive")
    setting_up = time.process_time() - used
    if way == "sparse":
        train(lead)  # its start is over; four watched iterations lie ahead, one of them in full
    wall, processor = seconds_of(train, count)
    used = time.process_time()
    watch.finish()
    watch.sink.close()
    ending = time.process_time() - used
    if way == "sparse":
        return wall, processor
    return wall, processor + setting_up + ending + children_seconds() - children


def time_style(style: str, pairs: int, ways: Sequence[str], steps: int, lead: int) -> dict[str, Any]:
    """Ratios of watched to bare time; in each pair one bare window serves all ways of one length."""
    import torch

    from traindx.watch.runtime.call_sites import count_as_users

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    count_as_users(str(Path(__file__).parent))
    train = STYLES[style]()
    order = random.Random(0)
    train(5)
    ratios: dict[str, list[float]] = {f"{way} {clock}": [] for way in ways for clock in CLOCKS}
    bare_steps: list[float] = []
    lengths = {way: SPARSE_STEPS if way == "sparse" else steps for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            for count in sorted(set(lengths.values())):
                of_this = [way for way in ways if lengths[way] == count]
                times = {
                    way: timed(train, way, count, folder, lead)
                    for way in order.sample(["bare", *of_this], 1 + len(of_this))
                }
                for way in of_this:
                    for index, clock in enumerate(CLOCKS):
                        ratios[f"{way} {clock}"].append(times[way][index] / times["bare"][index])
                bare_steps.append(times["bare"][1] / count)
    return {"ratios": ratios, "step": statistics.median(bare_steps)}


def train_style(style: str, watched: bool, every: int) -> int:
    """Train for a while and say the peak of the resident set in kilobytes."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        watch = begin_watching(every, folder) if watched else None
        train = STYLES[style]()
        train(12)
        if watch is not None:
            watch.finish()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_child(*arguments: str) -> Any:
    """The last line of a child's output as JSON; the child is this file."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


# -- whole programs, in processes of their own ---------------------------------------------------------------------

ONE_STEP = """
import torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), 0.1)
net(torch.ones(4, 2)).square().mean().backward()
optimizer.step()
"""


def examine(settings: dict[str, Any]) -> None:
    """What ``traindx examine --no-stop`` does: run a script, watch it, judge and write the reports."""
    from traindx import report
    from traindx.host.diagnose import diagnose
    from traindx.host.runner import run_script
    from traindx.watch.runtime.settings import Settings

    out = Path(settings["out"])
    run = run_script(Settings(**settings))
    report.write(diagnose(out, run), out)


def processor_time(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    """Seconds, user and system, of a command and of all processes that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ends with {done.returncode}: {done.stderr.decode(errors='replace')[-600:]}"
        )
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def time_program(program: Path, pairs: int, python: str) -> dict[str, list[float]]:
    """Processor time of a program bare, watched, and watched without experiments, a value a pair."""
    import healthy_programs as healthy

    spec: dict[str, Any] = json.loads((program / "run.json").read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {"bare": [], "watched": [], "passive": []}
    order = random.Random(0)
    source = str(ROOT / "src")
    for _ in range(pairs):
        for way in order.sample(sorted(times), len(times)):
            with healthy.scratch(program, spec, python) as root, tempfile.TemporaryDirectory() as out:
                target, cwd = healthy.command_of(spec, root)
                env = healthy.environment(spec, root)
                command = [python, *target, *spec["args"]]
                if way != "bare":
                    env["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [env.get("PYTHONPATH")])])
                    settings = {
                        "target": target[-1],
                        "is_module": "-m" in target,
                        "arguments": spec["args"],
                        "out": out,
                    }
                    settings |= {"seconds": 0.0, "stop": False, "extras": {"probes": way == "watched"}}
                    command = [python, __file__, "--child", "examine", json.dumps(settings)]
                times[way].append(processor_time(command, cwd, env))
    return times


def programs_table(folder: Path, only: list[str], pairs: int, python: str) -> str:
    """One row a program, and the fixed cost first."""
    import healthy_programs as healthy

    with tempfile.TemporaryDirectory() as scratch:
        one = Path(scratch) / "1_one_step"
        one.mkdir()
        (one / "train.py").write_text(ONE_STEP, encoding="utf-8")
        (one / "run.json").write_text(json.dumps({"script": "train.py", "args": []}), encoding="utf-8")
        times = time_program(one, max(pairs, 3), python)
        fixed = statistics.median(w - b for w, b in zip(times["watched"], times["bare"], strict=True))
    rows = ["| program | bare | watched | without the fixed cost | and without experiments |", "|---|---|---|---|---|"]
    rows.append(f"| one step | {statistics.median(times['bare']):.1f} s | +{fixed:.1f} s | | |")
    print("\n".join(rows), flush=True)
    for program in healthy.programs(folder, only):
        times = time_program(program, pairs, python)
        bare = times["bare"]
        ratios = [
            [(w - less) / b for w, b in zip(times[way], bare, strict=True)]
            for way, less in (("watched", 0.0), ("watched", fixed), ("passive", fixed))
        ]
        cells = " | ".join(percent(values) for values in ratios)
        rows.append(f"| {program.name[3:]} | {statistics.median(bare):.1f} s | {cells} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


# -- summing up ------------------------------------------------------------------------------------------------------


def interval(values: list[float]) -> tuple[float, float, float]:
    """Median and the widest order statistics that cover it with at least 95 % where there are enough values."""
    ordered = sorted(values)
    n = len(ordered)
    skip = max((k for k in range(n // 2) if 2 * binomial_tail(n, k) <= 0.05), default=0)
    return statistics.median(ordered), ordered[skip], ordered[n - 1 - skip]


def binomial_tail(n: int, k: int) -> float:
    """Probability of at most ``k`` heads in ``n`` throws."""
    from math import comb

    return sum(comb(n, i) for i in range(k + 1)) / 2**n


def percent(values: list[float]) -> str:
    middle, low, high = interval(values)
    return f"{100 * (middle - 1):+.1f} % [{100 * (low - 1):+.1f}, {100 * (high - 1):+.1f}]"


def measure(style: str, options: argparse.Namespace, ways: list[str], known: dict[str, Any]) -> None:
    """Fill in what is not known yet of one style: ratios of time and of peak memory, in children."""
    if ways:
        timed = in_child("--child", "time", style, str(options.pairs), str(options.steps), str(options.lead), *ways)
        known["ratios"] |= timed["ratios"]
        known["step"] = timed["step"]
    while len(known["peaks"]) < options.memory_pairs:
        watched, bare = (in_child("--child", "memory", style, how) for how in ("watched", "bare"))
        known["peaks"].append(watched / bare)


def main() -> int:  # noqa: PLR0915 - one table
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--styles", nargs="*", default=list(STYLES), choices=list(STYLES))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=150, help="of a window")
    parser.add_argument("--lead", type=int, default=LEAD, help="iterations before the sparse ones, which are not timed")
    parser.add_argument("--keep", type=Path, help="keep the ratios here, style by style, and go on from what is there")
    parser.add_argument("--memory-pairs", type=int, default=3)
    parser.add_argument("--judge", choices=CLOCKS, default="processor", help="which clock the limits are held against")
    parser.add_argument("--ways", nargs="*", default=["window", "passive", "sparse"], choices=list(WAYS))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--programs", type=Path, help="a folder of programs as healthy_programs.py takes it")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs, or what they begin with")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the programs")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.child:
        what, style, *rest = arguments.child
        if what == "examine":
            examine(json.loads(style))
            return 0
        answer: Any = (
            time_style(style, int(rest[0]), rest[3:], int(rest[1]), int(rest[2]))
            if what == "time"
            else train_style(style, rest[0] == "watched", 0)
        )
        print(json.dumps(answer))
        return 0
    if arguments.programs:
        programs_table(arguments.programs, arguments.only, arguments.pairs, arguments.python)
        return 0
    said_of = {
        "passive": "window without experiments",
        "window": "window as `examine` watches it",
        "sparse": "one in fifty",
        "full": "every iteration in full",
    }
    columns = [f"{said_of[way]}, {clock}" for way in arguments.ways for clock in CLOCKS]
    head = f"| style | bare step | {' | '.join(columns)} | peak memory |"
    rows = [head, "|" + "---|" * (len(columns) + 3)]
    kept = True
    known: dict[str, Any] = {}
    if arguments.keep and arguments.keep.exists():
        known = json.loads(arguments.keep.read_text(encoding="utf-8"))
    for style in arguments.styles:
        measured = known.setdefault(style, {"ratios": {}, "peaks": []})
        missing = [way for way in arguments.ways if f"{way} wall" not in measured["ratios"]]
        measure(style, arguments, missing, measured)
        if arguments.keep:
            arguments.keep.write_text(json.dumps(known, indent=1), encoding="utf-8")
        ratios, peaks = measured["ratios"], measured["peaks"]
        for way in arguments.ways:
            limit = LIMITS[way]
            kept = kept and (not limit or statistics.median(ratios[f"{way} {arguments.judge}"]) <= limit)
        kept = kept and statistics.median(peaks) <= MEMORY_LIMIT
        rows.append(
            f"| {style} | {1000 * measured['step']:.1f} ms | "
            + " | ".join(percent(ratios[f"{way} {clock}"]) for way in arguments.ways for clock in CLOCKS)
            + f" | {percent(peaks)} |"
        )
        print(rows[-1], flush=True)
    said = "all within" if kept else "NOT all within"
    text = "\n".join(rows)
    summary = (
        f"Medians and 95 % intervals of {arguments.pairs} pairs (memory: {arguments.memory_pairs}), "
        f"{os.environ['OMP_NUM_THREADS']} thread; a window is {arguments.steps} steps, "
        f"and {arguments.lead} iterations lead the sparse ones. "
        f"Limits, on {arguments.judge} time: +25 % in the window, +3 % one in fifty, +15 % memory: {said}. "
        "Watching every iteration in full (`--ways full`) takes the gradients of all loss terms apart each time."
    )
    print(text, "", summary, sep="\n")
    if arguments.write:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(
            f"# Overhead of watching\n\nWritten by `python benchmarks/overhead.py --write`.\n\n{text}\n\n{summary}\n"
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
