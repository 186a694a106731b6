"""What the checks of models share: undisturbed state, zero-initialised parts made random, one sample, one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.batches import rows_of, tensors_in
from traindx.core.calls import recorded_outputs
from traindx.core.undisturbed import reinit_zero_initialized, undisturbed
from traindx.errors import CaseError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.checks.base import CheckContext


def awake_model(ctx: CheckContext) -> nn.Module:
    """A fresh model in evaluation mode whose zero-initialised layers and gates are drawn again; shared by all checks.

    Heads, adaptive-norm gates, residual branches and learned skips often start at zero, on purpose. What such a model
    *can* pass on is only seen when they are reinitialised. Never trained, never the model that a trial uses.
    """

    def make() -> nn.Module:
        model = ctx.fresh_model()
        with undisturbed(ctx.seed):
            reinit_zero_initialized(model)
        return model.eval()

    return ctx.once("reinitialised model", make)


def other_awake_model(ctx: CheckContext) -> nn.Module:
    """The same drawn from another seed: where its answers differ is what the learned part of the network says."""

    def make() -> nn.Module:
        with undisturbed(ctx.seed + 1):
            model = ctx.case.model().to(ctx.case.device)
            reinit_zero_initialized(model)
        return model.eval()

    return ctx.once("other reinitialised model", make)


def network_of(case: Case, model: nn.Module) -> nn.Module:
    """The module whose output the loss judges: the denoiser of a diffusion case, else the model itself."""
    return case.diffusion.network(model) if case.diffusion is not None else model


ENOUGH = 100_000  # numbers in a batch; more samples than that holds add time and no insight


@dataclass
class NetworkProbe:
    """One sample and a way to call the network on it, with any part replaced.

    Attributes:
        batch: One training sample, as a batch of one where the batch can be cut.
        other: Another sample of the same form, or None where there is only one.
        x_t: Noised target of a diffusion case, at the timestep with alpha bar nearest one half; else None.
        t: That timestep, shape ``(1,)``.
        noise: The noise in ``x_t``.
        call: ``(model, batch, x_t, t) -> outputs``.
    """

    case: Case
    batch: Any
    other: Any | None
    x_t: Tensor | None
    t: Tensor | None
    noise: Tensor | None
    call: Callable[[nn.Module, Any, Tensor | None, Tensor | None], list[Tensor]]

    def outputs(
        self,
        model: nn.Module,
        *,
        batch: Any = None,
        x_t: Tensor | None = None,
        t: Tensor | None = None,
        seed: int = 0,
    ) -> list[Tensor]:
        """Outputs of the network (without gradient, with the same seed each time), parts replaced where given."""
        import torch

        with undisturbed(seed), torch.no_grad():
            return self.call(
                model,
                self.batch if batch is None else batch,
                self.x_t if x_t is None else x_t,
                self.t if t is None else t,
            )


def network_probe(ctx: CheckContext) -> NetworkProbe:
    """The probe of a case, made once.

    A diffusion case is probed through ``diffusion.denoise``. Any other case is probed by listening to its model while
    the loss is computed (the path that trains), or through ``predict`` where the loss does not call the model itself.

    Raises:
        CaseError: There is neither a denoiser, nor a loss that calls the model, nor a prediction path.
    """
    return ctx.once("network probe", lambda: _make_probe(ctx))


def _make_probe(ctx: CheckContext) -> NetworkProbe:
    import torch

    case, model = ctx.case, awake_model(ctx)
    batch, other = two_samples(ctx)
    if case.diffusion is not None and case.target is not None:
        diffusion = case.diffusion
        x0 = ctx.target(batch)
        alphas = diffusion.alphas_cumprod.detach().to(x0)
        middle = int((alphas - 0.5).abs().argmin())
        with undisturbed(ctx.seed):
            noise = torch.randn_like(x0)
        x_t = alphas[middle].sqrt() * x0 + (1 - alphas[middle]).sqrt() * noise
        t = torch.full((len(x0),), middle, dtype=torch.long, device=x0.device)

        def call_denoiser(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
            assert x_t is not None
            assert t is not None
            return tensors_in(diffusion.denoise(model, x_t, t, batch))

        return NetworkProbe(case, batch, other, x_t, t, noise, call_denoiser)

    def call_in_loss(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
        with recorded_outputs(model) as recorded:
            case.loss_terms(model, batch)
        return tensors_in(recorded)

    def call_predict(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
        return tensors_in(case.prediction(model, batch))

    if case.loss is not None:
        with undisturbed(0), torch.no_grad():
            if call_in_loss(model, batch, None, None):
                return NetworkProbe(case, batch, other, None, None, None, call_in_loss)
    if case.predict is None:
        raise CaseError(
            f"case {case.name!r} shows no call of its network",
            expected="a loss that calls `model(...)`, or predict=",
        )
    return NetworkProbe(case, batch, other, None, None, None, call_predict)


def modest_batch(ctx: CheckContext, number: int = 0) -> Any:
    """A training batch with no more samples than a check needs, and at least two (batch normalisation wants them).

    Args:
        room: The room.
        number: Which batch; wraps around the first two.
    """
    try:
        batches = ctx.batches(2, "train") if number else [ctx.batch("train")]
    except CaseError:
        batches = [ctx.batch("train")]
    batch = batches[number % len(batches)]
    size = batch_size(ctx.case, batch)
    each = max(1, sum(tensor.numel() for tensor in tensors_in(batch)) // max(1, size))
    rows = max(2, min(size, ENOUGH // each))
    return rows_of(batch, slice(0, rows), size) if rows < size else batch


def two_samples(ctx: CheckContext) -> tuple[Any, Any | None]:
    """Two different training samples as batches of one; a batch that cannot be cut is used as it is."""
    first = ctx.batch("train")
    size = batch_size(ctx.case, first)
    if size > 1:
        one, two = rows_of(first, slice(0, 1), size), rows_of(first, slice(1, 2), size)
        if batch_size(ctx.case, one) == 1:
            return one, two
    try:
        batches = ctx.batches(2, "train")
    except CaseError:
        return first, None
    if len(batches) > 1 and batch_size(ctx.case, batches[1]) == size:
        return first, batches[1]
    return first, None


def batch_size(case: Case, batch: Any) -> int:
    """Number of samples: first axis of the target, or of the first tensor."""
    if case.target is not None:
        return int(case.target(batch).shape[0])
    tensors = tensors_in(batch)
    return int(tensors[0].shape[0]) if tensors and tensors[0].ndim else 1
