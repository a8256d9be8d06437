"""The one tree of errors: each has a code, an HTTP status and a log level.

Anything raised on purpose derives from `AnalyticsError`; one middleware turns it
into `{"error": {"code", "message"}}`. Expected drops of events are values with a
counter, never exceptions. Imports nothing of the project.
"""

from __future__ import annotations

import logging


class AnalyticsError(Exception):
    """Base of all. The message says what failed, where, and how to mend it."""

    code = "internal_error"
    status = 500
    log_level = logging.ERROR
    retry_after_s: int | None = None

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class ConfigError(AnalyticsError):
    """A setting is unknown, of the wrong type, or outside its limits."""

    code = "bad_config"


class RequestError(AnalyticsError):
    """The client's request can't be answered as it stands."""

    code = "bad_request"
    status = 400
    log_level = logging.DEBUG


class Unauthorized(RequestError):
    """No credential, or none that is known."""

    code = "unauthorized"
    status = 401


class Forbidden(RequestError):
    """The caller may not do this."""

    code = "forbidden"
    status = 403


class NotFound(RequestError):
    """There is nothing of that name, or nothing that the caller may see."""

    code = "not_found"
    status = 404


class MethodNotAllowed(RequestError):
    """The address takes other methods."""

    code = "method_not_allowed"
    status = 405


class TooSlow(RequestError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408


class Conflict(RequestError):
    """What the request wants contradicts what is there already."""

    code = "conflict"
    status = 409


class TooLarge(RequestError):
    """The request, or what it unpacks to, is larger than allowed."""

    code = "too_large"
    status = 413


class UnsupportedMedia(RequestError):
    """A body of that type or packing is not read."""

    code = "unsupported_media_type"
    status = 415


class ExpectationFailed(RequestError):
    """An `Expect` that is not met."""

    code = "expectation_failed"
    status = 417


class Misdirected(RequestError):
    """The request is for a host that is not this server's."""

    code = "unknown_host"
    status = 421


class NotImplementedHere(AnalyticsError):
    """A method that no address takes."""

    code = "not_implemented"
    status = 501
    log_level = logging.DEBUG


class TooManyRequests(RequestError):
    """More than is allowed of one address, site or token; `retry_after_s` says when to come again."""

    code = "too_many_requests"
    status = 429
    retry_after_s = 1

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(AnalyticsError):
    """The system (not this client) has too much to do, or is stopping."""

    code = "unavailable"
    status = 503
    log_level = logging.WARNING
    retry_after_s = 5


class AuditUnavailable(Unavailable):
    """What was done could not be written to the audit log yet."""

    code = "audit_unavailable"


class StoreError(AnalyticsError):
    """ClickHouse did not do what was asked. `engine_code` is its own number, 0 if unknown.

    `damaged_part`: table and name of the data part that it could not read, if that was the reason.
    """

    code = "store_error"
    status = 503
    retry_after_s: int | None = 5

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        engine_code: int = 0,
        damaged_part: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.engine_code = engine_code
        self.damaged_part = damaged_part


class StoreRetryable(StoreError):
    """The same call may succeed later: connection refused, too many parts, memory."""

    code = "store_unavailable"


class StoreAmbiguous(StoreError):
    """It isn't known whether the write took effect: verify before sending again."""

    code = "store_ambiguous"


class StoreFatal(StoreError):
    """The same call can't succeed: bad SQL, bad data, missing rights."""

    code = "store_rejected"
    status = 500
    retry_after_s = None


class StoreBadRows(StoreFatal):
    """The client library can't put the rows on the wire: values that don't fit their columns."""

    code = "store_bad_rows"


class StoreTimeout(StoreError):
    """A query ran past its time limit."""

    code = "query_timeout"
    status = 504
    retry_after_s = None


class WalError(AnalyticsError):
    """The WAL could not make the event durable: nothing was acknowledged."""

    code = "wal_unavailable"
    status = 503
    retry_after_s = 5
