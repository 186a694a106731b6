"""What two radiographs cannot tell of bone and fine detail: the best linear reconstruction, and oracles.

    TRAINDX_DATA=... python benchmarks/xray2ct_limits.py --write
    TRAINDX_DATA=... python benchmarks/xray2ct_limits.py --size 32 --write

*Linear*: ridge regression from all pixels of both radiographs to all voxels, fitted on the 74 training patients alone
or with changed copies of them (radiographs rendered anew), the strength chosen by five-fold cross-validation over
training patients; and the same with the strength that is best on the 17 patients themselves, which no method may do.
Regression of the coefficients of all principal components is the same thing. *Span*: the truth, projected onto what a
linear method can express at all, sums of training volumes. *Low band*: the truth below a share of the Nyquist frequency
and nothing above.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traindx.recipes.kit.estimate import Score, Table
from traindx.recipes.xray2ct.assessment import assess, trivial
from traindx.recipes.xray2ct.cascade.augmentation import Augmentation
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.metrics import evaluated
from traindx.recipes.xray2ct.radiograph import mu_from_hu, to_network

RESULTS = Path(__file__).parent / "results"
STRENGTHS = tuple(10.0**exponent for exponent in range(-6, 2))  # shares of the kernel's mean eigenvalue
FOLDS = 5
SHOWN = ("psnr", "ssim", "mae lung", "mae soft", "mae bone", "energy 0.125-0.25", "energy 0.25-0.5", "energy 0.5-1")


class Ridge:
    """Ridge regression with more unknowns than examples, by the examples' inner products.

    Args:
        inputs: Shape ``(N, P)``.
        outputs: Shape ``(N, V)``.
    """

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        self.mean_in, self.mean_out = inputs.mean(dim=0), outputs.mean(dim=0)
        self.inputs, self.outputs = inputs - self.mean_in, outputs - self.mean_out
        self.kernel = (self.inputs @ self.inputs.T).double()

    def weights(self, inputs: Tensor, strength: float) -> Tensor:
        """How much of each example's output an input gets, ``(M, N)``."""
        return _solved(self.kernel, ((inputs - self.mean_in) @ self.inputs.T).double(), strength)

    def predict(self, inputs: Tensor, strength: float) -> Tensor:
        """Outputs, ``(M, V)``."""
        return self.mean_out + self.weights(inputs, strength).to(self.outputs) @ self.outputs

    def cross_validated(self, groups: Tensor, scored: Tensor) -> dict[float, float]:
        """Mean squared error of each strength on examples whose whole group was left out.

        Args:
            groups: Which examples belong together, ``(N,)`` integers.
            scored: Which of them count, ``(N,)`` booleans; the others only serve to fit.
        """
        gram = (self.outputs @ self.outputs.T).double()
        found = dict.fromkeys(STRENGTHS, 0.0)
        for fold in range(FOLDS):
            inside, held = groups % FOLDS != fold, (groups % FOLDS == fold) & scored
            inner, cross = self.kernel[inside][:, inside], self.kernel[held][:, inside]
            for strength in STRENGTHS:
                w = _solved(inner, cross, strength)
                own = gram.diagonal()[held]
                error = own - 2 * (w * gram[held][:, inside]).sum(1) + ((w @ gram[inside][:, inside]) * w).sum(1)
                found[strength] += float(error.sum())
        return {strength: total / int(scored.sum()) / self.outputs.shape[1] for strength, total in found.items()}


def _solved(kernel: Tensor, cross: Tensor, strength: float) -> Tensor:
    damping = strength * kernel.diagonal().mean() * torch.eye(len(kernel), dtype=kernel.dtype)
    return torch.linalg.solve(kernel + damping, cross.T).T


def projected(volumes: Tensor, span: Tensor) -> Tensor:
    """The nearest affine sums of the rows of ``span`` ``(N, V)`` to the rows of ``volumes`` ``(M, V)``."""
    mean = span.mean(dim=0)
    centred = span - mean
    gram, cross = (centred @ centred.T).double(), ((volumes - mean) @ centred.T).double()
    return mean + _solved(gram, cross, 1e-6).to(centred) @ centred


def low_band(volume: Tensor, share: float) -> Tensor:
    """What is below a share of the Nyquist frequency along every axis, of ``(B, 1, D, H, W)``."""
    spectrum = torch.fft.fftn(volume.double(), dim=(2, 3, 4))
    axes = [torch.fft.fftfreq(count).double().abs() * 2 for count in volume.shape[2:]]
    frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(dim=0)
    return torch.fft.ifftn(spectrum * (frequency <= share), dim=(2, 3, 4)).real.float()


def copies(data: Data, count: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The training patients as they are, then changed ``count`` times, each with its radiographs."""
    hu = data.train.patients.hu
    yield evaluated(hu), data.train.radiographs  # type: ignore[misc]
    augmentation, projector = Augmentation(), Projector(data.geometry, VIEWS)
    for _ in range(count):
        changed = torch.cat([augmentation(part) for part in torch.split(hu, 8)])
        mu = [mu_from_hu(part) for part in torch.split(changed, 8)]
        yield evaluated(changed), {view: to_network(torch.cat([projector(p, view) for p in mu])) for view in VIEWS}


def pixels(batch: dict[str, Any]) -> Tensor:
    return torch.cat([batch[view].flatten(1) for view in VIEWS], dim=1)


def measured(data: Data, count: int) -> tuple[Table, list[str]]:
    """All rows, and notes on what was chosen."""
    shape = data.train.patients.hu.shape[1:]
    drawn = list(copies(data, count))
    volumes = torch.cat([hu.flatten(1) for hu, _ in drawn])
    images = torch.cat([pixels(views) for _, views in drawn])
    patients = len(data.train)
    table: Table = {}
    notes = []

    def add(name: str, scores: dict[str, Score]) -> None:
        table[name] = scores
        print(f"{name}: {scores['psnr'].mean:.2f} dB", flush=True)

    val = torch.cat([pixels(batch) for batch in data.val_batches()])
    truth = evaluated(data.val.patients.hu)
    for name, examples in (("alone", patients), (f"and {count} changed copies of each", len(volumes))):
        ridge = Ridge(images[:examples], volumes[:examples])
        groups = torch.arange(examples) % patients
        errors = ridge.cross_validated(groups, torch.arange(examples) < patients)
        chosen = min(errors, key=errors.__getitem__)
        found = {strength: ridge.predict(val, strength).unflatten(1, shape) for strength in STRENGTHS}
        best = min(
            STRENGTHS, key=lambda s: float((evaluated(found[s]) - truth).square().mean(dim=(1, 2, 3, 4)).log().mean())
        )
        add(f"linear, {patients} patients {name}", score(data, found[chosen]))
        add(f"linear, {patients} patients {name}, strength chosen on the 17", score(data, found[best]))
        span = projected(truth.flatten(1), volumes[:examples]).unflatten(1, shape)
        add(f"oracle: truth in the span of {patients} patients {name}", score(data, span))
        notes.append(f"{patients} patients {name}: strength {chosen:g} by cross-validation, {best:g} best on the 17")
    for share in (0.25, 0.5):
        add(f"oracle: truth below {share:g} of Nyquist", score(data, low_band(truth, share)))
    for name, predict in trivial(data).items():
        add(name, assess(data, predict)[0])
    return table, notes


def score(data: Data, volumes: Tensor) -> dict[str, Score]:
    """Figures of volumes in the order of the validation patients."""
    parts = iter(torch.split(volumes, len(next(iter(data.val_batches()))["id"])))
    return assess(data, lambda batch: next(parts))[0]


def text(table: Table) -> str:
    lines = ["| | " + " | ".join(SHOWN) + " |", "|" + "---|" * (len(SHOWN) + 1)]
    for name, row in table.items():
        cells = []
        for figure in SHOWN:
            digits = 1 if figure.startswith("mae") else 2 if figure == "psnr" else 3
            cells.append(row[figure].estimate().text(digits))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, choices=(32, 64), default=64)
    parser.add_argument("--copies", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/xray2ct-limits[-32].md")
    given = parser.parse_args()
    torch.manual_seed(0)
    begun = time.process_time()
    data = prepare(DataOptions("openkbp", given.size, 74, 17))
    table, notes = measured(data, given.copies)
    notes.append(f"{(time.process_time() - begun) / 60:.1f} processor minutes")
    report = (
        f"`python benchmarks/xray2ct_limits.py --size {given.size} --copies {given.copies}`\n\n17 patients of OpenKBP, "
        f"{given.size} voxels a side, data range 2000 HU; PSNR over the volume in dB, mean absolute error in HU by "
        "tissue of the truth, energy over that of the truth by spatial frequency (share of Nyquist). Mean and 95 % "
        f"bootstrap interval over patients.\n\n{text(table)}\n\n" + "\n".join(f"* {note}" for note in notes) + "\n"
    )
    print(report)
    if given.write:
        name = "xray2ct-limits.md" if given.size == 64 else f"xray2ct-limits-{given.size}.md"
        (RESULTS / name).write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
