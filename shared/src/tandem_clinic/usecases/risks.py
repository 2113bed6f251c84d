"""Who learns of a risk to a patient's safety, and how soon."""

from tandem_care.entry_kinds import SafetyRisk, SafetySignal, ScaleScore, from_json
from tandem_care.risk import Attention, PartnerLearns, Risk, Routing, risk_in, risk_of, route
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import Episode
from tandem_clinic.domain.staff import Staff
from tandem_clinic.store import audit, entries, episodes, sites, worklist
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_clinic.usecases.sharing import outlooks
from tandem_platform.storage import Transaction

Told = ScaleScore | SafetyRisk
INTERRUPTS = "risk-interrupts"
WAITS = "risk"


def risk_told(content: Told) -> Risk | None:
    return risk_in(content) if isinstance(content, ScaleScore) else risk_of(content)


def route_risk(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, recorded: Recorded, content: Told
) -> Routing | None:
    """To the clinic's own worklist, and to each partner what that may see: the entry, or the signal without its reason."""
    now = risk_told(content)
    if now is None:
        return None
    before = _before(tx, clinic, patient_id, recorded.record_id, now)
    routing = route(before, now, may_share=True)
    raise_risk(tx, clinic, recorded.record_id, "", routing.attention)
    if routing.attention is Attention.INTERRUPT:
        mine = [each for each in episodes.of_patient(tx, patient_id) if each.is_open]
        views = outlooks(tx, clinic, mine) if mine else {}
        for episode in mine:
            decision = views[episode.episode_id].decide(content.category, (), clinic.now())
            if route(before, now, may_share=decision.permitted).partner is PartnerLearns.SAFETY_SIGNAL:
                _signal(tx, clinic, by, patient_id, episode)
    return routing


def attention_to(tx: Transaction, clinic: Clinic, patient_id: str, content: Told) -> Attention:
    """What *content*, which is not recorded yet, will ask for."""
    now = risk_told(content)
    if now is None:
        return Attention.NONE
    return route(_before(tx, clinic, patient_id, "", now), now, may_share=True).attention


def raise_risk(
    tx: Transaction, clinic: Clinic, subject_id: str, episode_id: str, attention: Attention
) -> None:
    if attention is not Attention.NONE:
        kind = INTERRUPTS if attention is Attention.INTERRUPT else WAITS
        worklist.raise_unless_finished(tx, kind, subject_id, clinic.now(), episode_id=episode_id)


def _before(tx: Transaction, clinic: Clinic, patient_id: str, but: str, now: Risk) -> Risk | None:
    """The last one told before, by the same kind of measure or by a clinician."""
    found = []
    for kind in (ScaleScore.kind, SafetyRisk.kind):
        for entry in entries.own_of_kind(tx, clinic.vault, patient_id, kind):
            if entry.state != "active" or entry.record_id == but:
                continue
            content = from_json(entry.content)
            assert isinstance(content, Told)
            risk = risk_told(content)
            if risk is not None and risk.at <= now.at and risk.scale in (None, now.scale):
                found.append(risk)
    return max(found, key=lambda each: each.at, default=None)


def _signal(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, episode: Episode) -> None:
    """Without a number to call there is nothing to send, and somebody has to telephone."""
    stated = sites.stated(tx)
    if stated is None or not stated.on_call_phone:
        worklist.raise_item(
            tx, "safety-signal-unsent", episode.episode_id, clinic.now(), episode_id=episode.episode_id
        )
        return
    signal = SafetySignal(on_call_number=stated.on_call_phone)
    made = record_entry(tx, clinic, by, patient_id, signal, episode_id=episode.episode_id)
    audit.note(
        tx, "safety-signal-sent", clinic.now(), by=by, patient_id=patient_id, subject_id=made.record_id
    )
