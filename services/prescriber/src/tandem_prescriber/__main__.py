"""`python -m tandem_prescriber`: the prescriber's service as a process."""

import sys

from tandem_clinic.process import main
from tandem_prescriber.bootstrap import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
