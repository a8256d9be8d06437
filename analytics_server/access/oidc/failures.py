"""Errors of a sign-in through an OpenID Connect provider."""

from __future__ import annotations

import logging

from analytics_server.errors import AnalyticsError, RequestError


class OidcRefused(RequestError):
    """The provider, or what it sent, does not prove who signs in. The message is for the operator's log as well."""

    code = "sign_in_failed"
    status = 401
    log_level = logging.WARNING


class OidcUnavailable(AnalyticsError):
    """The provider can't be reached, or what it publishes is unusable."""

    code = "provider_unavailable"
    status = 503
    log_level = logging.WARNING
    retry_after_s = 5


class NoRole(OidcRefused):
    """The provider knows the person, but none of their groups has a role here."""

    code = "no_role"
    status = 403
