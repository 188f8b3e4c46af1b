from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands.template import Template, TemplateError, structured

CONTAINER = {
    "Id": "0123456789abcdef",
    "State": {"Status": "running", "Running": True, "ExitCode": 0, "Error": ""},
    "Config": {"Cmd": ["sh", "-c", "ls"], "Labels": {"b": "2", "a": "1"}, "Env": None, "Volumes": None},
    "NetworkSettings": {
        "Ports": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "9/udp": None,
        }
    },
    "HostConfig": {"PidsLimit": None, "LogConfig": {"Type": "json-file", "Config": {}}, "Memory": 1048576},
    "Size": 1.5,
}


def render(template: str) -> str:
    return Template(template).render(structured(CONTAINER))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.State.Status}}", "running"),
        ("is {{ .State.Status }}!", "is running!"),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080} {:: 8080}] 9/udp:[]]"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .NetworkSettings.Ports "80/tcp" 1 }}', "{:: 8080}"),
        ('{{index .Config.Labels "a"}}', "1"),
        ("{{.Config.Labels}} {{.Config.Labels.nope}}", "map[a:1 b:2] <no value>"),
        ("{{json .Config.Labels}}", '{"b":"2","a":"1"}'),
        ("{{json .Config.Env}}", "null"),
        ("{{.Config.Env}}{{.Config.Volumes}}{{.HostConfig.PidsLimit}}", "[]map[]<nil>"),
        ("{{.HostConfig.LogConfig}}", "{json-file map[]}"),
        ("{{.Config.Healthcheck}}", "<nil>"),
        ("{{if .State.Health}}has one{{else}}none{{end}}", "none"),
        ("{{.State}}", "{running true 0 }"),
        ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<sh><-c><ls>"),
        ("{{range $i, $word := .Config.Cmd}}{{$i}}={{$word}} {{end}}", "0=sh 1=-c 2=ls "),
        ("{{range $port, $to := .NetworkSettings.Ports}}{{$port}}:{{len $to}} {{end}}", "80/tcp:2 9/udp:0 "),
        ("{{range .Config.Env}}x{{else}}empty{{end}}", "empty"),
        ('{{with .Config}}{{join .Cmd " "}}{{end}}', "sh -c ls"),
        ("{{if .State.Running}}up{{else if .State.Error}}bad{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}up{{else if eq .State.ExitCode 0}}fine{{else}}down{{end}}", "fine"),
        ("{{len .Config.Cmd}} {{len .Id}}", "3 16"),
        ('{{.Id | printf "%.4s" | upper}}', "0123"),
        ('{{printf "%-6s|%5d|%q|%v|%%" "ab" 7 "x" true}}', 'ab    |    7|"x"|true|%'),
        ("{{truncate .Id 4}} {{slice .Id 0 2}}", "0123 01"),
        ('{{title "a b"}} {{lower "AB"}} {{index (split "a,b" ",") 1}} {{pad "x" 1 2}}.', "A B ab b  x  ."),
        ('{{println 1 2}}{{print 1 2}}{{print "a" "b"}}', "1 2\n1 2ab"),
        ('{{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{ge 1 2}} {{and 1 0}} {{or "" 3}}', "true true true false 0 3"),
        ("{{$x := .Id}}{{$x}}", "0123456789abcdef"),
        ("{{$.Id}}", "0123456789abcdef"),
        ("a  {{- 1 -}}  b", "a1b"),
        ("{{/* nothing */}}x", "x"),
        ('{{`raw \\n`}}{{"tab\\t"}}', "raw \\ntab\t"),
        ('{{.Size}} {{.HostConfig.Memory}} {{true}} {{nil | printf "%v"}}', "1.5 1048576 true <nil>"),
    ],
)
def test_a_template_prints_what_go_prints(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Id", "unclosed action"),
        ("{{}}", "missing value for command"),
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{if .Id}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{.Id | }}", "missing value for command"),
        ('{{"open}}', "unterminated quoted string"),
        ("{{(.Id}}", "unclosed left paren"),
        ("{{nope .Id}}", 'function "nope" not defined'),
        ("{{.Nope}}", 'map has no entry for key "Nope"'),
        ("{{.Id.Nope}}", "can't evaluate field Nope in type string"),
        ("{{index .Config.Cmd 9}}", "index out of range: 9"),
        ('{{index .Config.Cmd "a"}}', "cannot index slice/array with type string"),
        ("{{len 3}}", "len of type int"),
        ("{{range 3.5}}x{{end}}", "range can't iterate over 3.5"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{.Id .State}}", "can't give argument to non-function"),
        ('{{template "x"}}', "not supported here"),
        ("{{upper 1}}", "wrong arguments for upper"),
    ],
)
def test_a_wrong_template_says_why(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as raised:
        render(template)
    assert message in str(raised.value)


@given(st.text(alphabet='{}.$|()"`ab 1-/*rangeifendelse', max_size=30))
def test_any_text_renders_or_raises_the_one_error(source: str) -> None:
    with contextlib.suppress(TemplateError):
        assert isinstance(render(source), str)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_as_it_was(source: str) -> None:
    assert render(source) == source
