"""Methods that have the name of their class, functions that have that of their file, and arguments changed in place."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from traindx.watch.probes.recorded import RecordedCall, Recorder, own_copy

Define = Callable[..., dict[str, Any]]
PAIR = "(torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24))"

NCC = """
class NCC:
    def __init__(self, win=None):
        self.win = win

    def loss(self, a, b):
        a0, b0 = a - a.mean(), b - b.mean()
        return {}
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("-(a0 * b0).mean() / (a0.square().mean() * b0.square().mean()).sqrt()", True),
        ("(a0 * b0).mean() / (a0.square().mean() * b0.square().mean()).sqrt()", False),
        ("-(a0 * b0).mean() / (a0.square().mean() * b0.square().mean())", False),
    ],
)
def test_a_method_counts_by_the_name_of_its_class(define: Define, body: str, holds: bool) -> None:
    found = define(NCC.format(body), "NCC().loss" + PAIR)["likeness-of-an-image-with-itself"]
    assert (found.holds, found.function) == (holds, "NCC.loss")


def test_a_method_of_its_own_name_does_not(define: Define) -> None:
    source = NCC.format("0.0").replace("def loss", "def roughness_of")
    assert not define(source, "NCC().roughness_of" + PAIR)
    for name in ("NCCTrainer", "NCCHead", "NCCNet"):
        assert not define(NCC.format("0.0").replace("NCC", name), f"{name}().loss" + PAIR)


def test_the_score_inside_of_a_loss_is_not_the_loss(define: Define) -> None:
    source = """
    class DiceLoss:
        def compute_score(self, p, t):
            return 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)

        def compute(self, p, t):
            return 1 - self.compute_score(p, t)
    """
    call = "DiceLoss().compute(torch.rand(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float())"
    found = define(source, call)
    assert found["class-loss-prefers-the-truth"].holds
    assert {one.function for one in found.values()} == {"DiceLoss.compute"}


FACTORY = """
def make_dice_loss(smooth=1e-6):
    def loss(probs, target):
        both = (probs * target).sum()
        return 1 - {} * both / (probs.sum() + target.sum() + smooth)
    return loss
"""


@pytest.mark.parametrize(("factor", "holds"), [("2", True), ("-2", False)])
def test_a_function_counts_by_the_name_of_the_one_that_made_it(define: Define, factor: str, holds: bool) -> None:
    call = "make_dice_loss()(torch.rand(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float())"
    assert define(FACTORY.format(factor), call)["class-loss-prefers-the-truth"].holds is holds


EMA = """
class {}:
    def __init__(self, net, decay=0.9):
        import copy
        self.ema, self.decay = copy.deepcopy(net), decay

    def update(self, net):
        with torch.no_grad():
            for e, p in zip(self.ema.parameters(), net.parameters()):
                e.copy_({} * e + {} * p)
"""


@pytest.mark.parametrize("name", ["EMA", "ModelEMA", "ModelEmaV2"])
@pytest.mark.parametrize(
    ("kept", "taken", "holds"), [("self.decay", "(1 - self.decay)", True), ("(1 - self.decay)", "self.decay", False)]
)
def test_averages_that_an_object_holds(define: Define, name: str, kept: str, taken: str, holds: bool) -> None:
    found = define(EMA.format(name, kept, taken), f"(lambda n: {name}(n).update(n))(nn.Linear(3, 3))")
    assert found["moving-average-keeps-its-share"].holds is holds


SHADOW = """
class EMA:
    def __init__(self, net, decay=0.9):
        self.decay, self.updates, self.backup = decay, 0, {{}}
        self.shadow = {{k: v.detach().clone() for k, v in net.{state}}}

    def update(self, net):
        self.updates += 1
        for k, v in net.{state}:
            {step}
"""


@pytest.mark.parametrize("state", ["named_parameters()", "state_dict().items()"])
@pytest.mark.parametrize(
    ("step", "holds"),
    [
        ("self.shadow[k] = self.decay * self.shadow[k] + (1 - self.decay) * v.detach()", True),
        ("self.shadow[k].mul_(self.decay).add_(v.detach(), alpha=1 - self.decay)", True),
        ("self.shadow[k] = (1 - self.decay) * self.shadow[k] + self.decay * v.detach()", False),
        ("v.data.copy_(self.decay * self.shadow[k] + (1 - self.decay) * v)", False),
        ("self.shadow[k].mul_(self.decay).add_(v.detach(), alpha=self.decay)", False),
    ],
)
def test_averages_that_are_kept_by_name(define: Define, state: str, step: str, holds: bool) -> None:
    network = "nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))"
    if "state_dict" in state:
        step = f"if v.dtype.is_floating_point: {step}"
    found = define(SHADOW.format(state=state, step=step), f"(lambda n: EMA(n).update(n))({network})")
    assert found["moving-average-keeps-its-share"].holds is holds


def test_averages_of_numbers_are_no_averages_of_weights(define: Define) -> None:
    source = (
        "class EMA:\n    value, decay = 0.0, 0.9\n    def update(self, x):\n        self.value += x\n        return 7.0"
    )
    assert not define(source, "EMA().update(3.0)")


CLIP = """
def clip_boxes(b, shape):
    h, w = shape
    b[..., [0, 2]] = b[..., [0, 2]].clip(0, {})
    b[..., [1, 3]] = b[..., [1, 3]].clip(0, {})
"""
BOXES = "np.array([[-5.0, 3, 20, 30], [2, 2, 90, 60]])"


@pytest.mark.parametrize(("x", "y", "holds"), [("w", "h", True), ("h", "h", False), ("w", "2 * h", False)])
def test_arguments_that_are_changed_in_place(define: Define, x: str, y: str, holds: bool) -> None:
    found = define(CLIP.format(x, y), f"clip_boxes({BOXES}, (40, 70))")["boxes-within-the-image"]
    assert found.holds is holds


def test_two_changed_arguments_say_nothing(define: Define) -> None:
    source = CLIP.format("h", "h").replace("(b, shape)", "(b, shape, areas)") + "    areas[:] = 0\n"
    assert not define(source, f"clip_boxes({BOXES}, (40, 70), np.ones(2))")


COUNTER = """
class StandardScore:
    def __init__(self):
        self.calls = 0

    def update(self, image):
        self.calls += 1
        return image + self.calls
"""


def _recorded(source: str, call: str, folder: Path, name: str = "functions") -> tuple[RecordedCall, dict[str, Any]]:
    path = folder / f"{name}.py"
    path.write_text(source)
    module = types.ModuleType(name)
    names: dict[str, Any] = vars(module)
    sys.modules[name] = module
    exec(compile(source, str(path), "exec"), names)
    recorder = Recorder(torch)
    with recorder.recording(10.0):
        eval(call, {**names, "torch": torch})
    del sys.modules[name]
    return recorder.done()[-1], names


def test_calls_that_are_made_again_leave_no_trace_in_the_object(tmp_path: Path) -> None:
    call, _ = _recorded(COUNTER, "StandardScore().update(torch.zeros(3))", tmp_path)
    assert [float(call.again(torch)[0]) for _ in range(3)] == [2.0, 2.0, 2.0]
    assert call.args["self"].calls == 1


def test_large_objects_are_not_copied() -> None:
    small, large = types.SimpleNamespace(a=torch.zeros(9)), types.SimpleNamespace(a=[torch.zeros(9)] * 2)
    large.a.append(torch.zeros(1_000_000))
    assert own_copy(torch, small) is not small
    assert own_copy(torch, large) is large


def test_functions_of_a_file(tmp_path: Path) -> None:
    source = "def compute(a, b):\n    return a\n\ndef dice(a, b):\n    return a\n"
    for file, called, name in (
        ("iou", "compute(1, 2)", "iou.compute"),
        ("iou", "dice(1, 2)", "dice"),
        ("train_iou", "compute(1, 2)", "compute"),
    ):
        assert _recorded(source, called, tmp_path, file)[0].name == name
