"""Apps, extensions and files; client hints; iPads that say they are Macs: what is stored of them."""

from __future__ import annotations

import pytest

from tests.server import Client

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
IPAD = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Safari/605.1.15"
)
BRAVE = {
    "User-Agent": CHROME,
    "Sec-CH-UA": '"Chromium";v="142", "Brave";v="142", "Not_A Brand";v="99"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Windows"',
    "Sec-CH-UA-Platform-Version": '"15.0.0"',
}
AGENT = ["visit:browser", "visit:browser_version", "visit:os", "visit:os_version", "visit:device"]
URLS = {
    "capacitor://localhost/cart?page=2&x=1": ("localhost", "/cart?page=2"),
    "chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm/popup.html": (
        "cjpalhdlnbpafiamejdnhcphjbkeiagm",
        "/popup.html",
    ),
    "moz-extension://0f4b8a3e-2a8c-4f0e-9d3b-0123456789ab/popup.html": ("moz-extension", "/popup.html"),
    "ionic://localhost/a": ("localhost", "/a"),
    "app://bundle/b": ("bundle", "/b"),
    "tauri://localhost/c": ("localhost", "/c"),
    "file:///D:/anna/x.html": ("file", "/x.html"),
    "/index.html": ("", "/index.html"),
}


def view(site: str, url: str, **fields: object) -> dict[str, object]:
    return {"site": site, "name": "pageview", "url": url, **fields}


@pytest.mark.parametrize("allowed_hosts", [[], ["a.example"]])
async def test_pages_of_apps_are_counted_where_the_site_allows_apps(
    client: Client, site: str, allowed_hosts: list[str]
) -> None:
    wanted = {"site_id": site, "allow_apps": True, "allowed_hosts": allowed_hosts}
    made = await client.call("POST", "/api/v1/sites", wanted)
    assert (made.status, made.json["allow_apps"]) == (201, True)

    for url in URLS:
        assert (await client.send(view(site, url))).json["accepted"] == 1, url
    batch = await client.send([view(site, url) for url in URLS])
    assert batch.json["accepted"] == len(URLS)
    for url in ("https://tauri.localhost/c", "http://localhost/c", "https://localhost/c"):
        assert (await client.send(view(site, url))).json["accepted"] == 1, url
    assert (await client.send({"site": site, "name": "opened"})).json["accepted"] == 1
    foreign = await client.send(view(site, "https://elsewhere.example/"))
    assert foreign.json["dropped"] == ({"hostname": 1} if allowed_hosts else {})

    await client.flushed()
    found = await client.query(site, ["events"], ["event:hostname", "event:page"])
    for host, path in URLS.values():
        assert (host, path) in found
    assert "anna" not in str(found)


async def test_elsewhere_they_are_rejected_with_the_setting(client: Client, site: str) -> None:
    for url in URLS:
        reply = await client.send([view(site, "https://a.example/"), view(site, url)])
        assert (reply.json["accepted"], reply.rejected) == (1, [(1, "bad_url")])
        assert "allow_apps" in reply.json["rejected"][0]["message"]
    plain = await client.send(view(site, "no address"))
    assert plain.rejected == [(0, "bad_url")]
    assert "allow_apps" not in plain.json["rejected"][0]["message"]

    changed = await client.call("PUT", f"/api/v1/sites/{site}", {"allow_apps": True})
    assert (changed.status, changed.json["allow_apps"]) == (200, True)
    assert (await client.send(view(site, "/index.html"))).json["accepted"] == 1
    kept = await client.call("PUT", f"/api/v1/sites/{site}", {"timezone": "UTC"})
    assert kept.json["allow_apps"] is True
    await client.call("PUT", f"/api/v1/sites/{site}", {"allow_apps": False})
    assert (await client.send(view(site, "/index.html"))).rejected == [(0, "bad_url")]


async def test_two_sites_of_one_batch_have_rules_of_their_own(client: Client, site: str) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": f"app-{site}", "allow_apps": True})
    reply = await client.send([view(f"app-{site}", "/a"), view(site, "/a"), view(f"app-{site}", "/a")])

    assert (reply.json["accepted"], reply.rejected) == (2, [(1, "bad_url")])


# ---- client hints ----------------------------------------------------------


async def test_client_hints_name_what_the_user_agent_hides(client: Client, site: str) -> None:
    await client.send(view(site, f"https://{site}/"), headers=BRAVE)
    await client.flushed()

    assert await client.query(site, ["events"], AGENT) == {("Brave", "142", "Windows", "11", "Desktop"): (1,)}


async def test_hints_of_a_server_are_not_its_visitors(client: Client, site: str) -> None:
    event = view(site, f"https://{site}/", ip="192.0.2.9", user_agent=CHROME)
    assert (await client.send(event, headers=BRAVE, trusted=True)).json["accepted"] == 1
    await client.flushed()

    assert await client.query(site, ["events"], AGENT) == {("Chrome", "142", "Windows", "10", "Desktop"): (1,)}


async def test_a_headless_brand_is_a_bot_s(client: Client, site: str) -> None:
    headers = {**BRAVE, "Sec-CH-UA": '"Chromium";v="142", "HeadlessChrome";v="142", "Not_A Brand";v="99"'}
    before = await client.metric('ingest_bots_total{kind="headless"}')

    assert (await client.send(view(site, f"https://{site}/"), headers=headers)).json["dropped"] == {"bot": 1}
    assert await client.metric('ingest_bots_total{kind="headless"}') == before + 1
    assert (await client.send(view(site, f"https://{site}/"), headers=headers, trusted=True)).json["accepted"] == 1


# ---- touch points ----------------------------------------------------------


@pytest.mark.parametrize(
    ("touch", "warnings", "device"),
    [
        (5, None, ("iPadOS", "Tablet")),
        (2, None, ("iPadOS", "Tablet")),
        ("5", "made_number", ("iPadOS", "Tablet")),
        (1, None, ("macOS", "Desktop")),
        (0, None, ("macOS", "Desktop")),
        (None, None, ("macOS", "Desktop")),
        ([5], "left_out", ("macOS", "Desktop")),
        (True, "left_out", ("macOS", "Desktop")),
        ("many", "left_out", ("macOS", "Desktop")),
    ],
)
async def test_touch_points_tell_an_ipad_from_a_mac(
    client: Client, site: str, touch: object, warnings: str | None, device: tuple[str, str]
) -> None:
    event = view(site, f"https://{site}/", screen={"width": 1024, "height": 768, "touch": touch})
    reply = await client.send(event, headers={"User-Agent": IPAD})

    assert reply.json["accepted"] == 1
    expected = [{"index": 0, "field": "screen.touch", "code": warnings}] if warnings else None
    assert reply.json.get("warnings") == expected
    await client.flushed()
    assert await client.query(site, ["events"], ["visit:os", "visit:device", "visit:screen"]) == {
        (*device, "1024x768"): (1,)
    }
