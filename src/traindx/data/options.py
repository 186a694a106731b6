"""What the user says of the data: tables, task, declared label values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from traindx.errors import UsageError


@dataclass(frozen=True)
class Task:
    """What a task needs of the data.

    Attributes:
        name: Name on the command line.
        masks: Every image needs a mask.
        labels: Every image needs a row in the label table.
        boxes: There must be boxes.
        modality: Modality of images whose header and name say nothing.
        map_size: Cells along each side of the network's coarsest map, where the task draws boxes on one.
    """

    name: str
    masks: bool = False
    labels: bool = False
    boxes: bool = False
    modality: str = ""
    map_size: int = 0


TASKS = {
    task.name: task
    for task in (
        Task("classification", labels=True),
        Task("detection", boxes=True),
        Task("segmentation", masks=True),
        Task("concepts", boxes=True, modality="DX", map_size=14),
        Task("fusion", masks=True),
        Task("xray2ct", modality="CT"),
        Task("progressive", modality="CT"),
        Task("regression"),
    )
}

DEFAULT_MAP = 14
"""A 224-pixel image through a backbone of stride 16, the usual map of class activation maps."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything but the data folder itself. See :func:`traindx.data.verify` for the fields."""

    labels: tuple[Path, ...] = ()
    boxes: tuple[Path, ...] = ()
    splits: tuple[Path, ...] = ()
    task: Task = field(default_factory=lambda: Task(""))
    map_size: int | None = None
    label_values: tuple[float, ...] = ()
    ignore_value: float | None = None
    layout: str = ""
    images: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def task_called(name: str | None) -> Task:
    """A task by name; an empty one where none is given.

    Raises:
        UsageError: There is no such task.
    """
    if not name:
        return Task("")
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}", expected=f"one of {', '.join(TASKS)}")
    return TASKS[name]
