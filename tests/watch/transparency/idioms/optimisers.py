"""Optimisers, schedules, clipping: the usual ones and those that people write."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from kit import batch, main, net, show
from torch import nn


def closures() -> None:
    """LBFGS and others with a closure, which is called as often"""
    model, (x, y), calls = nn.Linear(6, 3), batch(), []
    for make in (
        lambda p: torch.optim.LBFGS(p, max_iter=3, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.Adam(p, 1e-2),
    ):
        optimizer = make(model.parameters())

        def closure(optimizer: Any = optimizer) -> torch.Tensor:
            calls.append(1)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y) + 1e-3 * model.weight.square().sum()
            loss.backward()
            return loss

        for _ in range(4):
            value = optimizer.step(closure)
            print(type(value).__name__, float(value))
    show(model, calls=len(calls))


class Sharp(torch.optim.Optimizer):
    """Sharpness-aware minimisation, as it is usually written."""

    def __init__(self, parameters: Any, base: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(parameters, {"rho": rho, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        norm = torch.norm(torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.data.clone()
                p.add_(p.grad * (group["rho"] / (norm + 1e-12)))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old"]
        self.base_optimizer.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        closure = torch.enable_grad()(closure)
        self.first_step()
        closure()
        self.second_step()


def two_steps_in_one() -> None:
    """an optimiser of the script's with another inside (SAM)"""
    model, (x, y) = net(), batch()
    optimizer = Sharp(model.parameters(), torch.optim.SGD, lr=0.1)
    for step in range(6):
        F.cross_entropy(model(x), y).backward()
        if step % 2:
            optimizer.first_step()
            F.cross_entropy(model(x), y).backward()
            optimizer.second_step()
        else:
            optimizer.step(lambda: F.cross_entropy(model(x), y).backward())
    show(model, state=len(optimizer.state))


class Own(torch.optim.Optimizer):
    """Counts everything that is called on it."""

    def __init__(self, parameters: Any, lr: float) -> None:
        self.calls: list[str] = []
        super().__init__(parameters, {"lr": lr})

    def step(self) -> str:
        self.calls.append("step")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data.add_(p.grad.sign(), alpha=-group["lr"])
        return "stepped"

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.calls.append("zero")
        super().zero_grad(set_to_none)

    def state_dict(self) -> Any:
        self.calls.append("state")
        return super().state_dict()

    def add_param_group(self, group: Any) -> None:
        self.calls.append("group")
        super().add_param_group(group)


def own_optimiser() -> None:
    """an optimiser of the script's that returns what it likes and counts what is called on it"""
    model, (x, y), answers = net(), batch(), []
    optimizer = Own(model.parameters(), 0.01)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        answers.append(optimizer.step())
    show(model, calls=optimizer.calls, answers=answers)


class Wrapper:
    """An optimiser that is none: it holds one."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner, self.slow, self.count = inner, {}, 0

    @property
    def param_groups(self) -> Any:
        return self.inner.param_groups

    def step(self) -> None:
        self.inner.step()
        self.count += 1
        if self.count % 2 == 0:
            for group in self.param_groups:
                for p in group["params"]:
                    slow = self.slow.setdefault(p, p.detach().clone())
                    slow += 0.5 * (p.detach() - slow)
                    p.data.copy_(slow)

    def zero_grad(self) -> None:
        self.inner.zero_grad()


def wrapped_optimiser() -> None:
    """an optimiser in a wrapper that is no `Optimizer` (lookahead)"""
    model, (x, y) = net(), batch()
    optimizer = Wrapper(torch.optim.Adam(model.parameters(), 1e-2))
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model)


def step_hooks() -> None:
    """hooks on `step`, on one optimiser and on all, in order"""
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    model, (x, y), calls = net(), batch(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    handles = [
        optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: calls.append(("pre", len(args), len(kwargs)))),
        optimizer.register_step_post_hook(lambda optimizer, args, kwargs: calls.append("post")),
        register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: calls.append("global pre")),
        register_optimizer_step_post_hook(lambda optimizer, args, kwargs: calls.append("global post")),
    ]
    for step in range(8):
        if step == 5:
            for handle in handles:
                handle.remove()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model, calls=calls)


def closure_argument_of_a_hook() -> None:
    """a step hook of the script's gets the very closure that was passed"""
    model, (x, y), same = nn.Linear(6, 3), batch(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: same.append(args[1] is closure))
    for _ in range(6):
        optimizer.step(closure)
    show(model, same=same)


def schedules() -> None:
    """many schedules, one after the other: their rates"""
    model, (x, y) = net(), batch()
    S = torch.optim.lr_scheduler
    makers = [
        lambda o: S.LambdaLR(o, lambda step: 0.95**step),
        lambda o: S.OneCycleLR(o, 0.2, total_steps=8),
        lambda o: S.CosineAnnealingWarmRestarts(o, 3),
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=2), S.ExponentialLR(o, 0.9)], [2]),
        lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.5, 2), S.StepLR(o, 3)]),
        lambda o: S.CyclicLR(o, 0.01, 0.1, step_size_up=2),
        lambda o: S.PolynomialLR(o, 8),
    ]
    for make in makers:
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        schedule = make(optimizer)
        rates = []
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
        print(type(schedule).__name__, rates)
    show(model)


def schedule_on_a_plateau() -> None:
    """`ReduceLROnPlateau` and a schedule of the script's own"""

    class Warm(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base * min(1.0, (self.last_epoch + 1) / 4) for base in self.base_lrs]

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    warm = Warm(optimizer)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
    rates = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        warm.step()
        plateau.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    show(model, rates=rates, state=plateau.state_dict()["num_bad_epochs"])


def schedule_too_early() -> None:
    """a schedule that steps before its optimiser: the warning names the script's line"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for epoch in range(6):
        schedule.step()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step(epoch)
    show(model)


def clipping_of_generators() -> None:
    """`clip_grad_norm_` is given generators, filters, one tensor and iterables that count"""

    class Once:
        def __init__(self, values: Any) -> None:
            self.values, self.times = list(values), 0

        def __iter__(self) -> Any:
            self.times += 1
            return iter(self.values)

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    norms, once = [], Once(model.parameters())
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        norms.append(nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), 0.5))
        norms.append(nn.utils.clip_grad_norm_(filter(lambda p: p.ndim > 1, model.parameters()), 0.4))
        norms.append(nn.utils.clip_grad_norm_(once, 0.4, norm_type=math.inf))
        norms.append(nn.utils.clip_grad_norm_(model[0].weight, max_norm=0.3, foreach=False))
        nn.utils.clip_grad_value_(once, clip_value=0.05)
        optimizer.step()
    show(model, norms=norms, times=once.times)


def clipping_that_warns() -> None:
    """clipping without gradients, with infinite ones, with a generator that is empty: warnings and errors"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        optimizer.zero_grad()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        nn.utils.clip_grad_norm_((p for p in ()), 1.0)
        (F.cross_entropy(model(x), y) * math.inf).backward()
        try:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
        except RuntimeError as error:
            print(str(error)[:60])
    show(model)


def kinds_of_optimisers() -> None:
    """optimisers of many kinds, foreach or not, with tensors as rates"""
    O = torch.optim  # noqa: E741
    for make in (
        lambda p: O.AdamW(p, 1e-2, foreach=True, amsgrad=True),
        lambda p: O.Adam(p, torch.tensor(1e-2), foreach=False, capturable=False),
        lambda p: O.RMSprop(p, 1e-2),
        lambda p: O.NAdam(p, 1e-2),
        lambda p: O.Adafactor(p, 1e-2),
        lambda p: O.ASGD(p, 1e-2),
        lambda p: O.Rprop(p, 1e-2),
        lambda p: O.SGD(p, 0.1, momentum=0.9, nesterov=True, differentiable=False),
    ):
        model, (x, y) = net(), batch()
        optimizer = make(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        show(model)


def state_saved_and_loaded() -> None:
    """states of optimisers and schedules are saved and loaded in the midst"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for step in range(8):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
        if step == 3:
            kept = optimizer.state_dict(), schedule.state_dict(), model.state_dict()
            optimizer = torch.optim.Adam(model.parameters(), 1e-2)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
            optimizer.load_state_dict(kept[0])
            schedule.load_state_dict(kept[1])
    show(model, state=optimizer.state_dict(), schedule=schedule.last_epoch)


def without_an_optimiser() -> None:
    """updates by hand, under `no_grad` and by `.data`"""
    weights, (x, y) = torch.randn(6, 3, requires_grad=True), batch()
    for step in range(16):
        loss = F.cross_entropy(x @ weights, y) + 0.01 * weights.square().sum()
        loss.backward()
        if step % 2:
            weights.data -= 0.1 * weights.grad
        else:
            with torch.no_grad():
                weights -= 0.1 * weights.grad
        weights.grad = None
    show(weights)


def adversaries() -> None:
    """two optimisers, of a generator and a critic, with different rhythms"""
    generator, critic = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    g, d = torch.optim.Adam(generator.parameters(), 1e-3), torch.optim.RMSprop(critic.parameters(), 1e-3)
    for step in range(8):
        fake = generator(torch.randn(6, 4))
        d.zero_grad()
        (F.softplus(-critic(torch.randn(6, 6))).mean() + F.softplus(critic(fake.detach())).mean()).backward()
        d.step()
        for p in critic.parameters():
            p.data.clamp_(-0.5, 0.5)
        if step % 2:
            g.zero_grad()
            F.softplus(-critic(fake)).mean().backward()
            g.step()
    show(generator, critic)


def gradient_noise() -> None:
    """noise on the gradients, and weights reset at random: the random numbers are the same"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for p in model.parameters():
            p.grad += 0.01 * torch.randn_like(p)
        optimizer.step()
        if torch.rand(()) < 0.5:
            nn.init.normal_(model[4].bias)
    show(model)


def step_that_raises() -> None:
    """an optimiser's step that raises, and a script that goes on"""

    class Moody(torch.optim.SGD):
        count = 0

        def step(self, closure: Any = None) -> Any:
            Moody.count += 1
            if Moody.count % 3 == 0:
                raise RuntimeError("no step today")
            return super().step(closure)

    model, (x, y), caught = net(), batch(), 0
    optimizer = Moody(model.parameters(), 0.1)
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        try:
            optimizer.step()
        except RuntimeError:
            caught += 1
        model.eval()
        with torch.no_grad():
            model(x)
        model.train()
    show(model, caught=caught)


def many_optimisers() -> None:
    """an optimiser made anew in every epoch"""
    model, (x, y) = net(), batch()
    for rate in (0.1, 0.05, 0.02, 0.01):
        opt = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
        for _ in range(2):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    show(model)


def warnings_of_the_users() -> None:
    """warnings of the script's own, with `stacklevel`, `warn_explicit`, categories and a filter"""

    def old_function() -> None:
        warnings.warn("old_function is old", DeprecationWarning, stacklevel=2)

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    warnings.simplefilter("always", DeprecationWarning)
    for step in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(x), y[:, None].float()).backward()  # torch warns of the shapes
        optimizer.step()
        old_function()
        warnings.warn(f"step {step}")
        warnings.warn("with a category", category=RuntimeWarning, stacklevel=1)
        warnings.warn_explicit("explicit", UserWarning, "elsewhere.py", 12)
    show(model)


if __name__ == "__main__":
    main()
