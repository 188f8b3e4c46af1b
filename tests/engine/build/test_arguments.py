from __future__ import annotations

from labkernel.engine.build.arguments import BuildArguments


def test_the_given_value_wins_over_the_default() -> None:
    arguments = BuildArguments({"A": "given", "B": None})
    arguments.declare("A", "default")
    arguments.declare("B", "default")
    arguments.declare("C", None)
    assert arguments.values() == {"A": "given", "B": "default"}


def test_a_stage_sees_only_what_it_declares() -> None:
    arguments = BuildArguments({})
    arguments.declare_global("G", "1")
    stage = arguments.begin_stage()
    assert stage.values() == {}
    stage.declare("G", None)
    assert stage.values() == {"G": "1"}
    stage.declare("G", "own")
    assert stage.values() == {"G": "own"}
    assert arguments.begin_stage().values() == {}


def test_the_environment_wins() -> None:
    arguments = BuildArguments({"A": "1", "B": "2"})
    arguments.declare("A", None)
    arguments.declare("B", None)
    assert arguments.for_environment({"A": "env"}) == {"B": "2"}


def test_predefined_arguments_need_no_declaration_and_leave_no_record() -> None:
    arguments = BuildArguments({"HTTP_PROXY": "p", "other": "o"})
    assert arguments.values() == {"HTTP_PROXY": "p"}
    assert not arguments.is_recorded("HTTP_PROXY")
    arguments.declare("HTTP_PROXY", None)
    assert arguments.is_recorded("HTTP_PROXY")


def test_unused() -> None:
    arguments = BuildArguments({"b": "1", "a": "2", "used": "3", "no_proxy": "x"})
    arguments.begin_stage().declare("used", None)
    assert arguments.unused() == ["a", "b"]
