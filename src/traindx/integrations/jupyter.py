"""``%load_ext traindx``, then ``%%traindx`` on top of a cell that trains: the cell is watched in the living kernel.

The cell runs as it would without us, to its end; the watching ends after ``--steps`` iterations. What earlier cells
made (networks, optimisers, loaders) is seen when it is used. Places are named by the numbers that Jupyter shows in
brackets.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from traindx.core.frames import is_user_file, name_files, raised_at
from traindx.errors import UsageError
from traindx.notebooks import cell_name

if TYPE_CHECKING:
    from traindx.diagnosis import Diagnosis
    from traindx.watch.runtime.watch import Watch

NOTEBOOK = "notebook"
HOME = Path("traindx-out")


class CellMagic:
    """The magic of one shell.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.bodies: dict[str, int] = {}  # what watched cells were compiled as, and their numbers

    def __call__(self, line: str, cell: str) -> None:
        """Run a cell under observation and show what is wrong with the training in it.

        Raises:
            UsageError: An option is not known, or the cell awaits something in a running loop.
            BaseException: What the cell raised, after the report was shown.
        """
        options = _options(line)
        if _needs_the_loop(self.shell, cell):
            raise UsageError(
                "a cell with a top-level await cannot be watched in a kernel, whose loop runs it",
                expected="a cell without one",
                do="traindx examine NOTEBOOK.ipynb watches it from outside",
            )
        number = self._number()
        name_files(self._name)
        out = Path(options.out) if options.out else HOME / f"cell-{number}"
        error = self._watched(cell, number, out, options)
        if error is not None:
            raise error.with_traceback(_from_the_user(error))

    def _name(self, filename: str) -> str:
        """The name of the cell that a file of the kernel's stands for; empty for any other file."""
        number = self.bodies.get(filename, self._files.get(filename))
        return cell_name(NOTEBOOK, number) if number is not None else ""

    @property
    def _files(self) -> dict[str, int]:
        """Numbers of cells by the files that they are compiled as."""
        return getattr(self.shell.compile, "_filename_map", {})

    def _number(self) -> int:
        """The number of the cell that runs, from the frames: the shell counts on before the cell has ended."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename in self._files:
                return self._files[frame.f_code.co_filename]
            frame = frame.f_back
        return int(self.shell.execution_count)

    def _watched(self, cell: str, number: int, out: Path, options: argparse.Namespace) -> BaseException | None:
        from traindx.evidence.observed import Ending, ScriptRun
        from traindx.host.diagnose import diagnose
        from traindx.watch.runtime.settings import RUN_FILES, Settings
        from traindx.watch.runtime.sink import NAME, compact

        out.mkdir(parents=True, exist_ok=True)
        for known in (NAME, *RUN_FILES):
            (out / known).unlink(missing_ok=True)
        settings = Settings(
            f"cell {number}", out=str(out.resolve()), steps=options.steps, seconds=options.seconds, stop=False
        )
        begun = time.monotonic()
        watch, close = _begin(settings)
        try:
            error = self._run(cell, number)
        finally:
            full = watch.over
            watch.finish()
            close()
        compact(out)
        ending = Ending.FINISHED
        if error is not None:
            ending = Ending.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Ending.CRASHED
        run = ScriptRun(
            target=settings.target,
            ending=ending,
            exit_code=0 if error is None else 1,
            message="" if error is None else f"{type(error).__name__}: {error}",
            where=None if error is None else raised_at(error),
            seconds=time.monotonic() - begun,
            window_ended=full,
        )
        _show(diagnose(out, run, command=f"%%traindx {settings.target}"), out)
        return error

    def _run(self, cell: str, number: int) -> BaseException | None:
        """Run the body as the cell that it is; what it raised, which the shell has not shown yet."""
        shell = self.shell
        below = cell.lstrip().startswith("%%")
        before, named = shell.showtraceback, shell.compile.get_code_name

        def name(*parts: Any) -> str:
            found = str(named(*parts))
            self.bodies[found] = number
            return found

        shell.showtraceback = lambda *args, **kwargs: None
        shell.compile.get_code_name = name
        try:
            result = shell.run_cell(cell if below else f"# %%traindx\n{cell}", store_history=False)
        finally:
            shell.showtraceback = before
            del shell.compile.get_code_name
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error


def _options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="%%traindx", exit_on_error=False, add_help=False)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--out", default="")
    try:
        found, rest = parser.parse_known_args(shlex.split(line))
    except (argparse.ArgumentError, ValueError) as error:
        raise UsageError(f"%%traindx {line}: {error}", expected="--steps N, --seconds S, --out DIR") from error
    if rest:
        raise UsageError(f"%%traindx does not know {' '.join(rest)}", expected="--steps N, --seconds S, --out DIR")
    return found


def _needs_the_loop(shell: Any, cell: str) -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    should: Callable[..., bool] = getattr(shell, "should_run_async", lambda text: False)
    return bool(should(cell))


def _begin(settings: Any) -> tuple[Watch, Callable[[], None]]:
    """Begin to watch this very process; what takes everything away again."""
    from traindx.watch.runtime.assembly import WithoutTorch, collectors_for
    from traindx.watch.runtime.sink import Sink
    from traindx.watch.runtime.watch import Watch

    torch = import_module("torch")
    early = WithoutTorch()
    sink = Sink(Path(settings.out), settings.max_evidence_mb)
    watch = Watch(torch, settings, sink)
    early.silence.install()
    early.seeds.install_python()
    if "numpy" in sys.modules:
        early.seeds.install_numpy(sys.modules["numpy"])
    early.seeds.install_torch(torch)
    watch.closing += [early.seeds.patches.undo, early.silence.patches.undo]
    early.silence.muted = lambda: watch.busy and threading.get_ident() == watch.thread
    watch.collectors = collectors_for(watch, early)
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
    watch.allow_swapping()
    return watch, sink.close


def _show(diagnosis: Diagnosis, out: Path) -> None:
    from traindx import report
    from traindx.report import terminal

    report.write(diagnosis, out)
    terminal.render(diagnosis)
    print(f"written: {out / 'report.html'}")


def _from_the_user(error: BaseException) -> Any:
    """The traceback from the first line of the user's on."""
    entries = error.__traceback__
    while entries is not None and not is_user_file(entries.tb_frame.f_code.co_filename):
        entries = entries.tb_next
    return entries if entries is not None else error.__traceback__
