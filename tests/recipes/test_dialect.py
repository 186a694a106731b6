"""One dialect of options and files for all recipes, and old spellings answered by the new one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import yaml

from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.concepts import evaluation as concepts_evaluate
from traindx.recipes.concepts import predict as concepts_predict
from traindx.recipes.concepts import train as concepts_train
from traindx.recipes.fusion import evaluate as fusion_evaluate
from traindx.recipes.fusion import predict as fusion_predict
from traindx.recipes.fusion import train as fusion_train
from traindx.recipes.kit.options import refuse_old
from traindx.recipes.kit.run_folder import check_folder, checkpoint_in
from traindx.recipes.segmentation import evaluation as segmentation_evaluate
from traindx.recipes.segmentation import predict as segmentation_predict
from traindx.recipes.segmentation import train as segmentation_train
from traindx.recipes.xray2ct import evaluate as xray2ct_evaluate
from traindx.recipes.xray2ct import predict as xray2ct_predict
from traindx.recipes.xray2ct import train as xray2ct_train
from traindx.recipes.xray2ct.cascade import evaluate as cascade_evaluate
from traindx.recipes.xray2ct.cascade import predict as cascade_predict
from traindx.recipes.xray2ct.cascade import train as cascade_train

PARSERS = {
    "xray2ct": [module.parser() for module in (xray2ct_train, xray2ct_predict, xray2ct_evaluate)],
    **{
        name: [module.parser(method) for module in (cascade_train, cascade_predict, cascade_evaluate)]
        for name, method in (("xray2ct_regression", "regression"), ("xray2ct_cascade", "diffusion"))
    },
    "segmentation": [module.parser() for module in (segmentation_train, segmentation_predict, segmentation_evaluate)],
    "concepts": [module.parser() for module in (concepts_train, concepts_predict, concepts_evaluate)],
    "fusion": [module.parser() for module in (fusion_train, fusion_predict, fusion_evaluate)],
}
MOVED = {
    "xray2ct": xray2ct_train.MOVED,
    "xray2ct_regression": xray2ct_train.MOVED,
    "segmentation": segmentation_train.MOVED,
    "concepts": concepts_train.MOVED,
    "fusion": fusion_train.MOVED,
}


def options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {name: action for action in parser._actions for name in action.option_strings}


def groups(parser: argparse.ArgumentParser) -> list[str]:
    return [str(group.title) for group in parser._action_groups if group._group_actions][1:]


def test_every_recipe_is_here() -> None:
    assert set(PARSERS) == set(registry())


@pytest.mark.parametrize("recipe", PARSERS)
def test_the_same_options_in_the_same_order(recipe: str) -> None:
    train, predict, evaluate = PARSERS[recipe]
    run = ["--out", "--resume", "--seed", "--threads", "--no-verification", "--strict"]
    assert [name for name in options(train) if name in run] == run
    assert {"--preset", "--source"} <= set(options(train))
    assert groups(train)[:3] == ["data", "size and length", "run"]
    assert groups(predict) == groups(evaluate) == ["data", "model", "results"]
    for command, parser in (("train", train), ("predict", predict), ("evaluate", evaluate)):
        assert parser.prog == f"traindx {command} {recipe}"
        assert str(parser.epilog).startswith(f"Example: traindx {command} {recipe} ")
        assert "LightningCLI" in str(parser.description) or command != "train"
    assert {"--checkpoint", "--out"} <= set(options(predict)) & set(options(evaluate))
    assert options(predict)["--out"].default == Path("predicted")
    assert options(evaluate)["--out"].default is None


@pytest.mark.parametrize("recipe", PARSERS)
def test_the_example_of_a_command_is_understood(recipe: str) -> None:
    for parser in PARSERS[recipe]:
        parser.parse_known_args(str(parser.epilog).split()[4:])


@pytest.mark.parametrize("recipe", PARSERS)
def test_a_preset_is_a_size_and_names_no_data(recipe: str) -> None:
    for name in options(PARSERS[recipe][0])["--preset"].choices or ():
        assert re.fullmatch(r"quick|standard|robust|slices|volumes|volume\d+|dermoscopy|gpu24|gpu80", name)
    home = Path(xray2ct_train.__file__).parent.parent
    for path in home.rglob("presets/**/*.yaml"):
        data = yaml.safe_load(path.read_text()).get("data", {})
        kind = {"source"} if path.stem == "dermoscopy" else set()  # of image, whose tables have one layout; no place
        assert not ({"source", "root", "labels", "folder"} - kind) & set(data), path


@pytest.mark.parametrize(("recipe", "old"), [(recipe, old) for recipe, moved in MOVED.items() for old in moved])
def test_an_old_spelling_is_answered_by_one_that_exists(recipe: str, old: str) -> None:
    for spelled in (old.split(), [old.replace(" ", "=")]):
        with pytest.raises(UsageError) as refused:
            refuse_old(spelled, MOVED[recipe])
        new = set(re.findall(r"--[a-zA-Z_-]+", str(refused.value.expected)))
        known = {"--data", "--model", "--trainer", "--print_config"}  # of LightningCLI
        for parser in PARSERS[recipe]:
            known |= set(options(parser))
        assert new
        assert new <= known


@pytest.mark.parametrize(
    ("recipe", "command", "argv"),
    [
        ("fusion", "train", ["--preset=stroke"]),
        ("fusion", "predict", ["--preset", "stroke"]),
        ("fusion", "evaluate", ["--all-patients"]),
        ("concepts", "train", ["--set", "margin=1"]),
        ("concepts", "evaluate", ["--part", "val"]),
        ("segmentation", "train", ["--preset", "hippocampus"]),
        ("segmentation", "evaluate", ["data/", "--checkpoint", "x"]),
        ("xray2ct", "train", ["--data.folder=CT"]),
        ("xray2ct_cascade", "evaluate", ["--folder", "CT"]),
    ],
)
def test_every_command_refuses_its_old_spellings(recipe: str, command: str, argv: list[str]) -> None:
    with pytest.raises(UsageError):
        getattr(registry()[recipe], command)(argv)


def test_a_folder_stands_for_the_checkpoint_it_is_used_by(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoint_in(tmp_path)
    for name in ("stage2/best.ckpt", "stage10/best.ckpt", "best.ckpt", "model.ckpt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        assert checkpoint_in(tmp_path) == tmp_path / name
    assert checkpoint_in(tmp_path / "best.ckpt") == tmp_path / "best.ckpt"


def test_a_stage_that_was_begun_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        check_folder(tmp_path, resume=True, stages=("one", "two"))
    check_folder(tmp_path, resume=False, stages=("one", "two"))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "last.ckpt").touch()
    check_folder(tmp_path, resume=True, stages=("one", "two"))
    with pytest.raises(UsageError, match="holds a run already"):
        check_folder(tmp_path, resume=False, stages=("one", "two"))
