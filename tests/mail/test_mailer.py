"""Messages reach a real mail server, encrypted and as one reads them, or it is said why not, naming no person."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analytics_server.mail import mailer as mailer_module
from analytics_server.mail.mailer import Mailer, MailNotSent
from analytics_server.mail.texts import MailText, invitation_text, reset_text, trial_text
from analytics_server.settings.sections import MailSection
from tests.http.security.test_tls import make_pair
from tests.mail.smtp import SmtpServer, running

ANNA = "anna@example.org"
SECRET = "the marked password"
TEXT = reset_text("https://stats.example", "https://stats.example/dashboard#invitation=asi_" + "x" * 43, 1_800)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pair(tmp_path_factory.mktemp("mail"), "mail.example")


@pytest.fixture(scope="module")
def context(pair: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    return made


@pytest.fixture(autouse=True)
def trusted(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's authorities are."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))


@pytest.fixture
def plain() -> Iterator[SmtpServer]:
    with running(SmtpServer()) as server:
        yield server


def mailer_of(server: SmtpServer, **changes: Any) -> Mailer:
    settings = {"host": "127.0.0.1", "port": server.port, "tls": "none", "sender": "stats@bücher.example", **changes}
    return Mailer(MailSection(**settings))


async def failure(server: SmtpServer, recipient: str = ANNA, **changes: Any) -> str:
    with pytest.raises(MailNotSent) as caught:
        await mailer_of(server, **changes).send(recipient, TEXT)
    assert server.taken == []
    return caught.value.message


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_message_goes_encrypted_with_the_password_of_a_file(
    tmp_path: Path, context: ssl.SSLContext, at_once: bool
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    with running(SmtpServer(context, at_once, credentials=f"stats {SECRET}")) as server:
        tls = "tls" if at_once else "starttls"
        await mailer_of(server, tls=tls, user="stats", password_file=str(file)).send(ANNA, TEXT)
        (taken,) = server.taken
        assert (taken.sender, taken.recipient, taken.is_encrypted) == ("stats@xn--bcher-kva.example", ANNA, True)
        assert taken.greeting == "xn--bcher-kva.example", "the machine's own name must not be sent"
        message = taken.message
        assert (message["To"], message["From"]) == (ANNA, "stats@xn--bcher-kva.example")
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Date"].datetime.utcoffset().total_seconds() == 0
        assert message["Message-ID"].endswith("@xn--bcher-kva.example>")
        assert message.get_content_type() == "text/plain"
        assert taken.link == "https://stats.example/dashboard#invitation=asi_" + "x" * 43
        assert taken.link.encode() in taken.body, "in one piece, also for who reads it raw"
        assert "within 30 minutes" in taken.text

        wrong = {"user": "stats", "password": "other"}
        server.taken.clear()
        assert await failure(server, tls=tls, **wrong) == "The mail server refused [mail] user and password (535)."


async def test_a_certificate_that_is_not_trusted_or_of_another_host_gets_nothing(
    context: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at_once in (False, True):
        tls = "tls" if at_once else "starttls"
        with running(SmtpServer(context, at_once, credentials=f"stats {SECRET}")) as server:
            known = {"tls": tls, "user": "stats", "password": SECRET}
            assert "certificate is not valid" in await failure(server, host="localhost", **known)
            stranger = make_pair(tmp_path / tls, "mail.example")
            with monkeypatch.context() as patch:
                patch.setenv("SSL_CERT_FILE", str(stranger[0]))
                assert "certificate is not valid" in await failure(server, **known)
            assert not any("AUTH" in line or "MAIL" in line for line in server.heard)


async def test_without_starttls_nothing_is_sent(context: ssl.SSLContext) -> None:
    with running(SmtpServer(context, fault="no starttls", credentials=f"stats {SECRET}")) as server:
        await failure(server, tls="starttls", user="stats", password=SECRET)
        assert [line.split()[0] for line in server.heard] in (
            ["EHLO"],
            ["EHLO", "STARTTLS"],
            ["EHLO", "STARTTLS", "QUIT"],
        )


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("recipient", "The mail server refused the recipient (550)."),
        ("sender", "The mail server refused the message (550)."),
        ("data", "The mail server refused the message (554)."),
        ("hangs up", "The mail server can't be reached."),
        ("silent", "The mail server took longer than [mail] timeout_s."),
        ("drips", "The mail server took longer than [mail] timeout_s."),
    ],
)
async def test_what_goes_wrong_is_told_and_logged_without_a_name(
    plain: SmtpServer, fault: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain.fault = fault
    with caplog.at_level(logging.DEBUG):
        assert await failure(plain, timeout_s=1.0 if fault in ("silent", "drips") else 60.0) == told
    said = [str(record.__dict__) for record in caplog.records if record.name.startswith("analytics_server")]
    assert any("a message was not sent" in line and told in line for line in said)
    assert not any("anna" in line or "asi_" in line for line in said)


async def test_a_server_that_is_away_or_says_no_farewell(plain: SmtpServer) -> None:
    away = SmtpServer(port=plain.port)
    plain.fault = "no farewell"
    mailer = mailer_of(plain)
    await mailer.send(ANNA, TEXT)
    assert len(plain.taken) == 1
    away.port = 1
    assert await failure(away) == "The mail server can't be reached."
    with pytest.raises(MailNotSent, match=re.escape("set [mail] host")):
        await Mailer(MailSection()).send(ANNA, TEXT)


@pytest.mark.parametrize(
    "recipient",
    [
        "anna@example.org\r\nBcc: eve@example.org",
        "anna@example.org,eve@example.org",
        "anna>eve@example.org",
        '"anna eve"@example.org',
        "anna@[127.0.0.1]",
        "anna",
        "@example.org",
        "anna@ex ample.org",
        f"anna@{'x' * 250}.org",
    ],
)
async def test_what_is_more_than_one_plain_address_is_sent_nothing(plain: SmtpServer, recipient: str) -> None:
    assert await failure(plain, recipient) == "The address is none that mail can be sent to."
    assert plain.heard == []


async def test_international_addresses_are_sent_to(plain: SmtpServer) -> None:
    for recipient, sent in (
        ("ben@bücher.example", "ben@xn--bcher-kva.example"),
        ("änne@example.org", "änne@example.org"),
    ):
        await mailer_of(plain).send(recipient, TEXT)
        assert plain.taken[-1].recipient == sent
        assert plain.taken[-1].message["To"] == sent


async def test_a_header_can_not_be_injected_by_a_subject(plain: SmtpServer) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        await mailer_of(plain).send(ANNA, MailText(kind="test", subject="a\r\nBcc: eve@example.org", body="x\n"))
    await mailer_of(plain).send(ANNA, MailText(kind="test", subject="a", body="x\n.\nDATA\n\r\n.\r\nMAIL FROM:<e@e>\n"))
    (taken,) = plain.taken
    assert "MAIL FROM" in taken.text


async def test_no_more_messages_wait_than_may(plain: SmtpServer) -> None:
    plain.fault = "silent"
    mailer = mailer_of(plain, most_waiting=2, timeout_s=2.0)
    outcomes = await asyncio.gather(*(mailer.send(ANNA, TEXT) for _ in range(3)), return_exceptions=True)
    told = [one.message for one in outcomes if isinstance(one, MailNotSent)]
    assert len(told) == 3
    assert told.count("Too many messages wait for the mail server.") == 1


async def test_the_time_of_a_message_is_over_also_while_it_waits_for_others(
    plain: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer_module, "AT_ONCE", 0)  # none before it is ever done
    mailer = mailer_of(plain, timeout_s=0.1)
    for is_counted in (True, False):
        with pytest.raises(MailNotSent, match="longer than"):
            await asyncio.wait_for(mailer.send(ANNA, TEXT, is_counted=is_counted), 60)
    assert mailer.counter.labels("failed")._value.get() == 1
    assert plain.heard == []


@pytest.mark.parametrize(
    ("life_s", "told"),
    [
        (60, "1 minute "),
        (1_800, "30 minutes"),
        (3_600, "1 hour "),
        (7_300, "2 hours"),
        (604_800, "7 days"),
        (5, "a minute"),
    ],
)
def test_a_message_says_for_how_long_its_link_works(life_s: float, told: str) -> None:
    for made in (reset_text("s", "l", life_s), invitation_text("s", "l", life_s)):
        assert f"within {told}" in made.body
    assert "https://x" in trial_text("https://x").body
