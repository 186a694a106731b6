"""`torch.compile` of a network and of a function, with hooks of the program's"""

import torch
import torch.nn.functional as F
from loop import digest
from torch import nn

torch.manual_seed(0)
calls = []
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
model[0].register_forward_hook(lambda module, args, out: calls.append(1))
fast = torch.compile(model, backend="aot_eager")
optimizer = torch.optim.SGD(model.parameters(), 0.1)
outer = []
handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: outer.append(type(module).__name__))


@torch.compile(backend="eager", fullgraph=True)
def compare(out, y):
    return F.cross_entropy(out, y) + 0.1 * out.square().mean()


compile_again = torch.compile(backend="eager")
double = compile_again(lambda x: x * 2)
for step in range(8):
    x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
    if step == 6:
        handle.remove()
    loss = compare(fast(x), y) + 0 * double(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(digest(model), len(calls) > 0, len(outer), type(fast).__name__, callable(compare), fast is model)
model.compile(backend="eager")
print(model(torch.ones(1, 6)).shape, torch.compiler.is_compiling(), torch._dynamo.utils.counters["graph_break"])
