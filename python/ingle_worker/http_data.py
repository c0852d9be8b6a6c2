"""HTTP requests and responses between frames and the SDK's objects."""

from .frames import quote

# RFC 6265, section 4.1.1: what a cookie's value may consist of. Anything else is percent-encoded.
_COOKIE_EXTRA = "!#$%&'()*+-./:<=>?@[]^_`{|}~"


def request_decoder(sdk):
    """Makes `decode(kind, value, payload, header)` for an `httpTrigger` parameter."""
    if not sdk.http_is_stock:
        return _slow_request_decoder(sdk)
    make = sdk.HttpRequest

    def decode(kind, value, payload, header):
        if kind != "http":
            raise TypeError("the httpTrigger takes a request, not %r data" % kind)
        # What the SDK's converter does, without wrapping and unwrapping every header in a Datum.
        return make(
            method=value["method"],
            url=value["url"],
            headers=value["headers"],
            params=value["query"],
            route_params=value["params"],
            body_type="bytes",
            body=payload,
        )

    return decode


def _slow_request_decoder(sdk):
    converter = sdk.converter("httpTrigger")
    datum = sdk.Datum

    def decode(kind, value, payload, header):
        if kind != "http":
            raise TypeError("the httpTrigger takes a request, not %r data" % kind)
        return converter.decode(
            datum(
                {
                    "method": datum(value["method"], "string"),
                    "url": datum(value["url"], "string"),
                    "headers": {name: datum(text, "string") for name, text in value["headers"].items()},
                    "query": {name: datum(text, "string") for name, text in value["query"].items()},
                    "params": {name: datum(text, "string") for name, text in value["params"].items()},
                    "body": datum(payload, "bytes"),
                },
                "http",
            ),
            trigger_metadata={},
        )

    return decode


def encode_response(response):
    """An `HttpResponse` as a datum: `(fragment, parts, size)`. Raises `ValueError` if it makes no response."""
    status, headers = response_head(response)
    body = response.get_body() or b""
    return encode_head(status, headers, len(body)), (body,), len(body)


def encode_head(status, headers, size):
    """The datum of a response with a body of `size` bytes, as JSON text."""
    headers = ",".join("[%s,%s]" % (quote(name), quote(value)) for name, value in headers)
    return '["http",{"status":%d,"headers":[%s]},%d]' % (status, headers, size)


def response_head(response):
    """Status and headers of an `HttpResponse`: `(200, [(name, value), …])`."""
    headers = []
    has_type = False
    for name, value in response.headers.items():
        lower = name.lower()
        if lower == "set-cookie":
            headers.extend(("set-cookie", text) for text in cookies(value))
            continue
        if lower == "content-type":
            has_type = True
        headers.append((name, value if type(value) is str else str(value)))
    if not has_type:
        mimetype = response.mimetype
        if mimetype.startswith("text/"):
            mimetype = "%s; charset=%s" % (mimetype, response.charset)
        headers.append(("content-type", mimetype))
    return _status(response.status_code), headers


def _status(status):
    try:
        return int(status)
    except (TypeError, ValueError):
        raise ValueError("status_code has to be a number, not %r" % (status,)) from None


def cookies(text):
    """The cookies of one `Set-Cookie` value, serialised in the order in which Azure's host writes them.

    A value that Python's parser does not understand goes out as it stands rather than being dropped.
    """
    from http.cookies import CookieError, SimpleCookie

    try:
        morsels = SimpleCookie(text).values()
    except CookieError:
        morsels = ()
    if morsels:
        return [_serialise(morsel) for morsel in morsels]
    return [text] if text.strip() else []


def _serialise(morsel):
    from urllib.parse import quote as percent_encode

    parts = ["%s=%s" % (morsel.key, percent_encode(morsel.value, safe=_COOKIE_EXTRA))]
    if morsel["expires"]:
        parts.append("expires=" + _http_date(morsel["expires"]))
    if morsel["max-age"] != "":
        parts.append("max-age=%d" % float(morsel["max-age"]))
    for name in ("domain", "path"):
        if morsel[name]:
            parts.append("%s=%s" % (name, morsel[name]))
    if morsel["secure"]:
        parts.append("secure")
    if morsel["samesite"]:
        parts.append("samesite=" + morsel["samesite"].lower())
    if morsel["httponly"]:
        parts.append("httponly")
    return "; ".join(parts)


def _http_date(text):
    import datetime
    from email.utils import format_datetime, parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        moment = None
    if moment is None:
        raise ValueError("the cookie's expiry %r is not a date" % text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return format_datetime(moment.astimezone(datetime.timezone.utc), usegmt=True)
