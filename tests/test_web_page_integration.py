"""The page in a real Chromium against a real Portal: what people see, and what must not happen."""

from __future__ import annotations  # the browser's types are not there in a default run

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

pytestmark = pytest.mark.integration

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
)
LONGEST_ANSWER = 120_000
"""Milliseconds; the embedded model on a busy machine."""
DESKTOP, PHONE = (1280, 800), (390, 844)
MARKDOWN = (
    "Two ways:\n\n| Way | Cost |\n|:--|--:|\n| one | 1 |\n| two | 22 |\n\n"
    "```python\ndef add(a, b):\n    return a + b\n```\n\n"
    "<script>document.title = 'taken'</script> ![spy](http://127.0.0.2:9/spy.png)\n\n- *done*\n"
)
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""

Visit = Callable[..., "Visitor"]


def expect(what: Any) -> Any:
    """Assert about the page, waiting for it within bounds."""
    from playwright.sync_api import expect as expect_of

    return expect_of(what)


class Visitor:
    """A person at the page, and a record of all that the page did behind their back."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.origin = urlsplit(url).netloc
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.turns: list[Any] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)
        page.add_init_script(WATCH)
        page.goto(url)
        expect(page.locator("#model option").nth(1)).to_be_attached()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc not in (self.origin, ""):
            self.foreign.append(request.url)
        if request.url.endswith("/portal/turns"):
            self.turns.append(request.post_data_json)

    def ask(self, question: str) -> None:
        """Type a question and press Enter."""
        self.page.get_by_label("Your question").fill(question)
        self.page.keyboard.press("Enter")

    def answer(self, number: int = -1) -> Any:
        """The text of an answer, by default the last one's."""
        return self.page.locator(".answer").nth(number).locator(".prose")

    def await_end(self) -> None:
        """Wait until the page takes the next question."""
        expect(self.page.get_by_role("button", name="Send")).to_be_visible(timeout=LONGEST_ANSWER)

    def check(self) -> None:
        """Fail on console errors, refused content and requests to anybody else."""
        assert self.page.evaluate("window.violations") == []
        assert self.foreign == []
        assert self.complaints == []

    def fits(self) -> bool:
        """Whether the page is no wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width <= 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.fail(
            f"None of {', '.join(CHROMIUM)} is on the PATH. Install Chromium, for example with "
            "`apt-get install chromium`, and run this again."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open the page as somebody new."""
    contexts = []

    def open_page(
        portal: PortalProcess, size: tuple[int, int] = DESKTOP, theme: Any = "light"
    ) -> Visitor:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        return Visitor(context.new_page(), portal.url)

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def scripted(start_portal: StartPortal, openai_server: Fake) -> PortalProcess:
    """Portal over a backend whose every token a test controls."""
    return start_portal(backends=[openai_server])


def test_a_person_asks_the_embedded_model_and_reads_its_answer(
    start_portal: StartPortal, visit: Visit
) -> None:
    visitor = visit(start_portal(embedded={"enabled": True}))
    page = visitor.page
    expect(page.locator("#welcome-text")).to_contain_text("small model that comes with Portal")
    visitor.ask("Say hello and name three colours.")
    expect(page.locator(".bubble")).to_have_text("Say hello and name three colours.")
    expect(visitor.answer()).to_have_text(re.compile(r"\w"), timeout=LONGEST_ANSWER)
    visitor.await_end()
    # Said when the last rendering is done.
    expect(page.locator("#spoken")).to_contain_text("Answer from")
    first = visitor.answer().inner_text()
    kept = page.evaluate("JSON.parse(sessionStorage.getItem('portal.conversation')).messages")
    expect(page.locator(".who")).to_contain_text("built into Portal")
    expect(page.locator(".small-model")).to_be_visible()
    page.locator(".small-model summary").click()
    expect(page.locator(".small-model")).to_contain_text("ollama pull qwen3:8b")

    visitor.ask("Thank you. Now name an animal.")
    visitor.await_end()
    expect(visitor.answer()).to_have_text(re.compile(r"\w"))
    sent = visitor.turns[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[1]["content"] == kept[1]["content"]

    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    expect(visitor.answer(0)).to_have_text(first)
    visitor.check()


def test_text_appears_while_the_model_still_writes(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    openai_server.script(tokens=["One", " two", " three", "."], manual=True)
    visitor = visit(scripted)
    visitor.ask("Count.")
    for shown in ("One", "One two", "One two three"):
        openai_server.step()
        expect(visitor.answer()).to_have_text(shown)
        expect(visitor.page.get_by_role("button", name="Stop answering")).to_be_visible()
    openai_server.step(2)
    visitor.await_end()
    expect(visitor.answer()).to_have_text("One two three.")
    expect(visitor.page.locator("#spoken")).to_contain_text("One two three.")
    visitor.check()


@pytest.mark.parametrize("how", ["button", "key"])
def test_stop_keeps_the_words_so_far_and_sends_them_with_the_next_question(
    scripted: PortalProcess, openai_server: Fake, visit: Visit, how: str
) -> None:
    openai_server.script(tokens=["A", " long", " story"], manual=True, times=1)
    visitor = visit(scripted)
    visitor.ask("Tell me a story.")
    openai_server.step(2)
    expect(visitor.answer()).to_have_text("A long")
    if how == "button":
        visitor.page.get_by_role("button", name="Stop answering").click()
    else:
        visitor.page.keyboard.press("Escape")
    visitor.await_end()
    expect(visitor.page.locator(".answer .actions")).to_contain_text("stopped")
    expect(visitor.page.get_by_label("Your question")).to_be_focused()

    visitor.ask("Go on.")
    visitor.await_end()
    assert visitor.turns[1]["messages"] == [
        {"role": "user", "content": "Tell me a story."},
        {"role": "assistant", "content": "A long"},
        {"role": "user", "content": "Go on."},
    ]
    stopped, _ = openai_server.requests("/v1/chat/completions")
    assert stopped.state == "client_closed"
    visitor.check()


def test_a_reload_in_the_middle_of_an_answer_keeps_what_was_there(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    openai_server.script(tokens=["Half", " done"], manual=True)
    visitor = visit(scripted)
    visitor.ask("Write.")
    openai_server.step()
    expect(visitor.answer()).to_have_text("Half")
    visitor.page.get_by_label("Your question").fill("a draft")
    visitor.page.reload()
    expect(visitor.answer()).to_have_text("Half")
    expect(visitor.page.locator(".answer .actions")).to_contain_text("stopped")
    expect(visitor.page.get_by_role("alert")).to_be_hidden()
    expect(visitor.page.get_by_label("Your question")).to_have_value("a draft")


def test_markdown_is_shown_as_such_and_nothing_in_it_runs_or_loads(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    openai_server.script(text=MARKDOWN)
    visitor = visit(scripted)
    visitor.ask("Show me.")
    visitor.await_end()
    expect(visitor.answer().locator("td.align-right").nth(1)).to_have_text("22")
    expect(visitor.answer().locator("pre .hl-k").first).to_have_text("def")
    expect(visitor.answer().get_by_role("button", name="Copy")).to_be_visible()
    expect(visitor.answer().locator("em")).to_have_text("done")
    expect(visitor.answer().get_by_role("link", name="spy")).to_be_visible()
    assert visitor.answer().locator("script, img").count() == 0
    assert visitor.page.title().startswith("Show me.")
    visitor.check()


def test_thinking_is_kept_apart_from_the_answer(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    openai_server.script(reasoning=["Let me", " see."], text="Four.")
    visitor = visit(scripted)
    visitor.ask("Two and two?")
    visitor.await_end()
    expect(visitor.answer()).to_have_text("Four.")
    thinking = visitor.page.locator(".reasoning div")
    expect(thinking).to_be_hidden()
    visitor.page.get_by_text("Thinking").click()
    expect(thinking).to_have_text("Let me see.")
    visitor.ask("Sure?")
    visitor.await_end()
    assert "see" not in visitor.turns[1]["messages"][1]["content"]
    visitor.check()


def test_a_question_can_be_edited_and_an_answer_asked_for_again(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    visitor = visit(scripted)
    page = visitor.page
    for question in ("first", "second"):
        visitor.ask(question)
        visitor.await_end()
    page.locator(".question").nth(0).hover()
    page.get_by_role("button", name="Edit question").nth(0).click()
    page.get_by_label("Edit question", exact=True).fill("better")
    page.keyboard.press("Enter")
    visitor.await_end()
    expect(page.locator(".bubble")).to_have_text(["better"])
    openai_server.script(text="anew")
    page.get_by_role("button", name="Answer again").click()
    visitor.await_end()
    expect(visitor.answer()).to_have_text("anew")
    assert visitor.turns[3]["messages"] == [{"role": "user", "content": "better"}]
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_text("What is on your mind?")).to_be_visible()
    visitor.check()


def test_a_failure_is_told_in_place_and_can_be_retried(
    scripted: PortalProcess, openai_server: Fake, visit: Visit
) -> None:
    visitor = visit(scripted)
    openai_server.script(status=400, body={"error": {"message": "The prompt is bad."}}, times=1)
    visitor.ask("Hello there")
    failure = visitor.page.get_by_role("alert")
    expect(failure).to_contain_text("The prompt is bad.")
    # The browser itself notes every 4xx and 5xx in its console.
    assert all("Failed to load resource" in text for text in visitor.complaints)
    visitor.complaints.clear()
    failure.get_by_role("button", name="Try again").click()
    visitor.await_end()
    expect(visitor.answer()).to_contain_text("Hello there")
    expect(visitor.page.locator(".answer")).to_have_count(1)
    visitor.check()


def test_the_page_says_when_portal_is_gone_and_finds_it_again(
    scripted: PortalProcess, visit: Visit
) -> None:
    visitor = visit(scripted)
    scripted.stop()
    visitor.ask("Anybody?")
    expect(visitor.page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(visitor.page.locator("#banner")).to_contain_text("portal up")
    scripted.start()
    expect(visitor.page.locator("#banner")).to_be_hidden(timeout=30_000)
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.await_end()
    expect(visitor.answer()).to_contain_text("Anybody?")
    assert visitor.foreign == []


def test_everything_works_from_the_keyboard(scripted: PortalProcess, visit: Visit) -> None:
    visitor = visit(scripted)
    page = visitor.page
    prompt = page.get_by_label("Your question")
    expect(prompt).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    assert visitor.turns == []
    expect(prompt).to_have_value("one\ntwo")
    page.keyboard.press("Control+Enter")
    visitor.await_end()
    assert visitor.turns[0]["messages"] == [{"role": "user", "content": "one\ntwo"}]
    expect(prompt).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="State of Portal").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Portal 1.")
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_be_hidden()
    visitor.check()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE, (360, 640)], ids=["desktop", "phone", "small"])
def test_it_fits_every_screen_in_both_themes(
    scripted: PortalProcess,
    openai_server: Fake,
    visit: Visit,
    tmp_path: Path,
    size: tuple[int, int],
    theme: str,
) -> None:
    openai_server.script(text=MARKDOWN + "\n" + "averylongword" * 40 + "\n\n`" + "x" * 300 + "`")
    visitor = visit(scripted, size, theme)
    assert visitor.fits()
    visitor.page.screenshot(path=tmp_path / "empty.png")
    visitor.ask("Something " + "verylong" * 30)
    visitor.await_end()
    expect(visitor.answer().locator("em")).to_have_text("done")
    assert visitor.fits()
    visitor.page.screenshot(path=tmp_path / "answer.png")
    red, *_ = map(
        int,
        re.findall(
            r"\d+", visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        ),
    )
    assert (red < 64) == (theme == "dark")
    visitor.page.get_by_role("button", name="Colours").click()
    visitor.page.get_by_role("button", name="Colours: light").click()
    expect(visitor.page.locator("html")).to_have_attribute("data-theme", "dark")
    visitor.page.reload()
    expect(visitor.page.locator("html")).to_have_attribute("data-theme", "dark")
    visitor.check()


def test_the_page_comes_with_its_policy_once(scripted: PortalProcess) -> None:
    answer = scripted.client.get("/")
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    tagged = scripted.client.get("/assets/app.js")
    again = scripted.client.get("/assets/app.js", headers={"If-None-Match": tagged.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert scripted.client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_a_link_is_good_for_one_browser(scripted: PortalProcess, visit: Visit) -> None:
    token = scripted.run_json()["token"]
    owner = {"Authorization": f"Bearer {token}"}
    made = scripted.client.post("/portal/session-links", json={}, headers=owner)
    link = scripted.url + made.json()["path"]
    visitor = visit(scripted)
    visitor.page.goto(link)
    expect(visitor.page).to_have_url(f"{scripted.url}/")
    (cookie,) = visitor.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"]) == ("portal_session", True)
    assert cookie["sameSite"] == "Strict"
    visitor.page.goto(link)
    expect(visitor.page.get_by_text("This link is not valid any more")).to_be_visible()
