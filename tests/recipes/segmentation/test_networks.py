"""Networks of a plan: shapes, strides, and what they are made of."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet, UNet
from torch import nn

import untrained
from traindx.errors import InputError
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.model import Architecture, build_network, class_of, network_options
from traindx.recipes.segmentation.planning import Plan

EVEN = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
THICK = ((1, 1, 1), (1, 2, 2), (2, 2, 2))


def plan_of(strides: tuple[tuple[int, int, int], ...] = EVEN) -> Plan:
    return Plan(
        labels=LabelMeaning.parse({"background": 0, "liver": 1, "lesion": 2}),
        patch=(16, 16, 16),
        channels=1,
        normalisation=(untrained.ZSCORE,),
        kernels=((3, 3, 3),) * len(strides),
        strides=strides,
        filters=(4, 8, 16),
    )


@pytest.mark.parametrize("strides", [EVEN, THICK], ids=["even", "thick slices"])
@pytest.mark.parametrize(("architecture", "kind"), [("dynunet", DynUNet), ("residual", DynUNet), ("unet", UNet)])
def test_logits_lie_on_the_grid_of_the_image(
    architecture: Architecture, kind: type[nn.Module], strides: tuple[tuple[int, int, int], ...]
) -> None:
    network = build_network(plan_of(strides), architecture=architecture)
    assert type(network) is kind
    assert type(network).__name__ == class_of(architecture)
    assert network(torch.randn(2, 1, 8, 16, 24)).shape == (2, 3, 8, 16, 24)


@pytest.mark.parametrize(("strides", "halved"), [(EVEN, (4, 8, 12)), (THICK, (8, 8, 12))])
def test_the_first_convolution_of_unet_takes_the_first_stride_of_the_plan(
    strides: tuple[tuple[int, int, int], ...], halved: tuple[int, int, int]
) -> None:
    network = build_network(plan_of(strides), architecture="unet")
    first = next(one for one in network.modules() if isinstance(one, nn.Conv3d))
    assert first(torch.randn(1, 1, 8, 16, 24)).shape[2:] == halved


def test_no_statistics_of_a_batch_are_kept() -> None:
    network = build_network(plan_of(), architecture="unet").eval()
    one, two = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 1, 8, 8, 8)
    assert torch.allclose(network(torch.cat([one, two]))[:1], network(one), atol=1e-5)
    assert not list(network.buffers())


def test_unet_has_one_output() -> None:
    with pytest.raises(InputError, match="deep_supervision is 2"):
        network_options(plan_of(), architecture="unet", deep_supervision=2, dropout=0.0)
