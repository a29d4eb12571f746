"""How code and mathematics look, whatever the language of the prose around them. Pure data.

Patterns repeat only within bounds, so that none can backtrack far; each is tried only where one
of its marks stands in the text, which plain prose passes at a glance. About 3 together are sure.
"""

import re
from collections.abc import Iterable

Shape = tuple[float, tuple[str, ...], re.Pattern[str]]
"""Its weight, the marks of which one must be there (none: any text), and the pattern."""

_TRACE_BEGINS = re.compile(
    r"Traceback \(most|\s{0,8}at [\w.$<>/]{2,80}\(|\s{1,8}File \"|fatal: |\s{0,4}-->"
    r"|(?:WARN|ERROR|DEBUG|INFO)\s{1,3}[\w.]{3,80}"
)
_TRACE_MARKS = (
    *("Error", "Exception", "error[", "panic:", "Segm", "dumped", "not found", "ERR!", "is not"),
    *("annot read", "exit ", "line ", "thread", "such file", "Traceback", "E"),
)
_TRACE = re.compile(
    r"\b[A-Z]\w{1,30}(?:Error|Exception)\b|\berror\[E\d|\bpanic:|Segmentation fault|core dumped"
    r"|command not found|\bnpm ERR!|\bE[A-Z]{5,14}\b(?=:| )|is not a function|annot read propert"
    r"|exit (?:code|status) \d|\bline \d{1,6}, in |Exception in thread|is not defined\b"
    r"|No such file or directory|Traceback \(most"
)
LINE_OF_CODE = re.compile(
    r"^\s{0,40}(?:"
    r"(?:async )?def \w+ ?\(|class \w+\s?[:({]|from [\w.]+ import |import [\w.{*\"'][^.?!]{0,60}$"
    r"|#include|#!/|(?:public|private|protected|static|export|const|let|var|final) [\w<\[{ ]{1,40}"
    r"[=({;:]|func \w* ?\(|func \(|fn \w+ ?[(<]|(?:if|for|while|switch|catch|elif) ?\(.{1,200}[){]"
    r"|(?:if|for|while|elif|with|else|try|except)\b.{0,120}:$|return\b.{0,100}[;)\]]$"
    r"|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|EXPLAIN) "
    r"|(?:\$ |sudo |npm |pip3? |docker |git |kubectl |curl |cd |ls |chmod |brew |apt )[\w./\-]"
    r"|</?[a-zA-Z][^>]{0,80}>|@[\w.]+(?:\(.{0,80}\))?$"
    r"|[\w.\[\]\"']{1,40} ?[-+*/|]?= ?\S{1,80}$"
    r"|[{}\[\]()]{1,3}[;,]?$|[-+] {2,12}\S|\S.{0,160}(?:;|\{|\);|=>|->)$|\"[\w-]+\":\s?[\[{\"\d]"
    r"|\.?[\w-]+:\s?\$?[\w-]*\s?\{|(?:all|clean|build|install|test): ?\w*$|\.PHONY|\t(?:gcc|cc|@)"
    r")"
)
_FILE = (
    r"(?<=[\w-])\.(?:py|js|jsx|ts|tsx|rs|go|java|kt|c|h|cpp|hpp|cs|rb|php|sh|bash|sql|html|css"
    r"|scss|vue|json|ya?ml|toml|ini|lock|ipynb|swift|lua|exe|dll|jar|log|conf|tf|gradle)\b"
)
_VERB = r"\b(?:GET|POST|PUT|PATCH|DELETE)\b"
CODE: tuple[Shape, ...] = (
    (3.0, ("(", "#"), re.compile(r"\b(?:def|function|fn) \w{0,40}\(|#include ?<")),
    (2.5, ("(",), re.compile(r"\bin range\(|\bprint\(|console\.log\(|\becho \$|\blen\(\w")),
    (1.5, ("`",), re.compile(r"`[^`\n]{1,120}[^\w\s`.,!?'][^`\n]{0,80}`|`[a-z]\w{0,40}`")),
    (1.5, ("(",), re.compile(r"\w\(\)|\b[a-z_]\w{1,30}\.[a-z_]\w{1,30}\(")),
    (1.0, ("_",), re.compile(r"\b[a-z]{2,20}_[a-z_]{2,30}\b(?!\})|\b_[a-z]{2,20}\b")),
    (1.5, (), re.compile(r"(?<=[a-z]{2})[A-Z][a-z]{2}")),
    (
        1.5,
        ("=", "&&", "||", "::", "++", "<?", "?."),
        re.compile(r"===|!==|!=|&&|\|\||=>|::\w|\+\+[;)]|:=|<\?php|\?\.\w|=="),
    ),
    (2.0, (".",), re.compile(_FILE)),
    (1.0, (" -",), re.compile(r" --[a-z][\w-]{2,30}\b| -[A-Z][a-z]?\w{0,4}\b(?= ['\"/])")),
    (
        2.5,
        ("GET", "POST", "PUT", "PATCH", "ort "),
        re.compile(rf"{_VERB}.{{1,40}}{_VERB}|\b[Pp]ort \d{{2,5}}\b"),
    ),
    (1.0, ("/",), re.compile(r"(?<![\w:/])/(?:var|etc|usr|home|tmp|opt|dev|api|bin)/[\w./-]")),
    (
        2.0,
        ("localhost", "127.", "0x"),
        re.compile(r"localhost:\d|\b127\.0\.0\.1|\b0x[\da-fA-F]{2}"),
    ),
    (
        2.0,
        ('"', "<"),
        re.compile(r"\{\s{0,4}\"\w{1,30}\"\s?:|</?(?:div|span|html|body|p|a|script|h1|table)\b"),
    ),
    (
        2.5,
        ("olumn ", "ell ", "palte ", "olonne ", "olumna ", "elle "),
        re.compile(
            r"(?:[Cc]olumn|[Cc]ell|[Ss]palte|[Zz]elle|[Cc]olonne|[Cc]olumna) [A-Z]\d{0,4}\b"
        ),
    ),
    (1.5, (" .",), re.compile(r" \.[a-z]\w{3,20}\b(?!\.)")),
    (2.5, (">", "|"), re.compile(r"\d>&\d|2>/dev|\| ?(?:grep|awk|sed|xargs|jq)\b")),
    (
        2.0,
        ("(", "#", "<"),
        re.compile(
            r"=[A-Z]{2,12}\(|\b[A-Z]{3,12}\([A-Z]\w?\d|#REF!|#N/A|<[a-zA-Z]\w{0,20} [\w-]{1,20}="
        ),
    ),
    (
        2.0,
        ("SELECT", "GROUP", "JOIN"),
        re.compile(r"\bSELECT\b.{1,200}\bFROM\b|\bGROUP BY\b|\b(?:LEFT|INNER) JOIN\b"),
    ),
    (
        1.5,
        ("*", "[", "int ", "void ", "$"),
        re.compile(
            r"\*\w{1,12} ?= ?&?\w|\b(?:int|void) \w{1,30} ?[=(;,*]|\bint \*"
            r"|\w\[\w{1,12}\] ?[-+*]?=|\$\{?[A-Z_]{3,}"
        ),
    ),
)
_SIGNS = "∫∑∏√∞∂∀∃∈\u211d\u2124"  # the last two: reals, integers
_TIMES = "*\u00d7÷^"
MATHS: tuple[Shape, ...] = (
    (1.5, ("=",), re.compile(r"\b[xyfn] ?= ?[-\d(a-z]")),
    (
        2.5,
        ("\\", *_SIGNS),
        re.compile(
            r"\\(?:int|frac|sum|sqrt|lim|prod|partial|infty|mathbb|begin)(?![a-z])|[" + _SIGNS + "]"
        ),
    ),
    (
        2.0,
        tuple("=<>≤≥"),
        re.compile(
            r"(?<![\w.])\d{0,6}[a-z]\d?'{0,2}(?:\^\d{1,3})? ?[-+*/] ?\d{0,6}[a-z]?'{0,2}\b"
            r"[^\n=?!,;]{0,60}[=<>≤≥]"
        ),
    ),
    (1.5, ("(", "[", "^"), re.compile(r"\([a-z] ?[-+*/] ?\d|\b[ep]\[|\b[a-z]\^2 ?[-+]")),
    (
        2.0,
        ("^", "_"),
        re.compile(r"(?<!\w)[a-z]\^[\d({a-z]|\d\^(?:[a-z]|\d{2})|\b[a-z]_\{?[a-z0-9]|\)\^\(?\d"),
    ),
    (
        1.5,
        ("(", "^"),
        re.compile(r"\b(?:sin|cos|tan|ln|log|exp|sqrt)\^?\d?\(|\b[fghpu]\((?:[a-z]|x, ?y)\) ?="),
    ),
    (
        1.0,
        ("=", ")", "-", "+"),
        re.compile(r"[-+*/] ?\d{0,4}[xyz]\b ?=|\b\d{1,4}[xyzn]\b(?: ?[-+=]|\))"),
    ),
)
ARITHMETIC: tuple[Shape, ...] = (
    (
        2.5,
        tuple(_TIMES + "+x/-%"),
        re.compile(rf"\d ?[{_TIMES}] ?\d|\d ?\+ ?\d|\d [x/-] \d|\d ?% ?(?:of|von|de|auf|off)\b"),
    ),
    (
        2.0,
        ("/", "how"),
        re.compile(
            r"^\s{0,4}\d+ ?/ ?\d+ ?\??$|\d/\d+ (?:as|of|in)\b|how (?:many|much) (?:is|are) \d"
        ),
    ),
)


def weigh(text: str, shapes: Iterable[Shape]) -> float:
    """Add up the weights of the shapes that a text shows."""
    weight = 0.0
    for each, marks, pattern in shapes:
        if (not marks or any(mark in text for mark in marks)) and pattern.search(text):
            weight += each
    return weight


def is_trace(line: str) -> bool:
    """Tell a line of an error report, of whatever language."""
    if _TRACE_BEGINS.match(line):
        return True
    return any(mark in line for mark in _TRACE_MARKS) and _TRACE.search(line) is not None
