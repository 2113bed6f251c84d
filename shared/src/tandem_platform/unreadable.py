"""What stands for "this is no certificate, or no key" when pyca/cryptography reads one."""

from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    # What OpenSSL says of a key whose algorithm is not that of its content.
    InternalError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""Its documentation promises ValueError; one changed bit in the right place gives any of these."""
