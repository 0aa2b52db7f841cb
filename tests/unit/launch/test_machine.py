import os
import shutil

from ingle.launch import machine
from ingle.node import doctor, setup


def run(monkeypatch, lacking, agreed, answer):
    said, installed = [], []
    monkeypatch.setattr(setup, "missing", lambda: lacking)
    monkeypatch.setattr(setup, "install", lambda say: installed.append(True))
    return machine.set_up(agreed, said.append, lambda question: answer), said, installed


def test_nothing_is_missing(monkeypatch):
    code, said, installed = run(monkeypatch, [], False, True)
    assert code == 0 and installed == [] and "every package" in said[0]


def test_it_says_what_and_why_before_it_asks(monkeypatch):
    need = setup.Need("crun", "starts containers", ("crun",), program="crun")
    code, said, installed = run(monkeypatch, [need], False, False)
    assert code == 1 and installed == [] and "  crun: starts containers" in said
    code, _, installed = run(monkeypatch, [need], False, True)
    assert code == 0 and installed == [True]
    code, _, installed = run(monkeypatch, [need], True, False)
    assert code == 0 and installed == [True]


def test_commands_are_shown_as_they_can_be_typed(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/ingle")
    assert machine.as_typed("ingle setup") == "ingle setup"
    assert machine.as_typed("sudo ingle doctor") == "ingle doctor"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert machine.as_typed("ingle setup").endswith("/ingle setup")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert machine.as_typed("modprobe veth") == "sudo modprobe veth"
    assert machine.as_typed("export A=b") == "export A=b" and machine.as_typed("") == ""


def test_checks_are_data(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "checks", lambda state: [doctor.Check("disk", False, "full", "")])
    assert machine.examine(tmp_path) == [{"name": "disk", "ok": False, "found": "full", "fix": ""}]
