"""a loader whose workers are spawned, with a data set of `__main__`"""

import random

import torch
from loop import digest
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Data(Dataset):
    """Random items."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return torch.randn(6) + random.random(), index % 3


def seeded(worker):
    torch.manual_seed(worker)


if __name__ == "__main__":
    torch.manual_seed(0)
    random.seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loader = DataLoader(
        Data(),
        4,
        shuffle=True,
        num_workers=1,
        multiprocessing_context="spawn",
        persistent_workers=True,
        worker_init_fn=seeded,
    )
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    print(digest(model))
