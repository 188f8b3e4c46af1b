from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.catalog.apt_conf import AptConf, parse_apt_conf, read_apt_conf


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ('Acquire::http::Proxy "http://proxy:3128";', {"acquire::http::proxy": "http://proxy:3128"}),
        ('Acquire { http { Proxy "x"; }; };', {"acquire::http::proxy": "x"}),
        ('Acquire::http { Proxy "x"; Proxy::host "DIRECT"; };', {
            "acquire::http::proxy": "x",
            "acquire::http::proxy::host": "DIRECT",
        }),
        ('// A::B "no";\n# A::B "no";\n/* A::B "no"; */\nA::B "yes"; // after', {"a::b": "yes"}),
        ('A "1"; A "2";', {"a": "2"}),
        ('A { "one"; "two"; }; B "3";', {"a": "two", "b": "3"}),
        ('#clear A;\nB "3";', {"b": "3"}),
        ('A "never closed', {}),
        ("}}};", {}),
    ],
)  # fmt: skip
def test_parse(text: str, values: dict[str, str]) -> None:
    assert parse_apt_conf(text) == values


@given(st.text(alphabet='AB:{};"/*# \n\\'))
def test_parse_takes_anything(text: str) -> None:
    parse_apt_conf(text)


@pytest.mark.parametrize(
    ("value", "default", "truth"),
    [
        ("false", True, False),
        ("0", True, False),
        ("No", True, False),
        ("true", False, True),
        ("1", False, True),
        ("perhaps", True, True),
        ("perhaps", False, False),
    ],
)
def test_flags(value: str, default: bool, truth: bool) -> None:
    assert AptConf({"a::b": value}).flag("A::B", default) is truth


def test_files_are_read_in_apts_order(tmp_path: Path) -> None:
    directory = tmp_path / "etc/apt/apt.conf.d"
    directory.mkdir(parents=True)
    (directory / "20second").write_text('A "2"; B "2"; C "2";')
    (directory / "10first.conf").write_text('A "1";')
    (directory / "30ignored.bak").write_text('B "wrong";')
    (tmp_path / "etc/apt/apt.conf").write_text('C "last";')
    conf = read_apt_conf(tmp_path)
    assert [conf.get("A"), conf.get("b"), conf.get("C"), conf.get("D")] == ["2", "2", "last", None]


def test_a_machine_without_apt_has_none(tmp_path: Path) -> None:
    assert read_apt_conf(tmp_path).get("Acquire::http::Proxy") is None


def test_the_machines_own_configuration_reads_as_apt_reads_it() -> None:
    conf = read_apt_conf()
    options = [
        "Acquire::Check-Valid-Until",
        "Acquire::GzipIndexes",
        "Acquire::http::Proxy",
        "Acquire::https::CAInfo",
    ]
    for option in options:
        said = subprocess.run(
            ["apt-config", "shell", "VALUE", option], check=True, capture_output=True, text=True
        )
        expected = said.stdout.strip().removeprefix("VALUE=").strip("'") or None
        # A yes or no may have another default than ours; what is set must be the same.
        assert conf.get(option) == expected or (expected is not None and conf.get(option) is None)
