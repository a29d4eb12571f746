"""Every fault is one line: the place, what was found, what is allowed; and never a secret."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from portal.runtime.ops.keys import is_placeholder, weakness
from portal.runtime.ops.settings import load
from portal.shared.errors import ConfigurationError

KEY = "Zk3-Qp9_vT7xLm2wRb5n"


def faults(
    tmp_path: Path,
    toml: str | bytes | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: object,
) -> list[str]:
    if toml is not None:
        raw = toml if isinstance(toml, bytes) else toml.encode()
        (tmp_path / "portal.toml").write_bytes(raw)
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(ConfigurationError) as caught:
        load(environ={"HOME": str(tmp_path), **(environ or {})}, cwd=tmp_path, overrides=given)
    return str(caught.value).split("\n")


BACKEND = '[[backends]]\nname = "a"\nkind = "ollama"\nurl = "http://a"\n'
RULE = "[[rules]]\nname = 'a'\npattern = 'p'\ntarget = 't'\n"
MODEL = "[[models]]\nname = 'a/b'\n"


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            '[server]\nport = "http"',
            'server.port is "http", expected a whole number from 0 to 65535',
        ),
        ("[server]\nport = 70000", "server.port is 70000, expected a whole number from 0 to 65535"),
        ("[server]\nport = true", "server.port is true, expected a whole number from 0 to 65535"),
        ("[server]\nport = 1.5", "server.port is 1.5, expected a whole number from 0 to 65535"),
        ("[server]\nport = 2020-01-01", "server.port is a date or time, expected a whole number"),
        ("[server]\nport = [1]", "server.port is a list, expected a whole number from 0 to 65535"),
        ("[server]\nport = {a = 1}", "server.port is a table, expected a whole number"),
        ("[server]\nprobe = 1", "server.probe is 1, expected true or false"),
        ("[server]\nbody_seconds = 0", "server.body_seconds is 0, expected a number above 0"),
        ("[server]\nbody_seconds = nan", "server.body_seconds is nan, expected a number above 0"),
        ("[server]\nbody_seconds = inf", "server.body_seconds is inf, expected a number above 0"),
        ("[server]\nallowed_hosts = 'a'", 'allowed_hosts is "a", expected a list of texts'),
        (
            "[server]\nallowed_hosts = ['https://a']",
            'allowed_hosts is ["https://a"], expected host',
        ),
        ("[server]\nhost = 'http://a'", 'host is "http://a", expected an address or host name'),
        ("[server]\nhost = 'localhost:80'", "expected an address or host name alone"),
        ("[server]\nhost = ''", 'server.host is "", expected an address or host name'),
        ("[embedded]\nthreads = 0x" + "f" * 4000, "threads is a very large number, expected"),
        ("[embedded]\nthreads = 4294967296", "expected a whole number ≥ 0, at most 2147483647"),
        ("[workspaces.auto]\ntemperature = 3", "temperature is 3, expected a number from 0 to 2"),
        ("server = 5", "server is a number, expected a table"),
        ("server = 'sk-abcdef'", "server is text, expected a table"),
        ("workspaces = 5", "workspaces is a number, expected a table of tables"),
        ("workspaces.auto = 5", "workspaces.auto is a number, expected a table"),
        ("[workspaces.'A b']", 'workspaces."A b": the id is not allowed, expected a name of small'),
        ("[backends.a]", "backends is a table, expected a list of tables"),
        ("backends = ['a']", "backends is a list, expected a list of tables"),
        ("data_dir = 5", "data_dir is 5, expected a path"),
        ("data_dir = ''", 'data_dir is "", expected a path'),
        ("data_dir = '$HOME/a'", "expected a path: variables are not replaced, `~` is"),
        ("data_dir = '~bob/a'", "expected a path: `~/…` is your own home directory"),
        ('data_dir = "a\\u0000b"', "expected text without control characters"),
        ("data_dir = 'd'\nstate_dir = 'd/s'", "inside data_dir"),
        ("data_dir = 'd'\nstate_dir = 'd'", "inside data_dir"),
        ("data_dir = '/'", "inside data_dir"),
        ("prot = 1", "unknown key prot; did you mean server.port?"),
        ("[server]\nprot = 1", "unknown key server.prot; did you mean server.port?"),
        ("[server]\nPort = 1", "unknown key server.Port; did you mean server.port?"),
        ("[Server]\nport = 1", "unknown key Server; did you mean server?"),
        ("[server]\napi-key = 1", "unknown key server.api-key; did you mean auth.api_key?"),
        ("[server]\n'ö ö' = 1", 'unknown key server."ö ö"; allowed here: host, port,'),
        ("[workspaces.a.b.c]\nd = 1", "unknown key workspaces.a.b; allowed here: description"),
        ("dynaconf_merge = true", "unknown key dynaconf_merge; allowed here: data_dir"),
        ("[server]\ndynaconf_include = 'x'", "unknown key server.dynaconf_include; allowed here"),
        ("[[backends]]\nname = 'a'", 'backends[a].kind is missing, expected "ollama" or'),
        ("[[backends]]\nname = 5", "backends[#1].name is 5, expected a name of small letters"),
        ('[[backends]]\nname = "a\\n"', 'backends[#1].name is "a\\u000a", expected a name'),
        (BACKEND + "urll = 1", "backends[a]: unknown key urll; did you mean backends.url?"),
        (BACKEND.replace("ollama", "olama"), 'kind is "olama", expected "ollama" or "openai"'),
        (BACKEND.replace('"a"', '"A"'), 'backends[A].name is "A", expected a name of small'),
        (BACKEND * 2, '2 backends are named "a", expected a name of its own for each'),
        (BACKEND.replace('"a"', '"embedded"'), 'a backend is named "embedded", which Portal keeps'),
        (BACKEND.replace("http://a", "a:80"), 'url is "a:80", expected an address such as'),
        (BACKEND.replace("http://a", "ftp://a"), 'url is "ftp://a", expected an address such as'),
        (BACKEND.replace("http://a", "http://"), 'url is "http://", expected an address such as'),
        (BACKEND.replace("http://a", "http://a b"), "expected an address such as"),
        (BACKEND.replace("http://a", "http://a:0"), "expected an address such as"),
        (BACKEND.replace("http://a", "http://a:70000"), "expected an address such as"),
        (BACKEND.replace("http://a", "http://[::1"), "expected an address such as"),
        (BACKEND + 'api_key = "a b"', "api_key is ****, expected visible ASCII characters"),
        ("[auth]\napi_key = 'short-1234'", "api_key is ****, expected a random key of 16"),
        ("[auth]\napi_key = 5", "auth.api_key is ****, expected text"),
        ("router_token = ['x']", "router_token is ****, expected text"),
        ("[auth]\nrequired = 'yes'", 'auth.required is "yes", expected true or false'),
    ],
)
def test_a_wrong_file_gives_one_line_that_names_place_and_remedy(
    tmp_path: Path, toml: str, line: str
) -> None:
    said = [said for said in faults(tmp_path, toml) if line in said]
    assert len(said) == 1, faults(tmp_path, toml)
    assert said[0].startswith("portal.toml: ")


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            "[routing]\nstrategy = 'best'",
            'is "best", expected "auto", "balanced", "cost_optimized"',
        ),
        ("[routing]\nconnect_retries = 11", "is 11, expected a whole number from 0 to 10"),
        ("[routing]\nclassifier_model = ' '", 'is " ", expected text that is not blank'),
        ("[breaker]\nhalf_open = 0", "half_open is 0, expected a whole number ≥ 1"),
        (
            "[breaker]\nmax_recovery_seconds = 5",
            "max_recovery_seconds is 5, expected at least breaker.recovery_seconds, which is 15",
        ),
        (
            "[breaker]\nrecovery_seconds = 400",
            "recovery_seconds is 400, expected at most breaker.max_recovery_seconds, which is 300",
        ),
        (
            "[breaker]\nrecovery_seconds = 2\nmax_recovery_seconds = 1.5",
            "max_recovery_seconds is 1.5, expected at least breaker.recovery_seconds, which is 2",
        ),
        ("[load]\nqueue = -1", "load.queue is -1, expected a whole number ≥ 0"),
        (BACKEND + "priority = -101", "priority is -101, expected a whole number from -100 to 100"),
        (BACKEND + "pool_seconds = 0", "pool_seconds is 0, expected a number above 0"),
        (BACKEND + "ca_file = 5", "ca_file is 5, expected a path"),
        (MODEL + "capabilities = 'code'", 'is "code", expected a list of "code", "embedding"'),
        (
            MODEL + "capabilities = ['vison']",
            'capabilities is ["vison"], expected a list of "code"',
        ),
        (MODEL + "capabilities = [1]", 'capabilities is a list, expected a list of "code"'),
        (MODEL + "speed = 'quick'", 'speed is "quick", expected "fast", "medium" or "slow"'),
        (MODEL + "cost = -1", "models[a/b].cost is -1, expected a number ≥ 0"),
        (MODEL + "quality = 101", "quality is 101, expected a whole number from 0 to 100"),
        (MODEL * 2, '2 models are named "a/b", expected a name of its own for each'),
        (MODEL.replace("a/b", ""), 'models[#1].name is "", expected `<backend>/<model>`'),
        (MODEL.replace("a/b", "qwen3"), "expected `<backend>/<model>`, such as ollama/qwen3:8b"),
        ("[[models]]\ncost = 1", "models[#1].name is missing, expected text"),
        (RULE * 3, '3 rules are named "a", expected a name of its own for each'),
        (RULE.replace("'a'", "'A'"), 'rules[A].name is "A", expected a name of small letters'),
        (RULE.replace("'t'", "''"), 'rules[a].target is "", expected text that is not blank'),
        (RULE.replace("'p'", "' '"), 'rules[a].pattern is " ", expected a regular expression'),
        (
            RULE.replace("'p'", "'what?(drop|'"),
            'is "what?(drop|", expected a regular expression, but it breaks at character 6: ',
        ),
        (
            RULE.replace("'p'", "'a@(?L)'"),
            'pattern is "a@(?L)", expected a regular expression, but',
        ),
        (RULE.replace("'p'", "'a{9999999999}'"), "but it breaks: the repetition number is too"),
        (RULE.replace("'p'", f"'{'(' * 9999}'"), "expected a regular expression"),
        (RULE + "priority = 1.5", "rules[a].priority is 1.5, expected a whole number"),
        (RULE + "priority = -99999999999", "expected a whole number, at least -2147483647"),
        (RULE + "targets = 1", "rules[a]: unknown key targets; did you mean rules.target?"),
        ("[rules]\nname = 'a'", "rules is a table, expected a list of tables"),
        ("[workspaces.a]\nmodel = ' '", 'workspaces.a.model is " ", expected text that is not'),
        ("[workspaces.a]\nfallback = ['b', '']", 'fallback is ["b", ""], expected texts that are'),
        ("[workspaces.a]\ntrim = 'newest'", 'trim is "newest", expected "never" or "oldest"'),
        ("[workspaces.a]\nrequire = ['embedding']", 'is ["embedding"], expected what a model can'),
        ("[workspaces.a]\nprefer = ['embedding']", 'in a chat, and so without "embedding"'),
        ("[workspaces.'a/b']", 'workspaces."a/b": the id is not allowed, expected a name of small'),
        ("[workspaces.'a;b']", 'workspaces."a;b": the id is not allowed, expected a name of small'),
        ("[workspaces.'..']", 'workspaces."..": the id is not allowed, expected a name of small'),
        ("[workspaces.'-']", "workspaces.-: the id is not allowed, expected a name of small"),
    ],
)
def test_a_wrong_way_to_route_gives_one_line_that_names_place_and_remedy(
    tmp_path: Path, toml: str, line: str
) -> None:
    said = faults(tmp_path, toml)
    assert len(said) == 1, said
    assert line in said[0]
    assert said[0].startswith("portal.toml: ")


@pytest.mark.parametrize(
    "pattern", ["[[a]", "a|", "(?i:x)", r"\b(select|insert)\b", "[a-z&&x]", "ü+", ".*"]
)
def test_a_pattern_that_python_reads_is_taken(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "portal.toml").write_text(RULE.replace("'p'", f"'{pattern}'"), encoding="utf-8")
    loaded = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.settings.rules[0].pattern == pattern


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PORTAL_SERVER__PORT", "http", 'is "http", expected a whole number from 0 to 65535'),
        ("PORTAL_SERVER__PORT", "0x10", 'is "0x10", expected a whole number from 0 to 65535'),
        ("PORTAL_SERVER__PROBE", "yes", 'is "yes", expected true or false'),
        ("PORTAL_SERVER__BODY_SECONDS", "nan", 'is "nan", expected a number above 0'),
        ("PORTAL_SERVER__BODY_SECONDS", "inf", 'is "inf", expected a number above 0'),
        ("PORTAL_SERVER__ALLOWED_HOSTS", "[1]", "expected a list: JSON, or separated by commas"),
        ("PORTAL_SERVER__ALLOWED_HOSTS", "[", "expected a list: JSON, or separated by commas"),
        ("PORTAL_SERVER__HOST", "a\udc80", 'is "a\\udc80", expected text without control'),
        ("PORTAL_AUTH__API_KEY", "changeme", "is ****, expected a random key instead of a"),
        ("PORTAL_BACKENDS", "http://x", "is text, expected a JSON list of objects"),
        ("PORTAL_BACKENDS", '{"name": "a"}', "is text, expected a JSON list of objects"),
        ("PORTAL_BACKENDS", "[" * 100_000, "is text, expected a JSON list of objects"),
        ("PORTAL_BACKENDS", '[{"name": "a"}]', "[a].url is missing, expected text"),
        ("PORTAL_WORKSPACES", "[]", "is text, expected a JSON object of tables by id"),
        ("PORTAL_WORKSPACES", '{"a": 1}', ": workspaces.a is a number, expected a table"),
        ("PORTAL_WORKSPACES__AUTO__MAX_TOKENS", "0", 'is "0", expected a whole number ≥ 1'),
        ("PORTAL_ROUTING__STRATEGY", "best", 'is "best", expected "auto", "balanced",'),
        ("PORTAL_BREAKER__RECOVERY_SECONDS", "400", "is 400, expected at most breaker.max_recov"),
        (
            "PORTAL_WORKSPACES__A__REQUIRE",
            "code,vison",
            'is "code,vison", expected a list of "code"',
        ),
        ("PORTAL_WORKSPACES__A__REQUIRE", "vison", '"vision": JSON, or separated by commas'),
        (
            "PORTAL_WORKSPACES__A__REQUIRE",
            '["embedding"]',
            "expected what a model can do in a chat",
        ),
        ("PORTAL_WORKSPACES__A__TRIM", "x", 'is "x", expected "never" or "oldest"'),
        ("PORTAL_RULES", "secret", "is text, expected a JSON list of objects"),
        ("PORTAL_RULES", '[{"name": "a", "pattern": "("}]', "[a].target is missing, expected text"),
        (
            "PORTAL_RULES",
            '[{"name": "a", "pattern": "("}]',
            '[a].pattern is "(", expected a regular',
        ),
        ("PORTAL_MODELS", '[{"name": "a/b", "quality": "9"}]', '[a/b].quality is "9", expected a'),
        ("PORTAL_MODELS", '[{"name": "a/b"}, {"name": "a/b"}]', ': 2 models are named "a/b", exp'),
        ("PORTAL_CONFIG", "gone.toml", " names"),
        ("OLLAMA_HOST", "ftp://a", 'is "ftp://a", expected an address such as 127.0.0.1:11434'),
        ("OLLAMA_HOST", "http://u:secret@a:1", 'is "http://****@a:1", expected an address'),
    ],
)
def test_a_wrong_variable_gives_one_line_that_names_it(
    tmp_path: Path, name: str, value: str, line: str
) -> None:
    (tmp_path / ".env").unlink(missing_ok=True)
    said = faults(tmp_path, environ={name: value})
    assert any(line in text and name in text for text in said), said
    assert "secret" not in "".join(said)
    "\n".join(said).encode()


def test_a_wrong_dotenv_value_names_the_file_and_the_variable(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORTAL_SERVER__PORT=x\n", encoding="utf-8")
    assert faults(tmp_path) == [
        '.env: PORTAL_SERVER__PORT is "x", expected a whole number from 0 to 65535'
    ]


def test_a_wrong_option_names_the_command_line(tmp_path: Path) -> None:
    assert faults(tmp_path, server__port=99999) == [
        "command line: server.port is 99999, expected a whole number from 0 to 65535"
    ]
    assert faults(tmp_path, server__prt=1) == ['command line: unknown key "server.prt"']


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    toml = '[server]\nport = "x"\nhots = 1\n[[backends]]\nname = "a"\nkind = "x"\n'
    said = faults(tmp_path, toml, {"PORTAL_AUTH__API_KEY": "secret", "OLLAMA_HOST": "ftp://x"})
    assert len(said) == 6
    assert all("expected" in line or "did you mean" in line for line in said)


def test_very_many_faults_are_cut_short(tmp_path: Path) -> None:
    said = faults(tmp_path, "[server]\n" + "".join(f"zz{n} = 1\n" for n in range(500)))
    assert len(said) == 21
    assert said[-1] == "and 480 more"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"[server\nport = 1", "portal.toml: line 1, column 8: not valid TOML: "),
        (b"a = 1\nb = \n", "portal.toml: line 2, column 5: not valid TOML: invalid value"),
        (b"a = [1,", "portal.toml: end of file: not valid TOML: "),
        (b"a = 1\na = 2\n", "portal.toml: line 2, column 6: not valid TOML: cannot overwrite"),
        (b"a = 1\n\xff", "portal.toml: line 2 is not UTF-8 text"),
        (b"a = 1\n\0", "portal.toml: line 2 has a NUL character, expected text"),
        (b"a = " + b"[" * 100_000, "portal.toml is nested too deeply"),
        (b"a = " + b"9" * 5_000, "portal.toml is not valid TOML: "),
        (b"#" * (1024 * 1024 + 1), "portal.toml is over 1048576 bytes, expected a small text"),
    ],
)
def test_an_unreadable_file_names_the_line(tmp_path: Path, raw: bytes, line: str) -> None:
    said = faults(tmp_path, raw)
    assert len(said) == 1
    assert said[0].startswith(line)


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").mkdir()
    assert faults(tmp_path) == ["portal.toml is a directory, expected a file"]


def test_a_missing_named_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.toml does not exist.*--config names"):
        load(Path("a.toml"), environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert faults(tmp_path, environ={"PORTAL_CONFIG": "~/b.toml"}) == [
        "b.toml does not exist, expected the configuration file that PORTAL_CONFIG names"
    ]


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert faults(tmp_path) == [".env cannot be read: Permission denied"]


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"# nothing\n", b"\xef\xbb\xbf[server]\nport = 8081\n"]
)
def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "portal.toml").write_bytes(raw)
    loaded = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.settings.server.port == 8081


def test_state_behind_a_link_into_the_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    said = faults(tmp_path, "data_dir = 'data'\nstate_dir = 'link/state'\n")
    assert "inside data_dir" in said[0]


def test_without_a_home_the_data_directory_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("nobody knows")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(ConfigurationError, match="expected PORTAL_DATA_DIR"):
        load(environ={}, cwd=tmp_path)
    settings = load(environ={"PORTAL_DATA_DIR": "/srv/data"}, cwd=tmp_path).settings
    assert settings.state_dir == Path("/srv/state")


@pytest.mark.parametrize(
    "key",
    [
        "changeme",
        "change-me-change-me",
        "your-key-here",
        "your-api-key-here",
        "<your-secret-key>",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-your-key-goes-here",
        "secret",
        "secretsecretsecret",
        "password",
        "MySecretPassword123",
        "aaaaaaaaaaaaaaaaaaaa",
        "abababababababababab",
        "0000000000000000",
        "1234567890123456",
        "abcdefghijklmnopqrst",
        "put-your-token-here-123",
    ],
)
def test_placeholders_are_no_keys(key: str) -> None:
    assert is_placeholder(key)
    assert weakness(key) is not None


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "4839201748392017",
        "9f86d081884c7d65",
        "correct-horse-battery-staple",
        "k!9$Z%q&2(w)8*r+",
    ],
)
def test_real_keys_are_accepted(key: str) -> None:
    assert weakness(key) is None
