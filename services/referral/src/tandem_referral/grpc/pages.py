"""Page tokens that reveal nothing and fit one reader and one query only."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message

from tandem_platform.errors import Code, Refusal

DEFAULT_PAGE = 50
LARGEST_PAGE = 200
_NONCE = 12
_LENGTH = 192


class PageTokenInvalid(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "PAGE_TOKEN_INVALID",
            "the page token was not made for this caller and query",
            field="page_token",
            way_out="start again from the first page",
        )


class PageTokens:
    """Encrypts where a page ended. All tokens are equally long.

    A token in clear would tell ids, times and how much lies between two pages.
    """

    def __init__(self, key: bytes) -> None:
        """*key*: 32 bytes, the same in all processes that serve the same callers."""
        self._cipher = AESGCM(hashlib.sha256(b"tandem.page-token.v1" + key).digest())

    def make(self, caller_id: str, request: Message, position: Sequence[str | int]) -> str:
        nonce = os.urandom(_NONCE)
        text = json.dumps(list(position), separators=(",", ":")).encode()
        if len(text) > _LENGTH:
            raise ValueError("a position of a page must fit its token")
        sealed = self._cipher.encrypt(nonce, text.ljust(_LENGTH), _bound_to(caller_id, request))
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def read(self, caller_id: str, request: Message) -> list[str | int] | None:
        """The position in *request*'s page_token; None on the first page. Raises PageTokenInvalid."""
        token: str = request.page_token  # type: ignore[attr-defined]
        if not token:
            return None
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            text = self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _bound_to(caller_id, request))
        except (ValueError, InvalidTag):
            raise PageTokenInvalid from None
        position: list[str | int] = json.loads(text)
        return position


def page_size(asked: int) -> int:
    """What was asked for, within bounds; 0 asks for the default."""
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def _bound_to(caller_id: str, request: Message) -> bytes:
    """Who asks, and for what: everything in the request but the page itself."""
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_token")
    query.ClearField("page_size")
    name = f"{caller_id}\0{request.DESCRIPTOR.full_name}\0".encode()
    return name + query.SerializeToString(deterministic=True)
