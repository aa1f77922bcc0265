"""Which code of the library a notebook or a function reaches, and the digest of that code.

The unit is the definition, not the file: from the names that a piece of code uses, each is followed to the statement
that binds it, through imports, and on from there. Docstrings, comments and what is never reached change no digest.

In doubt a definition counts, because a wrong "unchanged" would hand back results of other code:

- a module that is used other than as `module.name` counts whole, and so does one that uses `globals()`;
- of a reached module, top-level statements that bind no name count, and definitions with a decorator that may register
  them; so do such statements of every module that it imports;
- a method counts if any reached code has its name as an attribute or a string; special methods always; and all methods
  of a class that derives from one outside the library (`nn.Module`, `BaseModel`), because they are called from there;
- a file beside a module, such as a template, counts by its bytes if reached code of the module names it in a string.

Not seen: names put together while the program runs, such as `import_module(f"s2f.{name}")`, and a method that only code
outside the library calls, of a class without a base outside it.
"""

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[1]
DIGITS = 16
# Decorators that neither call what they decorate by themselves nor enter it anywhere.
PLAIN = {
    "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "inference_mode", "lru_cache", "no_grad",
    "property", "staticmethod",
}  # fmt: skip
# Bases outside the library that call no method but special ones.
PASSIVE = {"object", "NamedTuple", "Protocol", "ABC", "Enum"}
DYNAMIC = {"globals", "eval", "exec"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = ast.FunctionDef | ast.AsyncFunctionDef
Chain = tuple[str, ...]  # a dotted name: ("retrieval", "ranks")


def digest(*objects: object) -> str:
    """The digest of all code that functions or classes reach, themselves included, in the package that holds them."""
    (package,) = {item.__module__.split(".")[0] for item in objects}
    return _digest(package, tuple((item.__module__, item.__qualname__.split(".")[0]) for item in objects))


@cache
def _digest(package: str, places: tuple[tuple[str, str], ...]) -> str:
    # Read once: the files may be edited later, while this process goes on with what it imported.
    search = _Search(Library(Path(find_spec(package).origin).parent))
    for module, name in places:
        search.follow(module, (name,))
    return _hash("".join(f"{file} {value}\n" for file, value in search.digests().items()))


def _hash(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:DIGITS]


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # whoever runs the code sees them
        return ast.parse(source)


# ---- the syntax tree


class _Import(NamedTuple):
    """`name` of `module`, or the module itself, under a local name."""

    local: str
    module: str
    name: str | None


@dataclass
class _Piece:
    """What a statement or a method says: its text without docstrings and comments, and all that leads on from it."""

    text: str
    chains: set[Chain] = field(default_factory=set)
    words: set[str] = field(default_factory=set)  # attributes, and strings that could name one
    strings: set[str] = field(default_factory=set)
    imports: list[_Import] = field(default_factory=list)
    shared: bool = False  # its imports are seen from outside it
    names_any_method: bool = False

    @classmethod
    def of(cls, node: ast.AST, package: str = "", docstrings: bool = False) -> "_Piece":
        piece = cls(_text(node, docstrings))
        waiting = [node]
        while waiting:
            part = waiting.pop()
            piece._add(part, package)
            # Inside `a.b` the name `a` does not stand alone.
            waiting += [] if isinstance(part, ast.Attribute) and _chain(part) else ast.iter_child_nodes(part)
        piece.shared = not isinstance(node, Function | ast.Module) or any(
            isinstance(part, ast.Global) for part in ast.walk(node)
        )
        return piece

    def _add(self, part: ast.AST, package: str) -> None:
        match part:
            case ast.Name(id=name):
                self.chains.add((name,))
            case ast.Attribute(attr=attribute):
                chain = _chain(part)
                self.words.update(chain[1:] if chain else (attribute,))
                self.chains |= {chain} if chain else set()
            case ast.Constant(value=str(text)):
                self.strings.add(text)
                self.words.update(text.split(".") if text.replace(".", "").isidentifier() else ())
            case ast.MatchClass(kwd_attrs=attributes):
                self.words.update(attributes)
            case ast.Import() | ast.ImportFrom():
                self.imports += _imports(part, package)
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.JoinedStr() | ast.BinOp() | ast.Call(), *_]):
                self.names_any_method = True
        for name in ("annotation", "returns"):
            if isinstance(annotation := getattr(part, name, None), ast.AST):
                self._add_quoted(annotation)

    def _add_quoted(self, annotation: ast.AST) -> None:
        """Names in a quoted annotation, which pydantic looks up."""
        for part in ast.walk(annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    quoted = ast.parse(part.value.strip(), mode="eval")
                except SyntaxError:  # the shape of an array
                    continue
                self.chains |= _Piece.of(quoted).chains


def _text(node: object, docstrings: bool) -> str:
    """A syntax tree in writing, the same in every version of Python: without fields that are empty."""
    if isinstance(node, list):
        kept = [item for item in node if docstrings or not _is_remark(item)]
        return f"[{','.join(_text(item, docstrings) for item in kept)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={_text(value, docstrings)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != [] and name not in ("ctx", "kind", "type_comment")
    ]
    return f"{type(node).__name__}({','.join(fields)})"


def _is_remark(node: object) -> bool:
    """A docstring, or another string that stands for itself."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _chain(node: ast.AST) -> Chain | None:
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value, attr=attribute):
            return (*chain, attribute) if (chain := _chain(value)) else None


def _imports(node: ast.Import | ast.ImportFrom, package: str) -> list[_Import]:
    if isinstance(node, ast.Import):
        # `import a.b` binds `a`, and makes `a.b` an attribute of it.
        loaded = [_Import("", alias.name, None) for alias in node.names]
        return loaded + [
            _Import(alias.asname, alias.name, None) if alias.asname else _Import(root, root, None)
            for alias in node.names
            for root in [alias.name.split(".")[0]]
        ]
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join([*parents, *([node.module] if node.module else [])])
    return [_Import(alias.asname or alias.name, module, alias.name) for alias in node.names]


def _decorators(node: ast.AST) -> set[str]:
    """The last names of its decorators; `?` for one that has no name."""
    calls = [item.func if isinstance(item, ast.Call) else item for item in getattr(node, "decorator_list", [])]
    return {(_chain(item) or ("?",))[-1] for item in calls}


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds; a function in it binds those that it declares global."""
    names, waiting = set(), [statement]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                names |= {name for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names}
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Only `:=` leaves one of these.
                names |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
                continue
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                names |= {item.local for item in _imports(node, "")} - {""}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
        waiting.extend(ast.iter_child_nodes(node))
    return names


def _binds_nothing_else(statement: ast.stmt) -> bool:
    """Whether it only gives values to names; not `table[key] = value`, a call, a loop."""
    match statement:
        case ast.Assign(targets=targets):
            return all(_is_name(target) for target in targets)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return _is_name(target)
    return isinstance(statement, Definition) and _decorators(statement) <= PLAIN and not _keywords(statement)


def _keywords(statement: ast.stmt) -> list[ast.keyword]:
    """Of a class: `metaclass` and what else its bases make something of."""
    return getattr(statement, "keywords", [])


def _is_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or isinstance(target, ast.Tuple) and all(map(_is_name, target.elts))


def _is_main(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which no import runs."""
    return isinstance(statement, ast.If) and not statement.orelse and "'__main__'" in ast.unparse(statement.test)


# ---- modules


class _Module:
    """The statements of a module, each in one piece, or a class in several: itself, and each method."""

    def __init__(self, name: str, path: Path):
        self.name, self.path = name, path
        source = path.read_text(encoding="utf-8")
        docstrings = "__doc__" in source  # a program that shows them
        self.is_package = path.name == "__init__.py"
        package = name if self.is_package else name.rpartition(".")[0]
        self.pieces: dict[tuple[int, int], _Piece] = {}  # (statement, 0), or (class, number of the method)
        self.methods: dict[int, dict[tuple[int, int], str]] = {}
        self.classes: dict[int, ast.ClassDef] = {}
        self.places: dict[str, list[tuple[int, int]]] = {}
        self.imports: dict[str, list[_Import]] = {}
        self.always: list[tuple[int, int]] = []
        self.loaded: list[_Import] = []
        self.dynamic = False
        tree = _parse(source)
        self.dynamic = any(isinstance(part, ast.Name) and part.id in DYNAMIC for part in ast.walk(tree))
        for number, statement in enumerate(tree.body):
            place = number, 0
            if (_is_remark(statement) and not docstrings) or _is_main(statement):
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._add_imports(statement, number, package)
                continue
            if isinstance(statement, ast.ClassDef):
                statement = self._without_methods(statement, number, package, docstrings)
            self.pieces[place] = _Piece.of(statement, package, docstrings)
            for name in _bound(statement):
                self.places.setdefault(name, []).append(place)
            if not _binds_nothing_else(statement):
                self.always.append(place)

    def _add_imports(self, statement: ast.Import | ast.ImportFrom, number: int, package: str) -> None:
        for index, item in enumerate(_imports(statement, package)):
            place = number, index
            self.loaded.append(item)
            # What a name stands for is part of the code that uses it.
            self.pieces[place] = _Piece(f"import {item.local}={item.module}:{item.name}")
            if item.module == "__future__":
                self.always.append(place)
            if item.local:
                self.places.setdefault(item.local, []).append(place)
                self.imports.setdefault(item.local, []).append(item)

    def _without_methods(self, node: ast.ClassDef, number: int, package: str, docstrings: bool) -> ast.ClassDef:
        self.classes[number], self.methods[number] = node, {}
        body = []
        for index, part in enumerate(node.body, 1):
            special = isinstance(part, Function) and part.name.startswith("_") and part.name.endswith("_")
            setter = {"setter", "deleter"}
            if isinstance(part, Function) and not special and _decorators(part) <= PLAIN | setter:
                self.methods[number][number, index] = part.name
                self.pieces[number, index] = _Piece.of(part, package, docstrings)
            else:
                body.append(part)
        copy = {name: value for name, value in ast.iter_fields(node)}
        return ast.ClassDef(**copy | {"body": body})


class Library:
    """The modules of a package by dotted name, read when they are asked for."""

    def __init__(self, folder: Path = LIBRARY):
        self.folder = Path(folder).resolve()
        self._modules: dict[str, _Module | None] = {}

    def reached(self, source: str) -> dict[str, str]:
        """The digest of what `source` reaches in each file; the files as `s2f/metrics/bootstrap.py`.

        All of the library if `source` is not plain Python, as in a notebook with IPython's `%` and `!`.
        """
        search = _Search(self)
        try:
            search.visit(None, _Piece.of(_parse(source)))
        except SyntaxError:
            search.whole(self.get(self.folder.name))
        return search.digests()

    def get(self, name: str) -> _Module | None:
        """None for what is no module of the library."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def _find(self, name: str) -> _Module | None:
        root, *parts = name.split(".")
        if root != self.folder.name:
            return None
        path = self.folder.joinpath(*parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file() and (parts or file.name == "__init__.py"):
                return _Module(name, file)

    def below(self, package: _Module) -> Iterator[str]:
        """The names of all modules of a package."""
        for file in sorted(package.path.parent.rglob("*.py")):
            parts = file.relative_to(self.folder.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# ---- the search


class _Search:
    """What is reached so far, and the way on from there, until nothing new is found."""

    def __init__(self, modules: Library):
        self.modules = modules
        self.found: dict[str, set[tuple[int, int]]] = {}  # the pieces of each module
        self.files: set[Path] = set()
        self.words: set[str] = set()
        self.names_any_method = False
        self.whole_modules: set[str] = set()
        self._followed: set[tuple[str, Chain]] = set()
        self._waiting: list[tuple[_Module, tuple[int, int]]] = []

    def digests(self) -> dict[str, str]:
        """The digest of all that is reached in each file, in the order of the files' names."""
        self._finish()
        root = self.modules.folder.parent
        texts = {}
        for name, places in self.found.items():
            module = self.modules.get(name)
            if places:
                texts[module.path] = "\n".join(module.pieces[place].text for place in sorted(places))
        texts |= {file: file.read_bytes() for file in self.files}
        return {file.relative_to(root).as_posix(): _hash(texts[file]) for file in sorted(texts)}

    def visit(self, module: _Module | None, piece: _Piece) -> None:
        """Follow all that a piece of code names; `module`: where it stands, None for a notebook."""
        self.words |= piece.words
        self.names_any_method |= piece.names_any_method
        local: dict[str, list[_Import]] = {}
        for item in piece.imports:
            local.setdefault(item.local, []).append(item)
            self.load(item)
            if piece.shared and item.local or item.name == "*":
                self.open(item.module, (item.name,) if item.name and item.name != "*" else ())
        for chain in piece.chains:
            for item in local.get(chain[0], []):
                self.open(item.module, (*([item.name] if item.name else []), *chain[1:]))
            if module:
                self.follow(module.name, chain, missing_is_fine=True)
        for text in piece.strings:
            if re.fullmatch(r"\w+(\.\w+)+", text) and self.modules.get(text):
                self.open(text, ())
            if module:
                self._add_files(module, text)

    def load(self, item: _Import) -> None:
        """An import runs the module, and the packages that hold it."""
        parts = item.module.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        for name in names + ([f"{item.module}.{item.name}"] if item.name else []):
            if name not in self.found and (module := self.modules.get(name)):
                self.found[name] = set()
                self._reach(module, module.always)
                for inner in module.loaded:
                    self.load(inner)

    def open(self, name: str, chain: Chain) -> None:
        """Follow a dotted name that begins in a module."""
        while module := self.modules.get(name):
            self.load(_Import("", name, None))
            if not chain:
                self.whole(module)
            elif chain[0] in module.places:
                self.follow(name, chain)
            elif self.modules.get(f"{name}.{chain[0]}"):
                name, chain = f"{name}.{chain[0]}", chain[1:]
                continue
            elif chain[0] not in ("__file__", "__name__", "__package__", "__path__"):
                self.whole(module)
            return

    def follow(self, name: str, chain: Chain, missing_is_fine: bool = False) -> None:
        """Reach what a dotted name stands for at the top of a module."""
        if (name, chain) in self._followed:
            return
        self._followed.add((name, chain))
        module = self.modules.get(name)
        if chain[0] not in module.places and not missing_is_fine:
            raise ValueError(f"{name} has no {chain[0]!r} at its top level.")
        self.load(_Import("", name, None))
        self._reach(module, module.places.get(chain[0], []))
        for item in module.imports.get(chain[0], []):
            self.open(item.module, (*([item.name] if item.name else []), *chain[1:]))

    def whole(self, module: _Module) -> None:
        """Reach all of a module, and of the modules of a package."""
        for name in self.modules.below(module) if module.is_package else [module.name]:
            if name not in self.whole_modules:
                self.whole_modules.add(name)
                part = self.modules.get(name)
                self.load(_Import("", name, None))
                self._reach(part, list(part.pieces))
                for local in part.imports:
                    self.follow(name, (local,))

    def _reach(self, module: _Module, places: list[tuple[int, int]]) -> None:
        new = set(places) - self.found[module.name]
        self.found[module.name] |= new
        self._waiting += [(module, place) for place in sorted(new)]

    def _finish(self) -> None:
        while True:
            while self._waiting:
                module, place = self._waiting.pop()
                if module.dynamic:
                    self.whole(module)
                self.visit(module, module.pieces[place])
            for name in list(self.found):
                module = self.modules.get(name)
                for number, methods in module.methods.items():
                    if (number, 0) in self.found[name]:
                        everything = self.names_any_method or self._is_called_from_outside(module, number)
                        self._reach(module, [at for at, word in methods.items() if everything or word in self.words])
            if not self._waiting:
                return

    def _is_called_from_outside(self, module: _Module, number: int) -> bool:
        """Whether a class has a base outside the library that may call any of its methods."""
        node = module.classes[number]
        if _keywords(node) or not _decorators(node) <= PLAIN:
            return True
        return any(self._is_active(module, _chain(base)) for base in node.bases)

    def _is_active(self, module: _Module, chain: Chain | None) -> bool:
        if chain is None:
            return True
        for item in module.imports.get(chain[0], []):
            name, rest = item.module, (*([item.name] if item.name else []), *chain[1:])
            while rest and self.modules.get(f"{name}.{rest[0]}"):
                name, rest = f"{name}.{rest[0]}", rest[1:]
            if other := self.modules.get(name):
                return self._is_active(other, rest or None)
        classes = [number for number, _ in module.places.get(chain[0], []) if number in module.classes]
        if len(chain) == 1 and classes:
            return any(self._is_called_from_outside(module, number) for number in classes)
        return chain[-1] not in PASSIVE

    def _add_files(self, module: _Module, text: str) -> None:
        """A file by its name or, beside the module, by its ending (`.yaml`); a folder with all that is in it."""
        if len(text) > 200 or not re.fullmatch(r"[\w. /-]*\w", text):
            return
        for folder in (module.path.parent, self.modules.folder):
            path = (folder / text).resolve()
            if self.modules.folder in path.parents:
                self._add_all([path] if path.is_file() else [] if list(path.glob("*.py")) else path.rglob("*"))
        if text.startswith("."):
            self._add_all(path for path in module.path.parent.iterdir() if path.name.endswith(text))

    def _add_all(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                self._add_file(path)

    def _add_file(self, path: Path) -> None:
        if path in self.files:
            return
        self.files.add(path)
        text = path.read_text(encoding="utf-8", errors="ignore")
        if "{{" in text or "{%" in text:  # a template asks objects for attributes, and includes other files
            self.words |= set(re.findall(r"[A-Za-z_]\w*", text))
            for other in path.parent.iterdir():
                if other.suffix != ".py" and other.is_file() and other.name in text:
                    self._add_file(other)
