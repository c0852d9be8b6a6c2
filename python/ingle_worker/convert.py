"""Values of all bindings but HTTP requests, between frames and Python.

A decoder is `decode(kind, value, payload, header)`: one datum of an `invoke` frame, its bytes, and the frame's header.
An encoder takes what the function gave and makes `(fragment, parts, size)`: the datum as JSON text, its bytes as a
tuple, and their number.
"""

import json
import pathlib

from . import spool
from .frames import quote
from .http_data import encode_response

NOTHING = ('["none",null,0]', (), 0)
_INTEGER_MAX = 2**63


class Collection:
    """A list as the SDK's converters expect one: it was a protobuf message there."""

    __slots__ = ("string", "bytes", "double", "sint64")

    def __init__(self, string=(), bytes_=()):
        self.string = string
        self.bytes = bytes_
        self.double = ()
        self.sint64 = ()


def plain_value(kind, value, payload):
    """A datum as the nearest Python value: JSON stays text, as in Azure's generic bindings."""
    if kind == "string" or kind == "json":
        return str(payload, "utf-8")
    if kind == "bytes":
        return payload
    if kind == "none":
        return None
    if kind == "int" or kind == "double":
        return value
    if kind == "collection_string":
        return [str(part, "utf-8") for part in _pieces(value, payload)]
    if kind == "collection_bytes":
        return _pieces(value, payload)
    if kind == "file":
        return spool.read(value)
    raise TypeError("%r data can't be given to this parameter" % kind)


def _pieces(sizes, payload):
    pieces = []
    start = 0
    for size in sizes:
        pieces.append(payload[start : start + size])
        start += size
    return pieces


def generic_decoder():
    """For parameters annotated `str` or `bytes`, and for binding types that the SDK does not know."""

    def decode(kind, value, payload, header):
        return plain_value(kind, value, payload)

    return decode


def text_decoder(name, what, instead, encoding="utf-8"):
    """For what a function wants as `str`. Azure replaces what is not UTF-8, and so damages the content unseen.

    `what` it is and what to write `instead` are for the message.
    """

    def decode(kind, value, payload, header):
        found = plain_value(kind, value, payload)
        if not isinstance(found, bytes):
            return found
        try:
            return str(found, encoding)
        except UnicodeDecodeError as problem:
            raise ValueError("parameter '%s' is annotated str, but %s is no UTF-8 text: byte %d can't be read; annotate it %s" % (
                name, what, problem.start, instead)) from None

    return decode


def path_decoder():
    """For blobs that a function wants as a local file."""

    def decode(kind, value, payload, header):
        found = plain_value(kind, value, payload)
        return None if found is None else pathlib.Path(found)

    return decode


def json_decoder(name, expected):
    """For parameters annotated `dict` or `list` on a binding whose converter has no such shape."""

    def decode(kind, value, payload, header):
        if kind == "none":
            return None
        if kind not in ("string", "json", "bytes"):
            found = plain_value(kind, value, payload)
        else:
            try:
                found = json.loads(payload)
            except ValueError as problem:
                raise ValueError("parameter '%s' is annotated %s, but its data is not JSON: %s" % (
                    name, expected.__name__, problem)) from None
        if not isinstance(found, expected):
            raise ValueError("parameter '%s' is annotated %s, but its JSON is a %s" % (
                name, expected.__name__, type(found).__name__))
        return found

    return decode


def sdk_decoder(sdk, converter, binding_type):
    """Hands the datum to the SDK's converter."""
    datum = sdk.Datum
    with_metadata = converter.has_trigger_support()
    finish = spool.open_stream if binding_type.lower() in ("blob", "blobtrigger") else None

    def decode(kind, value, payload, header):
        if kind == "none":
            data = datum(None, None)
        elif kind == "file" and finish is not None:
            data = datum(b"", "bytes")
        elif kind == "collection_string":
            data = datum(Collection(string=plain_value(kind, value, payload)), kind)
        elif kind == "collection_bytes":
            data = datum(Collection(bytes_=plain_value(kind, value, payload)), kind)
        else:
            data = datum(plain_value(kind, value, payload), kind)
        metadata = None
        if with_metadata:
            metadata = {key: datum(text, shape) for key, (shape, text) in header.get("metadata", {}).items()}
        try:
            found = converter.decode(data, trigger_metadata=metadata)
            return finish(found, value) if kind == "file" and finish is not None else found
        except NotImplementedError:
            raise TypeError("the %s binding can't read %r data into its type" % (binding_type, kind)) from None

    return decode


def encode_text(kind, text):
    payload = text.encode()
    return '["%s",null,%d]' % (kind, len(payload)), (payload,), len(payload)


def encode_bytes(payload):
    return '["bytes",null,%d]' % len(payload), (payload,), len(payload)


def _is_list_of_bytes(value):
    return isinstance(value, list) and bool(value) and all(isinstance(item, (bytes, bytearray)) for item in value)


def encode_pieces(pieces):
    """Several runs of bytes: one message each, where an output takes many."""
    sizes = [len(piece) for piece in pieces]
    return '["collection_bytes",%s,%d]' % (json.dumps(sizes), sum(sizes)), tuple(pieces), sum(sizes)


def encode_json(value):
    return encode_text("json", json.dumps(value))


def encode_number(value):
    """An `int` or `float`; what the wire's number can't hold travels as JSON or text."""
    if isinstance(value, int):
        if -_INTEGER_MAX <= value < _INTEGER_MAX:
            return '["int",%d,0]' % int(value), (), 0
        return encode_text("json", str(int(value)))
    if value != value or value in (float("inf"), float("-inf")):
        return encode_text("string", repr(value))
    return '["double",%s,0]' % float.__repr__(value), (), 0


def generic_encoder(name):
    """For outputs annotated `str` or `bytes`, and for binding types that the SDK does not know."""

    def encode(value):
        if isinstance(value, str):
            return encode_text("string", value)
        if isinstance(value, (bytes, bytearray)):
            return encode_bytes(bytes(value))
        if value is None:
            return NOTHING
        if _is_list_of_bytes(value):
            return encode_pieces(value)
        if isinstance(value, (dict, list)):
            return encode_json(value)
        # A bool is an int here, as in Azure: True arrives as 1.
        if isinstance(value, (int, float)):
            return encode_number(value)
        raise TypeError("binding '%s' can't send a %s" % (name, type(value).__name__))

    return encode


def blob_encoder(encode):
    """Puts large contents and those of files into a file beside the frames; the others go to `encode`."""

    def encode_blob(value):
        return spool.encode(value) or encode(value)

    return encode_blob


def http_encoder(sdk, name):
    """For `http` outputs. None makes the server answer 204, where Azure's worker fails."""
    response_type = sdk.HttpResponse

    def encode(value):
        if isinstance(value, response_type):
            return encode_response(value)
        if isinstance(value, str):
            return encode_text("string", value)
        if value is None:
            return NOTHING
        if isinstance(value, (bytes, bytearray)):
            return encode_bytes(bytes(value))
        raise TypeError("the HTTP response has to be a func.HttpResponse, str or bytes, not a %s; "
                        "for JSON return func.HttpResponse(json.dumps(…), mimetype=\"application/json\")"
                        % type(value).__name__)

    return encode


def sdk_encoder(converter, name, binding_type, expected, implicit):
    """Hands the value to the SDK's converter, and dicts and lists that it can't take over as JSON.

    `implicit`: the converter takes any value itself, as those of Durable Functions do.
    """

    def encode(value):
        if value is None and not implicit:
            return NOTHING
        # The SDK's queue converter would walk over a dict and send the list of its keys.
        if not implicit and type(value) is dict:
            return encode_json(value)
        try:
            return encode_datum(converter.encode(value, expected_type=expected))
        except NotImplementedError:
            if _is_list_of_bytes(value):
                return encode_pieces(value)
            if isinstance(value, (dict, list)):
                return encode_json([dict(item) if hasattr(item, "keys") else item for item in value]
                                   if isinstance(value, list) else value)
            raise TypeError("the %s binding '%s' can't send a %s" % (
                binding_type, name, type(value).__name__)) from None

    return encode


def encode_datum(datum):
    """A `Datum` of the SDK as a datum of the wire."""
    if datum is None or datum.type is None or datum.value is None:
        return NOTHING
    kind, value = datum.type, datum.value
    if kind == "string":
        return encode_text("string", value if isinstance(value, str) else str(value))
    if kind == "bytes":
        return encode_bytes(bytes(value))
    if kind == "json":
        if isinstance(value, bytes):
            value = value.decode()
        return encode_text("json", value) if isinstance(value, str) else encode_json(value)
    if kind in ("int", "double"):
        return encode_number(value)
    if kind in ("dict", "list", "bool"):
        return encode_json(value)
    raise TypeError("the SDK made %s data, which Ingle doesn't know" % quote(str(kind)))
