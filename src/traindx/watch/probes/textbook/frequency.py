"""Fourier transforms and magnetic resonance: energy, where a constant image lies, coils, and what was measured."""

from __future__ import annotations

import itertools
import math
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import learns, named_words

NAMES = {
    "fft2c", "ifft2c", "fft2", "ifft2", "fftc", "ifftc", "fft2cnew", "ifft2cnew", "centeredfft", "centeredifft",
    "centredfft", "fft2d", "ifft2d", "fftcentered", "ifftcentered", "fft2centered", "ifft2centered", "cfft2", "cifft2",
    "imagetokspace", "kspacetoimage", "im2k", "k2im", "fft2torch", "ifft2torch", "kspacetoimg", "imgtokspace", "fft3c",
    "centeredfft2", "centeredifft2", "fft2centred", "centeredfft2d", "centeredifft2d",
}  # fmt: skip
UNLESS = {
    "loss", "conv", "mask", "magnitude", "amplitude", "phase", "log", "spectrum", "block", "layer", "mix", "mixer",
    "radial", "power", "abs", "filter", "freq", "shift", "rss", "combine", "feature", "features", "real", "rfft",
}  # fmt: skip
SMALL = 1e-3


class Transform:
    """A Fourier transform of the only array, as complex numbers in and out."""

    def __init__(self, trial: Trial) -> None:
        torch = trial.torch
        self.trial = trial
        self.name = trial.only()
        self.given = trial.arrays[self.name]
        trial.require(not learns(trial) and self.given.numel() >= 32)
        self.pairs = not self.given.dtype.is_complex and self.given.shape[-1] == 2 and self.given.dim() >= 3
        self.real = not self.given.dtype.is_complex and not self.pairs
        trial.require(self.given.dtype.is_floating_point or self.given.dtype.is_complex)
        self.shape = tuple(self.given.shape[:-1]) if self.pairs else tuple(self.given.shape)
        self.numbers = torch.complex128

    def of(self, values: Any) -> Any:
        """Complex numbers transformed, in whatever form the function takes them."""
        torch = self.trial.torch
        whole = values.to(self.numbers)
        given = whole.real if self.real else whole
        given = torch.view_as_real(whole) if self.pairs else given
        made = self.trial.tensor(**{self.name: given.contiguous()})
        if not made.dtype.is_complex:
            self.trial.require(made.shape[-1] == 2 and made.dim() == len(self.shape) + 1)
            made = torch.view_as_complex(made.double().contiguous())
        self.trial.require(made.dim() == len(self.shape))
        return made.to(self.numbers)

    def noise(self, seed: int, shape: tuple[int, ...] | None = None) -> Any:
        """Random numbers; real where the script's are."""
        torch = self.trial.torch
        drawn = torch.randn(*(shape or self.shape), 2, generator=self.trial.generator(seed), dtype=torch.float64)
        return torch.complex(drawn[..., 0], 0 * drawn[..., 1] if self.real else drawn[..., 1])

    def lone(self, made: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The axes along which all energy lies in one place, and that place; None where there are none."""
        energy = made.abs().square()
        total = float(energy.sum())
        axes, places = [], []
        for axis in range(made.dim()):
            if made.shape[axis] < 2:
                continue
            along = energy.movedim(axis, 0).reshape(made.shape[axis], -1).sum(1)
            if float(along.max()) > (1 - SMALL) * total:
                axes.append(axis)
                places.append(int(along.argmax()))
        return (tuple(axes), tuple(places)) if axes else None


@entry(
    "energy-of-a-fourier-transform",
    "data",
    "Fourier transform",
    "keeps the energy of every image up to one factor",
    names=NAMES,
    unless=UNLESS,
    universal=True,
    remedy="torch.fft.fft2(..., norm='ortho') over the two spatial axes.",
    source="Parseval's theorem",
)
def energy(trial: Trial) -> None:
    """One array of complex numbers, of pairs of real ones in its last axis, or a real image."""
    one = Transform(trial)
    ratios = []
    for seed in (1, 2):
        numbers = one.noise(seed)
        ratios.append(float(one.of(numbers).abs().square().sum() / numbers.abs().square().sum()))
    lone = one.noise(3) * 0
    lone.reshape(-1)[lone.numel() // 3] = 1
    made = one.of(lone)
    trial.require(made.shape == lone.shape)  # half of a spectrum is another transform
    ratios.append(float(made.abs().square().sum()))
    trial.expect(
        max(ratios) < (1 + SMALL) * min(ratios),
        "two random images and one with a single bright pixel",
        f"the energy is {ratios[0]:.4g}, {ratios[1]:.4g} and {ratios[2]:.4g} times as much afterwards",
    )
    root = math.sqrt(ratios[0])
    factors = {1.0}
    sizes = [size for size in one.shape if size > 1]
    for count in (1, 2, 3):
        for axes in itertools.combinations(sizes, min(count, len(sizes))):
            factors |= {math.sqrt(math.prod(axes)), 1 / math.sqrt(math.prod(axes))}
    trial.expect(
        any(abs(root / factor - 1) < SMALL for factor in factors),
        "random images",
        f"they are scaled by {root:.5g}, which is the root of no number of pixels",
    )


@entry(
    "constant-image-in-the-spectrum",
    "data",
    "centred Fourier transform",
    "puts a constant image into the middle of the spectrum, and makes a constant of a bright pixel in the middle",
    names={one for one in NAMES if "c" in one.replace("ifft", "").replace("fft", "")[-4:] or "cent" in one},
    unless={*UNLESS, "space"},
    universal=True,
    remedy="fftshift(fft2(ifftshift(image))), each over the two spatial axes and no others.",
    source="Zbontar et al., fastMRI, 2018",
)
def constant_image(trial: Trial) -> None:
    """The same, of functions whose name says that the middle is the origin; odd sizes, too."""
    one = Transform(trial)
    torch = trial.torch
    odd = tuple(size - 1 if size > 4 and size % 2 == 0 else size for size in one.shape)
    for shape in dict.fromkeys((one.shape, odd)):
        flat = torch.ones(shape, dtype=one.numbers)
        made = one.of(flat)
        trial.require(made.shape == flat.shape)
        found = one.lone(made)
        size = " x ".join(str(value) for value in shape)
        trial.expect(found is not None, f"a constant image of {size}", "its energy lies in many places")
        assert found is not None
        axes, places = found
        middle = tuple(shape[axis] // 2 for axis in axes)
        trial.expect(
            places == middle,
            f"a constant image of {size}",
            f"its energy lies at {_at(places)} and not in the middle, at {_at(middle)}",
        )
        trial.require(len(axes) <= 3)
        lone = torch.zeros(shape, dtype=one.numbers)
        index: list[Any] = [slice(None)] * len(shape)
        for axis, place in zip(axes, middle, strict=True):
            index[axis] = place
        lone[tuple(index)] = 1
        spread = one.of(lone)
        off = float((spread - spread.mean()).abs().max() / spread.abs().mean())
        trial.expect(
            off < 0.01,
            f"an image of {size} with a bright pixel in the middle",
            "signs alternate in the spectrum: the image is not shifted before the transform",
        )


def _at(place: tuple[int, ...]) -> str:
    return ", ".join(str(one) for one in place)


@entry(
    "root-sum-of-squares",
    "data",
    "root sum of squares",
    "gives sqrt(n) times the magnitude for n equal coils",
    names={"rss", "rootsumofsquares", "rsscombine", "rsscomplex", "sos", "rootsumsquares", "sumofsquares",
           "rootsumsquared", "rsscoilcombine", "sumofsquare"},
    unless={"loss", "error", "residual", "feed", "token", "memory", "mem", "eos"},
    universal=True,
    remedy="(image.abs() ** 2).sum(coil_axis).sqrt().",
    source="Roemer et al., The NMR phased array, 1990",
)  # fmt: skip
def root_sum_of_squares(trial: Trial) -> None:
    """One array, of which one axis is taken out (and the last one, where it holds pairs)."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() >= 3 and (given.dtype.is_floating_point or given.dtype.is_complex))
    made = trial.tensor(**{name: torch.full_like(given, 3.0)})
    squared = bool({"square", "squares", "sos"} & named_words(trial)) and not {"root", "rss"} & named_words(trial)
    gone = given.dim() - made.dim()
    trial.require(gone in (0, 1, 2) and not made.dtype.is_complex)
    pairs = given.shape[-1] == 2 and not given.dtype.is_complex
    expected = []
    for axis in range(given.dim()):
        expected.append(3.0 * math.sqrt(given.shape[axis]))
        if pairs and axis < given.dim() - 1:
            expected.append(3.0 * math.sqrt(2 * given.shape[axis]))
    value = float(made.double().mean())
    trial.require(bool((made.double() - value).abs().max() < 1e-3 * abs(value)))
    values = [value, math.sqrt(max(value, 0.0))] if squared else [value]
    fits = any(abs(one - other) < 0.01 * other for one in values for other in expected)
    shape = " x ".join(str(size) for size in given.shape)
    trial.expect(fits, f"threes of {shape}", f"{value:.4g} came out, which is 3 sqrt(n) for no axis")


@entry(
    "magnitude-of-a-complex-number",
    "data",
    "magnitude of complex numbers",
    "is 5 for 3 + 4i",
    names={"complexabs", "complexmagnitude", "complexmodulus", "cabs", "complexabsolute", "magnitudeofcomplex"},
    unless={"loss", "log"},
    universal=True,
    remedy="(x ** 2).sum(-1).sqrt().",
    source="fastmri.complex_abs",
)
def magnitude(trial: Trial) -> None:
    """One array of complex numbers, or of pairs along the last axis."""
    name = trial.only()
    given = trial.arrays[name]
    made = trial.tensor(**{name: _numbers(trial, given, 3.0, 4.0)})
    trial.require(not made.dtype.is_complex)
    value = float(made.double().mean())
    known = [5.0, 25.0] if {"sq", "squared", "square"} & named_words(trial) else [5.0]
    fits = any(float((made.double() - one).abs().max()) < 1e-2 for one in known)
    trial.expect(fits, "3 + 4i", f"{value:.4g} came out")


def _numbers(trial: Trial, given: Any, real: float, imaginary: float) -> Any:
    """An array full of one complex number, in the form of another.

    Raises:
        NotApplicableError: It holds neither complex numbers nor pairs along the last axis.
    """
    torch = trial.torch
    if given.dtype.is_complex:
        return torch.full(given.shape, complex(real, imaginary), dtype=given.dtype)
    trial.require(given.dtype.is_floating_point and given.dim() >= 1 and given.shape[-1] == 2)
    return torch.tensor([real, imaginary], dtype=given.dtype).expand(*given.shape).clone()


@entry(
    "product-of-complex-numbers",
    "data",
    "product of complex numbers",
    "is -5 + 10i for 1 + 2i and 3 + 4i",
    names={"complexmul", "complexmultiply", "complexmult", "cmul", "complexmultiplication", "complexproduct"},
    unless={"conj", "fourier", "weights", "2d", "1d", "3d"},
    universal=True,
    remedy="(a c - b d) + (a d + b c) i.",
    source="fastmri.complex_mul",
)
def product(trial: Trial) -> None:
    """Two arrays of complex numbers, or of pairs along the last axis."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    (first, a), (second, b) = trial.arrays.items()
    made = trial.tensor(**{first: _numbers(trial, a, 1.0, 2.0), second: _numbers(trial, b, 3.0, 4.0)})
    if not made.dtype.is_complex:
        trial.require(made.shape[-1] == 2)
        made = torch.view_as_complex(made.double().contiguous())
    value = complex(made.reshape(-1)[0])
    conjugated = complex(11, 2), complex(11, -2)
    trial.require(all(abs(value - one) > 1e-3 for one in conjugated) or not trial.numbers)
    trial.expect(abs(value - complex(-5, 10)) < 1e-2, "1 + 2i and 3 + 4i", f"{value:.4g} came out")


@entry(
    "measured-data-are-kept",
    "model",
    "data consistency",
    "gives what was measured where everything was, and what was predicted where nothing was",
    names={"dataconsistency", "enforceconsistency", "dataconsistencylayer", "applydataconsistency", "harddc", "dc",
           "dclayer", "kspaceconsistency", "datafidelity", "applydc", "dcblock"},
    unless={"loss", "gradient", "bias", "soft", "offset", "gan", "component", "weighted", "conv", "gcn"},
    universal=True,
    remedy="(1 - mask) * predicted + mask * measured, in k-space.",
    source="Schlemper et al., A deep cascade of CNNs for dynamic MR image reconstruction, 2018",
)  # fmt: skip
def measured_data(trial: Trial) -> None:
    """A prediction, what was measured and a mask by name; no weight that learns and no noise level."""
    torch = trial.torch
    trial.require(not learns(trial))
    mask = trial.need("mask", "masks", "sampling", "samplingmask", "undersamplingmask")
    others = [name for name in trial.arrays if name != mask]
    trial.require(len(others) == 2)
    trial.require(
        not [name for name in trial.numbers if {"noise", "lvl", "lambda", "lam", "weight", "v"} & set(words(name))]
    )
    trial.require(
        all(getattr(trial.call.args.get("self"), one, None) is None for one in ("noise_lvl", "lam", "lambda_"))
    )
    known = {"k0", "measured", "kspace0", "ref", "reference", "undersampled", "observed", "measurement", "acquired",
             "under", "y", "kunder", "y0", "sampled", "maskedkspace", "refkspace"}  # fmt: skip
    told = [name for name in others if known & {*words(name), "".join(words(name))}]
    trial.require(len(told) == 1)
    measured, predicted = told[0], next(name for name in others if name != told[0])
    shape = trial.arrays[predicted].shape
    trial.require(trial.arrays[measured].shape == shape)

    def noise(seed: int) -> Any:
        drawn = torch.randn(*shape, 2, generator=trial.generator(seed), dtype=torch.float64)
        whole = torch.complex(drawn[..., 0], drawn[..., 1])
        return whole if trial.arrays[predicted].dtype.is_complex else whole.real.contiguous()

    given = trial.arrays[mask]
    ones, zeros = torch.ones_like(given), torch.zeros_like(given)
    data = noise(1)
    every = [trial.tensor(**{predicted: noise(seed), measured: data, mask: ones}) for seed in (2, 3)]
    scale = float(every[0].abs().mean())
    off = float((every[0] - every[1]).abs().max())
    trial.expect(
        off < 1e-3 * scale,
        "a mask of ones, the same measurement and two predictions",
        f"the results differ by up to {off:.3g}, though everything was measured",
    )
    blank = torch.zeros_like(data)
    guess = noise(4)
    none = trial.tensor(**{predicted: guess, measured: blank, mask: zeros})
    trial.require(none.shape == guess.shape)
    least = float((none - guess).abs().max())
    trial.expect(
        least < 1e-3 * float(guess.abs().mean()) + 1e-4,
        "a mask of zeros and a prediction",
        f"the result differs from the prediction by up to {least:.3g}, though nothing was measured",
    )
