import pytest

from actionrec.core.errors import ActionrecError
from actionrec.io.files import sha256_of
from actionrec.parallel import file_hashes


def test_a_few_files_are_hashed_here_with_any_engine(project, monkeypatch):
    """A cluster would cost more than it saves."""
    file = project / "a.avi"
    file.write_bytes(b"1234")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where no cluster is
    for engine in ("local", "ray"):
        monkeypatch.setenv("ACTIONREC_ENGINE", engine)
        assert file_hashes.hash_files([file], None, lambda count: None) == [(4, sha256_of(file))]
    with pytest.raises(ActionrecError, match=r"^no Ray cluster answers at RAY_ADDRESS"):
        file_hashes.hash_files([file] * 512, None, lambda count: None)
    monkeypatch.setenv("ACTIONREC_ENGINE", "other")
    with pytest.raises(ActionrecError, match=r"^ACTIONREC_ENGINE must be local or ray"):
        file_hashes.hash_files([file], None, lambda count: None)
