"""Checks of diffusion: schedule, what training asks of the network, and the sampling loop under an exact denoiser."""
