"""Before anything else: can this case be used at all?

A model, a batch, a finite loss; and if not, whose line it is. Also used by trials to name the first module that
produced a value that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from traindx.core.frames import defined_at, raised_at
from traindx.errors import CaseError, TraindxError

if TYPE_CHECKING:
    from traindx.checks.base import CheckContext

T = TypeVar("T")


def check_it_runs(ctx: CheckContext) -> None:
    """Make sure that the case can be used at all: a model, a batch, a finite loss.

    Raises:
        CaseError: It cannot, with what was found, the user's file and line, and what to do.
    """
    import torch

    case = ctx.case
    batch = _attempt("reading the first training batch", lambda: ctx.batch("train"))
    _attempt("reading the training batches a second time", lambda: case.first_batches(1, "train"))
    if case.val is not None:
        _attempt("reading the first validation batch", lambda: ctx.batch("val"))
    model = _attempt("building the model", ctx.fresh_model)
    if case.loss is None:
        return
    with torch.random.fork_rng():
        torch.manual_seed(ctx.seed)
        with first_nonfinite(model) as culprit:
            terms = _attempt("computing the loss of the first batch", lambda: case.loss_terms(model, batch))
    for name, value in terms.items():
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise CaseError(f"the loss term {name!r} is {shape}", expected="one number, as a tensor")
        if not bool(torch.isfinite(value)):
            inside = culprit()
            raise CaseError(
                f"the loss term {name!r} of the first batch is {float(value.detach())}"
                + (f"; the first output that is not finite comes from {inside[0]}" if inside else ""),
                expected="a finite loss before the first optimiser step",
                do="look for a division by zero, a logarithm of zero or values in the batch that are not finite",
                where=inside[1] if inside else "",
            )


class first_nonfinite:  # noqa: N801  (used as a verb: ``with first_nonfinite(model) as culprit``)
    """Remember the first leaf module whose output is not finite, and the file and line of its definition."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._handles: list[Any] = []
        self._found: tuple[str, str] | None = None

    def __enter__(self) -> Callable[[], tuple[str, str] | None]:
        import torch

        for name, module in self._model.named_modules():

            def look(module: Any, _: Any, output: Any, name: str = name) -> None:
                bad = isinstance(output, torch.Tensor) and not bool(torch.isfinite(output).all())
                if bad and self._found is None:
                    label = f"{name or 'the model'} ({type(module).__name__})"
                    self._found = (label, str(defined_at(type(module)) or defined_at(type(self._model)) or ""))

            self._handles.append(module.register_forward_hook(look))
        return lambda: self._found

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _attempt(doing: str, action: Callable[[], T]) -> T:
    """Run a piece of the user's case; what it raises becomes a :class:`CaseError` that names their line."""
    try:
        return action()
    except TraindxError:
        raise
    except Exception as error:
        raise CaseError(
            f"{doing} raised {type(error).__name__}: {error}",
            expected="it runs",
            do="run that part of the case by itself and fix it first",
            where=str(raised_at(error) or ""),
        ) from error
