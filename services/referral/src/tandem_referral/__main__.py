"""`python -m tandem_referral`: the hub as a process."""

import sys

from tandem_platform.settings import SettingsUnfit, load
from tandem_platform.telemetry import logs
from tandem_referral.bootstrap import run
from tandem_referral.settings import HubSettings


def main() -> int:
    try:
        settings = load(HubSettings)
    except SettingsUnfit as unfit:
        sys.stderr.write(f"{unfit}\n")
        return 2
    logs.configure("referral")
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
