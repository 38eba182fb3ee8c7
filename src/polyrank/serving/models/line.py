"""The versions of one model that are loaded, as one value that is replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from polyrank.serving.errors import RequestError
from polyrank.serving.models.gate import Admitted
from polyrank.serving.models.history import Changes
from polyrank.serving.models.profiles import profiled
from polyrank.serving.models.served import Served
from polyrank.serving.models.shadowing import Shadowing


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """What requests for one model are answered from; never changed, only replaced."""

    default: str
    """The version of a request that names none."""
    versions: Mapping[str, Admitted]
    """By version."""
    shadow: Shadowing | None = None

    @property
    def serving(self) -> Served:
        """The version of a request that names none."""
        return self.versions[self.default].served

    def take(self, version: str | None, request_id: str | None) -> Served:
        """What answers a request.

        Raises:
            RequestError: 404, there is no such version.
        """
        if version is not None:
            if version not in self.versions:
                raise RequestError(404, f"there is no version {version[:64]!a} of this model")
            return self.versions[version].served
        if self.shadow is not None and request_id is not None:
            return self.shadow.pick(request_id)
        return self.serving

    def under(self, changes: Changes) -> Line:
        """The same versions under the value models that are in force.

        What is compared goes on, as long as both versions are those that it began with.
        """
        versions = {
            name: replace(each, served=profiled(each.served, each.predictions, changes))
            for name, each in self.versions.items()
        }
        line = Line(default=self.default, versions=versions)
        if self.shadow is None:
            return line
        second = versions.get(self.shadow.second.version)
        pair = (line.serving, second.served if second else None)
        return replace(line, shadow=_renewed(self.shadow, *pair))


def _renewed(shadow: Shadowing, primary: Served, second: Served | None) -> Shadowing | None:
    if second is not None and (primary.content, second.content) == (
        shadow.primary.content,
        shadow.second.content,
    ):
        return shadow.with_pair(primary, second)
    shadow.close()
    return None
