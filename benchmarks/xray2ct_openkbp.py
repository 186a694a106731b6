"""CT from two radiographs on patients: 74 to train on, 17 to validate, 64 voxels a side, data range 2000 HU.

    TRAINDX_DATA=... python benchmarks/xray2ct_openkbp.py --method regression --minutes 45 --cores 2 --write
    TRAINDX_DATA=... python benchmarks/xray2ct_openkbp.py --method diffusion --minutes 45 --cores 2 --write

The time is shared out to the stages and covers training with its validations, not the table at the end. How many steps
fit is measured first, on a few steps of every stage; the cosine then ends with the time. A stage that would run over is
stopped and goes on to the next. ``--clock cpu`` (the default) counts processor seconds and takes ``minutes x cores`` of
them: the fair unit on a machine that is shared. ``--resume`` goes on after the last stage that was finished. Writes the
table and the learning curve to ``benchmarks/results/xray2ct-<method>.md`` and pictures beside the run.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from traindx.recipes.kit.estimate import Table
from traindx.recipes.xray2ct.assessment import assess, text
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade import train as training
from traindx.recipes.xray2ct.cascade.evaluate import measured, predictors, stages_text
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.predict import write_picture

RESULTS = Path(__file__).parent / "results"
PROBED_STEPS = 6
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
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
    """All stages; returns seconds a step, steps and minutes of each, by both clocks."""
    runs = training.runs_of(given.method, given.preset, out)
    now = CLOCKS[given.clock]
    facts = []
    for run, share in zip(runs, SHARES[: len(runs)], strict=True):
        kept = run.folder / "spent.json"
        if given.resume and kept.exists():
            facts.append(json.loads(kept.read_text()))
            continue
        seconds = given.minutes * 60 * share / sum(SHARES[: len(runs)])
        seconds *= given.cores if given.clock == "cpu" else 1
        shutil.rmtree(run.folder, ignore_errors=True)
        probe = training.Run(run.number, run.settings, out / "probe" / run.folder.name)
        parsed = options_of(given.method, given, out, run.number)
        begun, wall, used = now(), time.perf_counter(), time.process_time()
        cli = training.build(
            given.method, probe, runs, parsed, flags(given, PROBED_STEPS, "--trainer.limit_val_batches=0")
        )
        cli.trainer.callbacks = [item for item in cli.trainer.callbacks if not hasattr(item, "best_model_path")]
        timer = Timer(now)
        cli.trainer.callbacks.append(timer)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        steps = max(PROBED_STEPS, int(seconds * SPARED / timer.each()))
        print(
            f"stage {run.number}: {timer.each():.3f} s a step by the {given.clock} clock, so {steps} steps", flush=True
        )
        cli = training.build(given.method, run, runs, parsed, flags(given, steps))
        cli.trainer.callbacks.append(Timer(now, begun + seconds))
        training.train_stage(cli, run, None)
        done = cli.trainer.global_step
        fact = {
            "stage": run.number,
            "steps": done,
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - used,
        }
        kept.write_text(json.dumps(fact))
        facts.append(fact)
    return facts


class Timer(Callback):  # type: ignore[misc]
    """Times of all steps, and the end of training at a time."""

    def __init__(self, now: Callable[[], float], end: float = math.inf) -> None:
        self.now, self.end = now, end
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        self.times.append(self.now())
        if self.times[-1] > self.end:
            trainer.should_stop = True

    def each(self) -> float:
        """Seconds of a step after the first, which allocates."""
        return (self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)


def curve(out: Path) -> list[tuple[str, int, float]]:
    """Validation PSNR of every stage at its own resolution, by step."""
    rows = []
    for path in sorted(out.glob("stage*/log/*/metrics.csv")):
        with path.open() as file:
            seen = [row for row in csv.DictReader(file) if row.get("val_psnr")]
        rows += [(path.parts[-4], int(float(row["step"])), float(row["val_psnr"])) for row in seen]
    return rows


def size_of(given: argparse.Namespace) -> int:
    """Voxels a side of the volumes of the preset."""
    last = training.runs_of(given.method, given.preset, given.out)[-1]
    return int(yaml.safe_load(last.settings.read_text())["data"]["size"])


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
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="cpu")
    parser.add_argument("--resume", action="store_true", help="keep the stages that were finished")
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
    data = prepare(DataOptions("openkbp", size_of(given), 74, 17))
    table, stages = final(given, out, data)
    lines = [text(table, len(data.val)), "", stages, "", "Training"]
    lines += [
        f"stage {f['stage']:.0f}: {f['steps']:.0f} steps, {f['cpu'] / 60:.1f} processor minutes, "
        f"{f['wall'] / 60:.1f} minutes on the wall clock"
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
