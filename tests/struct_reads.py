"""Which fields of which classes the code reads, found by following annotations through it. Pure.

Types come from parameters, fields, `self.x = …`, loops, calls and imports, as far as they can be
told without running anything; branches do not matter. What has no type that can be told counts
for no class at all, so that a field is never held for read because another has its name.
"""

import ast
from collections.abc import Iterable, Mapping

import msgspec

from tests.annotations import (
    NOTHING,
    Kinds,
    Module,
    World,
    described,
    last_name,
    meaning_of,
    module_of,
    out_of,
    union,
    within,
)

PASSES = 3
"""How often the code is gone through, since a type may be told after it is used."""
ONE_OF = {"get", "max", "min", "next", "pop"}
"""Calls that give one of what their containers hold."""
SAME = {
    "chain",
    "copy",
    "deepcopy",
    "dict",
    "enumerate",
    "filter",
    "frozenset",
    "items",
    "iter",
    "list",
    "replace",
    "reversed",
    "set",
    "sorted",
    "tuple",
    "values",
    "zip",
}
"""Calls that give a container of the same, or the same struct changed."""


class Read(msgspec.Struct, frozen=True):
    """One field of one class, read somewhere."""

    owner: str
    field: str


def reads(files: Mapping[str, str], silent: Iterable[str] = ()) -> set[Read]:
    """Find what is read in these files: module name -> code. Those of `silent` only tell types."""
    modules = [module_of(name, text) for name, text in files.items()]
    world = World(modules)
    found: set[Read] = set()
    for last in (False,) * (PASSES - 1) + (True,):
        for module in modules:
            if last and module.name in silent:
                continue
            reader = _Reader(world, module)
            reader.block(module.tree.body)
            if last:
                found |= reader.found
    return found | _through_protocols(world, found)


class _Reader:
    """Goes through one scope; a scope within begins with what this one knows."""

    def __init__(
        self,
        world: World,
        module: Module,
        known: Mapping[str, Kinds] | None = None,
        owner: str | None = None,
        found: set[Read] | None = None,
    ) -> None:
        self.world = world
        self.module = module
        self.known = dict(known or {})
        self.owner = owner
        self.found: set[Read] = set() if found is None else found

    def block(self, body: Iterable[ast.stmt]) -> None:
        """Go through statements in their order."""
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.ClassDef(name=name, body=body):
                owner = f"{self.module.name}.{name}"
                _Reader(self.world, self.module, self.known, owner, self.found).block(body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node)
            case ast.Assign(targets=targets, value=value):
                kinds = self.kinds(value)
                for target in targets:
                    self._bind(target, kinds, kinds)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                kinds = described(annotation, self.module)
                if value is not None:
                    kinds |= self.kinds(value)
                self._bind(target, kinds, kinds)
            case ast.For(target=target, iter=each) | ast.AsyncFor(target=target, iter=each):
                kinds = out_of(self.kinds(each))
                self._bind(target, kinds, kinds)
                self.block((*node.body, *node.orelse))
            case ast.Match(subject=subject, cases=cases):
                self.kinds(subject)
                for case in cases:
                    self._pattern(case.pattern)
                    self._children(case.guard)
                    self.block(case.body)
            case _:
                self._children(node)

    def _children(self, node: ast.AST | None) -> None:
        for child in ast.iter_child_nodes(node) if node is not None else ():
            match child:
                case ast.stmt():
                    self._statement(child)
                case ast.expr():
                    self.kinds(child)
                case ast.withitem(context_expr=given, optional_vars=target):
                    kinds = self.kinds(given)
                    if target is not None:
                        self._bind(target, kinds, kinds)
                case _:
                    self._children(child)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        inner = _Reader(self.world, self.module, self.known, self.owner, self.found)
        given = node.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            kinds = described(argument.annotation, self.module)
            if argument.arg == "self" and self.owner:
                kinds = frozenset({(0, self.owner)})
            inner.known[argument.arg] = kinds
        if given.vararg is not None:
            told = described(given.vararg.annotation, self.module)
            inner.known[given.vararg.arg] = within(told)
        self._children(given)
        inner.block(node.body)
        self.known.setdefault(node.name, NOTHING)

    def _bind(self, target: ast.expr, kinds: Kinds, spread: Kinds) -> None:
        """Give a target its kinds; several targets at once may each be any of them."""
        match target:
            case ast.Name(id=name):
                self.known[name] = self.known.get(name, NOTHING) | kinds
            case ast.Attribute(value=value, attr=name):
                for depth, owner in self.kinds(value):
                    made = self.world.classes.get(owner)
                    if depth == 0 and made is not None:
                        made.members[name] = made.members.get(name, NOTHING) | kinds
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for inner in targets:
                    self._bind(inner, spread | out_of(spread), spread)
            case ast.Starred(value=inner):
                self._bind(inner, kinds, spread)

    def _pattern(self, pattern: ast.pattern) -> None:
        if isinstance(pattern, ast.MatchClass):
            owner = meaning_of(pattern.cls, self.module)
            for name, inner in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
                if owner:
                    self.found.add(Read(owner, name))
                    if isinstance(inner, ast.MatchAs) and inner.name:
                        self.known[inner.name] = self.world.member(owner, name)
        for child in ast.iter_child_nodes(pattern):
            if isinstance(child, ast.pattern):
                self._pattern(child)

    def kinds(self, node: ast.expr | None) -> Kinds:
        """Tell what an expression is, noting what is read in it."""
        match node:
            case ast.Name(id=name):
                return self.known.get(name, NOTHING)
            case ast.Attribute(value=value, attr=name, ctx=ast.Load()):
                return self._member(self.kinds(value), name)
            case ast.Call():
                return self._call(node)
            case ast.Subscript(value=value, slice=index):
                self.kinds(index)
                found = self.kinds(value)
                return found if isinstance(index, ast.Slice) else out_of(found)
            case ast.IfExp(test=test, body=body, orelse=other):
                self.kinds(test)
                return self.kinds(body) | self.kinds(other)
            case ast.BoolOp(values=values):
                return union([self.kinds(value) for value in values])
            case ast.BinOp(left=left, right=right):
                return self.kinds(left) | self.kinds(right)
            case ast.NamedExpr(target=target, value=value):
                kinds = self.kinds(value)
                self._bind(target, kinds, kinds)
                return kinds
            case ast.Await(value=value):
                return self.kinds(value)
            case ast.Starred(value=value):
                return out_of(self.kinds(value))
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return within(union([self.kinds(item) for item in items]))
            case ast.Dict(keys=keys, values=values):
                for key in keys:
                    self.kinds(key)
                return within(union([self.kinds(value) for value in values]))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return within(self._comprehended(node.generators).kinds(node.elt))
            case ast.DictComp():
                inner = self._comprehended(node.generators)
                inner.kinds(node.key)
                return within(inner.kinds(node.value))
            case ast.Lambda():
                return self._lambda(node, NOTHING)
        self._children(node)
        return NOTHING

    def _member(self, owners: Kinds, name: str) -> Kinds:
        told = NOTHING
        for depth, owner in owners:
            if depth == 0:
                self.found.add(Read(owner, name))
                told |= self.world.member(owner, name)
        return told

    def _call(self, node: ast.Call) -> Kinds:
        given = (*node.args, *(word.value for word in node.keywords))
        kinds = [NOTHING if isinstance(item, ast.Lambda) else self.kinds(item) for item in given]
        arguments = union(kinds)
        for item in given:
            if isinstance(item, ast.Lambda):
                self._lambda(item, out_of(arguments))
        called, name = node.func, last_name(node.func)
        meant = meaning_of(called, self.module)
        if meant in self.world.classes:
            return frozenset({(0, meant)})
        if meant in self.world.functions:
            return self.world.functions[meant]
        of = self.kinds(called.value) if isinstance(called, ast.Attribute) else NOTHING
        told = self._member(of, name)
        contained = frozenset(each for each in of if each[0]) or arguments
        if name in ONE_OF:
            return told | out_of(contained) | (arguments if name in ("get", "pop") else NOTHING)
        return told | (contained if name in SAME else NOTHING)

    def _lambda(self, node: ast.Lambda, given: Kinds) -> Kinds:
        inner = _Reader(self.world, self.module, self.known, self.owner, self.found)
        for argument in node.args.args:
            inner.known[argument.arg] = given
        return inner.kinds(node.body)

    def _comprehended(self, generators: Iterable[ast.comprehension]) -> "_Reader":
        inner = _Reader(self.world, self.module, self.known, self.owner, self.found)
        for generator in generators:
            kinds = out_of(inner.kinds(generator.iter))
            inner._bind(generator.target, kinds, kinds)
            for condition in generator.ifs:
                inner.kinds(condition)
        return inner


def _through_protocols(world: World, read_off: Iterable[Read]) -> set[Read]:
    """Count what is read of a protocol for every class that has its members, as it types them."""

    def typed(kinds: Kinds) -> Kinds:
        return frozenset(seen for seen in kinds if seen[1] in world.classes)

    found = set()
    for read in read_off:
        asked = world.classes.get(read.owner)
        if asked is not None and asked.protocol:
            found |= {
                Read(name, read.field)
                for name, made in world.classes.items()
                if not made.protocol
                and asked.members.keys() <= made.members.keys()
                and all(
                    typed(told) == typed(made.members[member])
                    for member, told in asked.members.items()
                )
            }
    return found
