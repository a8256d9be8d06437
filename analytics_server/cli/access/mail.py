"""`analytics-server mail test`: is a message taken by the mail server of `[mail]`? And how commands send links."""

from __future__ import annotations

import click

from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.config import Config
from analytics_server.errors import ConfigError
from analytics_server.mail.mailer import Mailer
from analytics_server.mail.texts import MailText, trial_text
from analytics_server.spelling.email_address import valid_email

send_option = click.option("--send", is_flag=True, help="Send the link by mail ([mail]), too.")


@click.group()
def mail() -> None:
    """Try the mail server of the settings."""


@mail.command("test")
@config_option
@click.argument("email")
def mail_test(config_path: str | None, email: str) -> None:
    """Send a message to an address, and say whether the mail server took it.

    \b
    Exit code: 0 it was taken, 1 it was not, and why.
    """
    config = read_config(config_path)
    address = valid_email(email)
    run_async(send(config, address, trial_text(config.server.public_url.rstrip("/"))))
    click.echo(f"{config.mail.host} has taken the message.")


def check_may_send(config: Config) -> None:
    """Raises `ConfigError` where there is no mail server."""
    if not config.mail.host:
        raise ConfigError("No mail server is set: [mail] host in the config file.")


async def send(config: Config, email: str, text: MailText) -> None:
    """Send a message now. Raises `ConfigError`, `MailNotSent`."""
    check_may_send(config)
    await Mailer(config.mail).send(email, text)
