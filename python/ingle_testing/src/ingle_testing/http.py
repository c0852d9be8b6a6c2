"""Requests to the functions of an app."""

from __future__ import annotations

import http.client
import json as json_module
from typing import Any, Iterable, Mapping, Optional, Tuple, Union
from urllib.parse import urlencode

from .records import Headers, Response

TIMEOUT_SECONDS = 300.0


class HttpClient:
    """Sends requests, one connection for each. Redirects are not followed, and statuses raise nothing."""

    def __init__(self, address: Tuple[str, int]):
        self._address = address

    def request(self, method: str, path: str, *, params: Union[Mapping[str, Any], Iterable[Tuple[str, Any]], None] = None,
                headers: Optional[Mapping[str, str]] = None, json: Any = None, data: Union[str, bytes, None] = None,
                form: Optional[Mapping[str, Any]] = None, timeout: float = TIMEOUT_SECONDS) -> Response:
        """One request and its answer.

        `path` begins with a slash; `params` are added to its query. The body is `json`, a `form`, or `data` as it is.
        Raises TimeoutError or another OSError if no answer comes.
        """
        body, content_type = _body(json, data, form)
        sent = {"Content-Type": content_type} if content_type else {}
        sent.update({name.title(): value for name, value in (headers or {}).items()})
        if params:
            path += ("&" if "?" in path else "?") + urlencode(list(_pairs(params)), doseq=True)
        connection = http.client.HTTPConnection(*self._address, timeout=timeout)
        try:
            connection.request(method.upper(), path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        pairs = answer.getheaders()
        cookies = tuple(value for name, value in pairs if name.lower() == "set-cookie")
        return Response(answer.status, Headers(pairs), content, cookies)

    def get(self, path: str, **more: Any) -> Response:
        """`request("GET", …)`."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> Response:
        """`request("POST", …)`."""
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> Response:
        """`request("PUT", …)`."""
        return self.request("PUT", path, **more)

    def patch(self, path: str, **more: Any) -> Response:
        """`request("PATCH", …)`."""
        return self.request("PATCH", path, **more)

    def delete(self, path: str, **more: Any) -> Response:
        """`request("DELETE", …)`."""
        return self.request("DELETE", path, **more)

    def head(self, path: str, **more: Any) -> Response:
        """`request("HEAD", …)`."""
        return self.request("HEAD", path, **more)

    def options(self, path: str, **more: Any) -> Response:
        """`request("OPTIONS", …)`."""
        return self.request("OPTIONS", path, **more)


def _pairs(params: Union[Mapping[str, Any], Iterable[Tuple[str, Any]]]) -> Iterable[Tuple[str, Any]]:
    return params.items() if isinstance(params, Mapping) else params


def _body(json: Any, data: Union[str, bytes, None],
          form: Optional[Mapping[str, Any]]) -> Tuple[Optional[bytes], Optional[str]]:
    if sum(part is not None for part in (json, data, form)) > 1:
        raise TypeError("a request has one body: json, form or data")
    if json is not None:
        return json_module.dumps(json).encode(), "application/json"
    if form is not None:
        return urlencode(form, doseq=True).encode(), "application/x-www-form-urlencoded"
    if data is None:
        return None, None
    return (data.encode(), "text/plain; charset=utf-8") if isinstance(data, str) else (bytes(data), None)
