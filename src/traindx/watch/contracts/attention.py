"""What the scores of an attention hide, held against where the sequences that a network reads are padded."""

from __future__ import annotations

from typing import Any

from traindx.watch.collectors.given_masks import ends_of
from traindx.watch.contracts.base import IN_ORDER, Broken, Said
from traindx.watch.runtime.stats import plain

FORBIDDEN = -1e3  # a score of which a softmax leaves nothing; -1e4 is added to others, and shifted windows have -100
MOST = 8_000_000  # scores that are looked at
INVERTED, QUERIES, OTHERS = "own-mask-inverted", "own-mask-over-queries", "own-mask-of-another-sample"
PADDING = "padding-mask-inverted"


def padding_of(torch: Any, sequences: Any) -> Any:
    """Where sequences (B, T) or (B, T, features) are padded, at either end: bool (B, T); None where they are not."""
    if sequences.dim() not in (2, 3) or len(sequences) < 2 or sequences.shape[1] < 3:
        return None
    steps = plain(sequences)
    steps = steps.flatten(2) if steps.dim() > 2 else steps[..., None]
    for turned in (False, True):
        line = steps.flip(1) if turned else steps
        if not ends_of(torch, line):
            continue
        runs = (line == line[:, -1:]).all(-1).flip(1).long().cumprod(1).flip(1)
        value = line[int(runs.sum(1).argmax()), -1]
        padding = (runs == 1) & (line == value).all(-1)
        return padding.flip(1) if turned else padding
    return None


def hidden_by_scores(scores: Any, axis: int) -> Any:
    """What a softmax over an axis of scores (B, ..., keys) leaves nothing of: (N, heads, queries, keys); or None."""
    if scores.dim() < 2 or not scores.is_floating_point() or scores.dtype.itemsize < 2:
        return None
    axis %= scores.dim()
    if axis == 0:
        return None
    found = plain(scores).movedim(axis, -1)
    if found.dim() == 2:
        found = found[:, None, None]
    elif found.dim() == 3:
        found = found[:, None]
    found = found[:, :1].flatten(1, -3)[:, :1] if found.dim() > 4 else found[:, :1]
    return found <= FORBIDDEN if found.numel() <= MOST else None


def hidden_by_mask(torch: Any, mask: Any, queries: int, keys: int) -> Any:
    """The same, of the mask that ``scaled_dot_product_attention`` is given: True may be attended to, or it is added."""
    if mask.dim() not in (3, 4) or mask.shape[-1] not in (1, keys) or mask.shape[-2] not in (1, queries):
        return None
    found = plain(mask)
    found = found[:, None] if found.dim() == 3 else found[:, :1]
    if found.dtype is not torch.bool and not found.is_floating_point():
        return None
    hidden = ~found if found.dtype is torch.bool else found <= FORBIDDEN
    hidden = hidden.expand(*hidden.shape[:2], queries, keys)
    return hidden if hidden.numel() <= MOST else None


def hidden_by_padding_mask(mask: Any) -> Any:
    """The same, of the mask (B, keys) that torch's layers are given: True is hidden, or it is added."""
    found = plain(mask)
    hidden = found <= FORBIDDEN if found.is_floating_point() else found.bool()
    return hidden[:, None, None, :]


def judged(torch: Any, hidden: Any, padding: Any) -> dict[str, Said]:
    """What was hidden (N, heads, queries, keys) against the padding (B, T), by contract; {} where nothing shows.

    N is the batch, or the batch times the heads with the heads of a sample in a row. One step more than T is one that
    the network puts before the sequence.
    """
    if hidden is None or not bool(hidden.any()):
        return {}
    padding = padding.to(hidden.device)
    if hidden.shape[-1] == padding.shape[1] + 1:
        padding = torch.cat([torch.zeros_like(padding[:, :1]), padding], 1)
    if hidden.shape[-1] != padding.shape[1] or len(hidden) % len(padding):
        return {}
    heads, square = len(hidden) // len(padding), hidden.shape[-2] == hidden.shape[-1]
    own, other = padding.repeat_interleave(heads, 0), padding.repeat(heads, 1)
    of_padding, of_text = _shares(hidden, own, square)
    said: dict[str, Said] = {}
    if of_padding == of_text == 1.0:  # nothing is left, of which nothing can be told
        return said
    if of_padding == 1.0:
        could = (INVERTED, *((QUERIES,) if square else ()), *((OTHERS,) if heads > 1 else ()))
        said = dict.fromkeys(could, IN_ORDER)
    elif of_padding == 0.0 and of_text == 1.0:
        said[INVERTED] = Broken("scores that hide every step of the sequences and leave the padding")
    elif square and of_padding == of_text == 0.0 and bool((hidden.all(-1).all(1) == own).all()):
        said[QUERIES] = Broken("scores that hide all keys from the padding, and the padding from nobody")
    elif heads > 1 and bool((hidden == other[:, None, None, :]).all()):
        said[OTHERS] = Broken("scores that hide in each sample what is padding in another one")
    return said


def _shares(hidden: Any, own: Any, square: bool) -> tuple[float, float]:
    """How much of the padding, and of everything else, is hidden from what is not padding; -1 where there is none."""
    asking = ~own if square else own.new_ones(len(own), hidden.shape[-2])
    found = []
    for keys in (own, ~own):
        pairs = (keys[:, None, None, :] & asking[:, None, :, None]).expand_as(hidden)
        found.append(float((hidden & pairs).sum() / pairs.sum()) if bool(pairs.any()) else -1.0)
    return found[0], found[1]
