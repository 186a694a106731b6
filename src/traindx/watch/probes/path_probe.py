"""Experiments on the way from a network's output to its loss, which need no call of the network."""

from __future__ import annotations

from typing import ClassVar

from traindx.watch.probes.base import Experiment
from traindx.watch.probes.captured import CapturedCalls
from traindx.watch.probes.loss_path import LossPaths, Path
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Watch


class PathProbe(Experiment):
    """An experiment on paths: subclasses do :meth:`look`, and ask ``bursts`` whether it is a line's turn.

    Attributes:
        dense: Paths of one line that are all looked at.
    """

    dense: ClassVar[int] = 3

    def __init__(self, watch: Watch, captured: CapturedCalls, paths: LossPaths) -> None:
        super().__init__(watch)
        self.captured = captured
        self.paths = paths
        self.bursts = Bursts(self.dense, 3.0)

    def install(self) -> None:
        """Ask for paths."""
        self.paths.on_path(self, self.look)

    def look(self, path: Path) -> None:
        """Make the experiment; called when an iteration's backward pass is over."""
        raise NotImplementedError
