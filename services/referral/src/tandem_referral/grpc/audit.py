"""AuditService: translates only."""

from datetime import UTC, datetime, timedelta

from tandem.audit.v1 import audit_pb2 as pb
from tandem_platform.audit.chain import record_of
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage.database import Database
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import audit, disclosures
from tandem_referral.store.disclosures import Disclosed, Place
from tandem_referral.usecases.audit import prove

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST_NUMBER = 2**63 - 1


class NumberTooLarge(Refusal):
    def __init__(self, field: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT, "NUMBER_TOO_LARGE", "the number is beyond any that there is", field=field
        )


class SinceUnfit(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "SINCE_UNFIT", "since must be a time", field="since")


class AuditServicer:
    def __init__(self, database: Database, pages: PageTokens) -> None:
        self._database = database
        self._pages = pages

    def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, call: Call
    ) -> pb.ListAuditRecordsResponse:
        after = _within(request.after_number, "after_number")
        size = page_size(request.page_size)
        with self._database.reading() as tx:
            links = list(audit.links(tx, call.caller.id, after=after, limit=size))
        return pb.ListAuditRecordsResponse(records=map(record_of, links))

    def GetAuditProof(self, request: pb.GetAuditProofRequest, call: Call) -> pb.GetAuditProofResponse:
        number = _within(request.tree_number, "tree_number")
        with self._database.reading() as tx:
            published, proof = prove(tx, call.caller.id, number)
        response = pb.GetAuditProofResponse(
            tree_number=published.tree_number,
            root=published.root,
            signature=published.signature,
            head_number=proof.head.number,
            head_hash=proof.head.hash,
            salt=proof.salt,
            leaf_index=proof.leaf_index,
            path=proof.path,
            leaf_count=proof.leaf_count,
        )
        response.published_at.FromDatetime(published.at)
        return response

    def ListDisclosures(self, request: pb.ListDisclosuresRequest, call: Call) -> pb.ListDisclosuresResponse:
        position = self._pages.read(call.caller.id, request)
        size = page_size(request.page_size)
        after = None
        if position is not None:
            after = Place(_EPOCH + _MICROSECOND * int(position[0]), str(position[1]), str(position[2]))
        with self._database.reading() as tx:
            found = disclosures.made_by(
                tx,
                call.caller.id,
                episode_id=request.episode_id,
                since=_since(request),
                after=after,
                limit=size + 1,
            )
        response = pb.ListDisclosuresResponse(disclosures=map(_disclosure, found[:size]))
        if len(found) > size:
            last = found[size - 1]
            micros = (last.released_at - _EPOCH) // _MICROSECOND
            response.next_page_token = self._pages.make(
                call.caller.id, request, [micros, last.entry_id, last.recipient]
            )
        return response


def _within(number: int, field: str) -> int:
    if number > _LARGEST_NUMBER:
        raise NumberTooLarge(field)
    return number


def _since(request: pb.ListDisclosuresRequest) -> datetime:
    try:
        return request.since.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise SinceUnfit from None


def _disclosure(disclosed: Disclosed) -> pb.Disclosure:
    message = pb.Disclosure(
        entry_id=disclosed.entry_id,
        episode_id=disclosed.episode_id,
        recipient_practice_id=disclosed.recipient,
        category=disclosed.category,
        permission_id=disclosed.permission_id,
        permission_version=disclosed.permission_version,
    )
    message.released_at.FromDatetime(disclosed.released_at)
    if disclosed.delivered_at is not None:
        message.delivered_at.FromDatetime(disclosed.delivered_at)
    if disclosed.voided_at is not None:
        message.voided_at.FromDatetime(disclosed.voided_at)
    return message
