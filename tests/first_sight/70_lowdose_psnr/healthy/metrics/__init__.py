from metrics.psnr import calculate_psnr

__all__ = ["calculate_psnr"]
