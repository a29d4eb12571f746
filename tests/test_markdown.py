"""Markdown of models becomes HTML that can neither run nor call out, whatever the model writes."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.runtime.ui.markdown import (
    ATTRIBUTES,
    HIGHLIGHT_LIMIT,
    LANGUAGES,
    LINE_LIMIT,
    PARAGRAPH_LIMIT,
    TAGS,
    render,
)

ADDED = {"a": {"rel", "target"}, "pre": {"tabindex"}, "span": {"class"}}
SAFE_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
SAFE_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,")
ALIGNED = {"align-left", "align-center", "align-right"}


class Inspector(HTMLParser):
    """Reads HTML as a browser would, and fails on whatever the page must never be given."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, f"<{tag}>"
        self.tags.append(tag)
        for name, value in attrs:
            if tag in ("th", "td"):
                assert name == "class"
                assert value in ALIGNED
                continue
            assert name in ATTRIBUTES.get(tag, set()) | ADDED.get(tag, set()), f"{tag} {name}"
            if name == "href":
                assert SAFE_LINK.match(value or ""), value
                self.links.append(value or "")
            if name == "src":
                assert SAFE_IMAGE.match(value or ""), value
            if name == "class":
                assert (value or "").startswith("hl-")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def inspect(markdown: str) -> Inspector:
    """Render, and check the result against the allow-list."""
    html = render(markdown)
    assert "<script" not in html.lower()
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    return inspector


def test_prose_lists_and_emphasis_become_html() -> None:
    html = render("# Title\n\nSome *text*, ~~old~~ and `code`.\n\n3. three\n4. four\n")
    assert "<h1>Title</h1>" in html
    assert "<em>text</em>, <s>old</s> and <code>code</code>" in html
    assert '<ol start="3">' in html


def test_tables_are_aligned_by_class_since_the_policy_forbids_style() -> None:
    html = render("|a|b|c|\n|:-|-:|-|\n|1|2|3|\n")
    assert '<td class="align-right">2</td>' in html
    assert "<td>3</td>" in html
    assert "style" not in html


def test_html_in_the_source_is_shown_not_obeyed() -> None:
    html = render('<script>alert(1)</script> <img src=x onerror="alert(1)"> <b>bold</b>')
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "<img" not in html


def test_links_open_elsewhere_and_tell_nothing() -> None:
    html = render("[site](https://example.org/a?b=1&c=2)")
    assert 'href="https://example.org/a?b=1&amp;c=2"' in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "&#106;avascript:alert(1)",
        "vbscript:x",
        "file:///etc/passwd",
        "data:text/html,<script>alert(1)</script>",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/png;base64,AAAA",
        "//example.org/x",
        "/portal/keys",
        "ftp://example.org",
    ],
)
def test_other_schemes_and_relative_addresses_are_no_links(target: str) -> None:
    for markdown in (f"[x]({target})", f"[x](<{target}>)", f"<{target}>", f"[x]\n\n[x]: {target}"):
        assert inspect(markdown).links == []


def test_bare_addresses_become_links_without_the_sentence_around_them() -> None:
    text = "See https://example.org/a_(b), or (http://example.net/x). Not `https://code.example`."
    assert inspect(text).links == ["https://example.org/a_(b)", "http://example.net/x"]
    assert inspect(text).text.strip() == text.replace("`", "")


def test_an_address_inside_a_link_is_not_linked_twice() -> None:
    assert inspect("[https://a.example](https://b.example)").links == ["https://b.example"]


def test_an_image_of_the_network_becomes_a_link_with_its_description() -> None:
    html = render("![a cat](https://example.org/cat.png)")
    assert "<img" not in html
    assert ">a cat</a>" in html
    assert 'href="https://example.org/cat.png"' in html


def test_an_image_without_description_is_named_by_its_address() -> None:
    assert ">https://example.org/cat.png</a>" in render("![](https://example.org/cat.png)")


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_an_image_within_the_answer_is_shown(kind: str) -> None:
    html = render(f'![a "dot"](data:image/{kind};base64,AAAA)')
    assert f'<img src="data:image/{kind};base64,AAAA" alt="a &quot;dot&quot;">' in html


def test_code_is_coloured_by_classes_and_names_its_language() -> None:
    html = render("```python\ndef f(): return '<b>'\n```")
    assert '<pre data-language="python"' in html
    assert '<span class="hl-k">def</span>' in html
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_listed_language_is_known_to_the_highlighter(language: str) -> None:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # no stubs

    assert get_lexer_by_name(language)


@pytest.mark.parametrize("code", ["a <b> & c\n", "\n\n  indented\n\ttab\n\n", "no end of line"])
@pytest.mark.parametrize("language", ["", "python", "html", "json", "nonsense", "py<th>on"])
def test_code_keeps_every_character(code: str, language: str) -> None:
    shown = inspect(f"````{language}\n{code}\n````").text
    assert shown.rstrip("\n") == code.rstrip("\n")


def test_an_unknown_language_stays_plain_under_its_name() -> None:
    assert '<pre data-language="klingon"' in render("```klingon\nqapla\n```")
    assert "<span" not in render("```klingon\nqapla\n```")


def test_a_long_block_stays_plain() -> None:
    code = "x = 1\n" * (HIGHLIGHT_LIMIT // 6 + 1)
    assert "<span" not in render(f"```python\n{code}```")
    assert "<span" in render("```python\nx = 1\n```")


def test_an_open_fence_is_code_already() -> None:
    html = render("Look:\n\n```python\nprint(")
    assert '<pre data-language="python"' in html
    assert "</code></pre>" in html


def test_every_beginning_of_an_answer_has_a_rendering() -> None:
    answer = (
        "# A\n\n| a | b |\n|--|--|\n| 1 | **2** |\n\n- x\n  - `y`\n\n```sh\nls\n```\n[z](http://z)"
    )
    for end in range(len(answer) + 1):
        inspect(answer[:end])


def test_a_paragraph_too_long_to_parse_is_shown_as_written() -> None:
    text = "*a* [b](http://c) " * (PARAGRAPH_LIMIT // 18 + 1)
    assert inspect(text).text.strip() == text.strip()
    assert inspect(text).links == []


def test_a_text_of_too_many_lines_is_shown_as_written() -> None:
    text = "> a\n" * (LINE_LIMIT + 1)
    assert inspect(text).text == text
    assert inspect(text).tags == ["pre"]


NASTY = {
    "brackets": "[" * 10_000,
    "closed brackets": "[" * 10_000 + "]" * 10_000,
    "images": "![" * 10_000,
    "links": "[a](" * 10_000,
    "quotes": ">" * 10_000 + "a",
    "lazy quotes": "> " * 30 + "a\n" * 9_000,
    "lists": "\n".join(" " * (2 * depth) + "- a" for depth in range(400)),
    "emphasis": "*a_b" * 10_000,
    "stars": "**a " * 10_000,
    "ticks": " ".join("`" * count for count in range(1, 300)),
    "entities": "&" * 100_000,
    "tags": "<a" * 50_000,
    "comments": "<!--" * 25_000,
    "definitions": "".join(f"[a{number}]: b\n" for number in range(9_000)),
    "wide table": "|" + "a|" * 3_000 + "\n|" + "-|" * 3_000 + "\n" + "|b\n" * 3_000,
    "addresses": "http://a.b) " * 1_600,
    "newlines": "\n" * 200_000,
    "code of newlines": "```python\n" + "\n" * 9_000 + "\n```",
    "code of brackets": "```javascript\n" + "(" * 11_000 + "\n```",
    "200 KB of prose": "The quick *brown* fox. " * 8_700,
    "nul": "\0" * 1_000,
    "surrogate": "a\ud800b",
}


@pytest.mark.parametrize("name", NASTY)
def test_hostile_text_ends(name: str) -> None:
    # Quadratic work on any of these takes minutes, which the run's own limit would show.
    inspect(NASTY[name])


PIECES = st.sampled_from(
    [
        *(
            "# ",
            "- ",
            "1. ",
            "> ",
            "```",
            "```py\n",
            "~~~",
            "`",
            "*",
            "_",
            "**",
            "~~",
            "|",
            "|-|-|",
        ),
        *("[", "]", "(", ")", "![", "](", "<", ">", "&", "&lt;", "&#x3c;", "\\", '"', "'", "\n"),
        *("\n\n", "    ", "\t", "javascript:", "data:image/png;base64,", "http://", "https://a.b"),
        *("<script>", "</script>", "onerror=", "<img src=", "<svg/onload=", "<!--", "-->", "\0"),
        *("<![CDATA[", "]]>", "<a href=", "<style>", "</pre>", "</code>", "text", "é", "\u202e"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=300)))
@example("[a](javascript&colon;alert(1))")
@example('[a](https://b" onclick="alert(1))')
@example('![a](data:image/png;base64,AA"onerror="alert(1))')
@example('```"onmouseover="alert(1)\nx\n```')
@example("<https://a.b/\"onclick='x'>")
def test_nothing_outside_the_allow_list_ever_comes_out(markdown: str) -> None:
    inspect(markdown)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.text(alphabet="(){}<>'\"`#/*$%a0 \n\t\\=&;:", max_size=80),
)
def test_code_of_any_kind_loses_nothing(language: str, code: str) -> None:
    fence = "`" * 90
    kept = code.replace("\t", " ").replace(" ", "")
    assert inspect(f"{fence}{language}\n{code}\n{fence}").text.replace("\t", " ").replace(
        " ", ""
    ).rstrip("\n") == kept.rstrip("\n")
