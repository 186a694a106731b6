"""M207: parts that cannot learn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case
from patients.sitting import findings, line_at, run_check
from patients.volumes import images
from traindx.checks.loss.gradients import gradients
from traindx.finding import Standing


class TwoParts(nn.Module):
    def __init__(self, how="joined"):
        super().__init__()
        self.how = how
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.decoder = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Dropout(0.2), nn.ReLU(), nn.Conv2d(8, 1, 1))
        self.spare = nn.Conv2d(8, 8, 3)
        if how.startswith("frozen"):
            self.encoder.requires_grad_(False)
        if how.startswith("frozen, loaded"):
            generator = torch.Generator().manual_seed(0)
            for parameter in self.encoder.parameters():
                parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x):
        h = self.encoder(x) if self.how != "frozen, loaded, bypassed" else x.expand(-1, 8, -1, -1)
        if self.how == "detached":
            h = h.detach()
        if self.how == "rounded":
            h = h.round()
        if self.how == "sometimes" and torch.rand(()) < 0.5:
            h = torch.zeros_like(h)
        y = self.decoder(h)
        return y if self.how == "spare unused" else y + 0.1 * self.spare(h).mean()


def case(how):
    x = images(4, 16)
    return dx.Case(
        model=lambda: TwoParts(how),
        train=[{"x": x, "y": x.flip(3)}],
        loss=lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )


def found(how):
    return findings(run_check(case(how), gradients), "M207")


def test_a_detached_encoder_is_demonstrated():
    for how in ("detached", "rounded"):
        (finding,) = found(how)
        assert finding.standing is Standing.DEMONSTRATED
        assert "encoder" in finding.message
        assert line_at(finding.location) == "class TwoParts(nn.Module):"


def test_an_encoder_frozen_at_random_is_demonstrated_and_a_loaded_one_is_not():
    (finding,) = found("frozen")
    assert finding.standing is Standing.SUSPECTED  # 9 % of this model
    assert "random weights" in finding.message
    assert found("frozen, loaded") == []


def test_an_unused_part_is_suspected():
    (finding,) = found("spare unused")
    assert finding.standing is Standing.SUSPECTED
    assert "spare" in finding.message


def test_healthy_and_stochastic_parts_are_left_alone():
    assert found("joined") == []
    assert found("sometimes") == []
    assert (
        findings(run_check(denoising_case(), gradients), "M207", "L303") == []
    )  # zero-initialised gates block at the start


def test_a_teacher_that_copies_a_student_is_left_alone():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Conv2d(1, 1, 3, padding=1)
            self.teacher = nn.Conv2d(1, 1, 3, padding=1)
            self.teacher.load_state_dict(self.net.state_dict())
            self.teacher.requires_grad_(False)

        def forward(self, x):
            return self.net(x) + self.teacher(x).detach()

    assert findings(run_check(case("joined").replace(model=Student), gradients), "M207") == []


def test_the_model_is_given_back_as_it_was():
    from traindx.checks import CheckContext
    from traindx.checks.probing import awake_model
    from traindx.evidence import Evidence

    ctx = CheckContext(case("detached"), Evidence())
    model = awake_model(ctx)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients.function(ctx)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_loaded_part_that_is_never_called_is_suspected():
    """A cascade whose later stage never gets the earlier one's volume carries that stage along for nothing."""
    parts = {"frozen, loaded, bypassed": 1, "frozen, loaded": 0}
    for how, count in parts.items():
        said = [finding for finding in wide(how) if "never called" in finding.message]
        assert len(said) == count
        assert all(finding.standing is Standing.SUSPECTED for finding in said)


def wide(how):
    """With an encoder that is more than a tenth of the network."""

    def model():
        made = TwoParts(how)
        made.spare = nn.Conv2d(8, 8, 1)
        return made

    return findings(run_check(case(how).replace(model=model), gradients), "M207")
