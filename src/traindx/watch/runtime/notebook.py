"""A notebook run from its first cell to its last, as *Restart and run all* does.

Where IPython is installed its shell runs the cells, so that magics, ``!`` lines, ``display`` and top-level ``await``
mean what they mean there. Without it the common ones are done by :mod:`traindx.watch.runtime.plain_cells`. Either way
the code of a cell carries the cell's name for a file's, and its lines are numbered as they are typed.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from traindx.core.frames import is_user_file
from traindx.notebooks import Cell, cell_name, read_cells

MARK = "traindx |"
_ONCE = re.compile(r"^%%(time|capture|timeit|prun|memit|mprun|snakeviz)\b[ \t]*(.*)$")
_KEPT: list[Any] = []  # what must live as long as the process

Runner = Callable[[Cell, str], None]


def run_notebook(path: str, arguments: tuple[str, ...]) -> None:
    """Run all cells in order, in a module ``__main__`` without a file; the first one that raises ends it.

    Raises:
        NotANotebook: The file is none, or not one in Python.
        BaseException: What a cell raised.
    """
    cells = read_cells(path)
    sys.argv = [path, *arguments]
    sys.path[0] = ""
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins)
    _KEPT.append(sys.modules["__main__"])
    sys.modules["__main__"] = module
    runner = _ipython(module) if find_spec("IPython") is not None else _plain(module)
    for cell in cells:
        name = cell_name(os.path.abspath(path), cell.number)
        wrapper, text = prepared(cell.source)
        try:
            with _as_wrapped(wrapper, cell.number, module):
                runner(Cell(cell.number, text), name)
        except Exception as error:
            if not cell.may_raise:
                raise
            print(f"{type(error).__name__}: {error}", file=sys.stderr)


def prepared(source: str) -> tuple[str, str]:
    """The magic around a whole cell that only runs its body, and the cell without it, with every line where it was.

    Empty lines at the beginning, which IPython drops, become comments for the same reason.
    """
    lines = source.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    wrapper = ""
    if _ONCE.match(lines[first]):
        wrapper, lines[first] = lines[first], "#"
    return wrapper, "\n".join(["#"] * first + lines[first:])


@contextmanager
def _as_wrapped(wrapper: str, number: int, module: ModuleType) -> Iterator[None]:
    """What ``%%time`` and ``%%capture`` do around a body; measurements that repeat it run it once, and say so."""
    found = _ONCE.match(wrapper)
    if found is None:
        yield
        return
    kind, rest = found.groups()
    if kind == "capture":
        import contextlib
        import io

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
        name = next((word for word in rest.split() if not word.startswith("-")), "")
        if name.isidentifier():
            vars(module)[name] = _Captured(out.getvalue(), err.getvalue())
        return
    if kind != "time":
        print(f"{MARK} cell {number}: the body of %%{kind} is run once, and not measured", file=sys.stderr)
    begun = time.perf_counter()
    yield
    if kind == "time":
        print(f"Wall time: {time.perf_counter() - begun:.3g} s")


class _Captured:
    """What ``%%capture NAME`` leaves in ``NAME``."""

    def __init__(self, stdout: str, stderr: str) -> None:
        self.stdout, self.stderr = stdout, stderr
        self.outputs: list[Any] = []

    def __str__(self) -> str:
        return self.stdout

    def show(self) -> None:
        """Print it after all."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)

    __call__ = show


# -- with IPython ------------------------------------------------------------------------------------------------


def _ipython(module: ModuleType) -> Runner:
    """Cells run by IPython's own shell: no history file, no start-up files, and errors left to us."""
    interactive: Any = import_module("IPython.core.interactiveshell")
    config: Any = import_module("traitlets.config").Config()
    config.HistoryManager.enabled = False
    home = tempfile.TemporaryDirectory(prefix="traindx-ipython-")
    _KEPT.append(home)
    if "MPLBACKEND" not in os.environ and find_spec("matplotlib_inline") is not None:
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel does

    class Shell(interactive.InteractiveShell):  # type: ignore[misc]
        """The shell of a kernel without its front end."""

        def enable_gui(self, gui: Any = None) -> None:
            """There is none."""

        def showtraceback(self, *args: Any, **kwargs: Any) -> None:
            """The error ends the run, and is shown then."""

        def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
            """As above."""

    shell = Shell.instance(config=config, user_module=module, user_ns=module.__dict__, ipython_dir=home.name)
    interactive.InteractiveShell._instance = shell

    def run(cell: Cell, name: str) -> None:
        shell.compile.get_code_name = lambda *_: name
        result = shell.run_cell(cell.source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error.with_traceback(_from_the_cell(error))

    return run


def _from_the_cell(error: BaseException) -> Any:
    """The traceback from the first line of the user's on."""
    entries = error.__traceback__
    while entries is not None and not is_user_file(entries.tb_frame.f_code.co_filename):
        entries = entries.tb_next
    return entries if entries is not None else error.__traceback__


# -- without -----------------------------------------------------------------------------------------------------


def _plain(module: ModuleType) -> Runner:
    from traindx.watch.runtime.plain_cells import PlainCells

    return PlainCells(module).run
