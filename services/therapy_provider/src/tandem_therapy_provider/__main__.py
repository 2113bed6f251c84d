"""`python -m tandem_therapy_provider`: the therapy provider's service as a process."""

import sys

from tandem_clinic.process import main
from tandem_therapy_provider.bootstrap import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
