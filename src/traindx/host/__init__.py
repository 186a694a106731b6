"""The parent side of a watched script: its process, its files, its own figures, and from evidence to a diagnosis."""
