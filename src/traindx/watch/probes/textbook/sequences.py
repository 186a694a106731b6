"""Sequences: what attention makes of constant values, what a causal mask shows, and codes of places and times."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, parts_of, words
from traindx.watch.probes.textbook.base import Trial, entry

CLOSE = 1e-3
DISTINCT = 1e-3  # of the size of a code


@entry(
    "causal-mask-shows-no-future",
    "model",
    "causal mask",
    "hides from every place exactly the places after it, and shows each place itself",
    names={
        "causal",
        "causalmask",
        "subsequent",
        "subsequentmask",
        "squaresubsequent",
        "lookahead",
        "autoregressivemask",
        "futuremask",
        "triangularmask",
        "generatesquare",
    },
    unless={
        "conv",
        "conv1d",
        "window",
        "local",
        "sliding",
        "chunk",
        "prefix",
        "block",
        "attention",
        "padding",
        "alibi",
        "model",
        "lm",
        "decoder",
        "layer",
        "pool",
        "pad",
        "kernel",
        "shift",
        "cache",
        "expand",
        "transformer",
    },
    remedy="torch.triu(torch.ones(n, n), 1) is 1 where it hides; torch.tril(torch.ones(n, n)) is 1 where it shows.",
    source="Vaswani et al., Attention Is All You Need, 2017, section 3.2.3",
)
def shows_no_future(trial: Trial) -> None:
    """The mask as it was made: one value above the diagonal, another one on it and below."""
    torch = trial.torch
    found = [as_tensor(torch, part) for _, part in parts_of(trial.call.result)]
    masks = [one for one in found if one is not None and one.dim() >= 2 and one.shape[-1] == one.shape[-2] >= 3]
    trial.require(len(masks) == 1 and len(found) == 1)
    mask = masks[0].reshape(-1, *masks[0].shape[-2:])[0].double()
    above = torch.ones_like(mask).triu(1).bool()
    below = torch.ones_like(mask).tril(-1).bool()
    upper, lower, middle = mask[above].unique(), mask[below].unique(), mask.diagonal().unique()
    trial.require(len({*upper.tolist(), *lower.tolist(), *middle.tolist()}) == 2)
    trial.require(len(lower) == 1 and len(upper) == 1)  # something else, such as a window
    trial.expect(
        float(upper) != float(lower),
        f"{len(mask)} places",
        "places before and after have the same value",
    )
    trial.expect(
        len(middle) == 1 and float(middle) == float(lower),
        f"{len(mask)} places",
        f"the diagonal is {float(middle[0]):g} as all places after it, and places before it are {float(lower):g}",
    )
    if mask.isinf().any() or float(mask.min()) < -1000:  # added to scores: what is low is hidden
        trial.expect(
            float(upper) < float(lower), f"{len(mask)} places", "places before are hidden, and those after shown"
        )


def _qkv(trial: Trial) -> tuple[str, str, str]:
    q = trial.need("q", "query", "queries")
    k = trial.need("k", "key", "keys")
    v = trial.need("v", "value", "values")
    shapes = [trial.arrays[name].shape for name in (q, k, v)]
    trial.require(len({q, k, v}) == 3 and all(len(one) >= 3 and len(one) == len(shapes[0]) for one in shapes))
    trial.require(all(trial.arrays[name].is_floating_point() for name in (q, k, v)))
    return q, k, v


def _first(trial: Trial, shape: Any, **changes: Any) -> Any:
    """The result that has the form of the queries with the width of the values."""
    result = trial.again(**changes)
    for _, part in parts_of(result):
        found = as_tensor(trial.torch, part)
        if found is not None and tuple(found.shape) == tuple(shape):
            return found.double()
    trial.require(False)
    return None


ATTENTION = {
    "attention",
    "attn",
    "sdpa",
    "dotproduct",
    "scaleddot",
    "multiheadattention",
    "selfattention",
    "attend",
    "mha",
}
OTHER_ATTENTION = {
    "linear", "sigmoid", "gate", "gated", "external", "efficient", "channel", "spatial", "pool", "pooling", "additive",
    "block", "layer", "residual", "weights", "scores", "map", "mask", "rollout", "hook", "sinkhorn", "performer",
    "relu", "lightning", "retention", "delta", "transformer", "encoder", "decoder", "bias", "update", "output",
    "projection", "rotary", "prep", "prepare",
}  # fmt: skip


@entry(
    "attention-of-constant-values",
    "model",
    "attention",
    "returns a value that is the same at every place as it is: its weights sum to 1 over the keys",
    names=ATTENTION,
    unless=OTHER_ATTENTION,
    remedy="softmax(q @ k.transpose(-2, -1) / d ** 0.5, dim=-1) @ v, with the softmax over the keys.",
    source="Vaswani et al., Attention Is All You Need, 2017, eq. 1",
)
def of_constant_values(trial: Trial) -> None:
    """Queries, keys and values by name, without a module that projects them; values of one size."""
    torch = trial.torch
    q, _, v = _qkv(trial)
    owner = trial.call.args.get("self")
    trial.require(not isinstance(owner, torch.nn.Module) or not any(True for _ in owner.parameters()))
    shape = trial.arrays[v].shape
    out = _first(trial, (*trial.arrays[q].shape[:-1], shape[-1]), **_plain(trial), **{v: torch.full(shape, 3.0)})
    trial.require(bool(out.isfinite().all()) and float(out.min()) > -0.05)  # weights of both signs are another kind
    off = float((out - 3).abs().max())
    trial.expect(
        off < 0.05,
        "values of 3 everywhere",
        f"values from {float(out.min()):.3g} to {float(out.max()):.3g} came out: weights sum to "
        f"{float(out.min()) / 3:.3g} and more",
    )


def _plain(trial: Trial) -> dict[str, Any]:
    """Without dropout."""
    rates = {
        n: 0.0
        for n, one in trial.numbers.items()
        if {"dropout", "drop", "dropoutp", "pdrop"} & set(words(n)) and 0 <= one < 1
    }
    return {**rates, **{n: None for n, one in trial.call.args.items() if n == "dropout" and callable(one)}}


@entry(
    "attention-keeps-samples-apart",
    "model",
    "attention",
    "makes nothing of one sample for another one",
    names=ATTENTION,
    unless={*OTHER_ATTENTION, "cross_batch"},
    remedy="The axis of samples comes first, and no product or softmax goes over it.",
    source="Vaswani et al., Attention Is All You Need, 2017, eq. 1",
)
def keeps_samples_apart(trial: Trial) -> None:
    """Four axes of queries, keys and values, of which the first one is that of samples; another last sample."""
    torch = trial.torch
    q, k, v = _qkv(trial)
    shapes = {name: trial.arrays[name].shape for name in (q, k, v)}
    trial.require(all(len(one) == 4 and one[0] == shapes[q][0] >= 2 for one in shapes.values()))
    made = {name: torch.randn(shapes[name], generator=trial.generator(i)) for i, name in enumerate((q, k, v))}
    out = (*shapes[q][:-1], shapes[v][-1])
    before = _first(trial, out, **_plain(trial), **made)
    mixed = []
    for axis in (0, 1, 2):  # of samples, and of heads and places in some order
        size = min(int(one[axis]) for one in shapes.values())
        other = {name: one.clone() for name, one in made.items()}
        for one in other.values():
            one.select(axis, size - 1).mul_(-2).add_(1)
        after = _first(trial, out, **_plain(trial), **other)
        rest = (before - after).narrow(axis, 0, size - 1) if size > 1 else before[:0]
        mixed.append(rest.numel() > 0 and float(rest.abs().max()) > CLOSE * float((before - after).abs().max()))
    trial.expect(
        not (mixed[0] and (mixed[1] or mixed[2])),
        "another last sample, and another last place",
        "samples change by both",
    )


@entry(
    "places-have-codes-of-their-own",
    "model",
    "positional code",
    "is different at each place, and the same for each sample",
    names={
        "positionalencoding",
        "positionencoding",
        "posenc",
        "positionalembedding",
        "sinusoidalposition",
        "sinusoidalpositional",
        "sinpos",
        "sinusoidtable",
        "sinusoidencoding",
        "sincosposembed",
        "posembedding",
        "positionembedding",
        "sinusoidpositional",
        "1dsincos",
        "2dsincos",
        "1dsincospos",
        "2dsincospos",
    },
    unless={
        "learned",
        "learnable",
        "relative",
        "rotary",
        "rope",
        "conditional",
        "absolute",
        "fourier",
        "bias",
        "interpolate",
        "resize",
        "grid",
        "nerf",
        "add",
        "apply",
        "load",
    },
    remedy="Sine and cosine of position / 10000 ** (2 * i / d), one row a position, added along the axis of positions.",
    source="Vaswani et al., Attention Is All You Need, 2017, section 3.5",
)
def codes_of_places(trial: Trial) -> None:
    """A module without parameters that is given zeros (N, T, D), or a function that returns a table (T, D)."""
    torch = trial.torch
    owner = trial.call.args.get("self")
    trial.require(not isinstance(owner, torch.nn.Module) or not any(True for _ in owner.parameters()))
    if trial.arrays:
        name = trial.only()
        given = trial.arrays[name]
        trial.require(given.dim() == 3 and given.is_floating_point() and given.shape[-1] >= 4)
        count, length, width = (int(size) for size in given.shape)
        trial.require(min(count, length) >= 2)
        out = as_tensor(torch, trial.again(**{name: torch.zeros_like(given)}))
        trial.require(out is not None)
        code: Any = out
        if tuple(code.shape) != tuple(given.shape):
            trial.require(code.dim() >= 2 and code.shape[-1] == width and code.numel() == length * width)
            table = code.reshape(length, width).double()
        else:
            over = [float((code - code.narrow(axis, 0, 1)).abs().max()) for axis in (0, 1)]
            size = float(code.abs().max())
            trial.expect(max(over) > DISTINCT * size, "zeros", "the same code came out at every place")
            trial.expect(
                min(over) <= DISTINCT * size,
                "zeros",
                f"the code differs along both axes of {count} and {length}: by sample as well as by place",
            )
            table = code.select(int(over[1] > over[0]) ^ 1, 0).double()
    else:
        out = as_tensor(torch, trial.call.result)
        trial.require(out is not None and out.is_floating_point() and out.dim() in (2, 3))
        whole: Any = out
        trial.require(whole.dim() == 2 or 1 in whole.shape[:2])
        table = (whole.reshape(-1, whole.shape[-1])).double()
        sizes = {int(value) for value in trial.numbers.values()}
        trial.require(len(table) >= 3 and bool(sizes) and table.shape[-1] >= 4)
    _distinct(trial, table, "places")


@entry(
    "codes-of-one-length",
    "model",
    "code of places or times by sine and cosine",
    "has a sine and a cosine of each frequency, so that all codes have one length",
    names={
        "sinusoidalembedding",
        "sinusoidalposemb",
        "sinusoidtable",
        "sinusoidencoding",
        "sinusoidalposition",
        "sinusoidal",
        "positionalencoding",
        "sinusoidalpositional",
        "positionencoding",
        "posenc",
        "timestepembedding",
    },
    unless={"learned", "learnable", "relative", "rotary", "rope", "fourier", "nerf", "2d", "3d", "add", "log", "scale"},
    remedy="The same frequencies for the even places of a code and for the odd ones.",
    source="Vaswani et al., Attention Is All You Need, 2017, section 3.5: sin ** 2 + cos ** 2 = 1",
)
def codes_of_one_length(trial: Trial) -> None:
    """A table (T, D) that begins with sines of 0 and cosines of 0, from what has no parameters."""
    owner = trial.call.args.get("self")
    trial.require(not isinstance(owner, trial.torch.nn.Module) or not any(True for _ in owner.parameters()))
    if trial.arrays:
        name = trial.only()
        given = trial.arrays[name].double()
        trial.require(given.dim() == 1 and bool((given == given.round()).all()) and float(given.min()) >= 0)
        times = trial.torch.arange(0, max(int(given.max()), 20) + 1)[:64]
        table = trial.tensor(**{name: times}).double()
    else:
        table = trial.result().double()
    table = table.reshape(-1, table.shape[-1])
    trial.require(len(table) >= 8 and table.shape[1] >= 4 and table.shape[1] % 2 == 0)
    first = table[0]
    trial.require(
        bool(((first.abs() < 1e-4) | ((first - 1).abs() < 1e-4)).all()) and float(table.abs().max()) <= 1.0001
    )
    trial.require(int((first > 0.5).sum()) == len(first) // 2)
    lengths = table.norm(dim=1)
    trial.expect(
        float(lengths.max() - lengths.min()) < 1e-2 * float(lengths.max()),
        f"places 0 to {len(table) - 1}",
        f"codes have lengths from {float(lengths.min()):.3f} to {float(lengths.max()):.3f}",
    )


def _distinct(trial: Trial, table: Any, what: str) -> None:
    distances = trial.torch.cdist(table, table) + trial.torch.eye(len(table)).double() * 1e9
    size = float(table.norm(dim=1).mean())
    owner = trial.call.args.get("self")
    learned = isinstance(owner, trial.torch.nn.Module) and any(True for _ in owner.parameters())
    trial.require(not learned or float((table - table[:1]).abs().max()) > 0)  # a last layer that begins at zero
    nearest = float(distances.min())
    first, second = divmod(int(distances.argmin()), len(table))
    trial.expect(
        nearest > DISTINCT * max(size, 1e-9),
        f"{len(table)} {what}",
        f"the codes of {what} {first} and {second} are the same",
    )


@entry(
    "times-have-codes-of-their-own",
    "model",
    "embedding of times",
    "is different for each time, and depends on nothing but this time",
    names={
        "timestepembedding",
        "timeembedding",
        "sinusoidalposemb",
        "sinusoidalembedding",
        "timestepembedder",
        "timeemb",
        "sinusoidaltime",
        "timeembed",
        "timestepembed",
        "timestepsembedding",
        "sinusoidalposition",
        "posemb",
        "sinusoidal",
        "timepos",
        "timesteps",
    },
    unless={
        "series",
        "class",
        "label",
        "space",
        "image",
        "patch",
        "continuous",
        "respaced",
        "spaced",
        "set",
        "learned",
        "attention",
        "transformer",
        "block",
        "net",
        "unet",
        "get timesteps",
        "calendar",
    },
    remedy="Sine and cosine of t times frequencies from 1 to 1 / 10000: t[:, None] * freqs[None, :].",
    source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, appendix B",
)
def codes_of_times(trial: Trial) -> None:
    """Whole numbers of the recorded range, in one order and another."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name].double()
    trial.require(given.dim() == 1 or (given.dim() == 2 and given.shape[1] == 1))
    trial.require(bool((given == given.round()).all()) and float(given.max()) >= 2 and float(given.min()) >= 0)
    times = torch.unique(torch.linspace(0, float(given.max()), 24).round())
    trial.require(len(times) >= 3)
    shaped = (len(times), *given.shape[1:])
    codes = trial.tensor(**{name: times.reshape(shaped)})
    trial.require(codes.is_floating_point() and codes.shape[0] == len(times) and codes.numel() > len(times) * 2)
    codes = codes.reshape(len(times), -1).double()
    order = torch.arange(len(times) // 2 + 1).flip(0)
    turned = trial.tensor(**{name: times[order].reshape(-1, *given.shape[1:])}).reshape(len(order), -1).double()
    off = float((turned - codes[order]).abs().max())
    trial.expect(
        off < 1e-3 * max(float(codes.abs().max()), 1e-9),
        "the earlier times alone, in another order",
        f"a time has another code (by {off:.3g}): it depends on the others",
    )
    _distinct(trial, codes, "times")


@entry(
    "rotary-code-turns",
    "model",
    "rotary positional code",
    "turns every query and key, and keeps its length",
    names={"applyrotary", "rotary", "rope", "applyrope", "rotaryembedding", "applyrotaryemb", "rotaryemb"},
    unless={
        "precompute",
        "freqs",
        "build",
        "cache",
        "init",
        "get",
        "2d",
        "3d",
        "axial",
        "xpos",
        "scale",
        "attention",
        "table",
        "compute",
        "cis",
        "vision",
        "mixed",
        "multimodal",
        "linear",
        "block",
        "half",
        "rotate",
    },
    remedy="Pairs (a, b) become (a cos - b sin, a sin + b cos), with the cosine and the sine of one angle for both.",
    source="Su et al., RoFormer, 2021, eq. 34",
)
def rotary_turns(trial: Trial) -> None:
    """The first array is turned by the others, which stay; a constant vector at every place."""
    torch = trial.torch
    known = {"x", "q", "query", "k", "key", "t", "xq", "xk", "tensor", "queries", "hidden"}
    names = [name for name in trial.arrays if set(words(name)) & known and trial.arrays[name].dim() >= 3]
    trial.require(bool(names) and trial.arrays[names[0]].is_floating_point())
    name = names[0]
    shape = trial.arrays[name].shape
    vector = torch.randn(shape[-1], generator=trial.generator())
    given = {one: vector.expand(trial.arrays[one].shape) for one in names if trial.arrays[one].shape[-1] == shape[-1]}
    result = trial.again(**given)
    outs = [as_tensor(torch, part) for _, part in parts_of(result)]
    fitting = [one for one in outs if one is not None and one.shape == shape]
    trial.require(bool(fitting))
    out: Any = fitting[0].double()
    size = float(vector.norm())
    lengths = out.norm(dim=-1)
    axes = [axis for axis in range(out.dim() - 1) if float((out - out.narrow(axis, 0, 1)).abs().max()) > 1e-4 * size]
    trial.require(len(axes) == 1 and shape[axes[0]] >= 4)
    spread = float(lengths.max() - lengths.min())
    trial.expect(
        spread < 1e-2 * size,
        "one vector at every place",
        f"lengths from {float(lengths.min()):.3f} to {float(lengths.max()):.3f} came out",
    )


@entry(
    "tokens-shifted-by-one",
    "data",
    "shift of tokens to the right",
    "puts the token of each place at the next one",
    names={"shifttokens", "shiftright", "shifttokensright", "shiftinput"},
    remedy="shifted[:, 1:] = tokens[:, :-1]; shifted[:, 0] = start.",
    source="Raffel et al., T5, 2020, section 3.1.4",
)
def shifted_by_one(trial: Trial) -> None:
    """Tokens (N, T) as whole numbers."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() == 2 and not given.is_floating_point() and given.shape[1] >= 3)
    tokens = 3 + torch.arange(given.numel()).reshape(given.shape) % 50
    out = trial.tensor(**{name: tokens})
    trial.require(out.shape == given.shape)
    trial.expect(
        bool((out[:, 1:] == tokens[:, :-1]).all()), "tokens", "a place holds another token than the one before it"
    )
