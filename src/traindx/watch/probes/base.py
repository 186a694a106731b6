"""What a probe is: an experiment on captured calls that is made rarely and leaves no trace."""

from __future__ import annotations

from typing import ClassVar

from traindx.watch.collectors.networks import Call
from traindx.watch.probes.captured import Captured, CapturedCalls
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts, ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

FIRST_TRAINING_ITERATION = 2  # heads and gates that start at zero have moved by then


class Experiment(Collector):
    """Anything that computes more than the script does; left out where a run is to be watched without."""


class Probe(Experiment):
    """An experiment on captured calls. Subclasses say when, with ``training`` and ``evaluation``, and do :meth:`look`.

    In training only iterations that are watched in full are used, and at each line of the code first ``dense``
    occurrences, then ever fewer: the choice depends on counts alone, so two runs make the same experiments. On top of
    that :meth:`~traindx.watch.probes.captured.CapturedCalls.affordable` refuses what would make the run slow.

    Attributes:
        forwards: Forward passes of one experiment, for the account.
        training: Look at calls with gradients.
        evaluation: Look at calls without.
        dense: Occurrences at one line that are all looked at.
        ratio: Growth of the distance between later ones.
    """

    forwards: ClassVar[int] = 4
    training: ClassVar[bool] = True
    evaluation: ClassVar[bool] = False
    dense: ClassVar[int] = 2
    ratio: ClassVar[float] = 4.0

    def __init__(self, watch: Watch, captured: CapturedCalls) -> None:
        super().__init__(watch)
        self.captured = captured
        self.bursts = Bursts(self.dense, self.ratio)
        self._refused: dict[tuple[object, ...], CallSite | None] = {}  # None once an experiment was afforded

    def install(self) -> None:
        """Ask for calls."""
        self.captured.on_captured(self, self.wants, self._told)
        self.watch.closing.append(self._say_refused)

    def wants(self, call: Call) -> bool:
        """Is this call, which begins now, to be looked at?"""
        if call.grad:
            full = self.watch.level is ObservationLevel.FULL and self.watch.iteration >= FIRST_TRAINING_ITERATION
            return self.training and full and self.bursts.wanted(call.place.key)
        return self.evaluation and self.bursts.wanted(call.place.key)

    def _told(self, captured: Captured) -> None:
        if not self.captured.affordable(self.forwards * captured.seconds):
            self._refused.setdefault(captured.call.place.key, captured.call.site)
            self.bursts.postpone(captured.call.place.key)  # the longer the run, the more it may cost
            return
        self._refused[captured.call.place.key] = None
        self.look(captured)

    def _say_refused(self) -> None:
        """What could never be afforded."""
        for site in self._refused.values():
            if site is not None:
                self.watch.not_examined(self.subject, "the experiment would have slowed the run down", site)

    def look(self, captured: Captured) -> None:
        """Make the experiment; called right after the call, without gradients."""
        raise NotImplementedError
