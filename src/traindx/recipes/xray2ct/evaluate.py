"""``traindx evaluate xray2ct``: PSNR and SSIM on held-out volumes, beside baselines that know nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import CONTRACT_KEY, compare
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.estimate import Score, Table, as_json, write_scores
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.xray2ct import contract
from traindx.recipes.xray2ct.assessment import trivial
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.metrics import psnr_hu, ssim_hu
from traindx.recipes.xray2ct.sampling import draw
from traindx.recipes.xray2ct.train import MOVED, ROOT, SOURCES, SPLIT

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr_hu, "ssim": ssim_hu}


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "evaluate",
        "xray2ct",
        "Volumetric PSNR (data range 2000 HU) and SSIM on validation volumes, beside the mean training volume and the "
        "training volume with the most similar radiographs.",
        "--checkpoint runs/xray2ct",
    )
    add_data(made, train=48, val=8)
    kit.sampling(kit.model(made, device=False), 8, "volumes")
    kit.results(made, "scores.json", json="the figures of every patient")
    return made


def add_data(made: argparse.ArgumentParser, *, train: int, val: int) -> None:
    """Where volumes are from, and how many."""
    group = kit.data(made, SOURCES, root=ROOT)
    group.set_defaults(source="auto")
    group.add_argument("--split", help=SPLIT)
    group.add_argument("--train", type=int, default=train, help=f"most training volumes, for the baselines ({train})")
    group.add_argument("--val", type=int, default=val, help=f"most validation volumes (default: {val})")
    group.add_argument("--cache", help="folder for rendered radiographs")


def data_of(options: argparse.Namespace, geometry: ConeGeometry, window: HounsfieldWindow, batch_size: int) -> Data:
    """The volumes that :func:`add_data` asks for, on the grid of a checkpoint.

    Raises:
        InputError: They cannot be used, or their geometry is another.
    """
    found = prepare(
        DataOptions(
            source=options.source,
            size=geometry.shape[0],
            train=options.train,
            val=options.val,
            seed=options.seed,
            batch_size=batch_size,
            window=window,
            cache=options.cache,
            folder=str(options.root) if options.root is not None else None,
            split=options.split,
        )
    )
    wanted, here = ({"geometry": contract.describe_geometry(one)} for one in (geometry, found.geometry))
    compare(wanted, here, options.checkpoint)
    return found


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: The checkpoint cannot be used, or was made for other volumes.
    """
    kit.refuse_old(argv, MOVED)
    options = parser().parse_args(list(argv))
    checkpoint = contract.read(checkpoint_in(options.checkpoint))
    saved = checkpoint[CONTRACT_KEY]
    geometry, window = contract.geometry_from(saved), contract.window_from(saved)
    data = data_of(options, geometry, window, DataOptions().batch_size)
    network = contract.network_from(checkpoint)
    process = Process.of(saved, options.sampling_steps)
    torch.manual_seed(options.seed)

    def model(batch: dict[str, Tensor]) -> Tensor:
        drawn = [draw(process, network, batch, geometry.shape) for _ in range(options.samples)]
        return window.decode(torch.stack(drawn).mean(dim=0))

    table: Table = {"model": measure(data, model), **{name: measure(data, of) for name, of in trivial(data).items()}}
    write_scores(options.out, table)
    print(as_json(table) if options.json else text(table, len(data.val)))
    return 0


def measure(data: Data, predict: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Score]:
    """All metrics of a predictor from batches to HU, volume by volume."""
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for batch in data.val_batches():
        for prediction, truth in zip(predict(batch), batch["hu"], strict=True):
            for name, metric in METRICS.items():
                values[name].append(float(metric(prediction[None], truth[None])))
    return {name: Score(tuple(found)) for name, found in values.items()}


def text(table: Table, count: int) -> str:
    """The figures as a table: mean and 95 % interval over volumes."""
    lines = [f"{'':22}{'PSNR dB':>24}{'SSIM':>24}   ({count} volumes, range 2000 HU, mean and 95 % interval)"]
    for name, row in table.items():
        lines.append(f"{name:22}{row['psnr'].estimate().text(2):>24}{row['ssim'].estimate().text(3):>24}")
    return "\n".join(lines)
