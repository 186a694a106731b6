"""What the sources say (C1107 for declared settings, C1114, E815), from text to finding."""

from __future__ import annotations

import ast
import textwrap

import pytest

from traindx.evidence import Evidence
from traindx.finding import Standing
from traindx.rules import catalogue
from traindx.watch.collectors.declared_settings import as_records, settings_in
from traindx.watch.collectors.statements import better, idle_statements, kept_figures


def parse(source):
    return ast.parse(textwrap.dedent(source))


def found(code, records):
    evidence = Evidence()
    for one in records:
        evidence.add(one)
    rule = catalogue()[code]
    return rule.check(evidence) if rule.applies(evidence) else []


def settings(source):
    return found("C1107", as_records(settings_in({"train.py": parse(source)})))


def idle(source):
    return found("C1114", idle_statements("train.py", parse(source)))


def kept(source):
    return found("E815", kept_figures("train.py", parse(source)))


# -- settings ----------------------------------------------------------------------------------------------------


MODEL = """
class VAE({base}):
    def __init__(self, width, kl_coeff=0.1):
        super().__init__()
        {stores}

    def loss(self, recon, kl):
        return recon + {term}

model = VAE(8, kl_coeff=0.01)
"""


@pytest.mark.parametrize(
    ("base", "stores", "term", "count"),
    [
        ("nn.Module", "self.kl_coeff = kl_coeff", "kl", 1),
        ("nn.Module", "self.width, self.kl_coeff = width, kl_coeff", "kl", 1),
        ("pl.LightningModule", "self.save_hyperparameters()", "kl * self.hparams.width", 1),
        ("nn.Module", "self.kl_coeff = kl_coeff", "self.kl_coeff * kl", 0),
        ("nn.Module", "self.kl_coeff = kl_coeff", "getattr(self, 'kl_coeff') * kl", 0),
        ("nn.Module", "self.kl_coeff = kl_coeff\n        self.schedule = Schedule(kl_coeff)", "kl", 0),
        ("PretrainedConfig", "self.kl_coeff = kl_coeff", "kl", 0),  # whose base reads fields by name
        ("pl.LightningModule", "self.save_hyperparameters()", "self.hparams.kl_coeff * kl", 0),
        ("nn.Module", "self.kl_coeff = kl_coeff", "sum(vars(self).values())", 0),
    ],
)
def test_a_weight_that_is_kept_and_never_read(base: str, stores: str, term: str, count: int) -> None:
    findings = settings(MODEL.format(base=base, stores=stores, term=term))
    assert ["kl_coeff" in one.message for one in findings] == [True] * count


def test_an_option_that_no_source_reads():
    source = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    args = parser.parse_args()
    print(args.lr)
    """
    (finding,) = settings(source)
    assert "weight_decay" in finding.message
    assert finding.location.line == 5
    assert settings(source.replace("print(args.lr)", "print(args.lr, args.weight_decay)")) == []
    assert settings(source.replace("print(args.lr)", "fit(args)")) == []  # goes as a whole where nobody can follow
    assert settings(source.replace("print(args.lr)", "print(args.lr, vars(args))")) == []


def test_a_parameter_that_its_function_never_reads():
    source = """
    from torch import nn
    class Net(nn.Module):
        def __init__(self, width, dropout=0.0):
            self.drop = nn.Dropout(0.5)
            self.body = nn.Linear(width, width)
    net = Net(8, dropout=0.1)
    """
    (finding,) = settings(source)
    assert finding.location.line == 4
    assert "Net.__init__ takes dropout" in finding.message
    assert "0.1" in finding.message
    assert settings(source.replace("nn.Dropout(0.5)", "nn.Dropout(dropout)")) == []
    assert settings(source.replace(", dropout=0.1)", ")")) == []  # nobody asks for it: off by default, and stays off
    kept = source.replace("nn.Dropout(0.5)", "self.save_hyperparameters()")
    assert len(settings(kept)) == 1  # kept, and read by nobody
    for more in ("net.hparams.dropout", "net.hparams['dropout']", "net.hparams", "**net.hparams"):
        assert settings(f"{kept}log({more})\n") == []
    assert len(settings(f"{kept}log(net.hparams.width)\n")) == 1
    assert settings(source.replace("dropout=0.0", "dropout=0.2").replace(", dropout=0.1)", ")")) == []
    assert settings(source.replace("dropout=0.1", "dropout=scheduler")) == []
    assert len(settings(source.replace("dropout=0.1", "dropout=config['dropout']"))) == 1


def test_a_parameter_that_is_overwritten():
    source = """
    def train(net, lr=1e-3):
        lr = 0.1
        return SGD(net, lr)
    train(net, lr=1e-4)
    """
    (finding,) = settings(source)
    assert finding.location.line == 3
    assert "replaces its argument lr by 0.1" in finding.message
    assert settings(source.replace("lr = 0.1", "lr = lr * 0.1")) == []
    assert settings(source.replace("lr = 0.1", "if fast: lr = 0.1")) == []


def test_how_far_the_training_is_is_no_setting():
    source = (
        "def report(value, epochs=0):\n    print(value)\n    return 1\nfor epochs in range(9):\n    report(1, epochs)\n"
    )
    assert len(settings(source)) == 1
    assert settings(source.replace("epochs", "epoch")) == []


@pytest.mark.parametrize(
    "body", ["pass", "raise NotImplementedError", '"""An interface."""', "return locals()", "return x * dropout"]
)
def test_interfaces_and_what_is_read_are_left_alone(body):
    assert settings(f"def apply(x, dropout=0.1):\n    {body}\napply(1, dropout=0.3)\n") == []


def test_an_interface_of_somebody_else_decides_on_its_arguments():
    source = (
        "class Loss(Base):\n    def forward(self, x, weight=1.5):\n        return x\nLoss().forward(1, weight=2.0)\n"
    )
    assert settings(source) == []


def test_constants_and_fields():
    source = """
    from dataclasses import dataclass
    WARMUP = 500
    LR = 1e-3
    @dataclass
    class Config:
        ema_decay: float = 0.99
        lr: float = 1e-3
    print(LR, Config().lr)
    """
    assert sorted(one.location.line for one in settings(source)) == [3, 7]
    assert settings(source.replace("Config().lr", "asdict(Config()), WARMUP")) == []


# -- statements --------------------------------------------------------------------------------------------------


def test_a_method_that_is_not_called():
    (finding,) = idle("def test(net):\n    net.eval\n    return net(1)\n")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == 2
    assert idle("def test(net):\n    net.eval()\n    f = net.train\n    return net.shape\n") == []


def test_a_flag_with_a_wrong_name():
    (finding,) = idle("for p in net.parameters():\n    p.require_grad = False\n")
    assert finding.location.line == 2
    assert idle("for p in net.parameters():\n    p.requires_grad = False\n") == []


SPLIT = """
train, val = random_split(data, [80, 20])
train.dataset.transform = augment
val.dataset.transform = plain
"""


def test_parts_of_a_split_share_their_data_set():
    (finding,) = idle(SPLIT)
    assert finding.location.line == 4
    assert idle(SPLIT.replace("= plain", "= augment")) == []
    assert idle(SPLIT.replace("random_split(data, [80, 20])", "Data(1), Data(2)")) == []
    assert idle(SPLIT.replace("val.dataset", "train.dataset")) == []


# -- figures that select -----------------------------------------------------------------------------------------

KEEP = """
best = 0
for epoch in range(9):
    value = validate()
    if val_loss > best_loss:
        best_loss = val_loss
        torch.save(net.state_dict(), "best.pt")
"""


def test_the_worse_state_is_kept():
    (finding,) = kept(KEEP)
    assert finding.location.line == 5
    assert finding.standing is Standing.SUSPECTED
    assert kept(KEEP.replace("> best", "< best")) == []
    assert kept(KEEP.replace("val_loss", "val_acc").replace("best_loss", "best_acc")) == []
    assert kept(KEEP.replace("val_loss", "value").replace("best_loss", "best")) == []  # a name that says nothing
    assert kept(KEEP.replace('torch.save(net.state_dict(), "best.pt")', "hardest = epoch")) == []  # nothing is kept
    (turned,) = kept(
        KEEP.replace("val_loss > best_loss", "best_acc > val_acc").replace("best_loss = val_loss", "best_acc = val_acc")
    )
    assert "better when higher" in turned.message


def test_a_callback_whose_mode_is_the_default():
    source = 'from lightning.pytorch.callbacks import ModelCheckpoint\nModelCheckpoint(monitor="val_dice")\n'
    (finding,) = kept(source)
    assert "min" in finding.message
    assert kept(source.replace('"val_dice"', '"val_loss"')) == []
    assert kept(source.replace('"val_dice"', '"val_dice", mode="max"')) == []
    assert kept(source.replace("lightning.pytorch", "keras")) == []  # chooses by the name itself


def test_names_of_figures():
    assert [better(one) for one in ("val_loss", "valAcc", "dice_loss", "mean_dice", "neg_loss", "score", "hd95")] == [
        "lower", "higher", "lower", "higher", "", "", "lower",
    ]  # fmt: skip


OVERWRITTEN = """
def loss_of(outputs, weights):
    a, b = outputs["score"], outputs["size"]
    {first}
    {between}
    total = {second}
    return total
"""


@pytest.mark.parametrize("first", ["total = a + 2 * b", "total = sum(weights[k] * v for k, v in outputs.items())"])
def test_a_sum_whose_name_is_given_another_value_at_once(first):
    (finding,) = idle(OVERWRITTEN.format(first=first, between="pass", second="outputs['score']"))
    assert finding.variant == "overwritten"
    assert finding.location.line == 6


@pytest.mark.parametrize(
    ("first", "between", "second"),
    [
        ("total = a + 2 * b", "pass", "total / 2"),
        ("total = a + 2 * b", "print(total)", "a"),
        ("total = a + 2 * b", "if weights: a = total", "a"),
        ("total = 0.0", "pass", "a + b"),
        ("total = step(a, b)", "pass", "step(b, a)"),
        ("total = a + b\n    a = total", "pass", "a"),
        ("if weights:\n        total = a + b", "pass", "a"),
    ],
)
def test_values_that_are_read_or_chosen_or_made_for_an_effect(first, between, second):
    assert idle(OVERWRITTEN.format(first=first, between=between, second=second)) == []
