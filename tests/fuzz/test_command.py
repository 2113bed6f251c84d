"""What somebody may type behind the command's options."""

from pathlib import Path

import pytest

from tandem_ops.cli import run
from tandem_ops.console import Exit


@pytest.mark.parametrize("entry", ["é", "a b", "../../staff?x=", "\x01", ""])
def test_whatever_is_asked_for_is_asked_for_by_its_name_alone(
    tmp_path: Path, entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    host = "a..b" if entry == "" else "127.0.0.1"
    arguments = ["permission", "explain", entry, "--clinic", f"http://{host}:1", "--token-file", str(file)]
    assert run(arguments) == Exit.UNREACHABLE
    assert "does not answer" in capsys.readouterr().err
