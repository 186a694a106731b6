"""C1114: fields that are set on modules, optimisers and loaders, and that nobody reads."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from traindx.evidence import Evidence
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.collectors.set_fields import idle_fields, rates_nobody_reads, sizes_that_stay, sources_of
from traindx.watch.collectors.statements import idle_statements
from watch.inside import found, watched


def said(source: str, **names: Any) -> list[Finding]:
    """Run a few statements, and look at what they were given as the collector does."""
    source = textwrap.dedent(source).strip()
    tree = ast.parse(source)
    exec(compile(tree, "train.py", "exec"), {"torch": torch, "nn": nn, **names})
    classes = [one for one in ast.parse(Path(__file__).read_text()).body if isinstance(one, ast.ClassDef)]
    sources = sources_of({"train.py": tree, __file__: ast.Module(classes, [])})
    evidence = Evidence()
    for owner in names.values():
        records = list(idle_fields(owner, sources))
        if isinstance(owner, nn.Module):
            records += [one for part in owner.modules() for one in sizes_that_stay(part, sources)]
        if isinstance(owner, torch.optim.Optimizer):
            records = [*rates_nobody_reads(owner, sources), *records]
        for record in {(one.form, str(one.where)): one for one in records}.values():
            evidence.add(record)
    rule = catalogue()["C1114"]
    return rule.check(evidence) if rule.applies(evidence) else []


class Slices(Dataset[int]):
    def __init__(self, transform: Any = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return self.transform(index) if self.transform else index


class Head(nn.Module):
    def __init__(self, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Dropout(dropout), nn.Linear(8, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_method_that_gets_a_value_in_its_place() -> None:
    (finding,) = said("net.train = False", net=nn.Linear(2, 2))
    assert finding.variant == "method-overwritten"
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert finding.location.line == 1
    assert said("net.train = lambda mode=True: net", net=nn.Linear(2, 2)) == []
    assert said("net.train(False)", net=nn.Linear(2, 2)) == []


def test_a_rate_that_is_set_on_the_optimiser_and_not_in_its_groups() -> None:
    def adam() -> torch.optim.Optimizer:
        return torch.optim.Adam(nn.Linear(2, 2).parameters(), 1e-3)

    for source in ("opt.lr = 1e-5", "opt.learning_rate = 1e-5", "opt.defaults['lr'] = 1e-5"):
        (finding,) = said(source, opt=adam())
        assert finding.variant == "group-field"
        assert "0.001" in finding.message
    passed_on = """
    opt.lr = 1e-5
    for group in opt.param_groups:
        group["lr"] = opt.lr
    """
    assert said(passed_on, opt=adam()) == []
    assert said("opt.param_groups[0]['lr'] = 1e-5", opt=adam()) == []
    assert said("opt.note = 'second stage'\nprint(opt.note)", opt=adam()) == []


def test_sizes_of_layers_that_keep_their_weight() -> None:
    (finding,) = said("net.layer[1].out_features = 2", net=Head(10))
    assert finding.variant == "size-field"
    assert "(10, 8)" in finding.message
    assert said("net.layer[1] = nn.Linear(8, 2)\nnet.layer[1].out_features = 2", net=Head(10)) == []
    (finding,) = said("net.in_channels = 1", net=nn.Conv2d(3, 4, 3))
    assert finding.variant == "size-field"
    grouped = "net.in_channels = 6\nnet.out_channels = 8"
    assert said(grouped, net=nn.Conv2d(6, 8, 3, groups=2)) == []
    assert said(grouped, net=nn.ConvTranspose2d(6, 8, 3)) == []


def test_an_option_of_the_constructor_set_afterwards() -> None:
    loader = DataLoader(Slices(), batch_size=2)
    (finding,) = said("loader.shuffle = True", loader=loader)
    assert finding.variant == "option-later"
    (finding,) = said("net.dropout = 0.5", net=Head(2))
    assert finding.variant == "option-later"
    assert said("net.p = 0.5", net=nn.Dropout(0.1)) == []  # which forward reads


def test_a_field_with_nearly_the_name_of_another() -> None:
    (finding,) = said("data.transforms = abs", data=Slices())
    assert finding.variant == "near-name"
    assert finding.standing is Standing.SUSPECTED
    assert "there is transform" in finding.message
    assert said("data.transform = abs", data=Slices()) == []
    assert said("data.transforms = abs\nprint(data.transforms)", data=Slices()) == []
    assert said("data.transforms = abs\nprint(getattr(data, 'transforms'))", data=Slices()) == []
    assert said("data.owner = 'us'", data=Slices()) == []


def test_a_field_of_a_library_misspelt_on_self() -> None:
    lightning = pytest.importorskip("lightning")
    source = """
    class Module(Base):
        def __init__(self):
            super().__init__()
            self.automatic_optimisation = False
            self.threshold = 0.5
    made.append(Module())
    """
    made: list[Any] = []
    tree = ast.parse(textwrap.dedent(source))
    exec(compile(tree, "train.py", "exec"), {"Base": lightning.LightningModule, "made": made})
    (record,) = idle_fields(made[0], sources_of({"train.py": tree}))
    assert record.detail == "automatic_optimization"


def test_a_comparison_where_an_assignment_was_meant() -> None:
    source = "for p in net.parameters():\n    p.requires_grad == False\n"
    (record,) = idle_statements("train.py", ast.parse(source))
    assert record.form == "compared"
    assert not list(idle_statements("train.py", ast.parse(source.replace("==", "="))))
    assert not list(idle_statements("train.py", ast.parse("x == 3\n")))  # the last line of a cell is shown
    assert not list(idle_statements("train.py", ast.parse("def f(x):\n    assert x == 3\n    return x == 4\n")))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def two_stages() -> None:
    def fit(net: nn.Module) -> None:
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
        for _ in range(30):
            optimizer.zero_grad()
            net(torch.randn(5, 4)).square().mean().backward()
            optimizer.step()

    first = Encoder()
    fit(first)
    second = nn.Sequential(first, nn.Linear(4, 1))
    second[0].requires_grad = False
    fit(second)


def test_a_flag_that_is_set_for_a_later_stage(tmp_path: Path) -> None:
    (finding,) = found("C1114", watched(two_stages, tmp_path))
    assert finding.variant == "module-flag"


FLAG = """
class Age(nn.Module):
    def __init__(self, encoder):
        self.encoder = encoder
        self.encoder.requires_grad = False
        self.head = nn.Linear(4, 1)
    def forward(self, x):
        return self.head(self.encoder(x))
"""


@pytest.mark.parametrize(
    "source",
    [
        FLAG,
        "def freeze(net):\n    for child in net.children():\n        child.requires_grad = False\n",
        "net.body.requires_grad = False\nopt = Adam(net.body.parameters())\n",
        "def go(net, x):\n    net.requires_grad = False\n    return net(x)\n",
    ],
)
def test_the_sources_say_that_it_is_a_module(source: str) -> None:
    (record,) = idle_statements("train.py", ast.parse(source))
    assert record.form == "module-flag"
    assert record.where is not None
    assert "requires_grad" in source.splitlines()[record.where.line - 1]


@pytest.mark.parametrize(
    "source",
    [
        FLAG.replace("self.encoder.requires_grad = False", "self.encoder.weight.requires_grad = False"),
        FLAG.replace("self.encoder.requires_grad = False", "self.encoder.requires_grad_(False)"),
        "for p in net.parameters():\n    p.requires_grad = False\n",
        "def attack(net, x):\n    x.requires_grad = True\n    return net(x)\n",
        FLAG + "    @property\n    def requires_grad(self):\n        return False\n",
    ],
)
def test_flags_of_tensors_are_left_alone(source: str) -> None:
    assert list(idle_statements("train.py", ast.parse(source))) == []
