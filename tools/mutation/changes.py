"""The careless changes that can be made to a module: one place and one kind each."""

from __future__ import annotations

import ast
import re

from edits import Change, Edits
from tables import JUDGED, NAMES, ORDERED, SPOKEN, SPOKEN_KEYS, SYMMETRIC


def changes(source: str) -> list[Change]:
    """Every change that can be made to a module."""
    finder = _Finder(source.encode())
    finder.visit(ast.parse(source))
    return finder.found


class _Finder(Edits):
    def leave(self, node: ast.AST) -> None:
        """Left alone, with all it holds: words, types, and what only checks ourselves."""

    visit_Raise = visit_Assert = visit_JoinedStr = visit_Import = visit_ImportFrom = leave

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if re.fullmatch("__(repr|str|rich)__|tiny", node.name) or (
            node.returns and self.text(node.returns) == "ZooError"
        ):
            return
        named = [node.name] if self.depth == 0 else []
        self.scope += named
        self.depth += 1
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(part)
        self.depth -= 1
        del self.scope[len(self.scope) - len(named) :]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value and not self.is_judged(node.target):
            self.visit(node.value)

    def is_judged(self, target: ast.expr) -> bool:
        return not self.depth and isinstance(target, ast.Name) and bool(JUDGED.search(target.id))

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if self.is_judged(target) or (isinstance(target, ast.Name) and target.id == "__all__"):
            return
        names = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
        if isinstance(target, ast.Name) and target.id in names and self.depth:
            self.replace("drop a line", node, "pass")
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        if isinstance(node.value, ast.Call) and not SPOKEN.search(ast.unparse(node.value.func)):
            self.replace("drop a line", node, "pass")
        self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue) and not node.orelse:
            self.replace("drop a guard", node.test, "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.swap("swap branches", node.body, node.orelse)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self.replace("drop a condition", condition, "True")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self.operator(left, operator, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.operator(node.values[0], node.op, node.values[1])
        self.replace("drop an operand", node, f"({' and '.join(map(self.text, node.values[:-1]))})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        sides = (node.left, node.right)
        if any(
            isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides
        ):
            return
        self.operator(node.left, node.op, node.right)
        if isinstance(node.op, ORDERED) and node not in self.even:
            self.swap("swap operands", *sides)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.replace("drop not", node, f"bool({self.text(node.operand)})")
        elif isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            self.replace("change a constant", node, str(ast.literal_eval(node) - 1))
            return
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace("change a constant", node, str(not value))
        elif isinstance(value, int):
            self.replace("change a constant", node, str(value + 1))
            if value > 0:
                self.replace("change a constant", node, str(value - 1))
        elif isinstance(value, float):
            self.replace("change a constant", node, repr(value * 2 if value else 1.0))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in NAMES:
            self.replace(f"{node.id} for {NAMES[node.id]}", node, NAMES[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in NAMES:
            end = self.span(node)[1]
            self.put(f"{node.attr} for {NAMES[node.attr]}", end - len(node.attr), end, NAMES[node.attr])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func).rpartition(".")[2]
        if name == "abs":
            self.even += [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        if SPOKEN.search(name):
            return
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("float", "contiguous") and not node.args:
            self.replace(f"drop .{node.func.attr}()", node, self.text(node.func.value))
        is_plain = not any(isinstance(a, ast.Starred | ast.Constant | ast.Lambda) for a in node.args)
        if len(node.args) == 2 and is_plain and name not in SYMMETRIC:
            self.swap("swap arguments", *node.args)
        spoken = [word for word in node.keywords if word.arg in SPOKEN_KEYS]
        for word in node.keywords:
            if word.arg and word not in spoken:
                self.drop("drop an argument", [*node.args, *node.keywords], word)
        for part in [node.func, *node.args, *(word.value for word in node.keywords if word not in spoken)]:
            self.visit(part)

    def visit_List(self, node: ast.List | ast.Set | ast.Tuple) -> None:
        if isinstance(node, ast.Set | ast.List) and len(node.elts) > 1:
            self.drop("drop an entry", node.elts, node.elts[-1])
        self.generic_visit(node)

    visit_Set = visit_List

    def visit_Dict(self, node: ast.Dict) -> None:
        if len(node.values) > 1 and node.keys[-1]:
            start, end = self.span(node.values[-2])[1], self.span(node.values[-1])[1]
            self.put("drop an entry", start, end, "")
        self.generic_visit(node)
