"""A practice's keys are believed for its certificate and its earlier keys, never for who served them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.sealing import DAY, NOON, KeyNetwork, PinsInMemory
from tandem.directory.v1.directory_pb2 import SignedKeyBundle
from tandem_ops.certs import Wish
from tandem_platform.ids import new_id
from tandem_platform.sealing import (
    BundleExpired,
    BundleForged,
    BundleForked,
    BundleNotYetValid,
    BundleRolledBack,
    ChainBroken,
    FingerprintDiffers,
    KeyBundle,
    PracticeKeys,
    SignedBundle,
    fingerprint,
    pin,
    pin_confirmed,
    usable,
    verify_bundle,
)


@pytest.fixture
def pins():
    return PinsInMemory()


@pytest.fixture(scope="session")
def check(network):
    def run(keys, *, now=NOON, pinned=None, practice_id=None, trust=network.trust, **others):
        signed = keys if isinstance(keys, SignedBundle) else keys.signed_bundle
        practice_id = practice_id or signed.bundle.practice_id
        return verify_bundle(signed, trust, practice_id, now, pinned, **others)

    return run


def test_a_practices_own_bundle_is_believed(check, juniper):
    assert check(juniper) == juniper.bundle


def test_a_bundle_travels_unchanged(juniper, network):
    for keys in (juniper, network.rotated(network.rotated(juniper))):
        message = SignedKeyBundle.FromString(keys.signed_bundle.to_message().SerializeToString())
        assert SignedBundle.from_message(message) == keys.signed_bundle


def test_the_hub_has_keys_like_a_practice_and_no_practice_has_the_hubs(check, network, juniper):
    hub = network.keys("hub")
    assert check(hub).practice_id == "hub"
    posing = PracticeKeys.generate("hub", network.certificate(juniper.practice_id), NOON)
    with pytest.raises(BundleForged):
        check(posing)


def test_a_change_of_any_byte_is_refused(check, network, juniper):
    rotated = network.rotated(juniper)
    message = rotated.signed_bundle.to_message()
    for field in ("bundle", "certificate_signature", "predecessor_signature"):
        octets = getattr(message, field)
        for position in range(len(octets)):
            forged = SignedKeyBundle.FromString(message.SerializeToString())
            setattr(forged, field, octets[:position] + bytes([octets[position] ^ 1]) + octets[position + 1 :])
            with pytest.raises((BundleForged, ChainBroken)):
                check(
                    SignedBundle.from_message(forged),
                    practice_id=juniper.practice_id,
                    pinned=juniper.bundle,
                )


@given(st.binary(max_size=100))
def test_bytes_that_are_no_bundle_are_refused(octets):
    with pytest.raises(BundleForged):
        KeyBundle.decoded(octets)


def test_a_bundle_has_one_way_of_being_written(juniper):
    encoded = juniper.bundle.encoded
    as_number, as_truth = b"I" + (1).to_bytes(8), b"T"
    assert encoded.count(as_number) == 1
    with pytest.raises(BundleForged):
        KeyBundle.decoded(encoded.replace(as_number, as_truth))


def test_another_practices_bundle_is_refused(check, juniper, riverbend):
    with pytest.raises(BundleForged, match="names another practice"):
        check(juniper, practice_id=riverbend.practice_id)


def test_another_practices_certificate_is_refused(check, network, juniper, riverbend):
    forged = PracticeKeys.generate(juniper.practice_id, network.certificate(riverbend.practice_id), NOON)
    with pytest.raises(BundleForged):
        check(forged)


def test_another_authoritys_certificate_is_refused(check, tmp_path, juniper):
    rogue = KeyNetwork(tmp_path)
    with pytest.raises(BundleForged):
        check(rogue.keys(juniper.practice_id))


def test_a_new_authority_is_believed_beside_the_old(check, network, tmp_path):
    following = KeyNetwork(tmp_path)
    for keys in (network.keys(), following.keys()):
        assert check(keys, trust=[network.trust, following.trust]) == keys.bundle


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param(lambda own: Wish(uris=[own, "spiffe://tandem.local/practice/prac_b"]), id="two names"),
        pytest.param(lambda own: Wish(uris=[]), id="no name"),
        pytest.param(lambda own: Wish(uris=[own + "2"]), id="a longer name"),
        pytest.param(lambda own: Wish(uris=[own.replace("practice", "operator")]), id="an operator"),
        pytest.param(lambda own: Wish(is_ca=True), id="an authority"),
        pytest.param(lambda own: Wish(not_after=NOON - DAY, not_before=NOON - 2 * DAY), id="expired"),
        pytest.param(lambda own: Wish(not_before=NOON + DAY), id="not yet valid"),
    ],
)
def test_a_certificate_that_is_not_this_practices_now_is_refused(check, network, wish):
    practice_id = new_id("prac")
    certificate = network.certificate(practice_id, wish(f"spiffe://tandem.local/practice/{practice_id}"))
    with pytest.raises(BundleForged):
        check(PracticeKeys.generate(practice_id, certificate, NOON))


def test_a_revoked_certificate_is_refused(check, network):
    practice_id = new_id("prac")
    certificate = network.certificate(practice_id)
    keys = PracticeKeys.generate(practice_id, certificate, NOON)
    with pytest.raises(BundleForged, match="revoked"):
        check(keys, revoked_serials={certificate.chain[0].serial_number})


def test_a_bundle_without_a_certificate_is_refused(check, juniper):
    with pytest.raises(BundleForged):
        check(replace(juniper.signed_bundle, certificates=()))


def test_a_bundle_counts_from_its_beginning_to_its_end(check, network):
    keys = PracticeKeys.generate("prac_short", network.certificate("prac_short"), NOON, 2 * DAY)
    check(keys, now=NOON + 2 * DAY - timedelta(microseconds=1))
    with pytest.raises(BundleExpired):
        check(keys, now=NOON + 2 * DAY)
    check(keys, now=NOON - timedelta(minutes=4))
    early = PracticeKeys.generate("prac_short", network.certificate("prac_short"), NOON + DAY)
    with pytest.raises(BundleNotYetValid):
        check(early)


def test_a_pinned_bundle_outlives_its_certificate_and_a_new_peer_wants_it_renewed(check, network, juniper):
    much_later = NOON + 200 * DAY
    assert check(juniper, now=much_later, pinned=juniper.bundle) == juniper.bundle
    with pytest.raises(BundleForged):
        check(juniper, now=much_later)
    renewed_for = Wish(not_before=much_later - DAY, not_after=much_later + DAY)
    renewed = juniper.certified_anew(network.certificate(juniper.practice_id, renewed_for))
    assert check(renewed, now=much_later) == juniper.bundle


def test_a_rotation_follows_from_the_pinned_keys(check, network, juniper):
    rotated = network.rotated(juniper)
    assert check(rotated, pinned=juniper.bundle) == rotated.bundle


def test_a_peer_that_missed_rotations_follows_all_the_same(check, network, juniper):
    rotated = juniper
    for _ in range(4):
        rotated = network.rotated(rotated)
        assert check(rotated, pinned=juniper.bundle).version == rotated.version
        assert check(rotated).version == rotated.version


def test_an_older_bundle_is_refused_once_a_newer_was_seen(check, network, juniper):
    with pytest.raises(BundleRolledBack):
        check(juniper, pinned=network.rotated(juniper).bundle)


def test_two_bundles_of_one_version_are_refused(check, network, juniper):
    one, other = network.rotated(juniper), network.rotated(juniper)
    with pytest.raises(BundleForked):
        check(other, pinned=one.bundle)


def test_keys_that_only_the_authority_vouches_for_do_not_follow(check, network, juniper):
    """An authority that issues a second certificate for a practice still cannot replace its keys."""
    substitute = network.keys(juniper.practice_id)
    for _ in range(2):
        substitute = network.rotated(substitute)
        with pytest.raises(ChainBroken):
            check(substitute, pinned=juniper.bundle)


def test_naming_the_pinned_key_without_holding_it_does_not_help(check, network, juniper):
    genuine = network.rotated(juniper).bundle
    substitute = network.rotated(network.keys(juniper.practice_id))
    claimed = replace(substitute.bundle, former=genuine.former)
    forged = SignedBundle.made(
        claimed, network.certificate(juniper.practice_id), substitute.signed_bundle.former_signatures
    )
    for pinned in (juniper.bundle, None):
        with pytest.raises(ChainBroken):
            check(forged, pinned=pinned)


def test_a_chain_forged_past_the_pinned_version_does_not_follow(check, network, juniper):
    """The pinned key is named rightly, and a forged key in between signs: the pinned one still has to."""
    genuine = network.rotated(juniper).bundle.former[0]
    in_between = network.rotated(network.keys(juniper.practice_id))
    substitute = network.rotated(in_between)
    claimed = replace(substitute.bundle, former=(genuine, substitute.bundle.former[1]))
    signature = in_between.sign("key-bundle-by-former-key", claimed.encoded)
    forged = SignedBundle.made(claimed, network.certificate(juniper.practice_id), [bytes(64), signature])
    assert check(forged).version == 3
    with pytest.raises(ChainBroken):
        check(forged, pinned=juniper.bundle)


def test_a_compromise_is_never_taken_back_nor_made_later(check, network, juniper):
    dated = network.rotated(juniper, compromised_from={1: NOON})
    certificate = network.certificate(juniper.practice_id)
    for said in (None, NOON + DAY):
        following = network.rotated(dated)
        first, *others = following.bundle.former
        whitewashed = replace(following.bundle, former=(replace(first, compromised_from=said), *others))
        signatures = tuple(
            version.ed25519.sign(b"tandem/key-bundle-by-former-key\0" + whitewashed.encoded)
            for version in list(following._versions.values())[:2]
        )
        with pytest.raises(ChainBroken):
            check(SignedBundle.made(whitewashed, certificate, signatures), pinned=dated.bundle)
    assert check(network.rotated(dated, compromised_from={1: NOON - DAY}), pinned=dated.bundle)


def test_a_pin_moves_up_and_never_down(network, juniper, pins):
    rotated = network.rotated(juniper)
    for keys in (juniper, juniper, rotated, rotated):
        pin(pins, keys.signed_bundle, network.trust, juniper.practice_id, NOON)
    with pytest.raises(BundleRolledBack):
        pin(pins, juniper.signed_bundle, network.trust, juniper.practice_id, NOON)
    assert pins.get(juniper.practice_id) == rotated.bundle


def test_a_refused_bundle_leaves_the_pin_alone(network, juniper, riverbend, pins):
    pin(pins, juniper.signed_bundle, network.trust, juniper.practice_id, NOON)
    with pytest.raises(BundleForged):
        pin(pins, riverbend.signed_bundle, network.trust, juniper.practice_id, NOON)
    assert pins.get(juniper.practice_id) == juniper.bundle


def test_a_fingerprint_can_be_read_out(juniper, riverbend, network):
    digits = fingerprint(juniper.bundle)
    groups = digits.split(" ")
    assert [len(group) for group in groups] == [5] * 8
    assert all(group.isdecimal() for group in groups)
    assert digits == fingerprint(KeyBundle.decoded(juniper.bundle.encoded))
    assert len({digits, fingerprint(riverbend.bundle), fingerprint(network.rotated(juniper).bundle)}) == 3


def test_two_people_confirm_by_reading_the_digits(network, juniper, riverbend, pins):
    def confirm(keys, digits):
        return pin_confirmed(pins, keys.signed_bundle, network.trust, juniper.practice_id, NOON, digits)

    for wrong in ("", "12345", fingerprint(riverbend.bundle)):
        with pytest.raises(FingerprintDiffers):
            confirm(juniper, wrong)
    assert pins.get(juniper.practice_id) is None
    confirm(juniper, fingerprint(juniper.bundle).replace(" ", "  "))
    assert pins.get(juniper.practice_id) == juniper.bundle


def test_a_practice_that_lost_its_keys_starts_again_by_being_confirmed(network, juniper, pins):
    pin(pins, network.rotated(juniper).signed_bundle, network.trust, juniper.practice_id, NOON)
    anew = network.keys(juniper.practice_id)
    with pytest.raises(BundleRolledBack):
        pin(pins, anew.signed_bundle, network.trust, juniper.practice_id, NOON)
    pin_confirmed(
        pins, anew.signed_bundle, network.trust, juniper.practice_id, NOON, fingerprint(anew.bundle)
    )
    assert pins.get(juniper.practice_id) == anew.bundle


def test_an_expired_pin_is_not_sealed_to(network, juniper, pins):
    assert usable(pins, juniper.practice_id, NOON) is None
    pin(pins, juniper.signed_bundle, network.trust, juniper.practice_id, NOON)
    assert usable(pins, juniper.practice_id, NOON) == juniper.bundle
    assert usable(pins, juniper.practice_id, juniper.bundle.expires_at) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), max_size=4), st.data())
def test_whatever_a_hub_serves_in_whatever_order_a_pin_only_moves_up(network, juniper, rotations, data):
    history = [juniper]
    for _ in rotations:
        history.append(network.rotated(history[-1]))
    pins, highest = PinsInMemory(), 0
    for served in data.draw(st.lists(st.sampled_from(history), max_size=6)):
        if served.version < highest:
            with pytest.raises(BundleRolledBack):
                pin(pins, served.signed_bundle, network.trust, juniper.practice_id, NOON)
        else:
            pin(pins, served.signed_bundle, network.trust, juniper.practice_id, NOON)
            highest = served.version
        assert pins.get(juniper.practice_id) == history[highest - 1].bundle
