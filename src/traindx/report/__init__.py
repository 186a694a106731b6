"""Reports: one file a format, all rendered from the same :class:`~traindx.diagnosis.Diagnosis`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from traindx.diagnosis import Diagnosis
from traindx.whole_files import write_whole

__all__ = ["write"]


def write(
    diagnosis: Diagnosis,
    directory: Path,
    *,
    root: Path | None = None,
    help_of: Callable[[str], str] | None = None,
) -> dict[str, Path]:
    """Write every file format into a directory; each file appears whole or not at all.

    Args:
        diagnosis: What to write.
        directory: The evidence directory, where the pictures' arrays are.
        root: Directory that relative source paths start from; the working directory by default.
        help_of: ``code -> documentation page``, for SARIF.

    Returns:
        Path by format: ``json``, ``html``, ``markdown``, ``sarif``.

    Raises:
        Exception: Whatever the first format that failed raised, after all the others were written.
    """
    from traindx.report import diagnosis_json, html, markdown, sarif
    from traindx.report.pictures import arrays_of

    directory.mkdir(parents=True, exist_ok=True)
    arrays = arrays_of(directory, diagnosis)
    formats: dict[str, tuple[str, Callable[[], str]]] = {
        "json": ("diagnosis.json", lambda: diagnosis_json.render(diagnosis)),
        "html": ("report.html", lambda: html.render(diagnosis, arrays, root=root)),
        "markdown": ("report.md", lambda: markdown.render(diagnosis, arrays, directory=directory, root=root)),
        "sarif": ("diagnosis.sarif", lambda: sarif.render(diagnosis, help_of=help_of)),
    }
    paths = {kind: directory / name for kind, (name, _) in formats.items()}
    failures = []
    for kind, (_, render) in formats.items():
        try:
            write_whole(paths[kind], render())
        except Exception as error:  # one format that fails must not cost the reader the others
            failures.append(error)
    if failures:
        raise failures[0]
    return paths
