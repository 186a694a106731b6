"""E810 from the check to the rule: is what is deployed said by the network at all?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.network.model_swap import model_swap
from traindx.evidence.deployment import ModelSwap
from traindx.finding import Standing


class Net(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv = nn.Conv3d(1, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def batch(seed=0, size=12):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 1, size, size, size, generator=generator)
    return {"image": image, "mask": (image > 0.5).float()}


def case(predict, model=Net, **parts):
    return dx.Case(model=model, train=[batch()], target=lambda b: b["mask"], predict=predict).replace(**parts)


def found(made):
    return findings(run_check(made, model_swap), "E810")


@pytest.mark.parametrize(
    "predict",
    [
        lambda m, b: torch.sigmoid(m(b["image"])),
        lambda m, b: (torch.sigmoid(m(b["image"])) > 0.5).float(),
        lambda m, b: m(b["image"]),
        lambda m, b: b["image"] + 0.1 * m(b["image"]),
        lambda m, b: m(b["image"]).clamp(0, 1),
    ],
    ids=["probability", "mask", "logit", "residual", "clamped"],
)
def test_healthy_paths_are_left_alone(predict):
    assert found(case(predict)) == []


def test_a_second_sigmoid_is_demonstrated_and_named():
    (finding,) = found(case(lambda m, b: torch.sigmoid(torch.sigmoid(m(b["image"])))))
    assert finding.standing is Standing.DEMONSTRATED
    assert "second sigmoid" in finding.message
    assert 0.5 <= finding.numbers["low"] <= finding.numbers["high"] <= 0.7311
    assert finding.location.file.endswith("test_e810.py")


def test_a_constant_in_place_of_the_output_is_demonstrated():
    (finding,) = found(case(lambda m, b: 0 * m(b["image"]) + 0.3))
    assert "does not depend on the model" in finding.message


def windows(starts, border=1.0):
    def predict(m, b):
        image, size = b["image"], 8
        weight = torch.ones(size)
        weight[0] = weight[-1] = border
        weight = weight[:, None, None] * weight[None, :, None] * weight[None, None]
        total, norm = torch.zeros_like(image), torch.zeros(image.shape[2:])
        for i in starts:
            for j in starts:
                for k in starts:
                    place = (slice(i, i + size), slice(j, j + size), slice(k, k + size))
                    total[(..., *place)] += torch.sigmoid(m(image[(..., *place)])) * weight
                    norm[place] += weight
        return total / (norm + 1e-8)

    return predict


def test_the_windows_end_is_demonstrated_with_the_number_of_planes():
    (finding,) = found(case(windows((0, 2))))
    assert finding.message.count("last 2 of 12 planes") == 3
    assert "size - window" in finding.remedy


def test_zero_weight_on_the_border_is_demonstrated_on_both_sides():
    (finding,) = found(case(windows((0, 4), border=0.0)))
    assert finding.message.count("first 1 of 12") == 3
    assert finding.message.count("last 1 of 12") == 3
    assert "above zero" in finding.remedy


def test_windows_that_cover_everything_are_left_alone():
    assert found(case(windows((0, 4)))) == []


def test_a_body_mask_made_from_the_image_is_left_alone():
    """A near miss: outside the body the output is 0 for any model, and the body does not touch the border."""
    inside = torch.zeros(1, 1, 12, 12, 12)
    inside[..., 3:9, 3:9, 3:9] = 1

    def masked():
        b = batch()
        b["image"] = b["image"] * inside
        return b

    made = case(lambda m, b: torch.sigmoid(m(b["image"])) * (b["image"].abs() > 1e-6))
    assert found(made.replace(train=[masked()])) == []


def test_several_classes_are_judged_by_the_likeliest():
    def target(b):
        return torch.cat([1 - b["mask"], b["mask"]], dim=1)

    def twice(m, b):
        again = torch.sigmoid(torch.softmax(m(b["image"]), 1)[:, 1:])
        return torch.cat([1 - again - 1e-6, again], 1)

    made = case(lambda m, b: torch.softmax(m(b["image"]), 1), model=lambda: Net(2)).replace(target=target)
    assert found(made) == []
    assert "second sigmoid" in found(made.replace(predict=twice))[0].message


def test_a_copy_inside_the_model_counts_as_the_model():
    """A near miss: the module that predicts is not the outermost one."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.average = Net(), Net()

        def forward(self, x):
            return self.net(x)

    assert found(case(lambda m, b: torch.sigmoid(m.average(b["image"])), model=Two)) == []


def test_shares_agree_with_a_count_by_hand():
    def half(m, b):
        out = torch.sigmoid(m(b["image"]))
        out[:, :, :3] = 0.25
        return out

    record = run_check(case(half), model_swap).last(ModelSwap)
    assert record.same == pytest.approx(3 / 12)
    assert record.planes == ((3, 0), (0, 0), (0, 0))
    assert record.value == 0.25


def test_hooks_and_random_state_are_left_as_they_were():
    from torch.nn.modules import module as global_hooks

    torch.manual_seed(3)
    state, hooks = torch.get_rng_state(), len(global_hooks._global_forward_hooks)
    run_check(case(lambda m, b: m(b["image"])), model_swap)
    assert torch.equal(state, torch.get_rng_state())
    assert len(global_hooks._global_forward_hooks) == hooks
