"""The base of evidence: typed, frozen records, gathered append-only and written to disk as they come.

A record says what was measured and where. Records never hold tensors: numbers, short tuples and names. Pictures and
curves are stored beside the log as ``.npy`` files and named by a :class:`Picture` or :class:`Curve` record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import ValidationError

from traindx.errors import InputError
from traindx.finding import Frozen, Location
from traindx.private import make_private

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

R = TypeVar("R", bound="Record")


class Record(Frozen):
    """One thing that was measured.

    Subclasses add typed fields. The class name is the record's ``kind`` on disk, so it is stable for ever.

    Attributes:
        where: The user's line that this was measured at, where there is one.
        step: Optimiser step at which it was measured; -1 for "not during training".
    """

    kinds: ClassVar[dict[str, type[Record]]] = {}

    where: Location | None = None
    step: int = -1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__ in Record.kinds and Record.kinds[cls.__name__].__module__ != cls.__module__:
            raise TypeError(f"two evidence records are named {cls.__name__}")
        Record.kinds[cls.__name__] = cls

    @property
    def kind(self) -> str:
        """Name of the record type, as written to disk."""
        return type(self).__name__


class Picture(Record):
    """An image for the report, stored as ``pictures/<name>.npy``.

    Attributes:
        name: Unique name, used by findings to refer to it.
        caption: One line that says what is seen.
        file: Path of the array relative to the evidence directory, shape ``(H, W)`` or ``(rows, H, W)``.
        low: Value shown black.
        high: Value shown white.
        labels: One label a panel, left to right.
    """

    name: str
    caption: str
    file: str = ""
    low: float = 0.0
    high: float = 1.0
    labels: tuple[str, ...] = ()


class Curve(Record):
    """One or several curves over a common x, for plots in the report.

    Attributes:
        name: Unique name.
        caption: One line that says what is seen.
        x: Abscissa, length n.
        series: Curves by label, each of length n.
        x_label: Axis label with unit.
        y_label: Axis label with unit.
        log_y: True if the ordinate is best shown logarithmic.
    """

    name: str
    caption: str
    x: tuple[float, ...]
    series: dict[str, tuple[float, ...]]
    x_label: str = "step"
    y_label: str = ""
    log_y: bool = False


class Action(StrEnum):
    """What a user can do so that something is examined the next time."""

    DESCRIBE = "describe a part"
    WATCH = "watch longer"
    GIVE = "give an option"
    INSTALL = "install an extra"
    REPAIR = "repair what failed"
    NOTHING = "nothing"


class NotExamined(Record):
    """Something that was not looked at, and why. What is missing is listed, never passed.

    Attributes:
        subject: What was not examined, for example a check's name.
        reason: Why, in one sentence.
        action: What would change that.
        incomplete: Record kinds that are incomplete because of it; ``*`` for all of the same front end.
    """

    subject: str
    reason: str
    action: Action = Action.NOTHING
    incomplete: tuple[str, ...] = ()


class InOrder(Record):
    """Something that was looked at and found in order, for the reader's reassurance.

    Attributes:
        subject: What was examined.
        detail: The decisive figure.
    """

    subject: str
    detail: str = ""


class Evidence:
    """All records of one examination, in the order in which they came.

    Args:
        directory: Where ``evidence.jsonl`` and ``pictures/`` are written; None keeps everything in memory.
        masked: What becomes of the JSON-like data of a record (and the record beside them), and of the name of a
            picture, before they are written.

    Each record is flushed as it is added, so a crash loses nothing that was measured.
    """

    def __init__(self, directory: Path | None = None, masked: Callable[..., Any] | None = None) -> None:
        self.directory = directory
        self._masked = masked or (lambda value, like=None: value)
        self._records: list[Record] = []
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._log: IO[str] | None = None
        if directory is not None:
            make_private(directory / "pictures")
            self._log = (directory / "evidence.jsonl").open("a", encoding="utf-8")

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Append a record and flush it to disk."""
        self._records.append(record)
        if self._log is not None:
            said = self._masked(record.model_dump(mode="json", exclude_defaults=True), record)
            self._log.write(json.dumps({"kind": record.kind, **said}) + "\n")
            self._log.flush()

    def add_picture(self, picture: Picture, array: NDArray[Any]) -> None:
        """Store the array of a picture and append its record.

        Args:
            picture: The record; its ``file`` is filled in.
            array: Shape ``(H, W)``, or ``(n, H, W)`` for n panels side by side.
        """
        import numpy as np

        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", self._masked(picture.name))
        file = f"pictures/{safe}.npy"
        data = np.asarray(array, dtype=np.float32)
        self._arrays[picture.name] = data
        if self.directory is not None:
            np.save(self.directory / file, data)
        self.add(picture.model_copy(update={"file": file}))

    def array(self, name: str) -> NDArray[np.float32]:
        """Return the array of the picture called ``name``.

        Raises:
            KeyError: No such picture.
        """
        import numpy as np

        if name in self._arrays:
            return self._arrays[name]
        for picture in self.of(Picture):
            if picture.name == name and self.directory is not None:
                loaded: NDArray[np.float32] = np.load(self.directory / picture.file)
                return loaded
        raise KeyError(name)

    def of(self, kind: type[R]) -> list[R]:
        """All records of one type, subclasses included, in order."""
        return [record for record in self._records if isinstance(record, kind)]

    def last(self, kind: type[R]) -> R | None:
        """The newest record of one type, or None."""
        found = self.of(kind)
        return found[-1] if found else None

    def close(self) -> None:
        """Close the log file. Adding records afterwards keeps them in memory only."""
        if self._log is not None:
            self._log.close()
            self._log = None

    @classmethod
    def load(cls, directory: Path) -> Evidence:
        """Read an evidence directory back. A last line cut short by a crash is dropped.

        Raises:
            InputError: The log is missing or a complete line in it cannot be read.
        """
        path = directory / "evidence.jsonl"
        if not path.exists():
            raise InputError(f"{path} does not exist", expected="an evidence directory written by traindx examine")
        evidence = cls()
        evidence.directory = directory
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                kind = fields.pop("kind")
                evidence._records.append(Record.kinds[kind].model_validate(fields))
            except (json.JSONDecodeError, KeyError, ValidationError) as error:
                if number == len(lines):  # no newline after it: the writer was killed in the middle
                    break
                raise InputError(
                    f"line {number} of {path} cannot be read: {error}",
                    expected="one JSON record a line, of a kind this version knows",
                    do="examine again, or use the traindx version that wrote it",
                ) from error
        return evidence
