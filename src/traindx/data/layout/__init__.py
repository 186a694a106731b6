"""How images, masks, labels, boxes and splits belong together, read from names, tables and sidecar files.

``survey`` looks at names only, ``conventions`` is the table of public layouts, ``naming`` turns a layout and the user's
patterns into roles before any file is read, ``pairing`` finds the image of every mask by the words that their paths
share, and ``lines`` says in the report what was understood. An unknown layout of a known family needs no entry.
"""
