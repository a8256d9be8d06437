"""What `/api/v1/sites` and `/api/v1/tokens` take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.access.gate import Principal
from analytics_server.access.routes import (
    NewToken,
    SiteChange,
    SiteId,
    SiteRequest,
    SitesAnswer,
    TokenChange,
    TokenRequest,
    TokensAnswer,
)
from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.model import Site

_SITE = Parameter(
    name="site_id", about="The site; a slash in it is written %2F.", type=SiteId, required=True, example="example.com"
)
_TOKEN = Parameter(
    name="token_id",
    about="The token's id, the first twelve characters of its hash.",
    type=Annotated[str, Meta(pattern="^[0-9a-f]{12}$")],
    required=True,
)
_NO_SITE = {404: ("unknown_site",)}
_NO_TOKEN = {404: ("unknown_token",)}


def operations() -> list[Operation]:
    """Sites and tokens."""
    return [*_sites(), *_tokens()]


def _sites() -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/api/v1/sites",
            name="list_sites",
            summary="The sites the token covers",
            tag="access",
            role="read",
            replies=(Reply(about="By id.", type=SitesAnswer),),
        ),
        Operation(
            method="POST",
            path="/api/v1/sites",
            name="create_site",
            summary="Create a site",
            tag="access",
            about="Needs an admin token for all sites. A site that was deleted comes back this way, with its data.",
            role="admin",
            body=Body(
                types=(SiteRequest,),
                examples={
                    "site": {
                        "site_id": "shop.example.com",
                        "timezone": "Europe/Stockholm",
                        "allowed_hosts": ["shop.example.com"],
                    }
                },
            ),
            replies=(Reply(status=201, about="Created.", type=Site),),
            errors={400: ("bad_site", "bad_timezone"), 409: ("site_exists",)},
            asks_store=True,
        ),
        Operation(
            method="GET",
            path="/api/v1/sites/{site_id}",
            name="get_site",
            summary="One site",
            tag="access",
            role="read",
            parameters=(_SITE,),
            replies=(Reply(about="The site.", type=Site),),
            errors=_NO_SITE,
            asks_store=True,
        ),
        Operation(
            method="PUT",
            path="/api/v1/sites/{site_id}",
            name="change_site",
            summary="Change a site",
            tag="access",
            about="Needs an admin token for all sites. What is left out stays. A new time zone shifts the days of "
            "everything already stored.",
            role="admin",
            parameters=(_SITE,),
            body=Body(types=(SiteChange,), examples={"zone": {"timezone": "Asia/Tokyo"}}),
            replies=(Reply(about="The site as it is now.", type=Site),),
            errors={400: ("bad_site", "bad_timezone"), **_NO_SITE},
            asks_store=True,
        ),
        Operation(
            method="DELETE",
            path="/api/v1/sites/{site_id}",
            name="delete_site",
            summary="Delete a site",
            tag="access",
            about="Needs an admin token for all sites. Its beacons are refused from then on and its data can't be "
            "asked for any more; what is stored stays until it expires or is erased, or the site is created again.",
            role="admin",
            parameters=(_SITE,),
            replies=(Reply(status=204, about="Deleted."),),
            errors=_NO_SITE,
            asks_store=True,
        ),
    ]


def _tokens() -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/api/v1/tokens",
            name="list_tokens",
            summary="All tokens, without their secrets",
            tag="access",
            about="Needs an admin token for all sites, as everything about tokens.",
            role="admin",
            replies=(Reply(about="The oldest first.", type=TokensAnswer),),
        ),
        Operation(
            method="POST",
            path="/api/v1/tokens",
            name="create_token",
            summary="Make a token",
            tag="access",
            role="admin",
            body=Body(
                types=(TokenRequest,),
                examples={"reader": {"role": "read", "name": "Dashboards", "sites": ["example.com"]}},
            ),
            replies=(Reply(status=201, about="The token, shown this once.", type=NewToken),),
            errors={400: ("bad_name", "bad_site")},
            asks_store=True,
        ),
        Operation(
            method="GET",
            path="/api/v1/tokens/{token_id}",
            name="get_token",
            summary="One token, without its secret",
            tag="access",
            role="admin",
            parameters=(_TOKEN,),
            replies=(Reply(about="The token.", type=Principal),),
            errors=_NO_TOKEN,
            asks_store=True,
        ),
        Operation(
            method="PUT",
            path="/api/v1/tokens/{token_id}",
            name="change_token",
            summary="Rename a token or give it other sites",
            tag="access",
            about="What is left out stays. All servers know within five seconds.",
            role="admin",
            parameters=(_TOKEN,),
            body=Body(types=(TokenChange,), examples={"sites": {"sites": ["example.com", "shop.example.com"]}}),
            replies=(Reply(about="The token as it is now.", type=Principal),),
            errors={400: ("bad_name", "bad_site"), **_NO_TOKEN},
            asks_store=True,
        ),
        Operation(
            method="DELETE",
            path="/api/v1/tokens/{token_id}",
            name="revoke_token",
            summary="Revoke a token, for good",
            tag="access",
            about="All servers know within five seconds.",
            role="admin",
            parameters=(_TOKEN,),
            replies=(Reply(status=204, about="Revoked."),),
            errors=_NO_TOKEN,
            asks_store=True,
        ),
    ]
