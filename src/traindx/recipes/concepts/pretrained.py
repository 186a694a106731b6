"""Weights from elsewhere: how many tensors arrived is counted after loading, and too few are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.finding import Frozen

LEAST = 0.8
"""Share of the encoder's tensors that must arrive; an exchanged first convolution or head leaves more than that."""

PREFIXES = ("module.", "model.", "network.", "maps.", "encoder.", "backbone.", "state_dict.")


class Coverage(Frozen):
    """What of a file of weights arrived in a network.

    Attributes:
        wanted: Tensors of the network (batch counters left out).
        offered: Tensors in the file.
        arrived: Tensors of the network that equal one of the file after loading.
        changed: Tensors of the network that are different from before.
        missing: Names of tensors that the file lacks, or has in another shape.
        unused: Names of tensors of the file that went nowhere.
    """

    wanted: int
    offered: int
    arrived: int
    changed: int
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the network's tensors that arrived."""
        return self.arrived / self.wanted if self.wanted else 0.0

    def __str__(self) -> str:
        text = (
            f"{self.arrived} of {self.wanted} tensors loaded ({self.changed} changed), "
            f"{len(self.unused)} of {self.offered} in the file unused"
        )
        return text + (f"; missing: {', '.join(self.missing[:4])}" if self.missing else "")


def load_into(module: nn.Module, state: Mapping[str, Tensor], *, least: float = LEAST) -> Coverage:
    """Load weights by name and count what arrived.

    Prefixes that wrappers add are taken off, longest match first; shapes must agree.

    Args:
        module: The encoder.
        state: Tensors by name.
        least: Smallest share of the module's tensors that must arrive.

    Raises:
        InputError: Fewer arrived. The module is then as it was before.
    """
    own = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    plain = {_plain(name, own): (name, value) for name, value in state.items() if isinstance(value, Tensor)}
    taken = {name: plain[name] for name in own if name in plain and plain[name][1].shape == own[name].shape}
    module.load_state_dict({**before, **{name: value for name, (_, value) in taken.items()}})
    now = module.state_dict()
    used = {original for original, _ in taken.values()}
    report = Coverage(
        wanted=len(own),
        offered=sum(isinstance(value, Tensor) for value in state.values()),
        arrived=sum(bool(torch.equal(now[n].float(), v.to(now[n]).float())) for n, (_, v) in taken.items()),
        changed=sum(not torch.equal(now[name], before[name]) for name in own),
        missing=tuple(name for name in own if name not in taken),
        unused=tuple(name for name in state if name not in used and not name.endswith("num_batches_tracked")),
    )
    if report.share < least:
        module.load_state_dict(before)
        said = f"; the file says {report.unused[0]!r}" if report.unused else ""
        raise InputError(
            f"{report}{said}",
            expected=f"at least {least:.0%} of the encoder's tensors",
            do="rename the tensors so that they agree with the encoder's, or train from scratch",
        )
    return report


def _plain(name: str, own: Mapping[str, Tensor]) -> str:
    """A name without the prefixes of wrappers."""
    while name not in own:
        prefix = next((one for one in PREFIXES if name.startswith(one)), None)
        if prefix is None:
            return name
        name = name[len(prefix) :]
    return name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint, also where they lie below ``state_dict`` or ``model``.

    Raises:
        InputError: It is missing or holds no tensors.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", expected="a file of weights")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path} cannot be read as weights: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    if not isinstance(stored, dict) or not any(isinstance(value, Tensor) for value in stored.values()):
        raise InputError(f"{path} holds no tensors by name", expected="a state_dict")
    return stored
