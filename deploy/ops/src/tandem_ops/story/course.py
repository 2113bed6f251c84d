"""The course itself: chapters in order, each of which narrates, acts and expects."""

from collections.abc import Callable
from datetime import timedelta

from tandem_ops.story import people
from tandem_ops.story.expectations import eventually, expect
from tandem_ops.story.people import NOTE_WORDS, ROBIN, SAM
from tandem_ops.story.practice import Item, Practice
from tandem_ops.story.stage import Stage

Chapter = Callable[[Stage], None]

JUNIPER_SHARES = ("medication-monitoring", "appointment", "message", "safety-signal", "treatment-plan")
RIVERBEND_SHARES = ("progress-summary", "session-times", "appointment", "message")


def partners_agree(stage: Stage) -> None:
    """Juniper and two therapy practices become partners"""
    juniper, say = stage.juniper, stage.narrator
    found = juniper.finds_therapists("OR")
    say.sees(juniper.name, f"therapists licensed in Oregon: {', '.join(found)}")
    for partner, key in ((stage.alder, "with alder"), (stage.riverbend, "with riverbend")):
        stage.ids[key] = _become_partners(stage, partner)
    say.proves(
        "partnerships begin with two people comparing fingerprints of keys, which the hub cannot forge"
    )


def _become_partners(stage: Stage, partner: Practice) -> str:
    juniper, say = stage.juniper, stage.narrator
    partnership_id = juniper.proposes_partnership(partner)
    eventually(
        f"{partner.name} sees Juniper's proposal",
        lambda: partner.partnership(partnership_id),
        lambda seen: seen is not None and seen["state"] == "proposed",
    )
    ours, theirs = juniper.fingerprints(partnership_id), partner.fingerprints(partnership_id)
    expect("each is shown the other's own digits", ours["partner"] == theirs["own"], [ours, theirs])
    say.tells(f"on the phone, {partner.name} reads out: {theirs['own']}")
    juniper.confirms_fingerprint(partnership_id, theirs["own"])
    partner.confirms_fingerprint(partnership_id, ours["own"])
    partner.confirms_partnership(partnership_id)
    for practice in (juniper, partner):
        eventually(
            f"{practice.name} sees the partnership as active",
            lambda practice=practice: practice.partnership(partnership_id),  # type: ignore[misc]
            lambda seen: seen is not None and seen["state"] == "active",
        )
    return partnership_id


def a_referral_is_declined(stage: Stage) -> None:
    """Dr. Wells refers Robin, with a signed permission; the first therapist has no room"""
    juniper, alder, say = stage.juniper, stage.alder, stage.narrator
    stage.ids["robin at juniper"] = robin = juniper.registers(ROBIN)
    form = people.a_form(ROBIN, juniper.name, alder.name, "Name, contact, and that I was referred")
    made = juniper.refers(robin, stage.ids["with alder"], "psychotherapy", form)
    referral_id = stage.ids["declined referral"] = made["referral_id"]
    alder.sees_referral(referral_id, "received")
    identity = _identity_of(alder, referral_id)
    say.sees(alder.name, f"a referral for psychotherapy: {identity['used_name']}, {identity['pronouns']}")
    say.because("the form that Robin signed names their contact and the referral; nothing clinical")
    juniper.sees_referral(referral_id, "received")
    say.proves("delivery is proven by the recipient's service, not assumed")
    alder.moves(referral_id, "decline", reason="capacity")
    declined = juniper.sees_referral(referral_id, "declined")
    expect("the reason comes back", declined["reason"] == "capacity", declined)
    say.sees(juniper.name, "declined: no capacity at present")


def _identity_of(recipient: Practice, referral_id: str) -> Item:
    """Who an inbound referral is about, as soon as that has arrived."""
    seen = eventually(
        f"{recipient.name} sees who the patient is",
        lambda: recipient.referral(referral_id),
        lambda found: found is not None and bool(found["identity"]),
    )
    return dict((seen or {})["identity"])


def the_referral_is_routed_anew(stage: Stage) -> None:
    """Juniper refers Robin to Riverbend instead"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    robin = stage.ids["robin at juniper"]
    form = people.a_form(ROBIN, juniper.name, riverbend.name, "Name, contact, and that I was referred")
    made = juniper.refers(
        robin,
        stage.ids["with riverbend"],
        "psychotherapy",
        form,
        note="Preparation and integration, six sessions planned.",
        replaces=stage.ids["declined referral"],
    )
    referral_id = stage.ids["referral"] = made["referral_id"]
    stage.ids["episode"] = made["episode_id"]
    stage.narrator.tells(f"first referral delivered {stage.narrator.seconds:.1f} s after the story began")
    seen = riverbend.sees_referral(referral_id, "received")
    expect(
        "nothing tells Riverbend that somebody was asked before",
        stage.ids["declined referral"] not in str(seen) and not seen.get("replaces_referral_id"),
        seen,
    )
    own = juniper.sees_referral(referral_id, "received")
    expect(
        "Juniper sees what this referral replaces",
        own["replaces_referral_id"] == stage.ids["declined referral"],
        own,
    )
    say.proves("a re-route does not show the new recipient what came before")


def the_patient_is_known(stage: Stage) -> None:
    """Riverbend takes Robin in, and both practices record what may be shared"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    _identity_of(riverbend, stage.ids["referral"])
    stage.ids["robin at riverbend"] = riverbend.takes_in(stage.ids["referral"])
    episode = stage.ids["episode"]
    stage.ids["juniper's permission"] = juniper.grants(
        episode, riverbend, ROBIN, JUNIPER_SHARES, "Doses, appointments, the plan, messages"
    )
    stage.ids["riverbend's permission"] = riverbend.grants(
        episode, juniper, ROBIN, RIVERBEND_SHARES, "Summaries, session times, appointments, messages"
    )
    for practice, name in ((juniper, "juniper's permission"), (riverbend, "riverbend's permission")):
        _confirmed(practice, stage.ids[name])
    say.tells("Juniper may give Riverbend: " + ", ".join(JUNIPER_SHARES))
    say.tells("Riverbend may give Juniper: " + ", ".join(RIVERBEND_SHARES))


def _confirmed(practice: Practice, permission_id: str) -> None:
    eventually(
        f"the hub has confirmed the permission that {practice.name} recorded",
        lambda: practice.permission(permission_id),
        lambda seen: seen["state"] == "active" and seen["version"] > 0,
    )


def a_question_is_answered(stage: Stage) -> None:
    """Riverbend asks, Juniper answers, Riverbend accepts and starts"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    referral_id = stage.ids["referral"]
    question = "Is there a preparation session at your site as well?"
    riverbend.moves(referral_id, "ask", reason="clinical-question", comment=question)
    juniper.sees_referral(referral_id, "info_requested")
    _sees_words(juniper, stage.ids["robin at juniper"], question)
    say.sees(juniper.name, f"a question: {question}")
    juniper.moves(referral_id, "answer", comment="No, all preparation is yours.")
    riverbend.sees_referral(referral_id, "received")
    _sees_words(riverbend, stage.ids["robin at riverbend"], "No, all preparation is yours.")
    riverbend.moves(referral_id, "accept")
    juniper.sees_referral(referral_id, "accepted")
    riverbend.moves(referral_id, "start")
    juniper.sees_referral(referral_id, "in_progress")
    say.proves("the referrer learns of every step: asked, accepted, started")


def _sees_words(practice: Practice, patient_id: str, words: str) -> None:
    eventually(
        f"{practice.name} reads: {words}",
        lambda: practice.plan(patient_id, "referral-note"),
        lambda seen: any(words in str(item["content"]) for item in seen),
    )


def a_dose_is_shared(stage: Stage) -> None:
    """A dose given at Juniper is on Riverbend's screen"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    made = juniper.records(stage.ids["robin at juniper"], "dosing-session", people.a_dose("52.5", 1))
    item = riverbend.sees_entry(stage.ids["robin at riverbend"], made["entry_ids"][0], "the dose")
    dose = item["content"]["dose"]
    say.sees(riverbend.name, f"{item['origin_name']}: dose {dose['amount']} {dose['unit']}, session 1 of 6")
    say.because(_why(juniper, made["entry_ids"][0]))
    expect("the dose is as given", dose["amount"] == "52.5", item)
    say.proves("what the patient agreed to share arrives, and the discloser can say under which permission")


def _why(practice: Practice, entry_id: str) -> str:
    found = practice.explains(entry_id)
    return f"{found['own_sentence']} (the hub: {found['hub_result']}, rule {found['hub_rule']})"


def a_score_is_withheld(stage: Stage) -> None:
    """A questionnaire score is not shared, and nothing shows that it exists"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    robin, there = stage.ids["robin at juniper"], stage.ids["robin at riverbend"]
    before = riverbend.plan(there)
    score = juniper.records(robin, "scale-score", people.a_phq9(18))
    stage.ids["score"] = score["entry_ids"][0]
    marker = juniper.records(robin, "appointment", people.an_appointment(7, "dosing"))
    riverbend.sees_entry(there, marker["entry_ids"][0], "the appointment recorded after the score")
    seen = riverbend.plan(there)
    expect("only the appointment is new at Riverbend", len(seen) == len(before) + 1, seen)
    expect("the score is not there", stage.ids["score"] not in str(seen), seen)
    explained = juniper.explains(stage.ids["score"])
    expect("Juniper is told that it is withheld, and why", explained["hub_result"] == "withheld", explained)
    say.sees(juniper.name, "PHQ-9 18, withheld")
    say.because(explained["own_sentence"])
    say.sees(riverbend.name, "the appointment alone")
    say.proves("what is withheld is invisible: nothing on the partner's side shows that it exists")


def a_late_permission_opens_the_history(stage: Stage) -> None:
    """Robin agrees to share scores after all, the earlier ones too"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    stage.ids["scores permission"] = juniper.grants(
        stage.ids["episode"],
        riverbend,
        ROBIN,
        ["scale-score"],
        "Questionnaires and their scores, from the beginning",
        history_from=people.at(people.now() - timedelta(days=30)),
    )
    item = riverbend.sees_entry(stage.ids["robin at riverbend"], stage.ids["score"], "the earlier score")
    say.sees(riverbend.name, f"PHQ-9 {item['content']['total']}, recorded before the permission")
    say.proves("a later permission releases the history that it names, and nothing else")


def a_safety_signal_passes(stage: Stage) -> None:
    """A risk that may not be shared still makes the partner call"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    robin, there = stage.ids["robin at juniper"], stage.ids["robin at riverbend"]
    risk = juniper.records(robin, "safety-risk", people.a_safety_risk())
    signal = juniper.records(robin, "safety-signal", people.a_safety_signal(juniper.on_call_phone))
    item = riverbend.sees_entry(there, signal["entry_ids"][0], "the safety signal")
    absent, seen = riverbend.has_nothing_like(there, risk["entry_ids"][0], "Passive thoughts")
    expect("Riverbend has the signal without the reason", absent, seen)
    say.sees(
        riverbend.name,
        f"contact the prescriber before changing medication: {item['content']['on_call_number']}",
    )
    say.proves("the safety signal passes without its reason")


def a_private_note_stays(stage: Stage) -> None:
    """The therapist's psychotherapy note stays where it was written"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    there, robin = stage.ids["robin at riverbend"], stage.ids["robin at juniper"]
    riverbend.tell(f"/patients/{there}/psychotherapy-notes", {"text": NOTE_WORDS})
    summary = riverbend.records(there, "preparation-summary", people.a_preparation_summary())
    juniper.sees_entry(robin, summary["entry_ids"][0], "the preparation summary")
    absent, seen = juniper.has_nothing_like(robin, "", NOTE_WORDS)
    expect("the note's words are nowhere at Juniper", absent, seen)
    stage.ids["first summary"] = summary["entry_ids"][0]
    say.sees(juniper.name, "the summary: ready, would prefer to stay able to talk")
    say.proves("psychotherapy notes have no way out; summaries have one")


def the_broker_is_lost(stage: Stage) -> None:
    """The broker dies with everything in it"""
    juniper, riverbend, say, broker = stage.juniper, stage.riverbend, stage.narrator, stage.network.broker
    if broker is None:
        say.tells("this network has no broker of its own to kill")
        return
    broker.kill()
    robin, there = stage.ids["robin at juniper"], stage.ids["robin at riverbend"]
    while_away = riverbend.records(
        there, "integration-summary", people.an_integration_summary("Less avoidance; walks daily.")
    )
    juniper.sees_entry(robin, while_away["entry_ids"][0], "the summary written while the broker was dead")
    say.tells("with the broker dead, gRPC carried the summary")
    broker.start()
    after = riverbend.records(
        there, "integration-summary", people.an_integration_summary("Slept through again.")
    )
    juniper.sees_entry(robin, after["entry_ids"][0], "the summary written after the empty broker's start")
    _expect_once(juniper, robin, [while_away["entry_ids"][0], after["entry_ids"][0]])
    say.proves("a broker that dies and comes back empty loses nothing, and repeats nothing")


def _expect_once(practice: Practice, patient_id: str, entry_ids: list[str]) -> None:
    seen = [item["id"] for item in practice.plan(patient_id)]
    expect(
        "each entry is there exactly once",
        [seen.count(each) for each in entry_ids] == [1] * len(entry_ids),
        seen,
    )


def the_hub_is_killed(stage: Stage) -> None:
    """The hub is killed, and both clinics go on working"""
    juniper, riverbend, say, hub = stage.juniper, stage.riverbend, stage.narrator, stage.network.hub
    robin, there = stage.ids["robin at juniper"], stage.ids["robin at riverbend"]
    hub.kill()
    dose = juniper.records(robin, "dosing-session", people.a_dose("60", 2))
    held = (
        riverbend.moves(stage.ids["referral"], "hold", reason="patient-request")
        if _can_hold(riverbend, stage)
        else None
    )
    if held is not None:
        expect("a command without a hub says that it is queued", held.get("confirmed") is False, held)
        say.sees(riverbend.name, "referral on hold: queued, not confirmed")
    say.tells("the hub is dead; Juniper recorded a dose as if nothing had happened")
    hub.start()
    hub.await_ready(60)
    riverbend.sees_entry(there, dose["entry_ids"][0], "the dose recorded while the hub was dead")
    _expect_once(riverbend, there, [dose["entry_ids"][0]])
    if held is not None:
        juniper.sees_referral(stage.ids["referral"], "on_hold")
        riverbend.moves(stage.ids["referral"], "resume")
        juniper.sees_referral(stage.ids["referral"], "in_progress")
    say.proves("a clinic stays usable alone, and nothing that it did is lost")


def _can_hold(practice: Practice, stage: Stage) -> bool:
    seen = practice.referral(stage.ids["referral"])
    return seen is not None and "hold" in seen.get("moves", [])


def a_revocation_overtakes(stage: Stage) -> None:
    """Robin revokes while something is on its way"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    robin, there = stage.ids["robin at juniper"], stage.ids["robin at riverbend"]
    clinic = stage.network.clinics["riverbend"]
    clinic.stop()
    say.tells("Riverbend's service is off for the night")
    late = juniper.records(robin, "scale-score", people.a_phq9(7))
    entry_id = late["entry_ids"][0]
    eventually(
        "the hub has released the score, which waits for Riverbend",
        lambda: juniper.explains(entry_id),
        lambda seen: seen["hub_result"] == "released",
    )
    juniper.revokes(stage.ids["scores permission"])
    say.tells("Robin calls and withdraws the permission for scores")
    eventually(
        "the score that was on its way is voided in Juniper's accounting",
        lambda: [line for line in juniper.accounting(stage.ids["episode"]) if line["entry_id"] == entry_id],
        lambda seen: len(seen) == 1 and bool(seen[0]["voided_at"]) and not seen[0]["delivered_at"],
    )
    clinic.start()
    clinic.await_ready(60)
    marker = juniper.records(robin, "appointment", people.an_appointment(14, "dosing"))
    riverbend.sees_entry(there, marker["entry_ids"][0], "the appointment recorded after the revocation")
    absent, seen = riverbend.has_nothing_like(there, entry_id, "'total': 7,")
    expect("the voided score never appears at Riverbend", absent, seen)
    earlier = [item for item in seen if item["id"] == stage.ids["score"]]
    expect(
        "what had been delivered before is marked",
        [each["state"] for each in earlier] == ["revoked"],
        earlier,
    )
    say.sees(riverbend.name, "the earlier score, marked as revoked; the later one never came")
    eventually(
        "Riverbend's acknowledgement of the revocation has come back",
        lambda: juniper.permission(stage.ids["scores permission"]),
        lambda seen: bool(seen.get("acknowledged_at")),
    )
    say.proves("a revocation voids what is on its way, and the partner acknowledges it")


def an_evaluation_is_asked_for(stage: Stage) -> None:
    """The other way round: Riverbend sends Sam to Juniper for a medical evaluation"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    sam = riverbend.registers(SAM)
    form = people.a_form(SAM, riverbend.name, juniper.name, "Name, contact, and that I was referred")
    made = riverbend.refers(sam, stage.ids["with riverbend"], "medical-evaluation", form)
    referral_id, episode = made["referral_id"], made["episode_id"]
    juniper.sees_referral(referral_id, "received")
    _identity_of(juniper, referral_id)
    there = juniper.takes_in(referral_id)
    juniper.moves(referral_id, "accept")
    juniper.moves(referral_id, "start")
    permission = juniper.grants(episode, riverbend, SAM, ["screening-result"], "The result of the evaluation")
    _confirmed(juniper, permission)
    result = juniper.records(there, "screening-result", people.a_screening_result())
    item = riverbend.sees_entry(sam, result["entry_ids"][0], "the result of the evaluation")
    juniper.moves(referral_id, "complete", outcome="eligible-with-conditions")
    done = riverbend.sees_referral(referral_id, "completed")
    expect("the outcome comes back", done["outcome"] == "eligible-with-conditions", done)
    say.sees(riverbend.name, f"eligible with conditions: {item['content']['conditions'][0]}")
    say.proves("either side may start; a medical evaluation comes back with its result")


def the_loop_is_closed(stage: Stage) -> None:
    """Riverbend completes Robin's referral"""
    juniper, riverbend, say = stage.juniper, stage.riverbend, stage.narrator
    robin = stage.ids["robin at juniper"]
    last = riverbend.records(
        stage.ids["robin at riverbend"],
        "integration-summary",
        people.an_integration_summary("Course completed; relapse plan in place."),
    )
    riverbend.moves(stage.ids["referral"], "complete", outcome="treated")
    juniper.sees_entry(robin, last["entry_ids"][0], "the last summary, written before the end")
    done = juniper.sees_referral(stage.ids["referral"], "completed")
    expect("the outcome comes back", done["outcome"] == "treated", done)
    say.proves("the loop closes with an outcome, and nothing written before the end is left behind")


CHAPTERS: tuple[Chapter, ...] = (
    partners_agree,
    a_referral_is_declined,
    the_referral_is_routed_anew,
    the_patient_is_known,
    a_question_is_answered,
    a_dose_is_shared,
    a_score_is_withheld,
    a_late_permission_opens_the_history,
    a_safety_signal_passes,
    a_private_note_stays,
    the_broker_is_lost,
    the_hub_is_killed,
    a_revocation_overtakes,
    an_evaluation_is_asked_for,
    the_loop_is_closed,
)
