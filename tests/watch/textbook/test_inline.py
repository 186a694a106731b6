"""A line of a training loop that says by its name what it computes."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from traindx.evidence.probed_definitions import DefinitionTried
from traindx.watch.probes.textbook import is_known, tried
from traindx.watch.probes.textbook.inline import Scope, inline_calls

LOOP = """
def loop(encoder):
    for step in range(2):
        mu, logvar = encoder()
        recon = (mu - 1).abs().mean()
        {before}
        kld = {kld}
        loss = recon + 0.1 * kld
"""


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[DefinitionTried]]:
    def run(source: str, **more: Any) -> list[DefinitionTried]:
        path = tmp_path / "train.py"
        path.write_text(textwrap.dedent(source))
        names: dict[str, Any] = {"torch": torch}
        tree = ast.parse(path.read_text())
        exec(compile(tree, str(path), "exec"), names)
        (function,) = tree.body
        assert isinstance(function, ast.FunctionDef)
        torch.manual_seed(0)
        mu, logvar = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
        local: dict[str, Any] = {"encoder": lambda: (mu, logvar), **more}
        body = ast.Module(body=function.body, type_ignores=[])
        exec(compile(body, str(path), "exec"), names, local)
        calls = list(inline_calls(torch, Scope(str(path), function.body, local, names), is_known))
        return [one for one in tried(torch, calls) if isinstance(one, DefinitionTried)]

    return run


def test_a_line_is_a_function_of_the_arrays_in_it(lines: Callable[..., Any]) -> None:
    (right,) = lines(LOOP.format(before="pass", kld="-0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())"))
    assert right.holds
    (wrong,) = lines(LOOP.format(before="pass", kld="0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())"))
    assert not wrong.holds
    assert wrong.where.line == 7


def test_scalars_on_the_way_are_followed_to_arrays(lines: Callable[..., Any]) -> None:
    before = "total = (1 + logvar - mu.pow(2) - logvar.exp()).sum()"
    assert lines(LOOP.format(before=before, kld="-0.5 * total / len(mu)"))[0].holds
    assert not lines(LOOP.format(before=before, kld="0.5 * total / len(mu)"))[0].holds


def test_what_a_name_does_not_hold_any_more_is_left_alone(lines: Callable[..., Any]) -> None:
    source = LOOP.format(before="pass", kld="0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())")
    assert not lines(source + "        mu = mu + 1\n")


def test_a_line_that_calls_a_network_is_left_alone(lines: Callable[..., Any]) -> None:
    net = torch.nn.Linear(8, 8)
    source = LOOP.format(before="pass", kld="0.5 * torch.sum(1 + logvar - net(mu).pow(2) - logvar.exp())")
    assert not lines(source, net=net)


OVERLAP = """
def loop(encoder):
    mu, logvar = encoder()
    target = (torch.rand(4, 1, 2, 4) > 0.6).float()
    {p} = {made}
    both = ({p} * target).sum()
    loss = 1 - 2 * both / ({p}.sum() + target.sum())
"""


def test_an_overlap_of_a_raw_output_in_a_line_that_is_only_called_loss(lines: Callable[..., Any]) -> None:
    raw = OVERLAP.format(p="out", made="3 * mu.reshape(4, 1, 2, 4)")
    found = lines(raw)
    assert [(one.key, one.holds, one.where.line) for one in found] == [("overlap-of-shares", False, 7)]
    assert not lines(OVERLAP.format(p="out", made="torch.sigmoid(3 * mu.reshape(4, 1, 2, 4))"))
    assert not lines(raw.replace("1 - 2 * both / (out.sum() + target.sum())", "both"))
