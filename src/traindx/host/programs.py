"""What somebody types to start a training, as a program that can be run under observation.

A script, a notebook, a folder, a module, or the very command line: ``torchrun …``, ``accelerate launch …``,
``python -m torch.distributed.run …``, ``nnUNetv2_train …`` and any other console script of this Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from traindx.errors import UsageError
from traindx.host.folders import training_programs
from traindx.notebooks import SUFFIX, NotANotebook, read_cells

FORMS = (
    ("a script", "traindx examine train.py -- --epochs 3"),
    ("a notebook", "traindx examine train.ipynb"),
    ("a folder with one training script", "traindx examine project/"),
    ("a module", "traindx examine -m package.train -- --epochs 3"),
    ("a python command", "traindx examine --cmd python -u train.py --epochs 3"),
    ("torchrun", "traindx examine --cmd torchrun --nproc_per_node=2 train.py"),
    ("its module", "traindx examine --cmd python -m torch.distributed.run --nproc_per_node=2 train.py"),
    ("accelerate", "traindx examine --cmd accelerate launch train.py --lr 1e-4"),
    ("a console script", "traindx examine --cmd nnUNetv2_train 001 2d 0"),
    ("a case", "traindx examine case.py:case"),
    ("a recipe", "traindx examine recipe:xray2ct"),
)
LAUNCHERS = ("accelerate", "accelerate.commands.launch", "accelerate.commands.accelerate_cli")
"""Programs that start the script in a process of its own: it is watched there. (Those of torch are known by torch.)"""
MODULES = {"torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}
"""What these commands run as a module, where their script was not installed."""
_PYTHON = re.compile(r"^python(\d(\.\d+)?)?(\.exe)?$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


@dataclass(frozen=True)
class Program:
    """What is run.

    Attributes:
        target: Path of a script or notebook, or a module's name.
        arguments: Its arguments.
        is_module: ``target`` is a module's name.
        label: A name for folders.
        directory: Where it runs, if not here: a notebook's kernel is started in the notebook's folder.
        environment: Variables that are set for it.
        options: Options of the interpreter (``-u``, ``-O``, ``-W ignore``).
        user_roots: Folders whose files count as the user's although they are installed.
        launches: It starts the script in a process of its own.
        said: A line about how the words were understood, where that is not plain.
    """

    target: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False
    label: str = ""
    directory: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    user_roots: tuple[str, ...] = ()
    launches: bool = False
    said: str = ""

    @property
    def extras(self) -> dict[str, object]:
        """What the script's process must know beside target and arguments."""
        found: dict[str, object] = {"home": os.getcwd()}
        if self.directory:
            found["directory"] = self.directory
        if self.environment:
            found["environment"] = dict(self.environment)
        if self.options:
            found["python"] = list(self.options)
        if self.launches:
            found["launches"] = True
        return found


def not_understood(found: str) -> UsageError:
    """An error that lists every form with an example."""
    width = max(len(name) for name, _ in FORMS)
    examples = "\n".join(f"    {name:<{width}}  {example}" for name, example in FORMS)
    return UsageError(found, expected=f"one of\n{examples}")


def is_program(word: str) -> bool:
    """True for a script, a notebook or a folder; False for a case, a recipe and the first word of a command."""
    return word.endswith((".py", SUFFIX)) or Path(word).is_dir()


def program_of(target: str, arguments: Sequence[str] = ()) -> Program:
    """The program that a script, a notebook or a folder stands for.

    Raises:
        UsageError: It does not exist, or the folder does not say which script trains.
    """
    path = Path(target)
    if path.is_dir():
        return _of_folder(path, arguments)
    if not path.is_file():
        raise not_understood(f"{target} does not exist")
    if not target.endswith(SUFFIX):
        return Program(target, tuple(arguments), label=path.stem)
    try:
        read_cells(path)
    except NotANotebook as error:
        raise UsageError(str(error), expected="a Jupyter notebook in Python") from error
    folder = str(path.resolve().parent)
    return Program(target, tuple(arguments), label=path.stem, directory=folder)


def _of_folder(folder: Path, arguments: Sequence[str]) -> Program:
    found = training_programs(folder)
    rest = f" -- {shlex.join(arguments)}" if arguments else ""
    if not found:
        raise not_understood(f"no file in {folder} both trains (backward and step, or a trainer's fit) and can be run")
    first = found[0]
    if len(found) > 1:
        commands = "\n".join(f"    traindx examine {one.path}{rest}  # {one.why}" for one in found[:12])
        more = f"\n    … and {len(found) - 12} more" if len(found) > 12 else ""
        raise UsageError(
            f"{len(found)} programs in {folder} train", expected=f"one of them:\n{commands}{more}", do="name one"
        )
    program = program_of(str(first.path), arguments)
    said = f"{folder} has one program that trains: {first.path} ({first.why})"
    return Program(**{**vars(program), "said": said})


def program_of_module(name: str, arguments: Sequence[str] = ()) -> Program:
    """The program that ``python -m NAME`` runs.

    Raises:
        UsageError: There is no such module.
    """
    from traindx.host.examining import check_target, roots_of

    check_target(name, is_module=True)
    theirs = name.startswith(("torch.", "accelerate."))  # a launcher is not the user's program
    return Program(
        name,
        tuple(arguments),
        is_module=True,
        label=_label(name.rsplit(".", maxsplit=1)[-1], arguments if theirs else ()),
        user_roots=() if theirs else roots_of(name),
        launches=name in LAUNCHERS,
    )


def is_command(word: str) -> bool:
    """True if a word, typed alone, begins a command that this Python can run."""
    if os.sep in word or not word or word.startswith("-") or ":" in word:
        return False
    known = _PYTHON.match(word) or _ASSIGNMENT.match(word) or word == "env" or word in MODULES
    return bool(known) or _script_of(word) is not None


def program_of_command(words: Sequence[str]) -> Program:
    """The program that a command line starts.

    Args:
        words: As they are typed; one word with spaces in it is taken apart as a shell does.

    Raises:
        UsageError: It is none that can be watched; all forms are listed.
    """
    left = list(words)
    if len(left) == 1 and " " in left[0]:
        left = shlex.split(left[0])
    if left[:1] == ["--"]:
        left = left[1:]
    environment: dict[str, str] = {}
    if left[:1] == ["env"]:
        left = left[1:]
    while left and _ASSIGNMENT.match(left[0]):
        name, _, value = left.pop(0).partition("=")
        environment[name] = value
    if not left:
        raise not_understood("there is no command after --cmd")
    first, rest = left[0], left[1:]
    if _PYTHON.match(os.path.basename(first)):
        program = _of_python(first, rest)
    elif is_program(first):
        program = program_of(first, rest)
    else:
        program = _of_console_script(first, rest)
    return Program(**{**vars(program), "environment": tuple(environment.items())})


def _of_python(python: str, words: Sequence[str]) -> Program:
    """``python [options] SCRIPT …`` or ``python [options] -m MODULE …``."""
    _same_python(python)
    options: list[str] = []
    left = list(words)
    while left and left[0].startswith("-"):
        option = left.pop(0)
        if option == "-m" and left:
            program = program_of_module(left[0], left[1:])
            return Program(**{**vars(program), "options": tuple(options)})
        if option.startswith("-m") and len(option) > 2:
            program = program_of_module(option[2:], left)
            return Program(**{**vars(program), "options": tuple(options)})
        if option in ("-c", "-m", "-", "-i"):
            raise not_understood(f"python {option} cannot be watched")
        options.append(option)
        if option in _WITH_VALUE and left:
            options.append(left.pop(0))
    if not left:
        raise not_understood(f"{shlex.join([python, *words])} names no script")
    program = program_of(left[0], left[1:])
    return Program(**{**vars(program), "options": tuple(options)})


def _of_console_script(name: str, arguments: Sequence[str]) -> Program:
    """A command that pip installed: the small script that calls an entry point, run as it is."""
    script = _script_of(name)
    if script is None and name in MODULES:
        return program_of_module(MODULES[name], arguments)
    if script is None:
        found = shutil.which(name)
        if found is None:
            raise not_understood(f"{name!r} is neither a file here nor a command of this Python")
        raise not_understood(f"{found} is not a Python program, so what it starts is not watched")
    _same_python(_interpreter_of(script) or sys.executable)
    module = next((entry.module for entry in entry_points(group="console_scripts", name=os.path.basename(name))), "")
    module = module or _imported_by(script)
    from traindx.host.examining import roots_of

    theirs = module.startswith(("torch.", "accelerate."))
    try:
        roots = () if theirs or not module else roots_of(module)
    except (ImportError, ValueError):
        roots = ()
    launches = os.path.basename(name) in LAUNCHERS
    label = _label(os.path.basename(name), arguments if theirs else ())
    return Program(str(script), tuple(arguments), label=label, user_roots=roots, launches=launches)


def _label(name: str, launched: Sequence[str]) -> str:
    """A name for folders: that of the script, where a launcher starts one."""
    return next((Path(word).stem for word in launched if word.endswith(".py")), name)


def _script_of(name: str) -> Path | None:
    """The file of a command, this Python's own first; None where it is no Python source."""
    own = Path(sys.executable).parent / name
    found = str(own) if own.is_file() and os.sep not in name else shutil.which(name)
    if found is None:
        return None
    path = Path(found)
    try:
        if path.is_file() and _interpreter_of(path):
            return path
    except OSError:
        return None
    return None


def _interpreter_of(script: Path) -> str:
    """The interpreter that the first line of a script names, or "" where it is no Python script."""
    with script.open("rb") as file:
        lines = [file.readline(512).decode("utf-8", "replace").strip() for _ in range(3)]
    if not lines[0].startswith("#!"):
        return ""
    words = lines[0][2:].split()
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
    if words and os.path.basename(words[0]) == "sh" and "exec" in lines[1]:  # pip's form for long or spaced paths
        found = re.search(r"'+exec'+ +[\"']?([^\"']+?)[\"']? ", lines[1])
        words = [found[1]] if found else words
    return words[0] if words and _PYTHON.match(os.path.basename(words[0])) else ""


def _imported_by(script: Path) -> str:
    """The module whose entry point a console script calls."""
    found = re.search(r"^from ([\w.]+) import ", script.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found[1] if found else ""


def _same_python(named: str) -> None:
    """Refuse another installation's interpreter: what is watched has traindx beside it.

    Raises:
        UsageError: It is another one.
    """
    if os.sep not in named:
        return  # whatever it is called, this one stands for it
    ours, theirs = Path(sys.executable), Path(named)
    if theirs.exists() and ours.parent.resolve() != theirs.parent.resolve() and ours.resolve() != theirs.resolve():
        raise UsageError(
            f"that runs in {theirs}, and traindx in {ours}",
            expected="one Python for both",
            do=f"{theirs} -m pip install traindx, and call it from there",
        )
