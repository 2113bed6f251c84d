"""What docker-compose.yml and the images keep to, as far as their text can tell; `make compose-check` runs them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.brokers import KAFKA_IMAGE
from support.kafka_jars import KAFKA_VERSION
from tandem_clinic.settings import ClinicSettings
from tandem_ops.network import containers
from tandem_platform.settings import documented
from tandem_referral.settings import HubSettings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
ONCE = {"setup", "admission", "people", "account"}
FOREIGN = {"kafka", "postgres"}
PRACTICES = set(containers.CAST)


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def services() -> dict[str, Any]:
    return dict(compose()["services"])


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Volume to what follows its name."""
    return dict(each.split(":", 1) for each in service.get("volumes", []))


def faults(all_services: dict[str, Any]) -> list[str]:
    """Everything in which the file is not what its README says."""
    found = []
    for name, service in all_services.items():
        found += [
            f"{name} publishes {port}"
            for port in service.get("ports", [])
            if name not in PRACTICES or not port.startswith("127.0.0.1:") or not port.endswith(":8080")
        ]
        if "authority" in mounts(service) and name != "setup":
            found.append(f"{name} sees the authority")
        if name in FOREIGN:
            if not re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[^}]+:[^}]+\}", service["image"]):
                found.append(f"{name}'s image cannot be replaced")
            continue
        if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"]:
            found.append(f"{name} may write or do more than it needs")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            found.append(f"{name} may gain privileges")
        if "user" in service and name != "setup":
            found.append(f"{name} chooses its user")
        foreign = set(mounts(service)) & (PRACTICES | {"hub"}) - {name}
        if foreign and name not in ONCE:
            found.append(f"{name} sees the files of {', '.join(sorted(foreign))}")
    return found


def test_the_file_is_what_it_says() -> None:
    assert faults(services()) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("juniper", {"ports": ["8081:8080"]}),
        ("hub", {"ports": ["127.0.0.1:7443:7443"]}),
        ("hub", {"volumes": ["hub:/network/hub", "authority:/network/ca"]}),
        ("alder", {"volumes": ["juniper:/network/juniper"]}),
        ("riverbend", {"read_only": False}),
        ("riverbend", {"user": "root"}),
        ("kafka", {"image": "apache/kafka:4.1.1"}),
    ],
)
def test_a_fault_in_the_file_would_be_seen(name: str, change: dict[str, Any]) -> None:
    changed = services()
    changed[name] = changed[name] | change
    assert len(faults(changed)) == 1


def test_every_service_is_known_here() -> None:
    assert set(services()) == ONCE | FOREIGN | PRACTICES | {"hub"}


@pytest.mark.parametrize("name", sorted(PRACTICES | {"hub"}))
def test_every_setting_is_one_of_the_service_and_none_is_missing(name: str) -> None:
    settings = documented(HubSettings if name == "hub" else ClinicSettings)
    given = {each for each in services()[name]["environment"] if each.startswith("TANDEM_")}
    assert given <= {each.name for each in settings}
    assert {each.name for each in settings if each.default == "required"} <= given


@pytest.mark.parametrize("name", sorted(PRACTICES | {"hub"}))
def test_no_password_is_in_the_file(name: str) -> None:
    url = services()[name]["environment"]["TANDEM_DATABASE_URL"]
    assert url == f"postgresql+psycopg://{name}@{containers.POSTGRES}/{name}?passfile=/network/{name}/pgpass"


def test_the_databases_have_no_way_out() -> None:
    networks = compose()["networks"]
    assert {name for name, network in networks.items() if network.get("internal")} == {"exchange", "storage"}
    for name in (*FOREIGN, "hub"):
        assert "people" not in services()[name]["networks"]
    assert services()["setup"]["network_mode"] == "none"


def test_the_broker_is_the_one_that_tests_use() -> None:
    assert services()["kafka"]["image"] == f"${{KAFKA_IMAGE:-{KAFKA_IMAGE}}}"
    assert f"<version>{KAFKA_VERSION}</version>" in (DOCKER / "local" / "kafka-jars.xml").read_text()
    assert KAFKA_IMAGE in (DOCKER / "check").read_text()


def test_images_install_wheels_by_hash_and_run_without_privileges() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    for line in re.findall(r"pip install (.*)", text):
        assert "--require-hashes" in line or "--no-deps /wheels/" in line, line
        assert "--no-deps" in line or "--only-binary :all:" in line, line
    last = text.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last
    assert containers.USER == 10001
    assert "HEALTHCHECK" in last
