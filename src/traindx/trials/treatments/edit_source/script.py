"""``edit-source``: a changed line or patch, in place before the script begins."""

from __future__ import annotations

from traindx.watch.interventions.treatment import RuntimeTreatment


class EditSource(RuntimeTreatment):
    """``edits``: what :class:`~traindx.watch.runtime.edits.Overlay` put in place when the files were loaded."""

    def install(self) -> None:
        """Nothing: the files are changed as they are loaded."""

    def finish(self) -> None:
        """Acted, if a file that it changes was loaded."""
        overlay = self.arm.overlay
        if overlay.failed:
            self.refuse(overlay.failed)
        self.hits = len(overlay.loaded & overlay.files_of(self.fields["edits"]))
