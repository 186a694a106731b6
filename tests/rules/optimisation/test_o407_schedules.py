"""O407: schedules that a run did not get to, beside those that are stepped too rarely to do anything."""

from __future__ import annotations

from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, StepLR
    from torch.optim.swa_utils import SWALR

    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)

    def train(steps):
        for _ in range(steps):
            x = torch.randn(8, 4)
            opt.zero_grad()
            (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
            opt.step()
"""


def said(script, tail: str):
    seen = script(HEAD + tail)
    assert seen.diagnosis.errors == ()
    return seen.found("O407")


def test_a_schedule_that_nothing_steps_is_demonstrated(script):
    (finding,) = said(script, "\n    schedule = StepLR(opt, 10)\n    train(40)\n")
    assert finding.standing is Standing.DEMONSTRATED
    assert "never stepped" in finding.message


def test_weight_averaging_that_begins_later_was_not_reached(script):
    tail = """
    schedule, averaging = StepLR(opt, 2), None
    swa = SWALR(opt, swa_lr=0.005)
    for epoch in range(4):
        train(10)
        if epoch > 20:
            swa.step()
        else:
            schedule.step()
    """
    assert said(script, tail) == []


def test_a_rate_that_another_schedule_moves_does_not_stay(script):
    tail = """
    schedules = [StepLR(opt, 1), CosineAnnealingLR(opt, 50)]
    for epoch in range(4):
        train(10)
        schedules[0].step()
    """
    assert said(script, tail) == []


def test_a_warm_up_stepped_too_rarely_to_end_is_demonstrated(script):
    tail = """
    schedule = LinearLR(opt, start_factor=0.01, total_iters=40)
    for epoch in range(4):
        train(15)
        schedule.step()
    """
    (finding,) = said(script, tail)
    assert finding.standing is Standing.DEMONSTRATED
    assert "warming up" in finding.message


def test_a_trial_run_is_too_short_for_its_warm_up(script):
    tail = """
    schedule = LinearLR(opt, start_factor=0.001, total_iters=1000)
    for iteration in range(60):
        train(1)
        schedule.step()
    """
    assert said(script, tail) == []


def test_a_warm_up_of_some_epochs_is_not_over_after_fewer(script):
    tail = """
    schedule = LinearLR(opt, start_factor=0.01, total_iters=10)
    for epoch in range(3):
        train(12)
        schedule.step()
    """
    assert said(script, tail) == []


TRAINER = """
class Trainer:
    def __init__(self, lr_schedule):
        self.lr_schedule = lr_schedule

    def fit(self, train, first):
        for epoch in range(4):
            train(10)
            if epoch >= first:
                {step}
"""


def handed_on(script, folder, step: str):
    (folder / "trainer.py").write_text(TRAINER.format(step=step))
    return said(
        script,
        "\n    from trainer import Trainer\n    lr_schedule = StepLR(opt, 2)\n"
        "    Trainer(lr_schedule).fit(train, first=10)\n",
    )


def test_a_schedule_that_another_file_steps_later_was_not_reached(script, tmp_path):
    assert handed_on(script, tmp_path, "self.lr_schedule.step()") == []


def test_a_schedule_that_another_file_only_mentions_is_demonstrated(script, tmp_path):
    (finding,) = handed_on(script, tmp_path, "pass  # self.lr_schedule.step()")
    assert finding.standing is Standing.DEMONSTRATED
