"""What traindx uses of torch, Lightning and torchmetrics that they do not promise to keep: all of it is here.

Nothing is imported before the script imports it, so every function is handed the torch module, or an object of it.
:data:`PRIVATE` lists the names with what they are used for; :func:`lost` says in a sentence for each what a version
that has them no longer takes away. Where there is a public way in every version that we support, it is used instead.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

TESTED = {  # oldest and newest release that the tests were run on
    "torch": ("2.13", "2.13"),
    "lightning": ("2.6", "2.6"),
    "torchmetrics": ("1.9", "1.9"),
}


@dataclass(frozen=True)
class Private:
    """A name that a package may drop in any release.

    Attributes:
        package: Distribution it belongs to.
        module: Module to look it up in.
        name: Path of attributes below the module.
        purpose: What traindx does with it, to complete "no longer possible: …".
    """

    package: str
    module: str
    name: str
    purpose: str

    @property
    def there(self) -> bool:
        """True if the installed package has it."""
        try:
            found: Any = import_module(self.module)
            for part in self.name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            return False
        return True


_MODES = "putting function modes below or above those of the script"
_DISPATCH = "keeping the script's dispatch modes out of our own code"
_PROFILER = "keeping our own code out of the script's profiles"
_GRAPH = "reading the terms of a loss off its graph"
_HOOKS = "keeping hooks out of code that is being compiled"
_COPIES = "copying networks for experiments"
_CALLED = "telling which of torch's functions was called"
_COSTS = "predicting what a training step costs without taking it"

HOOKS_OF_MODULES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_GLOBAL_HOOKS = (
    "_global_forward_pre_hooks",
    "_global_forward_hooks",
    "_global_forward_hooks_always_called",
    "_global_forward_hooks_with_kwargs",
)
_GLOBAL_BACKWARD_HOOKS = ("_global_backward_hooks", "_global_backward_pre_hooks")
_STACK = "torch.utils._python_dispatch"
_FAKE = "torch._subclasses.fake_tensor"
_BUILTIN = ("_nn", "_linalg", "_fft", "_special", "_sparse", "_nested", "_VariableFunctions")


def _torch(module: str, names: Iterable[str], purpose: str) -> tuple[Private, ...]:
    return tuple(Private("torch", module, name, purpose) for name in names)


PRIVATE: tuple[Private, ...] = (
    *_torch("torch._C", ("_len_torch_function_stack", "DisableTorchFunction", "_EnableTorchFunction"), _MODES),
    *_torch("torch._C", ("DisableTorchFunctionSubclass",), _MODES),
    *_torch("torch.overrides", ("_pop_mode", "_push_mode"), _MODES),
    *_torch("torch._C", ("_len_torch_dispatch_stack", "_disabled_torch_dispatch_impl"), _DISPATCH),
    *_torch(_STACK, ("_pop_mode", "_push_mode"), _DISPATCH),
    *_torch("torch._C._functorch", ("peek_interpreter_stack",), "seeing that a transform of torch.func runs"),
    *_torch("torch._C", ("_set_grad_enabled",), "switching gradients off in our own code"),
    *_torch("torch._C._autograd", ("_profiler_enabled", "_enable_record_function"), _PROFILER),
    *_torch("torch._C", ("_functions",), _GRAPH),
    *_torch("torch._C._autograd", ("_get_sequence_nr",), _GRAPH),
    *_torch("torch", ("Tensor._version", "_foreach_norm"), "telling cheaply what changed"),
    *_torch("torch.nn.modules.module", _GLOBAL_HOOKS, _HOOKS),
    *_torch("torch.nn.modules.module", _GLOBAL_BACKWARD_HOOKS, "showing an exception as it is without hooks"),
    *_torch("torch._dynamo.eval_frame", ("OptimizedModule.__call__",), "seeing calls of compiled networks"),
    *_torch(_STACK, ("TorchDispatchMode",), _COSTS),
    *_torch(_FAKE, ("FakeTensorMode",), _COSTS),
    *_torch("torch._C", _BUILTIN, _CALLED),
    *_torch("torch", ("_tensor",), _CALLED),
    Private("lightning", "lightning.pytorch.trainer.call", "_call_callback_hooks", "reading what Lightning logs"),
    Private("torchmetrics", "torchmetrics.metric", "Metric._wrap_compute", "reading what torchmetrics computes"),
)


def lost(package: str | None = None) -> list[str]:
    """A sentence for each purpose that an installed package no longer serves, with its version and the tested ones."""
    sentences = []
    for name, (oldest, newest) in TESTED.items():
        installed = _version(name) if package in (None, name) else None
        if installed is None:
            continue
        gone: dict[str, list[str]] = {}
        for private in PRIVATE:
            if private.package == name and not private.there:
                gone.setdefault(private.purpose, []).append(f"{private.module}.{private.name}")
        sentences += [
            f"{name} {installed} has no {', '.join(names)} (traindx is tested with {oldest} to {newest}); no longer "
            f"possible: {purpose}"
            for purpose, names in gone.items()
        ]
    return sentences


def _version(package: str) -> str | None:
    from importlib import metadata  # slow to import, and wanted only where something is lost

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# -- modes -----------------------------------------------------------------------------------------------------------


def take_function_modes(torch: Any) -> list[Any]:
    """Take all function modes away; the innermost comes first."""
    return [torch.overrides._pop_mode() for _ in range(torch._C._len_torch_function_stack())]


def put_function_modes(torch: Any, taken: Sequence[Any]) -> None:
    """Put modes in place that :func:`take_function_modes` took; the first one ends innermost."""
    for mode in reversed(taken):
        torch.overrides._push_mode(mode)


def is_default_device(mode: Any) -> bool:
    """True for the mode that ``torch.set_default_device`` puts in place, below all others."""
    return type(mode).__name__ == "DeviceContext"


def no_function_modes(torch: Any) -> Any:
    """A context in which neither function modes nor classes of tensors have a say."""
    return torch._C.DisableTorchFunction()


def function_modes(torch: Any) -> Any:
    """A context in which function modes have a say again."""
    return torch._C._EnableTorchFunction()


def no_tensor_classes(torch: Any) -> Any:
    """A context in which tensors of any class are plain ones for functions of torch."""
    return torch._C.DisableTorchFunctionSubclass()


def take_dispatch_modes(torch: Any) -> list[Any]:
    """Take all dispatch modes away; the innermost comes first."""
    depth = torch._C._len_torch_dispatch_stack()
    return [import_module(_STACK)._pop_mode() for _ in range(depth)] if depth else []


def put_dispatch_modes(taken: Sequence[Any]) -> None:
    """Put modes in place that :func:`take_dispatch_modes` took."""
    for mode in reversed(taken):
        import_module(_STACK)._push_mode(mode)


def dispatch_mode() -> Any:
    """The class of modes that see every operation below autograd."""
    return import_module(_STACK).TorchDispatchMode


def without_memory() -> Any:
    """A mode in which tensors have shapes, types and devices and no memory; constants may come from outside of it."""
    return import_module(_FAKE).FakeTensorMode(allow_non_fake_inputs=True)


def set_grad_enabled(torch: Any, on: bool) -> None:
    """Switch gradients on or off for good; a mode is told of it, except within :func:`no_function_modes`."""
    torch._C._set_grad_enabled(on)


def dispatches_itself(torch: Any, tensor: Any) -> bool:
    """True if a tensor's class does its own dispatching: what it holds can only be read by its own code."""
    return type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def transform_asked() -> Callable[[], Any]:
    """A function whose answer is None unless a transform of ``torch.func`` runs."""
    asked: Callable[[], Any] = import_module("torch._C._functorch").peek_interpreter_stack
    return asked


def pause_profiler(torch: Any) -> bool:
    """Let no profiler record; True if one did."""
    autograd = torch._C._autograd
    if not autograd._profiler_enabled():
        return False
    autograd._enable_record_function(False)
    return True


def resume_profiler(torch: Any) -> None:
    """Let profilers record again."""
    torch._C._autograd._enable_record_function(True)


# -- graphs and tensors ----------------------------------------------------------------------------------------------


def node_types(torch: Any) -> frozenset[type]:
    """The classes of torch's own nodes in a graph."""
    return frozenset(value for value in vars(torch._C._functions).values() if isinstance(value, type))


def next_number(torch: Any) -> int:
    """The number that the next node of a graph will have in this thread."""
    return int(torch._C._autograd._get_sequence_nr())


def node_of(tensor: Any) -> Any:
    """The autograd node of a tensor, None where there is none or torch refuses to say.

    It does for a view that was made without gradients once its base was written to: asking makes its node anew.
    """
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def worker_iterator(torch: Any) -> Any:
    """The class that hands out batches which worker processes make."""
    return torch.utils.data.dataloader._MultiProcessingDataLoaderIter


def own_iterator(torch: Any) -> Any:
    """The class that makes the batches of a loader in its own process."""
    return torch.utils.data.dataloader._SingleProcessDataLoaderIter


def number(node: Any) -> int:
    """The number of a node: those made later in a thread have larger ones."""
    return int(node._sequence_nr())


def saved(node: Any, name: str, *otherwise: Any) -> Any:
    """What a node keeps for its backward pass, by the name of the argument.

    Raises:
        AttributeError: It keeps nothing of that name, and nothing is said to return instead.
        RuntimeError: It has been freed, or was changed in place.
    """
    return getattr(node, f"_saved_{name}", *otherwise)


def expected_gradients(node: Any) -> Any:
    """Shape, dtype and device of the gradients that a node waits for, one an output; None where it does not say."""
    return getattr(node, "_input_metadata", None)


def version(tensor: Any) -> int:
    """How often a tensor was written in place; -1 where nobody counts."""
    return -1 if tensor.is_inference() else int(tensor._version)


def norms(torch: Any, tensors: list[Any]) -> list[Any]:
    """Euclidean norm of each of some tensors in one call."""
    return list(torch._foreach_norm(tensors)) if tensors else []


# -- modules, functions ----------------------------------------------------------------------------------------------


def hooks_of_all_modules(torch: Any) -> list[Any]:
    """The tables of forward hooks that every module calls."""
    return [getattr(torch.nn.modules.module, name) for name in _GLOBAL_HOOKS]


def hooks_in_a_call(torch: Any, module: Any) -> int:
    """How many hooks a call of a module goes through: its own, and those of all modules."""
    of_all = (*_GLOBAL_HOOKS[:2], *_GLOBAL_BACKWARD_HOOKS)
    tables = [getattr(torch.nn.modules.module, name) for name in of_all]
    return sum(map(len, [*tables, *(getattr(module, name) for name in HOOKS_OF_MODULES[:4])]))


def compiled_module_type() -> Any:
    """The class of networks that ``torch.compile`` returns."""
    return import_module("torch._dynamo.eval_frame").OptimizedModule


def original_of(module: Any) -> Any:
    """The network inside a compiled one, or None for any other."""
    return getattr(module, "_orig_mod", None)


def builtin_places(torch: Any) -> list[Any]:
    """Where torch keeps functions that are not written in Python."""
    return [torch.Tensor, *(getattr(torch._C, name) for name in _BUILTIN)]


def python_places(torch: Any) -> list[ModuleType | type]:
    """Where torch keeps functions that are written in Python and ask function modes first."""
    return [torch.nn.functional, torch.functional, torch, torch._tensor, torch.Tensor, torch.nn.init]


def workers_read(iterator: Any) -> tuple[Any, Any, bool]:
    """What the iterator of a loader hands to its workers: data set, ``worker_init_fn``, and whether they live on."""
    persistent = bool(getattr(iterator, "_persistent_workers", False))
    return iterator._dataset, getattr(iterator, "_worker_init_fn", None), persistent


def begin_as_worker(torch: Any, iterator: Any, worker: int, workers: int) -> None:
    """Seed this process as torch seeds the worker of a loader, and tell code that asks that it is one."""
    loop = import_module("torch.utils.data._utils.worker")
    seed = int(iterator._base_seed) + worker
    random.seed(seed)
    torch.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(loop._generate_state(int(iterator._base_seed), worker))
    vars(loop)["_worker_info"] = loop.WorkerInfo(id=worker, num_workers=workers, seed=seed, dataset=iterator._dataset)


# -- schedules, scaling, logging -------------------------------------------------------------------------------------


def parts_of_schedule(scheduler: Any) -> tuple[list[Any], list[int]]:
    """The schedules that a ``SequentialLR`` is made of, and at which of its steps the next one takes over."""
    return list(scheduler._schedulers), [int(step) for step in scheduler._milestones]


def scale_of(scaler: Any) -> Any:
    """The tensor in which a gradient scaler keeps its factor; None before its first use."""
    return scaler._scale


LIGHTNING_HOOKS = "_call_callback_hooks"
"""The function of ``lightning.pytorch.trainer.call`` by which a trainer tells its callbacks."""

METRIC_COMPUTE = "_wrap_compute"
"""The method by which torchmetrics wraps a metric's ``compute`` when the metric is made."""


def is_batch_value(metric: Any) -> bool:
    """True while a torchmetrics metric computes the value of one batch, within ``forward``."""
    return bool(getattr(metric, "_is_synced", False) or not metric._to_sync)


def switch_off(part: Any) -> bool:
    """Switch an ``autocast`` region or a gradient scaler off; False where it was off already."""
    was = bool(part._enabled)
    part._enabled = False
    return was
