"""C1115 over libraries that need not be installed: modules with the same names stand for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from traindx.evidence import Evidence
from traindx.watch.collectors.library_contracts import LibraryContracts, of_evaluation
from traindx.watch.contracts.arrays import BY_MODULE
from traindx.watch.runtime.after_import import AfterImport
from watch.inside import found


@pytest.fixture
def contracts() -> Iterator[LibraryContracts]:
    made = LibraryContracts()
    yield made
    made.stop()
    made.patches.undo()


def said(contracts: LibraryContracts) -> list[str]:
    evidence = Evidence()
    for record in contracts.records():
        evidence.add(record)
    lines = Path(__file__).read_text().splitlines()
    return [lines[one.location.line - 1].strip() for one in found("C1115", evidence) if one.location is not None]


class TransformerMixin:
    """As scikit-learn has it."""

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        return np.array(X, copy=True)


class Scaler(TransformerMixin):
    pass


class SelectKBest(TransformerMixin):
    pass


class Sampler:
    def fit_resample(self, X: Any, y: Any) -> Any:
        return np.concatenate([X, X[:2]]), np.concatenate([y, y[:2]])


def train_test_split(*arrays: Any) -> list[Any]:
    return [part for one in arrays for part in (one[:3], one[3:])]


@pytest.fixture
def sklearn(contracts: LibraryContracts) -> Iterator[ModuleType]:
    module = ModuleType("like_sklearn")
    vars(module).update(TransformerMixin=TransformerMixin, SamplerMixin=Sampler, train_test_split=train_test_split)
    contracts.install_transformers(module)
    contracts.install_samplers(module)
    contracts.install_split(module)
    return module


def test_fitted_again(sklearn: ModuleType, contracts: LibraryContracts) -> None:
    X_train, X_test, other = np.zeros((6, 2)), np.ones((3, 2)), np.ones((3, 5))
    scaler, tables, anew = Scaler(), Scaler(), Scaler()
    scaler.fit_transform(X_train)
    scaler.fit_transform(X_test)
    tables.fit_transform(X_train)
    tables.fit_transform(other)
    for test in (X_train, X_test):
        anew.fit_transform(test)
    assert said(contracts) == ["scaler.fit_transform(X_test)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("X_test", True), ("Xva", True), ("xTest", True), ("df.loc[valid]", True), ("X_train", False), ("values", False),
     ("latest", False), ("volume", False)],
)  # fmt: skip
def test_names_of_an_evaluation(text: str, expected: bool) -> None:
    assert of_evaluation(text) is expected


def test_split_of_what_all_rows_made(sklearn: ModuleType, contracts: LibraryContracts) -> None:
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    more, labels = Sampler().fit_resample(X, y)
    sklearn.train_test_split(more, labels)
    chosen = SelectKBest().fit_transform(X, y)
    sklearn.train_test_split(chosen, y)
    sklearn.train_test_split(X, y)
    sklearn.train_test_split(Scaler().fit_transform(X), y)
    parts = sklearn.train_test_split(X, y)
    Sampler().fit_resample(parts[0], parts[2])
    assert said(contracts) == ["sklearn.train_test_split(more, labels)", "sklearn.train_test_split(chosen, y)"]


def test_a_real_function_is_watched_and_gives_what_it_gave(contracts: LibraryContracts) -> None:
    image = np.random.default_rng(0).random((20, 24, 3))
    expected = scipy.ndimage.zoom(image, 0.5)
    contracts.install_arrays(BY_MODULE["scipy.ndimage"], scipy.ndimage)
    for _ in range(3):
        assert np.array_equal(scipy.ndimage.zoom(image, 0.5), expected)
        scipy.ndimage.zoom(image, (0.5, 0.5, 1))
    assert said(contracts) == ["assert np.array_equal(scipy.ndimage.zoom(image, 0.5), expected)"]


def test_two_wait_for_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "awaited_by_two.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    imports, seen = AfterImport(), []
    imports.when("awaited_by_two", lambda module: seen.append(("one", module.value)))
    imports.when("awaited_by_two", lambda module: seen.append(("other", module.value)))
    try:
        __import__("awaited_by_two")
    finally:
        import sys

        sys.meta_path.remove(imports)
    assert seen == [("one", 3), ("other", 3)]
