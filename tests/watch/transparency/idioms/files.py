"""Configurations, checkpoints, logs and warnings: what is read and written."""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import os
import pathlib
import pickle
import random
import tomllib
import warnings
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from kit import batch, main, net, show
from torch import nn

TEXT = """
model: {width: 12, layers: [1, 2, {kind: conv, bias: true}]}
training:
  lr: 0.1
  steps: 6
  unused: 3
"""


def train(model: nn.Module, steps: int = 6, rate: float = 0.1) -> None:
    (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def write(name: str, text: str) -> str:
    pathlib.Path(name).write_text(text)
    return name


def yaml_types() -> None:
    """what `yaml` reads has exactly the types that it has: `type(v) is dict`, at every depth"""
    write("config.yaml", TEXT)
    for load in (yaml.safe_load, yaml.full_load, yaml.unsafe_load, lambda f: yaml.load(f, yaml.SafeLoader)):
        with open("config.yaml") as file:
            config = load(file)
        show(config)
        print(type(config) is dict, type(config["model"]["layers"][2]) is dict, type(config["training"]) is dict)
    train(net(), config["training"]["steps"], config["training"]["lr"])


def json_types() -> None:
    """what `json` reads has exactly the types that it has, with hooks and classes of the script's"""
    write("config.json", json.dumps(yaml.safe_load(TEXT)))

    class Decoder(json.JSONDecoder):
        pass

    for options in ({}, {"object_hook": lambda d: SimpleNamespace(**d)}, {"cls": Decoder}, {"parse_float": str}):
        with open("config.json") as file:
            config = json.load(file, **options)
        show(config)
        print(type(config) is dict)
    train(net())


def toml_types() -> None:
    """what `tomllib` reads has exactly the types that it has"""
    write("config.toml", '[training]\nlr = 0.1\nsteps = 6\nunused = "x"\n[[layers]]\nwidth = 3\n')
    with open("config.toml", "rb") as file:
        config = tomllib.load(file)
    show(config)
    print(type(config) is dict, type(config["layers"][0]) is dict)
    train(net(), config["training"]["steps"], config["training"]["lr"])


def configuration_pickled() -> None:
    """a configuration is pickled, copied, written again and compared: the bytes are the same"""
    write("config.yaml", TEXT)
    with open("config.yaml") as file:
        config = yaml.safe_load(file)
    train(net(), config["training"]["steps"])
    show(
        pickle=pickle.dumps(config),
        deep=copy.deepcopy(config),
        shallow=copy.copy(config),
        text=yaml.safe_dump(config),
        json=json.dumps(config),
        merged=config | {"more": 1},
        again=dict(config),
        kind=type(config).__name__,
        representers=sorted(str(kind) for kind in yaml.SafeDumper.yaml_representers),
    )


def configuration_matched() -> None:
    """a configuration goes through `match`, `**`, a data class, a namespace and an argument parser"""
    write("config.yaml", TEXT)
    with open("config.yaml") as file:
        config = yaml.safe_load(file)

    @dataclass
    class Training:
        lr: float
        steps: int
        unused: int = 0
        more: list[int] = field(default_factory=list)

    match config:
        case {"training": {"lr": float(rate), **rest}, **others}:
            print(rate, type(rest).__name__, rest, sorted(others))
    training = Training(**config["training"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.set_defaults(**config["training"])
    arguments = parser.parse_args([])
    train(net(), training.steps, arguments.lr)
    show(asdict(training), vars(arguments), config=config)


def strict_configuration() -> None:
    """a library that takes exact types only (as OmegaConf does) is given a configuration"""
    write("config.yaml", TEXT)
    with open("config.yaml") as file:
        config = yaml.safe_load(file)

    def strict(value: Any) -> Any:
        if type(value) is dict:
            return {key: strict(item) for key, item in value.items()}
        if type(value) is list:
            return [strict(item) for item in value]
        if type(value) in (int, float, str, bool, type(None)):
            return value
        raise TypeError(f"{type(value)} is not supported")

    config = strict(config)
    train(net(), config["training"]["steps"])
    show(config)


def omegaconf() -> None:
    """OmegaConf is given what `yaml` and `json` read"""
    try:
        from omegaconf import OmegaConf
    except ImportError:
        print("not installed")
        return
    write("config.yaml", TEXT)
    with open("config.yaml") as file:
        config = OmegaConf.create(yaml.safe_load(file))
    train(net(), config.training.steps, config.training.lr)
    print(OmegaConf.to_yaml(OmegaConf.merge(config, OmegaConf.load("config.yaml"))))


def streams_counted() -> None:
    """objects that are no files count how they are read, and stand where they stood"""

    class Stream(io.StringIO):
        reads = 0
        name = "config.json"

        def read(self, *args: Any) -> str:
            Stream.reads += 1
            return super().read(*args)

    stream = Stream('{"a": 1}{"b": 2}'[:8])
    config = json.load(stream)
    raw = io.BytesIO()
    torch.save({"w": torch.ones(3)}, raw)
    end = raw.tell()
    raw.seek(0)
    torch.load(raw)
    train(net())
    show(config, reads=Stream.reads, end=end, position=raw.tell())


def checkpoints_written() -> None:
    """checkpoints with configurations, shared parts and tuples: the files are the same, byte for byte"""
    write("config.yaml", TEXT)
    with open("config.yaml") as file:
        config = yaml.safe_load(file)
    model = net()
    train(model)
    shared = {"a": 1}
    content = {"config": config, "model": model.state_dict(), "pair": (shared, shared), "list": [shared, config]}
    content["self"] = content["pair"]
    torch.save(content, "whole.pt")
    torch.save(content, "old.pt", _use_new_zipfile_serialization=False)  # (whose bytes hold addresses)
    show(torch.load("old.pt")["config"])
    os.remove("old.pt")
    again = torch.load("whole.pt", weights_only=True)
    print(again["pair"][0] is again["pair"][1], again["list"][1] is again["config"], type(again["model"]).__name__)
    show(again["config"], again["pair"])


class Recorded:
    """Counts how often it is pickled."""

    saved = 0

    def __getstate__(self) -> dict[str, int]:
        Recorded.saved += 1
        return {"a": 1}


def checkpoints_of_objects() -> None:
    """objects in a checkpoint are pickled once, and read as what they are"""
    train(net())
    torch.save({"thing": Recorded(), "items": CountedState(w=torch.ones(3), b=torch.zeros(2))}, "thing.pt")
    again = torch.load("thing.pt", weights_only=False)
    print(type(again["thing"]).__name__, type(again["items"]).__name__, Recorded.saved)
    show(asked=CountedState.asked)


class CountedState(dict):  # type: ignore[type-arg]
    """A state that counts what is asked of it."""

    asked: list[str] = []

    def items(self) -> Any:
        CountedState.asked.append("items")
        return super().items()

    def __getitem__(self, name: str) -> Any:
        CountedState.asked.append(name)
        return super().__getitem__(name)


def state_of_ones_own_kind() -> None:
    """`load_state_dict` is given a mapping of the script's that counts how it is read"""
    model = net()
    train(model, 3)
    state = CountedState(dict.items(dict(model.state_dict())))
    model.load_state_dict(state)
    train(model, 3)
    show(model, asked=CountedState.asked)


def checkpoints_read() -> None:
    """`torch.load` in all its ways: mapped, from a stream, weights only, to another device; types and errors"""
    model = net()
    train(model, 3)
    torch.save(model.state_dict(), "state.pt")
    for options in ({}, {"mmap": True}, {"weights_only": True}, {"map_location": "cpu"}, {"map_location": "meta"}):
        state = torch.load("state.pt", **options)
        show(type(state).__name__, options=options, weight=state["0.weight"])
    show(
        path=torch.load(pathlib.Path("state.pt")), stream=torch.load(io.BytesIO(pathlib.Path("state.pt").read_bytes()))
    )
    for wrong in ("missing.pt", io.BytesIO(b"nonsense")):
        try:
            torch.load(wrong)
        except Exception as error:
            print(type(error).__name__, str(error).splitlines()[0][:60])
    model.load_state_dict(state, assign=False) if not state["0.weight"].is_meta else None
    train(model, 3)
    show(model)


def best_checkpoint_restored() -> None:
    """early stopping: the best state is kept as a copy, saved, and loaded at the end"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    best, kept = float("inf"), None
    for epoch in range(8):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            value = F.cross_entropy(model(x), y).item()
        if value < best:
            best, kept = value, copy.deepcopy(model.state_dict())
            torch.save({"epoch": epoch, "state": kept, "best": best}, "best.pt")
    model.load_state_dict(torch.load("best.pt")["state"])
    show(model, best=best, kept=kept)


def logging_configured() -> None:
    """`logging` is configured by the script: handlers, levels, captured warnings"""
    print(logging.getLogger().handlers, logging.getLogger().level, logging.lastResort.level)
    logging.basicConfig(filename="log.txt", level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.captureWarnings(True)
    model = net()
    train(model, 4)
    logging.info("trained")
    logging.getLogger("mine").warning("a warning of mine")
    warnings.warn("captured", stacklevel=1)
    train(model, 4)
    logging.captureWarnings(False)
    show(model, names=sorted(name for name in logging.Logger.manager.loggerDict if "traindx" in name))


def warnings_as_errors() -> None:
    """warnings are errors"""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = net()
        train(model)
        torch.save(model.state_dict(), "state.pt")
        model.load_state_dict(torch.load("state.pt"))
        copy.deepcopy(model)
    show(model)


def warnings_silenced() -> None:
    """warnings are silenced for good, and for a while; the filters are the script's"""
    before = len(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        F.mse_loss(torch.zeros(3, 1), torch.zeros(3))
    inside = len(warnings.filters)
    warnings.filterwarnings("ignore")
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        F.mse_loss(model(x), y[:, None].float()).backward()
        optimizer.step()
    print(inside - before, len(warnings.filters) - before, warnings.filters[0][0])
    warnings.resetwarnings()
    warnings.warn("heard again", stacklevel=1)
    F.mse_loss(model(x), y[:, None].float())
    show(model)


def warnings_recorded() -> None:
    """warnings are recorded: their file and line"""

    def deprecated() -> None:
        warnings.warn("mine", FutureWarning, stacklevel=2)

    warnings.filterwarnings("ignore", message="nothing like this")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, (x, y) = net(), batch()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(4):
            optimizer.zero_grad()
            F.mse_loss(model(x), y[:, None].float()).backward()
            nn.utils.clip_grad_norm_([], 1.0)
            optimizer.step()
            deprecated()
            torch.optim.lr_scheduler.StepLR(optimizer, 1).step(3)
    for warning in caught:
        print(os.path.basename(warning.filename), warning.lineno, warning.category.__name__, str(warning.message)[:50])
    show(model)


def warnings_after_silence() -> None:
    """after a silence for good, warnings that are shown again name the script's file and line"""
    warnings.simplefilter("ignore")
    train(net(), 3)
    warnings.simplefilter("default")

    def deprecated() -> None:
        warnings.warn("old", FutureWarning, stacklevel=2)

    def deeper() -> None:
        warnings.warn("deeper", stacklevel=3)

    def skipping() -> None:
        warnings.warn("skipping", UserWarning, 2, None)

    deprecated()
    (lambda: deeper())()
    skipping()
    warnings.warn("plain")
    F.mse_loss(torch.zeros(3, 1), torch.zeros(3))
    train(net(), 3)


def warnings_shown_by_the_script() -> None:
    """`warnings.showwarning` and `formatwarning` are the script's own"""
    lines: list[str] = []

    def show_it(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        lines.append(f"{os.path.basename(filename)}:{lineno} {category.__name__}")

    original = warnings.showwarning
    warnings.showwarning = show_it
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(6):
        optimizer.zero_grad()
        F.mse_loss(model(x), y[:, None].float()).backward()
        optimizer.step()
        warnings.warn(f"step {step}", stacklevel=1)
    warnings.showwarning = original
    show(model, lines=lines)


def random_states() -> None:
    """generators are saved, restored, forked and seeded; the numbers are the same"""
    model = net()
    train(model, 2)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    first = torch.rand(3), random.random(), np.random.rand()
    train(model, 2)
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
    second = torch.rand(3), random.random(), np.random.rand()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        inside = torch.rand(3)
    seeds = torch.manual_seed(5), torch.initial_seed(), random.seed("text"), np.random.seed([1, 2])
    train(model, 2)
    show(model, list(first), list(second), inside, same=bool((first[0] == second[0]).all()))
    print([type(seed).__name__ for seed in seeds])


def where_it_is() -> None:
    """`os.chdir` in the midst, relative paths, and the script's own names"""
    model = net()
    train(model, 2)
    os.mkdir("run")
    os.chdir("run")
    torch.save(model.state_dict(), "state.pt")
    train(model, 2)
    model.load_state_dict(torch.load("state.pt"))
    with open("log.txt", "w") as log:
        log.write("done")
    train(model, 2)
    show(model, folder=os.path.basename(os.getcwd()), name=__name__, file=os.path.basename(__file__))


if __name__ == "__main__":
    main()
