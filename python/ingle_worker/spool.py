"""Contents that are too large for frames: local files that the server hands over, and files that it takes over.

Neither side holds such a content in memory. The server names a file for an input; for an output the worker writes one
into the folder of the `load` frame, and the server moves it into its store.
"""

import io
import os
import uuid

# Shorter contents travel in frames, which is quicker.
INLINE_BYTES_MAX = 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class Spool:
    """Where large outputs are written; None: everything travels in frames."""

    def __init__(self):
        self.folder = None
        # The number that the server has given this process.
        self.owner = 0


SPOOL = Spool()


def read(value):
    """The whole content of an input: `bytes`, or `str` as Azure's host reads text, if the binding asks for that."""
    with open(value["path"], "rb") as file:
        content = file.read()
    return content.decode("utf-8-sig", "replace") if value.get("text") else content


def open_stream(stream, value):
    """The SDK's stream of an empty content, made to read a file."""
    file = open(value["path"], "rb")
    if not isinstance(getattr(stream, "_io", None), io.BytesIO):
        # Another version of the SDK, with other insides: the content has to be in memory.
        with file:
            content = file.read()
        return type(stream)(data=content)
    stream._io = file
    return stream


def encode(value):
    """A large or file-like content as a datum `(fragment, parts, size)`; None for what belongs into the frame."""
    read_piece = getattr(value, "read", None)
    if callable(read_piece):
        pieces = _pieces_of_file(read_piece)
        first = next(pieces, b"")
        if SPOOL.folder is None or len(first) < _PIECE_BYTES:
            content = first + b"".join(pieces)
            return '["bytes",null,%d]' % len(content), (content,), len(content)
        return _write(_chain(first, pieces))
    if SPOOL.folder is None or not isinstance(value, (bytes, bytearray, str)) or len(value) <= INLINE_BYTES_MAX:
        return None
    return _write(_pieces_of_value(value))


def _chain(first, rest):
    yield first
    yield from rest


def _pieces_of_file(read_piece):
    while True:
        try:
            piece = read_piece(_PIECE_BYTES)
        except TypeError:
            # Its `read` takes no size.
            piece = read_piece()
            yield _bytes(piece)
            return
        if not piece:
            return
        yield _bytes(piece)


def _bytes(piece):
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def _pieces_of_value(value):
    view = value if isinstance(value, str) else memoryview(value)
    for start in range(0, len(view), _PIECE_BYTES):
        piece = view[start : start + _PIECE_BYTES]
        yield piece.encode() if isinstance(piece, str) else piece


def _write(pieces):
    # The worker's number is in the name, so that the server finds what is left of one that died.
    name = "%d-%s" % (SPOOL.owner, uuid.uuid4().hex)
    path = os.path.join(SPOOL.folder, name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            for piece in pieces:
                _write_all(file, piece)
    except BaseException:
        os.unlink(path)
        raise
    return '["file",{"name":"%s"},0]' % name, (), 0


def _write_all(file, piece):
    view = memoryview(piece)
    while len(view):
        view = view[file.write(view) :]
