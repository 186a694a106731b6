"""`torch.compile` with its own compiler"""

import torch
import torch.nn.functional as F
from loop import digest
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
fast = torch.compile(model)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(6):
    x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
    optimizer.zero_grad()
    F.cross_entropy(fast(x), y).backward()
    optimizer.step()
print(digest(model), torch._dynamo.utils.counters["stats"])
