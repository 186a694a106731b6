"""Which files a folder with links has, each once."""

from __future__ import annotations

from pathlib import Path

from traindx.data.walk import walk


def test_links_into_the_folder_above_it_and_beside_it(tmp_path: Path) -> None:
    top, beside = tmp_path / "set", tmp_path / "set-2"  # whose name begins with the other's
    for folder in (top / "inner", beside):
        folder.mkdir(parents=True)
    (top / "a.png").write_bytes(b"a")
    (top / "inner" / "b.png").write_bytes(b"bb")
    (beside / "c.png").write_bytes(b"ccc")
    (top / "itself").symlink_to(top)
    (top / "within").symlink_to(top / "inner")
    (top / "above").symlink_to(tmp_path)
    (top / "beside").symlink_to(beside)
    (top / "again").symlink_to(beside)
    found = sorted(walk(str(top)))
    assert [size for _, size in found] == [1, 3, 2] or [size for _, size in found] == [1, 2, 3]
    names = [name for name, _ in found]
    assert "a.png" in names
    assert "inner/b.png" in names
    assert {name for name in names if name.endswith("c.png")} < {"beside/c.png", "again/c.png"}
