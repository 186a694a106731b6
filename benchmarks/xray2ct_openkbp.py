"""CT from two radiographs on patients: 74 to train on, 17 to validate, 64 voxels a side, data range 2000 HU.

    TRAINDX_DATA=... python benchmarks/xray2ct_openkbp.py --method regression --minutes 45 --cores 2 --write
    TRAINDX_DATA=... python benchmarks/xray2ct_openkbp.py --method diffusion --minutes 45 --cores 2 --write

The time is shared out to the stages (--shares) and covers training with its validations, not the table at the end. How
many steps fit is measured first, on a few steps of every stage; the cosine then ends with the time. A stage that would
run over is stopped by the clock and goes on to the next. Writes the table and the learning curve to
``benchmarks/results/xray2ct-<method>.md`` and pictures beside the run.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import torch

from traindx.recipes.xray2ct.assessment import Table, assess, text
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade import train as training
from traindx.recipes.xray2ct.cascade.evaluate import measured, predictors, stages_text
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.predict import write_picture

RESULTS = Path(__file__).parent / "results"
PROBED_STEPS = 4
SHARES = (0.35, 0.35, 0.30)
SPARED = 0.92  # of the time of a stage goes into steps; the rest is validation and checkpoints


def options_of(method: str, given: argparse.Namespace, out: Path, stage: int) -> argparse.Namespace:
    arguments = [f"--preset={given.preset}", f"--out={out}", f"--seed={given.seed}", f"--stage={stage}"]
    parsed, _ = training.parser(method).parse_known_args(arguments)  # type: ignore[arg-type]
    return parsed


def flags(given: argparse.Namespace, steps: int, *more: str) -> list[str]:
    shared = ["--data.source=openkbp", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    rhythm = [f"--trainer.max_steps={steps}", f"--data.epoch_steps={max(1, steps // given.validations)}"]
    return [*shared, *rhythm, f"--trainer.precision={given.precision}", *given.extra, *more]


def train(given: argparse.Namespace, out: Path) -> list[dict[str, float]]:
    """All stages; returns seconds a step, steps and minutes of each."""
    runs = training.runs_of(given.method, given.preset, out)
    facts = []
    for run, share in zip(runs, SHARES[: len(runs)], strict=True):
        seconds = given.minutes * 60 * share / sum(SHARES[: len(runs)])
        probe = training.Run(run.number, run.settings, out / "probe" / run.folder.name)
        parsed = options_of(given.method, given, out, run.number)
        begun = time.perf_counter()
        cli = training.build(
            given.method, probe, runs, parsed, flags(given, PROBED_STEPS, "--trainer.limit_val_batches=0")
        )
        cli.trainer.callbacks = [item for item in cli.trainer.callbacks if not hasattr(item, "best_model_path")]
        timer = _Timer()
        cli.trainer.callbacks.append(timer)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        each = timer.each()
        steps = max(PROBED_STEPS, int(seconds * SPARED / each))
        allowed = max(1, int(seconds - (time.perf_counter() - begun)))
        limit = f"{allowed // 86400:02d}:{allowed // 3600 % 24:02d}:{allowed // 60 % 60:02d}:{allowed % 60:02d}"
        print(f"stage {run.number}: {each:.3f} s a step, so {steps} steps in {seconds / 60:.1f} minutes", flush=True)
        cli = training.build(given.method, run, runs, parsed, flags(given, steps, f"--trainer.max_time={limit}"))
        begun = time.perf_counter()
        training.fit(cli, run, None)
        took = time.perf_counter() - begun
        done = cli.trainer.global_step
        facts.append({"stage": run.number, "steps": done, "seconds a step": took / done, "minutes": took / 60})
    return facts


def _timer() -> type:
    from lightning.pytorch.callbacks import Callback

    class Timer(Callback):  # type: ignore[misc]
        """Seconds of each step after the first, which allocates."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_end(self, *_: object) -> None:
            self.times.append(time.perf_counter())

        def each(self) -> float:
            return (self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)

    return Timer


_Timer = _timer()


def curve(out: Path) -> list[tuple[str, int, float]]:
    """Validation PSNR of every stage at its own resolution, by step."""
    rows = []
    for path in sorted(out.glob("stage*/log/*/metrics.csv")):
        with path.open() as file:
            seen = [row for row in csv.DictReader(file) if row.get("val_psnr")]
        rows += [(path.parts[-4], int(float(row["step"])), float(row["val_psnr"])) for row in seen]
    return rows


def final(given: argparse.Namespace, out: Path, data: Data) -> tuple[Table, str]:
    """The table of all stages and baselines; for the diffusion also the mean of four samples."""
    best = training.runs_of(given.method, given.preset, out)[-1].best
    cascade, plan = contract.cascade_from(contract.read(best), given.sampling_steps)
    torch.manual_seed(given.seed)
    table, kept = measured(data, cascade, plan, 1, 3)
    if given.method == "diffusion":
        name, predict = list(predictors(cascade, plan, 4).items())[-1]
        table = {**{f"{name}, mean of 4": assess(data, predict)[0]}, **table}
    for number, predicted in enumerate(kept):
        volumes = {"truth": data.val.patients.hu[number, 0], "predicted": predicted}
        write_picture(out / f"{data.val.patients.ids[number]}.png", volumes)
    return table, stages_text(data, cascade, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("regression", "diffusion"), required=True)
    parser.add_argument("--preset", default="volume64")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16-mixed", help="32-true where the processor has no bfloat16")
    parser.add_argument("--validations", type=int, default=6, help="validations of each stage (default: 6)")
    parser.add_argument("--sampling-steps", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/xray2ct-openkbp"))
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/xray2ct-<method>.md")
    given, given.extra = parser.parse_known_args()
    torch.set_num_threads(given.cores)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    out = given.out / f"{given.method}-seed{given.seed}"
    facts = train(given, out)
    data = prepare(DataOptions("openkbp", 64, 74, 17))
    table, stages = final(given, out, data)
    lines = [text(table, len(data.val)), "", stages, "", "Training"]
    lines += [
        f"stage {f['stage']:.0f}: {f['steps']:.0f} steps in {f['minutes']:.1f} min, {f['seconds a step']:.3f} s/step"
        for f in facts
    ]
    lines += ["", "Validation PSNR at the resolution of the stage, dB"]
    lines += [f"{stage} step {step:6d}: {value:.2f}" for stage, step, value in curve(out)]
    report = "\n".join(lines)
    print(report)
    if given.write:
        RESULTS.mkdir(exist_ok=True)
        command = f"python benchmarks/xray2ct_openkbp.py --method {given.method} --minutes {given.minutes:g}"
        command += f" --cores {given.cores}"
        if given.extra:
            command += " " + " ".join(given.extra)
        file = RESULTS / f"xray2ct-{given.method}.md"
        file.write_text(f"`{command} --seed {given.seed}`\n\n```\n{report}\n```\n", encoding="utf-8")
        print(f"written to {file}")


if __name__ == "__main__":
    main()
