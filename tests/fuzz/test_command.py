"""What somebody may type behind the command's options."""

from pathlib import Path

import pytest

from tandem_ops.cli import run
from tandem_ops.console import Exit


@pytest.mark.parametrize("entry", ["é", "a b", "../../staff?x=", "\x01", "", "ent_x/"])
def test_what_cannot_be_an_entrys_id_is_not_asked_for(
    tmp_path: Path, entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    arguments = ["permission", "explain", entry, "--clinic", "http://127.0.0.1:1", "--token-file", str(file)]
    assert run(arguments) == Exit.USAGE
    assert "ENTRY" in capsys.readouterr().err


def test_a_host_that_cannot_be_one_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    arguments = ["permission", "explain", "ent_a", "--clinic", "http://a..b:1", "--token-file", str(file)]
    assert run(arguments) == Exit.UNREACHABLE
    assert "does not answer" in capsys.readouterr().err
