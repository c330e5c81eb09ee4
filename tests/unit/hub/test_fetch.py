"""Files of the Hub's cache are what the Hub announced, or they are gone."""

import hashlib

import pytest

from splade_sts.hub.fetch import DamagedFile, check_hashes

CONTENT = b"some weights"


@pytest.mark.parametrize(
    "name",
    [
        hashlib.sha256(CONTENT).hexdigest(),
        hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest(),
        "another-servers-etag",
    ],
    ids=["sha256", "git", "other"],
)
def test_hashes(tmp_path, name):
    """Only a file whose name is a hash of other content is refused, and removed with its link."""
    blob, link, beside = tmp_path / name, tmp_path / "link", tmp_path / "plain"
    beside.write_bytes(b"no link, not checked")
    for content, damaged in ((CONTENT, False), (b"other", "-" not in name)):
        blob.write_bytes(content)
        if not link.is_symlink():
            link.symlink_to(name)
        if damaged:
            with pytest.raises(DamagedFile, match="link arrived damaged"):
                check_hashes(tmp_path.iterdir())
        else:
            check_hashes(tmp_path.iterdir())
        assert link.is_symlink() == blob.exists() == (not damaged)
    assert beside.exists()
