"""Private keys stay private, and old ones stay useful."""

import copy
import pickle
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from support.sealing import DAY, NOON, some_labels
from tandem_ops.certs import Wish
from tandem_platform.sealing import (
    KeysUnreadable,
    PracticeKeys,
    SecretExposed,
    SignatureFault,
    load_certificate,
    open_entry,
    seal,
)


@pytest.fixture
def saved(network, juniper, tmp_path):
    keys = network.rotated(juniper)
    keys.save(tmp_path / "keys")
    return tmp_path / "keys"


def test_saved_keys_open_what_was_sealed_before(network, juniper, saved):
    sealed = seal(some_labels(juniper.practice_id), b"before", juniper, None)
    loaded = PracticeKeys.load(saved)
    assert open_entry(sealed, loaded, loaded.bundle) == b"before"
    assert loaded.version == 2
    assert loaded.signed_bundle.bundle.former[0].bundle_hash == juniper.bundle.hash


def test_keys_travel_as_text_too(juniper):
    again = PracticeKeys.from_pem(juniper.to_pem())
    assert again.signed_bundle == juniper.signed_bundle


def test_key_files_are_the_owners_alone(saved):
    files = sorted(saved.iterdir())
    assert [file.name for file in files] == ["keys-0001.pem", "keys-0002.pem"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_touch_is_not_used(saved, mode):
    (saved / "keys-0001.pem").chmod(mode)
    with pytest.raises(SecretExposed, match=re.escape("keys-0001.pem")):
        PracticeKeys.load(saved)


def test_a_services_keys_are_made_once_and_stay(network, tmp_path):
    certificate = network.certificate("prac_kept")
    made = PracticeKeys.kept_in(tmp_path / "keys", "prac_kept", certificate, NOON)
    again = PracticeKeys.kept_in(tmp_path / "keys", "prac_kept", certificate, NOON + DAY)
    assert again.to_pem() == made.to_pem()


def test_a_services_keys_stand_under_its_renewed_certificate(network, tmp_path):
    made = PracticeKeys.kept_in(tmp_path / "keys", "prac_kept", network.certificate("prac_kept"), NOON)
    renewed = network.certificate("prac_kept")
    again = PracticeKeys.kept_in(tmp_path / "keys", "prac_kept", renewed, NOON + DAY)
    assert again.bundle == made.bundle
    assert again.signed_bundle.certificates == renewed.encoded
    assert PracticeKeys.load(tmp_path / "keys").signed_bundle == again.signed_bundle


def test_a_certificate_with_the_key_of_another_proves_nothing_and_is_not_used(network):
    one, other = (
        network.authority.issue_practice("prac_kept", Wish()),
        network.authority.issue_practice("prac_kept", Wish()),
    )
    with pytest.raises(KeysUnreadable, match="not that of the certificate"):
        load_certificate(one.certificate_pem, other.key_pem)


def test_processes_that_renew_at_once_leave_keys_that_are_whole(network, tmp_path):
    made = PracticeKeys.kept_in(tmp_path / "keys", "prac_kept", network.certificate("prac_kept"), NOON)
    renewed = network.certificate("prac_kept")
    with ThreadPoolExecutor(8) as pool:
        starts = [
            pool.submit(PracticeKeys.kept_in, tmp_path / "keys", "prac_kept", renewed, NOON)
            for _ in range(40)
        ]
    assert {start.result().bundle for start in starts} == {made.bundle}
    assert PracticeKeys.load(tmp_path / "keys").signed_bundle.certificates == renewed.encoded
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["keys-0001.pem"]


def test_saving_again_replaces_the_files(network, juniper, saved):
    PracticeKeys.load(saved).save(saved)
    assert PracticeKeys.load(saved).version == 2
    assert len(list(saved.iterdir())) == 2


def test_no_way_of_showing_keys_shows_a_secret(juniper):
    assert repr(juniper) == str(juniper) == f"PracticeKeys('{juniper.practice_id}', versions=[1])"
    (version,) = juniper._versions.values()
    assert repr(version) == f"KeyVersion('{juniper.practice_id}', version=1)"
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(juniper)


def test_a_certificates_key_is_not_shown(network, juniper):
    assert "PRIVATE" not in repr(network.certificate(juniper.practice_id)).upper()


def test_there_is_no_practice_without_keys(tmp_path):
    with pytest.raises(KeysUnreadable):
        PracticeKeys.load(tmp_path)


def test_damaged_keys_are_refused_without_being_quoted(juniper):
    (text,) = juniper.to_pem()
    lines = text.splitlines()
    for start in (1, -3):
        damaged = [*lines]
        damaged[start] = damaged[start][:-9] + "!secret!!"
        with pytest.raises(KeysUnreadable) as caught:
            PracticeKeys.from_pem(["\n".join(damaged)])
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__
    with pytest.raises(KeysUnreadable):
        PracticeKeys.from_pem([text.partition("-----BEGIN TANDEM")[0]])


def test_keys_of_two_practices_do_not_mix(juniper, riverbend):
    with pytest.raises(KeysUnreadable, match="different practices"):
        PracticeKeys.from_pem(juniper.to_pem() + riverbend.to_pem())


def test_private_keys_that_are_not_the_bundles_are_refused(juniper, riverbend):
    private = riverbend.to_pem()[0].partition("-----BEGIN TANDEM")[0]
    bundle = "-----BEGIN TANDEM" + juniper.to_pem()[0].partition("-----BEGIN TANDEM")[2]
    with pytest.raises(KeysUnreadable, match="not those of its bundle"):
        PracticeKeys.from_pem([private + bundle])


def test_rotation_makes_new_keys_and_keeps_the_old(network, juniper):
    rotated = network.rotated(juniper, NOON + DAY)
    assert rotated.version == 2
    assert rotated.holds(1)
    assert rotated.bundle.hpke_public != juniper.bundle.hpke_public
    assert rotated.bundle.signing_public != juniper.bundle.signing_public
    assert rotated.bundle.previous_hash == juniper.bundle.hash
    assert juniper.version == 1


def test_rotation_is_due_well_before_the_keys_expire(juniper):
    expires_at = juniper.bundle.expires_at
    assert not juniper.due_for_rotation(expires_at - 61 * DAY)
    assert juniper.due_for_rotation(expires_at - 59 * DAY)


def test_a_signature_whose_key_is_not_named_is_found_among_all_versions(network, juniper):
    rotated = network.rotated(juniper)
    old, new = juniper.sign("log-head", b"head"), rotated.sign("log-head", b"head")

    def fault(bundle, signature, purpose="log-head", version=None):
        return bundle.signature_fault(purpose, b"head", signature, version=version, at=NOON)

    assert fault(rotated.bundle, old) is None
    assert fault(rotated.bundle, new) is None
    assert fault(rotated.bundle, old, version=1) is None
    assert fault(rotated.bundle, old, version=2) == SignatureFault.INVALID
    assert fault(rotated.bundle, old, purpose="other") == SignatureFault.INVALID
    assert fault(rotated.bundle, b"") == SignatureFault.INVALID
    assert fault(juniper.bundle, new, version=2) == SignatureFault.KEY_UNKNOWN
    assert fault(juniper.bundle, new, version=0) == SignatureFault.KEY_UNKNOWN


def test_a_compromise_found_to_be_older_is_dated_earlier_and_never_later(network, juniper):
    first = network.rotated(juniper, compromised_from={1: NOON})
    earlier = network.rotated(first, compromised_from={1: NOON - DAY})
    later = network.rotated(earlier, compromised_from={1: NOON + DAY})
    dates = [keys.bundle.former[0].compromised_from for keys in (first, earlier, later)]
    assert dates == [NOON, NOON - DAY, NOON - DAY]


def test_times_keep_their_microseconds(network):
    at = NOON + timedelta(microseconds=1)
    keys = network.keys(at=at)
    assert type(keys.bundle).decoded(keys.bundle.encoded) == keys.bundle
    assert keys.bundle.not_before == at
