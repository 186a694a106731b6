"""What everything stands on: diffusion algebra, recorded calls, random streams, frames. Nothing above is imported."""
