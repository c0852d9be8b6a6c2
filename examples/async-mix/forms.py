"""A blueprint: uploads, an image, and a cookie."""

import http.cookies
import json
import struct
import zlib

import azure.functions as func

forms = func.Blueprint()


@forms.route(route="upload", methods=["POST"])
def upload(req: func.HttpRequest) -> func.HttpResponse:
    """Takes a multipart form and says what was in it."""
    files = {}
    for name, file in req.files.items():
        files[name] = {"filename": file.filename, "bytes": len(file.read())}
    fields = {name: req.form[name] for name in req.form if name not in files}
    return func.HttpResponse(json.dumps({"fields": fields, "files": files}), mimetype="application/json")


@forms.route(route="pixel/{red:int}/{green:int}/{blue:int}", methods=["GET"])
async def pixel(req: func.HttpRequest) -> func.HttpResponse:
    """Returns a picture of one pixel."""
    colour = bytes(min(int(req.route_params[name]), 255) for name in ("red", "green", "blue"))
    return func.HttpResponse(png(colour), mimetype="image/png")


@forms.route(route="visits", methods=["GET"])
def visits(req: func.HttpRequest) -> func.HttpResponse:
    """Counts the visits of one browser in a cookie."""
    cookies = http.cookies.SimpleCookie(req.headers.get("cookie", ""))
    seen = cookies["visits"].value if "visits" in cookies else ""
    count = int(seen) + 1 if seen.isdigit() else 1
    headers = {"Set-Cookie": f"visits={count}; Path=/; HttpOnly; SameSite=Lax"}
    return func.HttpResponse(f"visit number {count}\n", headers=headers)


def png(colour: bytes) -> bytes:
    """The smallest PNG file: a header, one row of one pixel, and the end (W3C PNG specification, section 5)."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\x00" + colour)), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)
