"""Things by name: those of this package, imported when they are asked for, and those that other packages add.

Another package adds one by an entry point of the registry's group, in its `pyproject.toml`:

    [project.entry-points."promptseg.methods"]
    my-method = "my_package.my_module:MY_METHOD"
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from promptseg.errors import PromptsegError, unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A mapping from names to things of one kind; names cost nothing, a thing is imported when it is looked up."""

    def __init__(self, kind: str, group: str, expects: str, builtin: Mapping[str, str]) -> None:
        """Name what this package has.

        Args:
            kind: what errors call one of the things.
            group: of the entry points by which other packages add more.
            expects: `module:Class` that each thing is an instance of.
            builtin: `module:attribute` of each thing of this package, by name, in the order of lists.
        """
        self.kind, self.group = kind, group
        self._expects = EntryPoint(name=kind, value=expects, group=group)
        self._builtin = [EntryPoint(name=name, value=value, group=group) for name, value in builtin.items()]
        self.builtin = tuple(builtin)
        """The names of this package's own, told without a look at what else is installed."""

    def find(self, name: str) -> T:
        """The thing of that name.

        Raises:
            PromptsegError: unknown name, a name that stands twice, or a thing of another package that cannot be loaded.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return self[name]

    def __getitem__(self, name: str) -> T:
        source = self._sources[name]
        try:
            thing: T = source.load()
        except Exception as error:  # whatever another package's module raises
            if source.dist is None:
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PromptsegError(
                f"{self._called(source)}: cannot be loaded ({reason}): update or uninstall it"
            ) from error
        if not isinstance(thing, self._expects.load()):
            raise PromptsegError(
                f"{self._called(source)}: {source.value} is a {type(thing).__name__}, expected a"
                f" {self._expects.attr}: update or uninstall it"
            )
        return thing

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    @cached_property
    def _sources(self) -> dict[str, EntryPoint]:
        """Where each thing comes from, those of this package first; installed packages are looked through once."""
        sources: dict[str, EntryPoint] = {}
        for source in (*self._builtin, *entry_points(group=self.group)):
            if source.name in sources:
                raise PromptsegError(
                    f"{self._called(source)}: {_owner(sources[source.name])} has a {self.kind} of that name:"
                    " uninstall one of them, or rename it"
                )
            sources[source.name] = source
        return sources

    def _called(self, source: EntryPoint) -> str:
        return f"{self.kind} {source.name!r} of {_owner(source)}"


def _owner(source: EntryPoint) -> str:
    """The package that a thing comes from."""
    return "promptseg" if source.dist is None else f"{source.dist.name} {source.dist.version}"
