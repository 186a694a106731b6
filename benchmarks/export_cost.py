"""What an export costs and how well it agrees: the networks of presets with random weights, in TorchScript and ONNX.

    python benchmarks/export_cost.py --write

Each row is made in a process of its own. The difference is that of the exported program, read back by its own runtime,
from PyTorch, as a share of the span of its output; weights do not matter to cost. Writes
``benchmarks/results/export-cost.md``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

RESULTS = Path(__file__).parent / "results"
ROWS = ("segmentation", "xray2ct_regression", "xray2ct", "xray2ct_cascade", "concepts", "fusion", "fusion pairs")


def program(name: str) -> tuple[Any, str]:
    """The program of a recipe at the size of a preset, and that size in words."""
    torch.manual_seed(0)
    if name == "segmentation":
        return _segmentation()
    if name == "concepts":
        return _concepts()
    if name.startswith("fusion"):
        return _fusion(name)
    return _xray2ct(name)


def _segmentation() -> tuple[Any, str]:
    from traindx.recipes.segmentation.export import program_of
    from traindx.recipes.segmentation.inference import Predictor
    from traindx.recipes.segmentation.labels import LabelMeaning
    from traindx.recipes.segmentation.module import SegmentationModule
    from traindx.recipes.segmentation.planning import Plan, plan_levels

    patch, kernels, strides = plan_levels((40, 56, 40), (1.0, 1.0, 1.0), 4)
    filters = tuple(16 * 2**level for level in range(len(strides)))
    labels = LabelMeaning.parse({"background": 0, "anterior": 1, "posterior": 2})
    plan = Plan(labels=labels, patch=patch, kernels=kernels, strides=strides, filters=filters)
    return program_of(Predictor([SegmentationModule(plan).eval()])), "hippocampus, 40x56x40"


def _xray2ct(name: str) -> tuple[Any, str]:
    from traindx.recipes.kit.diffusion import Process
    from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Cascade, Plan
    from traindx.recipes.xray2ct.cascade.train import PRESETS
    from traindx.recipes.xray2ct.export import CascadedVolume, DrawnVolume, program_of
    from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
    from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
    from traindx.recipes.xray2ct.model import Denoiser

    geometry, window = ConeGeometry((32, 32, 32), (12.0, 12.0, 12.0), (32, 32)), HounsfieldWindow()
    if name == "xray2ct":
        process = Process(sampling_steps=8)
        module = DrawnVolume(Denoiser(geometry).eval(), process, window)
        noises = {"noise": geometry.shape}
        return program_of(name, module, VIEWS, geometry, geometry, window, noises, process), "quick, 32³, 8 steps"
    method = next(key for key, recipe in RECIPE.items() if recipe == name)
    files = sorted((PRESETS / method / "quick").glob("stage*.yaml"))
    networks = tuple(yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["network"] for path in files)
    plan = Plan(method, (16, 32), geometry, window, networks=networks, process=Process(sampling_steps=4))
    cascade = CascadedVolume(Cascade([plan.stage(0), plan.stage(1)]).eval(), plan)
    diffusion = method == "diffusion"
    made: dict[str, tuple[int, int, int]] = {"noise_1": (16, 16, 16), "noise_2": (32, 32, 32)} if diffusion else {}
    said = "quick, 16³ and 32³" + (", 4 steps each" if diffusion else "")
    return program_of(name, cascade, VIEWS, geometry, geometry, window, made, plan.process if diffusion else None), said


def _concepts() -> tuple[Any, str]:
    from traindx.recipes.concepts.contract import Learnt
    from traindx.recipes.concepts.export import program_of
    from traindx.recipes.concepts.module import ConceptsModule
    from traindx.recipes.concepts.settings import settings_of

    module = ConceptsModule(settings_of({}), ("a", "b", "c"), ("d", "e"), torch.ones(3)).eval()
    learnt = Learnt(trained=("concepts", "prototypes", "task"))
    return program_of(module, learnt, (1024, 1024)), "128² inside, images of 1024²"


def _fusion(name: str) -> tuple[Any, str]:
    from traindx.recipes.fusion import export
    from traindx.recipes.fusion.inference import Model
    from traindx.recipes.fusion.model import Denoiser
    from traindx.recipes.fusion.normalisation import NORMALISATIONS
    from traindx.recipes.fusion.pairs.network import PairFuser
    from traindx.recipes.fusion.roi import RoiWeights
    from traindx.recipes.kit.diffusion import Process

    if name == "fusion pairs":
        return export.program_of_pairs(PairFuser(), (256, 256)), "256²"
    process = Process(sampling_steps=10)
    model = Model(Denoiser(2).eval(), process, NORMALISATIONS["joint"], None, RoiWeights(), 0.0, 2, 8, "ddim")
    return export.program_of(model, (256, 256)), "slices of 256², 10 steps"


def row(name: str, to: str) -> dict[str, Any]:
    """Export in this process."""
    from traindx.recipes.kit import export

    torch.set_num_threads(1)
    made, said = program(name)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "random.ckpt"
        checkpoint.write_bytes(b"random weights")
        begun = time.process_time()
        export.write(made, argparse.Namespace(to=to, out=Path(folder)), [checkpoint])
        seconds = time.process_time() - begun
        file = Path(folder) / export.FILES[to]
        sidecar = json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))
        return {
            "recipe": name,
            "size": said,
            "format": to,
            "difference": sidecar["agreement"]["largest_difference_of_span"],
            "batch": sidecar["shapes"]["batch"],
            "mb": file.stat().st_size / 1e6,
            "seconds": seconds,
            "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("RECIPE", "FORMAT"), help="one row in this process, as JSON")
    parser.add_argument("--write", action="store_true", help="write the table")
    options = parser.parse_args()
    if options.only:
        print("\n" + json.dumps(row(*options.only)))
        return
    rows = []
    for name in ROWS:
        for to in ("torchscript", "onnx"):
            command = [sys.executable, __file__, "--only", name, to]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} {to}: {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(rows[-1], flush=True)
    table = "\n".join(
        f"| `{one['recipe']}` | {one['size']} | {one['format']} | {one['difference']:.1e} | {one['batch']} | "
        f"{one['mb']:.1f} | {one['seconds']:.0f} | {one['memory_gb']:.1f} |"
        for one in rows
    )
    head = (
        "# Exports: agreement and cost\n\n`python benchmarks/export_cost.py --write`: presets with random weights, one "
        "core. The difference is that of the\nexported program, in its own runtime, from PyTorch, as a share of the "
        "span of its output (2000 HU, or 1).\n\n"
        "| recipe | size | format | largest difference | batch | MB | processor seconds | peak GB |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    if options.write:
        (RESULTS / "export-cost.md").write_text(head + table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
