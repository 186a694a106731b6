"""A training by LightningCLI: its callbacks and files, how it is interrupted, and how it ends.

LightningCLI for all recipes: four of five had it, and with it every option of the trainer (devices, precision,
accumulation), ``--print_config`` and type checks of settings come without a line of ours.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.recipes.kit.contract import load
from traindx.recipes.kit.lightning_output import progress_bars, silence
from traindx.recipes.kit.run_folder import BEST, LAST, say_interrupted


def set_threads(count: int | None) -> None:
    """Let torch compute with so many threads; None leaves it as it is."""
    if count:
        import torch

        torch.set_num_threads(count)


def first_process() -> bool:
    """False in the further processes of a distributed training, which run the same command."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def checkpoints(out: Path, monitor: str) -> list[Any]:
    """Callbacks that keep the best and the last checkpoint in a folder."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    common = {"dirpath": out, "enable_version_counter": False}
    best = ModelCheckpoint(filename=Path(BEST).stem, monitor=monitor, mode="max", **common)
    # Whole epochs only: Lightning 2.6 does not go on in the middle of one exactly as it would have without the break.
    last = ModelCheckpoint(filename=Path(LAST).stem, every_n_epochs=1, save_on_train_epoch_end=True, **common)
    return [best, last]


def command_line(
    module: type,
    data: type,
    arguments: Sequence[str],
    out: Path,
    monitor: str,
    *,
    callbacks: Sequence[Any] = (),
    expected: Sequence[str] = (),
    kind: type | None = None,
    **trainer: Any,
) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet.

    Args:
        module: Class of the module.
        data: Class of the data module.
        arguments: See :func:`traindx.recipes.kit.options.arguments`.
        out: Folder of checkpoints and log; it is made.
        monitor: Figure that the best checkpoint is chosen by; empty where stages have checkpoints of their own.
        callbacks: Further callbacks.
        expected: Patterns of warnings that this recipe expects.
        kind: Class of the command line, where it links arguments.
        **trainer: Defaults of the trainer.
    """
    from lightning.pytorch.cli import LightningCLI

    from traindx.recipes.kit.speed import add_arguments

    class CLI(kind or LightningCLI):  # type: ignore[misc]
        def add_arguments_to_parser(self, parser: Any) -> None:
            super().add_arguments_to_parser(parser)
            add_arguments(parser)

    silence(*expected)
    out.mkdir(parents=True, exist_ok=True)
    kept = checkpoints(out, monitor) if monitor else []
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(out), "name": "log"}}
    return CLI(
        module,
        data,
        run=False,
        args=list(arguments),
        save_config_callback=None,
        trainer_defaults={
            "logger": logger,
            "callbacks": [*kept, *callbacks, *progress_bars(arguments)],
            "enable_model_summary": False,
            "plugins": [{"class_path": "traindx.recipes.kit.whole_checkpoints.WholeCheckpoints"}],
            **trainer,
        },
    )


def fit(trainer: Any, module: Any, data: Any, out: Path, *, resume: Path | None, what: str = "") -> None:
    """Train to the end.

    Args:
        trainer: Lightning's trainer.
        module: The module.
        data: The data module.
        out: Folder of the run.
        resume: Checkpoint to go on from.
        what: The stage, where the run has several: its checkpoints lie in a folder of that name.

    Raises:
        InputError: The checkpoint is damaged, or holds more than tensors and plain data.
        KeyboardInterrupt: It was interrupted; how to go on was said.
    """
    if resume is not None:
        load(resume)  # nothing is executed; Lightning before 2.6 would trust the file with everything
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None)
    except SystemExit:  # Lightning's answer to Ctrl-C
        say_interrupted(out, out / what / LAST, what)
        raise KeyboardInterrupt from None


def finish(cli: Any, out: Path, monitor: str) -> tuple[float, Any]:
    """Validate and store the end of a run that does not end with an epoch.

    Returns:
        The best figure, and the figures of the last validation.
    """
    trainer = cli.trainer
    known = trainer.checkpoint_callbacks[0].best_model_score
    best = float(known) if known is not None else float("-inf")
    found = trainer.callback_metrics
    if trainer.global_step % cli.datamodule.epoch_steps:
        found = trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)[0]
        trainer.save_checkpoint(out / LAST)
        if float(found[monitor]) > best:
            best = float(found[monitor])
            trainer.save_checkpoint(out / BEST)
    return best, found
