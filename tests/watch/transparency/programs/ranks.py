"""two ranks by `torch.multiprocessing.spawn` with `DistributedDataParallel`"""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from loop import digest
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def work(rank, place):
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.manual_seed(rank)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
    if not rank:
        print(digest(model))
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder + "/store",), nprocs=2)
    print("done")
