"""Labels of which every class has as many, and predictions for them of which the score is known."""

from __future__ import annotations

from typing import Any

SURE = 20.0  # a logit


def labels(torch: Any, like: Any, classes: int, rows: int) -> Any:
    """Labels in no order, in the form of the script's: numbers, columns of zeros and ones, or maps of numbers.

    Args:
        torch: The script's torch.
        like: Labels of the script's.
        classes: Classes.
        rows: Samples.
    """
    generator = torch.Generator().manual_seed(1)

    def mixed(count: int, many: int) -> Any:
        return (torch.arange(count) % many)[torch.randperm(count, generator=generator)]

    shape = (rows, *like.shape[1:])
    if like.dim() > 2:
        return mixed(like[0].numel() * rows, classes).reshape(shape).to(like.dtype)
    if like.dim() == 2 and like.shape[1] > 1:
        columns = int(like.shape[1])
        if bool((like.double().sum(1) == 1).all()):  # one of several
            return torch.nn.functional.one_hot(mixed(rows, columns), columns).to(like.dtype)
        return torch.stack([mixed(rows, 2) for _ in range(columns)], 1).to(like.dtype)
    return mixed(rows, classes).reshape(shape).to(like.dtype)


def dealt(torch: Any, known: Any) -> Any:
    """The same labels dealt to other samples."""
    order = torch.randperm(known.numel() if known.dim() > 2 else len(known), generator=torch.Generator().manual_seed(3))
    return known.reshape(-1)[order].reshape(known.shape) if known.dim() > 2 else known[order]


def mistaken(torch: Any, known: Any, classes: int) -> Any:
    """The same labels with mistakes, more of them the higher the class, so that no two scores count them alike."""
    chance = torch.rand(known.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rate = 0.1 + 0.25 * known.double() / max(1, classes - 1)
    return torch.where(chance < rate, (known + 1) % classes, known).to(known.dtype)


def perfect(torch: Any, like: Any, known: Any, *, sure: bool) -> Any:
    """Predictions of which each is right, in the form of the script's: classes, probabilities or logits.

    Args:
        torch: The script's torch.
        like: Predictions of the script's.
        known: The labels.
        sure: As sure as can be; without it no two are equally sure.
    """
    generator = torch.Generator().manual_seed(2)
    flat = known[:, 0] if known.dim() == 2 and known.shape[1] == 1 and like.dim() == 2 else known
    classes = int(like.shape[1]) if like.dim() > 1 else 1
    right = flat
    if classes > 1 and like.dim() == flat.dim() + 1:
        right = torch.nn.functional.one_hot(flat.long(), classes).movedim(-1, 1)
    right = right.double()
    shape = (len(known), *like.shape[1:])
    if not bool(like.is_floating_point()) or bool((like == like.round()).all()):
        return right.reshape(shape).to(like.dtype)
    noise = torch.rand(right.shape, generator=generator, dtype=torch.float64)
    likely = bool((like >= 0).all()) and bool((like <= 1).all())
    if sure:
        one = 0.004 + 0.992 * right if likely else SURE * (2 * right - 1)
    elif likely and right.dim() > 1 and right.shape[1] > 1 and bool((right.sum(1) == 1).all()):
        most = 0.55 + 0.4 * noise[:, :1]
        rest = (torch.rand(right.shape, generator=generator, dtype=torch.float64) + 1e-3) * (1 - right)
        one = right * most + (1 - most) * rest / rest.sum(1, keepdim=True)
    elif likely:
        one = torch.where(right == 1, 0.55 + 0.4 * noise, 0.05 + 0.4 * noise)
    else:
        one = torch.where(right == 1, 3 + 3 * noise, -6 + 3 * noise)
    return one.reshape(shape).to(like.dtype)
