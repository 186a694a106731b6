"""Traffic signs from two cameras, one process for each camera; the processes share one model by data-parallel training."""
import math
import os
import tempfile

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

SIZE, KINDS, CAMERAS = 20, 6, ["road", "bridge"]


def signs(count, camera, seed):
    """Polygons with three to eight corners; the bridge camera sees them dark, small and blurred."""
    rng = np.random.default_rng([seed, camera])
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    images, kinds = np.zeros((count, 1, SIZE, SIZE), np.float32), rng.integers(0, KINDS, count)
    for image, kind in zip(images[:, 0], kinds):
        dx, dy, turn = rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06), rng.normal(0, 0.1)
        radius = np.hypot(x - dx, y - dy)
        angle = np.arctan2(y - dy, x - dx) + turn
        corners = (3, 4, 5, 6, 8, 40)[kind]
        edge = np.cos(math.pi / corners) / np.cos((angle % (2 * math.pi / corners)) - math.pi / corners)
        reach = rng.uniform(0.34, 0.42) if camera == 0 else rng.uniform(0.26, 0.34)
        rim = np.abs(radius / reach - 0.85 * edge) < 0.16
        sharp = 1.0 * rim + 0.4 * (radius / reach < 0.7 * edge)
        image += 0.3 + 0.6 * sharp if camera == 0 else 0.7 - 0.5 * sharp
        image += rng.normal(0, 0.08, image.shape)
    return TensorDataset(2 * torch.from_numpy(images) - 1, torch.from_numpy(kinds))


class SignModel(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1), nn.GroupNorm(4, width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, 1, 1), nn.GroupNorm(4, 2 * width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * width * 25, 48), nn.ReLU(), nn.Linear(48, KINDS),
        )

    def forward(self, image, kind=None):
        logits = self.layers(image)
        return logits if kind is None else F.cross_entropy(logits, kind)


@torch.no_grad()
def accuracy(model, dataset):
    model.eval()
    image, kind = dataset.tensors
    return (model(image).argmax(1) == kind).float().mean().item()


def work(rank, world, file, epochs, lr):
    torch.set_num_threads(1)
    torch.manual_seed(30)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    loader = DataLoader(signs(640, rank, 1), 32, shuffle=True, drop_last=True)
    valid = [signs(300, camera, 2) for camera in range(len(CAMERAS))]
    wrapped = DistributedDataParallel(SignModel())
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for epoch in range(1, epochs + 1):
        wrapped.train()
        total = torch.zeros(())
        for image, kind in loader:
            loss = wrapped.module(image, kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.detach() / len(loader)
        dist.all_reduce(total)
        if rank == 0:
            scores = " ".join(f"{name} {accuracy(wrapped.module, part):.4f}" for name, part in zip(CAMERAS, valid))
            print(f"epoch {epoch} loss {total.item() / world:.4f} accuracy {scores}", flush=True)
    if rank == 0:
        whole = np.mean([accuracy(wrapped.module, part) for part in valid])
        print(f"saved model: accuracy {whole:.4f} over both cameras", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        options = (len(CAMERAS), os.path.join(folder, "rendezvous"), 5, 2e-3)
        mp.start_processes(work, args=options, nprocs=len(CAMERAS), start_method="fork")
