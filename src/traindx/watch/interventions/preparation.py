"""What an arm does before torch is there: seeds, listening to what is printed, a resume log of what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.files import ResumeLog
from traindx.watch.interventions.loggers import Loggers
from traindx.watch.interventions.printed import Printed
from traindx.watch.interventions.readings import Readings
from traindx.watch.interventions.seeding import Seeding

if TYPE_CHECKING:
    from traindx.watch.interventions.run import Variant
    from traindx.watch.runtime.after_import import AfterImport
    from traindx.watch.runtime.edits import Overlay
    from traindx.watch.runtime.settings import Settings


class Preparation:
    """Begins an arm in the script's process."""

    def __init__(self, settings: Settings, imports: AfterImport, overlay: Overlay) -> None:
        self.settings = settings
        self.readings = Readings()
        self.resume_log = ResumeLog(Path(settings.out), pending=settings.extras.get("pending"))
        self.resume_log.install(join=bool(settings.extras.get("worker")))
        imports.when("safetensors.torch", self.resume_log.with_safetensors)
        imports.when("h5py", self.resume_log.with_h5py)
        self.overlay = overlay
        self.seeding = Seeding(settings.seed, settings.extras.get("seeds"))
        self.seeding.python()
        imports.when("numpy", self.seeding.numpy)
        self._arm: Variant | None = None
        printed = Printed(self.readings, self._evaluating)
        printed.install()
        Loggers(self.readings, self._evaluating).install(imports)

    def _evaluating(self) -> bool:
        return self._arm is not None and self._arm.validating

    def with_torch(self, torch: Any) -> Variant:
        """Begin the arm itself."""
        from traindx.watch.interventions.run import Variant

        self.seeding.torch(torch)
        self.resume_log.with_torch(torch)
        self._arm = Variant(torch, self.settings, self.seeding, self.readings)
        self._arm.overlay = self.overlay
        self._arm.install()
        return self._arm
