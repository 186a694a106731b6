"""What all recipes share: intervals, splits, contracts, learning rates."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from traindx.errors import InputError
from traindx.recipes.kit import contract, training
from traindx.recipes.kit.estimate import Score, by_patient, mean_of
from traindx.recipes.kit.schedule import WarmupCosine, warmup_cosine
from traindx.recipes.kit.split import Split, divided, in_seeded_order


def test_an_interval_of_a_mean_is_near_that_of_theory() -> None:
    values = np.random.default_rng(3).normal(5, 2, 200)
    found = mean_of([*values, math.nan])
    low, high = stats.t.interval(0.95, 199, values.mean(), values.std(ddof=1) / math.sqrt(200))
    assert (found.mean, found.cases, found.undefined) == (pytest.approx(values.mean()), 200, 1)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))


def test_a_paired_difference_knows_that_both_saw_the_same_patients() -> None:
    values = np.random.default_rng(0).normal(0, 10, 30)
    one, other = Score(tuple(values + 1)), Score(tuple(values))
    assert one.estimate(minus=other).low == pytest.approx(1)
    assert one.estimate().high - one.estimate().low > 5


def test_resamples_without_a_figure_are_left_out() -> None:
    """Of three patients one has no positive: a resample of it alone has no figure."""
    found = by_patient(lambda i: math.nan if (i == 0).all() else float(i.max()), ["a", "b", "c"], resamples=300)
    assert math.isfinite(found.low)
    assert found.high == 2
    assert math.isnan(by_patient(lambda i: math.nan, ["a", "b"], resamples=9).low)
    assert math.isnan(mean_of([1.0]).low)
    assert mean_of([]).cases == 0


def test_no_patient_is_in_two_parts() -> None:
    split = divided([("a1", "a"), ("b1", "b"), ("a2", "a")], {"a": "train", "b": "test"})
    assert split == Split(train=("a1", "a2"), val=(), test=("b1",))
    with pytest.raises(InputError, match="a1 would be in two parts"):
        Split(train=("a1",), val=("a1",))
    names = [f"p{n}" for n in range(20)]
    torch.manual_seed(1)
    np.random.seed(1)
    assert in_seeded_order(names, 4) == in_seeded_order(names, 4) != in_seeded_order(names, 5)


def saved(path: Path, **parts: object) -> Path:
    torch.save({"contract": {"recipe": "fusion", **parts}, "state_dict": {"network.a": torch.ones(2), "b": 1}}, path)
    return path


def test_a_checkpoint_from_before_formats_were_counted_is_read(tmp_path: Path) -> None:
    read = contract.read(saved(tmp_path / "old.ckpt"), "fusion", 1)
    assert list(contract.weights(read, "network.")) == ["a"]


@pytest.mark.parametrize(
    ("parts", "asked", "words"),
    [
        ({"format": 2, "traindx": "9.9"}, ("fusion", 1), "has format 2"),
        ({}, ("concepts", 1), "has the contract of fusion"),
    ],
)
def test_another_checkpoint_is_refused(tmp_path: Path, parts: dict, asked: tuple[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        contract.read(saved(tmp_path / "x.ckpt", **parts), *asked)


def test_an_unfinished_run_has_no_model_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no learnt"):
        contract.read(saved(tmp_path / "x.ckpt"), "fusion", 1, needs=("learnt",))


def test_every_value_that_differs_is_named_twice() -> None:
    wanted = {**contract.header("fusion", 1), "prediction": "v", "network": {"channels": 8}}
    theirs = {**wanted, "prediction": "epsilon", "network": {"channels": 16, "levels": 3}, "traindx": "0.0"}
    with pytest.raises(InputError) as caught:
        contract.check({"contract": theirs}, wanted)
    message = str(caught.value)
    assert "prediction is 'epsilon' in the checkpoint and 'v' in this run" in message
    assert "network.channels is 16 in the checkpoint and 8 in this run" in message
    assert "network.levels is 3 in the checkpoint and None in this run" in message
    assert "traindx is" not in message
    contract.check({"contract": {**wanted, "traindx": "0.0"}}, wanted)


def test_a_stored_checkpoint_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    contract.store(path, {"a": 1})
    contract.store(path, {"a": 2})
    assert contract.load(path) == {"a": 2}
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_kill_while_a_checkpoint_is_moved_leaves_the_one_before(tmp_path, monkeypatch) -> None:
    """Temporary files lie on another file system, so that moving from there is copying; the kill comes half-way."""
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    rename = os.rename

    def elsewhere(source, target, *rest, **more):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another file system")
        rename(source, target, *rest, **more)

    def killed(source, target, **_):
        Path(target).write_bytes(Path(source).read_bytes()[:99])
        raise RuntimeError("killed")

    monkeypatch.setattr(os, "rename", elsewhere)
    monkeypatch.setattr(shutil, "copyfile", killed)
    short = ("--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
    cli = training.command_line(BoringModel, BoringDataModule, short, tmp_path, "val_loss")
    cli.trainer.fit(cli.model, cli.datamodule)
    (tmp_path / "last.ckpt").write_bytes(b"the epoch before")
    cli.trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert contract.load(tmp_path / "last.ckpt")["global_step"] == 1


def test_rates_rise_to_one_and_fall_to_the_floor() -> None:
    rates = [warmup_cosine(step, 100, 10, 0.1) for step in range(101)]
    assert rates[10] == max(rates) == 1
    assert rates[55] == pytest.approx(0.55)  # half way down the cosine
    assert rates[100] == pytest.approx(0.1)
    assert [WarmupCosine(150).factor(step) for step in (0, 9, 10)] == [pytest.approx(0.1), 1, 1]


class _Exploit:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_resuming_executes_nothing_of_a_checkpoint(tmp_path, monkeypatch):
    class Trainer:
        def fit(self, module, **options):
            raise AssertionError("it must not come to this")

    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "callbacks": _Exploit()}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        training.fit(Trainer(), None, None, tmp_path, resume=tmp_path / "last.ckpt")
    assert not (tmp_path / "executed").exists()
