"""The plan of a network: kept as written, ports filled in where it leaves them open."""

import json
from dataclasses import replace

import pytest

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import Layout, Ports, new_plan, with_free_ports


def test_a_plan_read_again_is_the_plan_that_was_saved(tmp_path):
    plan = new_plan(("juniper", "riverbend", "alder"), with_kafka=False, postgres="postgresql+psycopg://x")
    Layout(tmp_path).save_plan(plan)
    assert Layout(tmp_path).load_plan() == plan


def test_open_ports_are_filled_in_and_fixed_ones_stay():
    plan = new_plan()
    fixed = replace(plan, hub=Ports(http=4001, grpc=4002))
    filled = with_free_ports(fixed, lambda count: list(range(5000, 5000 + count)))
    numbers = [filled.broker_port] + [
        port for each in filled.practices for port in (each.ports.http, each.ports.grpc)
    ]
    assert filled.hub == Ports(http=4001, grpc=4002)
    assert 0 not in numbers
    assert len(set(numbers)) == len(numbers)


def test_a_practice_is_found_by_name_and_by_id():
    plan = new_plan()
    assert plan.practice("juniper") is plan.practice(plan.practices[0].practice_id)


def test_an_unknown_practice_is_answered_with_those_that_there_are():
    with pytest.raises(Stop) as stop:
        new_plan().practice("willow")
    assert stop.value.code is Exit.USAGE
    assert "juniper, riverbend" in stop.value.way_out


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"network": "x"})])
def test_a_plan_that_cannot_be_read_is_a_wrong_setting(tmp_path, text):
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(Stop) as stop:
        Layout(tmp_path).load_plan()
    assert stop.value.code is Exit.USAGE


def test_a_network_that_does_not_run_is_not_reached(tmp_path):
    with pytest.raises(Stop) as stop:
        Layout(tmp_path).load_addresses()
    assert stop.value.code is Exit.USAGE
    Layout(tmp_path).save_plan(new_plan())
    with pytest.raises(Stop) as stop:
        Layout(tmp_path).load_addresses()
    assert stop.value.code is Exit.UNREACHABLE
