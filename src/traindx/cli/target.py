"""What is to be examined: ``path/to/file.py:case`` or ``recipe:xray2ct``, and how it becomes a case.

Workers of the trials rebuild the case in their own process through :func:`load_case`, so everything here must give
the same case for the same arguments.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from traindx.cli import catalogues, failure
from traindx.core.frames import shown_path
from traindx.errors import CaseError, InputError, TraindxError, UsageError

if TYPE_CHECKING:
    from traindx.case import Case

T = TypeVar("T")
FORMS = "path/to/file.py:case, or recipe:NAME"


@dataclass(frozen=True)
class Target:
    """A target taken apart.

    Attributes:
        kind: ``file`` or ``recipe``.
        name: Path of the file, or name of the recipe.
        attribute: Name in the file; empty for a recipe.
    """

    kind: str
    name: str
    attribute: str = ""

    @property
    def label(self) -> str:
        """A name for directories: the file's stem, or the recipe's name."""
        stem = Path(self.name).stem if self.kind == "file" else self.name
        return stem if self.attribute in ("", "case") else f"{stem}-{self.attribute}"

    @property
    def absolute(self) -> str:
        """The target in a form that does not depend on the working directory."""
        return f"{Path(self.name).resolve()}:{self.attribute}" if self.kind == "file" else f"recipe:{self.name}"

    @property
    def directory(self) -> Path:
        """Where its configuration is looked for: beside the file, or in the working directory."""
        return Path(self.name).parent if self.kind == "file" else Path()


def parse(text: str) -> Target:
    """Take a target apart.

    Raises:
        UsageError: It has none of the known forms, or the file does not exist.
    """
    kind, _, rest = text.partition(":")
    if kind == "recipe" and rest:
        return Target("recipe", rest)
    path, _, attribute = text.rpartition(":")
    if not path.endswith(".py"):
        hint = f"name the case in it: {text}:case" if text.endswith(".py") else ""
        raise UsageError(f"{text!r} does not say what to examine", expected=FORMS, do=hint)
    if not attribute.isidentifier():
        raise UsageError(f"{attribute!r} in {text!r} is not a name", expected=FORMS)
    if not Path(path).is_file():
        raise UsageError(f"{path} does not exist", expected=FORMS)
    return Target("file", path, attribute)


def load_case(target: str, faults: Sequence[str] = (), **options: Any) -> Case:
    """Build the case that a target stands for.

    Args:
        target: ``path/to/file.py:case``, where ``case`` is a :class:`~traindx.Case` or a function that returns one,
            or ``recipe:NAME``.
        faults: Names of faults of the recipe, applied in this order.
        **options: ``device``; anything else is given to the recipe, or to the function where it takes it by name.

    Raises:
        UsageError: The target, a fault or an option does not exist.
        InputError: The name in the file is missing, or is not a case.
        CaseError: The user's code raised; with its file and line.
    """
    parsed = parse(target)
    device = options.pop("device", None)
    if parsed.kind == "recipe":
        case = _from_recipe(parsed.name, faults, options)
    else:
        if faults:
            raise UsageError(f"{target!r} has no catalogue of faults", expected="recipe:NAME where --fault is used")
        case = _from_file(parsed, options)
    return case.replace(device=device) if device is not None else case


def _from_recipe(name: str, faults: Sequence[str], options: dict[str, Any]) -> Case:
    recipe = catalogues.recipe(name)
    chosen = [catalogues.fault(fault, of_recipe=name) for fault in faults]
    case = guarded(f"recipe {name!r} could not be built", lambda: recipe.case(**options))
    for fault in chosen:
        case = fault.apply(case)
    return case


def _from_file(target: Target, options: dict[str, Any]) -> Case:
    from traindx.case import Case

    path = Path(target.name).resolve()
    module = guarded("the case file could not be run", lambda: import_file(path))
    if not hasattr(module, target.attribute):
        cases = [name for name, value in vars(module).items() if isinstance(value, Case)]
        raise InputError(
            f"there is no {target.attribute!r} in it",
            expected="a Case, or a function that returns one",
            do=f"name one of its cases: {', '.join(cases)}" if cases else f"write `{target.attribute} = dx.Case(...)`",
            where=shown_path(str(path)),
        )
    value = getattr(module, target.attribute)
    if callable(value) and not isinstance(value, Case):
        function = value
        accepted = _accepted(function, options, target)
        value = guarded(f"{target.attribute}() raised", lambda: function(**accepted))
    elif options:
        raise UsageError(f"{target.attribute!r} is not a function, so it takes no options", expected=", ".join(options))
    if not isinstance(value, Case):
        raise InputError(
            f"{target.attribute!r} is a {type(value).__name__}",
            expected="a traindx.Case, or a function that returns one",
            where=shown_path(str(path)),
        )
    return value


def _accepted(function: Callable[..., Any], options: dict[str, Any], target: Target) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if not any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        for name in options:
            if name not in parameters:
                raise UsageError(f"{target.attribute}() has no option {name!r}", expected=str(list(parameters)))
    return options


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module under its own stem, its directory first on ``sys.path`` as for a script.

    A file that was run before in this process is run again: it may have changed.
    """
    directory = str(path.parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() != path:
        name = f"traindx_case_{path.stem}"  # never stand in for an installed package of the same name
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise InputError(f"{path} cannot be imported", expected="a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def guarded(what: str, function: Callable[[], T]) -> T:
    """Run a piece of the user's code.

    Raises:
        CaseError: It raised anything but a deliberate error of traindx; with the user's file and line.
    """
    try:
        return function()
    except TraindxError:
        raise
    except SystemExit as error:
        raise CaseError(
            f"{what}: it called sys.exit({error.code!r})",
            expected="a file that can be imported",
            do="keep what runs a program under `if __name__ == '__main__':`",
            where=failure.where(error),
        ) from error
    except Exception as error:
        raise CaseError(f"{what}: {failure.one_line(error)}", where=failure.where(error)) from error
