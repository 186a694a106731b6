"""traindx inside other tools; each of them is an optional installation."""
