"""Modules: hooks, copies, conversions, and classes that redefine what others rely on."""

from __future__ import annotations

import copy
import io
import pickle
import traceback
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from kit import batch, bits, main, net, show
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune


def train(model: Any, steps: int = 6, rate: float = 0.1) -> None:
    (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(x)
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        optimizer.step()


def forward_hooks() -> None:
    """forward hooks and pre-hooks, with keywords, that change arguments and results, in order"""
    model, calls = net(), []
    model[0].register_forward_pre_hook(lambda module, args: calls.append("pre"))
    model[0].register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 1.01,), kwargs), with_kwargs=True)
    model[2].register_forward_hook(lambda module, args, out: calls.append("hook") or out * 0.99)
    model[2].register_forward_hook(lambda module, args, out: calls.append("first"), prepend=True)
    model[4].register_forward_hook(lambda *args: calls.append(len(args)), with_kwargs=True, always_call=True)
    train(model)
    show(model, calls=calls)


def backward_hooks() -> None:
    """full backward hooks and pre-hooks: how often, and with what"""
    model, calls = net(), []
    model[2].register_full_backward_hook(lambda module, given, wanted: calls.append(bits(wanted[0])))
    model[0].register_full_backward_pre_hook(lambda module, wanted: calls.append(bits(wanted[0])))
    train(model)
    show(model, calls=calls)


def global_hooks() -> None:
    """hooks for all modules, of the script's own: they are called as often, and are removed by their handles"""
    from torch.nn.modules import module as modules

    calls: list[str] = []
    handles = [
        modules.register_module_forward_pre_hook(lambda module, args: calls.append("pre")),
        modules.register_module_forward_hook(lambda module, args, out: calls.append("hook")),
        modules.register_module_forward_hook(lambda module, args, out: calls.append("always"), always_call=True),
        modules.register_module_full_backward_hook(lambda module, given, wanted: calls.append("back")),
    ]
    model = net()
    train(model, 5)
    for handle in handles:
        handle.remove()
    before = len(calls)
    train(model, 5)
    show(model, calls=calls, later=len(calls) - before)


def global_hooks_that_count_modules() -> None:
    """hooks for registering modules, parameters and buffers"""
    from torch.nn.modules import module as modules

    calls: list[str] = []
    handles = [
        modules.register_module_module_registration_hook(lambda module, name, child: calls.append(f"module {name}")),
        modules.register_module_parameter_registration_hook(lambda module, name, value: calls.append(f"value {name}")),
        modules.register_module_buffer_registration_hook(lambda module, name, value: calls.append(f"buffer {name}")),
    ]
    model = net()
    train(model)
    for handle in handles:
        handle.remove()
    show(model, calls=calls)


class Hungry(nn.Module):
    """Runs out of memory with more than four samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner[:3](x)
        if len(x) > 4:
            raise RuntimeError("CUDA out of memory (in words only)")
        return self.inner[3:](h)


def forward_that_raises() -> None:
    """a forward pass that raises and is tried again with half the batch"""
    model = Hungry()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sizes = []
    for _ in range(6):
        size = 16
        while True:
            x, y = batch(size)
            try:
                out = model(x)
                break
            except RuntimeError:
                size //= 2
        sizes.append(size)
        optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        optimizer.step()
    show(model, sizes=sizes)


def forward_that_raises_under_own_hooks() -> None:
    """a forward pass that raises, with hooks of the script's that are always called"""
    model, calls = Hungry(), []
    model.register_forward_hook(lambda module, args, out: calls.append(type(out).__name__), always_call=True)
    model.inner.register_forward_hook(
        lambda module, args, kwargs, out: calls.append(type(out).__name__), always_call=True, with_kwargs=True
    )
    for _ in range(2):
        try:
            model(torch.randn(8, 6))
        except RuntimeError as error:
            print(error)
        train(nn.Sequential(nn.Linear(6, 3)), 4)
        out = model(torch.randn(4, 6))
    show(out=out, calls=calls)


def tracebacks_that_are_printed() -> None:
    """an exception out of a network within networks, printed with its traceback: without hooks, with own ones"""
    plain, hooked = Hungry(), Hungry()
    hooked.register_forward_pre_hook(lambda module, args: None)
    hooked.inner[0].register_full_backward_hook(lambda module, given, wanted: None)
    for step in range(4):
        for model in (plain, hooked):
            for x in (torch.randn(8, 6), torch.randn(4, 5)):
                try:
                    nn.Sequential(nn.Identity(), model)(x)
                except RuntimeError:
                    print(step, traceback.format_exc())
        train(nn.Sequential(nn.Linear(6, 3)), 2)
    show(plain, hooked)


def hooks_of_a_step() -> None:
    """hooks that are registered and removed in every iteration, and one that removes itself"""
    model, (x, y), calls = net(), batch(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        features: list[torch.Tensor] = []
        with model[2].register_forward_hook(lambda module, args, out, kept=features: kept.append(out)):
            out = model(x)

        def once(module: nn.Module, args: Any, out: Any) -> None:
            calls.append("once")
            handle.remove()

        handle = model[0].register_forward_hook(once)
        optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.01 * features[0].abs().mean()).backward()
        optimizer.step()
    show(model, calls=calls, hooks=[len(layer._forward_hooks) for layer in model])


def deep_copies() -> None:
    """deep copies of networks, optimisers and schedules while they train"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(6):
        twin, twins = copy.deepcopy((model, optimizer))
        again = copy.deepcopy(schedule)
        twins.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        twins.step()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    show(model, twin, rates=[schedule.get_last_lr(), again.get_last_lr()])


def pickles() -> None:
    """networks and optimisers are pickled while they train, whole and as state: the bytes are the same"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    sizes = []
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        whole, state = pickle.dumps(model), io.BytesIO()
        torch.save(
            {"model": model, "optimizer": optimizer, "states": [model.state_dict(), optimizer.state_dict()]}, state
        )
        sizes.append((len(whole), len(state.getvalue()), hash(whole) == hash(pickle.dumps(model))))
    again = pickle.loads(whole)
    show(model, again, sizes=sizes, attributes=sorted(again.__dict__))


def attributes_are_only_its_own() -> None:
    """nothing is added to networks, layers, parameters, optimisers or schedules"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(6):
        out = model(x)
        loss = F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for thing in (model, model[0], model[0].weight, optimizer, schedule, out, loss):
        print(type(thing).__name__, sorted(vars(thing)))
    print([len(value) for name, value in sorted(vars(model[0]).items()) if "hooks" in name])


def moving_average() -> None:
    """an average of the weights by hand and by `AveragedModel`, with `update_bn`"""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    by_hand = copy.deepcopy(model).requires_grad_(False)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(by_hand.state_dict().values(), model.state_dict().values(), strict=True):
                slow.copy_(0.9 * slow + 0.1 * fast if slow.is_floating_point() else fast)
        averaged.update_parameters(model)
        by_hand.eval()(x)
    update_bn([batch()[0] for _ in range(3)], averaged)
    show(model, by_hand, averaged)


def state_hooks() -> None:
    """hooks on `state_dict` and `load_state_dict`: how often and in which order they are called"""
    model, calls = net(), []
    model.register_state_dict_pre_hook(lambda module, prefix, keep: calls.append("state pre"))
    model.register_state_dict_post_hook(lambda module, state, prefix, local: calls.append("state post"))
    model.register_load_state_dict_pre_hook(lambda module, state, *rest: calls.append("load pre"))
    model.register_load_state_dict_post_hook(lambda module, keys: calls.append("load post"))
    for _ in range(3):
        train(model, 2)
        model.load_state_dict(model.state_dict())
    show(model, calls=calls)


def partial_loading() -> None:
    """`load_state_dict` with `strict=False` and `assign=True`: what it returns, and identities of the parameters"""
    model, other = net(), nn.Sequential(nn.Linear(6, 12))
    train(model, 3)
    before = [id(parameter) for parameter in model.parameters()]
    answer = model.load_state_dict(other.state_dict(), strict=False)
    kept = [id(parameter) for parameter in model.parameters()] == before
    print(type(answer).__name__, answer.missing_keys, answer.unexpected_keys, kept)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    try:
        model.load_state_dict({"nonsense": torch.zeros(1)})
    except RuntimeError as error:
        print(error)
    train(model, 3)
    show(model)


def lazy_modules() -> None:
    """lazy modules become real at their first call"""
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    print([type(layer).__name__ for layer in model], model[0].has_uninitialized_params())
    model(torch.randn(4, 6))
    print([type(layer).__name__ for layer in model])
    train(model)
    show(model)


def lazy_modules_and_optimiser() -> None:
    """lazy modules whose optimiser is made before the first call, in a loop that watches"""
    first = net()
    train(first, 2)
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = batch()
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model)


def parametrisations() -> None:
    """weight norm, spectral norm, orthogonal weights and a parametrisation of the script's"""

    class Symmetric(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Symmetric.calls += 1
            return x.triu() + x.triu(1).transpose(-1, -2)

    square = nn.Linear(6, 6)
    parametrize.register_parametrization(square, "weight", Symmetric())
    model = nn.Sequential(
        square,
        parametrizations.weight_norm(nn.Linear(6, 8)),
        nn.Tanh(),
        parametrizations.spectral_norm(nn.Linear(8, 8)),
        parametrizations.orthogonal(nn.Linear(8, 3)),
    )
    train(model)
    show(model, calls=Symmetric.calls, kinds=[type(layer).__name__ for layer in model])


def pruning() -> None:
    """pruning: masks and hooks that compute the weight"""
    model = net()
    prune.l1_unstructured(model[0], "weight", 0.3)
    prune.random_structured(model[4], "weight", 0.3, dim=1)
    train(model)
    prune.remove(model[0], "weight")
    train(model, 3)
    show(model)


def shared_weights() -> None:
    """weights that two layers share, and a layer that is called twice in a forward pass"""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.middle, self.decode = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.decode.weight = self.encode.weight
            self.head = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.decode(self.middle(self.middle(self.encode(x).relu()).relu())))

    model = Tied()
    train(model)
    show(model, same=model.decode.weight is model.encode.weight)


@dataclass
class Prediction:
    """What a network returns."""

    logits: torch.Tensor
    features: torch.Tensor | None = None


class Strange(nn.Module):
    """Takes keywords only, returns a data class, redefines truth, length, equality and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, *, image: torch.Tensor, meta: Any = None) -> Prediction:
        return Prediction(self.inner(image), image)

    def __bool__(self) -> bool:
        raise TypeError("a network has no truth value")

    def __len__(self) -> int:
        raise TypeError("a network has no length")

    def __eq__(self, other: object) -> bool:
        raise TypeError("networks cannot be compared")

    __hash__ = nn.Module.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("extra_"):
            return name
        return super().__getattr__(name)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.inner[1].eval()  # a frozen normalisation
        return self


def strange_module() -> None:
    """a network with keywords only, a data class as result, no truth, no length and no equality"""
    model, (x, y) = Strange(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        out = model(image=x, meta={"patient": 7, "list": [1, {"a": x}]})
        optimizer.zero_grad()
        F.cross_entropy(out.logits, y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            kind = type(model(image=x)).__name__
        model.train()
    show(model.inner, kind=kind, extra=model.extra_thing, mode=[layer.training for layer in model.inner])


Content = TypeVar("Content")


class Counting(type):
    """A metaclass that counts what it makes."""

    made = 0

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        Counting.made += 1
        return super().__call__(*args, **kwargs)


class Box(nn.Module, Generic[Content], metaclass=Counting):
    """A generic module with a metaclass."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self.content = content
        self.inner = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def metaclass_and_generic() -> None:
    """a generic module with a metaclass, an abstract base and slots"""
    model = Box[int](3)
    train(model)
    show(model, made=Counting.made, content=model.content)


def scripted_and_traced() -> None:
    """`torch.jit.script` and `torch.jit.trace` of networks that train"""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    train(torch.jit.script(model), 4)
    train(torch.jit.trace(model, torch.randn(2, 6)), 4)
    show(model)


def symbolic_trace() -> None:
    """`torch.fx.symbolic_trace` and `torch.export` of a network that trains"""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    train(model, 2)
    graph = torch.fx.symbolic_trace(model)
    print(graph.code)
    exported = torch.export.export(model, (torch.randn(2, 6),))
    print([str(node.target) for node in exported.graph.nodes])
    train(graph, 4)
    show(model, out=exported.module()(torch.ones(2, 6)))


def fake_quantisation() -> None:
    """quantisation-aware training with `FakeQuantize` and observers"""
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)
            self.activation = FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
            self.weight = FakeQuantize(quant_min=-128, quant_max=127, dtype=torch.qint8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.activation(F.linear(x, self.weight(self.inner.weight), self.inner.bias))

    model = Quantised()
    train(model)
    show(model)


def data_parallel() -> None:
    """`DataParallel` without a device"""
    model = nn.DataParallel(net())
    train(model)
    show(model)


def conversions() -> None:
    """`to`, `half`, `double`, `apply` and `to(memory_format=...)` between steps"""
    model, (x, y) = net(), batch()
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.float32):
        model.to(kind)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x.to(kind)).float(), y).backward()
            optimizer.step()
    model.apply(lambda module: module.reset_parameters() if hasattr(module, "reset_parameters") else None)
    show(model)


def frozen_parts() -> None:
    """parts that are frozen, thawed and added to the optimiser later"""
    model, (x, y) = net(), batch()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for step in range(8):
        if step == 4:
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.01})
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model, groups=[(group["lr"], len(group["params"])) for group in optimizer.param_groups])


def fast_path_of_attention() -> None:
    """a transformer in evaluation takes its fast path, whose numbers differ in the last bits"""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    head = nn.Linear(16, 3)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 1e-3)
    scores = []
    for _ in range(6):
        x, y = torch.randn(4, 5, 16), torch.randint(0, 3, (4,))
        optimizer.zero_grad()
        F.cross_entropy(head(model(x).mean(1)), y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            scores.append(bits(model(x)))
        with torch.inference_mode():
            scores.append(bits(layer.eval()(x)))
        model.train()
    show(model, head, scores=scores)


def nested_fast_path() -> None:
    """a transformer with a padding mask, which nests its tensors in evaluation"""
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
    head = nn.Linear(16, 3)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 1e-3)
    mask = torch.arange(5)[None] >= torch.tensor([5, 3, 2, 4])[:, None]
    scores = []
    for _ in range(4):
        x, y = torch.randn(4, 5, 16), torch.randint(0, 3, (4,))
        optimizer.zero_grad()
        F.cross_entropy(head(model(x, src_key_padding_mask=mask).mean(1)), y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            out = model(x, src_key_padding_mask=mask)
        scores.append((tuple(out.shape), bits(out)))
        model.train()
    show(model, head, scores=scores)


def recurrent_layers() -> None:
    """LSTMs with packed sequences"""
    model, head = nn.LSTM(6, 8, 2, batch_first=True, dropout=0.1), nn.Linear(8, 3)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 1e-2)
    for _ in range(6):
        x, y = torch.randn(4, 5, 6), torch.randint(0, 3, (4,))
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 3, 2]), batch_first=True)
        _, (hidden, _) = model(packed)
        optimizer.zero_grad()
        F.cross_entropy(head(hidden[-1]), y).backward()
        optimizer.step()
    show(model, head)


def module_lists() -> None:
    """networks that are held in lists, dictionaries, other objects, and made anew while it trains"""

    class Trainer:
        def __init__(self) -> None:
            self.nets = {"a": net(), "b": [net(), net()]}

    trainer = Trainer()
    for step in range(6):
        train(trainer.nets["a"], 1)
        train(trainer.nets["b"][step % 2], 1)
        if step == 3:
            trainer.nets["b"][0] = net()
    show(trainer.nets["a"], *trainer.nets["b"])


def parameters_swapped() -> None:
    """weights replaced in place, by `.data`, by assignment and by `swap_tensors`"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step == 1:
            model[0].weight.data = model[0].weight.data.clone() * 0.9
        if step == 2:
            model[4].weight = nn.Parameter(model[4].weight.detach() * 0.9)
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
        if step == 3:
            torch.utils.swap_tensors(model[0].bias, nn.Parameter(torch.zeros(12)))
        if step == 4:
            with torch.no_grad():
                model[0].weight.copy_(model[0].weight * 0.9)
    show(model)


if __name__ == "__main__":
    main()
