"""Where a server listens: what cannot be is told in one line, before models are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from otherwise.cli import build, run
from otherwise.cli.options.network import proxies, tls
from otherwise.errors import OtherwiseError
from support.certificates import make_certificate


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a")

    assert tls(certificate, key) == {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    assert tls(None, None) == {}


def test_certificates_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a")
    _, another = make_certificate(tmp_path, "b")
    _, locked = make_certificate(tmp_path, "c", password=b"secret")
    text = tmp_path / "text"
    text.write_text("no certificate")

    for pair in (
        (certificate, another),
        (certificate, locked),
        (certificate, None),
        (None, key),
        (text, key),
        (certificate, text),
        (tmp_path / "nothing", key),
    ):
        with pytest.raises(OtherwiseError) as caught:
            tls(*pair)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_forwarded_headers_are_believed_of_nobody_unless_named() -> None:
    assert proxies([]) == {"proxy_headers": False, "forwarded_allow_ips": []}
    assert proxies(["10.0.0.2", "10.1.0.0/16"])["forwarded_allow_ips"] == ["10.0.0.2", "10.1.0.0/16"]
    for wrong in ("*", "proxy.example", ""):
        with pytest.raises(OtherwiseError):
            proxies([wrong])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--proxy", "10.0.0.2"], "--tokens"),
        (["--certificate", "missing.pem"], "--key"),
        (["--certificate", "missing.pem", "--key", "missing.key"], "cannot be read"),
        (["--log", "xml"], "--log"),
    ],
)
def test_serve_does_not_start(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MONAI_LABEL_AUTH_ENABLE", raising=False)

    assert run(build, ["serve", "--studies", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
