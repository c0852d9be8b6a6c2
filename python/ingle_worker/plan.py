"""One function's parameters against its bindings: checked once at load, and turned into a plan for every call.

The rules are those of Azure's worker; where they only get in the way (`Optional[X]`, `dict` for a JSON payload) they
are wider here.
"""

import inspect
import os
import pathlib
import typing

from . import convert, http_data, streaming
from .context import Context, Out

_BLOBS = ("blobtrigger", "blob")


class Plan:
    """All that a call of one function needs."""

    __slots__ = ("name", "function", "is_async", "directory", "decoders", "outputs", "returned", "needs_context",
                 "inputs", "hooks", "streams")

    def __init__(self, name, function, directory):
        self.name = name
        self.function = function
        self.is_async = is_async(function)
        self.directory = directory
        # Parameter -> decoder; names of the parameters; (parameter, encoder) of `Out` parameters.
        self.decoders = {}
        self.inputs = ()
        self.outputs = []
        # Encoder of the returned value; None if nothing may be returned.
        self.returned = None
        self.needs_context = False
        # `extensions.Hooks`, if the app has extensions.
        self.hooks = None
        # Request and response are those of the app's web framework, whose bodies travel in pieces.
        self.streams = False


class Unfit(Exception):
    """A function that can't be called as declared: `code`, `message` and `fix` of the problem."""

    def __init__(self, code, message, fix):
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


def is_async(function):
    """Whether calling `function` runs on the event loop.

    A plain function around a coroutine function is not: it may block, or run a loop of its own. It gets a lane,
    and if it returns an awaitable that is awaited on the loop.
    """
    if inspect.iscoroutinefunction(function):
        return True
    call = getattr(type(function), "__call__", None)
    return not inspect.isroutine(function) and inspect.iscoroutinefunction(call)


def make_plan(sdk, name, function, bindings, directory):
    """The plan of one function. Raises `Problems`."""
    problems = []
    plan = Plan(name, function, directory)
    by_name, trigger_type, odd = _sort_bindings(name, bindings, problems)
    if trigger_type is None:
        raise Problems(problems)
    parameters = _parameters(function, problems)
    annotations = _annotations(function, problems)
    if parameters is None or annotations is None:
        raise Problems(problems)
    returned = by_name.pop("$return", None)
    for parameter in odd:
        parameters.pop(parameter, None)
    _check_names(parameters, by_name, annotations, plan, problems)
    for parameter in parameters:
        if parameter in by_name:
            try:
                _plan_parameter(sdk, plan, parameter, by_name[parameter], annotations.get(parameter, inspect.Parameter.empty))
            except Unfit as problem:
                problems.append(problem)
    try:
        # What a streaming function returns is sent by the response object itself.
        plan.returned = None if plan.streams else _plan_return(sdk, returned, trigger_type, annotations.get("return", inspect.Parameter.empty))
    except Unfit as problem:
        problems.append(problem)
    if problems or odd:
        raise Problems(problems)
    plan.inputs = tuple(plan.decoders)
    return plan


class Problems(Exception):
    """All that is wrong with one function: a list of `Unfit`."""

    def __init__(self, problems):
        super().__init__("%d problems" % len(problems))
        self.problems = problems


def _sort_bindings(function_name, bindings, problems):
    by_name = {}
    triggers = []
    # The server says what is wrong with a direction, as it knows the line.
    odd = []
    for binding in bindings:
        name = str(binding.get("name", ""))
        kind = str(binding.get("type", ""))
        direction = str(binding.get("direction", "in")).lower()
        if kind.lower().endswith("trigger"):
            triggers.append(kind)
        if direction not in ("in", "out"):
            odd.append(name)
            continue
        if name == "$return" and direction != "out":
            problems.append(Unfit("E0209", "the binding $return has direction \"in\"",
                                  "give it direction out, or another name"))
            continue
        if name in by_name:
            problems.append(Unfit("E0225", "two bindings are named '%s'" % name, "rename one of them"))
        by_name[name] = (kind, direction, _is_file(binding, kind))
    if not triggers:
        problems.append(Unfit("E0207", "%s has no trigger" % function_name,
                              "add a trigger, for example @app.route() or an httpTrigger binding"))
    elif len(triggers) > 1:
        problems.append(Unfit("E0208", "%s has %d triggers: %s" % (function_name, len(triggers), ", ".join(triggers)),
                              "keep one trigger and move the others to functions of their own"))
    return by_name, triggers[0] if len(triggers) == 1 else None, odd


def _is_file(binding, kind):
    """Whether the function gets the path of a local file instead of the content."""
    return kind.lower() in _BLOBS and str(binding.get("mode", "")).lower() == "file"


def _parameters(function, problems):
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as problem:
        problems.append(Unfit("E0209", "the parameters can't be read: %s" % problem, "declare it with def or async def"))
        return None


def _annotations(function, problems):
    """Annotations by parameter, strings resolved."""
    target = function
    while hasattr(target, "func") and not hasattr(target, "__annotations__"):
        target = target.func
    if not inspect.isroutine(target) and not isinstance(target, type):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except Exception as problem:
        raw = getattr(inspect.unwrap(target), "__annotations__", {})
        namespace = getattr(inspect.unwrap(target), "__globals__", {})
        for name, annotation in raw.items():
            try:
                if isinstance(annotation, str):
                    eval(annotation, namespace)
            except Exception as cause:
                problems.append(Unfit(
                    "E0210", "the annotation of %s, %s, can't be resolved: %s" % (
                        "the return value" if name == "return" else "parameter '%s'" % name, annotation, cause),
                    "import the type at the top of the module, outside `if TYPE_CHECKING`"))
        if not problems:
            problems.append(Unfit("E0210", "the annotations can't be resolved: %s" % problem,
                                  "import the types at the top of the module"))
        return None


def _check_names(parameters, by_name, annotations, plan, problems):
    if "context" in parameters and "context" not in by_name:
        del parameters["context"]
        plan.needs_context = True
        annotation = annotations.get("context")
        if annotation is not None and annotation is not typing.Any and getattr(annotation, "__name__", "") != "Context":
            problems.append(Unfit("E0210", "parameter 'context' is annotated %s" % spell(annotation),
                                  "annotate it func.Context, or bind it"))
    unbound = [name for name in parameters if name not in by_name]
    unused = [name for name in by_name if name not in parameters]
    wrapped = {"args", "kwargs"} >= set(unbound)
    if unbound:
        problems.append(Unfit(
            "E0209", "no binding for the parameter%s %s" % ("s" if len(unbound) > 1 else "", _list(unbound)),
            "use functools.wraps(function) in the decorator around the function" if wrapped
            else "name a binding like the parameter (arg_name), or remove it from the function"))
    if unused and not (unbound and wrapped):
        problems.append(Unfit(
            "E0209", "no parameter for the binding%s %s" % ("s" if len(unused) > 1 else "", _list(unused)),
            "add the parameter to the function, or remove the binding"))


def _list(names):
    return ", ".join("'%s'" % name for name in names)


def _plan_parameter(sdk, plan, name, binding, annotation):
    kind, direction, as_file = binding
    unannotated = annotation is inspect.Parameter.empty or annotation is typing.Any
    inner = annotation if unannotated else _without_none(annotation)
    is_out = _is_out(sdk, inner)
    if unannotated:
        inner = None
    elif is_out and direction == "in":
        raise Unfit("E0210", "parameter '%s' is annotated %s, but its binding %s is an input" % (
            name, spell(annotation), kind), "annotate it with the type of the value, without func.Out")
    elif direction == "out" and not is_out:
        raise Unfit("E0210", "parameter '%s' is annotated %s, but its binding %s is an output" % (
            name, spell(annotation), kind), "annotate it func.Out[…]")
    if direction == "in":
        if kind.lower() == "httptrigger" and _streams(sdk, inner):
            plan.streams = True
            plan.decoders[name] = streaming.request_decoder(streaming.find_extension())
        else:
            plan.decoders[name] = _file_decoder(name, kind, inner) if as_file else _decoder(sdk, name, kind, inner)
        return
    if inner is not None:
        arguments = typing.get_args(inner)
        inner = _without_none(arguments[0]) if arguments else None
        if inner is typing.Any or isinstance(inner, typing.TypeVar):
            inner = None
    plan.outputs.append((name, _encoder(sdk, name, kind, inner, "func.Out[%s]")))


def _streams(sdk, annotation):
    base = streaming.find_extension()
    return base is not None and streaming.takes_request(base, sdk, annotation)


def _is_out(sdk, annotation):
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, (sdk.Out, Out))


def _without_none(annotation):
    """`X` for `Optional[X]`: a value that may be absent changes nothing for the converter."""
    if _is_union(annotation):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _is_union(annotation):
    origin = typing.get_origin(annotation)
    # `X | Y` has its own type from 3.10 on.
    return origin is typing.Union or getattr(origin, "__name__", "") == "UnionType"


def _container(annotation):
    """`dict` or `list` for those and their generic forms, else None."""
    origin = typing.get_origin(annotation) or annotation
    return origin if origin in (dict, list) else None


def _accepts(check, annotation):
    try:
        return bool(check(annotation))
    except (TypeError, AttributeError):
        # The SDK's checks call issubclass without looking whether they were given a class.
        return False


def _decoder(sdk, name, kind, annotation):
    converter = sdk.converter(kind)
    if kind.lower() == "httptrigger":
        if annotation is not None and not _accepts(converter.check_input_type_annotation, annotation):
            raise Unfit("E0210", "parameter '%s' is annotated %s, which an httpTrigger can't give" % (
                name, spell(annotation)), "annotate it func.HttpRequest")
        return http_data.request_decoder(sdk)
    known = converter is not None and hasattr(converter, "decode")
    if annotation is str and kind.lower() in _BLOBS:
        return convert.text_decoder(name, "the blob", "bytes or func.InputStream", "utf-8-sig")
    if annotation is str and kind.lower() == "queuetrigger":
        return convert.text_decoder(name, "the message", "bytes or func.QueueMessage")
    if annotation in (str, bytes) and not sdk_takes_anything(sdk, kind):
        return convert.generic_decoder()
    if annotation is None:
        return convert.sdk_decoder(sdk, converter, kind) if known else convert.generic_decoder()
    if known and _accepts(converter.check_input_type_annotation, annotation):
        return convert.sdk_decoder(sdk, converter, kind)
    container = _container(annotation)
    if container is not None and kind.lower() != "timertrigger":
        return convert.json_decoder(name, container)
    if annotation in (str, bytes):
        return convert.generic_decoder()
    raise Unfit("E0210", "parameter '%s' is annotated %s, which does not fit its binding %s" % (
        name, spell(annotation), kind), _suggest(sdk, converter, kind))


def _file_decoder(name, kind, annotation):
    if annotation is None or annotation is str:
        return convert.generic_decoder()
    # os.PathLike itself can't be made; what is a path to it is one to pathlib too.
    if getattr(annotation, "__origin__", annotation) is os.PathLike or (
            isinstance(annotation, type) and issubclass(pathlib.Path, annotation)):
        return convert.path_decoder()
    raise Unfit("E0210", "parameter '%s' is annotated %s, but its binding %s gives the path of a file" % (
        name, spell(annotation), kind), "annotate it str, os.PathLike or pathlib.Path, or remove mode=\"file\"")


def sdk_takes_anything(sdk, kind):
    return sdk.converter(kind) is not None and sdk.has_implicit_output(kind)


def _encoder(sdk, name, kind, annotation, form):
    converter = sdk.converter(kind)
    if kind.lower() == "http":
        if annotation is not None and annotation not in (str, bytes) and not (
                _accepts(converter.check_output_type_annotation, annotation)):
            raise Unfit("E0210", "'%s' is annotated %s, which can't be an HTTP response" % (
                name, form % spell(annotation)), "use func.HttpResponse, str or bytes; json.dumps makes a str")
        return convert.http_encoder(sdk, name)
    encoder = _value_encoder(sdk, converter, name, kind, annotation, form)
    return convert.blob_encoder(encoder) if kind.lower() == "blob" else encoder


def _value_encoder(sdk, converter, name, kind, annotation, form):
    known = converter is not None and hasattr(converter, "encode")
    implicit = sdk_takes_anything(sdk, kind)
    if annotation in (str, bytes, bytearray) and not implicit:
        return convert.generic_encoder(name)
    if not known:
        if annotation is None or annotation in (str, bytes, bytearray, int, float, bool) or _container(annotation):
            return convert.generic_encoder(name)
    elif annotation is None or _container(annotation) or _accepts(converter.check_output_type_annotation, annotation):
        return convert.sdk_encoder(converter, name, kind, annotation, implicit)
    raise Unfit("E0210", "'%s' is annotated %s, which does not fit its binding %s" % (
        name, form % spell(annotation), kind), "use str, bytes, or the type that azure.functions has for it")


def _plan_return(sdk, binding, trigger_type, annotation):
    """The encoder of the returned value, or None if the function may return nothing but None."""
    if binding is not None:
        kind = binding[0]
    elif sdk.has_implicit_output(trigger_type):
        kind = trigger_type
    else:
        return None
    if annotation is inspect.Parameter.empty or annotation is typing.Any or annotation is type(None):
        return _encoder(sdk, "$return", kind, None, "%s")
    if _is_out(sdk, annotation):
        raise Unfit("E0210", "the return value is annotated %s" % spell(annotation),
                    "annotate it with the type of the value, without func.Out")
    members = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    members = [member for member in members if member is not type(None)]
    if binding is None:
        # What a trigger returns implicitly has no declared type to hold it against.
        return _encoder(sdk, "$return", kind, None, "%s")
    encoders = [_encoder(sdk, "$return", kind, member, "%s") for member in members]
    return encoders[0] if len(encoders) == 1 else _encoder(sdk, "$return", kind, None, "%s")


def _suggest(sdk, converter, kind):
    names = []
    for name in ("QueueMessage", "DocumentList", "TimerRequest", "InputStream", "EventHubEvent", "ServiceBusMessage",
                 "EventGridEvent", "KafkaEvent", "SqlRowList"):
        candidate = getattr(sdk.functions, name, None)
        if converter is not None and candidate is not None and _accepts(converter.check_input_type_annotation, candidate):
            names.append("func." + name)
    names.extend(("str", "bytes"))
    return "annotate it %s" % " or ".join(names)


def spell(annotation):
    """An annotation as a person would write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        module = annotation.__module__
        if module.startswith("azure.functions"):
            return "func." + annotation.__qualname__
        return annotation.__qualname__ if module == "builtins" else "%s.%s" % (module, annotation.__qualname__)
    return str(annotation).replace("typing.", "")
