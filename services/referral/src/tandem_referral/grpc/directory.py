"""DirectoryService: translates only."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tandem.directory.v1 import directory_pb2 as pb
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage.database import Database, Transaction
from tandem_referral.domain.partnership import Partnership
from tandem_referral.domain.profile import check_search
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import partnerships, practices
from tandem_referral.store.practices import Found, Wanted
from tandem_referral.usecases import directory
from tandem_referral.usecases.directory import CAPACITY_FRESH_FOR, KeyTrust

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
            practice = practices.get(tx, request.practice_id, stale_before=call.now - self._fresh_for)
        return pb.GetPracticeResponse(practice=practice)

    def UpdateProfile(self, request: pb.UpdateProfileRequest, call: Call) -> pb.UpdateProfileResponse:
        practice = directory.replace_profile(
            call.tx, call.caller.id, request.practice, call.now, self._fresh_for
        )
        return pb.UpdateProfileResponse(practice=practice)

    def SearchPractices(self, request: pb.SearchPracticesRequest, call: Call) -> pb.SearchPracticesResponse:
        wanted = Wanted(
            role=request.role,
            licence_state=request.licence_state,
            modality=request.modality,
            language=request.language,
            telehealth=request.telehealth,
            with_openings=request.with_openings,
        )
        check_search(
            role=wanted.role,
            licence_state=wanted.licence_state,
            modality=wanted.modality,
            language=wanted.language,
        )
        after, as_of = self._search_position(request, call)
        size = page_size(request.page_size)
        with self._database.reading() as tx:
            found = practices.search(
                tx,
                wanted,
                call.caller.id,
                stale_before=as_of - self._fresh_for,
                after=after,
                limit=size + 1,
            )
        response = pb.SearchPracticesResponse(matches=[_match(each, wanted) for each in found[:size]])
        if len(found) > size:
            last = found[size - 1]
            # Every page is ranked as of the first one, so that no practice moves between pages.
            position = (last.rank, last.practice.practice_id, (as_of - _EPOCH) // timedelta(microseconds=1))
            response.next_page_token = self._pages.make(call.caller.id, request, position)
        return response

    def _search_position(
        self, request: pb.SearchPracticesRequest, call: Call
    ) -> tuple[tuple[int, str] | None, datetime]:
        position = self._pages.read(call.caller.id, request)
        if position is None:
            return None, call.now
        rank, practice_id, micros = position
        return (int(rank), str(practice_id)), _EPOCH + timedelta(microseconds=int(micros))

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
        proposed = directory.propose_partnership(
            call.tx, call.caller.id, request.partnership_id, request.partner_practice_id, call.now
        )
        return pb.ProposePartnershipResponse(partnership=_partnership(proposed))

    def ConfirmPartnership(
        self, request: pb.ConfirmPartnershipRequest, call: Call
    ) -> pb.ConfirmPartnershipResponse:
        return pb.ConfirmPartnershipResponse(partnership=_moved(directory.confirm_partnership, request, call))

    def SuspendPartnership(
        self, request: pb.SuspendPartnershipRequest, call: Call
    ) -> pb.SuspendPartnershipResponse:
        return pb.SuspendPartnershipResponse(partnership=_moved(directory.suspend_partnership, request, call))

    def ResumePartnership(
        self, request: pb.ResumePartnershipRequest, call: Call
    ) -> pb.ResumePartnershipResponse:
        return pb.ResumePartnershipResponse(partnership=_moved(directory.resume_partnership, request, call))

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
    request: pb.ConfirmPartnershipRequest | pb.SuspendPartnershipRequest | pb.ResumePartnershipRequest,
    call: Call,
) -> pb.Partnership:
    return _partnership(move(call.tx, call.caller.id, request.partnership_id, request.version, call.now))


def _match(found: Found, wanted: Wanted) -> pb.SearchPracticesResponse.Match:
    """Why it is listed where it is, the weightiest first."""
    said = (
        ("openings", found.rank < 2),
        ("partner-already", found.is_partner),
        ("licence-state", bool(wanted.licence_state)),
        ("modality", bool(wanted.modality)),
        ("language", bool(wanted.language)),
        ("telehealth", wanted.telehealth),
        ("role", bool(wanted.role)),
    )
    return pb.SearchPracticesResponse.Match(
        practice=found.practice, reasons=[reason for reason, holds in said if holds]
    )


def _partnership(partnership: Partnership) -> pb.Partnership:
    return pb.Partnership(
        partnership_id=partnership.id,
        proposer_practice_id=partnership.proposer,
        partner_practice_id=partnership.partner,
        state=partnership.state,
        version=partnership.version,
    )
