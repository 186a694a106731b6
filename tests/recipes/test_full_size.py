"""Presets for one GPU of 24 and one of 80 GB: their networks learn, and what ``--plan`` says of them."""

from __future__ import annotations

import pytest
import torch
from lightning import LightningModule
from torch import nn

from traindx.errors import UsageError
from traindx.recipes import registry
from traindx.recipes.concepts import settings as concepts
from traindx.recipes.concepts import workloads as concepts_workloads
from traindx.recipes.fusion import train as fusion
from traindx.recipes.fusion import workloads as fusion_workloads
from traindx.recipes.fusion.module import SeededWindows
from traindx.recipes.kit import cost
from traindx.recipes.kit.footprint import Footprint, Operation, footprint
from traindx.recipes.kit.speed import Speed, lay_out
from traindx.recipes.segmentation import train as segmentation
from traindx.recipes.segmentation import workloads as segmentation_workloads
from traindx.recipes.xray2ct.cascade import train as cascade
from traindx.recipes.xray2ct.cascade import workloads as cascade_workloads

GPUS = sorted(cost.DEVICES)
SMALLER = {  # all channels, few pixels, one or two images
    "fusion/gpu24": ["--data.size=32", "--data.batch_size=1", "--trainer.precision=32-true"],
    "fusion/gpu80": ["--data.size=16", "--data.depth=16", "--data.batch_size=1", "--trainer.precision=32-true"],
    "concepts/gpu24": ["--model.architecture.size=64", "--data.batch_size=2"],
    "concepts/gpu80": ["--model.architecture.size=64", "--data.batch_size=2"],
    "segmentation/gpu24": ["--data.patch=[32, 64, 64]", "--data.batch=1"],
    "segmentation/gpu80": ["--data.patch=[32, 64, 64]", "--data.batch=1"],
}
TIMES_SMALLER = 8  # cascades: every stage


def workloads_of(recipe, preset, *, small=False):
    """Workloads of a preset, in full or with all channels on few pixels."""
    if recipe in cascade_methods:
        method = cascade_methods[recipe]
        stages = [cost.settings(run.settings, []) for run in cascade.runs_of(method, preset, cascade.PRESETS)]
        for values in stages if small else ():
            values["data"] |= {"size": values["data"]["size"] // TIMES_SMALLER, "batch_size": 1}
            values["model"]["size"] //= TIMES_SMALLER
            values["trainer"]["precision"] = "32-true"  # few processors multiply bfloat16
        return cascade_workloads.workloads(method, stages)
    folder, made = {
        "fusion": (fusion.PRESETS, fusion_workloads.workloads),
        "concepts": (concepts.PRESETS, concepts_workloads.workloads),
        "segmentation": (segmentation.PRESETS, segmentation_workloads.workloads),
    }[recipe]
    return made(cost.settings(folder / f"{preset}.yaml", SMALLER[f"{recipe}/{preset}"] if small else []))


cascade_methods = {"xray2ct_regression": "regression", "xray2ct_cascade": "diffusion"}
QUICK = {("concepts", GPUS[0])}
RECIPES = ("concepts", "fusion", "segmentation", *cascade_methods)


@pytest.mark.parametrize(
    ("recipe", "preset"),
    [
        pytest.param(recipe, preset, marks=[] if (recipe, preset) in QUICK else pytest.mark.slow)
        for recipe in RECIPES
        for preset in GPUS
    ],
)
def test_every_preset_takes_a_step_in_which_every_parameter_moves(recipe, preset):
    torch.manual_seed(0)
    for workload in workloads_of(recipe, preset, small=True):
        module = workload.module()
        if recipe == "segmentation":  # it applies the precision of its plan by itself
            module.plan = module.plan.model_copy(update={"precision": "32-true"})
        learning = {name: p for name, p in module.named_parameters() if p.requires_grad}
        optimizer = workload.optimizer(learning.values())
        before = {name: p.detach().clone() for name, p in learning.items()}
        with workload.autocast():
            loss = workload.loss(module)
        assert bool(torch.isfinite(loss))
        loss.backward()
        optimizer.step()
        still = [name for name, p in learning.items() if p.grad is None or torch.equal(p, before[name])]
        assert not still, f"{workload.name}: {still}"


@pytest.mark.slow
@pytest.mark.parametrize("preset", GPUS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_preset_fits_its_device_and_uses_a_third_of_it(recipe, preset):
    device = cost.DEVICES[preset]
    asked = [cost.needed(footprint(workload)) for workload in workloads_of(recipe, preset)]
    assert max(asked) <= device.memory
    assert max(asked) > device.memory / 3


def test_the_time_of_a_step_is_the_slower_of_arithmetic_and_traffic():
    device = cost.Device("toy", 1, half=4e12, single=1e12, bandwidth=1e9)
    operations = (
        Operation(10**12, 0, half=False),  # 1 s at full rate
        Operation(4 * 10**12, 10, half=True),  # 1 s
        Operation(10, 3 * 10**9, half=True),  # 3 s
        Operation(0, 0, half=False),  # only launched
    )
    found = Footprint(0, 0, 0, 0, 0, 0, operations)
    assert cost.seconds(found, device, utilisation=0.5) == pytest.approx(2 * (1 + 1 + 3) + cost.LAUNCH)


def test_a_plan_is_printed_and_nothing_is_trained(tmp_path, capsys):
    out = tmp_path / "run"
    more = ["--data.batch_size", "3", "--model.architecture.size=64", "--trainer.precision=bf16-mixed"]
    assert registry()["concepts"].train(["--preset", "quick", "--out", str(out), "--plan", *more]) == 0
    said = capsys.readouterr().out
    assert "3 x 1 x 64 x 64 | bf16-mixed" in said
    assert said.count("| yes |") == len(cost.DEVICES)
    assert "predictions and nothing was measured" in said
    assert not out.exists()


def test_options_that_a_plan_cannot_use_are_named(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("model: {architecture: {size: 8}}\n")
    values = cost.settings(config, ["--model.architecture.size", "16", "--data.x=[1, 2]"])
    assert values == {"model": {"architecture": {"size": 16}}, "data": {"x": [1, 2]}, "trainer": {}}
    with pytest.raises(UsageError, match="--optimiser"):
        cost.settings(config, ["--optimiser=x"])
    with pytest.raises(UsageError, match="no value"):
        cost.settings(config, ["--data.x"])


class Both(nn.Module):
    """Convolutions of two and of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.deep = nn.Conv2d(2, 4, 3), nn.Conv3d(2, 4, 3)

    def forward(self, x):
        return self.flat(x[:, :, 0]).mean() + self.deep(x).mean()


def test_layout_and_compilation_change_neither_names_nor_results():
    torch.manual_seed(0)
    network, x = Both(), torch.randn(2, 2, 5, 6, 6)
    before, names = network(x), list(network.state_dict())
    lay_out(network)
    assert network.flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.deep.weight.is_contiguous(memory_format=torch.channels_last_3d)
    module = LightningModule()
    module.network = network
    Speed(compile=True, channels_last=True, backend="eager").setup(None, module, "fit")
    torch.testing.assert_close(network(x), before)
    assert list(network.state_dict()) == names


def test_processes_share_the_windows_of_an_epoch_out_among_themselves():
    class Windows:
        def __len__(self) -> int:
            return 12

        def item(self, index, generator=None):
            return {"index": index}

    alone = [batch["index"].tolist() for batch in SeededWindows(Windows(), 4, 0, 3)]
    ranks = [
        [batch["index"].tolist() for batch in SeededWindows(Windows(), 2, 0, 3, rank=rank, world=2)]
        for rank in range(2)
    ]
    assert [a + b for a, b in zip(*ranks, strict=True)] == alone
    assert sorted(index for batch in alone for index in batch) == list(range(12))
