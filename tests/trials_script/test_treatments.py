"""Every runtime treatment gives bit by bit what the same script gives when its source is edited by hand."""

from __future__ import annotations

from typing import Any

import pytest

from traindx.trials.script.pairing import ArmResult
from trials_script.conftest import RunArm, edited, line_of, values_of
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT


def same(one: ArmResult, other: ArmResult) -> bool:
    return (one.weights, one.buffers) == (other.weights, other.buffers) and bool(one.weights)


def at(source: str, text: str, treatment: str, **fields: Any) -> dict[str, Any]:
    return {"treatment": treatment, "key": treatment, "file": "train.py", "line": line_of(source, text), **fields}


def hits(result: ArmResult, key: str) -> int:
    return int(result.treatments[key]["hits"])


def check(arm: RunArm, source: str, treatment: dict[str, Any], by_hand: str, *, hits_wanted: int = 12) -> ArmResult:
    """Treated equals edited, differs from the control, and does nothing at another line."""
    control, treated, reference = arm(source), arm(source, treatment), arm(by_hand)
    assert not same(control, reference), "the edit itself changes nothing: this test could not fail"
    assert same(treated, reference)
    assert hits(treated, treatment["key"]) == hits_wanted
    elsewhere = arm(source, {**treatment, "line": treatment["line"] + 1})
    assert same(elsewhere, control)
    assert not elsewhere.treatments[treatment["key"]]["hits"]
    return treated


def test_clamp_to_identity(arm: RunArm) -> None:
    source = SEGMENT
    by_hand = edited(source, ("q = p.clamp(0.3, 0.7)", "q = p"))
    check(arm, source, at(source, "q = p.clamp", "unclamp", mode="identity"), by_hand)


def test_clamp_in_place_and_as_a_module(arm: RunArm) -> None:
    inplace = edited(SEGMENT, ("q = p.clamp(0.3, 0.7)", "q = (p + 0).clamp_(0.3, 0.7)"))
    by_hand = edited(SEGMENT, ("q = p.clamp(0.3, 0.7)", "q = p + 0"))
    treated = arm(inplace, at(inplace, "clamp_", "unclamp", mode="identity"))
    assert same(treated, arm(by_hand))
    module = edited(
        SEGMENT,
        ("q = p.clamp(0.3, 0.7)", "q = limit(p)"),
        ("net = Net()", "net = Net()\nlimit = nn.Hardtanh(0.3, 0.7)"),
    )
    reference = edited(module, ("nn.Hardtanh(0.3, 0.7)", "nn.Identity()"))
    assert same(arm(module, at(module, "nn.Hardtanh", "unclamp", mode="identity")), arm(reference))


def test_soft_clamp(arm: RunArm) -> None:
    source = SEGMENT
    by_hand = edited(source, ("q = p.clamp(0.3, 0.7)", "q = p + (p.clamp(0.3, 0.7) - p).detach()"))
    check(arm, source, at(source, "q = p.clamp", "unclamp", mode="soft"), by_hand)


def test_second_activation(arm: RunArm) -> None:
    source = edited(CLASSIFY, ("out = net(x)", "out = net(x).softmax(1)"))
    treatment = at(source, "softmax(1)", "drop-activation", phase="training")
    check(arm, source, treatment, CLASSIFY, hits_wanted=32)


def test_activation_at_inference_is_kept_where_only_training_is_treated(arm: RunArm) -> None:
    source = edited(
        CLASSIFY,
        ("net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))", "net = nn.Linear(6, 3)"),
        ("out = net(x)", "out = probabilities(x)"),
        ("acc = (net(X[64:])", "acc = (probabilities(X[64:])"),
        ("opt = torch", "def probabilities(x):\n    return torch.softmax(net(x), 1)\n\n\nopt = torch"),
    )
    line = at(source, "torch.softmax(net(x), 1)", "drop-activation")
    only = arm(source, {**line, "phase": "training"}).treatments["drop-activation"]
    both = arm(source, line).treatments["drop-activation"]
    assert (only["hits"], only["evaluations"]) == (32, 0)
    assert (both["hits"], both["evaluations"]) == (32, 8)


@pytest.mark.parametrize(
    ("treatment", "factor", "by_hand"),
    [
        ("reweight-term", 0.01, "loss = fit + 0.5 * (0.01 * size)"),
        ("flip-term", 1.0, "loss = fit + 0.5 * (-1.0 * size)"),
        ("drop-term", 1.0, "loss = fit"),
    ],
)
def test_loss_term(arm: RunArm, treatment: str, factor: float, by_hand: str) -> None:
    source = SEGMENT
    fields = at(source, "loss = fit + 0.5 * size", treatment, term="size", factor=factor)
    treated = check(arm, source, fields, edited(source, ("loss = fit + 0.5 * size", by_hand)))
    assert treated.losses[0] == arm(source).losses[0], "what the script prints keeps its meaning"


def test_the_only_term_is_not_dropped(arm: RunArm) -> None:
    source = CLASSIFY
    treated = arm(source, at(source, "loss = F.cross_entropy", "drop-term", term="loss"))
    assert "only term" in treated.treatments["drop-term"]["refused"] or not hits(treated, "drop-term")
    assert same(treated, arm(source))


def test_learning_rate(arm: RunArm) -> None:
    source = SEGMENT
    by_hand = edited(source, ("lr=1e-2", "lr=1e-2 * 10.0"))
    check(arm, source, at(source, "opt = torch.optim", "learning-rate", factor=10.0), by_hand)


def test_learning_rate_of_one_group_under_a_schedule(arm: RunArm) -> None:
    groups = "[{'params': net.body.parameters()}, {'params': net.head.parameters(), 'lr': 1e-3}]"
    source = edited(
        SEGMENT,
        ("torch.optim.Adam(net.parameters(), lr=1e-2)", f"torch.optim.Adam({groups}, lr=1e-2)"),
        ("for epoch in range(3):", "sched = torch.optim.lr_scheduler.StepLR(opt, 1, 0.5)\nfor epoch in range(3):"),
        ("    net.eval()", "    sched.step()\n    net.eval()"),
    )
    by_hand = edited(source, ("'lr': 1e-3", "'lr': 1e-3 * 8.0"))
    check(arm, source, at(source, "opt = torch.optim", "learning-rate", factor=8.0, group=1), by_hand)


def test_renormalised_channel(arm: RunArm) -> None:
    source = SEGMENT
    change = "x = torch.cat([x[:, :1], x[:, 1:] * 4.0 + -1.5], 1)"
    by_hand = edited(source, ("x = x + 0", change))
    fields = {"treatment": "renormalise", "key": "r", "network": "Net", "channel": 1, "scale": 4.0, "offset": -1.5}
    control, treated, reference = arm(source), arm(source, fields), arm(by_hand)
    assert same(treated, reference)
    assert not same(control, reference)
    assert treated.figures == reference.figures, "validation is normalised as training is"
    assert (treated.treatments["r"]["hits"], treated.treatments["r"]["within"]) == (12, 6)
    assert same(arm(source, {**fields, "network": "Other"}), control)


def test_ignored_label_in_cross_entropy(arm: RunArm) -> None:
    source = CLASSIFY
    by_hand = edited(source, ("F.cross_entropy(out, y)", "F.cross_entropy(out, y, ignore_index=2)"))
    check(arm, source, at(source, "F.cross_entropy", "ignore-label", value=2), by_hand, hits_wanted=32)


def test_ignored_label_in_binary_cross_entropy(arm: RunArm) -> None:
    source = edited(SEGMENT, ("masks = (images[:, :1] > 0.6).float()", "masks = (images[:, :1] * 3).floor() / 2"))
    by_hand = edited(source, ("F.binary_cross_entropy(q, y)", "F.binary_cross_entropy(q[y != 0.5], y[y != 0.5])"))
    check(arm, source, at(source, "F.binary_cross_entropy", "ignore-label", value=0.5), by_hand)


def test_a_label_is_not_ignored_where_that_cannot_be_done_correctly(arm: RunArm) -> None:
    source = edited(
        SEGMENT, ("F.binary_cross_entropy(q, y)", "F.binary_cross_entropy(q, y, weight=torch.ones_like(y))")
    )
    treated = arm(source, at(source, "F.binary_cross_entropy", "ignore-label", value=1.0))
    assert "weight for every element" in treated.treatments["ignore-label"]["refused"]
    assert same(treated, arm(source))


def test_rescaled_label(arm: RunArm) -> None:
    source = edited(SEGMENT, ("(images[:, :1] > 0.6).float()", "(images[:, :1] > 0.6).float() * 255"))
    source = edited(source, ("F.binary_cross_entropy(q, y)", "F.mse_loss(q, y)"))
    by_hand = edited(source, ("F.mse_loss(q, y)", "F.mse_loss(q, y / 255.0)"))
    control, treated = arm(source), arm(source, at(source, "F.mse_loss", "rescale-label", value=255.0))
    assert same(treated, arm(by_hand))
    assert not same(treated, control)
    elsewhere = arm(source, at(source, "F.mse_loss", "rescale-label", value=254.0))
    assert same(elsewhere, control)


def test_evaluation_mode_in_validation(arm: RunArm) -> None:
    source = edited(SEGMENT, ("    net.eval()\n", ""))
    by_hand = edited(source, ("((net(x) > 0)", "((net.eval()(x) > 0)"))
    control, reference = arm(source), arm(by_hand)
    treated = arm(source, at(source, "((net(x) > 0)", "set-mode", mode="eval"))
    assert control.buffers != reference.buffers, "batch norm learns from validation data in the control"
    assert treated.buffers == reference.buffers
    assert treated.weights == reference.weights
    assert treated.treatments["set-mode"]["within"] == 6
    assert same(arm(source, at(source, "out = net(x)", "set-mode", mode="eval")), control)


def test_training_mode_after_validation(arm: RunArm) -> None:
    source = edited(SEGMENT, ("    net.train()\n", ""))
    control, reference = arm(source), arm(SEGMENT)
    treated = arm(source, at(source, "out = net(x)", "set-mode", mode="train"))
    assert not same(control, reference)
    assert same(treated, reference)


def test_another_mode_leaves_the_order_of_the_data_as_it_was(arm: RunArm) -> None:
    dropout = edited(
        CLASSIFY,
        ("nn.ReLU(),", "nn.ReLU(), nn.Dropout(0.5),"),
        ("        out = net(x)", "        print('batch', x.sum().item())\n        out = net(x)"),
    )
    control = arm(dropout)
    treated = arm(dropout, at(dropout, "acc = (net(X", "set-mode", mode="eval"))
    assert values_of(control, "batch") == values_of(treated, "batch")
    assert control.outputs != treated.outputs
    assert treated.treatments["set-mode"]["within"] == 8
    # without the pairing, one mode draws and the other does not: a hand edit shuffles differently
    by_hand = arm(
        edited(
            dropout,
            ("acc = (net(X[64:])", "acc = (net.eval()(X[64:])"),
            ("for x, y in", "net.train()\n    for x, y in"),
        )
    )
    assert values_of(by_hand, "batch") != values_of(control, "batch")


def test_forgotten_zero_grad(arm: RunArm) -> None:
    source = edited(SEGMENT, ("        opt.zero_grad()\n", ""))
    fields = at(source, "loss.backward()", "zero-gradients")
    check(arm, source, fields, SEGMENT, hits_wanted=11)


def test_missing_parameters(arm: RunArm) -> None:
    source = edited(SEGMENT, ("torch.optim.Adam(net.parameters()", "torch.optim.Adam(net.head.parameters()"))
    source = edited(source, ("        nn.utils.clip_grad_norm_(net.parameters(), 0.05)\n", ""))
    reference = edited(SEGMENT, ("        nn.utils.clip_grad_norm_(net.parameters(), 0.05)\n", ""))
    treated = arm(source, at(source, "opt = torch", "add-parameters"))
    plain = arm(source)
    assert hits(treated, "add-parameters") == 4
    assert treated.losses == arm(reference).losses
    assert treated.losses != plain.losses


def test_clipping(arm: RunArm) -> None:
    source = edited(SEGMENT, ("torch.optim.Adam", "torch.optim.SGD"))
    by_hand = edited(source, ("        nn.utils.clip_grad_norm_(net.parameters(), 0.05)\n", ""))
    check(arm, source, at(source, "clip_grad_norm_", "no-clipping"), by_hand)


def test_seeded_workers(arm: RunArm) -> None:
    source = edited(
        SEGMENT,
        ("torch.manual_seed(3)", NOISY),
        ("loader = DataLoader(TensorDataset(images[:16], masks[:16]),", "loader = DataLoader(Noisy(), num_workers=2,"),
    )
    by_hand = edited(source, ("num_workers=2,", "num_workers=2, worker_init_fn=seed_worker,"))
    treated = arm(source, {"treatment": "seed-workers", "key": "seed-workers"})
    assert hits(treated, "seed-workers") == 1
    assert same(treated, arm(by_hand))
    assert not same(treated, arm(source))


NOISY = """\
class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, i):
        return images[i] + torch.from_numpy(np.random.rand(2, 8, 8)).float(), masks[i]


def seed_worker(number):
    import random

    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


torch.manual_seed(3)"""


def test_missing_parameters_of_a_module_around_its_networks_and_a_closure(arm: RunArm) -> None:
    source = edited(
        CLASSIFY,
        ("net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))\n", HOLDER),
        ("torch.optim.SGD(net.parameters()", "torch.optim.SGD(whole.b.parameters()"),
        ("        out = net(x)\n", ""),
        (
            STEPS,
            CLOSURE,
        ),
        ("net(X[64:])", "whole.b(whole.a(X[64:]).relu())"),
    )
    treated = arm(source, at(source, "opt = torch", "add-parameters"))
    assert hits(treated, "add-parameters") == 2
    assert treated.losses == arm(edited(source, ("SGD(whole.b.parameters()", "SGD(whole.parameters()"))).losses
    assert treated.losses != arm(source).losses


HOLDER = """\
class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.b = nn.Linear(16, 3)


whole = Whole()
"""
STEPS = """\
        loss = F.cross_entropy(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
"""
CLOSURE = """\
        def closure():
            whole.zero_grad()
            loss = F.cross_entropy(whole.b(whole.a(x).relu()), y)
            loss.backward()
            return loss

        loss = opt.step(closure)
"""


def test_parts_in_a_plain_list_join_the_optimiser_of_their_network(arm: RunArm) -> None:
    parts = "self.parts = [nn.Conv2d(6, 6, 1)]\n        self.head = nn.Conv2d(6, 1, 1)"
    source = edited(
        SEGMENT,
        ("self.head = nn.Conv2d(6, 1, 1)", parts),
        ("self.head(self.body(x))", "self.head(self.parts[0](self.body(x)))"),
        ("        opt.step()\n", "        opt.step()\n        other.step()\n"),
        ("opt = torch", "scale = nn.Parameter(torch.ones(1))\nother = torch.optim.SGD([scale], lr=1e-3)\nopt = torch"),
    )
    by_hand = edited(source, ("self.parts = [nn.Conv2d(6, 6, 1)]", "self.parts = nn.ModuleList([nn.Conv2d(6, 6, 1)])"))
    # the list is filled where the finding points, and no optimiser is made there; gradient clipping stays as it was
    treatment = at(source, "self.parts = [", "add-parameters")
    clipped = "nn.utils.clip_grad_norm_(net.parameters(), 0.05)"
    source, by_hand = (edited(text, (clipped, "pass")) for text in (source, by_hand))
    treated = arm(source, treatment)
    assert hits(treated, "add-parameters") == 2
    assert treated.losses != arm(source).losses
    # a part that is not registered keeps its old gradients: zero_grad() of the optimiser clears it from now on
    assert treated.losses == arm(by_hand).losses


def test_nothing_is_done_inside_compiled_code_and_that_is_told(arm: RunArm) -> None:
    source = edited(
        SEGMENT,
        ("x = x + 0", "x = x.clamp(0.2, 0.8)"),
        ("opt = torch", "net = torch.compile(net, backend='eager')\nopt = torch"),
    )
    plain = edited(source, ("net = torch.compile(net, backend='eager')\n", ""))
    control, treated = arm(source), arm(source, at(source, "x = x.clamp", "unclamp", mode="identity"))
    assert control.weights == arm(plain).weights, "an arm sees a compiled script run as it would"
    assert same(treated, control)
    assert not hits(treated, "unclamp")
    assert control.outputs, "what a compiled network says is recorded"
