"""What each value of a label map means: background, a class, or *ignore* (not labelled: neither).

The difference decides what is learnt. A value that means "nobody looked here" and is trained as foreground teaches the
prior; trained as background it teaches to miss. Values that nobody declared are refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from traindx.errors import InputError
from traindx.finding import Frozen

IGNORE = -1
"""Class index of voxels that are not labelled, in every encoded label map of this recipe."""


class LabelMeaning(Frozen):
    """The meaning of the values in the label files of a data set.

    Class index 0 is the background; classes follow in the order of :attr:`classes`.

    Attributes:
        background: Values that mean background.
        classes: Value or values of each class, by name.
        ignore: Values that mean *not labelled*.
        declared: False if the meaning was inferred from the values present; then nothing is ever taken for *ignore*.
    """

    background: tuple[int, ...] = (0,)
    classes: dict[str, tuple[int, ...]]
    ignore: tuple[int, ...] = ()
    declared: bool = True

    @model_validator(mode="after")
    def _one_meaning_each(self) -> LabelMeaning:
        values = [*self.background, *self.ignore, *(value for group in self.classes.values() for value in group)]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"label values {twice} have two meanings")
        if not self.classes:
            raise ValueError("there is no class to segment")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the foreground classes, index 1 first."""
        return tuple(self.classes)

    @property
    def channels(self) -> int:
        """Number of network outputs: the background and every class."""
        return 1 + len(self.classes)

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> LabelMeaning:
        """Read a table of names and values, in the notation of nnU-Net or of the Medical Segmentation Decathlon.

        Args:
            table: ``{"background": 0, "tumour": 1, "ignore": 2}``, where a value may be a list of values, or
                ``{"0": "background", "1": "tumour"}``.

        Raises:
            InputError: The table cannot be read or gives a value two meanings.
        """
        if all(str(key).lstrip("-").isdigit() for key in table):
            table = {str(name): int(value) for value, name in table.items()}
        background: tuple[int, ...] = ()
        ignore: tuple[int, ...] = ()
        classes: dict[str, tuple[int, ...]] = {}
        try:
            for name, value in table.items():
                values = tuple(int(item) for item in value) if isinstance(value, list | tuple) else (int(value),)
                if name.lower() in ("background", "bg"):
                    background += values
                elif name.lower() in ("ignore", "unlabelled", "unlabeled", "void"):
                    ignore += values
                else:
                    classes[name] = values
            return cls(background=background or (0,), classes=classes, ignore=ignore)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the label table {dict(table)} cannot be used: {error}",
                expected='names and values such as {"background": 0, "tumour": 1, "ignore": 2}',
            ) from error

    @classmethod
    def inferred(cls, values: Iterable[int]) -> LabelMeaning:
        """Background 0 and one class for each other value. Marked as not declared.

        Raises:
            InputError: There is no value but 0.
        """
        found = sorted({int(value) for value in values} - {0})
        if not found:
            raise InputError(
                "every label map is empty", expected="at least one value above 0", do="check the label files"
            )
        names = ("foreground",) if len(found) == 1 else tuple(f"class {value}" for value in found)
        return cls(classes={name: (value,) for name, value in zip(names, found, strict=True)}, declared=False)

    def encode(self, raw: NDArray[Any], *, where: str = "") -> NDArray[np.int8]:
        """Turn label values into class indices; *ignore* becomes -1.

        Args:
            raw: Label map of any shape, integer values in any dtype.
            where: Name of the file, for the error.

        Raises:
            InputError: A value is present that has no meaning (for example 255 in a 0/1 mask, or the fractional values
                of an interpolated label map).
        """
        encoded = np.full(raw.shape, -2, dtype=np.int8)
        for value in self.background:
            encoded[raw == value] = 0
        for index, values in enumerate(self.classes.values(), start=1):
            for value in values:
                encoded[raw == value] = index
        for value in self.ignore:
            encoded[raw == value] = IGNORE
        lost = encoded == -2
        if lost.any():
            strangers, counts = np.unique(raw[lost], return_counts=True)
            shown = ", ".join(f"{v:g} ({n} voxels)" for v, n in zip(strangers[:6], counts[:6], strict=True))
            more = f" and {len(strangers) - 6} more values" if len(strangers) > 6 else ""
            fractional = bool(np.any(strangers != np.round(strangers)))
            raise InputError(
                f"the label map holds values without a meaning: {shown}{more}",
                expected=f"background {list(self.background)}, ignore {list(self.ignore)}, classes {self.classes}",
                do="resample label maps with nearest neighbour, never by interpolation"
                if fractional
                else "declare what these values mean, for example as 'ignore'",
                where=where,
            )
        return encoded

    def decode(self, indices: NDArray[Any], dtype: Any = np.uint8) -> NDArray[Any]:
        """Turn class indices back into the values of the label files (the first value of each meaning)."""
        values = [self.background[0], *(group[0] for group in self.classes.values())]
        decoded: NDArray[Any] = np.asarray(values)[indices].astype(dtype)
        return decoded
