"""What is changed into what, and what is left alone."""

from __future__ import annotations

import ast
import re

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "//"),
    ast.BitAnd: ("&", "|"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "float32": "bfloat16", "float64": "float32"}
# What these are given is read by people, or changes nothing that is computed.
SPOKEN = re.compile(
    r"(?:Error|Warning|warn|note|say|tell|echo|print|write|clean|shorten|Text|add_argument|option|advance|progress|told|set_lineno|simplefilter|bytearray)$"
)
SPOKEN_KEYS = {"help", "title", "why", "hint", "what", "label", "style", "metavar", "message", "description", "unit"}
SPOKEN_KEYS |= {"encoding", "timeout", "justify", "no_wrap", "err", "color"}
# How a table or a page looks, and how many names are listed.
SPOKEN_KEYS |= {"is_number", "is_wide", "repr", "most", "class_", "aria_label"}
SYMMETRIC = ("isinstance", "map", "filter", "min", "max", "equal", "set", "array_equal", "isclose", "allclose", "gcd")
SYMMETRIC += ("samestat", "samefile")
# Numbers of which none is the right one: a bound may be one more, or twice as much, and nothing comes out otherwise.
JUDGED = re.compile(
    "(?:^|_)(?:MAX|MOST|LARGEST|LONGEST|KEPT|BYTES|COST|SECONDS|NANOSECONDS|GROWTH|PATIENCE|PAUSES|DOUBLINGS|SLOW)(?:_|$)"
)
