"""The contracts: generated code in step, no breaking change, nothing unclassified, no RPC without a rule."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, ServiceDescriptor

from tandem.common.v1 import common_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
SCRIPTS = Path(sys.executable).parent

# Served by a clinic to its own staff and systems, on its own machine: these never reach the hub.
CLINIC_PACKAGES = frozenset({"tandem.clinic.v1", "tandem.prescriber.v1", "tandem.therapy_provider.v1"})


def generated_files() -> list[FileDescriptor]:
    modules = sorted((PROTOS / "gen").rglob("*_pb2.py"))
    return [
        importlib.import_module(".".join(module.relative_to(PROTOS / "gen").with_suffix("").parts)).DESCRIPTOR
        for module in modules
    ]


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        yield message


def unclassified(file: FileDescriptor) -> list[str]:
    """String and bytes fields that do not say what they may hold."""
    return [
        field.full_name
        for message in messages(file)
        for field in message.fields
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        and not field.GetOptions().Extensions[common_pb2.holds]
    ]


def faults_of(service: ServiceDescriptor) -> list[str]:
    """What is wrong with the rules of *service*."""
    found = []
    for method in service.methods:
        rule = method.GetOptions().Extensions[common_pb2.rule]
        if not rule.callers:
            found.append(f"{method.full_name} names no caller")
        if rule.command and "request_id" not in method.input_type.fields_by_name:
            found.append(f"{method.full_name} is a command without request_id")
    return found


FILES = generated_files()
HUB_FACING = [file for file in FILES if file.package not in CLINIC_PACKAGES]
SERVICES = [service for file in FILES for service in file.services_by_name.values()]


def test_generated_code_is_what_the_contracts_give() -> None:
    done = subprocess.run(
        [sys.executable, PROTOS / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.package not in CLINIC_PACKAGES], ids=lambda f: f.name
)
def test_the_hub_sees_no_unclassified_field(file: FileDescriptor) -> None:
    assert unclassified(file) == []


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.full_name)
def test_every_rpc_declares_its_callers_and_every_command_its_request_id(service: ServiceDescriptor) -> None:
    assert faults_of(service) == []


def a_contract_with_faults() -> FileDescriptor:
    """One field without a class, one RPC without a rule, one command without request_id."""
    proto = descriptor_pb2.FileDescriptorProto(
        name="planted.proto", package="planted", syntax="proto3", dependency=["tandem/common/v1/common.proto"]
    )
    message = proto.message_type.add(name="Planted")
    for number, name in enumerate(("classified", "unclassified"), start=1):
        field = message.field.add(
            name=name,
            number=number,
            type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        )
        if name == "classified":
            field.options.Extensions[common_pb2.holds] = common_pb2.HOLDS_ID
    service = proto.service.add(name="PlantedService")
    service.method.add(name="Undeclared", input_type=".planted.Planted", output_type=".planted.Planted")
    command = service.method.add(
        name="Command", input_type=".planted.Planted", output_type=".planted.Planted"
    )
    command.options.Extensions[common_pb2.rule].CopyFrom(common_pb2.Rule(callers=["practice"], command=True))
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(proto.SerializeToString())
    return pool.FindFileByName("planted.proto")


def test_planted_faults_in_a_contract_are_caught() -> None:
    planted = a_contract_with_faults()
    assert unclassified(planted) == ["planted.Planted.unclassified"]
    assert faults_of(planted.services_by_name["PlantedService"]) == [
        "planted.PlantedService.Undeclared names no caller",
        "planted.PlantedService.Command is a command without request_id",
    ]


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    shutil.copytree(PROTOS / "tandem", tmp_path / "tandem")
    for name in ("buf.yaml", "baseline.binpb"):
        shutil.copy(PROTOS / name, tmp_path)
    return tmp_path


def breaks(contracts: Path) -> tuple[bool, str]:
    done = subprocess.run(
        [SCRIPTS / "buf", "breaking", "--against", "baseline.binpb"],
        cwd=contracts,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode != 0, done.stdout + done.stderr


def test_the_contracts_break_no_one_who_speaks_the_accepted_ones(contracts: Path) -> None:
    broken, why = breaks(contracts)
    assert not broken, why


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string episode_id = 2", "string episode_id = 99"),
        ("string episode_id = 2", "bytes episode_id = 2"),
        ("string episode_id = 2", "string episode_ref = 2"),
    ],
)
def test_a_breaking_change_is_caught(contracts: Path, before: str, after: str) -> None:
    contract = contracts / "tandem" / "exchange" / "v1" / "exchange.proto"
    text = contract.read_text()
    assert before in text
    contract.write_text(text.replace(before, after, 1))
    broken, _ = breaks(contracts)
    assert broken
