"""Are validation samples among the training samples, bit by bit?"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Literal

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import batch_size
from traindx.core.batches import tensors_in
from traindx.core.undisturbed import undisturbed
from traindx.evidence.evaluation import SharedSamples

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 10.0  # of reading each split
MOST = 4096  # samples of each split
LEAST_VALUES = 64  # numbers of a sample; fewer agree by chance


@check("shared-samples", "is anybody both trained on and validated on", needs=("val",), gives=(SharedSamples,))
def shared_samples(ctx: CheckContext) -> None:
    """Compare fingerprints of the largest tensor of every sample."""
    train, whole_train = _fingerprints(ctx, "train")
    val, whole_val = _fingerprints(ctx, "val")
    if not train or not val:
        return
    known = set(train)
    ctx.record(
        SharedSamples(
            train=len(train),
            val=len(val),
            shared=sum(mark in known for mark in val),
            complete=whole_train and whole_val,
        )
    )


def _fingerprints(ctx: CheckContext, split: Literal["train", "val"]) -> tuple[list[bytes], bool]:
    """Of the samples of a split, and whether all of it was read; constant images are left out."""
    found: list[bytes] = []
    begun = time.monotonic()
    with undisturbed(ctx.seed):
        for batch in ctx.case.batches(split):
            size = batch_size(ctx.case, batch)
            content = _largest(batch, size)
            if content is not None:
                found += [_mark(sample) for sample in content if bool((sample != sample.flatten()[0]).any())]
            if len(found) >= MOST or time.monotonic() - begun > SECONDS:
                return found, False
    return found, True


def _largest(batch: Any, size: int) -> Tensor | None:
    """The tensor with most numbers a sample, the first of several."""
    each = [tensor for tensor in tensors_in(batch) if tensor.ndim > 1 and tensor.shape[0] == size]
    best = max(each, key=lambda tensor: tensor[0].numel(), default=None)
    return best.detach().cpu() if best is not None and best[0].numel() >= LEAST_VALUES else None


def _mark(sample: Tensor) -> bytes:
    values = sample.float() if sample.dtype == torch.bfloat16 else sample
    return hashlib.blake2b(values.contiguous().numpy().tobytes(), digest_size=16).digest()
