"""Script and package where pages are not alone: frames, files, new tabs, other libraries, and the page's own work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, Page

from tests.browsers.browser import Browser as Engine
from tests.tracker.site import Site
from tests.web.test_client import add

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS = ("script", "package")
kinds = pytest.mark.parametrize("kind", KINDS)


def add_page(site: Site, kind: str, path: str, body: str = "", head: str = "", outbound: bool = False) -> str:
    """A page with the script or the package, which both have a function `track`."""
    if kind == "script":
        head += "<script>window.track = name => analytics(name)</script>"
        return site.add(path, body, head=head, attributes="data-outbound" * outbound)
    head += "<script>window.track = name => client.track(name)</script>"
    return add(site, path, "outboundLinks: true," * outbound, body, head)


def views(site: Site) -> list[str]:
    return [event["url"] for event in site.named("pageview")]


def named(site: Site) -> list[str]:
    """What came, beside engagement, which depends on how long the test took."""
    return [event["name"] for event in site.events if event["name"] != "engagement"]


# ---- Frames. ----


def framed(site: Site, kind: str, foreign: bool) -> tuple[str, str]:
    """The addresses of a page with a frame in it, and of the frame's page, which does what it is told."""
    listens = "<script>onmessage = ({ data }) => eval(data)</script>"
    inner = add_page(site, kind, "/inner", listens, head="<title>Inner</title>")
    if foreign:
        inner = inner.replace("127.0.0.1", "localhost")
    tell = (
        "<script>window.tell = what => document.querySelector('iframe').contentWindow.postMessage(what, '*')</script>"
    )
    return add_page(site, kind, "/outer", f"{tell}<iframe src='{inner}'></iframe>"), inner


async def visit_frame(site: Site, outer: str, inner: str, do: Any) -> None:
    """Each document counts for itself; what a frame has waiting is sent when it is taken out of its page."""
    await site.wait(lambda site: len(views(site)) == 2)
    assert sorted(views(site)) == sorted([outer, inner])
    (framed,) = [event for event in site.named("pageview") if event["url"] == inner]
    assert framed["referrer"] in (outer, f"{site.origin}/")  # Of another origin browsers tell no more than the origin.
    await do("void tell(\"history.pushState(0, '', '/inner/next'); document.title = 'Next'\")")
    await site.wait(lambda site: len(views(site)) == 3)
    assert views(site)[2] == f"{inner}/next"
    await do("void history.pushState(0, '', '/outer/next')")
    await site.wait(lambda site: len(views(site)) == 4)
    assert views(site)[3] == f"{outer}/next"
    await do("void addEventListener('message', () => { document.querySelector('iframe').remove() })")
    await do("void tell(\"track('last of the frame')\")")
    await do("void tell(\"track('still there'); parent.postMessage('done', '*')\")")
    await site.wait(lambda site: site.named("last of the frame") and site.named("still there"))
    assert {event["url"] for name in ("last of the frame", "still there") for event in site.named(name)} == {
        f"{inner}/next"
    }
    await do("void track('end')")
    await site.wait(lambda site: site.named("end"))
    assert site.named("end")[0]["url"] == f"{outer}/next"
    assert len(views(site)) == 4


@kinds
@pytest.mark.parametrize("foreign", [False, True], ids=["same origin", "another origin"])
async def test_page_and_frame_count_each_for_itself(site: Site, page: Page, kind: str, foreign: bool) -> None:
    outer, inner = framed(site, kind, foreign)
    await page.goto(outer)
    await visit_frame(site, outer, inner, page.evaluate)


@kinds
async def test_page_and_frame_count_each_for_itself_in_other_engines(site: Site, engine: Engine, kind: str) -> None:
    outer, inner = framed(site, kind, foreign=True)
    await engine.open(outer)
    await visit_frame(site, outer, inner, engine.evaluate)


# ---- Pages that are files. ----


def write_file(site: Site, folder: Path, kind: str, local: bool = True) -> str:
    """Writes a page into a file; returns the file's address."""
    if kind == "script":
        head = f"<script src='{site.origin}/a.js' data-site='shop.example'></script>"
    else:
        head = f"""<script type="module">
          import {{ AnalyticsClient }} from '{site.origin}/files/index.js';
          const config = {{ apiBaseUrl: '{site.origin}', appName: 'shop.example', local: {str(local).lower()} }};
          window.client = new AnalyticsClient(config);
          window.analytics = name => client.track(name);
        </script>"""
    path = folder / "page.html"
    path.write_text(f"<!doctype html><title>A file</title>{head}<p>A file", encoding="utf-8")
    return path.as_uri()


@kinds
async def test_page_that_is_a_file_is_counted(site: Site, page: Page, tmp_path: Path, kind: str) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = write_file(site, tmp_path, kind)
    await page.goto(address)
    await page.wait_for_function("!!window.analytics")
    await page.evaluate("location.hash = 'part'; analytics('called')")
    await site.wait_names("pageview", "called")
    assert {event["url"] for event in site.events} == {address}
    assert {event["site"] for event in site.events} == {"shop.example"}
    assert errors == []


@kinds
async def test_page_that_is_a_file_is_counted_in_other_engines(
    site: Site, engine: Engine, tmp_path: Path, kind: str
) -> None:
    address = write_file(site, tmp_path, kind)
    await engine.open(address)
    await engine.until("!!window.analytics")
    await engine.evaluate("void analytics('called')")
    await site.wait_names("pageview", "called")
    assert {event["url"] for event in site.events} == {address}


async def test_package_sends_nothing_from_a_file_unless_told_to(site: Site, page: Page, tmp_path: Path) -> None:
    await page.goto(write_file(site, tmp_path, "package", local=False))
    await page.wait_for_function("window.client")
    await page.evaluate("analytics('called'); client.flush()")
    await page.goto(site.add_raw("/after", "<!doctype html><p>After</p>"))
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert site.beacons == []


# ---- Links that open elsewhere. ----

OPENED = {
    "target": ("target=_blank", {}),
    "target without an opener": ("target=_blank rel='noopener noreferrer'", {}),
    "named target": ("target=other", {}),
    "middle button": ("", {"button": "middle"}),
    "with Control": ("", {"modifiers": ["Control"]}),
}


@kinds
@pytest.mark.parametrize(("attributes", "click"), OPENED.values(), ids=OPENED.keys())
async def test_link_that_opens_a_tab_is_told_once_and_the_page_goes_on(
    site: Site, page: Page, kind: str, attributes: str, click: dict[str, Any]
) -> None:
    other = site.add_raw("/other", "<!doctype html><p>Other</p>").replace("127.0.0.1", "localhost")
    await page.goto(add_page(site, kind, "/shop", f"<a href='{other}' {attributes}>Other</a>", outbound=True))
    await site.wait_names("pageview")
    async with page.context.expect_page() as opened:
        await page.click("a", **click)
    await (await opened.value).wait_for_load_state()
    await page.evaluate("track('end')")
    await site.wait(lambda site: site.named("end"))
    assert named(site) == ["pageview", "outbound", "end"]
    assert site.named("outbound")[0]["element"]["href"] == other
    assert {event["url"] for event in site.events} == {f"{site.origin}/shop"}


# ---- Other libraries on the page. ----

PATCH = """window.patch = name => {
  const theirs = history.pushState;
  window.calls ??= [];
  history.pushState = window[name] = function (...given) { calls.push(name); return theirs.apply(this, given) };
};"""
OLD = "Object.defineProperty(window, 'navigation', {value: undefined});"


async def test_patches_of_two_libraries_live_on(site: Site, page: Page) -> None:
    await page.add_init_script(OLD + PATCH + "patch('before')")
    await page.goto(add(site, "/app"))
    await site.wait_names("pageview")
    await page.evaluate("patch('after'); history.pushState(0, '', '/app/1'); document.title = '1'")
    await site.wait(lambda site: len(views(site)) == 2)
    assert await page.evaluate("calls") == ["after", "before"]
    # What stands on top of ours stays, and all that was there goes on.
    await page.evaluate("client.destroy()")
    assert await page.evaluate("history.pushState === after")
    await page.evaluate("history.pushState(0, '', '/app/2'); document.title = '2'")
    assert await page.evaluate("calls.splice(2)") == ["after", "before"]
    assert await page.evaluate("location.pathname") == "/app/2"
    # Of one that starts again, and of what is left of the first, one counts.
    await page.evaluate("window.client = make()")
    await site.wait(lambda site: len(views(site)) == 3)
    await page.evaluate("history.pushState(0, '', '/app/3'); document.title = '3'")
    await site.wait(lambda site: len(views(site)) == 4)
    await page.evaluate("client.track('end')")
    await site.wait(lambda site: site.named("end"))
    assert [address.removeprefix(site.origin) for address in views(site)] == ["/app", "/app/1", "/app/2", "/app/3"]


async def test_patch_is_taken_back_to_what_was_there_before(site: Site, page: Page) -> None:
    await page.add_init_script(OLD + PATCH + "patch('before')")
    await page.goto(add(site, "/app"))
    await site.wait_names("pageview")
    assert await page.evaluate("history.pushState !== before")
    await page.evaluate("client.destroy()")
    assert await page.evaluate("history.pushState === before")


async def copies(site: Site, modules: Path, folder: Path) -> str:
    """A page with two copies of the package that share no file, as two bundles on one page do."""
    for name in ("one", "two"):
        shutil.copytree(modules, folder / name)
    site.serve_files(folder)
    script = """<script type="module">
      const config = { apiBaseUrl: location.origin, appName: 'shop.example', local: true };
      for (const name of ['one', 'two']) {
        const { AnalyticsClient } = await import(`/files/${name}/index.js`);
        (window.classes ??= []).push(AnalyticsClient);
        (window.clients ??= []).push(new AnalyticsClient(config));
      }
    </script>"""
    return site.add_raw("/app", f"<!doctype html><title>App</title>{script}")


COPIES_DO = """void (classes[0] === classes[1] || (
  clients[0].track('first'), clients[1].track('second'), clients[1].identify('u1'), clients[0].track('third'),
  clients[0].destroy(), clients[1].track('lost'),
  clients.push(new classes[1]({ apiBaseUrl: location.origin, appName: 'shop.example', local: true })),
  clients[2].track('fourth')))"""


async def test_two_copies_of_the_package_count_once(site: Site, page: Page, modules: Path, tmp_path: Path) -> None:
    await page.goto(await copies(site, modules, tmp_path))
    await page.wait_for_function("window.clients?.length === 2")
    await page.evaluate(COPIES_DO)
    await site.wait(lambda site: site.named("fourth"))
    assert named(site) == ["pageview", "first", "second", "third", "fourth"]
    assert site.named("third")[0]["user_id"] == "u1"
    await page.evaluate("history.pushState(0, '', '/app/b'); document.title = 'B'")
    await site.wait(lambda site: len(views(site)) == 2)


async def test_two_copies_of_the_package_count_once_in_other_engines(
    site: Site, engine: Engine, modules: Path, tmp_path: Path
) -> None:
    await engine.open(await copies(site, modules, tmp_path))
    await engine.until("window.clients && clients.length === 2")
    await engine.evaluate(COPIES_DO)
    await site.wait(lambda site: site.named("fourth"))
    assert named(site) == ["pageview", "first", "second", "third", "fourth"]
    await engine.evaluate("void (history.pushState(0, '', '/app/b'), document.title = 'B')")
    await site.wait(lambda site: len(views(site)) == 2)


# ---- The page's own work. ----

BUSY = """<div id="box" style="height: 4000px">Text</div><button>Button</button><input><script>
let times = 0;
const change = () => { document.querySelector('#box').style.width = `${++times % 50 + 100}px` };
WORK
</script>"""
WORK = {
    "at rest": "",
    "animated": "const next = () => { change(); requestAnimationFrame(next) }; next()",
    "changed by its handlers": "for (const at of ['scroll', 'pointerdown', 'keydown']) addEventListener(at, change)",
}
TRACED = ("devtools.timeline", "disabled-by-default-devtools.timeline", "disabled-by-default-devtools.timeline.stack")
SETTLED = "new Promise(done => setTimeout(done, 1100))"
"""The tracker's own timer, which looks at a new view once, was set before for 1,000 ms."""
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def forced_layouts(trace: dict[str, Any]) -> tuple[int, list[Any]]:
    """How often the page was laid out at all; and those times when code of ours made it be, before it was left."""
    events = trace["traceEvents"]
    left = max(
        event["ts"]
        for event in events
        if event["name"] == "EventDispatch" and event["args"]["data"]["type"] == "pagehide"
    )
    layouts = [event for event in events if event["name"] == "Layout" and event["ts"] < left]
    stacks = [event["args"]["beginData"].get("stackTrace") or [] for event in layouts]
    ours = [stack for stack in stacks if any("/a.js" in one["url"] or "/files/" in one["url"] for one in stack)]
    return len(layouts), ours


@kinds
@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
async def test_no_layout_is_forced_while_a_page_is_used(
    site: Site, browser: Browser, page: Page, kind: str, work: str
) -> None:
    address = add_page(site, kind, "/read", BUSY.replace("WORK", work))
    await browser.start_tracing(page=page, categories=[*TRACED])
    await page.goto(address)
    await site.wait_names("pageview")
    await page.evaluate(SETTLED)
    for _ in range(5):
        await page.mouse.wheel(0, 300)
        await page.evaluate(FRAME)
    for selector in ("button", "input"):
        await page.click(selector)
        await page.evaluate(FRAME)
    for letter in "hello":
        await page.keyboard.press(letter)
        await page.evaluate(FRAME)
    await page.evaluate("history.pushState(0, '', '/read/next'); document.title = 'Next'")
    await site.wait(lambda site: len(views(site)) == 2)
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("engagement"))
    all_of_them, ours = forced_layouts(msgspec.json.decode(await browser.stop_tracing()))
    assert all_of_them > 1
    assert ours == []


LISTENERS = """window.listened = [];
const theirs = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (name, handler, options) {
  listened.push([name, Object(options).passive === true]);
  return theirs.apply(this, arguments);
};"""


@kinds
async def test_listeners_hold_up_neither_scrolling_nor_the_back_forward_cache(
    site: Site, page: Page, kind: str
) -> None:
    await page.add_init_script(LISTENERS)
    await page.goto(add_page(site, kind, "/shop", "<button data-analytics='buy'>B</button>", outbound=True))
    await page.click("button")
    await site.wait(lambda site: site.named("buy"))
    listened = await page.evaluate("listened")
    names = {name for name, _ in listened}
    assert {"scroll", "pagehide", "click"} <= names
    assert not {"unload", "beforeunload"} & names
    # Those for which browsers wait before they scroll.
    assert not {"touchstart", "touchmove", "wheel", "mousewheel"} & {name for name, passive in listened if not passive}
