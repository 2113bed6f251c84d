"""DirectoryService: translates only."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tandem.directory.v1 import directory_pb2 as pb
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage.database import Database, Transaction
from tandem_referral.domain.partnership import Partnership
from tandem_referral.domain.profile import require_needs
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import partnerships, practices
from tandem_referral.store.partnerships import terms_message
from tandem_referral.store.practices import AsOf
from tandem_referral.usecases import directory
from tandem_referral.usecases import partnerships as usecases
from tandem_referral.usecases.directory import CAPACITY_FRESH_FOR, Found, KeyTrust

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DirectoryServicer:
    def __init__(
        self,
        database: Database,
        pages: PageTokens,
        trust: KeyTrust,
        capacity_fresh_for: timedelta = CAPACITY_FRESH_FOR,
    ) -> None:
        self._database = database
        self._pages = pages
        self._trust = trust
        self._fresh_for = capacity_fresh_for

    def RegisterPractice(
        self, request: pb.RegisterPracticeRequest, call: Call
    ) -> pb.RegisterPracticeResponse:
        practice = directory.register_practice(call.tx, request.practice, call.now)
        return pb.RegisterPracticeResponse(practice=practice)

    def GetPractice(self, request: pb.GetPracticeRequest, call: Call) -> pb.GetPracticeResponse:
        with self._database.reading() as tx:
            practice = practices.get(tx, request.practice_id, AsOf(call.now, self._fresh_for))
        return pb.GetPracticeResponse(practice=practice)

    def UpdateProfile(self, request: pb.UpdateProfileRequest, call: Call) -> pb.UpdateProfileResponse:
        practice = directory.replace_profile(
            call.tx, call.caller.id, request.practice, call.now, self._fresh_for
        )
        return pb.UpdateProfileResponse(practice=practice)

    def SearchPractices(self, request: pb.SearchPracticesRequest, call: Call) -> pb.SearchPracticesResponse:
        require_needs(request.required, "required")
        require_needs(request.preferred, "preferred")
        after, now = self._search_position(request, call)
        size = page_size(request.page_size)
        as_of = AsOf(now, self._fresh_for)
        response = pb.SearchPracticesResponse()
        with self._database.reading() as tx:
            found = directory.search(
                tx, call.caller.id, request.required, request.preferred, as_of, after=after, limit=size + 1
            )
            if after is None:
                counted = directory.count_found(tx, call.caller.id, request.required, as_of)
                response.found = counted.found
                for code, practices_missed in counted.missed:
                    response.missed.add(code=code, practices=practices_missed)
        response.matches.extend(map(_match, found[:size]))
        if len(found) > size:
            last = found[size - 1]
            # Every page is ranked as of the first one, so that no practice moves between pages.
            position = (last.score, last.practice.practice_id, (now - _EPOCH) // timedelta(microseconds=1))
            response.next_page_token = self._pages.make(call.caller.id, request, position)
        return response

    def _search_position(
        self, request: pb.SearchPracticesRequest, call: Call
    ) -> tuple[tuple[int, str] | None, datetime]:
        position = self._pages.read(call.caller.id, request)
        if position is None:
            return None, call.now
        score, practice_id, micros = position
        return (int(score), str(practice_id)), _EPOCH + timedelta(microseconds=int(micros))

    def PublishCapacity(self, request: pb.PublishCapacityRequest, call: Call) -> pb.PublishCapacityResponse:
        directory.publish_capacity(call.tx, call.caller.id, request.capacity, call.now)
        return pb.PublishCapacityResponse()

    def PublishKeyBundle(
        self, request: pb.PublishKeyBundleRequest, call: Call
    ) -> pb.PublishKeyBundleResponse:
        directory.publish_key_bundle(call.tx, call.caller.id, request.bundle, call.now, self._trust)
        return pb.PublishKeyBundleResponse()

    def ListKeyBundles(self, request: pb.ListKeyBundlesRequest, call: Call) -> pb.ListKeyBundlesResponse:
        with self._database.reading() as tx:
            bundles = directory.key_bundles(tx, call.caller.id, request.practice_id)
        return pb.ListKeyBundlesResponse(bundles=bundles)

    def ProposePartnership(
        self, request: pb.ProposePartnershipRequest, call: Call
    ) -> pb.ProposePartnershipResponse:
        proposed = usecases.propose_partnership(
            call.tx,
            call.caller.id,
            request.partnership_id,
            request.partner_practice_id,
            request.terms_hash,
            call.now,
        )
        return pb.ProposePartnershipResponse(partnership=_partnership(proposed))

    def ConfirmPartnership(
        self, request: pb.ConfirmPartnershipRequest, call: Call
    ) -> pb.ConfirmPartnershipResponse:
        return pb.ConfirmPartnershipResponse(partnership=_agreed(usecases.confirm_partnership, request, call))

    def ProposeTerms(self, request: pb.ProposeTermsRequest, call: Call) -> pb.ProposeTermsResponse:
        return pb.ProposeTermsResponse(partnership=_agreed(usecases.propose_terms, request, call))

    def AcceptTerms(self, request: pb.AcceptTermsRequest, call: Call) -> pb.AcceptTermsResponse:
        return pb.AcceptTermsResponse(partnership=_agreed(usecases.accept_terms, request, call))

    def SuspendPartnership(
        self, request: pb.SuspendPartnershipRequest, call: Call
    ) -> pb.SuspendPartnershipResponse:
        return pb.SuspendPartnershipResponse(partnership=_moved(usecases.suspend_partnership, request, call))

    def ResumePartnership(
        self, request: pb.ResumePartnershipRequest, call: Call
    ) -> pb.ResumePartnershipResponse:
        return pb.ResumePartnershipResponse(partnership=_moved(usecases.resume_partnership, request, call))

    def ListPartnerships(
        self, request: pb.ListPartnershipsRequest, call: Call
    ) -> pb.ListPartnershipsResponse:
        position = self._pages.read(call.caller.id, request)
        size = page_size(request.page_size)
        with self._database.reading() as tx:
            after = "" if position is None else str(position[0])
            found = partnerships.of(tx, call.caller.id, after=after, limit=size + 1)
        response = pb.ListPartnershipsResponse(partnerships=map(_partnership, found[:size]))
        if len(found) > size:
            response.next_page_token = self._pages.make(call.caller.id, request, [found[size - 1].id])
        return response


def _moved(
    move: Callable[[Transaction, str, str, int, datetime], Partnership],
    request: pb.SuspendPartnershipRequest | pb.ResumePartnershipRequest,
    call: Call,
) -> pb.Partnership:
    return _partnership(move(call.tx, call.caller.id, request.partnership_id, request.version, call.now))


def _agreed(
    agree: Callable[[Transaction, str, str, int, bytes, datetime], Partnership],
    request: pb.ConfirmPartnershipRequest | pb.ProposeTermsRequest | pb.AcceptTermsRequest,
    call: Call,
) -> pb.Partnership:
    named = (request.partnership_id, request.version, request.terms_hash)
    return _partnership(agree(call.tx, call.caller.id, *named, call.now))


def _match(found: Found) -> pb.SearchPracticesResponse.Match:
    return pb.SearchPracticesResponse.Match(
        practice=found.practice,
        score=found.score,
        because=[
            pb.SearchPracticesResponse.Reason(
                code=reason.code, values=reason.values, met=reason.met, points=reason.points
            )
            for reason in found.reasons
        ],
    )


def _partnership(partnership: Partnership) -> pb.Partnership:
    message = pb.Partnership(
        partnership_id=partnership.id,
        proposer_practice_id=partnership.proposer,
        partner_practice_id=partnership.partner,
        state=partnership.state,
        version=partnership.version,
    )
    if partnership.terms is not None:
        message.terms.CopyFrom(terms_message(partnership.terms))
    if partnership.proposed_terms is not None:
        message.proposed_terms.CopyFrom(terms_message(partnership.proposed_terms))
    return message
