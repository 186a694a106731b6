"""processes that train one network in shared memory"""

import torch
import torch.multiprocessing as mp
from loop import digest
from torch import nn


def work(rank: int, model: nn.Module) -> None:
    torch.manual_seed(rank)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    model.share_memory()
    for rank in range(2):  # one after the other, so that the result is certain
        process = mp.get_context("spawn").Process(target=work, args=(rank, model))
        process.start()
        process.join()
        print(process.exitcode)
    work(5, model)
    print(digest(model))
