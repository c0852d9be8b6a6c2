"""Loading: what works in both models, and that nothing that is wrong goes unsaid (P-17, T-088)."""

import os
import unittest

from harness import PRELUDE, WorkerTest, string


def http(name="req"):
    return [{"type": "httpTrigger", "direction": "in", "name": name, "authLevel": "anonymous"},
            {"type": "http", "direction": "out", "name": "$return"}]


def v1(name, bindings, script_file=None, entry_point=""):
    return {"name": name, "directory": name, "script_file": script_file or name + "/__init__.py",
            "entry_point": entry_point, "bindings": bindings}


class LoadTest(WorkerTest):
    def only_problem(self, loaded, code, *words):
        """Asserts that there is one error, and returns it."""
        errors = [found for found in loaded["problems"] if found["severity"] == "error"]
        self.assertEqual([found["code"] for found in errors], [code], errors)
        for word in words:
            self.assertIn(word, errors[0]["message"])
        return errors[0]

    def place(self, problem):
        return "%s:%s" % (problem["file"], problem["line"])


class VersionTwo(LoadTest):
    def check(self, source, code, *words, files=None, place=None, fix=None):
        loaded = self.app(PRELUDE + source, files).loaded
        problem = self.only_problem(loaded, code, *words)
        if place:
            self.assertEqual(self.place(problem), place)
        if fix:
            self.assertIn(fix, problem["fix"])
        return loaded

    def test_functions_as_declared(self):
        worker = self.app("""\
            import functools
            import azure.functions as func
            from more.orders import bp
            app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
            app.register_functions(bp)

            def decorated(function):
                @functools.wraps(function)
                def inner(*args, **kwargs):
                    return function(*args, **kwargs) + "!"
                return inner

            @app.function_name("named")
            @app.route(methods=["GET"])
            @decorated
            def hello(req: func.HttpRequest) -> str:
                return "hello"

            @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
            @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:10")
            async def queue(msg: func.QueueMessage):
                pass
            """, {"more/orders.py": """\
            import azure.functions as func
            bp = func.Blueprint()

            @bp.route()
            def order(req):
                return "order"
            """})
        self.assertEqual(worker.loaded["problems"], [])
        functions = {function["name"]: function for function in worker.loaded["functions"]}
        self.assertEqual(list(functions), ["order", "named", "queue"])
        self.assertEqual((functions["order"]["file"], functions["order"]["line"]), ("more/orders.py", 5))
        named = functions["named"]
        self.assertEqual((named["file"], named["line"], named["entry_point"], named["script_file"]), (
            "function_app.py", 16, "hello", "function_app.py"))
        self.assertEqual(named["bindings"], [
            {"direction": "IN", "type": "httpTrigger", "name": "req", "methods": ["GET"], "authLevel": "ANONYMOUS",
             "route": "named"}, {"direction": "OUT", "type": "http", "name": "$return"}])
        self.assertEqual([functions[name]["is_async"] for name in functions], [False, False, True])
        self.assertEqual(functions["queue"]["retry"], {
            "strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:00:10"})
        self.assertIsNone(named["retry"])
        self.assertRegex(worker.loaded["sdk"], r"^\d+\.\d+")
        self.assertGreater(worker.loaded["import_ms"], 0)
        self.assertLessEqual(len(worker.loaded["modules_max"]), 5)
        self.assertEqual(worker.call("named").text(), "hello!")
        self.assertEqual(worker.hello["version"], 1)

    def test_another_script_file(self):
        worker = self.worker({"main_app.py": PRELUDE + "@app.route()\ndef hello(req):\n    return __name__\n"})
        loaded = worker.load(script_file="main_app.py")
        self.assertEqual(loaded["functions"][0]["script_file"], "main_app.py")
        self.assertEqual(worker.call("hello").text(), "main_app")

    def test_the_path_holds_the_app_and_nothing_of_ours(self):
        worker = self.good_app("""
            import json, sys
            import frames, logs, context, packaged

            @app.route()
            def path(req):
                return json.dumps([sys.path, sys.modules["__main__"].__dict__.get("__file__"), frames.mine, logs.mine,
                                   context.mine, packaged.mine])
            """, {"frames.py": "mine = 1", "logs.py": "mine = 2", "context.py": "mine = 3",
                  ".python_packages/lib/site-packages/packaged.py": "mine = 4"})
        path, main, *mine = worker.call("path").json()
        self.assertEqual(mine, [1, 2, 3, 4])
        self.assertEqual(path[:2], [worker.root, os.path.join(worker.root, ".python_packages/lib/site-packages")])
        self.assertEqual([entry for entry in path if "ingle_worker" in entry or entry.endswith("/python")], [])
        self.assertIsNone(main)

    def test_started_as_a_file(self):
        from harness import WORKER
        worker = self.good_app("@app.route()\ndef hello(req):\n    return 'x'\n",
                               entry=os.path.join(WORKER, "__main__.py"))
        self.assertEqual(worker.call("hello").text(), "x")

    def test_a_running_loop_and_the_variable_is_gone(self):
        worker = self.good_app("""
            import asyncio, os
            loop = asyncio.get_running_loop()

            @app.route()
            async def same(req):
                return str(loop is asyncio.get_running_loop()) + str("INGLE_WORKER_FD" in os.environ)
            """)
        self.assertEqual(worker.call_async("same").text(), "TrueFalse")

    def test_modules_that_fail(self):
        self.check("x = 1 / 0\n", "E0201", "ZeroDivisionError", place="function_app.py:3")
        self.check("import sys\nsys.exit(4)\n", "E0201", "sys.exit(4)", place="function_app.py:4")
        self.check("from helper import x\n", "E0201", "cannot import name", files={"helper.py": ""})
        self.check("import a\n", "E0201", "circular", files={"a.py": "from b import x", "b.py": "from a import y"})

    def test_syntax_errors(self):
        loaded = self.check("import helper\n", "E0202", "not Python", place="helper.py:2",
                            files={"helper.py": "x = 1\ny = = 2\n"})
        self.assertIn("y = = 2\n", loaded["problems"][0]["detail"])
        self.assertIn("^", loaded["problems"][0]["detail"])
        self.check("def f():\npass\n", "E0202", "indentation", place="function_app.py:4")

    def test_missing_modules(self):
        self.check("import yaml_that_is_not_there\n", "E0203", "'yaml_that_is_not_there' is not installed",
                   place="function_app.py:3", fix="requirements.txt")
        self.check("import azure.storage_x.blob\n", "E0203", fix="add azure-storage-x to requirements.txt")
        self.check("from shared.missing import x\n", "E0203", "no module 'shared.missing'", files={"shared/__init__.py": ""},
                   fix="create shared/missing.py")

    def test_no_sdk(self):
        worker = self.worker({"function_app.py": "", "azure/__init__.py": ""})
        problem = self.only_problem(worker.load(), "E0203", "azure-functions")
        self.assertIn("requirements.txt", problem["fix"])
        self.assertIsNone(worker.loaded["sdk"])

    def test_script_file_missing(self):
        self.only_problem(self.worker({}).load(), "E0213", "function_app.py")

    def test_app_objects(self):
        self.only_problem(self.app("x = 1").loaded, "E0204")
        problem = self.only_problem(self.app("import azure.functions as func\nbp = func.Blueprint()\n").loaded, "E0204")
        self.assertIn("register_functions(bp)", problem["fix"])
        self.check("other = func.FunctionApp()\n", "E0205", "app, other")
        # Two names for one app are one app.
        self.assertEqual(self.good_app("other = app\n@app.route()\ndef f(req):\n    return ''\n").loaded["problems"], [])

    def test_no_functions(self):
        self.check("", "E0206", "declares no function")
        loaded = self.app(PRELUDE + "import orders\n", {
            "orders.py": "import azure.functions as func\nbp = func.Blueprint()\n@bp.route()\ndef order(req):\n  pass\n"}).loaded
        self.assertEqual([(found["severity"], found["code"]) for found in loaded["problems"]], [
            ("warning", "E0206"), ("error", "E0206")])
        self.assertIn("app.register_functions(bp)", loaded["problems"][0]["fix"])

    GOOD = "\n@app.route()\ndef good(req):\n    return 'good'\n"

    def check_one(self, source, code, *words, **more):
        """The same beside a good function, which has to survive."""
        loaded = self.check(source + self.GOOD, code, *words, **more)
        self.assertIn("good", [function["name"] for function in loaded["functions"]])
        self.assertIsNotNone(loaded["problems"][0]["function"])
        self.assertIsNotNone(loaded["problems"][0]["fix"])

    def test_triggers(self):
        self.check_one("@app.function_name('x')\ndef f(req):\n    pass\n", "E0207", "x has no trigger",
                       place="function_app.py:4")
        self.check_one("@app.route()\n@app.timer_trigger(arg_name='t', schedule='0 * * * * *')\ndef f(req, t):\n    pass\n",
                       "E0208", "f has 2 triggers: timerTrigger, httpTrigger", place="function_app.py:5")

    def test_names_that_do_not_match(self):
        self.check_one("@app.route()\ndef f(request):\n    pass\n".replace("f(request)", "f(req, extra)"),
                       "E0209", "no binding for the parameter 'extra'")
        self.check_one("@app.route()\n@app.queue_output(arg_name='out', queue_name='q', connection='c')\n"
                       "def f(req):\n    pass\n", "E0209", "no parameter for the binding 'out'")
        self.check_one("def wrap(g):\n    def inner(*args, **kwargs):\n        return g(*args, **kwargs)\n    return inner\n"
                       "@app.route()\n@wrap\ndef f(req):\n    pass\n", "E0209", fix="functools.wraps")

    def test_what_does_not_fit_is_declared_for_the_server_to_judge_and_not_served(self):
        worker = self.app(PRELUDE + "@app.generic_trigger(arg_name='m', type='queueTriger', queueName='q')\n"
                          "def typo(m: str):\n    pass\n" + self.GOOD)
        self.only_problem(worker.loaded, "E0207", "typo has no trigger")
        declared = {function["name"]: function["bindings"][0]["type"] for function in worker.loaded["functions"]}
        self.assertEqual(declared, {"typo": "queueTriger", "good": "httpTrigger"})
        self.assertEqual(worker.call("typo").error["kind"], "FunctionNotFound")
        self.assertEqual(worker.call("good").text(), "good")

    def test_annotations(self):
        queue = "@app.route()\n@app.queue_output(arg_name='out', queue_name='q', connection='c')\ndef f(req, out: %s):\n  pass\n"
        self.check_one(queue % "str", "E0210", "'out'", "is an output", fix="func.Out")
        self.check_one(queue % "func.Out[func.HttpResponse]", "E0210", "func.Out[func.HttpResponse]")
        self.check_one("@app.route()\ndef f(req: func.Out[str]):\n    pass\n", "E0210", "is an input")
        self.check_one("@app.route()\ndef f(req: str):\n    pass\n", "E0210", "annotated str", fix="func.HttpRequest")
        self.check_one("@app.route()\ndef f(req: func.QueueMessage):\n    pass\n", "E0210", "func.QueueMessage")
        self.check_one("@app.queue_trigger(arg_name='m', queue_name='q', connection='c')\n"
                       "def f(m: func.HttpRequest):\n    pass\n", "E0210", fix="func.QueueMessage or str or bytes")
        self.check_one("@app.route()\ndef f(req: 'Unknown'):\n    pass\n", "E0210", "'req'", "Unknown")
        self.check_one("@app.route()\ndef f(req) -> dict:\n    pass\n", "E0210", "can't be an HTTP response")
        self.check_one("@app.route()\ndef f(req, context: str):\n    pass\n", "E0210", "'context'")

    def test_annotations_that_fit(self):
        worker = self.good_app("""
            import typing
            from typing import Optional, Union

            @app.route()
            def f(req: typing.Any, context) -> Optional[func.HttpResponse]:
                return None

            @app.route()
            def g(req: "func.HttpRequest", context: "func.Context") -> Union[str, func.HttpResponse]:
                return func.HttpResponse("x")
            """)
        self.assertEqual(worker.call("g").outputs["$return"][2], b"x")

    def test_duplicates(self):
        second = "\n@app.route(route='b')\n@app.function_name('GOOD')\ndef f(req):\n    pass\n"
        loaded = self.check(self.GOOD + second, "E0211", "declared twice", "function_app.py:5", place="function_app.py:10")
        self.assertEqual(len(loaded["functions"]), 1)


class VersionOne(LoadTest):
    def load(self, files, functions):
        worker = self.worker(files)
        worker.load("azure-v1", functions=functions)
        return worker

    def test_every_kind_of_import(self):
        main = """\
            import json
            import shared_code.text as plain
            from __app__.shared_code import text
            from ..shared_code.text import word
            from . import helper

            def main(req, context):
                return json.dumps([plain.word, text.word, word, helper.word, __name__, context.function_directory])
            """
        worker = self.load({"Form/__init__.py": main, "Form/helper.py": "word = 'help'",
                            "shared_code/__init__.py": "", "shared_code/text.py": "word = 'text'"}, [v1("Form", http())])
        self.assertEqual(worker.loaded["problems"], [])
        declared = worker.loaded["functions"][0]
        self.assertEqual((declared["file"], declared["line"], declared["is_async"], declared["entry_point"]), (
            "Form/__init__.py", 7, False, "main"))
        self.assertEqual(worker.call("Form").json(), [
            "text", "text", "text", "help", "__app__.Form", os.path.join(worker.root, "Form")])

    def test_other_files_and_entry_points(self):
        worker = self.load({"one/main.py": "async def run(req):\n    return 'one'\n",
                            "common/handler.py": "def two(req: str): pass\ndef three(msg: str):\n    return msg\n"}, [
            v1("one", http(), "one/main.py", "run"),
            v1("three", [{"type": "QueueTrigger", "direction": "in", "name": "msg", "queueName": "q"},
                         {"type": "queue", "direction": "out", "name": "$return"}], "three/../common/handler.py", "three")])
        self.assertEqual(worker.loaded["problems"], [])
        self.assertEqual(worker.call_async("one").text(), "one")
        self.assertEqual(worker.call("three", {"msg": string("m")}).text(), "m")

    def test_one_bad_function_leaves_the_others(self):
        functions = [v1("good", http()), v1("syntax", http()), v1("module", http()), v1("entry", http()),
                     v1("file", http()), v1("odd", http() + [{"type": "queue", "direction": "inout", "name": "x"}]),
                     v1("two", http() + [{"type": "queueTrigger", "direction": "in", "name": "x"}]), v1("none", []),
                     v1("value", http(), entry_point="answer")]
        text = "def main(req):\n    return 'x'\n"
        worker = self.load({
            "good/__init__.py": text, "syntax/__init__.py": "def main(req:\n", "module/__init__.py": "import nowhere_x\n",
            "entry/__init__.py": "", "odd/__init__.py": "def main(req, x): pass", "two/__init__.py": text,
            "none/__init__.py": text, "value/__init__.py": "answer = 42"}, functions)
        # What can be called but does not fit its bindings is declared all the same: the server judges those.
        self.assertEqual([function["name"] for function in worker.loaded["functions"]], ["good", "odd", "two", "none"])
        found = {problem["function"]: problem["code"] for problem in worker.loaded["problems"] if problem["code"] != "E0209"}
        self.assertEqual(found, {"syntax": "E0202", "module": "E0203", "entry": "E0212", "file": "E0213", "two": "E0208",
                                 "none": "E0207", "value": "E0212"})
        # What is wrong with `inout` is said by the server, once and with the line of function.json.
        self.assertEqual([problem for problem in worker.loaded["problems"] if problem["function"] == "odd"], [])
        self.assertEqual(worker.call("odd").error["kind"], "FunctionNotFound")
        self.assertEqual(worker.call("good").text(), "x")


class Start(WorkerTest):
    def test_without_a_socket(self):
        import subprocess
        import sys
        from harness import WORKER
        variables = {name: value for name, value in os.environ.items() if name != "INGLE_WORKER_FD"}
        ended = subprocess.run([sys.executable, WORKER], env=variables, stderr=subprocess.PIPE)
        self.assertEqual(ended.returncode, 2)
        self.assertIn(b"started by Ingle", ended.stderr)


if __name__ == "__main__":
    unittest.main()
