"""D113 on cases that say what their label values mean, from the check to the rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.case_parts import Labels
from traindx.checks.data.label_values import label_values
from traindx.evidence import NotExamined
from traindx.evidence.labels import BatchLabels, UnlabelledGradient
from traindx.finding import Standing


class Net(nn.Module):
    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def batch(values=(0, 1, 2), shape=(2, 1, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor(values)[torch.randint(0, len(values), shape, generator=generator)]
    return {"image": torch.randn(shape, generator=generator), "label": label}


def bce(model, b, hide=True, target=lambda label: (label > 0).float()):
    label = b["label"]
    loss = nn.functional.binary_cross_entropy_with_logits(model(b["image"]), target(label), reduction="none")
    keep = (label != 2).float() if hide else torch.ones_like(loss)
    return {"bce": (loss * keep).sum() / keep.sum()}


def case(loss, batches=None, ignore=(2.0,), classes=None, channels=1):
    return dx.Case(
        model=lambda: Net(channels),
        train=batches or [batch()],
        loss=loss,
        parts=(Labels(lambda b: b["label"], classes or {0: "background", 1: "organ"}, ignore),),
    )


def found(made):
    return findings(run_check(made, label_values), "D113")


def test_a_masked_loss_on_declared_values_is_left_alone():
    assert found(case(bce)) == []


@pytest.mark.parametrize(
    ("target", "direction"),
    [(lambda label: (label > 0).float(), "foreground"), (lambda label: (label == 1).float(), "background")],
)
def test_unlabelled_voxels_that_are_trained_are_demonstrated_with_the_direction(target, direction):
    (finding,) = found(case(lambda model, b: bce(model, b, hide=False, target=target)))
    assert finding.standing is Standing.DEMONSTRATED
    assert f"pushes towards {direction}" in finding.message
    assert finding.proposals[0].treatment == "ignore-value"
    assert finding.proposals[0].parameters == {"value": 2.0}
    assert finding.location is not None
    assert finding.location.file.endswith("test_d113_unlabelled.py")


def test_a_class_map_output_names_its_channel():
    def cross_entropy(model, b):
        return nn.functional.cross_entropy(model(b["image"]), b["label"][:, 0].clamp(max=1))

    (finding,) = found(case(cross_entropy, channels=2))
    assert "pushes towards output channel 1" in finding.message


def test_torchs_own_ignore_index_is_left_alone():
    def cross_entropy(model, b):
        return nn.functional.cross_entropy(model(b["image"]), b["label"][:, 0], ignore_index=2)

    assert found(case(cross_entropy, channels=2)) == []


def test_only_the_term_that_leaks_is_named():
    def loss(model, b):
        return {**bce(model, b), "variance": -0.1 * torch.sigmoid(model(b["image"])).var()}

    (finding,) = found(case(loss))
    assert "'variance'" in finding.message


def test_a_term_that_pools_reaches_a_voxel_beyond_and_is_left_alone():
    """A near miss: the mask is applied, and a smoothness term looks at neighbours of labelled voxels, weakly."""

    def loss(model, b):
        keep = (b["label"] != 2).float()
        p = torch.sigmoid(model(b["image"]))
        smooth = (nn.functional.avg_pool2d(p, 3, 1, 1) * keep).mean()
        return {**bce(model, b), "smooth": 1e-3 * smooth}

    wide = batch()
    wide["label"] = torch.zeros(2, 1, 8, 8, dtype=torch.long)
    wide["label"][:, :, :4] = 2
    total = [f for f in found(case(loss, [wide])) if "'smooth'" not in f.message]
    assert total == []


@pytest.mark.parametrize(("values", "said"), [((0, 255), "255"), ((0, 1, 7), "7")])
def test_undeclared_values_are_demonstrated(values, said):
    (finding,) = found(case(bce, [batch(values)]))
    assert finding.standing is Standing.DEMONSTRATED
    assert said in finding.message
    assert ("Map 255" in finding.remedy) == (said == "255")


def test_interpolated_labels_are_demonstrated_once():
    b = batch((0, 1))
    b["label"] = nn.functional.avg_pool2d(b["label"].float(), 3, 1, 1)
    (finding,) = found(case(bce, [b]))
    assert "interpolated" in finding.message


def test_shares_add_up_to_an_independent_count():
    evidence = run_check(case(bce, [batch(), batch((0, 1))]), label_values)
    record = evidence.last(BatchLabels)
    assert record is not None
    together = torch.cat([batch()["label"], batch((0, 1))["label"]])
    for entry in record.values:
        assert entry.share == pytest.approx(float((together == entry.value).double().mean()))
    assert sum(entry.share for entry in record.values) == pytest.approx(1)


def test_the_gradient_is_the_one_that_autograd_gives():
    made = case(lambda model, b: bce(model, b, hide=False))
    record = run_check(made, label_values).of(UnlabelledGradient)[0]
    torch.manual_seed(0)
    model, b = Net(), batch()
    output = model(b["image"])
    output.retain_grad()
    nn.functional.binary_cross_entropy_with_logits(output, (b["label"] > 0).float()).backward()
    hidden = b["label"] == 2
    assert record.unlabelled == pytest.approx(float(output.grad.abs()[hidden].mean()), rel=1e-4)
    assert record.labelled == pytest.approx(float(output.grad.abs()[~hidden].mean()), rel=1e-4)


def test_an_output_without_a_voxel_for_each_label_is_not_examined():
    def pooled(model, b):
        return model(b["image"]).mean()

    class Pooled(Net):
        def forward(self, x):
            return nn.functional.avg_pool2d(super().forward(x), 4)

    made = case(pooled).replace(model=Pooled)
    evidence = run_check(made, label_values)
    assert "no voxel for each label" in evidence.of(NotExamined)[0].reason


def test_the_model_and_the_random_state_are_left_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run_check(case(lambda model, b: bce(model, b, hide=False)), label_values)
    assert torch.equal(before, torch.get_rng_state())
