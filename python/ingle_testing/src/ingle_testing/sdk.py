"""The SDK of the environment in which the tests run, whichever version that is."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from datetime import datetime, timezone
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

from .errors import SdkMissing


def is_there() -> bool:
    """Whether `azure.functions` can be imported."""
    try:
        return importlib.util.find_spec("azure.functions") is not None
    except ImportError:
        return False


def missing() -> SdkMissing:
    """What to raise if it can't."""
    return SdkMissing("the environment of the tests (%s) has no azure-functions: `pip install azure-functions`"
                      % sys.executable)


def module(name: str = "azure.functions") -> Any:
    """A module of the SDK. Raises SdkMissing."""
    if not is_there():
        raise missing()
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SdkMissing("the azure-functions of the tests (%s) is too old: it has no %s"
                         % (getattr(module(), "__version__", "of unknown version"), name)) from None


class _Collection:
    """A list as the converters expect one: it was a protobuf message in Azure's worker."""

    def __init__(self, kind: str, values: Iterable[Any]):
        for name in ("string", "bytes", "double", "sint64"):
            setattr(self, name, list(values) if name == kind else [])


def decode(binding: str, value: Any, kind: str, metadata: Optional[Mapping[str, Any]] = None) -> Any:
    """What the SDK's own converter makes of data of a trigger, and so what a function is given in production.

    `kind` is that of a datum on the wire: `string`, `bytes`, `json` (for which `value` is made JSON here),
    `collection_string`, `collection_bytes`. `metadata`: by the names that the host uses, with plain values: text and bytes
    as they are, times and everything else as JSON.
    """
    sdk = module()
    converter = sdk.get_binding_registry().get(binding)
    if converter is None:
        raise SdkMissing("the azure-functions of the tests (%s) knows no %s" % (sdk.__version__, binding))
    datum = module("azure.functions.meta").Datum
    if kind == "json":
        value = json.dumps(value)
    elif kind.startswith("collection_"):
        value = _Collection(kind[len("collection_"):], value)
    known = {name: datum(*_metadatum(entry)) for name, entry in (metadata or {}).items() if entry is not None}
    return converter.decode(datum(value, kind), trigger_metadata=known)


class Quoted(str):
    """A text that travels as JSON."""


def _metadatum(value: Any) -> Tuple[Any, str]:
    if isinstance(value, str) and not isinstance(value, Quoted):
        return value, "string"
    if isinstance(value, bytes):
        return value, "bytes"
    if isinstance(value, int) and not isinstance(value, bool):
        return value, "int"
    if isinstance(value, datetime):
        return json.dumps(date_text(value)), "json"
    return json.dumps(value, default=_plain), "json"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return date_text(value)
    raise TypeError("%r can't be metadata" % (value,))


def utc(time: datetime) -> datetime:
    """The same time in UTC; one without a zone is taken for one in UTC."""
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def date_text(time: datetime) -> str:
    """In the form that the SDK parses: `2030-01-01T00:00:00+00:00`, with microseconds if there are any."""
    return utc(time).isoformat()


def plain(values: Mapping[str, Any]) -> Dict[str, Any]:
    """The entries that have a value."""
    return {name: value for name, value in values.items() if value is not None}
