"""Time and memory of inference: one hippocampus case, and a large volume with progress.

    python benchmarks/segmentation_inference.py --edge 320

The network has the size that is planned for the hippocampus and random weights: time and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.module import SegmentationModule
from traindx.recipes.segmentation.planning import Machine, Plan
from traindx.recipes.segmentation.sources import RawCase


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=320, help="edge of the large volume in voxels")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--flips", type=int, nargs="*", default=[])
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    plan = Plan(
        labels=LabelMeaning.parse({"background": 0, "anterior": 1, "posterior": 2}),
        patch=(40, 56, 40),
        kernels=((3, 3, 3),) * 4,
        strides=((1, 1, 1), *((2, 2, 2),) * 3),
        filters=(16, 32, 64, 128),
        precision="bf16-mixed" if Machine.here().bf16 else "32-true",
    )
    predictor = Predictor([SegmentationModule(plan, flips=tuple(options.flips))])
    rng = np.random.default_rng(0)
    found: dict[str, float] = {"precision_bf16": float(plan.precision.startswith("bf16"))}
    small = RawCase(rng.normal(size=(1, 35, 50, 35)).astype(np.float32), None, np.eye(4))
    predictor(small)
    started, used = time.perf_counter(), time.process_time()
    for _ in range(5):
        predictor(small)
    found["hippocampus_seconds"] = (time.perf_counter() - started) / 5
    found["hippocampus_cpu_seconds"] = (time.process_time() - used) / 5
    print(f"35x50x35: {found['hippocampus_seconds']:.3f} s", flush=True)
    if options.edge:
        edge = options.edge
        large = RawCase(rng.normal(size=(1, edge, edge, edge)).astype(np.float32), None, np.eye(4))
        started, used = time.perf_counter(), time.process_time()
        result = predictor(large, progress=True, overlap=options.overlap)
        found["large_seconds"] = time.perf_counter() - started
        found["large_cpu_seconds"] = time.process_time() - used
        found["large_peak_gib"] = peak_gib()
        assert result.classes.shape == (edge,) * 3
        print(f"{edge}^3: {found['large_seconds']:.0f} s, peak resident memory {found['large_peak_gib']:.2f} GiB")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
