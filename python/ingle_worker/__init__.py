"""Ingle's Python worker: runs the functions of one app for the server that started it.

It speaks the frames of `proto/frames.md` over Unix sockets, imports nothing outside the standard library, and
leaves nothing of itself on `sys.path`. The app's own `azure.functions` does every conversion.

| module | what it is for |
|---|---|
| `loop` | the life of the process: hello, load, serve, stop |
| `frames` | bytes on sockets |
| `lanes` | threads that run `def` functions |
| `load`, `load_v1`, `load_v2` | import the app and find its functions |
| `plan` | check one function's parameters against its bindings, once |
| `sdk`, `convert`, `http_data` | values between frames and Python, through the app's SDK |
| `invoke` | one invocation, from frame to frame |
| `extensions` | hooks of worker extensions around functions |
| `lifespan` | the one start of an ASGI app |
| `context` | who is running: the `context` argument, `Out`, the current invocation |
| `logs` | everything that user code says |
| `errors`, `problems` | exceptions and mistakes, told so that a person can act on them |
| `crash` | `os._exit`, faults and forks |
"""
