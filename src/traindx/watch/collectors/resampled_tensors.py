"""The same for label maps that torch resamples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.resampled import Resampling
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site
from traindx.watch.runtime.watch import Collector, Watch


class ResampledTensors(Collector):
    """Looks at ``interpolate`` outside the networks."""

    subject = "label maps that are resampled"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks, resampling: Resampling) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.resampling = resampling

    def install(self) -> None:
        """Subscribe."""
        self.calls.on(self, {self.watch.torch.nn.functional.interpolate: "interpolate"}, self._interpolates)

    def _interpolates(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        given, how = argument(args, kwargs, 0, "input"), argument(args, kwargs, 3, "mode", "nearest")
        torch, site = self.watch.torch, call_site()
        plain = isinstance(given, torch.Tensor) and not given.requires_grad and given.device.type == "cpu"
        if not plain or "nearest" in str(how) or self.networks.depth or len(args) > 3:
            return None

        def done(out: Any) -> None:
            def again() -> Any:
                same = {**kwargs, "mode": "nearest"}
                same.pop("align_corners", None)
                same.pop("antialias", None)
                return torch.nn.functional.interpolate(*args, **same).numpy()

            self.resampling.look(name, str(how), given.numpy(), out.detach().numpy(), again, site)

        return done

    def records(self) -> Iterable[Record]:
        """What was seen of torch and of the array libraries."""
        yield from self.resampling.records()
