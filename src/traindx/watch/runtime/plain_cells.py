"""Cells of a notebook where IPython is not installed: the magics that training notebooks use, and a word on the others.

A line that Python cannot parse and that has the look of a magic or a shell command is exchanged for a call, one line
for one line. What is not done is said once on stderr, with the cell and the line.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import linecache
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from traindx.notebooks import Cell

MARK = "traindx |"
_SHELL, _MAGIC = "__traindx_shell__", "__traindx_magic__"
_LINE = re.compile(r"^(?P<indent>\s*)(?:(?P<name>[A-Za-z_][\w, .\[\]'\"]*?)\s*=\s*)?(?P<mark>!{1,2}|%)\s*(?P<rest>.*)$")
_HELP = re.compile(r"^\s*(\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*$")
_NOTHING = (
    "autoreload",
    "load_ext",
    "reload_ext",
    "config",
    "precision",
    "reset",
    "matplotlib",
    "pylab",
    "xmode",
    "pdb",
)
_SHELLS = ("bash", "sh", "script", "cmd")
_SHOWN_ONLY = ("html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG")


class PlainCells:
    """Runs cells in a module's namespace.

    Args:
        module: The ``__main__`` of the notebook.
    """

    def __init__(self, module: ModuleType) -> None:
        self.namespace: dict[str, Any] = vars(module)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.name = ""
        vars(builtins).setdefault("display", display)
        if "matplotlib" not in sys.modules:
            os.environ.setdefault("MPLBACKEND", "agg")

    def run(self, cell: Cell, name: str) -> None:
        """Run one cell under the name that its places carry.

        Raises:
            BaseException: What the cell raised.
        """
        self.name = name
        source = self._without_cell_magic(cell.source)
        text = as_python(source)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        tree = ast.parse(text, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self.namespace.update({_SHELL: self.shell, _MAGIC: self.magic})
        self._execute(compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True))
        if isinstance(last, ast.Expr):
            code = compile(ast.Expression(last.value), name, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            value = self._execute(code)
            silent = (
                text.rstrip().endswith(";") or f"{_MAGIC}(" in ast.unparse(last) or f"{_SHELL}(" in ast.unparse(last)
            )
            if value is not None and not silent:
                self.namespace["_"] = value
                display(value)

    def _execute(self, code: CodeType) -> Any:
        if not code.co_flags & inspect.CO_COROUTINE:
            return eval(code, self.namespace)
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(FunctionType(code, self.namespace)())

    # -- magics --------------------------------------------------------------------------------------------------

    def _without_cell_magic(self, source: str) -> str:
        """Do what a magic of the whole cell does with it; what is left to run."""
        lines = source.split("\n")
        first = next((number for number, line in enumerate(lines) if line.strip() and line.strip() != "#"), 0)
        if not lines[first].startswith("%%"):
            return source
        kind, _, rest = lines[first][2:].strip().partition(" ")
        body = "\n".join(lines[first + 1 :]) + "\n"
        if kind in _SHELLS:
            self.shell(body)
        elif kind in ("writefile", "file"):
            words = rest.split()
            with Path(words[-1]).open("a" if "-a" in words else "w", encoding="utf-8") as file:
                file.write(body)
            print(f"Writing {words[-1]}")
        elif kind not in _SHOWN_ONLY:
            self._say(f"%%{kind} is not known without IPython, so the cell was left out")
        return ""

    def magic(self, text: str) -> Any:
        """Do what a magic of a line does, or say that it was left out."""
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        if name == "cd":
            os.chdir(os.path.expanduser(rest.strip("'\"") or "~"))
        elif name in ("env", "set_env"):
            key, _, value = rest.partition("=") if "=" in rest else rest.partition(" ")
            if not value:
                return os.environ.get(key) if key else dict(os.environ)
            os.environ[key.strip()] = value.strip()
        elif name == "pwd":
            return os.getcwd()
        elif name == "time":
            code = compile(rest, self.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            self._execute(code)
        elif name == "run":
            words = rest.split()
            before, sys.argv = sys.argv, words
            try:
                self.namespace.update(runpy.run_path(words[0], run_name="__main__"))
            finally:
                sys.argv = before
        elif name not in _NOTHING:
            self._say(f"%{name} is not known without IPython, so the line was left out")
        return None

    def shell(self, command: str, *, keep: bool = False) -> list[str] | None:
        """Run a command line with ``{expressions}`` and ``$names`` of the notebook filled in."""

        def value(found: re.Match[str]) -> str:
            text = found[1] or found[2]
            try:
                return str(eval(text, self.namespace))
            except Exception:
                return found[0]

        filled = re.sub(r"\{([^{}]+)\}|\$(\w+)", value, command)
        sys.stdout.flush()
        done = subprocess.run(filled, shell=True, check=False, stdout=subprocess.PIPE if keep else None, text=True)
        self.namespace["_exit_code"] = done.returncode
        return done.stdout.splitlines() if keep else None

    def _say(self, text: str) -> None:
        print(f"{MARK} {os.path.basename(self.name)}: {text}", file=sys.stderr)


def as_python(source: str) -> str:
    """A cell with its magics and shell commands as calls, every line where it was.

    Only lines at which parsing fails are touched, so that a ``%`` inside a string or an expression stays one.
    """
    lines = source.split("\n")
    for _ in range(len(lines)):
        text = "\n".join(lines)
        try:
            compile(text, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            number = (error.lineno or 1) - 1
            changed = _as_call(lines[number]) if number < len(lines) else None
            if changed is None:
                return text
            lines[number] = changed
        else:
            return text
    return "\n".join(lines)


def _as_call(line: str) -> str | None:
    if _HELP.match(line):
        return f"{line[: len(line) - len(line.lstrip())]}pass"
    found = _LINE.match(line)
    if found is None:
        return None
    given = repr(found["rest"])
    if found["mark"].startswith("!"):
        keep = found["name"] is not None or found["mark"] == "!!"
        call = f"{_SHELL}({given}, keep=True)" if keep else f"{_SHELL}({given})"
    else:
        call = f"{_MAGIC}({given})"
    return f"{found['indent']}{found['name'] + ' = ' if found['name'] else ''}{call}"


def display(*things: Any, **kwargs: Any) -> None:
    """Show things as text, as a notebook without a front end does."""
    for thing in things:
        print(repr(thing))
