"""X-ray to CT in stages of growing resolution: progressive regression and a cascade of diffusion models."""
