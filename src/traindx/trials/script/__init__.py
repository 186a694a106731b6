"""Paired runs of a script that is not described: the script's backend of the trials."""
