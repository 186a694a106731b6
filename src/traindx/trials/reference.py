"""How another process builds the same case again."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindx.case import Case
from traindx.core.randomness import seeded
from traindx.errors import InputError


@dataclass(frozen=True)
class CaseReference:
    """A case by name, small enough to be sent to another process.

    Attributes:
        loader: ``package.module:name`` or ``path/to/file.py:name``; the name is a :class:`~traindx.case.Case` or a
            function that returns one.
        arguments: Keyword arguments of that function; they must be picklable.
    """

    loader: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Case:
        """The case. Whatever it draws from the global random state while it is built is the same in every process.

        Raises:
            InputError: There is no such module, file or name, or it is no case.
        """
        where, _, name = self.loader.rpartition(":")
        if not where or not name:
            raise InputError(f"{self.loader!r} names no case", expected="package.module:name or file.py:name")
        with seeded("building the case"):
            made: Any = _module(where)
            for part in name.split("."):
                if not hasattr(made, part):
                    raise InputError(f"{where} has no {name}", expected="a Case, or a function that returns one")
                made = getattr(made, part)
            if not isinstance(made, Case) and callable(made):
                made = made(**self.arguments)
        if not isinstance(made, Case):
            raise InputError(
                f"{self.loader} is {type(made).__name__}", expected="a Case, or a function that returns one"
            )
        return made


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise InputError(f"{where} cannot be imported: {error}", expected="an importable module") from error
    path = Path(where).resolve()
    name = f"traindx_case_{abs(hash(str(path)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise InputError(f"{path} does not exist", expected="a python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:  # a script may import its neighbours
        sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module
