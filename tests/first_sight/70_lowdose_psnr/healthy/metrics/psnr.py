"""Image quality of 8-bit images."""
import numpy as np


def to_image(tensor):
    """(1, H, W) in 0..1 to (H, W) uint8."""
    return (tensor.squeeze(0).clamp(0, 1) * 255).round().byte().numpy()


def calculate_psnr(img1, img2, crop_border=0):
    """Peak signal-to-noise ratio in dB of images with values 0..255."""
    assert img1.shape == img2.shape, f"image shapes differ: {img1.shape}, {img2.shape}"
    if crop_border:
        img1 = img1[crop_border:-crop_border, crop_border:-crop_border]
        img2 = img2[crop_border:-crop_border, crop_border:-crop_border]
    mse = np.mean((img1.astype(np.float64) - img2.astype(np.float64)) ** 2)
    if mse == 0:
        return float("inf")
    return 20 * np.log10(255 / np.sqrt(mse))
