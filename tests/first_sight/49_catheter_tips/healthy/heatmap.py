"""Keypoints to heatmaps and back.  Keypoints are (u, v): column, row."""
import torch


def generate_channel_heatmap(image_size, keypoints, sigma):
    """One channel (h, w) with a Gaussian blob of height one at each of the keypoints (n, 2)."""
    h, w = image_size
    v_axis, u_axis = torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32)
    vv, uu = torch.meshgrid(v_axis, u_axis, indexing="ij")
    img = torch.zeros(h, w)
    for u, v in keypoints:
        img = torch.maximum(img, torch.exp(-((uu - u) ** 2 + (vv - v) ** 2) / (2 * sigma**2)))
    return img


def get_keypoint_from_heatmap(heatmap):
    """(b, c, h, w) to the place of the highest value of each channel, (b, c, 2)."""
    w = heatmap.shape[-1]
    index = heatmap.flatten(2).argmax(-1)
    return torch.stack([index % w, index // w], -1).float()
