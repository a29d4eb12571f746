"""What annotations tell about the classes and functions of the code, without running it. Pure."""

import ast
from collections.abc import Iterable, Mapping

import msgspec

Seen = tuple[int, str]
"""How many containers deep, and the class: `(1, "m.A")` for `tuple[m.A, ...]`."""
Kinds = frozenset[Seen]

NOTHING: Kinds = frozenset()
SEE_THROUGH = {"Annotated", "ClassVar", "Final", "Optional"}
"""`Annotated[X, …]` is what X is; of any other `Y[X]`, X lies within."""
OPAQUE = {"Literal", "type"}


class Class(msgspec.Struct):
    """What is known of a class."""

    members: dict[str, Kinds] = {}
    """Fields, properties and what methods return."""
    protocol: bool = False


class Module(msgspec.Struct, frozen=True):
    """One file: what its names mean, and its code."""

    name: str
    tree: ast.Module
    names: Mapping[str, str]


class World:
    """Every class and function of the files."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, Kinds] = {}
        modules = list(modules)
        for module in modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    self.classes[f"{module.name}.{node.name}"] = Class()
        for module in modules:
            self._declare(module)

    def _declare(self, module: Module) -> None:
        def told(annotation: ast.expr | None) -> Kinds:
            return described(annotation, module)

        for outer in module.tree.body:
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[f"{module.name}.{outer.name}"] = told(outer.returns)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            made = self.classes[f"{module.name}.{node.name}"]
            made.protocol = any(last_name(base) == "Protocol" for base in node.bases)
            for inner in node.body:
                match inner:
                    case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                        made.members[name] = told(annotation)
                    case ast.FunctionDef(name=name, returns=returns):
                        made.members[name] = told(returns)
                    case ast.AsyncFunctionDef(name=name, returns=returns):
                        made.members[name] = told(returns)

    def member(self, owner: str, name: str) -> Kinds:
        """Tell what a member of a class is, or what it returns when called."""
        made = self.classes.get(owner)
        return NOTHING if made is None else made.members.get(name, NOTHING)


def described(annotation: ast.expr | None, module: Module) -> Kinds:
    """Read an annotation: `Mapping[str, schema.Rule] | None` is one container deep."""
    match annotation:
        case ast.Constant(value=str() as text):
            return described(ast.parse(text, mode="eval").body, module)
        case ast.Name() | ast.Attribute():
            meant = meaning_of(annotation, module)
            return frozenset({(0, meant)}) if meant else NOTHING
        case ast.BinOp(left=left, right=right):
            return described(left, module) | described(right, module)
        case ast.Subscript(value=outer, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if last_name(outer) in OPAQUE:
                return NOTHING
            if last_name(outer) in SEE_THROUGH:
                return described(parts[0], module)
            return union(within(described(part, module)) for part in parts)
    return NOTHING


def meaning_of(node: ast.expr, module: Module) -> str | None:
    """Resolve a dotted name by the imports of its module."""
    match node:
        case ast.Name(id=name):
            return module.names.get(name)
        case ast.Attribute(value=value, attr=name):
            outer = meaning_of(value, module)
            return f"{outer}.{name}" if outer else None
    return None


def module_of(name: str, text: str) -> Module:
    """Parse a file, and find out what its names mean."""
    tree = ast.parse(text)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                names |= {alias.asname or alias.name: alias.name for alias in imported}
            case ast.ImportFrom(module=str() as source, names=imported):
                names |= {
                    alias.asname or alias.name: f"{source}.{alias.name}" for alias in imported
                }
            case ast.ClassDef(name=own):
                names[own] = f"{name}.{own}"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names[node.name] = f"{name}.{node.name}"
    return Module(name, tree, names)


def last_name(node: ast.expr) -> str:
    """Give `c` of `a.b.c`; empty for what is no name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def union(kinds: Iterable[Kinds]) -> Kinds:
    """Say that it may be any of these."""
    return frozenset().union(*kinds)


def within(kinds: Kinds) -> Kinds:
    """Put it into a container."""
    return frozenset((depth + 1, name) for depth, name in kinds)


def out_of(kinds: Kinds) -> Kinds:
    """Take it out of its container; what is in none is left behind."""
    return frozenset((depth - 1, name) for depth, name in kinds if depth)
