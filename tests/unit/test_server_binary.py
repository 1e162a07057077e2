"""Which binary the tests take for HashiCorp Vault, and how it is built once."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import binary

GO = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
while [ "$1" != -o ]; do shift; done
sleep 0.5
echo built > "$2"
chmod +x "$2"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that alone is on the PATH with what a shell needs, with a cache of its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("SERVER", "vault")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name, path=None: _found(tmp_path / "bin" / name))
    monkeypatch.delenv("VB365_TEST_VAULT", raising=False)
    binary._vault.cache_clear()
    yield tmp_path
    binary._vault.cache_clear()


def _found(path: Path) -> str | None:
    return str(path) if path.exists() else None


def program(path: Path, text: str = "#!/bin/sh\n") -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def take(seen: "multiprocessing.Queue[str]") -> None:
    seen.put(binary.binary())


def test_another_server_than_these_two_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none named is OpenBao."""
    monkeypatch.delenv("SERVER", raising=False)
    assert binary.server() == "openbao"
    monkeypatch.setenv("SERVER", "consul")
    with pytest.raises(RuntimeError, match="openbao or vault"):
        binary.server()


def test_the_named_one_comes_first_then_that_on_the_path_then_the_built_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go is asked last."""
    binary.built().parent.mkdir(parents=True)
    built = program(binary.built())
    assert binary.binary() == built

    binary._vault.cache_clear()
    on_path = program(place / "bin/vault")
    assert binary.binary() == on_path

    binary._vault.cache_clear()
    named = program(place / "mine")
    monkeypatch.setenv("VB365_TEST_VAULT", named)
    assert binary.binary() == named


def test_a_name_that_is_no_binary_is_an_error_and_nothing_else_is_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names one means it."""
    program(place / "bin/vault")
    monkeypatch.setenv("VB365_TEST_VAULT", str(place / "none"))

    with pytest.raises(RuntimeError, match="VB365_TEST_VAULT"):
        binary.binary()


def test_without_any_of_them_it_says_which_to_provide(place: Path) -> None:
    """Nothing is skipped in silence."""
    with pytest.raises(RuntimeError, match=r"VB365_TEST_VAULT.*on the PATH.*Go"):
        binary.binary()


def test_two_processes_build_it_once_and_both_have_it(place: Path) -> None:
    """The second waits for the first; nobody finds half of it."""
    program(place / "bin/go", GO)
    forking = multiprocessing.get_context("fork")
    seen = forking.Queue()
    both = [forking.Process(target=take, args=(seen,)) for _ in range(2)]
    for process in both:
        process.start()
    found = {seen.get(timeout=20) for _ in both}
    for process in both:
        process.join()

    assert found == {str(binary.built())}
    assert os.access(binary.built(), os.X_OK)
    assert len((place / "bin/asked").read_text().splitlines()) == 1


def test_a_build_that_fails_leaves_nothing_and_says_so(place: Path) -> None:
    """The next try builds anew."""
    program(place / "bin/go", "#!/bin/sh\nexit 3\n")

    with pytest.raises(RuntimeError, match="go build ended with 3"):
        binary.binary()

    assert not binary.built().exists()
