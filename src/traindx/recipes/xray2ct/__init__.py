"""X-ray to CT: a volume from a frontal and a lateral radiograph by conditional diffusion."""
