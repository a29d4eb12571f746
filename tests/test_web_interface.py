"""The web page's functions and files: safe headers, nothing inline, nothing from elsewhere."""

import re
from html.parser import HTMLParser
from importlib import resources
from types import ModuleType

import pytest

from portal.functions.web import asset, icon, open_session, page, render
from portal.runtime.catalogue import bind
from portal.runtime.context import CallContext
from portal.runtime.ui.pages import MEDIA_TYPES, PackagedPages
from portal.shared.contract import Call, Caller, RawReply, RawRequest, Route, Scope
from portal.shared.errors import Forbidden, NotFound, TooLarge
from portal.shared.ports import Asset, Pages

FILES = sorted(
    file.name
    for file in resources.files("portal.runtime.ui").iterdir()
    if file.name.endswith(tuple(MEDIA_TYPES))
)


class FakePages:
    """One file, and Markdown in angle brackets."""

    def __init__(self) -> None:
        self.files = {
            "index.html": Asset("text/html; charset=utf-8", b"<!doctype html>", '"1"'),
            "icon.svg": Asset("image/svg+xml", b"<svg/>", '"2"'),
            "app.js": Asset("text/javascript; charset=utf-8", b"start();", '"3"'),
        }

    def asset(self, name: str) -> Asset:
        try:
            return self.files[name]
        except KeyError:
            raise NotFound(name) from None

    def render(self, markdown: str) -> str:
        return f"<p>{markdown}</p>"


class FakeSessions:
    """One link, good for one time."""

    def __init__(self) -> None:
        self.links = {"good-code"}

    def new_link(self) -> str:
        return "good-code"

    def open(self, link: str) -> str:
        if link not in self.links:
            raise Forbidden("This link was used already or is wrong.")
        self.links.remove(link)
        return "token-1"


class FakeContext:
    """All the ports that the page's functions ask for."""

    def __init__(self) -> None:
        self.call = Call("1", Caller("local", "none", frozenset({Scope.CHAT})), "web.page", 0.0)
        self.pages = FakePages()
        self.sessions = FakeSessions()


@pytest.fixture
def context() -> FakeContext:
    """A context that is good for one test."""
    return FakeContext()


def header(reply: RawReply, name: str) -> str:
    """The one value of a header; fails when it is absent or there twice."""
    (value,) = (value for key, value in reply.headers if key == name.encode())
    return value.decode()


def get(path: str) -> RawRequest:
    """A GET without anything."""
    return RawRequest("GET", path, {}, {}, {}, b"")


class Document(HTMLParser):
    """What an HTML file refers to and defines."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)

    def values(self, *names: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements for name in names if name in attrs]


def read(name: str) -> str:
    """The text of one of the page's own files."""
    return PackagedPages().asset(name).body.decode("utf-8")


DOCUMENTS = {"page": read("index.html"), "refused link": open_session.REFUSAL.decode("utf-8")}


# ---- functions


@pytest.mark.parametrize("module", [page, asset, icon, render, open_session])
def test_each_function_keeps_the_contract(module: ModuleType) -> None:
    name = module.__name__.removeprefix("portal.functions.")
    bound = bind(name, module, context=CallContext)
    assert isinstance(bound.trigger, Route)
    assert bound.summary.startswith(f"{bound.trigger.method} {bound.trigger.path}: ")


async def test_the_page_may_load_nothing_but_its_own_files(context: FakeContext) -> None:
    reply = await page.handle(get("/"), context)
    assert reply.status == 200
    assert header(reply, "content-type") == "text/html; charset=utf-8"
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in header(reply, "content-security-policy").split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert header(reply, "referrer-policy") == "no-referrer"
    assert header(reply, "cache-control") == "no-cache"


async def test_a_file_comes_with_its_type_and_version(context: FakeContext) -> None:
    reply = await asset.handle(asset.Request("app.js"), context)
    assert (reply.status, reply.body) == (200, b"start();")
    assert header(reply, "content-type") == "text/javascript; charset=utf-8"
    assert header(reply, "etag") == '"3"'
    assert header(reply, "cache-control") == "no-cache"


@pytest.mark.parametrize("known", ['"3"', 'W/"3"', '"0", "3"', "*"])
async def test_a_file_that_the_browser_has_is_not_sent_again(
    context: FakeContext, known: str
) -> None:
    reply = await asset.handle(asset.Request("app.js", known), context)
    assert (reply.status, reply.body) == (304, b"")
    assert header(reply, "etag") == '"3"'


@pytest.mark.parametrize("known", ["", '"2"', "3", '"33"'])
async def test_an_old_version_is_replaced(context: FakeContext, known: str) -> None:
    assert (await asset.handle(asset.Request("app.js", known), context)).status == 200


async def test_an_unknown_file_is_not_found(context: FakeContext) -> None:
    with pytest.raises(NotFound):
        await asset.handle(asset.Request("missing.js"), context)


async def test_the_icon_lies_where_browsers_look_for_it(context: FakeContext) -> None:
    reply = await icon.handle(get("/favicon.ico"), context)
    assert (reply.status, reply.body) == (200, b"<svg/>")
    assert header(reply, "content-type") == "image/svg+xml"


def test_markdown_comes_back_as_html(context: FakeContext) -> None:
    assert render.handle(render.Request("hello"), context) == render.Rendered("<p>hello</p>")


def test_a_text_over_the_limit_is_refused_with_both_numbers(context: FakeContext) -> None:
    render.handle(render.Request("x" * render.TEXT_LIMIT), context)
    with pytest.raises(TooLarge, match=r"200,001 characters; 200,000"):
        render.handle(render.Request("x" * (render.TEXT_LIMIT + 1)), context)


def clicked(code: str, accept: str, method: str = "GET", **headers: str) -> RawRequest:
    """Follow a one-time link."""
    path = f"/portal/session/{code}"
    return RawRequest(method, path, {"code": code}, {}, {"accept": accept, **headers}, b"")


async def test_a_look_at_a_link_does_not_use_it_up(context: FakeContext) -> None:
    prefetch = {"sec-purpose": "prefetch"}
    for look in (clicked("good-code", "*/*", "HEAD"), clicked("good-code", "*/*", **prefetch)):
        reply = await open_session.handle(look, context)
        assert reply.status == 200
        assert not any(name == b"set-cookie" for name, _ in reply.headers)
    reply = await open_session.handle(clicked("good-code", "text/html"), context)
    assert reply.status == 303


async def test_a_link_opens_a_session_once(context: FakeContext) -> None:
    reply = await open_session.handle(clicked("good-code", "text/html"), context)
    assert (reply.status, header(reply, "location")) == (303, "/")
    assert header(reply, "cache-control") == "no-store"
    assert header(reply, "referrer-policy") == "no-referrer"
    name_value, *attributes = header(reply, "set-cookie").split("; ")
    assert name_value == "portal_session=token-1"
    assert set(attributes) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    again = await open_session.handle(clicked("good-code", "text/html"), context)
    assert again.status == 403


async def test_a_wrong_link_tells_a_person_how_to_get_a_new_one(context: FakeContext) -> None:
    request = clicked("<script>", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
    reply = await open_session.handle(request, context)
    assert reply.status == 403
    assert header(reply, "content-type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in header(reply, "content-security-policy")
    assert "portal status" in reply.body.decode()
    assert b"<script>" not in reply.body
    assert not any(name == b"set-cookie" for name, _ in reply.headers)


async def test_a_wrong_link_is_a_plain_error_to_a_program(context: FakeContext) -> None:
    with pytest.raises(Forbidden):
        await open_session.handle(clicked("wrong", "application/json"), context)


# ---- the packaged files


def test_the_packaged_pages_are_the_port() -> None:
    pages: Pages = PackagedPages()
    assert pages.render("*a*").strip() == "<p><em>a</em></p>"


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_its_type_and_a_tag_of_its_own(name: str) -> None:
    found = PackagedPages().asset(name)
    assert found.media_type == MEDIA_TYPES[name[name.index(".") :]]
    assert re.fullmatch(r'"[0-9a-f]{32}"', found.etag)
    assert found.etag not in {PackagedPages().asset(other).etag for other in FILES if other != name}
    assert PackagedPages().asset(name) is found


@pytest.mark.parametrize(
    "name", ["", "missing.css", "pages.py", "__init__.py", "../ui/app.js", "/etc/passwd", ".js"]
)
def test_nothing_but_the_pages_files_can_be_had(name: str) -> None:
    with pytest.raises(NotFound, match=r"app\.js"):
        PackagedPages().asset(name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_hold_nothing_inline(name: str) -> None:
    document = Document(DOCUMENTS[name])
    assert document.inline == []
    for tag, attrs in document.elements:
        assert tag not in {"style", "base", "iframe", "object", "embed"}
        if tag == "script":
            assert attrs.get("src")
        for attribute, value in attrs.items():
            assert attribute != "style", tag
            assert not attribute.startswith("on"), f"{tag} {attribute}"
            assert not (value or "").startswith("javascript:"), tag


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_names_exists(name: str) -> None:
    named = [
        value for value in Document(DOCUMENTS[name]).values("src", "href") if "/assets/" in value
    ]
    assert "/assets/style.css" in named
    for value in named:
        assert value.removeprefix("/assets/") in FILES


def test_every_file_that_the_style_names_exists() -> None:
    named = re.findall(r'url\("?([^")]+)', read("style.css"))
    assert named
    for value in named:
        assert value.removeprefix("/assets/") in FILES


@pytest.mark.parametrize("name", FILES)
def test_no_file_refers_to_another_origin(name: str) -> None:
    # Links that a person may follow and the name of SVG are the only addresses.
    text = re.sub(r'<a\s+href="https://[^"]+"', "", read(name))
    text = text.replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"""(?:https?:)?//[a-z0-9-]+\.[a-z]+""", text) == []
    assert "@import" not in text


def test_the_script_inserts_only_html_that_portal_rendered() -> None:
    script = read("app.js")
    assert re.findall(r"\.innerHTML\s*=\s*(\w+)", script) == ["html"]
    forbidden = r"outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function|\bimport\b"
    assert not re.search(forbidden, script)


def test_the_script_speaks_to_known_addresses_alone() -> None:
    assert set(re.findall(r'fetch\("([^"]+)"', read("app.js"))) == {
        "/health",
        "/portal/render",
        "/portal/turns",
        "/v1/models",
    }
    assert read("app.js").count("fetch(") == 4


def test_every_element_that_the_script_asks_for_is_in_the_page() -> None:
    script, document = read("app.js"), Document(read("index.html"))
    (listed,) = re.findall(r"Object\.fromEntries\(\s*\[(.*?)\]\.map", script, re.DOTALL)
    asked = set(re.findall(r'"([\w-]+)"', listed)) | set(re.findall(r'clone\("([\w-]+)"\)', script))
    assert asked
    assert asked <= set(document.values("id"))
    icons = set(re.findall(r'"#(i-[\w-]+)"', script)) | {
        value[1:] for value in document.values("href") if value.startswith("#i-")
    }
    assert icons <= set(document.values("id"))


def test_every_control_has_a_name_for_people_who_do_not_see_it() -> None:
    html = read("index.html")
    for match in re.finditer(r"<button([^>]*)>(.*?)</button>", html, re.DOTALL):
        attributes, content = match.groups()
        words = re.sub(r"<[^>]+>", "", content).strip()
        # The theme's name changes with its state, so the script sets it.
        assert words or "aria-label=" in attributes or 'id="theme"' in attributes, attributes
    assert 'for="prompt"' in html
    assert "<main" in html
    assert "<header" in html
    assert 'aria-live="polite"' in html


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(theme: int) -> None:
    style = read("style.css")
    colours = {
        name: pair[theme]
        for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    }
    code = [pair[theme] for pair in re.findall(r"color: light-dark\((#\w{6}), (#\w{6})\)", style)]
    pairs = [
        *((ink, ground) for ink in ("ink", "soft", "accent") for ground in ("ground", "surface")),
        ("ink", "tint"),
        ("ink", "raised"),
        ("soft", "raised"),
        ("ink", "bad-tint"),
        ("on-accent", "accent"),
    ]
    for ink, ground in pairs:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for part in ("edge", "good", "warn", "bad"):
        assert contrast(colours[part], colours["surface"]) >= 3, part
    assert len(code) >= 6
    for ink in code:
        assert contrast(ink, colours["surface"]) >= 4.5, ink
