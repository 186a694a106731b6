"""Layers and functions in which an axis, a mask or a sequence has a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said
from traindx.watch.contracts.numbers import few_values
from traindx.watch.runtime.stats import plain

FEATURES = 16  # of a vector, to compare positions by
SAME, OTHER = 0.9, 0.1  # shares of positions at which all samples are the same
RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class RecurrentNote:
    """What is known of a tensor that a recurrent layer gave.

    Attributes:
        kind: ``output`` or ``hidden``.
        batch_first: As the layer was made.
        batch: Samples.
        steps: Steps of ``output``, layers times directions of ``hidden``.
    """

    kind: str
    batch_first: bool
    batch: int
    steps: int


def batch_first(module: Any) -> bool | None:
    """How a layer was made; None where that cannot be told."""
    for _ in range(3):
        own = getattr(module, "batch_first", None)
        if isinstance(own, bool):
            return own
        layers = getattr(module, "layers", None)
        module = layers[0] if layers is not None and len(layers) else getattr(module, "self_attn", None)
    return None


def _sequence(given: Given) -> Any:
    tensor = given.tensor("src", "tgt", "query", "input")
    return tensor if tensor is not None and tensor.dim() == 3 else None


def batch_axis(given: Given) -> Said:
    """The loader's batch lies along the axis of the batch."""
    tensor, first, items = _sequence(given), batch_first(given.module), given.items
    if tensor is None or first is None or items < 2:
        return None
    batch, steps = (0, 1) if first else (1, 0)
    if tensor.shape[batch] == items:
        return IN_ORDER
    purpose = given.grad and type(given.module).__name__ not in RECURRENT
    if tensor.shape[steps] != items or not given.mixed or (tensor.shape[batch] == 1 and purpose):
        return None
    shape = tuple(tensor.shape)
    how = "was made with batch_first=True" if first else "was not made with batch_first=True"
    return Broken(f"{shape}, where the {items} samples of the loader's batch lie along axis {steps}, and {how}", items)


def remember(given: Given) -> Said:
    """Note what a recurrent layer gives, for the calls that read it."""
    tensor, first = _sequence(given), batch_first(given.module)
    if tensor is None or first is None or given.notes is None or not isinstance(given.out, tuple):
        return None
    output, hidden = given.out[0], given.out[1]
    hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    batch, steps = (tensor.shape[0], tensor.shape[1]) if first else (tensor.shape[1], tensor.shape[0])
    if given.items > 1 and batch != given.items:  # the axes are not what the layer takes them for: said elsewhere
        return None
    if isinstance(output, given.torch.Tensor):
        given.notes[output] = RecurrentNote("output", first, batch, steps)
    if isinstance(hidden, given.torch.Tensor) and hidden.dim() == 3:
        given.notes[hidden] = RecurrentNote("hidden", first, batch, hidden.shape[0])
    return None


def last_step(given: Given) -> Said:
    """``output[-1]`` with the batch first, ``output[:, -1]`` without."""
    tensor = given.named.get("self")
    note = given.notes.get(tensor) if isinstance(tensor, given.torch.Tensor) and given.notes is not None else None
    if not isinstance(note, RecurrentNote) or note.kind != "output" or note.batch < 2 or note.steps < 2:
        return None
    index = given.named.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    if not parts or not all(type(part) is int or part == slice(None) for part in parts[:2]):
        return None
    axis = next((number for number, part in enumerate(parts[:2]) if part == -1), None)
    if axis is None:
        return None
    if axis == (1 if note.batch_first else 0):
        return IN_ORDER
    how = "True" if note.batch_first else "False"
    return Broken(
        f"[{', '.join(':' if part == slice(None) else str(part) for part in parts[:2])}] of its output, which with "
        f"batch_first={how} is the last of {note.batch} samples, not the last of {note.steps} steps"
    )


def hidden_view(given: Given) -> Said:
    """The batch is moved first before the state is cut anew."""
    tensor = given.named.get("self")
    note = given.notes.get(tensor) if isinstance(tensor, given.torch.Tensor) and given.notes is not None else None
    if not isinstance(note, RecurrentNote) or note.kind != "hidden" or note.steps < 2 or note.batch < 2:
        return None
    shape = tuple(given.named["self"].shape)
    out = given.out
    if not isinstance(out, given.torch.Tensor) or out.dim() < 2 or note.batch == note.steps:
        return None
    if out.shape[0] != note.batch:
        return IN_ORDER
    return Broken(f"a view {tuple(out.shape)} of its last hidden state {shape}")


def over_batch(given: Given) -> Said:
    """What is compared with one another belongs to one sample."""
    tensor, items = given.tensor("input", "x1"), given.items
    if tensor is None or tensor.dim() < 2 or not items or not given.depth or is_weight(given.torch, tensor):
        return None
    if items != tensor.shape[0] or items == tensor.shape[1]:
        return None
    axis = given.named.get("dim")
    if axis is None:
        axis = 1 if given.function in ("normalize", "cosine_similarity") or tensor.dim() not in (1, 3) else 0
    if not isinstance(axis, int):
        return None
    if axis % tensor.dim():
        return IN_ORDER
    if not given.mixed:
        return None
    return Broken(f"{tuple(tensor.shape)} and axis 0, the {items} samples of the batch", items)


def exchanged_axes(given: Given) -> Said:
    """A view has the axes in their order, or others."""
    tensor, out = given.tensor("self"), given.out
    if tensor is None or not isinstance(out, given.torch.Tensor) or is_weight(given.torch, tensor):
        return None
    before, after = ([size for size in one.shape if size > 1] for one in (tensor, out))
    if before == after or len(before) < 2:
        return None
    if sorted(before) != sorted(after):
        return IN_ORDER
    return Broken(f"a tensor {tuple(tensor.shape)} and makes {tuple(out.shape)} of it", int(tensor.shape[0]))


def is_weight(torch: Any, tensor: Any) -> bool:
    """A parameter, or a view of one."""
    whole = tensor._base if tensor._is_view() else tensor
    return isinstance(whole, torch.nn.Parameter) or (tensor.is_leaf and tensor.requires_grad)


MASKS = ("attn_mask", "mask", "src_mask", "tgt_mask", "key_padding_mask", "src_key_padding_mask")


def added(given: Given) -> Said:
    """A mask of floating point is added to the scores."""
    found: Said = None
    for name in (*MASKS, "tgt_key_padding_mask", "memory_key_padding_mask"):
        mask = given.tensor(name)
        if mask is None or mask.numel() < 2:
            continue
        if not mask.is_floating_point() or mask.requires_grad:
            found = IN_ORDER
            continue
        values = few_values(mask, 2)
        if values == (0.0, 1.0):
            return Broken(f"{name} of zeros and ones in {str(mask.dtype).removeprefix('torch.')}")
        found = None if values == (1.0,) else IN_ORDER
    return found


def causal(given: Given) -> Said:
    """Not the future alone."""
    mask = given.tensor("attn_mask", "mask", "src_mask", "tgt_mask")
    if mask is None or mask.dtype is not given.torch.bool or mask.dim() < 2:
        return None
    square = plain(mask).reshape(-1, *mask.shape[-2:])[0]
    size = square.shape[0]
    if size < 3 or square.shape[1] != size:
        return None
    past = given.torch.ones(size, size, dtype=given.torch.bool, device=square.device).tril()
    forbidden = ~square if given.function == "scaled_dot_product_attention" else square
    if bool((forbidden == ~past).all()):
        return IN_ORDER
    if not bool((forbidden == past).all()):
        return None
    word = "False" if given.function == "scaled_dot_product_attention" else "True"
    return Broken(f"a mask that is {word} for each step itself and all before it, which forbids these")


def padding(given: Given) -> Said:
    """What is hidden is the same in all samples, and what is not hidden is not."""
    mask = given.tensor("key_padding_mask", "src_key_padding_mask")
    keys = given.tensor("key", "src")
    first = batch_first(given.module)
    if mask is None or keys is None or keys.dim() != 3 or mask.dim() != 2 or mask.dtype is not given.torch.bool:
        return None
    rows = plain(keys)[..., :FEATURES].float()
    rows = rows if first else rows.transpose(0, 1)
    mask = plain(mask)
    if rows.shape[:2] != mask.shape:
        return None
    hidden, kept = _alike(given.torch, rows, mask), _alike(given.torch, rows, ~mask)
    if hidden is None or kept is None:
        return None
    if hidden >= SAME and kept <= OTHER:
        return IN_ORDER
    if hidden > OTHER or kept < SAME:
        return None
    return Broken(
        f"a mask that hides positions at which the samples differ and leaves those at which they are the same (at "
        f"{100 * kept:.0f} % of the positions left, {100 * hidden:.0f} % of the hidden)"
    )


def _alike(torch: Any, rows: Any, chosen: Any) -> float | None:
    """Share of positions, of those chosen in two samples or more, at which all samples chosen are the same."""
    several = chosen.sum(0) >= 2
    if not bool(several.any()):
        return None
    far = float("inf")
    high = rows.masked_fill(~chosen[..., None], -far).amax(0)[several]
    low = rows.masked_fill(~chosen[..., None], far).amin(0)[several]
    scale = float(rows.abs().max()) or 1.0
    return float(((high - low).amax(-1) <= 1e-5 * scale).double().mean())


_N = "torch.nn."
_LAYERS = ("TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer")
_ENCODERS = tuple(_N + name for name in _LAYERS[:2])
_DECODERS = tuple(_N + name for name in _LAYERS[2:])
_RECURRENT = tuple(_N + name for name in RECURRENT)
_MHA = (_N + "MultiheadAttention",)
_OF_ENCODER = ("src", "mask", "src_key_padding_mask")
_OF_DECODER = ("tgt", "memory", "tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
_OF_MHA = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
_SDPA = ("torch.nn.functional.scaled_dot_product_attention",)
_OF_SDPA = ("query", "key", "value", "attn_mask")
OUTERMOST = (*_ENCODERS, *_DECODERS, *_MHA, *_RECURRENT, _N + "Transformer")
"""Classes of which only the outermost that is called is looked at: what it holds was given the same."""

MODULES = (
    Check("batch-in-the-place-of-the-sequence", (*_ENCODERS, _N + "Transformer"), _OF_ENCODER, batch_axis),
    Check("batch-in-the-place-of-the-sequence", _DECODERS, _OF_DECODER, batch_axis),
    Check("batch-in-the-place-of-the-sequence", _MHA, _OF_MHA, batch_axis),
    Check("batch-in-the-place-of-the-sequence", _RECURRENT, ("input",), batch_axis),
    Check("last-sample-for-last-step", _RECURRENT, ("input",), remember),
    Check("mask-of-ones-added", _ENCODERS, _OF_ENCODER, added),
    Check("mask-of-ones-added", _DECODERS, _OF_DECODER, added),
    Check("mask-of-ones-added", _MHA, _OF_MHA, added),
    Check("causal-mask-inverted", _ENCODERS, _OF_ENCODER, causal),
    Check("causal-mask-inverted", _DECODERS, _OF_DECODER, causal),
    Check("causal-mask-inverted", _MHA, _OF_MHA, causal),
    Check("padding-mask-inverted", _ENCODERS, _OF_ENCODER, padding),
    Check("padding-mask-inverted", _MHA, _OF_MHA, padding),
)
FUNCTIONS = (
    Check("last-sample-for-last-step", ("torch.Tensor.__getitem__",), ("self", "index"), last_step),
    Check(
        "hidden-state-reshaped-across-samples",
        ("torch.Tensor.view", "torch.Tensor.reshape"),
        ("self",),
        hidden_view,
        after=True,
    ),
    Check(
        "axes-exchanged-by-a-view",
        ("torch.Tensor.view", "torch.Tensor.reshape", "torch.reshape"),
        ("self",),
        exchanged_axes,
        after=True,
    ),
    Check("over-the-batch", ("softmax", "log_softmax"), ("input", "dim"), over_batch),
    Check("over-the-batch", ("torch.nn.functional.normalize",), ("input", "p", "dim"), over_batch),
    Check("over-the-batch", ("cosine_similarity",), ("x1", "x2", "dim"), over_batch),
    Check("mask-of-ones-added", _SDPA, _OF_SDPA, added),
    Check("causal-mask-inverted", _SDPA, _OF_SDPA, causal),
)
