"""Just enough of PNG for this example: grey pictures with 8 bits."""

import struct
import zlib


def read_png(data: bytes) -> tuple:
    """Width, height and rows of a picture without filters."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("this is no PNG picture")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if (depth, colour) != (8, 0):
        raise ValueError("only grey pictures with 8 bits are read here")
    packed = b""
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        place += length + 12
    lines = zlib.decompress(packed)
    return width, height, [lines[at + 1 : at + 1 + width] for at in range(0, len(lines), width + 1)]


def write_png(rows: list) -> bytes:
    """A picture of rows of equal length."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
