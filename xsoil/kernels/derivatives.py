"""Derivatives of the formulas of `physics` by reverse accumulation, without writing any formula twice.

A formula of plain operators is called once with symbols instead of numbers, which writes down its operations. From
these the source of a function is made that returns derivatives, and compiled like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xsoil.jit import inlined
from xsoil.kernels import elementary
from xsoil.physics.elementary import Elementary

__all__ = ["SYMBOLIC", "derivatives_of"]

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "and": "&"}


class _Symbol:
    """One operation of a graph, or an input or a constant."""

    __slots__ = ("graph", "operands", "operation", "place")

    def __init__(self, graph: _Graph, operation: str, operands: tuple[Any, ...], place: int) -> None:
        self.graph, self.operation, self.operands, self.place = graph, operation, operands, place

    def __add__(self, other: Any) -> _Symbol:
        return self.graph.make("add", self, other)

    def __radd__(self, other: Any) -> _Symbol:
        return self.graph.make("add", other, self)

    def __sub__(self, other: Any) -> _Symbol:
        return self.graph.make("sub", self, other)

    def __rsub__(self, other: Any) -> _Symbol:
        return self.graph.make("sub", other, self)

    def __mul__(self, other: Any) -> _Symbol:
        return self.graph.make("mul", self, other)

    def __rmul__(self, other: Any) -> _Symbol:
        return self.graph.make("mul", other, self)

    def __truediv__(self, other: Any) -> _Symbol:
        return self.graph.make("div", self, other)

    def __rtruediv__(self, other: Any) -> _Symbol:
        return self.graph.make("div", other, self)

    def __neg__(self) -> _Symbol:
        return self.graph.make("neg", self)

    def __abs__(self) -> _Symbol:
        return self.graph.make("abs", self)

    def __gt__(self, other: Any) -> _Symbol:
        return self.graph.make("gt", self, other)

    def __ge__(self, other: Any) -> _Symbol:
        return self.graph.make("ge", self, other)

    def __lt__(self, other: Any) -> _Symbol:
        return self.graph.make("lt", self, other)

    def __le__(self, other: Any) -> _Symbol:
        return self.graph.make("le", self, other)

    def __and__(self, other: Any) -> _Symbol:
        return self.graph.make("and", self, other)


class _Graph:
    """Operations in the order in which they were made; equal ones are one."""

    def __init__(self) -> None:
        self.symbols: list[_Symbol] = []
        self._known: dict[tuple[Any, ...], _Symbol] = {}

    def make(self, operation: str, *operands: Any) -> _Symbol:
        if operation not in ("input", "constant"):
            operands = tuple(a if isinstance(a, _Symbol) else self.make("constant", float(a)) for a in operands)
            if (short := _simpler(operation, operands)) is not None:
                return short
        key = (operation, *(a.place if isinstance(a, _Symbol) else a for a in operands))
        if key not in self._known:
            self._known[key] = _Symbol(self, operation, operands, len(self.symbols))
            self.symbols.append(self._known[key])
        return self._known[key]


def _simpler(operation: str, operands: tuple[_Symbol, ...]) -> _Symbol | None:
    """What adding 0, multiplying by 1 and 0, and taking a branch from a selection of it leave.

    Without the last, derivatives by that branch would be small differences of large numbers.
    """
    numbers = [a.operands[0] if a.operation == "constant" else None for a in operands]
    first, last, graph = operands[0], operands[-1], operands[0].graph
    if operation == "add" and 0.0 in numbers:
        return last if numbers[0] == 0.0 else first
    if operation == "sub" and numbers[1] == 0.0:
        return first
    if operation == "sub" and first.operation == "where" and last in first.operands[1:]:
        condition, yes, no = first.operands
        rest = [0.0 if part is last else graph.make("sub", part, last) for part in (yes, no)]
        return graph.make("where", condition, *rest)
    if operation == "mul" and 0.0 in numbers:
        return first if numbers[0] == 0.0 else last
    if operation == "mul" and 1.0 in numbers:
        return last if numbers[0] == 1.0 else first
    if operation == "where" and operands[1] is operands[2]:
        return operands[1]
    return None


def _of(operation: str) -> Callable[..., Any]:
    def function(*operands: Any) -> Any:
        graph = next((a.graph for a in operands if isinstance(a, _Symbol)), None)
        return graph.make(operation, *operands) if graph else getattr(elementary, operation)(*operands)

    return function


SYMBOLIC = Elementary(*(_of(name) for name in ("exp", "expm1", "log", "log1p", "where")))
"""Elementary functions that write down what they are called with."""


def derivatives_of(
    formula: Callable[..., Any], inputs: int, wanted: Sequence[int], outputs: Sequence[int], values: Sequence[int] = ()
) -> Callable[..., Any]:
    """Compile the derivatives of a formula into the loops that call them.

    Parameters
    ----------
    formula : callable
        Built on the functions of `SYMBOLIC`; takes numbers, returns a number or a tuple of them.
    inputs : int
        How many it takes.
    wanted : sequence of int
        Inputs by which to differentiate.
    outputs : sequence of int
        Places of the results that are differentiated; the others cost nothing.
    values : sequence of int
        Places of results that are returned as they are.

    Returns
    -------
    callable
        ``pull(*inputs, *weights)``, one weight per place in `outputs` -> the tuple of `values`, then for each of
        `wanted` the derivative of the weighted sum of the outputs. To be called inside kernels only. Where branches
        meet, the derivative is that of the branch that the formula takes.
    """
    graph = _Graph()
    given = [graph.make("input", f"x{k}") for k in range(inputs)]
    found = formula(*given)
    found = found if isinstance(found, tuple) else (found,)
    forward = len(graph.symbols)
    weights = [graph.make("input", f"w{k}") for k in range(len(outputs))]
    adjoint: dict[int, Any] = {}
    for weight, place in zip(weights, outputs, strict=True):
        result = found[place]
        if isinstance(result, _Symbol):
            adjoint[result.place] = adjoint.get(result.place, 0.0) + weight
    for symbol in reversed(graph.symbols[:forward]):
        if symbol.place in adjoint:
            for operand, share in _shares(symbol, adjoint[symbol.place]):
                adjoint[operand.place] = adjoint.get(operand.place, 0.0) + share
    zero = graph.make("constant", 0.0)
    results = [found[k] if isinstance(found[k], _Symbol) else graph.make("constant", float(found[k])) for k in values]
    results += [adjoint.get(given[k].place, zero) for k in wanted]
    return inlined(_compose(graph, results, inputs, len(outputs)))


def _shares(symbol: _Symbol, by: Any) -> list[tuple[_Symbol, Any]]:
    """Operands of an operation, each with its share of the derivative."""
    a, *rest = symbol.operands or (None,)
    b = rest[0] if rest else None
    operation, where = symbol.operation, SYMBOLIC.where
    if operation == "add":
        return [(a, by), (b, by)]
    if operation == "sub":
        return [(a, by), (b, -by)]
    if operation == "mul":
        return [(a, by * b), (b, by * a)]
    if operation == "div":
        return [(a, by / b), (b, -(by / b) * symbol)]
    if operation == "neg":
        return [(a, -by)]
    if operation == "abs":
        return [(a, where(a > 0, by, -by))]
    if operation == "exp":
        return [(a, by * symbol)]
    if operation == "expm1":
        return [(a, by * (symbol + 1))]
    if operation == "log":
        return [(a, by / a)]
    if operation == "log1p":
        return [(a, by / (1 + a))]
    if operation == "where":
        return [(b, where(a, by, 0.0)), (rest[1], where(a, 0.0, by))]
    return []


def _compose(graph: _Graph, results: list[_Symbol], inputs: int, weights: int) -> Callable[..., Any]:
    """The function that computes `results` and nothing else."""
    needed, todo = set(), list(results)
    while todo:
        symbol = todo.pop()
        if symbol.place not in needed:
            needed.add(symbol.place)
            todo += [a for a in symbol.operands if isinstance(a, _Symbol)]

    def name(symbol: _Symbol) -> str:
        return {"input": str(symbol.operands[0]), "constant": repr(symbol.operands[0])}.get(
            symbol.operation, f"t{symbol.place}"
        )

    arguments = [f"x{k}" for k in range(inputs)] + [f"w{k}" for k in range(weights)]
    lines = [f"def pull({', '.join(arguments)}):"]
    for symbol in graph.symbols:
        if symbol.place in needed and symbol.operation not in ("input", "constant"):
            operands = [name(a) for a in symbol.operands]
            if symbol.operation in _INFIX:
                lines.append(f"    t{symbol.place} = ({operands[0]}) {_INFIX[symbol.operation]} ({operands[1]})")
            elif symbol.operation == "neg":
                lines.append(f"    t{symbol.place} = -({operands[0]})")
            else:
                lines.append(f"    t{symbol.place} = {symbol.operation}({', '.join(operands)})")
    lines.append(f"    return ({', '.join(map(name, results))},)")
    space = {key: getattr(elementary, key) for key in ("exp", "expm1", "log", "log1p", "where")}
    exec("\n".join(lines), space)  # lines made above, from formulas of this package
    return space["pull"]
