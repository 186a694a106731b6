"""``set-argument``: a changed setting, in place before the script begins."""

from __future__ import annotations

from traindx.watch.interventions.treatment import RuntimeTreatment


class SetArgument(RuntimeTreatment):
    """``name`` and ``value``: the arguments were changed before the process was started."""

    def install(self) -> None:
        """Acted by being there."""
        self.hits = 1
