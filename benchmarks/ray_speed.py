"""The same trials in one process and on a local Ray cluster: the same figures, one worker killed, and the time saved.

    python benchmarks/ray_speed.py [--workers 2] [--steps 400] [--jobs 6]

Independent trainings of one case are run three times: one after the other in this process, on a cluster, and on a
cluster whose first worker is killed while it trains. Weights and scores must be the same bits in all three.
Exit code 1 if they are not.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from traindx.trials.executor import Executor, InProcess
from traindx.trials.jobs import Job, JobResult
from traindx.trials.ray_pool import RayPool
from traindx.trials.reference import CaseReference

HERE = Path(__file__).resolve()


def case(steps: int) -> Any:
    """A case of a few seconds a training: a small convolutional network that takes noise off images."""
    from torch import nn

    from traindx.case import Case, Metric

    def data(seed: int, count: int) -> list[dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        clean = torch.nn.functional.avg_pool2d(torch.randn(count, 1, 40, 40, generator=generator), 9, 1) * 3
        noisy = clean + 0.3 * torch.randn(clean.shape, generator=generator)
        return [{"x": noisy[i : i + 8], "y": clean[i : i + 8]} for i in range(0, count, 8)]

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 1, 1)
        )

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(model(batch["x"]), batch["y"])

    return Case(
        name="denoising",
        model=network,
        loss=loss,
        optimizer=lambda parameters: torch.optim.Adam(parameters, 1e-3),
        train=data(0, 64),
        val=data(1, 32),
        predict=lambda model, batch: model(batch["x"]),
        target=lambda batch: batch["y"],
        metrics={"mse": Metric(lambda p, y: float((p - y).square().mean()), higher_is_better=False)},
        steps=steps,
    )


def timed(executor: Executor, jobs: list[Job], meanwhile: Callable[[], None] = lambda: None) -> tuple[float, Any]:
    """Seconds without the start of the workers, and weights and scores by seed."""
    begun = time.monotonic()
    meanwhile()
    found: dict[int, JobResult] = {}
    for job, result in executor.run(jobs, lambda job, step, steps: None, lambda job: True):
        found[job.seed] = result
    seconds = time.monotonic() - begun
    broken = [result.broke for result in found.values() if result.broke]
    if broken:
        sys.exit(broken[0])
    return seconds, {seed: (result.weights, result.arms[0].values) for seed, result in sorted(found.items())}


def main() -> int:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    reference = CaseReference(f"{HERE}:case", {"steps": given.steps})
    jobs = [Job(seed=seed, steps=given.steps) for seed in range(given.jobs)]
    alone, expected = timed(InProcess(reference.build()), jobs)
    with RayPool(reference, given.workers) as pool:
        pool.start()
        together, same = timed(pool, jobs)
    with RayPool(reference, given.workers) as pool:
        pool.start()
        victim = pool.processes()[0]

        def kill() -> None:
            threading.Timer(alone / given.jobs / 2, lambda: os.kill(victim, signal.SIGKILL)).start()

        killed, after = timed(pool, jobs, kill)
        survived = victim not in pool.processes()
    print(f"{given.jobs} trainings of {given.steps} steps, one thread each")
    print(f"one process                       {alone:6.1f} s")
    print(f"{given.workers} workers on Ray                  {together:6.1f} s  x{alone / together:.2f}")
    print(f"the same, one killed on the way   {killed:6.1f} s  (replaced: {'yes' if survived else 'no'})")
    print(f"bit-identical: {'yes' if same == expected == after else 'NO'}")
    return 0 if same == expected == after and survived else 1


if __name__ == "__main__":
    sys.exit(main())
