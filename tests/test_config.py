"""Settings one by one, and the layers they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from pounce.config import HOST, SETTINGS, Config
from pounce.errors import ConfigError, UsageError
from pounce.settings import Form, Setting, declared, did_you_mean, setting
from pounce.sources import Given, from_environ, from_flags, from_table, resolve


def refusal(name: str, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        SETTINGS[name].read(text, origin="POUNCE_X")
    return str(caught.value)


@pytest.mark.parametrize("one", SETTINGS.values(), ids=list(SETTINGS))
def test_every_setting_has_a_default_it_would_accept_and_a_full_sentence_of_help(
    one: Setting,
) -> None:
    assert one.take(one.default, origin="default") == one.default
    assert one.help.endswith(".")
    assert one.help[0].isupper()
    assert one.group
    assert one.facts.startswith("default: ")
    assert one.placeholder


def test_the_settings_are_those_that_are_documented_with_their_defaults() -> None:
    config = Config()
    assert config.addresses == ("127.0.0.1:8000",)
    assert (config.workers, config.loop, config.http) == (1, "auto", "auto")
    assert (config.shutdown_timeout, config.start_timeout) == (30.0, 60.0)
    assert (config.keep_alive_timeout, config.max_connections) == (75.0, 0)
    assert (config.access_log, config.log_level, config.log_format) == (True, "info", "text")
    assert config.forwarded_allow_ips == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("workers", "4", 4),
        ("workers", "auto", 0),
        ("port", "0", 0),
        ("shutdown_timeout", "2.5", 2.5),
        ("shutdown_timeout", "3", 3.0),
        ("max_body_size", "1048576", 1 << 20),
        ("max_body_size", "1MiB", 1 << 20),
        ("max_body_size", "64 KiB", 64 << 10),
        ("max_body_size", "2GiB", 2 << 30),
        ("access_log", "false", False),
        ("access_log", "OFF", False),
        ("access_log", "no", False),
        ("access_log", "0", False),
        ("reload", "True", True),
        ("reload", "yes", True),
        ("reload", "on", True),
        ("reload", "1", True),
        ("loop", "uvloop", "uvloop"),
        ("host", "::1", "::1"),
        ("host", "[::1]", "[::1]"),
        ("host", "fe80::1%eth0", "fe80::1%eth0"),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("uds_mode", "0600", "0600"),
        ("uds_owner", "www:www", "www:www"),
        ("uds_owner", ":www", ":www"),
        ("uds_owner", "www", "www"),
        ("root_path", "/api/v1", "/api/v1"),
        ("bind", ":80", (":80",)),
        ("bind", ":80, unix:/run/x ,", (":80", "unix:/run/x")),
        ("bind", "", ()),
        (
            "forwarded_allow_ips",
            "10.0.0.0/8,fd00::/8,unix:,*",
            ("10.0.0.0/8", "fd00::/8", "unix:", "*"),
        ),
        ("forwarded_allow_ips", "", ()),
        ("access_log_exclude", "/health,/static/*", ("/health", "/static/*")),
    ],
)
def test_a_text_becomes_the_value_it_stands_for(name: str, text: str, value: object) -> None:
    got = SETTINGS[name].read(text, origin="x")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("workers", "-1", "a whole number from 0 to 512, or auto"),
        ("workers", "513", "a whole number from 0 to 512, or auto"),
        ("workers", "", "a whole number from 0 to 512, or auto"),
        ("workers", "two", "a whole number from 0 to 512, or auto"),
        ("workers", "1_0", "a whole number from 0 to 512, or auto"),
        ("workers", "٤", "a whole number from 0 to 512, or auto"),
        ("workers", " 4", "a whole number from 0 to 512, or auto"),
        ("workers", "1KiB", "a whole number from 0 to 512, or auto"),
        ("workers", "9" * 5000, "a whole number from 0 to 512, or auto"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number from 0 to 65535"),
        ("max_headers", "0", "a whole number, 1 or more"),
        ("max_body_size", "1MB", "a number of bytes, 0 or more, such as 65536 or 64KiB"),
        ("max_body_size", "-1", "a number of bytes, 0 or more, such as 65536 or 64KiB"),
        ("keep_alive_timeout", "nan", "a number of seconds, 0 or more"),
        ("keep_alive_timeout", "inf", "a number of seconds, 0 or more"),
        ("keep_alive_timeout", "1e3", "a number of seconds, 0 or more"),
        ("keep_alive_timeout", "-1", "a number of seconds, 0 or more"),
        ("keep_alive_timeout", "5s", "a number of seconds, 0 or more"),
        ("start_timeout", "0", "a number of seconds, 0.1 or more"),
        ("reload", "maybe", "true or false"),
        ("reload", "", "true or false"),
        ("loop", "trio", "auto, uvloop or asyncio"),
        ("loop", "UVLOOP", "auto, uvloop or asyncio"),
        *(
            ("host", text, HOST.want)
            for text in ("", "a:80", "unix:/run/x", "http://a", "[::1]:80")
        ),
        ("app", "a\0b", "a text"),
        ("uds_mode", "rw", 'three octal digits as a text, such as "660"'),
        ("uds_mode", "888", 'three octal digits as a text, such as "660"'),
        ("uds_owner", "a:b:c", "user, user:group or :group"),
        ("root_path", "api", "empty, or a path that begins with / and does not end with one"),
        ("root_path", "/api/", "empty, or a path that begins with / and does not end with one"),
    ],
)
def test_a_text_that_will_not_do_is_refused_with_its_origin_and_what_would(
    name: str, text: str, want: str
) -> None:
    assert refusal(name, text) == f"{name} is {text!r} (from POUNCE_X); it must be {want}"


@pytest.mark.parametrize(
    ("name", "text", "item"),
    [
        ("forwarded_allow_ips", "10.0.0.1,10.0.0.1/8", "10.0.0.1/8"),
        ("forwarded_allow_ips", "localhost", "localhost"),
        ("access_log_exclude", "/a,health", "health"),
        ("bind", ":80,a\0b", "a\0b"),
    ],
)
def test_of_a_list_the_item_that_is_wrong_is_named(name: str, text: str, item: str) -> None:
    assert refusal(name, text).startswith(f"{name} is {item!r} (from POUNCE_X); it must be ")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("workers", 4, 4),
        ("workers", "auto", 0),
        ("shutdown_timeout", 5, 5.0),
        ("shutdown_timeout", 0.5, 0.5),
        ("max_body_size", "1MiB", 1 << 20),
        ("reload", True, True),
        ("loop", "asyncio", "asyncio"),
        ("bind", ["[::1]:80", ":81"], ("[::1]:80", ":81")),
        ("bind", (), ()),
        ("bind", ":80", (":80",)),
    ],
)
def test_an_object_of_the_right_type_is_taken(name: str, given: object, value: object) -> None:
    got = SETTINGS[name].take(given, origin="pounce.toml")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("workers", "4"),
        ("workers", 4.0),
        ("workers", True),
        ("workers", -1),
        ("workers", None),
        ("reload", 1),
        ("reload", "yes"),
        ("shutdown_timeout", "5"),
        ("shutdown_timeout", float("nan")),
        ("shutdown_timeout", float("inf")),
        ("shutdown_timeout", False),
        ("max_body_size", "much"),
        ("loop", 3),
        ("uds_mode", 660),
        ("bind", [80]),
        ("bind", 80),
        ("bind", {"host": "x"}),
    ],
)
def test_an_object_of_another_type_or_out_of_limits_is_not_guessed_at(
    name: str, given: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        SETTINGS[name].take(given, origin="pounce.toml")
    assert (caught.value.name, caught.value.origin) == (name, "pounce.toml")
    assert caught.value.value == given or given != given


def test_a_config_that_breaks_its_limits_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match=r"workers is -1 \(from Config\)"):
        Config(workers=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().workers = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({"port": 9000}, ("127.0.0.1:9000",)),
        ({"host": "::1"}, ("[::1]:8000",)),
        ({"host": "[::1]"}, ("[::1]:8000",)),
        ({"bind": (":80", "unix:/x")}, (":80", "unix:/x")),
    ],
)
def test_host_and_port_are_the_short_form_of_bind(
    settings: dict[str, Any], addresses: tuple[str, ...]
) -> None:
    assert Config(**settings).addresses == addresses


def test_a_flag_wins_over_a_variable_over_toml_over_the_default() -> None:
    flags = from_flags({"workers": "2"})
    variables, _ = from_environ({"POUNCE_WORKERS": "3", "POUNCE_BACKLOG": "30", "HOME": "/"})
    table = from_table({"workers": 4, "backlog": 40, "loop": "asyncio"}, origin="pounce.toml")
    resolved = resolve(flags, variables, table)
    config = resolved.config
    assert (config.workers, config.backlog, config.loop, config.http) == (2, 30, "asyncio", "auto")
    assert dict(resolved.origins) == {
        "workers": "--workers",
        "backlog": "POUNCE_BACKLOG",
        "loop": "pounce.toml",
    }
    assert resolved.origin("http") == "default"


@pytest.mark.parametrize(
    ("flags", "value", "origin"),
    [
        ({"access_log": "false"}, False, "--no-access-log"),
        ({"access_log": "true"}, True, "--access-log"),
        ({"reload": "true"}, True, "--reload"),
        ({"reload": "false"}, False, "--no-reload"),
        ({"bind": (":80", ":81")}, (":80", ":81"), "--bind"),
        ({"app": "main:app"}, "main:app", "the command line"),
    ],
)
def test_a_flag_is_named_as_it_was_typed(
    flags: Mapping[str, str | tuple[str, ...]], value: object, origin: str
) -> None:
    assert list(from_flags(flags).values()) == [Given(value, origin)]  # type: ignore[arg-type]


def test_a_wrong_flag_names_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^workers is '-1' \(from --workers\); it must be a "):
        from_flags({"workers": "-1"})


def test_an_unknown_variable_is_a_warning_that_says_what_may_be_meant() -> None:
    layer, warnings = from_environ(
        {
            "POUNCE_WORKER": "3",
            "POUNCE_KEEPALIVE": "5",
            "POUNCE_TIMEOUT": "5",
            "POUNCE_ZZZ": "",
            "pounce_x": "",
        }
    )
    assert layer == {}
    assert warnings == [
        "POUNCE_WORKER is not a setting and is ignored; did you mean POUNCE_WORKERS?",
        "POUNCE_KEEPALIVE is not a setting and is ignored; here it is POUNCE_KEEP_ALIVE_TIMEOUT",
        "POUNCE_TIMEOUT is not a setting and is ignored; here it is POUNCE_WORKER_TIMEOUT for one "
        "that hangs, POUNCE_START_TIMEOUT, POUNCE_SHUTDOWN_TIMEOUT",
        "POUNCE_ZZZ is not a setting and is ignored",
    ]


def test_the_port_that_kubernetes_sets_for_a_service_named_pounce_is_not_taken_for_ours() -> None:
    layer, warnings = from_environ({"POUNCE_PORT": "tcp://10.0.0.1:8000"})
    assert layer == {}
    assert warnings == [
        "POUNCE_PORT=tcp://10.0.0.1:8000 looks set by Kubernetes and is ignored",
    ]


def test_an_unknown_toml_key_is_an_error_that_says_what_may_be_meant() -> None:
    with pytest.raises(UsageError) as near:
        from_table({"worker": 4}, origin="pounce.toml")
    assert str(near.value) == "worker is not a setting (from pounce.toml); did you mean workers?"
    with pytest.raises(UsageError) as far:
        from_table({"zzz": 4}, origin="pounce.toml")
    assert str(far.value) == "zzz is not a setting (from pounce.toml)"


def test_toml_keys_may_have_dashes_but_not_say_one_thing_twice() -> None:
    assert from_table({"log-level": "debug"}, origin="t") == {"log_level": Given("debug", "t")}
    with pytest.raises(UsageError, match=r"^log_level is given twice"):
        from_table({"log-level": "debug", "log_level": "info"}, origin="pounce.toml")


def test_bind_and_port_in_one_place_are_refused_with_both_named() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(from_flags({"bind": (":80",), "port": "81"}))
    assert str(caught.value) == (
        "--bind and --port both say where to listen: bind is :80 and port is 81; give one of them"
    )
    with pytest.raises(UsageError, match="bind is unix:/x and host is ::1"):
        resolve(from_table({"bind": ["unix:/x"], "host": "::1"}, origin="pounce.toml"))


def test_the_stronger_way_to_say_where_to_listen_replaces_the_weaker() -> None:
    file = from_table({"bind": ["unix:/run/x"]}, origin="pounce.toml")
    short = resolve(from_flags({"port": "9000"}), file)
    assert short.config.addresses == ("127.0.0.1:9000",)
    assert "bind" not in short.origins

    file = from_table({"host": "0.0.0.0", "port": 80}, origin="pounce.toml")
    long = resolve(from_flags({"bind": ("unix:/run/x",)}), file)
    assert long.config.addresses == ("unix:/run/x",)
    mixed = resolve(from_flags({"port": "9000"}), file)
    assert mixed.config.addresses == ("0.0.0.0:9000",)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("workers", "default: 1; 0: one for each core that may be used; from 0 to 512"),
        ("max_connections", "default: 0, no limit"),
        ("keep_alive_timeout", "default: 75 seconds; 0: off"),
        ("max_head_size", "default: 65536 bytes"),
        ("reload", "default: no"),
        ("access_log", "default: yes"),
        ("bind", "default: none"),
        ("root_path", "default: none"),
        ("forwarded_allow_ips", "default: 127.0.0.1,::1"),
        ("loop", "default: auto"),
    ],
)
def test_the_facts_of_a_setting_can_be_shown(name: str, facts: str) -> None:
    assert SETTINGS[name].facts == facts


def test_large_numbers_are_shown_in_full() -> None:
    assert SETTINGS["max_body_size"].shown(10_485_760) == "10485760"


def test_names_of_flags_and_variables_follow_from_the_setting() -> None:
    one = SETTINGS["keep_alive_timeout"]
    assert one.flag == "--keep-alive-timeout"
    assert one.off_flag == "--no-keep-alive-timeout"
    assert one.variable == "POUNCE_KEEP_ALIVE_TIMEOUT"
    assert one.placeholder == "SECONDS"
    assert SETTINGS["loop"].placeholder == "auto|uvloop|asyncio"
    assert SETTINGS["workers"].placeholder == "N|auto"


def test_a_setting_without_limits_or_form_says_its_type() -> None:
    @dataclasses.dataclass
    class Loose:
        words: tuple[str, ...] = setting((), group="g", help="h")
        number: int = setting(0, group="g", help="h")
        most: int = setting(0, group="g", help="h", most=5)
        shout: str = setting("A", group="g", help="h", form=Form(str.isupper, "loud"))

    settings = declared(Loose)
    assert settings["words"].want == "a list of texts"
    assert settings["words"].read("a,b", origin="x") == ("a", "b")
    assert settings["number"].want == "a whole number"
    assert settings["number"].read("-5", origin="x") == -5
    assert settings["most"].read("-5", origin="x") == -5
    with pytest.raises(ConfigError, match="it must be loud"):
        settings["shout"].take("quiet", origin="x")


def test_a_near_word_is_offered_and_a_far_one_is_not() -> None:
    assert did_you_mean("prot", ["port", "host"]) == "; did you mean port?"
    assert did_you_mean("ap", ["app"], form="main:{}") == "; did you mean main:app?"
    assert did_you_mean("zebra", ["port", "host"]) == ""
