from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.segmentation.labels import IGNORE, LabelMeaning

MEANING = LabelMeaning.parse({"background": 0, "surface": 1, "ignore": 2})


def test_both_notations_of_label_tables_mean_the_same() -> None:
    assert LabelMeaning.parse({"0": "background", "1": "surface", "2": "ignore"}) == MEANING
    assert MEANING.channels == 2
    assert MEANING.ignore == (2,)


def test_a_value_with_two_meanings_is_refused() -> None:
    with pytest.raises(InputError, match="two meanings"):
        LabelMeaning.parse({"background": 0, "a": 1, "ignore": 1})


def test_ignore_is_neither_background_nor_class() -> None:
    assert MEANING.encode(np.array([0, 1, 2])).tolist() == [0, 1, IGNORE]


@pytest.mark.parametrize(
    ("values", "hint"), [([0, 255], "declare"), ([0.0, 0.5, 1.0], "nearest neighbour"), ([0, 1, 7], "declare")]
)
def test_values_without_a_meaning_are_refused_and_named(values: list[float], hint: str) -> None:
    with pytest.raises(InputError, match=hint) as caught:
        MEANING.encode(np.array(values), where="case.nii.gz")
    assert "case.nii.gz" in str(caught.value)
    stranger = next(v for v in values if v not in (0, 1, 2))
    assert f"{stranger:g}" in str(caught.value)


def test_an_inferred_meaning_never_contains_ignore_and_says_so() -> None:
    inferred = LabelMeaning.inferred([0, 1, 2])
    assert inferred.ignore == ()
    assert not inferred.declared
    assert inferred.channels == 3


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        LabelMeaning.inferred([0])


@given(
    st.lists(st.sampled_from([0, 4, 7, 9]), min_size=1, max_size=30),
    st.sampled_from(["uint8", "int16", "float32"]),
)
def test_decoding_undoes_encoding(values: list[int], dtype: str) -> None:
    meaning = LabelMeaning.parse({"background": 0, "a": 7, "b": [4, 9]})
    raw = np.array(values, dtype=dtype)
    back = meaning.decode(meaning.encode(raw), dtype)
    assert back.dtype == np.dtype(dtype)
    merged = np.where(raw == 9, 4, raw)  # two values of one class come back as its first
    assert np.array_equal(back, merged)
