"""Data: loaders, data sets, samplers and batches of every kind."""

from __future__ import annotations

import queue
import random
import threading
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kit import bits, main, net, show
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)


class Noisy(Dataset):  # type: ignore[type-arg]
    """Random in every generator there is; counts what is asked of it."""

    def __init__(self, count: int = 24) -> None:
        self.count = count
        self.calls: dict[str, int] = {}

    def __len__(self) -> int:
        self.calls["len"] = self.calls.get("len", 0) + 1
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.calls["item"] = self.calls.get("item", 0) + 1
        x = torch.randn(6) + float(np.random.rand())
        return (x if random.random() < 0.5 else -x), index % 3


class LabelMaps(Dataset):  # type: ignore[type-arg]
    """Label maps of three values in files, cut with numbers of its own generator; counts and keeps what it made."""

    def __init__(self, count: int = 8) -> None:
        rng = np.random.default_rng(0)
        for number in range(count):
            np.save(f"image_{number}.npy", rng.normal(size=(24, 24)))
            np.save(f"label_{number}.npy", rng.integers(0, 3, size=(24, 24)))
        self.paths = [(f"image_{number}.npy", f"label_{number}.npy") for number in range(count)]
        self.rng = np.random.default_rng(1)
        self.made: list[int] = []

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = (np.load(path) for path in self.paths[index])
        top = int(self.rng.integers(0, 8))
        self.made.append(index)
        return torch.from_numpy(image[top, :6]).float(), int((label > 0)[top].sum()) % 3


def train(loader: Any, model: nn.Module | None = None, epochs: int = 2) -> nn.Module:
    model = model or net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def calls_of_a_data_set() -> None:
    """a data set counts how often its length and its items are asked for"""
    data = Noisy()
    show(train(DataLoader(data, 4, shuffle=True)), calls=data.calls)


def workers() -> None:
    """workers that draw random numbers, with `worker_init_fn` and a generator"""

    def start(number: int) -> None:
        np.random.seed(number)
        random.seed(number)

    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(Noisy(), 4, shuffle=True, num_workers=2, worker_init_fn=start, generator=generator)
    show(train(loader), state=generator.get_state())


def persistent_workers() -> None:
    """persistent workers over several passes, with prefetching"""
    loader = DataLoader(Noisy(), 4, shuffle=True, num_workers=2, persistent_workers=True, prefetch_factor=3)
    show(train(loader, epochs=3))


class Stream(IterableDataset):  # type: ignore[type-arg]
    """A stream that is divided among workers."""

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        part, parts = (info.id, info.num_workers) if info is not None else (0, 1)
        for index in range(part, 16, parts):
            yield torch.randn(6), index % 3


def iterable_data_set() -> None:
    """an iterable data set, with and without workers, batched and not"""
    model = train(DataLoader(Stream(), 4))
    train(DataLoader(Stream(), 4, num_workers=2), model)
    for x, _ in DataLoader(Stream(), batch_size=None):
        model.eval()(x[None])
    show(model)


class Lying(IterableDataset):  # type: ignore[type-arg]
    """Says that it is shorter than it is; torch warns of that only where somebody asked for the length."""

    asked = 0

    def __len__(self) -> int:
        Lying.asked += 1
        return 8

    def __iter__(self) -> Iterator[Any]:
        return ((torch.randn(6), index % 3) for index in range(16))


def length_is_not_asked_for() -> None:
    """the length of a loader is asked for by nobody but the script: no warning of a wrong one"""
    show(train(DataLoader(Lying(), 4)), asked=Lying.asked)


class Forbidding(IterableDataset):  # type: ignore[type-arg]
    """Has no length, and says so in its own words."""

    def __len__(self) -> int:
        raise NotImplementedError("this stream has no length")

    def __iter__(self) -> Iterator[Any]:
        return ((torch.randn(6), index % 3) for index in range(16))


def length_that_raises() -> None:
    """a data set whose length raises what it likes"""
    show(train(DataLoader(Forbidding(), 4)))


class Drawn(Sampler):  # type: ignore[type-arg]
    """A sampler of the script's, which counts."""

    def __init__(self, count: int) -> None:
        self.count, self.calls = count, []

    def __iter__(self) -> Iterator[int]:
        self.calls.append("iter")
        return iter(torch.randperm(self.count).tolist())

    def __len__(self) -> int:
        self.calls.append("len")
        return self.count


def samplers() -> None:
    """samplers: weighted, random with replacement, batches of indices, and one of the script's that counts"""
    data = Noisy()
    model = train(DataLoader(data, 4, sampler=WeightedRandomSampler([1.0, 2.0] * 12, 12)))
    train(DataLoader(data, 4, sampler=RandomSampler(data, replacement=True, num_samples=8)), model)
    train(DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data), 5, drop_last=True)), model)
    own = Drawn(24)
    train(DataLoader(data, 4, sampler=own), model)
    show(model, calls=own.calls)


def collation() -> None:
    """a `collate_fn` that returns what it likes"""
    seen: list[str] = []

    def collate(items: list[Any]) -> Any:
        x, y = default_collate(items)
        seen.append(bits(x))
        return x, y

    show(train(DataLoader(Noisy(), 4, collate_fn=collate)), seen=seen)


class Lazy(Mapping):  # type: ignore[type-arg]
    """A batch that loads its parts when they are asked for."""

    loads: list[str] = []

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts

    def __getitem__(self, name: str) -> Any:
        Lazy.loads.append(name)
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        Lazy.loads.append("iter")
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


class Counted(dict):  # type: ignore[type-arg]
    """A dictionary that counts what is asked of it."""

    asked: list[str] = []

    def __getitem__(self, name: str) -> Any:
        Counted.asked.append(name)
        return super().__getitem__(name)

    def items(self) -> Any:
        Counted.asked.append("items")
        return super().items()

    def __iter__(self) -> Any:
        Counted.asked.append("iter")
        return super().__iter__()


class Files(list):  # type: ignore[type-arg]
    """A list that counts what is asked of it."""

    asked: list[str] = []

    def __getitem__(self, index: Any) -> Any:
        Files.asked.append(str(index))
        return super().__getitem__(index)

    def __iter__(self) -> Any:
        Files.asked.append("iter")
        return super().__iter__()


Pair = namedtuple("Pair", "x y")


def kinds_of_batches() -> None:
    """batches that are lazy mappings, counting dictionaries and lists, named tuples, objects, strings, None"""

    class Sample:
        def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
            self.x, self.y = x, y

    makers = [
        lambda x, y: Lazy({"x": x, "y": y, "expensive": x}),
        lambda x, y: Counted(x=x, y=y, more={"a": [x, y]}),
        lambda x, y: Files([x, y, "name"]),
        Pair,
        Sample,
        lambda x, y: OrderedDict(x=x, y=y, text=["a", None]),
        lambda x, y: (x, y, None, "text", {"nested": [{"deep": (x, [y])}]}),
    ]
    for make in makers:
        loader = DataLoader(Noisy(12), 4, collate_fn=lambda items, make=make: make(*default_collate(items)))
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for item in loader:
            kind = type(item).__name__
            if isinstance(item, Mapping):
                x, y = item["x"], item["y"]
            elif isinstance(item, Sample):
                x, y = item.x, item.y
            else:
                x, y = item[0], item[1]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(kind)
        show(model)
    show(loads=Lazy.loads, asked=Counted.asked, files=Files.asked)


def batches_as_arguments() -> None:
    """mappings and lists that count, as arguments and results of a network"""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, sample: Any, names: Any = (), **options: Any) -> Any:
            return Counted(logits=self.inner(dict.__getitem__(sample, "x")), sample=sample)

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        sample = Counted(x=torch.randn(8, 6), y=torch.randint(0, 3, (8,)))
        out = model(sample, names=Files(["a", sample]), lazy=Lazy({"volume": 1}))
        optimizer.zero_grad()
        F.cross_entropy(dict.__getitem__(out, "logits"), dict.__getitem__(sample, "y")).backward()
        optimizer.step()
    show(model, asked=Counted.asked, files=Files.asked, loads=Lazy.loads)


def loader_that_goes_on() -> None:
    """`cycle(loader)`, `islice`, `next(iter(loader))`, and a pass that is broken off"""
    loader, model = DataLoader(Noisy(), 4, shuffle=True), net()
    train(islice(cycle(loader), 9), model, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    iterator = iter(loader)
    for step in range(14):
        try:
            x, y = next(iterator)
        except StopIteration:
            iterator = iter(loader)
            x, y = next(iterator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step == 9:
            for _ in loader:
                break
    show(model)


def prefetching_thread() -> None:
    """a thread of the script's reads ahead"""
    loader, waiting = DataLoader(Noisy(), 4), queue.Queue(2)

    def read() -> None:
        for item in loader:
            waiting.put(item)
        waiting.put(None)

    model = nn.Linear(6, 3)  # without dropout: only the thread draws random numbers
    for _ in range(2):
        thread = threading.Thread(target=read)
        thread.start()
        train(iter(waiting.get, None), model, epochs=1)
        thread.join()
    show(model)


def divided() -> None:
    """data sets that are divided, joined and chosen from: their types and indices"""
    data = Noisy()
    first, second = random_split(data, [16, 8])
    third, fourth = random_split(data, [0.5, 0.5], generator=torch.Generator().manual_seed(1))
    joined = ConcatDataset([first, Subset(data, [1, 2, 3])])
    model = train(DataLoader(joined, 4, shuffle=True))
    show(
        model,
        kinds=[type(part).__name__ for part in (first, third)],
        indices=[list(second.indices), list(fourth.indices)],
    )


class Loader(DataLoader):  # type: ignore[type-arg]
    """A loader of the script's, which overrides its iteration and its length and counts."""

    calls: list[str] = []

    def __iter__(self) -> Any:
        Loader.calls.append("iter")
        for x, y in super().__iter__():
            yield x * 2, y

    def __len__(self) -> int:
        Loader.calls.append("len")
        return super().__len__()

    def __getattribute__(self, name: str) -> Any:
        if name in ("dataset", "sampler", "batch_size", "drop_last", "num_workers"):
            Loader.calls.append(name)
        return super().__getattribute__(name)


def own_loader() -> None:
    """a loader of the script's that overrides its iteration, length and attributes, and counts"""
    show(train(Loader(TensorDataset(torch.randn(16, 6), torch.randint(0, 3, (16,))), 4)), calls=Loader.calls)


def batches_are_let_go() -> None:
    """a batch dies with the iteration that used it, and so does the loader"""
    loader, alive = DataLoader(Noisy(12), 4), []
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        reference = weakref.ref(x)
        del x, y
        alive.append(reference() is None)
    reference = weakref.ref(loader)
    del loader
    show(alive=alive, loader=reference() is None)


def arrays_and_lists() -> None:
    """no loader at all: numpy arrays, permutations, generators of batches"""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(32, 6)).astype("float32"), rng.integers(0, 3, 32)

    def batches() -> Iterator[Any]:
        order = np.random.permutation(32)
        for start in range(0, 32, 8):
            chosen = order[start : start + 8]
            yield torch.from_numpy(x[chosen]), torch.as_tensor(y[chosen])

    model = net()
    for _ in range(2):
        train(batches(), model, 1)
    show(model, x=x, state=rng.bit_generator.state["state"]["state"])


def shared_memory_with_numpy() -> None:
    """tensors that share their memory with arrays"""
    array = np.random.randn(8, 6).astype("float32")
    x, y = torch.from_numpy(array), torch.randint(0, 3, (8,))
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(6):
        array += 0.01 * step
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    weight = model[0].weight.detach().numpy()
    show(model, array=array, shared=np.shares_memory(weight, model[0].weight.detach().numpy()))


def broken_items() -> None:
    """an item that raises: the exception reaches the script as it is, from workers too"""

    class Broken(Noisy):
        def __getitem__(self, index: int) -> Any:
            if index == 13:
                raise KeyError("no such scan")
            return super().__getitem__(index)

    model, errors = net(), []
    for count in (0, 2):
        try:
            train(DataLoader(Broken(), 4, num_workers=count), model)
        except KeyError as error:
            errors.append((type(error).__name__, str(error).splitlines()[0][:60]))
    show(model, errors=errors)


def maps_in_files() -> None:
    """a data set reads label maps, merges two of their values, and counts what it made"""
    data = LabelMaps()
    model = train(DataLoader(data, batch_size=2, shuffle=True))
    show(model, made=data.made, drawn=float(data.rng.random()))


if __name__ == "__main__":
    main()
