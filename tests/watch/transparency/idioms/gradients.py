"""Gradients: taken in every way that autograd allows."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from kit import batch, main, net, seed, show
from torch import nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def backward_of_a_generator() -> None:
    """`torch.autograd.backward` is given a generator of losses"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        out = model(x)
        torch.autograd.backward(term for term in (F.cross_entropy(out, y), out.square().mean(), out.abs().mean()))
        optimizer.step()
    show(model)


def view_made_without_gradients() -> None:
    """A row of a weight is picked and set to zero under `no_grad`, as the rows of paddings are"""
    table, head = nn.Embedding(10, 4, padding_idx=0), nn.Linear(4, 3)
    with torch.no_grad():
        nn.init.normal_(table.weight)
        nn.init.zeros_(table.weight[table.padding_idx])
    optimizer = torch.optim.SGD([*table.parameters(), *head.parameters()], 0.1)
    for step in range(6):
        optimizer.zero_grad()
        F.cross_entropy(head(table(torch.arange(8) % (step + 2))), torch.arange(8) % 3).backward()
        optimizer.step()
        with torch.no_grad():
            table.weight[table.padding_idx].zero_()
    show(nn.ModuleList([table, head]))


def backward_of_several_losses() -> None:
    """`torch.autograd.backward` is given a list of losses and their gradients"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        out = model(x)
        torch.autograd.backward([F.cross_entropy(out, y), out.mean(0)], [None, torch.full((3,), 0.1)])
        optimizer.step()
    show(model)


def backward_of_a_vector() -> None:
    """`backward(gradient=...)` is called on what is no scalar"""
    model, (x, _) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        out = model(x)
        out.backward(gradient=torch.ones_like(out) / out.numel())
        optimizer.step()
    show(model)


def backward_for_some_inputs() -> None:
    """`backward(inputs=...)` fills the gradients of one part only"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + 0.1 * model[0].weight.abs().mean()
        loss.backward(inputs=list(model[-1].parameters()))
        optimizer.step()
    show(model, first=model[0].weight.grad)


def backward_twice() -> None:
    """the same graph is walked twice with `retain_graph`"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        out = model(x)
        task, small = F.cross_entropy(out, y), out.square().mean()
        task.backward(retain_graph=True)
        small.backward()
        optimizer.step()
    show(model)


def gradient_penalty() -> None:
    """a gradient penalty: the gradient is part of the loss"""
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(6):
        x = torch.randn(8, 6, requires_grad=True)
        out = model(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        loss = out.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model)


def gradients_assigned() -> None:
    """gradients come from `autograd.grad` and are assigned: `p.grad = g`"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(6):
        out = model(x)
        loss = F.cross_entropy(out, y) + 0.01 * out.square().mean()
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
    show(model, gradients=[parameter.grad for parameter in model.parameters()])


def meta_learning() -> None:
    """MAML: an inner loop of `autograd.grad` with `create_graph`, an outer backward through it"""
    weights = [torch.randn(6, 8).mul(0.3).requires_grad_(), torch.randn(8, 3).mul(0.3).requires_grad_()]
    optimizer = torch.optim.Adam(weights, 1e-2)
    for _ in range(6):
        total: Any = 0.0
        for _task in range(2):
            x, y = batch()
            fast = weights
            for _inner in range(2):
                loss = F.cross_entropy((x @ fast[0]).tanh() @ fast[1], y)
                fast = [
                    w - 0.1 * g for w, g in zip(fast, torch.autograd.grad(loss, fast, create_graph=True), strict=True)
                ]
            total = total + F.cross_entropy((x @ fast[0]).tanh() @ fast[1], y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    show(weights)


def projected_gradients() -> None:
    """PCGrad: one `autograd.grad` a task, conflicting parts projected away"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        out = model(x)
        losses = [F.cross_entropy(out, y), out.square().mean(), -out.mean()]
        parameters = list(model.parameters())
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
            for loss in losses
        ]
        for row in rows:
            for other in rows:
                inner = row @ other
                if inner < 0:
                    row -= inner / other.square().sum() * other
        whole = torch.stack(rows).sum(0)
        for parameter in parameters:
            parameter.grad, whole = whole[: parameter.numel()].view_as(parameter).clone(), whole[parameter.numel() :]
        optimizer.step()
    show(model)


def functional_gradients() -> None:
    """`torch.func.grad` over `functional_call`"""
    model, (x, y) = nn.Linear(6, 3), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss_of(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(model, parameters, (x,)), y)

    for _ in range(6):
        gradients = torch.func.grad(loss_of)({name: value.detach() for name, value in model.named_parameters()})
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        optimizer.step()
    show(model)


def per_sample_gradients() -> None:
    """`vmap` of `grad`: one gradient a sample, clipped one by one"""
    model, (x, y) = nn.Linear(6, 3), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss_of(parameters: dict[str, torch.Tensor], one: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(model, parameters, (one[None],)), label[None])

    for _ in range(6):
        parameters = {name: value.detach() for name, value in model.named_parameters()}
        rows = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(parameters, x, y)
        for name, parameter in model.named_parameters():
            parameter.grad = rows[name].clamp(-0.1, 0.1).mean(0)
        optimizer.step()
    show(model)


def jacobians_and_hessians() -> None:
    """`jacrev`, `jacfwd`, `hessian` and `autograd.functional.hvp` beside a training loop"""
    model, (x, y) = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        jacobian = torch.func.jacrev(model)(x[0])
        forward = torch.func.jacfwd(model)(x[0])
        hessian = torch.func.hessian(lambda one: model(one).square().sum())(x[0])
        _, product = torch.autograd.functional.hvp(lambda one: model(one).square().sum(), x[0], torch.ones(6))
    show(model, jacobian=jacobian, forward=forward, hessian=hessian, product=product)


def forward_mode() -> None:
    """forward-mode differentiation with dual numbers and `torch.func.jvp`"""
    model, (x, y) = nn.Linear(6, 3), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        with dual_level():
            tangent = unpack_dual(model(make_dual(x, torch.ones_like(x)))).tangent
        _, other = torch.func.jvp(model, (x,), (torch.ones_like(x),))
        optimizer.zero_grad()
        (F.cross_entropy(model(x), y) + tangent.square().mean() + other.square().mean()).backward()
        optimizer.step()
    show(model)


class Scale(torch.autograd.Function):
    """A function of the user's, with state: it counts its own backward passes."""

    passes = 0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        Scale.passes += 1
        return gradient * 2 / (1 + 0.1 * Scale.passes)


def function_with_state_in_backward() -> None:
    """a custom `autograd.Function` whose backward has state"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        out = Scale.apply(model(x))
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        optimizer.step()
    show(model, passes=Scale.passes)


class Reverse(torch.autograd.Function):
    """Gradient reversal."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: float) -> torch.Tensor:
        ctx.weight = weight
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return -ctx.weight * gradient * (x.abs() < 10), None


def gradient_reversal() -> None:
    """gradient reversal for domain adaptation: a custom function with saved tensors"""
    features, label, domain = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 1)
    optimizer = torch.optim.SGD([*features.parameters(), *label.parameters(), *domain.parameters()], 0.1)
    for _ in range(6):
        x, y = batch()
        h = features(x).relu()
        loss_label = F.cross_entropy(label(h), y)
        loss_domain = F.binary_cross_entropy_with_logits(domain(Reverse.apply(h, 0.5))[:, 0], (y > 0).float())
        loss = loss_label + loss_domain
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(features, label, domain)


def straight_through() -> None:
    """a straight-through estimator: `hard + soft - soft.detach()`, Gumbel noise"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        soft = F.gumbel_softmax(model(x), tau=0.7)
        hard = F.one_hot(soft.argmax(1), 3).float() + soft - soft.detach()
        optimizer.zero_grad()
        (-(hard * F.one_hot(y, 3)).sum(1).mean() + 0.1 * (soft * soft.clamp_min(1e-6).log()).sum(1).mean()).backward()
        optimizer.step()
    show(model)


def retained_gradient() -> None:
    """`h.retain_grad()` on a hidden layer, whose gradient sets the next step"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sizes = []
    for _ in range(6):
        h = model[:3](x)
        h.retain_grad()
        out = model[3:](h)
        loss = F.cross_entropy(out, y) + 0.5 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        sizes.append(float(h.grad.norm()))
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + sizes[-1])
        optimizer.step()
    show(model, sizes=sizes)


def tensor_hooks() -> None:
    """`register_hook` on tensors: counting, and changing the gradient"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    calls = []
    for step in range(6):
        h = model[:3](x)
        h.register_hook(lambda gradient, step=step: calls.append(step))
        handle = h.register_hook(lambda gradient: gradient * 0.5)
        out = model[3:](h)
        optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        handle.remove()
        optimizer.step()
    show(model, calls=calls)


def node_hooks() -> None:
    """`grad_fn.register_hook` and `register_prehook`: how often they fire"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    counts = {"hook": 0, "prehook": 0}

    def hook(inputs: Any, outputs: Any) -> None:
        counts["hook"] += 1

    def prehook(outputs: Any) -> None:
        counts["prehook"] += 1

    for _ in range(6):
        out = model(x)
        loss = F.cross_entropy(out, y) + 0.1 * out.square().mean() + 0.1 * out.abs().mean()
        out.grad_fn.register_hook(hook)
        out.grad_fn.register_prehook(prehook)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, counts=counts)


def hooks_on_several_gradients() -> None:
    """`register_multi_grad_hook`"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    calls: list[int] = []
    torch.autograd.graph.register_multi_grad_hook(
        list(model.parameters()), lambda gradients: calls.append(sum(g is not None for g in gradients))
    )
    for _ in range(6):
        out = model(x)
        optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        optimizer.step()
    show(model, calls=calls)


def optimiser_in_backward() -> None:
    """`register_post_accumulate_grad_hook`: every parameter has an optimiser that steps inside backward"""
    model, (x, y) = net(), batch()
    optimizers = {parameter: torch.optim.SGD([parameter], 0.1) for parameter in model.parameters()}

    def step(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(6):
        out = model(x)
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
    show(model)


def saved_tensor_hooks() -> None:
    """`saved_tensors_hooks` that count how often tensors are packed and unpacked"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    counts = [0, 0]

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        counts[0] += 1
        return tensor.detach()

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        counts[1] += 1
        return tensor

    for _ in range(6):
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            out = model(x)
            loss = F.cross_entropy(out, y) + 0.1 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, counts=counts)


def one_shot_saved_tensors() -> None:
    """`saved_tensors_hooks` whose unpacking works once"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    store: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> int:
        store[len(store)] = tensor.detach()
        return len(store) - 1

    for _ in range(6):
        store.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda key: store.pop(key)):
            out = model(x)
            loss = F.cross_entropy(out, y) + 0.1 * out.square().mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, left=len(store))


def saved_on_cpu() -> None:
    """`save_on_cpu` and disabled saving"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        with torch.autograd.graph.save_on_cpu():
            out = model(x)
            loss = F.cross_entropy(out, y) + 0.1 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model)


def checkpointed_segments() -> None:
    """gradient checkpointing in its three forms, with dropout inside"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(6):
        x.requires_grad_()
        if step % 3 == 2:
            out = checkpoint_sequential(model, 2, x, use_reentrant=False)
        else:
            out = checkpoint(model, x, use_reentrant=bool(step % 3))
        optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        optimizer.step()
    show(model)


def accumulation_with_remainder() -> None:
    """gradient accumulation over three batches with a remainder"""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in range(14):
        x, y = batch()
        (F.cross_entropy(model(x), y) / 3).backward()
        if step % 3 == 2:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    show(model, left=model[0].weight.grad)


def sparse_gradients() -> None:
    """sparse gradients of an embedding, with `SparseAdam`"""
    table, head = nn.Embedding(20, 6, sparse=True), nn.Linear(6, 3)
    optimizers = [torch.optim.SparseAdam(table.parameters(), 0.05), torch.optim.Adam(head.parameters(), 0.01)]
    for _ in range(6):
        words, y = torch.randint(0, 20, (8, 4)), torch.randint(0, 3, (8,))
        out = head(table(words).mean(1))
        for optimizer in optimizers:
            optimizer.zero_grad()
        (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        for optimizer in optimizers:
            optimizer.step()
    show(table, head, gradient=table.weight.grad)


def anomaly_detection() -> None:
    """anomaly detection is on"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with torch.autograd.detect_anomaly():
        for _ in range(6):
            out = model(x)
            optimizer.zero_grad()
            (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it prints the whole stack, in which the watching is at the bottom
            try:
                (torch.zeros(1, requires_grad=True).sqrt() * 0).sum().backward()
            except RuntimeError as error:
                print(str(error).splitlines()[0])
    show(model)


def switched_gradients() -> None:
    """`no_grad`, `enable_grad`, `set_grad_enabled` and `inference_mode`, nested and as decorators"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    @torch.no_grad()
    def validate() -> float:
        model.eval()
        with torch.enable_grad():
            inside = torch.is_grad_enabled()
        value = F.cross_entropy(model(x), y).item()
        model.train()
        return value + inside

    @torch.inference_mode()
    def infer() -> torch.Tensor:
        return model(x)

    values, kinds = [], []
    for _ in range(6):
        with torch.set_grad_enabled(True):
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(validate())
        kinds.append(infer().is_inference())
        torch.set_grad_enabled(False)
        kinds.append(model(x).requires_grad)
        torch.set_grad_enabled(True)
    show(model, values=values, kinds=kinds)


def nothing_is_kept_alive() -> None:
    """losses, outputs, batches and gradients die when the script lets go of them"""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    alive = []
    for _ in range(6):
        x, y = batch()
        out = model(x)
        loss = F.cross_entropy(out.clamp(-5, 5), y) + 0.1 * out.sigmoid().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watched = [weakref.ref(x), weakref.ref(out), weakref.ref(loss), weakref.ref(model[0].weight.grad)]
        del x, y, out, loss
        model.zero_grad(set_to_none=True)
        alive.append([reference() is not None for reference in watched])
    show(alive=alive)


def network_is_not_kept_alive() -> None:
    """networks, optimisers and schedules die when the script lets go of them, without the cyclic collector"""
    gc.disable()
    alive = []
    for _ in range(3):
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _step in range(2):
            x, y = batch()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        watched = [weakref.ref(model), weakref.ref(model.weight)]
        del model, optimizer, x, y
        alive.append([reference() is not None for reference in watched])
    gc.enable()
    show(alive=alive)


def live_tensors_counted() -> None:
    """the script counts living tensors with `gc` to find a leak"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    counts = []
    for _ in range(8):
        out = model(x)
        loss = F.cross_entropy(out, y) + 0.1 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        gc.collect()
        counts.append(sum(torch.is_tensor(thing) for thing in gc.get_objects()))
    show(growth=[later - counts[0] for later in counts])


def changed_in_place() -> None:
    """in-place operations and the version counters of tensors"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    versions = []
    for _ in range(6):
        x.mul_(1.01)
        h = model[0](x)
        h.add_(0.1).relu_()
        out = model[4](h)
        loss = F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        versions.append([x._version, h._version, out._version, model[0].weight._version])
    show(model, versions=versions)


def learned_loss_weights() -> None:
    """loss weights that are learned (uncertainty weighting)"""
    model, (x, y) = net(), batch()
    logs = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([*model.parameters(), logs], 0.1)
    for _ in range(6):
        out = model(x)
        terms = torch.stack([F.cross_entropy(out, y), out.square().mean()])
        optimizer.zero_grad()
        (terms * (-logs).exp() + logs).sum().backward()
        optimizer.step()
    show(model, logs=logs)


def backward_in_a_thread() -> None:
    """forward and backward run in a thread of the script's"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def work() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()

    for _ in range(6):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        optimizer.step()
    show(model)


def graph_is_drawn() -> None:
    """the script walks the graph itself, by `next_functions`, and prints it"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        out = model(x)
        loss = F.cross_entropy(out, y) + 0.1 * out.square().mean()
        waiting, names = [loss.grad_fn], []
        while waiting:
            node = waiting.pop()
            names.append(node.name())
            waiting.extend(child for child, _ in node.next_functions if child is not None)
        print(names)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model)


def gradient_check() -> None:
    """`gradcheck` and `gradgradcheck` between steps"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    passed = []
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        value = torch.randn(3, dtype=torch.double, requires_grad=True)
        passed.append(torch.autograd.gradcheck(torch.tanh, value))
        passed.append(torch.autograd.gradgradcheck(torch.tanh, value))
    show(model, passed=passed)


def unused_gradients() -> None:
    """`autograd.grad` with unused inputs, and gradients that are None"""
    model, (x, y) = net(), batch()
    unused = nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*model.parameters(), *unused.parameters()], 0.1)
    for _ in range(6):
        out = model(x)
        loss = F.cross_entropy(out, y) + 0.1 * out.square().mean()
        gradients = torch.autograd.grad(loss, [unused.weight, out], retain_graph=True, allow_unused=True)
        materialised = torch.autograd.grad(
            loss, [unused.weight], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, gradients=list(gradients), materialised=list(materialised), none=unused.weight.grad)


def mistakes_caught() -> None:
    """mistakes of autograd that the script catches: twice backward, no scalar, changed in place"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for mistake in (loss.backward, model(x).backward, torch.zeros(1).backward):
            try:
                mistake()
            except RuntimeError as error:
                print(str(error).splitlines()[0])
        hidden = model[0](x).sigmoid()
        end = hidden.sum()
        hidden.mul_(2)
        try:
            end.backward()
        except RuntimeError as error:
            print(str(error).splitlines()[0][:80])
    show(model)


def error_inside_backward() -> None:
    """a hook raises inside backward; the script catches it and goes on"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def refuse(gradient: torch.Tensor) -> None:
        raise ValueError("gradient refused")

    caught = 0
    for step in range(6):
        out = model(x)
        if step % 2:
            out.register_hook(refuse)
        optimizer.zero_grad()
        try:
            (F.cross_entropy(out, y) + 0.1 * out.square().mean()).backward()
        except ValueError:
            caught += 1
            continue
        optimizer.step()
    show(model, caught=caught)


def truncated_backpropagation() -> None:
    """a recurrent network, truncated backpropagation with `detach_`"""
    cell, head = nn.GRUCell(6, 8), nn.Linear(8, 3)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], 1e-2)
    state = torch.zeros(8, 8)
    for step in range(12):
        x, y = batch()
        state = cell(x, state)
        loss = F.cross_entropy(head(state), y)
        if step % 2:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = state.detach_()
    show(cell, head, state=state)


def loss_of_many_terms() -> None:
    """a loss of many terms from a dictionary, some of them zero, some constants"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(6):
        out = model(x)
        terms = {
            "ce": F.cross_entropy(out, y),
            "l2": 1e-3 * sum(p.square().sum() for p in model.parameters()),
            "zero": 0 * out.sum(),
            "constant": torch.tensor(0.5),
            "entropy": -0.01 * (out.softmax(1) * out.log_softmax(1)).sum(1).mean(),
        }
        loss = sum(terms.values()) + 0.1 * step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print({name: float(value) for name, value in terms.items()})
    show(model)


def influence_by_leave_one_out() -> None:
    """the same network is trained again and again from a deep copy of its first state"""
    import copy

    first = net()
    kept = copy.deepcopy(first.state_dict())
    (x, y), results = batch(), []
    for left_out in range(3):
        seed(left_out)
        first.load_state_dict(kept)
        optimizer = torch.optim.SGD(first.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(first(x)[left_out + 1 :], y[left_out + 1 :]).backward()
            optimizer.step()
        results.append(F.cross_entropy(first(x), y).item())
    show(first, results=results)


if __name__ == "__main__":
    main()
