"""Where a server listens: what cannot be is told in one line, before models are loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otherwise.cli import build, run
from otherwise.cli.door import proxies, tls
from otherwise.errors import OtherwiseError


def make_certificate(folder: Path, name: str, days: int = 10, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for localhost that has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(names)
        .issuer_name(names)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    certificate, file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file.write_bytes(secret)
    return certificate, file


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
    ("words", "told"),
    [
        (["--proxy", "10.0.0.2"], "--tokens"),
        (["--certificate", "missing.pem"], "--key"),
        (["--certificate", "missing.pem", "--key", "missing.key"], "cannot be read"),
        (["--log", "xml"], "--log"),
    ],
)
def test_serve_does_not_start(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MONAI_LABEL_AUTH_ENABLE", raising=False)

    assert run(build, ["serve", "--studies", str(tmp_path), *words]) == 2
    assert told in capsys.readouterr().err
