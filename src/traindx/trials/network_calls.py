"""Listening to the calls of a denoiser, and changing what goes in and comes out, from outside.

The treatments of a sampler do not know the user's loop. They know that it calls ``network(model)`` as a module with a
noisy image and a time, and act there through hooks that last as long as the call they stand around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.randomness import preserved
from traindx.trials.treatment import TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case, Diffusion

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]
    Sampler = Callable[[nn.Module, Any], Tensor]


def read_call(
    diffusion: Diffusion, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...] | None = None
) -> tuple[Tensor, Any]:
    """Noisy image and time of one call of the network.

    Args:
        diffusion: Its ``read_call`` is used where there is one.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        shape: Shape ``(B, ...)`` of the image; the batch axis is not compared. Without it the first floating tensor
            with at least one spatial axis is taken.

    Raises:
        TreatmentUnfitError: They cannot be told from the other arguments.
    """
    if diffusion.read_call is not None:
        return diffusion.read_call(args, kwargs)
    values = [*args, *kwargs.values()]
    image = next((value for value in values if _is_image(value, shape)), None)
    if image is None:
        found = ", ".join(str(tuple(v.shape)) if isinstance(v, torch.Tensor) else type(v).__name__ for v in values)
        raise TreatmentUnfitError(
            f"the noisy image cannot be told among the arguments of the network ({found})",
            expected=f"a tensor of shape (B, {', '.join(map(str, shape[1:]))})" if shape else "an image tensor",
            do="say which it is with Diffusion(read_call=...)",
        )
    for value in values:
        if value is image or isinstance(value, bool):
            continue
        if isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.dim() <= 2):
            return image, value
    raise TreatmentUnfitError(
        "no argument of the network looks like a time",
        expected="a number, or a tensor of shape (B,) or (B, 1)",
        do="say which it is with Diffusion(read_call=...)",
    )


def _is_image(value: Any, shape: tuple[int, ...] | None) -> bool:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return False
    return value.dim() >= 3 if shape is None else tuple(value.shape[1:]) == tuple(shape[1:])


def replaced(args: tuple[Any, ...], kwargs: dict[str, Any], old: Any, new: Any) -> Arguments:
    """The arguments with ``old`` (found by identity) exchanged for ``new``.

    Where ``old`` is a view of an argument (the noisy channels of an image stacked with its conditions), that part of a
    copy of the argument is written over.

    Raises:
        TreatmentUnfitError: ``old`` is neither.
    """
    if any(value is old for value in (*args, *kwargs.values())):
        return (
            tuple(new if value is old else value for value in args),
            {key: new if value is old else value for key, value in kwargs.items()},
        )
    for holder in (*args, *kwargs.values()):
        if _is_view_of(old, holder):
            copy = torch.empty_strided(holder.size(), holder.stride(), dtype=holder.dtype, device=holder.device)
            copy.copy_(holder)
            offset = old.storage_offset() - holder.storage_offset()
            copy.as_strided(old.size(), old.stride(), offset).copy_(new)
            return replaced(args, kwargs, holder, copy)
    raise TreatmentUnfitError(
        "what Diffusion.read_call returns is not an argument of the network",
        expected="one of the arguments, or a view of one",
    )


def _is_view_of(part: Any, whole: Any) -> bool:
    if not (isinstance(part, torch.Tensor) and isinstance(whole, torch.Tensor)):
        return False
    same = part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    return same and part.dtype == whole.dtype


def first_tensor(output: Any) -> Tensor:
    """The prediction inside whatever the network returns: a tensor, a tuple or an object with ``sample``."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, tuple | list) and output and isinstance(output[0], torch.Tensor):
        return output[0]
    inner = getattr(output, "sample", None)
    if isinstance(inner, torch.Tensor):
        return inner
    raise TreatmentUnfitError(f"the network returns {type(output).__name__}", expected="a tensor, or a tuple of them")


def with_first_tensor(output: Any, new: Tensor) -> Any:
    """The same kind of output with its prediction exchanged."""
    if isinstance(output, torch.Tensor):
        return new
    if isinstance(output, list):
        return [new, *output[1:]]
    if isinstance(output, tuple):
        return (new, *output[1:])
    output.sample = new
    return output


@contextmanager
def hooked(
    module: nn.Module,
    before: Callable[[tuple[Any, ...], dict[str, Any]], Arguments | None] | None = None,
    after: Callable[[tuple[Any, ...], dict[str, Any], Any], Any] | None = None,
) -> Iterator[None]:
    """Stand around every call of a module: ``before`` may exchange the arguments, ``after`` the output."""
    handles = []
    if before is not None:
        handles.append(module.register_forward_pre_hook(lambda _, args, kwargs: before(args, kwargs), with_kwargs=True))
    if after is not None:
        handles.append(
            module.register_forward_hook(lambda _, args, kwargs, output: after(args, kwargs, output), with_kwargs=True)
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def while_sampling(case: Case, around: Callable[[nn.Module, Any], AbstractContextManager[Any]]) -> Case:
    """A case whose prediction paths run inside ``around(model, batch)``; training is as it was."""

    def inside(run: Sampler) -> Sampler:
        def sample(model: nn.Module, batch: Any) -> Tensor:
            with around(model, batch):
                return run(model, batch)

        return sample

    return on_prediction_paths(case, inside)


def on_prediction_paths(case: Case, change: Callable[[Sampler], Sampler]) -> Case:
    """A case with ``change`` applied to ``diffusion.sample`` and, where it has its own, to ``predict``."""
    changes: dict[str, Any] = {}
    if case.diffusion is not None:
        changes["diffusion__sample"] = change(case.diffusion.sample)
    if case.predict is not None:
        changes["predict"] = change(case.predict)
    if not changes:
        raise TreatmentUnfitError(
            f"case {case.name!r} has no prediction path", expected="predict= or diffusion.sample="
        )
    return case.replace(**changes)


def needs_diffusion(case: Case, name: str) -> Diffusion:
    """The diffusion part of a case.

    Raises:
        TreatmentUnfitError: It has none.
    """
    if case.diffusion is None:
        raise TreatmentUnfitError(f"{name} needs the diffusion part of the case", expected="Case(diffusion=...)")
    return case.diffusion


def probe(case: Case) -> tuple[nn.Module, Any, Tensor]:
    """A fresh model, the first training batch and an image of the target's shape, without touching the random state.

    Raises:
        TreatmentUnfitError: The case has no target.
    """
    from traindx.core.batches import to_device

    if case.target is None:
        raise TreatmentUnfitError(f"case {case.name!r} has no target", expected="target=batch -> Tensor")
    with preserved():
        model = case.model().to(case.device)
        batch = to_device(case.first_batches(1)[0], case.device)
        target = case.target(batch).detach()
    return model, batch, target


class Answered(Exception):  # noqa: N818  (not an error: it ends a call whose answer is known)
    """Raised inside a call of the network once its arguments have been seen, so that the network need not run."""


@contextmanager
def standing_in(module: nn.Module, answer: Callable[[tuple[Any, ...], dict[str, Any]], Tensor]) -> Iterator[None]:
    """Let ``answer`` reply instead of the network, which does not run; its hooks still see the call."""
    silent = module.__dict__.get("forward")
    module.__dict__["forward"] = answer_of = lambda *args, **kwargs: answer(args, kwargs)
    # hooks that the network was built with (a treatment's) would change the reply: it is given once more after them
    with hooked(module, after=lambda args, kwargs, output: answer(args, kwargs)):
        try:
            yield
        finally:
            assert module.__dict__.get("forward") is answer_of
            if silent is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = silent
