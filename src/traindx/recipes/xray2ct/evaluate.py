"""``traindx evaluate xray2ct``: PSNR and SSIM on held-out volumes, beside baselines that know nothing."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from traindx.recipes.kit.contract import CONTRACT_KEY, compare
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct import contract
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.metrics import evaluated, psnr_hu, ssim_hu
from traindx.recipes.xray2ct.sampling import draw

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr_hu, "ssim": ssim_hu}


@dataclass(frozen=True)
class Figures:
    """One metric of one predictor over all volumes.

    Attributes:
        values: One a volume.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over volumes."""
        return sum(self.values) / len(self.values)

    @property
    def margin(self) -> float:
        """Half-width of the 95 % t-interval of the mean; NaN for fewer than two volumes."""
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return math.nan
        variance = sum((value - self.mean) ** 2 for value in self.values) / (n - 1)
        return float(t.ppf(0.975, n - 1)) * math.sqrt(variance / n)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(
        prog="traindx evaluate xray2ct",
        description="Volumetric PSNR (data range 2000 HU) and SSIM on validation volumes, beside the mean training "
        "volume and the training volume with the most similar radiographs.",
        epilog="Example: traindx evaluate xray2ct --checkpoint runs/xray2ct/best.ckpt",
    )
    made.add_argument("--checkpoint", type=Path, required=True, help="checkpoint of traindx train xray2ct")
    made.add_argument(
        "--source", choices=("auto", "embedded", "openkbp"), default="auto", help="where volumes are from"
    )
    made.add_argument("--train", type=int, default=48, help="most training volumes, for the baselines (default: 48)")
    made.add_argument("--val", type=int, default=8, help="most validation volumes (default: 8)")
    made.add_argument("--samples", type=int, default=1, help="volumes drawn and averaged (default: 1)")
    made.add_argument("--sampling-steps", type=int, default=8, help="DDIM steps (default: 8)")
    made.add_argument("--seed", type=int, default=0, help="seed of population and noise (default: 0)")
    made.add_argument("--cache", help="folder for rendered radiographs")
    made.add_argument("--json", action="store_true", help="print the figures as JSON")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: The checkpoint cannot be used, or was made for other volumes.
    """
    options = parser().parse_args(list(argv))
    checkpoint = contract.read(options.checkpoint)
    saved = checkpoint[CONTRACT_KEY]
    geometry, window = contract.geometry_from(saved), contract.window_from(saved)
    data = prepare(
        DataOptions(
            source=options.source,
            size=geometry.shape[0],
            train=options.train,
            val=options.val,
            seed=options.seed,
            window=window,
            cache=options.cache,
        )
    )
    here = {"geometry": contract.describe_geometry(data.geometry)}
    compare({"geometry": saved["geometry"]}, here, options.checkpoint)
    network = contract.network_from(checkpoint)
    process = Process.of(saved, options.sampling_steps)
    torch.manual_seed(options.seed)

    def model(batch: dict[str, Tensor]) -> Tensor:
        drawn = [draw(process, network, batch, geometry.shape) for _ in range(options.samples)]
        return window.decode(torch.stack(drawn).mean(dim=0))

    table = {"model": measure(data, model), **baselines(data)}
    if options.json:
        print(json.dumps({name: {m: figures.values for m, figures in row.items()} for name, row in table.items()}))
    else:
        print(text(table, len(data.val)))
    return 0


def measure(data: Data, predict: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Figures]:
    """All metrics of a predictor from batches to HU, volume by volume."""
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for batch in data.val_batches():
        for prediction, truth in zip(predict(batch), batch["hu"], strict=True):
            for name, metric in METRICS.items():
                values[name].append(float(metric(prediction[None], truth[None])))
    return {name: Figures(tuple(found)) for name, found in values.items()}


def baselines(data: Data) -> dict[str, dict[str, Figures]]:
    """The mean training volume, and the training volume whose radiographs are nearest in mean squared difference."""
    known = evaluated(data.train.patients.hu)
    mean = known.mean(dim=0, keepdim=True)

    def nearest(batch: dict[str, Tensor]) -> Tensor:
        distance = sum(
            torch.cdist(batch[view].flatten(1), data.train.radiographs[view].flatten(1)).square() for view in VIEWS
        )
        assert isinstance(distance, Tensor)
        return known[distance.argmin(dim=1)]

    return {
        "mean volume": measure(data, lambda batch: mean.expand_as(batch["hu"])),
        "nearest radiographs": measure(data, nearest),
    }


def text(table: dict[str, dict[str, Figures]], count: int) -> str:
    """The figures as a table: mean and half-width of the 95 % interval over volumes."""
    lines = [f"{'':22}{'PSNR dB':>18}{'SSIM':>20}   ({count} volumes, range 2000 HU, mean and 95 % interval)"]
    for name, row in table.items():
        psnr, ssim = row["psnr"], row["ssim"]
        lines.append(f"{name:22}{psnr.mean:>10.2f} ± {psnr.margin:<5.2f}{ssim.mean:>13.3f} ± {ssim.margin:<5.3f}")
    return "\n".join(lines)
