"""``copy-statistics``: before a copy of a network is called in evaluation mode, it gets the network's buffers."""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class CopyStatistics(RuntimeTreatment):
    """A copy is a network that no optimiser holds, with buffers of the names and shapes of one that is held."""

    def install(self) -> None:
        """Stand before calls."""
        self._live: list[Any] = []
        self._copies: list[Any] = []
        self.arm.entering.append(self.safe(self._enter))

    def _enter(self, network: Any, args: tuple[Any, ...]) -> None:
        torch = self.arm.torch
        reference = torch.utils.weak.WeakIdRef
        if torch.is_grad_enabled():
            if not any(known() is network for known in self._live) and self._held(network):
                self._live.append(reference(network))
            return
        if network.training or not buffers_of(network):
            return
        if any(known() is network for known in self._live) or self._held(network):
            return
        shapes = {name: buffer.shape for name, buffer in buffers_of(network).items()}
        for known in self._live:
            live = known()
            own = buffers_of(live) if live is not None else {}
            if {name: buffer.shape for name, buffer in own.items()} != shapes:
                continue
            with torch.no_grad():
                for name, buffer in buffers_of(network).items():
                    if not torch.equal(buffer, own[name]):
                        self.evaluations += 1
                        self.arm.outputs.digest.mark(self.key)
                        buffer.copy_(own[name])
            return

    def _held(self, network: Any) -> bool:
        """True if an optimiser moves a part of it."""
        known = [made for reference in self.arm.made if (made := reference()) is not None]
        held = {id(p) for made in known for group in made.param_groups for p in group["params"]}
        return any(id(parameter) in held for parameter in network.parameters())

    def finish(self) -> None:
        """Nothing was copied."""
        if not self.evaluations:
            self.refuse("no copy of the network with other running statistics was called in evaluation mode")


def buffers_of(network: Any) -> dict[str, Any]:
    """Buffers of floating point, by name."""
    return {name: buffer for name, buffer in network.named_buffers() if buffer.is_floating_point()}
