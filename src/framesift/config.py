"""Configurations: frozen dataclasses <-> plain mappings and TOML, with dotted overrides.

A config is a frozen, keyword-only dataclass in the file of the thing that it configures. This module knows
none of them; it turns any of them into JSON- and TOML-ready values and back, refusing unknown keys and wrong
types with a message that names the place and the nearest valid key.
"""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ConfigError, suggest

__all__ = ["apply_overrides", "from_dict", "load_toml", "to_dict"]

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as nested dicts, lists and scalars (tuples become lists)."""
    return json.loads(json.dumps(asdict(config)))


def from_dict(cls: type[T], mapping: Mapping[str, Any], *, where: str = "") -> T:
    """Build the config dataclass ``cls`` from a mapping.

    Raises:
        ConfigError: an unknown key (with a suggestion), a missing key or a value of the wrong type. ``where``
            is the dotted place that the message names.
    """
    if not is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    hints = get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for key in mapping:
        if key not in known:
            raise ConfigError(
                f"unknown key {_join(where, key)!r}{suggest(key, known)} (known keys: {', '.join(sorted(known))})"
            )
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{where or cls.__name__}: {error}") from None


def load_toml(path: str | Path, cls: type[T], *, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file into the config dataclass ``cls``, after ``overrides`` like ``optim.lr=1e-5``.

    Raises:
        ConfigError: the file is missing, is not TOML, or does not fit ``cls``.
    """
    try:
        with open(path, "rb") as file:
            mapping = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} is not valid TOML: {error}") from None
    return from_dict(cls, apply_overrides(mapping, overrides))


def apply_overrides(mapping: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``mapping`` with dotted ``key=value`` overrides; a value is TOML, or else a plain string."""
    result = json.loads(json.dumps(mapping))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"override {override!r}: expected KEY=VALUE, e.g. optim.lr=1e-5")
        try:
            value = tomllib.loads(f"value = {text.strip()}")["value"]
        except (ValueError, RecursionError):  # of which tomllib.TOMLDecodeError is one
            value = text.strip()
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"override {override!r}: {parent!r} is a value, not a table")
        node[last] = value
    return result


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        errors: list[str] = []
        for option in arguments:
            if option is type(None):
                continue
            try:
                return _convert(option, value, where)
            except ConfigError as error:
                errors.append(str(error))
        raise ConfigError(errors[0])
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return from_dict(hint, value, where=where)
    elif origin is tuple and isinstance(value, list | tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(arguments) == len(value):
            return tuple(
                _convert(option, item, f"{where}[{i}]")
                for i, (option, item) in enumerate(zip(arguments, value, strict=True))
            )
    elif origin is dict and isinstance(value, Mapping):
        return {key: _convert(arguments[1], item, _join(where, str(key))) for key, item in value.items()}
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: the number is too large for a float") from None
    elif hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    elif origin is not None and str(origin) == "typing.Literal":
        if value in arguments:
            return value
        raise ConfigError(f"{where}: expected one of {', '.join(map(repr, arguments))}, got {value!r}")
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    raise ConfigError(f"{where}: expected {name}, got {value!r}")
