"""Treatments of state: weights loaded under other names, and running statistics of a copy."""

from __future__ import annotations

import pytest

from traindx.trials.treatments.remap_keys.script import matching
from trials_script.conftest import RunArm, edited, line_of
from trials_script.scripts_for_tests import CLASSIFY


@pytest.mark.parametrize(
    ("given", "own", "names"),
    [
        (
            {"module.a.weight": (2, 3), "module.b.weight": (3,), "epoch": ()},
            {"a.weight": (2, 3), "b.weight": (3,), "head.weight": (5,)},
            {"module.a.weight": "a.weight", "module.b.weight": "b.weight"},
        ),
        (
            {"encoder.module.a.weight": (2, 3), "encoder.module.b.bias": (3,)},
            {"encoder.a.weight": (2, 3), "encoder.b.bias": (3,), "fc.bias": (3,)},
            {"encoder.module.a.weight": "encoder.a.weight", "encoder.module.b.bias": "encoder.b.bias"},
        ),
        (
            {"conv1.weight": (4, 1), "norm1.weight": (4,), "same": (2,)},
            {"0.kernel": (4, 1), "1.scale": (4,), "same": (2,)},
            {"conv1.weight": "0.kernel", "norm1.weight": "1.scale"},
        ),
        ({"conv1.weight": (4, 1), "norm1.weight": (4,)}, {"0.kernel": (4,), "1.scale": (4, 1)}, {}),
        ({"module.a.weight": (2, 3)}, {"a.weight": (3, 2)}, {}),
        ({"a": (1,)}, {"a": (1,)}, {}),
    ],
    ids=["prefix", "prefix inside", "shape and order", "another order", "another shape", "all fit"],
)
def test_names_for_weights_that_fit_none(
    given: dict[str, tuple[int, ...]], own: dict[str, tuple[int, ...]], names: dict[str, str]
) -> None:
    assert matching(given, own) == names


LOADING = edited(
    CLASSIFY,
    (
        "opt = torch.optim.SGD(net.parameters(), lr=0.3)\n",
        "torch.manual_seed(7)\n"
        "other = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))\n"
        "state = {PREFIX + name: value for name, value in other.state_dict().items()}\n"
        "net.load_state_dict(state, strict=False)\n"
        "opt = torch.optim.SGD(net.parameters(), lr=0.3)\n",
    ),
)


def test_weights_arrive_as_if_the_names_had_been_right(arm: RunArm) -> None:
    wrong, right = (LOADING.replace("PREFIX", text) for text in ("'module.'", "''"))
    place = {"treatment": "remap-keys", "file": "train.py", "line": line_of(wrong, "strict=False")}
    treated = arm(wrong, place)
    assert next(iter(treated.treatments.values()))["hits"] == 4
    by_hand = arm(right)
    assert treated.weights == by_hand.weights
    assert treated.losses == by_hand.losses
    assert arm(wrong).weights != by_hand.weights
    nothing = arm(right, place)
    assert "no names of the same shapes" in next(iter(nothing.treatments.values()))["refused"]


TEACHER = edited(
    CLASSIFY,
    ("nn.Linear(6, 16), nn.ReLU()", "nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU()"),
    ("opt = torch", "import copy\nteacher = copy.deepcopy(net).eval()\nopt = torch"),
    (
        "        opt.step()\n",
        "        opt.step()\n"
        "        with torch.no_grad():\n"
        "            for old, new in zip(teacher.parameters(), net.parameters()):\n"
        "                old.mul_(0.9).add_(new, alpha=0.1)\n",
    ),
    ("acc = (net(", "#HERE\n        acc = (teacher("),
)


def test_a_copy_gets_the_statistics_of_its_network(arm: RunArm) -> None:
    stale = arm(TEACHER)
    treated = arm(TEACHER, {"treatment": "copy-statistics"})
    copied = "for a, b in zip(teacher.buffers(), net.buffers()): a.copy_(b)"
    by_hand = arm(TEACHER.replace("#HERE", copied))
    assert next(iter(treated.treatments.values()))["evaluations"] > 0
    assert treated.figures == by_hand.figures
    assert stale.figures != by_hand.figures
    nothing = arm(CLASSIFY, {"treatment": "copy-statistics"})
    assert "no copy of the network" in next(iter(nothing.treatments.values()))["refused"]


SCALED = edited(
    CLASSIFY,
    ("opt = torch", 'scaler = torch.amp.GradScaler("cpu", init_scale=3.4e38, backoff_factor=0.999)\nopt = torch'),
    ("loss.backward()", "scaler.scale(loss).backward()"),
    ("opt.step()", "scaler.step(opt)\n        scaler.update()"),
)


def test_steps_that_a_scaler_leaves_out_are_taken(arm: RunArm) -> None:
    treated = arm(SCALED, {"treatment": "no-scaling"})
    assert next(iter(treated.treatments.values()))["hits"] == 1
    assert treated.weights == arm(CLASSIFY).weights
    assert treated.weights != arm(SCALED).weights
    nothing = arm(CLASSIFY, {"treatment": "no-scaling"})
    assert "no gradient scaler" in next(iter(nothing.treatments.values()))["refused"]
