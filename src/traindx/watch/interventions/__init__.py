"""One arm of a paired run of a script: seeds, treatments and readings in its own process, and nothing else."""
