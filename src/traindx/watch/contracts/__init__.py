"""How a call is looked at for what a library expects of it: one module a family, under the keys of the catalogue."""
