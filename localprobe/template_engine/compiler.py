"""Jinja's compiler, with a counter in every body that can run more than once."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame, operators

from localprobe.template_engine.budget import NUMBER_BITS

_LARGEST = 20_000  # nodes; several times the longest public template


class CountingGenerator(CodeGenerator):
    """Code that calls `environment.tick`, `read` and `made`, where plain Jinja would run Python's own operations."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        if (size := _add_ticks(node)) > _LARGEST:
            raise TemplateError(f"it has {size:,} parts, where the limit is {_LARGEST:,}")
        super().visit_Template(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        volatile = "(markup_join if context.eval_ctx.volatile else str_join)"
        plain = "markup_join" if frame.eval_ctx.autoescape else "str_join"
        self.write(f"environment.joined({volatile if frame.eval_ctx.volatile else plain}, (")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self.write("(")
        self._read(node.expr, frame)
        for operand in node.ops:
            self.visit(operand, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802
        self.write(f" {operators[node.op]} ")
        self._read(node.expr, frame, "searched" if node.op in ("in", "notin") else "read")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._made(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._made(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._made(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):  # Jinja writes a slice without asking the environment
            self._made(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _made(self, visit: Any, node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.made(")
        visit(node, frame)
        self.write(")")

    def _read(self, node: nodes.Expr, frame: Frame, hook: str = "read") -> None:
        if isinstance(node, nodes.Const):
            self.visit(node, frame)
            return
        self.write(f"environment.{hook}(")
        self.visit(node, frame)
        self.write(")")


def _add_ticks(node: nodes.Node) -> int:
    """Put a counter at the head of every body below `node` that can run again, and return how many nodes there are."""
    if isinstance(node, nodes.Const) and isinstance(node.value, int) and node.value.bit_length() > NUMBER_BITS:
        raise TemplateError("it has a number of more than 64 bits")
    size = 1 + sum(_add_ticks(child) for child in node.iter_child_nodes())
    if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block):
        node.body.insert(0, nodes.ExprStmt(_tick(size), lineno=node.lineno))
    if isinstance(node, nodes.For) and node.test is not None:  # it runs for items that never reach the body, too
        node.test = nodes.And(_tick(size), node.test, lineno=node.lineno)
    return size


def _tick(size: int) -> nodes.EnvironmentAttribute:
    return nodes.EnvironmentAttribute(f"tick({size + 4})")
