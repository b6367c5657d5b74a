"""Groups of options that several commands take, declared once as dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Make the fields of a command's dataclass parameters its options.

    The parser reads a command's signature, and there finds the fields; the command is called with
    the dataclasses filled in.

    Example:
        >>> @dataclasses.dataclass
        ... class Size:
        ...     width: int
        ...     height: int = 1
        >>> @expanded
        ... def area(size: Size, unit: str = "m2") -> None:
        ...     print(size.width * size.height, unit)
        >>> area(width=3, height=2, unit="m2")
        6 m2
        >>> inspect.signature(area)
        <Signature (*, width: int, height: int = 1, unit: str = 'm2')>
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            # Keyword only: options without a default may then follow those that have one.
            parameters.append(
                parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            )
            continue
        kinds = get_type_hints(groups[name], include_extras=True)
        for field in dataclasses.fields(groups[name]):
            default = (
                inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            )
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=kinds[field.name],
                )
            )

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(
                **{field.name: given.pop(field.name) for field in dataclasses.fields(group)}
            )
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
