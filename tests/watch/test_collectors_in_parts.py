"""Decisions inside collectors that no short script comes by: what is compared of calls, where sets were divided."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from traindx.core import compat
from traindx.watch.collectors.compiled import Compiled
from traindx.watch.collectors.loss_calls import LossCalls
from traindx.watch.collectors.plateaus import Plateaus, _Plateau
from traindx.watch.collectors.purity import Purity
from traindx.watch.collectors.repeated_calls import RepeatedCalls
from traindx.watch.collectors.shared_items import divided_at
from traindx.watch.runtime.call_sites import CallSite


@pytest.fixture
def repeated() -> RepeatedCalls:
    watch: Any = SimpleNamespace(torch=torch)
    return RepeatedCalls(watch, SimpleNamespace())  # type: ignore[arg-type]


def test_tensors_are_met_in_tuples_lists_and_dicts_three_deep(repeated: RepeatedCalls) -> None:
    one, two, three, deep = (torch.full((1,), float(value)) for value in range(4))
    found = list(repeated._tensors((one, {"a": [two], "b": "text"}, [three], [[[deep]]])))
    assert [float(tensor) for tensor in found] == [0, 1, 2]


def test_a_mask_is_no_setting_and_an_image_is_none_either(repeated: RepeatedCalls) -> None:
    """Two calls that differ in a mask may well give the same; an image beside a mask is not the same kind of thing."""
    image, mask = torch.linspace(0, 1, 16), torch.arange(16) % 2
    assert isinstance(repeated._print(image), bytes)
    assert repeated._print(mask)[0] == repeated._print(mask.bool())[0] == "mask"
    assert (repeated._print(3), repeated._print(True)) == (3.0, ("other", "True"))


@pytest.mark.parametrize(
    ("divisions", "line"),
    [
        (("first, second = names[:9], names[9:]", "first, second = names[:8], names[7:]"), 3),
        (("first, second = names[:9], names[9:]", "names = []"), 2),
        (("pass", "first = second = names"), 3),
    ],
)
def test_sets_are_divided_by_the_last_statement_that_gives_to_both(
    divisions: tuple[str, str], line: int, tmp_path: Path
) -> None:
    file = tmp_path / "train.py"
    both = ("size = 16", "training = Loader(first, size)", "validation = Loader(second, size)")
    file.write_text("\n".join(("names = sorted(read())", *divisions, *both)))
    here, there = (CallSite(str(file), number, "<module>") for number in (5, 6))
    place = divided_at(here, there)
    assert place is not None
    assert (Path(place.file).name, place.line) == ("train.py", line)
    assert divided_at(here, CallSite(str(tmp_path / "data.py"), 6, "<module>")) is None


def test_what_makes_both_loaders_divides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("made = partial(Loader, 8)\ntraining = made(Data(True))\nvalidation = made(Data(True))\n")
    assert divided_at(CallSite(str(file), 2, "<module>"), CallSite(str(file), 3, "<module>")) is None


def test_a_pair_in_one_name_is_a_division_too(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("parts = split(read())\ntraining = Loader(parts[0])\nvalidation = Loader(parts[1])\n")
    place = divided_at(CallSite(str(file), 2, "<module>"), CallSite(str(file), 3, "<module>"))
    assert place is not None
    assert place.line == 1


@pytest.mark.parametrize(
    ("mode", "values", "at_best"),
    [
        ("max", (3.0, 2.0, 1.0), 2),
        ("max", (1.0, 2.0, 3.0), 0),
        ("min", (1.0, 2.0, 3.0), 2),
        ("min", (3.0, 2.0, 1.0), 0),
    ],
)
def test_a_plateau_that_comes_at_the_best_value_of_the_other_direction(
    mode: str, values: tuple[float, ...], at_best: int
) -> None:
    """The first value is a best one of either direction; reductions come with the second and the third."""
    watch: Any = SimpleNamespace(torch=torch)
    plateaus, known = Plateaus(watch), _Plateau(None, mode, 1.0)
    for index, value in enumerate(values):
        plateaus._stepped(known, value, 1.0, 0.1 if index else 1.0, None)
    assert (known.reductions, known.at_best) == (2, at_best)


def test_a_hook_on_a_gradient_is_the_scripts_only_where_the_script_runs() -> None:
    """What other threads, and traindx itself, register says nothing of the script."""
    patches: dict[str, Any] = {}
    watch: Any = SimpleNamespace(
        torch=torch,
        here_and_now=False,
        iteration=0,
        patches=SimpleNamespace(wrap=lambda owner, name, make: patches.setdefault(name, make)),
    )
    purity = Purity(watch, SimpleNamespace(on=lambda *_: None))  # type: ignore[arg-type]
    purity.install()
    register = patches["register_hook"](lambda owner, *args: None)
    register(torch.zeros(1), print)
    assert not purity._hooked
    watch.here_and_now = True
    register(torch.zeros(1), print)
    assert purity._hooked
    watch.here_and_now = False
    register(torch.zeros(1), print)
    assert purity._hooked  # for good: a hook stays


def test_only_a_softmax_over_an_axis_of_one_is_a_softmax_of_one_class() -> None:
    """``softplus(x, 1)`` has a number behind its tensor too, which is no axis."""
    watch: Any = SimpleNamespace(torch=torch, grad_enabled=True, iteration=0, shown=lambda site: site.location())
    none: Any = mock.MagicMock()
    calls = LossCalls(watch, none, none, none, none)
    logits = torch.zeros(8, 1)
    for line, (name, place) in enumerate([("softplus", True), ("softmax", False), ("softmax", True)], start=1):
        site = CallSite("train.py", line, "<module>") if place else None
        calls._activation(name, logits, None, site, None, (logits, 1), {})
    (record,) = calls._activation_records()
    assert (record.where.line, record.shape, record.axis, record.calls) == (3, (8, 1), 1, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "seen"),
    [({}, True), ({"attached": False}, False), ({"here_and_now": False}, False), ({"compiling": True}, False)],
)
def test_a_compiled_network_is_seen_from_outside_and_nothing_is_in_place_within(
    fields: dict[str, bool], seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "compiled_module_type", lambda: object)
    told: list[str] = []
    patches: dict[str, Any] = {}
    now = {"attached": True, "here_and_now": True, "compiling": False, **fields}
    watch: Any = mock.MagicMock(**now)
    watch.torch.compiler.is_compiling.return_value = now["compiling"]
    watch.patches.wrap = lambda owner, name, make: patches.setdefault(name, make)
    watch.quiet.return_value.__enter__.side_effect = lambda: told.append("quiet")
    networks: Any = mock.MagicMock()
    networks.entered.side_effect = lambda module, args: told.append(f"enters {module} {args}")
    networks.left.side_effect = lambda module, args, kwargs, output: told.append(f"leaves with {output}")
    Compiled(watch, networks)._quiet_modules()
    assert patches["__call__"](lambda module, value: 2 * value)("net", 3) == 6
    assert told == (["enters net (3,)", "quiet", "leaves with 6"] if seen else [])
