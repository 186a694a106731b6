"""Passive watching: runs somebody's script unchanged, in its own process, and writes down what happens in it.

:mod:`traindx.host.runner` is the parent: it starts, ends and reads. Everything else lives in the script's process
and keeps four promises: it draws nothing from a random generator, keeps no autograd graph alive, synchronises nothing
with a device outside watched iterations, and lets no failure of its own reach the script.
"""
