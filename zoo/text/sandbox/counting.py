"""Rewrites a template so that all that costs time or memory goes through methods of its environment."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer


class Counting(NodeTransformer):
    """Routes loops, macros, literals, `~` and output through the environment's tick, built, joined and out."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """A loop ticks with every turn."""
        return self._ticking(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        """A macro ticks with every call."""
        return self._ticking(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        """So does what is handed to a macro."""
        return self._ticking(node)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        """A list that is written down is weighed."""
        return _through("built", [self.generic_visit(node)], node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        """So is a dict,"""
        return _through("built", [self.generic_visit(node)], node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        """and a tuple, but not the targets of `for a, b in`."""
        visited = self.generic_visit(node)
        return _through("built", [visited], node) if node.ctx == "load" else visited

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """a ~ b."""
        self.generic_visit(node)
        return _through("joined", list(node.nodes), node)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """Both sides of a == b, a in b and the like."""
        self.generic_visit(node)
        node.expr = _through("compared", [node.expr], node)
        for operand in node.ops:
            operand.expr = _through("compared", [operand.expr], operand)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        """a[b:c], which the environment does not see otherwise."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _through("sliced", [node.node, *(bound or nodes.Const(None) for bound in bounds)], node)

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:
        """{% autoescape %} would lengthen what has been weighed."""
        raise TemplateSyntaxError("autoescape is for HTML", node.lineno)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        """Every piece of text, written or computed."""
        self.generic_visit(node)
        node.nodes = [_through("out", [_constant(part)], part) for part in node.nodes]
        return node

    def _ticking(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_through("tick", [], node)).set_lineno(node.lineno))
        return node


def _through(method: str, arguments: list[Any], node: nodes.Node) -> nodes.Call:
    target = nodes.EnvironmentAttribute(method)  # a node that no template can write, and no variable can shadow
    call = nodes.Call(target, arguments, [], None, None)
    call.set_lineno(node.lineno)
    return call


def _constant(node: nodes.Expr) -> nodes.Expr:
    if not isinstance(node, nodes.TemplateData):
        return node
    text = nodes.Const(node.data)
    text.set_lineno(node.lineno)
    return text
