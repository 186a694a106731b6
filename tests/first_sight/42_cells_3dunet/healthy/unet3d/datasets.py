import torch
from torch.utils.data import Dataset


class CellVolumes(Dataset):
    """Stacks of a light-sheet microscope with nuclei of several brightnesses; binary labels."""

    def __init__(self, number, patch, seed):
        gen = torch.Generator().manual_seed(seed)
        d, h, w = patch
        zz, yy, xx = torch.meshgrid(torch.arange(d), torch.arange(h), torch.arange(w), indexing="ij")
        self.raw, self.label = [], []
        for _ in range(number):
            raw, label = 0.2 * torch.ones(d, h, w), torch.zeros(d, h, w)
            for _ in range(int(torch.randint(4, 9, (1,), generator=gen))):
                u = torch.rand(5, generator=gen)
                r = 2 + 2 * u[3]
                inside = (2 * (zz - u[0] * d)) ** 2 + (yy - u[1] * h) ** 2 + (xx - u[2] * w) ** 2 < r**2
                label[inside] = 1
                raw[inside] = 0.35 + 0.5 * u[4]
            raw = raw * (1 - 0.3 * zz / d) + 0.12 * torch.randn(d, h, w, generator=gen)
            self.raw.append(((raw - raw.mean()) / raw.std())[None])
            self.label.append(label[None])

    def __len__(self):
        return len(self.raw)

    def __getitem__(self, i):
        return self.raw[i], self.label[i]
