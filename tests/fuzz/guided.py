"""Fuzzing guided by coverage: `make fuzz` runs every decoder for a while and keeps what it could not take.

Needs `atheris`, which nothing else here does. An input that ends in anything but the decoder's own refusal is kept under
`seeds/<decoder>/`, and `test_decoders.py` replays it from then on.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from support.decoders import DECODERS, Decoder, as_seed, decoder, kept_seeds, seed_in

SEEDS = Path(__file__).parent / "seeds"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.guided", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("decoders", nargs="*", help="which; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each decoder")
    parser.add_argument("--renew", action="store_true", help="write the valid seeds anew, and stop")
    given = parser.parse_args()
    chosen = [decoder(name) for name in given.decoders] or list(DECODERS)
    if given.renew:
        for each in chosen:
            renew(each)
        return 0
    failed = [each.name for each in chosen if not is_good_for(each, given.seconds)]
    click.echo("failed: " + ", ".join(failed) if failed else "nothing found")
    return 1 if failed else 0


def renew(each: Decoder) -> None:
    if not each.keeps_seeds:
        return
    for number, encoded in enumerate(each.valid()):
        keep(each, f"{'certified' if each.is_certified else 'valid'}-{number}", encoded)


def keep(each: Decoder, name: str, encoded: bytes) -> Path:
    file = SEEDS / each.name / f"{name}.hex"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_seed(encoded))
    return file


def is_good_for(each: Decoder, seconds: int) -> bool:
    """In a process of its own, because libFuzzer ends it with the first input that it cannot take."""
    with tempfile.TemporaryDirectory() as corpus:
        seeds = [seed_in(file) for name, file in kept_seeds(SEEDS) if name == each.name]
        for encoded in (*each.valid(), *seeds):
            (Path(corpus) / hashlib.sha256(encoded).hexdigest()).write_bytes(encoded)
        ended = subprocess.run(
            [sys.executable, "-m", "fuzz.under_coverage", each.name, corpus, str(seconds)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        found = list(Path(corpus).glob("found-*"))
        for file in found:
            encoded = file.read_bytes()
            if each.keeps_seeds:
                click.echo(
                    f"{each.name}: kept {keep(each, 'found-' + hashlib.sha256(encoded).hexdigest()[:12], encoded)}"
                )
        if found or ended.returncode != 0:
            click.echo(ended.stdout[-2_000:] + ended.stderr[-2_000:])
            return False
    last = [line for line in ended.stderr.splitlines() if re.match(r"#\d", line)][-1:]
    click.echo(f"{each.name}: {(last or ['no input tried'])[0]}")
    return True


if __name__ == "__main__":
    sys.exit(main())
