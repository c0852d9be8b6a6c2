"""What is wrong with an app, said with file, line and a way to mend it. Shapes: `Problem` in `proto/frames.md`."""

import os
import sys

from . import errors

# Modules whose distribution has another name. Only the ones that people trip over.
_DISTRIBUTIONS = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "PyMuPDF",
    "google.protobuf": "protobuf",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "magic": "python-magic",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
    "azure.durable_functions": "azure-functions-durable",
}


def problem(code, message, **more):
    """A problem; `more`: `severity`, `function`, `file`, `line`, `fix`, `detail`."""
    found = {
        "severity": "error",
        "code": code,
        "function": None,
        "file": None,
        "line": None,
        "message": message,
        "fix": None,
        "detail": None,
    }
    found.update(more)
    return found


def import_failed(error, function=None, script_file=None):
    """The problem behind an exception that importing the app's code raised."""
    place = _place(error) or (script_file, None)
    about = {"function": function, "file": place[0], "line": place[1]}
    if isinstance(error, (SyntaxError, ValueError)) and "null bytes" in str(error):
        return _null_bytes(about, script_file)
    if isinstance(error, SyntaxError):
        return _syntax_error(error, about)
    try:
        about["detail"] = errors.format_traceback(error).rstrip("\n")
    except Exception:
        about["detail"] = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _module_missing(error, about)
    text = errors.safe_text(error)
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        return problem("E0201", "the module called sys.exit(%s) while it was imported" % errors.safe_repr(error.code),
                       fix="put what may only run as a script under if __name__ == \"__main__\"", **about)
    fix = "make the module importable; the traceback shows where it failed"
    if "azure-functions-durable" in text:
        fix = "add azure-functions-durable to requirements.txt"
    return problem("E0201", "importing the app failed: %s" % (": ".join(filter(None, (kind, text)))), fix=fix, **about)


def _place(error):
    try:
        return errors.location(error)
    except Exception:
        return None


def _syntax_error(error, about):
    relative = errors.FOLDING.relative(error.filename or "")
    if relative is not None:
        about["file"], about["line"] = relative, error.lineno
    detail = None
    if error.text:
        text = error.text.rstrip("\n")
        indent = len(text) - len(text.lstrip())
        detail = "    " + text.lstrip()
        if error.offset:
            detail += "\n    " + " " * max(0, error.offset - 1 - indent) + "^"
    name = "the indentation is wrong" if isinstance(error, IndentationError) else "this is not Python"
    fix = "correct the line; Ingle runs the app with Python %d.%d" % sys.version_info[:2]
    if "codec can't decode" in str(error.msg):
        fix = "save the file as UTF-8, or say its encoding in its first line, e.g. # -*- coding: latin-1 -*-"
    return problem("E0202", "%s: %s" % (name, error.msg), **dict(about, detail=detail, fix=fix))


def _null_bytes(about, script_file):
    """Python names neither the file nor the line. If it is not the app's own script, the line that imports it is known."""
    file, line = about["file"], about["line"]
    if file is None or file.startswith("<"):
        file, line = script_file, None
    message = "%s can't be read: it holds null bytes, as files in UTF-16 do" % (file or "a module")
    if line is not None:
        message = "a module that is imported here can't be read: it holds null bytes, as files in UTF-16 do"
    return problem("E0202", message, **dict(about, file=file, line=line, detail=None, fix="save the file as UTF-8"))


def _module_missing(error, about):
    name = error.name
    top = name.partition(".")[0]
    if top == "__app__" or (top in sys.modules and _is_ours(sys.modules[top])) or _in_app(top):
        shown = name[len("__app__.") :] if name.startswith("__app__.") else name
        return problem("E0203", "the app has no module '%s'" % shown,
                       fix="create %s, or correct the import" % (shown.replace(".", "/") + ".py"), **about)
    return problem("E0203", "module '%s' is not installed" % name,
                   fix="add %s to requirements.txt" % distribution(name), **about)


def _is_ours(module):
    return errors.FOLDING.relative(getattr(module, "__file__", None) or "") is not None


def _in_app(top):
    root = errors.FOLDING.root
    return root is not None and os.path.exists(os.path.join(root, top))


def distribution(module):
    """The distribution that most likely has a module."""
    known = _DISTRIBUTIONS.get(module) or _DISTRIBUTIONS.get(module.partition(".")[0])
    if known:
        return known
    if module.startswith(("azure.", "google.cloud.")):
        return module.replace(".", "-").replace("_", "-")
    return module.partition(".")[0]
