"""Whole-volume dose from a patch network."""
import argparse

import torch
from torch import nn


class DoseNet(nn.Module):
    def __init__(self, ch=10):
        super().__init__()
        conv = lambda i, o, d: nn.Sequential(nn.Conv3d(i, o, 3, padding=d, dilation=d), nn.LeakyReLU(0.1))
        self.body = nn.Sequential(conv(3, ch, 1), conv(ch, 2 * ch, 1), conv(2 * ch, ch, 2))
        self.out = nn.Conv3d(ch, 1, 1)

    def forward(self, x):
        return self.out(self.body(x))


def window_positions(shape, patch, stride):
    """Corners of all windows: a regular grid and windows flush with the far borders."""
    axes = [{*range(0, s - patch + 1, stride), s - patch} for s in shape]
    corners = {(i, j, k) for i in axes[0] for j in axes[1] for k in axes[2]}
    return sorted(corners)


@torch.no_grad()
def sliding_window(net, volume, patch, overlap):
    """(C, D, H, W) -> (1, D, H, W), windows averaged where they overlap."""
    net.eval()
    shape = volume.shape[1:]
    total, weight = torch.zeros(1, *shape), torch.zeros(1, *shape)
    for i, j, k in window_positions(shape, patch, patch - overlap):
        cut = (slice(None), slice(i, i + patch), slice(j, j + patch), slice(k, k + patch))
        total[cut] += net(volume[cut][None])[0]
        weight[cut] += 1
    return total / weight.clamp(min=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", default="dose.pt")
    saved = torch.load(parser.parse_args().weights)
    model = DoseNet()
    model.load_state_dict(saved["net"])
    for number, (structures, dose) in enumerate(saved["plans"]):
        predicted = sliding_window(model, structures, saved["patch"], saved["overlap"])
        print(f"plan {number} mae {(predicted - dose).abs().mean():.4f} mean dose {predicted.mean():.3f} planned {dose.mean():.3f}")
