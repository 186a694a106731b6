"""Schedulers of diffusers and MONAI against the exact Gaussian denoiser: which of them join their noise levels up?

    python benchmarks/shipped_samplers.py                  # the table of docs/notes/shipped-samplers.md
    python benchmarks/shipped_samplers.py --steps 12 30 60 # other numbers of steps

Every row is the sampling loop of the library's documentation on a schedule of 1000 timesteps with linear beta. It
samples 64-bit images of voxels drawn from N(0.3, 0.2²), among others, with the exact denoiser in place of a network.
Printed are the standard deviation of these samples, the one that the same timesteps give with steps that join up, and
the largest difference of any voxel from its closed form; then what the rules say.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import traindx as dx
from traindx import rules
from traindx.checks import CheckContext
from traindx.checks.diffusion.sampler import sampler
from traindx.evidence import Evidence
from traindx.evidence.sampling import SamplerRun

SHAPE = (2, 1, 16, 16, 16)
LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}


class Denoiser(nn.Module):
    """Stands for any network; the check answers in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.layer(x)


def diffusers_loop(scheduler: Any, steps: int) -> Callable[[nn.Module, Any], Tensor]:
    def sample(model: nn.Module, batch: Any) -> Tensor:
        scheduler.set_timesteps(steps)
        x = torch.randn(SHAPE)
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t), t, x).prev_sample
        return x

    return sample


def monai_loop(scheduler: Any, steps: int) -> Callable[[nn.Module, Any], Tensor]:
    def sample(model: nn.Module, batch: Any) -> Tensor:
        scheduler.set_timesteps(num_inference_steps=steps)
        x = torch.randn(SHAPE)
        for t in scheduler.timesteps:
            x, _ = scheduler.step(model(x, t), t, x)
        return x

    return sample


def samplers(steps: int) -> Iterator[tuple[str, str, Tensor, Callable[[nn.Module, Any], Tensor]]]:
    """Name, prediction type, ᾱ and loop of every row."""
    import diffusers
    from monai.networks import schedulers as monai

    def ddim(**options: Any) -> Any:
        return diffusers.DDIMScheduler(**LINEAR, clip_sample=False, **options)

    zero_snr = ddim(timestep_spacing="trailing", rescale_betas_zero_snr=True, prediction_type="v_prediction")
    ddpm = diffusers.DDPMScheduler(**LINEAR, clip_sample=False, timestep_spacing="linspace")
    rows = [
        ("diffusers DDIM trailing, zero terminal SNR", "v", zero_snr, diffusers_loop),
        ("diffusers DDIM trailing", "epsilon", ddim(timestep_spacing="trailing"), diffusers_loop),
        ("diffusers DDIM leading", "epsilon", ddim(timestep_spacing="leading"), diffusers_loop),
        ("diffusers DDIM linspace", "epsilon", ddim(timestep_spacing="linspace"), diffusers_loop),
        ("diffusers DDPM linspace", "epsilon", ddpm, diffusers_loop),
        ("MONAI DDIMScheduler", "epsilon", monai.DDIMScheduler(**LINEAR, clip_sample=False), monai_loop),
        ("MONAI DDPMScheduler", "epsilon", monai.DDPMScheduler(**LINEAR, clip_sample=False), monai_loop),
    ]
    for name, kind, scheduler, loop in rows:
        yield name, kind, scheduler.alphas_cumprod.clone(), loop(scheduler, steps)


def examine(
    kind: str, table: Tensor, sample: Callable[[nn.Module, Any], Tensor]
) -> tuple[SamplerRun, list[dx.Finding]]:
    """Sit the sampler's check and apply the rules on the loop."""
    batch = {"image": torch.zeros(SHAPE).uniform_(-1, 1)}
    case = dx.Case(
        model=Denoiser,
        train=[batch],
        target=lambda batch: batch["image"],
        diffusion=dx.Diffusion(
            alphas_cumprod=table,
            prediction=kind,  # type: ignore[arg-type]
            denoise=lambda model, x, t, batch: model(x, t),
            sample=sample,
        ),
        parts=(dx.DataRange(-1.0, 1.0),),
    )
    evidence = Evidence()
    sampler.function(CheckContext(case, evidence))
    catalogue = rules.catalogue()
    found = [finding for code in ("S501", "S502") for finding in catalogue[code].check(evidence)]
    return evidence.of(SamplerRun)[0], found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 50])
    steps = parser.parse_args().steps
    warnings.filterwarnings("ignore")
    import diffusers
    import monai

    print(f"diffusers {diffusers.__version__}, MONAI {monai.__version__}, torch {torch.__version__}\n")
    print("| sampler | " + " | ".join(f"{n} steps: sd / joined up / max deviation" for n in steps) + " | verdict |")
    print("|---|" + "---|" * (len(steps) + 1))
    table: dict[str, list[str]] = {}
    verdicts: dict[str, set[str]] = {}
    for n in steps:
        for name, kind, alphas, loop in samplers(n):
            run, found = examine(kind, alphas, loop)
            table.setdefault(name, []).append(f"{run.output_sd:.4f} / {run.expected_sd:.4f} / {run.deviation:.2g}")
            verdicts.setdefault(name, set()).update(f"{item.code} {item.standing}" for item in found)
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells) + f" | {', '.join(sorted(verdicts[name])) or 'silent'} |")


if __name__ == "__main__":
    main()
