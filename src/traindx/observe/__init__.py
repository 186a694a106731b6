"""Observation: passive watching of somebody's own training script."""
