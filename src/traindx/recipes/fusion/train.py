"""``traindx train fusion``: LightningCLI with presets; a run that is interrupted goes on with ``--resume``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.errors import InputError
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.run_folder import LAST, RED_FLAGS, check_folder
from traindx.recipes.kit.training import command_line, finish, first_process, fit, set_threads

PRESETS = Path(__file__).parent / "presets"
SOURCES = ("auto", "sts", "slices", "folder", "phantom")
PAIRS = "pairs"
ROOT = "folder of studies (default: the collection below TRAINDX_DATA)"
_WEIGHTS = ("default", "brain_tumor", "bone_tumor", "metastasis", "stroke")
MOVED = {
    "--setup": "--preset, which is a size in every recipe",
    **{f"--preset {name}": f"--roi-weights {name}; --preset is a size" for name in _WEIGHTS},
    **{f"--{name}": f"--model.{name}" for name in ("alpha", "beta", "gamma")},
    "--all-patients": "--cases all",
}


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    from traindx.recipes.fusion import roi

    made = kit.parser(
        "train",
        "fusion",
        "Train a diffusion model that fuses registered CT and MR into one image. Regions (soft tissue, bone, lesion) "
        "are weighed by --roi-weights, or each by --model.alpha, --model.beta and --model.gamma. --source pairs "
        "trains on plain images of two modalities in --root instead, without HU, masks or targets.",
        "--preset quick --roi-weights stroke --out runs/fusion",
    )
    kit.data(made, (*SOURCES, PAIRS), root=ROOT)
    own = kit.train(made, sorted(path.stem for path in PRESETS.glob("*.yaml")))
    own.add_argument("--roi-weights", choices=list(roi.PRESETS), default="default", help="weights of the regions")
    own.add_argument("--select", default="fusion_score", help="figure that the best checkpoint is chosen by")
    own.add_argument("--distil", type=Path, help="distil a one-pass student of this checkpoint's sampler into it")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used, or a figure is to be selected by that is not produced.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    from traindx.data import verify
    from traindx.recipes.fusion import roi
    from traindx.recipes.fusion.pairs import train as pairs
    from traindx.recipes.fusion.scores import selected
    from traindx.recipes.fusion.studies import on_disk

    kit.refuse_old(argv, MOVED)
    options, rest = parser().parse_known_args(list(argv))
    set_threads(options.threads)
    if options.distil is not None:
        return _distil(options)
    if options.source == PAIRS:
        return pairs.run(options, rest)
    if options.plan:
        from traindx.recipes.fusion.workloads import workloads
        from traindx.recipes.kit import cost

        return cost.show(workloads(cost.settings(PRESETS / f"{options.preset}.yaml", rest)), options.preset)
    check_folder(options.out, resume=options.resume)
    weighed = [f"--model.{name}={weight}" for name, weight in vars(roi.PRESETS[options.roi_weights]).items()]
    arguments = kit.arguments(options, PRESETS / f"{options.preset}.yaml", [*weighed, *rest])
    cli = build(arguments, options.out, selected(options.select))
    if not (options.resume or options.no_verification) and first_process():
        files = on_disk(cli.datamodule.options.source, cli.datamodule.options.root)
        if files is not None:
            first_check(lambda out: verify(files, out=out), options.out, strict=options.strict)
    module, data, trainer = cli.model, cli.datamodule.data, cli.trainer
    weights = module.weights
    print(
        f"{len(data.split.train)} training and {len(data.split.val)} validation patients, {len(data.train)} and "
        f"{len(data.val)} windows; weights {weights.alpha:g}, {weights.beta:g}, {weights.gamma:g} of soft tissue, bone "
        f"and lesion; checkpoints in {options.out}",
        flush=True,
    )
    _say_what_is_destroyed(data)
    module.attach(data, int(trainer.max_steps), train_lesion_head=not options.resume)
    module.pictures = options.out / "pictures"
    fit(trainer, module, cli.datamodule, options.out, resume=options.out / LAST if options.resume else None)
    best, _ = finish(cli, options.out, f"val_{options.select}")
    print(
        f"{trainer.global_step} steps; best validation {options.select} {best:.4f}; "
        f"next: traindx evaluate fusion --checkpoint {options.out}",
        flush=True,
    )
    return 0


def _distil(options: argparse.Namespace) -> int:
    """Distil a student from a checkpoint and store it in the same file, beside the teacher."""
    import torch

    from traindx.recipes.fusion import contract, studies
    from traindx.recipes.fusion.data import DataOptions, Windows, derive
    from traindx.recipes.fusion.module import SeededWindows
    from traindx.recipes.fusion.normalisation import NORMALISATIONS
    from traindx.recipes.fusion.student import STUDENT_KEY, distil
    from traindx.recipes.fusion.system import SAMPLING_STEPS
    from traindx.recipes.kit.contract import CONTRACT_KEY, store
    from traindx.recipes.kit.diffusion import Process

    checkpoint = contract.read(options.distil)
    saved = checkpoint[CONTRACT_KEY]
    source, root = studies.resolve(options.source or "auto", options.root)
    chosen = [name for name in studies.names(source, root) if name in set(checkpoint["patients"]["train"])]
    if not chosen:
        raise InputError("none of the patients that the checkpoint was trained on is there", expected="--root")
    seen_as = NORMALISATIONS[saved["normalisation"]["preset"]]
    data_options = DataOptions(size=64, depth=1 if saved["dims"] == 2 else 16)
    prepared = [derive(study) for study in studies.load(source, root, chosen)]
    windows = Windows(prepared, data_options, training=True, seen_as=seen_as)
    steps = options.steps or 150
    torch.manual_seed(options.seed)
    process = Process.of(saved, SAMPLING_STEPS)
    batches = SeededWindows(windows, data_options.batch_size, options.seed + 2, steps)
    student = distil(contract.network_from(checkpoint), process, batches, steps)
    store(options.distil, {**checkpoint, STUDENT_KEY: student.state_dict()})
    print(f"distilled a student in {steps} steps into {options.distil}; use it with --sampler student", flush=True)
    return 0


def _say_what_is_destroyed(data: Any) -> None:
    """Print what the normalisation leaves of each tissue, measured on the first patient."""
    import torch

    from traindx.recipes.fusion.normalisation import destroyed

    seen_as = data.train.seen_as
    print(f"normalisation {seen_as.name}: {seen_as.destroys}")
    hu = torch.from_numpy(data.train.prepared[0].study.hu)
    for tissue, (share, distinct) in destroyed(seen_as, hu).items():
        print(f"  {tissue}: {100 * share:.1f} % clipped to a constant, {distinct} distinct values left", flush=True)


def build(arguments: Sequence[str], out: Path, select: str) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from traindx.recipes.fusion.module import Fusion, FusionData
    from traindx.recipes.fusion.red_flags import red_flags

    return command_line(
        Fusion,
        FusionData,
        arguments,
        out,
        f"val_{select}",
        callbacks=[red_flags(out / RED_FLAGS)],
        expected=[".*module\\(s\\) in eval mode"],  # the lesion head is frozen
        use_distributed_sampler=False,  # training windows share themselves out; every process validates all of them
    )
