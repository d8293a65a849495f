"""Settings of TLS that cannot be right: which file, what is wrong with it, and what would do."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pounce.config import Config
from pounce.errors import EXIT_CONFIG, PounceError, UsageError
from pounce.https import need_together
from pounce.tls import load_tls
from tests.support.certificates import Authority, Pair
from tests.support.command import environment, move_to, run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
ORIGINS: Final = {"certfile": "--certfile", "keyfile": "--keyfile"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    move_to(tmp_path, monkeypatch)
    return tmp_path


def refusal(**settings: object) -> str:
    with pytest.raises(PounceError) as caught:
        load_tls(Config(app="main:app", **settings), ORIGINS)  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_CONFIG
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files(pair: Pair) -> dict[str, tuple[str, ...]]:
    return {"certfile": (str(pair.cert),), "keyfile": (str(pair.key),)}


def missing(path: Path) -> None:
    path.unlink()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def junk(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def damaged(path: Path) -> None:
    kind = "CERTIFICATE" if path.suffix == ".pem" else "PRIVATE KEY"
    path.write_text(f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n")


PEM_CERTIFICATE: Final = "a file that begins with a certificate in PEM (BEGIN CERTIFICATE)"
PEM_KEY: Final = "a file with a private key in PEM (BEGIN PRIVATE KEY)"


@pytest.mark.parametrize(
    ("spoil", "certfile", "keyfile"),
    [
        (missing, "(no such file or directory)", "(no such file or directory)"),
        (directory, "(is a directory)", "(is a directory)"),
        (empty, PEM_CERTIFICATE, PEM_KEY),
        (junk, PEM_CERTIFICATE, PEM_KEY),
        (damaged, PEM_CERTIFICATE, "a private key that openssl can read"),
    ],
)
def test_a_file_that_is_no_good_is_named(
    authority: Authority, spoil: Callable[[Path], None], certfile: str, keyfile: str
) -> None:
    pair = authority.issue()
    spoil(pair.cert)
    said = refusal(**files(pair))
    assert said.startswith(f"certfile is '{pair.cert}' (from --certfile); it must be ")
    assert certfile in said

    shutil.rmtree(pair.cert) if pair.cert.is_dir() else None
    pair = authority.issue()
    spoil(pair.key)
    said = refusal(**files(pair))
    assert said.startswith(f"keyfile is '{pair.key}' (from --keyfile); it must be ")
    assert keyfile in said


def test_a_key_of_another_certificate_is_told(authority: Authority) -> None:
    pair, other = authority.issue(), authority.issue("other")
    said = refusal(certfile=(str(pair.cert),), keyfile=(str(other.key),))
    assert said == (
        f"keyfile is '{other.key}' (from --keyfile); it must be the private key of the "
        f"certificate in {pair.cert} (it is another's)"
    )


def test_a_certfile_without_a_key_is_told_what_is_missing(authority: Authority) -> None:
    pair = authority.issue()
    assert refusal(certfile=(str(pair.cert),)).endswith(f"{PEM_KEY}, where no keyfile is given")
    pair.cert.write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    assert load_tls(Config(app="main:app", certfile=(str(pair.cert),))).sites[0].pem == pair.pem


def test_a_password_comes_from_a_file_or_a_command_and_never_from_the_command_line(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue(password="häslich pass")
    assert refusal(**files(pair)).endswith(
        "it must be a private key without a password, or go with keyfile_password_file or "
        "keyfile_password_command"
    )
    secret = tmp_path / "secret"
    secret.write_text("häslich pass\nmore\n")
    good = {"keyfile_password_file": str(secret)}, {"keyfile_password_command": f"cat {secret}"}
    for settings in good:
        assert load_tls(Config(app="main:app", **files(pair), **settings))  # type: ignore[arg-type]
    secret.write_text("wrong\n")
    for settings in good:
        said = refusal(**files(pair), **settings)
        assert said.endswith(f"a private key that the password from {next(iter(settings))} opens")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keyfile_password_file": "none"}, "a file that can be read (no such file or directory)"),
        ({"keyfile_password_file": "/dev/null"}, "whose first line is a password"),
        ({"keyfile_password_command": "no-such-program"}, "(No such file or directory)"),
        ({"keyfile_password_command": "false"}, "(it ended with status 1)"),
        ({"keyfile_password_command": "true"}, "whose first line is a password"),
        ({"keyfile_password_command": "'"}, "(it is no command line)"),
    ],
)
def test_a_password_that_cannot_be_had_is_told(
    authority: Authority, settings: dict[str, str], said: str
) -> None:
    assert said in refusal(**files(authority.issue(password="pass")), **settings)


def test_a_password_is_not_looked_for_where_no_key_wants_one(authority: Authority) -> None:
    settings = {**files(authority.issue()), "keyfile_password_command": "no-such-program"}
    assert load_tls(Config(app="main:app", **settings))  # type: ignore[arg-type]


def test_ciphers_and_authorities_that_openssl_does_not_know_are_told(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue()
    assert "see: openssl ciphers -v" in refusal(**files(pair), tls_ciphers="NOPE")
    (tmp_path / "no-ca").write_text("nobody\n")
    said = refusal(**files(pair), client_ca=str(tmp_path / "no-ca"))
    assert said.endswith("it must be a file of certificates in PEM (BEGIN CERTIFICATE)")


def test_one_that_is_not_good_today_is_served_with_a_warning(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    old = authority.issue("old", days=-1, begins=-5)
    new = authority.issue("new", days=5, begins=2)
    for pair in (old, new):
        assert load_tls(Config(app="main:app", **files(pair)))  # type: ignore[arg-type]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"certificate has expired file={old.cert} at=")
    assert second.startswith(f"certificate is not valid yet file={new.cert} from=")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keyfile": ("k",)}, "keyfile (from --x) is for https, which needs a certfile"),
        ({"client_ca": "ca"}, "client_ca (from --x) is for https, which needs a certfile"),
        ({"insecure_bind": (":80",)}, "insecure_bind (from --x) is for https, which needs a"),
        ({"hsts": 5}, "hsts (from --x) is for https, which needs a certfile"),
        (
            {"certfile": ("a", "b"), "keyfile": ("a",)},
            "certfile (from --x) names 2 files and keyfile (from --x) 1; there must be a keyfile "
            "for each certfile, or none where the certfiles hold the keys",
        ),
        (
            {"certfile": ("a",), "keyfile_password_file": "f", "keyfile_password_command": "c"},
            "keyfile_password_file (from --x) and keyfile_password_command (from --x) both say",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    settings: dict[str, object], said: str
) -> None:
    config = Config(app="main:app", **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        need_together(config, dict.fromkeys(settings, "--x"))
    assert str(caught.value).startswith(said)


def test_a_start_with_a_wrong_file_is_one_line_and_status_2(here: Path) -> None:
    done = run("main:app", "--certfile", "none.pem", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "pounce: certfile is 'none.pem' (from --certfile); it must be a file that can be read "
        "(no such file or directory)"
    )
    assert "Traceback" not in done.stderr


@needs_root
def test_a_key_that_only_root_may_read_is_refused_where_root_does_not_stay(
    here: Path,
) -> None:
    """What could be read at the start alone would fail the first reload."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        pair = Authority(Path(folder)).issue()
        pair.key.chmod(0o600)
        done = run("main:hello", *pair.options, "--port", "0", "--user", "nobody")
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "it must be a file that can be read (permission denied); it is read by uid 65534" in last


def test_check_says_for_whom_certificates_are_and_until_when(
    authority: Authority, here: Path
) -> None:
    first = authority.issue("first", names=("example.com", "*.example.com"), days=20)
    old = authority.issue("old", days=-1, begins=-5)
    done = run("check", "main:lived", "--port", "0", *first.options, *old.options)
    assert done.returncode == 0, done.stderr
    until = first.x509.not_valid_after_utc
    assert (
        f"certificate {first.cert} for example.com, *.example.com until {until:%Y-%m-%d}, "
        "19 days left\n"
    ) in done.stdout
    assert f"certificate {old.cert} for localhost, 127.0.0.1, ::1 until " in done.stdout
    assert "address https://127.0.0.1:0\n" in done.stdout
    assert "certificate has expired" in done.stderr


def test_check_refuses_what_serving_would(authority: Authority, here: Path) -> None:
    pair, other = authority.issue(), authority.issue("other")
    done = run("check", "main:lived", "--certfile", str(pair.cert), "--keyfile", str(other.key))
    assert done.returncode == 2
    assert done.stderr.endswith(f"certificate in {pair.cert} (it is another's)\n")


def test_dev_cert_makes_what_serves_and_is_trusted_for_its_names(here: Path) -> None:
    done = run("dev-cert", "--dir", "made")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "certificate for localhost, 127.0.0.1, ::1, for 365 days"
    assert (here / "made/dev-key.pem").stat().st_mode & 0o777 == 0o600
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", "made/dev-cert.pem", "-verify_hostname", "localhost",
         "made/dev-cert.pem"],
        capture_output=True,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout
    before = (here / "made/dev-cert.pem").read_bytes()
    again = run("dev-cert", "--dir", "made")
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already; --replace makes a new one in its place" in again.stderr
    assert (here / "made/dev-cert.pem").read_bytes() == before
    assert run("dev-cert", "--dir", "made", "--replace", "a.example", "10.0.0.1").returncode == 0
    (site,) = load_tls(
        Config(app="main:app", certfile=("made/dev-cert.pem",), keyfile=("made/dev-key.pem",))
    ).sites
    assert site.certificate.names == ("a.example", "10.0.0.1")


def test_dev_cert_without_its_library_says_which_extra_brings_it(
    here: Path,
) -> None:
    (here / "cryptography.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(here), environment()["PYTHONPATH"]])
    done = run("dev-cert", PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr == (
        "pounce: dev-cert needs cryptography, which is not installed; "
        "pip install 'bengal-pounce[dev-cert]' brings it\n"
    )
