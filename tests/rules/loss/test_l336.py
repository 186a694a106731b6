"""L336 on small networks for tokens, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import TokensAsked
from traindx.finding import Standing
from watch.inside import found, watched

WORDS, MASK = 12, 12


class Writer(nn.Module):
    """Tokens in, a score for every word at every position out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.words = nn.Embedding(WORDS + 1, 16)
        self.mix = nn.GRU(16, 16, batch_first=kind != "sequence first", bidirectional=kind == "both ways")
        self.out = nn.Linear(32 if kind == "both ways" else 16, WORDS)

    def forward(self, tokens: Tensor, hide: Tensor | None = None) -> Tensor:
        if hide is not None:
            tokens = tokens.masked_fill(hide, MASK)
        h = self.words(tokens)
        if self.kind == "moves inside":
            h = F.pad(h, (0, 0, 1, 0))[:, :-1]
        h, last = self.mix(h)
        if self.kind == "autoencoder":
            h = self.mix(torch.zeros_like(h), last)[0]
        return self.out(h)


class WithLoss(nn.Module):
    """Computes its loss itself, as many public decoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.writer = Writer("causal")

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.writer(tokens)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def texts() -> Tensor:
    """A walk through the words, each a step or two after the one before."""
    return (torch.randint(0, WORDS, (6, 1)) + torch.randint(1, 3, (6, 11)).cumsum(1)) % WORDS


def causal(net: nn.Module, target: str) -> Tensor:
    text = texts()
    given = text[:, :-1] if target == "next" else text
    wanted = {"next": text[:, 1:], "same": text, "classes": (text * 5 + 3) % WORDS}[target]
    if isinstance(net, WithLoss):
        return net(given, wanted)[1]
    logits = net(given)
    if target == "moved":
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), text[:, 1:].flatten())
    return F.cross_entropy(logits.transpose(1, 2), wanted)


def sequence_first(net: nn.Module) -> Tensor:
    text = texts().T
    return F.nll_loss(net(text).log_softmax(-1).reshape(-1, WORDS), text.reshape(-1))


def moved_after(net: nn.Module) -> Tensor:
    text = texts()
    logits = F.pad(net(text), (0, 0, 1, 0))[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), text.flatten())


def masked(net: nn.Module, how: str) -> Tensor:
    text = torch.randint(0, WORDS, (12, 20))
    hide = torch.rand(text.shape) < 0.25
    labels = text.masked_fill(~hide, -100)
    given = text if how in ("given", "inside") else text.masked_fill(hide, MASK)
    logits = net(given, hide) if how == "inside" else net(given)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def train(net: nn.Module, loss_of) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(6):
        loss = loss_of(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


FAULTY = {
    "causal": (lambda: Writer("causal"), lambda net: causal(net, "same"), "F.cross_entropy(logits.transpose(1, 2)"),
    "with its loss": (
        WithLoss,
        lambda net: causal(net, "same"),
        "F.cross_entropy(logits.flatten(0, 1), targets.flatten())",
    ),
    "sequence first": (lambda: Writer("sequence first"), sequence_first, "F.nll_loss("),
    "masks lost": (lambda: Writer("both ways"), lambda net: masked(net, "given"), "labels.flatten())"),
}
HEALTHY = {
    "next": (lambda: Writer("causal"), lambda net: causal(net, "next")),
    "with its loss": (WithLoss, lambda net: causal(net, "next")),
    "classes": (lambda: Writer("causal"), lambda net: causal(net, "classes")),
    "moved inside": (lambda: Writer("moves inside"), lambda net: causal(net, "same")),
    "moved after": (lambda: Writer("causal"), moved_after),
    "autoencoder": (lambda: Writer("autoencoder"), lambda net: causal(net, "same")),
    "sees all": (lambda: Writer("both ways"), lambda net: causal(net, "same")),
    "masked": (lambda: Writer("both ways"), lambda net: masked(net, "masked")),
    "masked inside": (lambda: Writer("both ways"), lambda net: masked(net, "inside")),
}


@pytest.mark.parametrize("kind", list(FAULTY))
def test_a_network_that_is_asked_for_what_it_is_given(kind: str, tmp_path: Path) -> None:
    made, loss_of, line = FAULTY[kind]
    (finding,) = found("L336", watched(lambda: train(made(), loss_of), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert line in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize("kind", list(HEALTHY))
def test_a_network_that_is_not(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: train(HEALTHY[kind][0](), HEALTHY[kind][1]), tmp_path)
    assert evidence.of(TokensAsked)
    assert not found("L336", evidence)


@pytest.mark.parametrize("kind", ["moved inside", "autoencoder", "sees all"])
def test_what_a_token_does_is_measured_and_not_believed(kind: str, tmp_path: Path) -> None:
    """Targets equal the tokens in all of these; the call made again tells them from a copy."""
    (seen,) = watched(lambda: train(HEALTHY[kind][0](), HEALTHY[kind][1]), tmp_path).of(TokensAsked)
    assert seen.equal == 1.0
    assert seen.own is not None
    assert seen.before is not None
    if kind == "moved inside":
        assert max(seen.own, seen.before) < 1e-6
    else:
        assert seen.before > 1e-3
