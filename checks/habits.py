"""Habits in tests that let mistakes pass: no assertion, an exception that nobody sees, long waits."""

import ast
from collections.abc import Iterator

SLOW = 5.0  # Seconds.
# What fails by itself if something is wrong: a name, or the begin of one.
CHECKS = ("raises", "fail", "assert", "replay_workflow", "warns")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def remarks(text: str, seconds: dict[str, float]) -> list[str]:
    """Return what there is to say of a file of tests, and of the seconds that each test in it takes. May be nothing.

    The file can be loaded.
    """
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found = []
    for name, function in functions.items():
        if name.startswith("test") and not any(checks(each) for each in reached(function, functions)):
            found.append(f"{name} asserts nothing: it fails only where something raises an exception.")
        for handler in swallowed(function):
            found.append(f"{name} takes whatever exception there is, in line {handler.lineno}: a failed `assert` too.")
    for name, took in seconds.items():
        if took > SLOW:
            found.append(f"{name} takes {took:.0f} seconds. Is there something to wait for, in place of a fixed time?")
    return found


def reached(function: Function, functions: dict[str, Function]) -> list[Function]:
    """Return a function, and those of the file that it uses: calls, or takes as a fixture."""
    found = [function]
    for each in found:
        names = {node.id for node in ast.walk(each) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(each) if isinstance(node, ast.Attribute)}
        names |= {argument.arg for argument in each.args.args}
        found += [functions[name] for name in sorted(names) if name in functions and functions[name] not in found]
    return found


def checks(function: Function) -> bool:
    """Return whether there is something in a function that fails if what it has found is wrong."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant):
            return True
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name.startswith(CHECKS):
                return True
    return False


def swallowed(function: Function) -> Iterator[ast.ExceptHandler]:
    """Yield the places at which a function goes on after any exception whatever."""
    for node in ast.walk(function):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        everything = any(
            kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException", "AssertionError"))
            for kind in kinds
        )
        if everything and not any(isinstance(each, ast.Raise | ast.Assert) for each in ast.walk(node)):
            yield node
