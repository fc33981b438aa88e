"""Habits in tests that let mistakes pass: no assertion, an exception that nobody sees, long waits."""

import ast
from collections.abc import Iterator

SLOW = 5.0  # Seconds.
# What fails by itself if something is wrong: a name, or the start of one.
EVERYTHING = ("Exception", "BaseException", "AssertionError")
CHECKS = ("raises", "fail", "assert", "replay_workflow", "warns")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def remarks(text: str, seconds: dict[str, float]) -> list[str]:
    """Return what there is to say of a file of tests, and of the seconds that each test in it takes. May be nothing.

    The file can be loaded. Where it is not sure, it says nothing.
    """
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    by_name = {function.name: function for function in functions}
    helpers = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import) and "_mine" in ast.unparse(node)
        for alias in node.names
    }
    found = []
    for function in functions:
        if not function.name.startswith("test") or any(
            "fixture" in ast.unparse(each) for each in function.decorator_list
        ):
            continue
        if not any(checks(each) or names_in(each) & helpers for each in reached(function, by_name)):
            found.append(f"{function.name} asserts nothing: it fails only where something raises an exception.")
        for handler in swallowed(function):
            where = f"in line {handler.lineno}"
            found.append(f"{function.name} takes whatever exception there is, {where}: a failed `assert` too.")
    slow: dict[str, float] = {}
    for name, took in seconds.items():
        slow[name.partition("[")[0]] = max(took, slow.get(name.partition("[")[0], 0))
    for name, took in slow.items():
        if took > SLOW:
            found.append(f"{name} takes {took:.0f} seconds. Is there something to wait for, in place of a fixed time?")
    return found


def names_in(function: Function) -> set[str]:
    """Return all names that a function uses: what it calls, and what it takes as a fixture."""
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    names |= {
        node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    arguments = function.args
    return names | {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def reached(function: Function, functions: dict[str, Function]) -> list[Function]:
    """Return a function, and those of the file that it uses, by others too."""
    found = [function]
    for each in found:
        found += [
            functions[name] for name in sorted(names_in(each)) if name in functions and functions[name] not in found
        ]
    return found


def checks(function: Function) -> bool:
    """Return whether there is something in a function that fails if what it has found is wrong."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and not (isinstance(node.test, ast.Constant) and node.test.value):
            return True
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name.startswith(CHECKS):
                return True
    return False


def swallowed(function: Function) -> Iterator[ast.ExceptHandler]:
    """Yield the places at which a test simply goes on after any exception whatever, a failed assertion included."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Try):
            continue
        if not any(isinstance(each, ast.Assert) for statement in node.body for each in ast.walk(statement)):
            continue
        for handler in node.handlers:
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            takes_all = any(kind is None or ast.unparse(kind) in EVERYTHING for kind in kinds)
            if takes_all and all(isinstance(each, ast.Pass | ast.Expr | ast.Return) for each in handler.body):
                yield handler
