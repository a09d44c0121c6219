"""What a pedotransfer function is: one frozen row of the table `PTFS`.

How an entry is used (the contract between the table, the verb and a new file):

1. `entry.resolve(available)` gets the names of the variables that can be had (those of the dataset, and
   what follows from them: the third texture class, `topsoil` from the depth) and returns the entry that
   will run. An entry without options and without optional inputs returns itself. Otherwise its `resolver`,
   a module-level function `(entry, available) -> PTF`, answers with `dataclasses.replace(entry,
   function=partial(f, ...), inputs=..., outputs=..., resolver=None)`. It never raises for a missing
   variable: it names the inputs that it needs, and the verb says which of them is missing.
2. `entry.function(*arrays)` then gets one array per entry of `inputs`, in that order and in canonical
   units, and returns a tuple with one array per entry of `outputs`. The verb calls it on contiguous 1-D blocks of
   at most `block` cells of one floating-point type, from several threads at once, with numpy's warnings
   silenced; it must keep that type, write to none of its arguments, and take plain floats as well. NaN
   spreads to every output.
3. Functions and resolvers are module-level (or `functools.partial` of such), so that an entry pickles to
   a cluster and gets the same token in each process.

An unresolved entry is runnable too: its `function` is that of its `inputs`, without the optional ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["PTF", "Curve", "FrozenMapping", "Range", "variables"]

Curve = Literal["campbell", "brooks_corey", "van_genuchten"]
Range = tuple[float, float]

BLOCK = 32_768
"""Cells per call: a handful of such float32 blocks stays in the second-level cache."""


class FrozenMapping(Mapping[str, Any]):
    """A mapping that cannot change, and so can be hashed; unlike `MappingProxyType` it pickles."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[type[FrozenMapping], tuple[dict[str, Any]]]:
        return FrozenMapping, (self._items,)

    def __dask_tokenize__(self) -> Hashable:
        return "xsoil.FrozenMapping", tuple(sorted(self._items.items(), key=lambda item: item[0]))


def variables(*names: str) -> tuple[Variable, ...]:
    """The rows of the vocabulary with these names."""
    return tuple(VARIABLES[name] for name in names)


def _same(value: object, choice: object) -> bool:
    """Equal, by type too (True == 1 must not pass for a model number), in upper or lower case."""
    if isinstance(value, str) and isinstance(choice, str):
        return value.casefold() == choice.casefold()
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


@dataclass(frozen=True)
class PTF:
    """A published pedotransfer function.

    Attributes
    ----------
    name : str
        Key in `xsoil.PTFS`.
    function : callable
        `function(*inputs) -> (output, ...)`: see the top of this file.
    inputs, outputs : tuple of Variable
        Rows of the vocabulary, in the order of the arguments and of the returned tuple.
    title : str
        What it is, in a line.
    reference, doi : str
        Citation and DOI (without the resolver's address; "" if there is none).
    optional : tuple of Variable
        Inputs used where they are present (see `resolver`).
    curve : {"campbell", "brooks_corey", "van_genuchten"}, optional
        The retention curve that the outputs are parameters of; None where they are conductivity or points only.
    validity : mapping of str to (low, high)
        Range of the calibration data per input, inclusive, in canonical units. Outside, results are
        returned and flagged.
    guards : mapping of str to (low, high)
        Ranges into which the function itself clips an input; flagged by the verb.
    outside : callable, optional
        `outside(*inputs) -> bool array`: where the source excludes a soil by more than ranges.
    guarded : callable, optional
        `guarded(*inputs) -> bool array`: where the function clips something that is not an input.
    options : mapping
        Option names with the chosen values.
    choices : mapping
        Option names with the tuple of values that are accepted.
    resolver : callable, optional
        `resolver(entry, available) -> PTF`; None for an entry without options and optional inputs.
    block : int
        Cells per call of `function`.
    """

    name: str
    function: Callable[..., tuple[Any, ...]] = field(repr=False, compare=False)
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    title: str = field(repr=False)
    reference: str = field(repr=False)
    doi: str
    optional: tuple[Variable, ...] = ()
    curve: Curve | None = None
    validity: Mapping[str, Range] = field(default_factory=FrozenMapping, repr=False)
    guards: Mapping[str, Range] = field(default_factory=FrozenMapping, repr=False)
    outside: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    guarded: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    options: Mapping[str, Any] = field(default_factory=FrozenMapping)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=FrozenMapping, repr=False)
    resolver: Callable[[PTF, frozenset[str]], PTF] | None = field(default=None, repr=False, compare=False)
    block: int = field(default=BLOCK, repr=False)

    def __post_init__(self) -> None:
        for name in ("validity", "guards", "options", "choices"):
            mapping = getattr(self, name)
            if not isinstance(mapping, FrozenMapping):
                object.__setattr__(self, name, FrozenMapping(mapping))

    def with_options(self, **options: Any) -> PTF:
        """The same function with other options.

        Parameters
        ----------
        **options
            Values by option name; `self.choices` lists the accepted ones.

        Returns
        -------
        PTF
            A new entry, to be given as `method=` to `xsoil.ptf`.

        Raises
        ------
        UnknownNameError
            For an option that this function does not have.
        ArgumentError
            For a value that the option does not accept.
        """
        chosen = dict(self.options)
        for name, value in options.items():
            if name not in self.options:
                if not self.options:
                    raise UnknownNameError(f"unknown option {name!r} of {self.name!r}, which has no options")
                raise UnknownNameError.of(f"option of {self.name!r}", name, self.options)
            accepted = self.choices[name]
            match = [choice for choice in accepted if _same(value, choice)]
            if not match:
                raise ArgumentError(
                    f"option {name!r} of {self.name!r} is {value!r}; expected one of {', '.join(map(repr, accepted))}"
                )
            chosen[name] = match[0]
        return replace(self, options=FrozenMapping(chosen))

    def resolve(self, available: frozenset[str]) -> PTF:
        """The entry that runs where these variables can be had (see the top of this file)."""
        return self if self.resolver is None else self.resolver(self, available)
