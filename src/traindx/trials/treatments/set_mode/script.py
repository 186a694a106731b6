"""``set-mode``: a network that is called from a line in the wrong mode is called in the right one.

Dropout draws random numbers in one mode and not in the other. So that everything after the call (the order of the data,
noise) stays paired, the call leaves the generators as it would have left them in the script's own mode.
"""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment
from traindx.watch.runtime.call_sites import here


class SetMode(RuntimeTreatment):
    """``mode``: ``train`` acts on calls with gradients, ``eval`` on calls without."""

    def install(self) -> None:
        """Stand around outermost calls."""
        self._modes: list[tuple[Any, bool]] = []
        self._after: Any = None
        self._stream: Any = None
        self._wanted = self.fields.get("mode") == "train"
        self.arm.entering.append(self.safe(self._enter))
        self.arm.leaving.append(self.safe(self._leave))

    def _enter(self, network: Any, args: tuple[Any, ...]) -> None:
        torch = self.arm.torch
        if torch.is_grad_enabled() is not self._wanted or not self.place.holds(here(1)):
            return
        modes = [(module, module.training) for module in network.modules()]
        if all(mode is self._wanted for _, mode in modes):
            return
        draws = any("Dropout" in type(module).__name__ or "RReLU" in type(module).__name__ for module, _ in modes)
        if draws:
            self._pair(network, args)
        self._modes = modes
        network.train(self._wanted)
        self.acted()

    def _pair(self, network: Any, args: tuple[Any, ...]) -> None:
        """Work out the state in which the script's own call would leave the generator, and draw from another."""
        torch = self.arm.torch
        before = torch.get_rng_state()
        if self._wanted:  # without dropout its own call draws nothing; ours draws from a stream of its own
            self._after = before
            if self._stream is None:
                self._stream = torch.Generator().manual_seed(self.arm.seeding.seed_of(1)).get_state()
            torch.set_rng_state(self._stream)
            return
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        self.arm.inside = True
        try:
            with torch.no_grad():
                network.forward(*args)
            self._after = torch.get_rng_state()
        except TypeError:  # called with keywords, which a hook does not see
            self._after = None
        finally:
            self.arm.inside = False
            for buffer, value in buffers:
                buffer.copy_(value)
            torch.set_rng_state(before)

    def _leave(self, network: Any, output: Any) -> None:
        if not self._modes:
            return
        for module, mode in self._modes:
            module.training = mode
        self._modes = []
        if self._after is not None:
            if self._wanted:
                self._stream = self.arm.torch.get_rng_state()
            self.arm.torch.set_rng_state(self._after)
            self._after = None
