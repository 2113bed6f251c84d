"""One decoder under libFuzzer, which ends this process at the first input that it cannot take: see `guided.py`."""

import argparse
import sys
from pathlib import Path

import atheris

# Whatever is to be followed has to be imported under this.
with atheris.instrument_imports(include=["tandem_care", "tandem_ops", "tandem_platform"]):
    from support.decoders import decoder

_LONGEST_INPUT = 20_000
_SECONDS_PER_INPUT = 5
_MEGABYTES = 1_024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("decoder")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("seconds", type=int)
    given = parser.parse_args()
    read = decoder(given.decoder)
    # What is made once is no part of an input's time.
    read.valid()
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={given.seconds}",
            f"-timeout={_SECONDS_PER_INPUT}",
            f"-rss_limit_mb={_MEGABYTES}",
            f"-max_len={_LONGEST_INPUT}",
            f"-artifact_prefix={given.corpus}/found-",
            str(given.corpus),
        ],
        read.holds,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
