"""Markdown to safe HTML, on the server: the page runs no parser and trusts this output alone.

Three walls, each enough on its own: raw HTML in the source is text, only known URL schemes become
links, and the sanitiser keeps a short list of tags. Nothing in the output loads anything: an image
of the network becomes a link to it. Pure: no state but caches.
"""

import functools
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

HIGHLIGHT_LIMIT = 12_000
"""Characters of one code block above which it stays plain."""
HIGHLIGHT_SECONDS = 0.2
"""Longest time to colour one block. Many of Pygments' lexers are quadratic on odd input."""
HIGHLIGHT_BUDGET = 1.0
"""Seconds for colouring in one document; the blocks after that stay plain."""
PARAGRAPH_LIMIT = 20_000
"""Characters of one paragraph above which it is not parsed: some parts of that are quadratic."""
LINE_LIMIT = 10_000
"""Lines above which a document is shown as it was written: lazy quotes cost lines times depth."""
NESTING_LIMIT = 20
"""Depth of tags (a list and its item are two) below which nothing more is shown."""

# fmt: off
LANGUAGES = frozenset({
    "awk", "bash", "bat", "batch", "c", "c#", "c++", "clojure", "cmake", "cpp", "cs", "csharp",
    "css", "dart", "diff", "docker", "dockerfile", "elixir", "erlang", "f#", "fsharp", "go",
    "golang", "graphql", "groovy", "haskell", "hcl", "hs", "html", "java", "javascript", "js",
    "json", "json5", "jsx", "kotlin", "latex", "lisp", "lua", "make", "makefile", "nginx",
    "nix", "objc", "objective-c", "perl", "php", "postgresql", "powershell", "proto",
    "protobuf", "ps1", "py", "python", "python3", "r", "rb", "rs", "ruby", "rust", "scss", "sh",
    "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "udiff", "vim", "vue",
    "xml", "yaml", "yml", "zig", "zsh",
})
"""Languages that are coloured. Others stay plain: some lexers (ini, MATLAB, Scala, OCaml) spend
seconds in one regular expression on odd input, where no limit of time can stop them, and some
(Markdown, HTTP) hand parts of the text to any other."""
TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
    "img", "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead",
    "tr", "ul",
}
# fmt: on
ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "pre": {"data-language"},
}
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+", re.ASCII)
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE | re.ASCII)
_ADDRESS = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE | re.ASCII)
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}", re.ASCII)


def render(markdown: str) -> str:
    """Turn CommonMark with tables and strikethrough into sanitised HTML.

    Never raises: whatever a model writes has a rendering, and an unfinished answer too (an open
    fence is a code block). Works in time about proportional to the text.
    """
    import nh3
    from markdown_it.common.utils import escapeHtml

    # A lone surrogate is no text that a browser could be sent.
    source = markdown.encode("utf-8", "replace").decode("utf-8")
    if source.count("\n") > LINE_LIMIT:
        return f"<pre>{escapeHtml(source)}</pre>"
    html = _parser().render(source, {"coloured": 0.0})
    return nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=set(),
        attributes=ATTRIBUTES,
        allowed_classes=_classes(),
        attribute_filter=_keep_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}, "pre": {"tabindex": "0"}},
    )


@functools.cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING_LIMIT})
    parser.enable(["table", "strikethrough"])
    parser.validateLink = _is_link  # type: ignore[method-assign]  # its documented hook
    parser.core.ruler.before("inline", "cap", _cap_paragraphs)
    parser.core.ruler.after("inline", "addresses", _link_addresses)
    parser.add_render_rule("fence", _render_code)
    parser.add_render_rule("code_block", _render_code)
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("th_open", _render_cell)
    parser.add_render_rule("td_open", _render_cell)
    return parser


def _is_link(url: str) -> bool:
    return bool(_LINK.match(url) or _DATA_IMAGE.fullmatch(url))


def _cap_paragraphs(state: Any) -> None:
    """Show a paragraph that is too long to parse as it was written."""
    from markdown_it.token import Token

    for token in state.tokens:
        if token.type == "inline" and len(token.content) > PARAGRAPH_LIMIT:
            token.children = [Token("text", "", 0, content=token.content)]
            token.content = ""


def _link_addresses(state: Any) -> None:
    """Make bare web addresses links, as people expect of a chat."""
    for token in state.tokens:
        if token.type == "inline" and token.children and "://" in token.content:
            token.children = _with_links(token.children)


def _with_links(children: "Sequence[Token]") -> "list[Token]":
    from markdown_it.token import Token

    result: list[Token] = []
    inside = 0
    for child in children:
        inside += (child.type == "link_open") - (child.type == "link_close")
        if child.type != "text" or inside or "://" not in child.content:
            result.append(child)
            continue
        end = 0
        for found in _ADDRESS.finditer(child.content):
            address = found.group().rstrip(".,;:!?*_~")
            if address.endswith(")") and "(" not in address:
                address = address.rstrip(").,;:!?")
            if len(address) <= len("https://"):
                continue
            result.append(Token("text", "", 0, content=child.content[end : found.start()]))
            result.append(Token("link_open", "a", 1, attrs={"href": address}))
            result.append(Token("text", "", 0, content=address))
            result.append(Token("link_close", "a", -1))
            end = found.start() + len(address)
        result.append(Token("text", "", 0, content=child.content[end:]))
    return result


def _render_code(
    _renderer: Any, tokens: "Sequence[Token]", index: int, _options: Any, env: Any
) -> str:
    from markdown_it.common.utils import escapeHtml

    token = tokens[index]
    code, info = token.content, token.info.strip().split()
    named = _LANGUAGE.match(info[0]) if info else None
    language = named.group() if named else ""
    started = time.perf_counter()
    known = language.lower() in LANGUAGES
    if known and len(code) <= HIGHLIGHT_LIMIT and env["coloured"] < HIGHLIGHT_BUDGET:
        html = _highlight(code, language.lower())
        env["coloured"] += time.perf_counter() - started
    else:
        html = escapeHtml(code)
    label = f' data-language="{escapeHtml(language)}"' if language else ""
    return f"<pre{label}><code>{html}</code></pre>\n"


@functools.lru_cache(maxsize=64)
def _highlight(code: str, language: str) -> str:
    """Colour code by classes; `language` is one of LANGUAGES.

    Cached, since an answer is rendered again and again as it grows.
    """
    from markdown_it.common.utils import escapeHtml
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # no stubs
    from pygments.token import STANDARD_TYPES  # type: ignore[import-untyped]  # no stubs

    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    deadline = time.perf_counter() + HIGHLIGHT_SECONDS
    pieces = []
    for kind, text in lexer.get_tokens(code):
        if time.perf_counter() > deadline:
            return escapeHtml(code)
        while kind not in STANDARD_TYPES:
            kind = kind.parent
        name = STANDARD_TYPES[kind]
        piece = escapeHtml(text)
        pieces.append(f'<span class="hl-{name}">{piece}</span>' if name else piece)
    return "".join(pieces)


def _render_image(
    _renderer: Any, tokens: "Sequence[Token]", index: int, _options: Any, _env: Any
) -> str:
    from markdown_it.common.utils import escapeHtml

    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    alt = token.content
    if _DATA_IMAGE.fullmatch(source):
        return f'<img src="{source}" alt="{escapeHtml(alt)}">'
    # Loading it would tell its host who reads what; the person may still choose to.
    return f'<a href="{escapeHtml(source)}">{escapeHtml(alt or source)}</a>'


def _render_cell(
    _renderer: Any, tokens: "Sequence[Token]", index: int, _options: Any, _env: Any
) -> str:
    # The parser says alignment by a style attribute, which the page's policy forbids.
    token = tokens[index]
    _, _, side = str(token.attrs.get("style", "")).partition("text-align:")
    return f'<{token.tag} class="align-{side}">' if side else f"<{token.tag}>"


@functools.cache
def _classes() -> dict[str, set[str]]:
    from pygments.token import STANDARD_TYPES

    cells = {"align-left", "align-center", "align-right"}
    code = {f"hl-{name}" for name in STANDARD_TYPES.values() if name}
    return {"span": code, "th": cells, "td": cells}


def _keep_attribute(tag: str, name: str, value: str) -> str | None:
    """Refuse what the URL schemes alone would let through."""
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "src":
        return value if tag == "img" and _DATA_IMAGE.fullmatch(value) else None
    return value
