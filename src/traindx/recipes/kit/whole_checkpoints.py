"""How a training writes its checkpoints: beside their place, then into it by one rename.

Lightning 2.6 writes to the folder of temporary files and moves from there. Where that is another file system (a local
``/tmp``, runs on a network disk) moving is copying over the last checkpoint, and a kill leaves half of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from traindx.recipes.kit.contract import store


class WholeCheckpoints(TorchCheckpointIO):  # type: ignore[misc]
    """A checkpoint is there as a whole or as it was before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it.

        Args:
            checkpoint: Its content.
            path: The file; its folder is made.
            storage_options: Unused, as in the class that this replaces.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        store(Path(path), checkpoint)
