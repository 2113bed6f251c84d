"""A sealed entry opens to what its origin sealed, for whom it was wrapped, or not at all."""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.sealing import DAY, NOON, some_labels
from tandem.common.v1 import common_pb2 as words
from tandem.exchange.v1.exchange_pb2 import EntryLabels, KeyWrap, SealedEntry
from tandem_platform.ids import new_id
from tandem_platform.sealing import (
    MAX_CONTENT,
    BundleExpired,
    ContentTooLong,
    LabelsImproper,
    SealBroken,
    SealFault,
    encode_labels,
    has_wrap_for,
    open_entry,
    seal,
    sign_received,
    verify,
    verify_received,
    with_wrap,
    without_wraps_but,
    wrap_for,
)
from tandem_platform.sealing.encoding import encode
from tandem_platform.sealing.keys import HPKE

CANARY = b"Rosalind Ashgrove, PHQ-9 total 18"


@pytest.fixture(scope="session")
def entry(juniper, riverbend):
    return seal(some_labels(juniper.practice_id), CANARY, juniper, riverbend.bundle)


def fault_of(opening):
    with pytest.raises(SealBroken) as caught:
        opening()
    return caught.value.fault


def changed(entry, **fields):
    copy = SealedEntry()
    copy.CopyFrom(entry)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def flipped(octets, position):
    return octets[:position] + bytes([octets[position] ^ 1]) + octets[position + 1 :]


def test_it_opens_for_its_author_and_for_the_partner(entry, juniper, riverbend):
    assert open_entry(entry, riverbend, juniper.bundle) == CANARY
    assert open_entry(entry, juniper, juniper.bundle) == CANARY


def test_without_a_wrap_the_partner_cannot_open_it(juniper, riverbend):
    sealed = seal(some_labels(juniper.practice_id), CANARY, juniper, None)
    verify(sealed, juniper.bundle)
    assert not has_wrap_for(sealed, riverbend.practice_id)
    assert fault_of(lambda: open_entry(sealed, riverbend, juniper.bundle)) == SealFault.WRAP_MISSING
    assert open_entry(sealed, juniper, juniper.bundle) == CANARY


def test_what_the_author_wraps_for_itself_opens_for_nobody_else(entry, network, juniper, riverbend):
    (own,) = without_wraps_but(entry, juniper.practice_id).wraps
    assert len(own.wrapped_key) == 60
    for stranger in (riverbend, network.keys(juniper.practice_id)):
        taken = changed(without_wraps_but(entry, juniper.practice_id))
        taken.wraps[0].practice_id = stranger.practice_id
        with pytest.raises(SealBroken):
            open_entry(taken, stranger, juniper.bundle)


def test_what_the_author_wrapped_for_itself_opens_after_rotations(entry, network, juniper):
    rotated = network.rotated(network.rotated(juniper))
    assert open_entry(without_wraps_but(entry, juniper.practice_id), rotated, juniper.bundle) == CANARY


@pytest.mark.parametrize("whose", ["juniper", "riverbend"])
def test_a_wrap_of_the_others_form_is_refused(entry, juniper, riverbend, whose):
    practice_id = {"juniper": juniper, "riverbend": riverbend}[whose].practice_id
    tampered = changed(entry)
    lengths = {wrap.practice_id: len(wrap.wrapped_key) for wrap in tampered.wraps}
    for wrap in tampered.wraps:
        if wrap.practice_id == practice_id:
            (other,) = set(lengths.values()) - {len(wrap.wrapped_key)}
            wrap.wrapped_key = bytes(other)
    with pytest.raises(SealBroken) as caught:
        verify(tampered, juniper.bundle)
    assert caught.value.fault == SealFault.WRAPS_IMPROPER


def test_the_content_is_nowhere_in_what_travels(entry):
    assert CANARY not in entry.SerializeToString()


@pytest.mark.parametrize("field", ["ciphertext", "content_hash", "key_commitment", "signature"])
def test_a_change_of_any_byte_is_refused(entry, juniper, riverbend, field):
    octets = getattr(entry, field)
    for position in range(len(octets)):
        tampered = changed(entry, **{field: flipped(octets, position)})
        with pytest.raises(SealBroken):
            verify(tampered, juniper.bundle)
        with pytest.raises(SealBroken):
            open_entry(tampered, riverbend, juniper.bundle)


@pytest.mark.parametrize("field", ["ciphertext", "content_hash", "key_commitment", "signature"])
@pytest.mark.parametrize("length", [0, 1, 10_000])
def test_a_change_of_any_length_is_refused(entry, juniper, field, length):
    tampered = changed(entry, **{field: getattr(entry, field).ljust(length, b"\0")[:length]})
    with pytest.raises(SealBroken):
        verify(tampered, juniper.bundle)


def test_a_change_of_any_byte_of_the_wrap_is_refused(entry, juniper, riverbend):
    own = without_wraps_but(entry, riverbend.practice_id)
    wrapped = own.wraps[0].wrapped_key
    for position in range(len(wrapped)):
        tampered = changed(own)
        tampered.wraps[0].wrapped_key = flipped(wrapped, position)
        assert (
            fault_of(lambda tampered=tampered: open_entry(tampered, riverbend, juniper.bundle))
            == SealFault.WRAP_BROKEN
        )


def test_a_change_of_any_byte_of_the_message_never_gives_other_content_or_labels(entry, juniper, riverbend):
    travelling = entry.SerializeToString()
    for position in range(len(travelling)):
        try:
            tampered = SealedEntry.FromString(flipped(travelling, position))
            content = open_entry(tampered, riverbend, juniper.bundle)
        except (DecodeError, SealBroken):
            continue
        assert content == CANARY
        assert tampered.labels == entry.labels


OTHER_LABELS: dict[str, Any] = {
    "entry_id": new_id("ent"),
    "episode_id": new_id("epi"),
    "origin_practice_id": new_id("prac"),
    "category": words.CATEGORY_SAFETY_RISK,
    "derived_from": [words.CATEGORY_LAB_RESULT],
    "authored_at": NOON - timedelta(microseconds=1),
    "size_class": 1,
    "amends_entry_id": new_id("ent"),
    "entered_in_error": True,
    "part2": True,
}


def test_there_is_another_value_to_try_for_every_label():
    assert set(OTHER_LABELS) == set(EntryLabels.DESCRIPTOR.fields_by_name)


def relabelled(entry, label):
    tampered = changed(entry)
    tampered.labels.ClearField(label)
    tampered.labels.MergeFrom(EntryLabels(**{label: OTHER_LABELS[label]}))
    return tampered


@pytest.mark.parametrize("label", OTHER_LABELS)
def test_a_change_of_any_label_is_refused(entry, juniper, riverbend, label):
    tampered = relabelled(entry, label)
    assert tampered.labels != entry.labels
    with pytest.raises(SealBroken):
        verify(tampered, juniper.bundle)
    with pytest.raises(SealBroken):
        open_entry(tampered, riverbend, juniper.bundle)


@pytest.mark.parametrize(
    "label", ["category", "derived_from", "authored_at", "amends_entry_id", "part2", "episode_id"]
)
def test_a_source_that_signs_other_labels_over_the_same_content_is_refused(entry, juniper, riverbend, label):
    tampered = relabelled(entry, label)
    tampered.signature = juniper.sign(
        "sealed-entry", encode_labels(tampered.labels) + tampered.content_hash + tampered.key_commitment
    )
    verify(tampered, juniper.bundle)
    assert fault_of(lambda: open_entry(tampered, riverbend, juniper.bundle)) == SealFault.COMMITMENT_DIFFERS


def test_a_label_that_the_reader_does_not_know_is_refused(entry, juniper):
    tampered = changed(entry)
    tampered.labels.MergeFromString(bytes([15 << 3, 1]))
    assert fault_of(lambda: verify(tampered, juniper.bundle)) == SealFault.LABELS_IMPROPER


def test_nobody_else_can_open_it(entry, network, juniper):
    stranger = network.keys()
    assert fault_of(lambda: open_entry(entry, stranger, juniper.bundle)) == SealFault.WRAP_MISSING


def test_a_wrap_renamed_to_another_recipient_does_not_open(entry, network, juniper, riverbend):
    stranger = network.keys()
    tampered = without_wraps_but(entry, riverbend.practice_id)
    tampered.wraps[0].practice_id = stranger.practice_id
    assert fault_of(lambda: open_entry(tampered, stranger, juniper.bundle)) == SealFault.WRAP_BROKEN


def test_a_wrap_moved_to_another_entry_does_not_open(entry, juniper, riverbend):
    other = seal(some_labels(juniper.practice_id), b"other", juniper, None)
    moved = with_wrap(other, without_wraps_but(entry, riverbend.practice_id).wraps[0])
    verify(moved, juniper.bundle)
    assert fault_of(lambda: open_entry(moved, riverbend, juniper.bundle)) == SealFault.WRAP_BROKEN


def test_a_wrap_renumbered_to_another_version_does_not_open(entry, network, juniper, riverbend):
    tampered = changed(without_wraps_but(entry, riverbend.practice_id))
    tampered.wraps[0].key_version = 2
    assert fault_of(lambda: open_entry(tampered, riverbend, juniper.bundle)) == SealFault.WRAP_FOR_UNKNOWN_KEY
    rotated = network.rotated(riverbend)
    assert fault_of(lambda: open_entry(tampered, rotated, juniper.bundle)) == SealFault.WRAP_BROKEN


def wrap_of(content_key, entry, recipient):
    """Made by hand, by what the format says."""
    labels = entry.labels
    info = encode(
        "tandem.key-wrap.1",
        labels.entry_id,
        labels.origin_practice_id,
        recipient.practice_id,
        recipient.version,
    )
    return KeyWrap(
        practice_id=recipient.practice_id,
        key_version=recipient.version,
        wrapped_key=HPKE.encrypt(content_key, recipient.hpke_key, info=info),
    )


def made_by_hand(author, partner, content, *, padded=None, aead_key=None):
    """An entry made by what the format says, independent of `seal`; or by a source that bends it."""
    labels = some_labels(author.practice_id)
    bound = encode_labels(labels)
    content_key, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    derived = hmac.digest(content_key, b"tandem/entry-aead-key\0" + bound, "sha256")
    if padded is None:
        padded = (len(content).to_bytes(4) + content).ljust(256, b"\0")
    ciphertext = nonce + AESGCM(aead_key or derived).encrypt(nonce, padded, bound)
    content_hash = hashlib.sha256(ciphertext).digest()
    commitment = hmac.digest(content_key, b"tandem/key-commitment\0" + bound, "sha256")
    entry = SealedEntry(
        labels=labels,
        ciphertext=ciphertext,
        content_hash=content_hash,
        key_commitment=commitment,
        signature=author.sign("sealed-entry", bound + content_hash + commitment),
        signing_key_version=author.version,
    )
    entry.wraps.append(wrap_of(content_key, entry, partner))
    return entry


def test_an_entry_made_by_the_written_format_opens(juniper, riverbend):
    by_hand = made_by_hand(juniper, riverbend.bundle, CANARY)
    assert open_entry(by_hand, riverbend, juniper.bundle) == CANARY


def test_a_wrap_of_another_key_is_refused_before_it_decrypts_anything(entry, juniper, riverbend):
    misleading = with_wrap(entry, wrap_of(secrets.token_bytes(32), entry, riverbend.bundle))
    assert fault_of(lambda: open_entry(misleading, riverbend, juniper.bundle)) == SealFault.COMMITMENT_DIFFERS


def test_a_wrap_of_something_that_is_no_key_is_refused(entry, juniper, riverbend):
    odd = wrap_of(secrets.token_bytes(32), entry, riverbend.bundle)
    odd.wrapped_key = wrap_of(b"short", entry, riverbend.bundle).wrapped_key
    with pytest.raises(SealBroken):
        open_entry(with_wrap(entry, odd), riverbend, juniper.bundle)


def test_a_source_that_commits_to_one_key_and_encrypts_under_another_is_refused(juniper, riverbend):
    bent = made_by_hand(juniper, riverbend.bundle, CANARY, aead_key=secrets.token_bytes(32))
    assert fault_of(lambda: open_entry(bent, riverbend, juniper.bundle)) == SealFault.CONTENT_BROKEN


@pytest.mark.parametrize(
    "padded",
    [
        (253).to_bytes(4).ljust(256, b"\0"),
        (2**32 - 1).to_bytes(4).ljust(256, b"\0"),
        ((1).to_bytes(4) + b"x").ljust(255, b"\0") + b"y",
    ],
    ids=["longer than there is", "absurdly long", "something hidden in the padding"],
)
def test_padding_that_is_not_padding_is_refused(juniper, riverbend, padded):
    bent = made_by_hand(juniper, riverbend.bundle, b"", padded=padded)
    assert fault_of(lambda: open_entry(bent, riverbend, juniper.bundle)) == SealFault.CONTENT_BROKEN


def test_a_late_wrap_is_as_good_as_an_early_one(juniper, riverbend):
    early = seal(some_labels(juniper.practice_id), CANARY, juniper, riverbend.bundle)
    alone = seal(some_labels(juniper.practice_id), CANARY, juniper, None)
    late = with_wrap(alone, wrap_for(alone, juniper, riverbend.bundle))
    for sealed in (early, late):
        released = without_wraps_but(sealed, riverbend.practice_id)
        verify(released, juniper.bundle)
        assert open_entry(released, riverbend, juniper.bundle) == CANARY
        assert released.ByteSize() == without_wraps_but(early, riverbend.practice_id).ByteSize()
        assert [wrap.practice_id for wrap in released.wraps] == [riverbend.practice_id]


def test_only_who_can_open_can_wrap(juniper, riverbend, network):
    alone = seal(some_labels(juniper.practice_id), CANARY, juniper, None)
    assert fault_of(lambda: wrap_for(alone, riverbend, network.keys().bundle)) == SealFault.WRAP_MISSING


def test_a_newer_wrap_takes_the_place_of_the_one_before(entry, network, juniper, riverbend):
    rotated = network.rotated(riverbend)
    again = with_wrap(entry, wrap_for(entry, juniper, rotated.bundle))
    assert [(wrap.practice_id, wrap.key_version) for wrap in again.wraps] == [
        (juniper.practice_id, 1),
        (riverbend.practice_id, 2),
    ]
    assert open_entry(again, rotated, juniper.bundle) == CANARY


def test_old_content_opens_after_both_sides_rotated(entry, network, juniper, riverbend):
    juniper_now = network.rotated(network.rotated(juniper))
    riverbend_now = network.rotated(riverbend)
    assert open_entry(entry, riverbend_now, juniper_now.bundle) == CANARY
    assert open_entry(entry, juniper_now, juniper_now.bundle) == CANARY


def test_a_signature_by_a_version_not_known_yet_asks_for_the_newer_bundle(network, juniper):
    rotated = network.rotated(juniper)
    sealed = seal(some_labels(juniper.practice_id), CANARY, rotated, None)
    assert fault_of(lambda: verify(sealed, juniper.bundle)) == SealFault.SIGNING_KEY_UNKNOWN
    verify(sealed, rotated.bundle)


def test_what_a_compromised_key_signed_counts_only_for_the_time_before(network, juniper):
    before = seal(some_labels(juniper.practice_id, NOON - timedelta(seconds=1)), CANARY, juniper, None)
    after = seal(some_labels(juniper.practice_id, NOON), CANARY, juniper, None)
    rotated = network.rotated(juniper, compromised_from={1: NOON})
    verify(before, rotated.bundle)
    assert open_entry(before, rotated, rotated.bundle) == CANARY
    assert fault_of(lambda: verify(after, rotated.bundle)) == SealFault.SIGNING_KEY_COMPROMISED
    assert fault_of(lambda: open_entry(after, rotated, rotated.bundle)) == SealFault.SIGNING_KEY_COMPROMISED


def test_dating_back_does_not_help_who_stole_a_key(network, juniper):
    dated_back = seal(some_labels(juniper.practice_id, NOON - 30 * DAY), CANARY, juniper, None)
    rotated = network.rotated(juniper, compromised_from={1: NOON})
    verify(dated_back, rotated.bundle, received_at=NOON - DAY)
    assert (
        fault_of(lambda: verify(dated_back, rotated.bundle, received_at=NOON + DAY))
        == SealFault.SIGNING_KEY_COMPROMISED
    )


def test_an_expired_key_neither_seals_nor_proves(network, juniper):
    too_late = some_labels(juniper.practice_id, NOON + 400 * DAY)
    with pytest.raises(BundleExpired):
        seal(too_late, CANARY, juniper, None)
    handed_over = seal(some_labels(juniper.practice_id), CANARY, juniper, None)
    handed_over.labels.CopyFrom(too_late)
    handed_over.signature = juniper.sign(
        "sealed-entry", encode_labels(too_late) + handed_over.content_hash + handed_over.key_commitment
    )
    assert fault_of(lambda: verify(handed_over, juniper.bundle)) == SealFault.SIGNING_KEY_EXPIRED


def test_another_practice_cannot_pass_for_the_origin(entry, riverbend):
    assert fault_of(lambda: verify(entry, riverbend.bundle)) == SealFault.NOT_ITS_ORIGIN


def test_a_signature_for_another_purpose_does_not_count(entry, juniper):
    message = encode_labels(entry.labels) + entry.content_hash + entry.key_commitment
    assert (
        fault_of(lambda: verify(changed(entry, signature=juniper.sign("other", message)), juniper.bundle))
        == SealFault.SIGNATURE_INVALID
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_whatever_is_sealed_comes_out_again(juniper, riverbend, content):
    sealed = seal(some_labels(juniper.practice_id), content, juniper, riverbend.bundle)
    assert open_entry(sealed, riverbend, juniper.bundle) == content


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 6), st.data())
def test_within_a_size_class_nothing_tells_the_length(juniper, size_class, data):
    shortest = 0 if size_class == 0 else (128 << size_class) - 3
    longest = (256 << size_class) - 4
    lengths = (shortest, longest, data.draw(st.integers(shortest, longest)))
    sealed = [seal(some_labels(juniper.practice_id), b"x" * n, juniper, None) for n in lengths]
    assert {entry.labels.size_class for entry in sealed} == {size_class}
    assert len({len(entry.ciphertext) for entry in sealed}) == 1
    # The signature and ids are of fixed length too, so whole messages are alike.
    assert len({entry.ByteSize() for entry in sealed}) == 1


def test_content_has_a_limit(juniper, riverbend):
    longest = seal(some_labels(juniper.practice_id), b"x" * MAX_CONTENT, juniper, riverbend.bundle)
    assert len(open_entry(longest, riverbend, juniper.bundle)) == MAX_CONTENT
    with pytest.raises(ContentTooLong):
        seal(some_labels(juniper.practice_id), b"x" * (MAX_CONTENT + 1), juniper, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entry_id", ""),
        ("entry_id", "ent_rosalind-ashgrove"),
        ("episode_id", "1"),
        ("origin_practice_id", "prac_of_somebody_else"),
        ("origin_practice_id", "Not A Practice"),
        ("category", 0),
        ("category", 999),
        ("derived_from", [999]),
        ("derived_from", [words.CATEGORY_LAB_RESULT] * 2),
        ("authored_at", None),
        ("amends_entry_id", "the one before"),
        ("entered_in_error", True),
    ],
)
def test_improper_labels_are_refused_by_name(juniper, field, value):
    labels = some_labels(juniper.practice_id)
    labels.ClearField(field)
    if value is not None:
        labels.MergeFrom(EntryLabels(**{field: value}))
    with pytest.raises(LabelsImproper) as caught:
        seal(labels, CANARY, juniper, None)
    # Without a target, "entered in error" lacks what it takes back.
    assert caught.value.field == ("amends_entry_id" if field == "entered_in_error" else field)


def test_sealing_leaves_its_callers_labels_alone(juniper):
    labels = some_labels(juniper.practice_id)
    before = labels.SerializeToString()
    seal(labels, b"x" * 5000, juniper, None)
    assert labels.SerializeToString() == before


@pytest.mark.parametrize("tampering", ["twice the same", "of another length", "too many"])
def test_improper_wraps_are_refused_without_a_key(entry, juniper, riverbend, tampering):
    tampered = changed(entry)
    if tampering == "twice the same":
        tampered.wraps.append(tampered.wraps[0])
    elif tampering == "of another length":
        tampered.wraps[0].wrapped_key += b"x"
    else:
        for version in range(2, 7):
            tampered.wraps.append(tampered.wraps[0])
            tampered.wraps[-1].key_version = version
    assert fault_of(lambda: verify(tampered, juniper.bundle)) == SealFault.WRAPS_IMPROPER


def test_a_copy_for_one_practice_shows_nothing_of_the_others_wrap(entry, juniper, riverbend):
    released = without_wraps_but(entry, riverbend.practice_id)
    assert [wrap.practice_id for wrap in released.wraps] == [riverbend.practice_id]
    assert len(entry.wraps) == 2
    own = without_wraps_but(entry, juniper.practice_id).wraps[0].wrapped_key
    assert own not in released.SerializeToString()


def test_a_refusal_says_nothing_of_the_content(juniper, riverbend):
    bent = made_by_hand(juniper, riverbend.bundle, b"", padded=((2).to_bytes(4) + CANARY).ljust(256, b"\0"))
    with pytest.raises(SealBroken) as caught:
        open_entry(bent, riverbend, juniper.bundle)
    told = f"{caught.value!s} {caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"
    assert CANARY.decode() not in told
    assert caught.value.reason == "SEAL_CONTENT_BROKEN"


def test_a_receipt_is_the_recipients_word_for_exactly_these_entries(entry, juniper, riverbend):
    other = seal(some_labels(juniper.practice_id), b"other", juniper, riverbend.bundle)
    received = sign_received(riverbend, juniper.practice_id, [entry, other])
    verify_received(received, riverbend.bundle, NOON)
    assert [item.entry_id for item in received.items] == [entry.labels.entry_id, other.labels.entry_id]

    fewer, hashed, renamed, redirected = (
        type(received).FromString(received.SerializeToString()) for _ in "1234"
    )
    del fewer.items[1]
    hashed.items[0].content_hash = bytes(32)
    renamed.items[0].entry_id = new_id("ent")
    redirected.origin_practice_id = new_id("prac")
    for tampered in (fewer, hashed, renamed, redirected):
        assert (
            fault_of(lambda tampered=tampered: verify_received(tampered, riverbend.bundle, NOON))
            == SealFault.SIGNATURE_INVALID
        )
    assert fault_of(lambda: verify_received(received, juniper.bundle, NOON)) == SealFault.NOT_ITS_ORIGIN


def test_a_receipt_by_a_compromised_key_proves_nothing(entry, network, juniper, riverbend):
    received = sign_received(riverbend, juniper.practice_id, [entry])
    rotated = network.rotated(riverbend, compromised_from={1: NOON})
    verify_received(received, rotated.bundle, NOON - DAY)
    assert (
        fault_of(lambda: verify_received(received, rotated.bundle, NOON + DAY))
        == SealFault.SIGNING_KEY_COMPROMISED
    )
