"""The plug-in for pytest: the fixture `ingle_platform`.

| to choose | use |
|---|---|
| the program `ingle` | `pytest --ingle=PROGRAM`, the variable `INGLE`, or PATH |
| the app | `ingle_app = FOLDER` in the configuration of pytest (default: its root folder), or the marker |
| the time at which the clock begins | `ingle_time = 2030-01-01T08:00:00` there, or the marker |

`@pytest.mark.ingle(app="shop", time="2030-03-01", settings={"MODE": "test"}, fresh=True)` is for single tests, classes or
modules. With `fresh` a test gets a server of its own, also with new worker processes.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Generator, Iterator, Optional, Tuple

import pytest

from .platform import START, Platform


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("ingle")
    group.addoption("--ingle", metavar="PROGRAM", help="the program `ingle` [default: the variable INGLE, else PATH]")
    parser.addini("ingle_app", "folder of the app that ingle_platform serves [default: the root folder]", default="")
    parser.addini("ingle_time", "where the clock of ingle_platform begins, in ISO 8601", default="")


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "ingle(app, time, settings, fresh): which app ingle_platform serves, and how")


class _Platforms:
    """The servers of a session: one for each app with its settings, started when it is needed first."""

    def __init__(self, config: Any):
        self._config = config
        self._started: Dict[Tuple[Any, ...], Platform] = {}

    def get(self, wanted: Dict[str, Any]) -> Tuple[Platform, bool]:
        """A platform in its first state, and whether it is for one test only."""
        app = self._config.rootpath / (wanted.get("app") or self._config.getini("ingle_app") or ".")
        time = _time(wanted.get("time") or self._config.getini("ingle_time"))
        settings = {name: str(value) for name, value in (wanted.get("settings") or {}).items()}

        def make() -> Platform:
            return Platform(app, ingle=self._config.getoption("--ingle"), time=time, settings=settings)

        if wanted.get("fresh"):
            return make().start(), True
        key = (app, time, tuple(sorted(settings.items())))
        platform = self._started.get(key)
        if platform is None:
            platform = self._started[key] = make().start()
        else:
            platform.reset()
        return platform, False

    def close(self) -> None:
        for platform in self._started.values():
            platform.close()


def _time(text: str) -> datetime:
    if not text:
        return START
    # Python before 3.11 does not read the Z.
    time = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)


@pytest.fixture(scope="session")
def _ingle_platforms(pytestconfig: Any) -> Iterator[_Platforms]:
    platforms = _Platforms(pytestconfig)
    yield platforms
    platforms.close()


@pytest.fixture
def ingle_platform(_ingle_platforms: _Platforms, request: Any) -> Iterator[Platform]:
    """The platform with the app under test: nothing stored, no records, its clock at its first time.

    At its end the test fails if a function fails that it did not expect to fail, also in work that was left undone.
    """
    wanted: Dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("ingle"))):
        if marker.args:
            raise pytest.UsageError("the marker ingle takes keyword arguments only: app, time, settings, fresh")
        unknown = set(marker.kwargs) - {"app", "time", "settings", "fresh"}
        if unknown:
            raise pytest.UsageError("the marker ingle does not know %s" % ", ".join(sorted(unknown)))
        wanted.update(marker.kwargs)
    platform, is_fresh = _ingle_platforms.get(wanted)
    try:
        yield platform
        platform.verify()
    finally:
        if is_fresh:
            platform.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    """Shows with a test that failed what its functions did."""
    outcome = yield
    report = outcome.get_result()
    platform: Optional[Platform] = getattr(item, "funcargs", {}).get("ingle_platform")
    if report.failed and platform is not None and platform.is_started:
        text = platform.report()
        if text:
            report.sections.append(("Ingle: invocations and logs", text))
