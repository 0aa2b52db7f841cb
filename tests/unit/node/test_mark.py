"""Marks tell nodes apart."""

from ingle.node import mark


def test_a_mark_is_of_the_directory_itself(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "state")
    assert mark.of(tmp_path / "state") == mark.of(tmp_path / "link") == mark.of(tmp_path / "x" / ".." / "state")
    assert len(mark.of(tmp_path)) == 6 and mark.of(tmp_path) != mark.of(tmp_path / "state")
