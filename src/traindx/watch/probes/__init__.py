"""Experiments in somebody's running script, on calls that were captured, which leave everything as they found it."""
