"""The systems that are compared, and how each is started."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Tuple

from servers import Server, free_port

# What one start needs: the command and the environment, for a port and a number of workers.
Recipe = Callable[["Place", int, int], Tuple[List[str], Dict[str, str]]]


@dataclass(frozen=True)
class Place:
    """Where things are: the binary under test, copies of the apps, and a scratch folder."""

    binary: Path
    apps: Path
    scratch: Path
    # Where npm has put the Serverless Framework and serverless-offline.
    serverless: Path = Path()


@dataclass(frozen=True)
class System:
    name: str
    recipe: Recipe
    hello: str
    echo: str
    is_ingle: bool = False

    def start(self, place: Place, workers: int) -> Server:
        port = 0 if self.is_ingle else free_port()
        command, environment = self.recipe(place, port, workers)
        return Server(command, environment, place.scratch / "server.log", port or None)


def ingle_command(place: Place, app: str, workers: int, functions: Tuple[str, ...] = ()) -> Tuple[List[str], Dict[str, str]]:
    """Default settings: one line for each invocation, durable writes, no limits lifted."""
    command = [str(place.binary), "--json", "--cache", str(place.scratch / "cache"), "start"]
    command += [str(place.apps / app), "--port", "0", "--state", str(place.scratch / "state")]
    command += ["--functions", *functions] if functions else []
    # With none asked for, the app's own `ingle.toml` decides.
    return command, {"FUNCTIONS_WORKER_PROCESS_COUNT": str(workers)} if workers else {}


def ingle(place: Place, _port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
    return ingle_command(place, "hello", workers)


def ingle_handler(place: Place, _port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
    return ingle_command(place, "lambda", workers)


def functions_framework(source: str, *flags: str) -> Recipe:
    def recipe(place: Place, port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
        program = str(Path(sys.executable).parent / "functions-framework")
        command = [program, "--target", "hello", "--source", str(place.apps / "peers" / source), *flags]
        return [*command, "--host", "127.0.0.1", "--port", str(port)], {"WORKERS": str(workers)}

    return recipe


def gunicorn(place: Place, port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
    command = [sys.executable, "-m", "gunicorn", "--workers", str(workers), "--bind", f"127.0.0.1:{port}"]
    return [*command, "--chdir", str(place.apps / "peers"), "flask_hello:app"], {}


def uvicorn(module: str) -> Recipe:
    def recipe(place: Place, port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
        command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--app-dir", str(place.apps / "peers")]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return [*command, "--no-access-log", "--log-level", "warning"], {}

    return recipe


def awslambdaric(module: str) -> Recipe:
    """Lambda's runtime client behind the least that can serve it: an environment is made when a request finds none free."""

    def recipe(place: Place, port: int, workers: int) -> Tuple[List[str], Dict[str, str]]:
        command = [sys.executable, str(Path(__file__).parent / "runtime_api.py"), "--port", str(port)]
        command += ["--folder", str(place.apps / "peers"), "--handler", f"{module}.handler"]
        return [*command, "--environments", str(workers)], {}

    return recipe


def chalice_local(place: Place, port: int, _workers: int) -> Tuple[List[str], Dict[str, str]]:
    """One process with a thread for each request, whatever number of workers is asked for."""
    command = [str(Path(sys.executable).parent / "chalice"), "--project-dir", str(place.apps / "chalice")]
    return [*command, "local", "--no-autoreload", "--port", str(port)], {}


def serverless_offline(place: Place, port: int, _workers: int) -> Tuple[List[str], Dict[str, str]]:
    """As many Python processes as it likes. It finds its plugin beside the project, and Python by the name of the runtime."""
    project = place.apps / "serverless"
    modules = project / "node_modules"
    if not modules.exists():
        modules.symlink_to(place.serverless / "node_modules")
    configuration = project / "serverless.yml"
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    configuration.write_text(re.sub(r"python3\.\d+", runtime, configuration.read_text()))
    command = ["node", str(place.serverless / "node_modules/serverless/bin/serverless.js"), "offline", "start"]
    # Otherwise it asks the network whether there is news of it.
    quiet = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "SLS_TRACKING_DISABLED": "1"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # It takes no other folder than the one it is started in.
    start = ["sh", "-c", 'cd "$0" && exec "$@"', str(project)]
    return [*start, *command, "--httpPort", str(port), "--lambdaPort", str(free_port())], {**quiet, "PATH": path}


INGLE = System("Ingle, `def`", ingle, "/api/hello?name=Ada", "/api/echo", is_ingle=True)
INGLE_ASYNC = System("Ingle, `async def`", ingle, "/api/hello_async?name=Ada", "/api/echo", is_ingle=True)
INGLE_HANDLER = System("Ingle, handler of Lambda", ingle_handler, "/hello?name=Ada", "", is_ingle=True)
HELLO, ECHO, GROUP = "/hello?name=Ada", "/echo", "/group"
FRAMEWORK = System("functions-framework (gunicorn)", functions_framework("framework_hello.py"), HELLO, ECHO)
FRAMEWORK_ASGI = System("functions-framework --asgi", functions_framework("framework_async.py", "--asgi"), HELLO, ECHO)
UVICORN = System("uvicorn, bare ASGI", uvicorn("asgi_hello"), HELLO, ECHO)
# Takes bodies of 6 MB at most, so it has no part in the echo. Its server starts no environment by itself.
LAMBDA = System("awslambdaric, Runtime API", awslambdaric("lambda_hello"), HELLO, "")
PEERS = [
    FRAMEWORK,
    FRAMEWORK_ASGI,
    System("gunicorn sync + Flask", gunicorn, HELLO, ECHO),
    System("uvicorn + FastAPI", uvicorn("fastapi_hello"), HELLO, ECHO),
    UVICORN,
]
# What runs handlers of Lambda on a developer's machine.
LAMBDA_PEERS = [
    LAMBDA,
    System("chalice local", chalice_local, HELLO, ""),
    System("serverless-offline", serverless_offline, HELLO, ""),
]
# The same systems with a function that has imported numpy and pandas, by the name of the system.
PANDAS = {
    FRAMEWORK.name: System(FRAMEWORK.name, functions_framework("framework_pandas.py"), HELLO, ""),
    FRAMEWORK_ASGI.name: System(FRAMEWORK_ASGI.name, functions_framework("framework_pandas_async.py", "--asgi"), HELLO, ""),
    UVICORN.name: System(UVICORN.name, uvicorn("asgi_pandas"), HELLO, ""),
    LAMBDA.name: System(LAMBDA.name, awslambdaric("lambda_pandas"), HELLO, ""),
}
