"""Worker extensions: order of the hooks, what they get, and that a failing one fails nothing."""

import textwrap
import unittest

from harness import WorkerTest

# An extension as a package would bring it, for a whole app and for single functions.
EXTENSION = textwrap.dedent("""\
    import json
    import azure.functions as func

    SAID = []

    class Watch(func.AppExtensionBase):
        @classmethod
        def init(cls):
            SAID.append("init")

        @classmethod
        def post_function_load_app_level(cls, function_name, function_directory, *args, **kwargs):
            SAID.append("app loaded %s" % function_name)

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args={}, *args, **kwargs):
            SAID.append("app before %s %s" % (context.function_name, sorted(func_args)))
            logger.warning("from the hook")
            context.tracer = "a tracer"

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args={}, func_ret=None, *args, **kwargs):
            SAID.append("app after %r %s" % (func_ret, context.tracer))

    class Single(func.FuncExtensionBase):
        def __init__(self, file_path, word):
            super().__init__(file_path)
            self.word = word

        def post_function_load(self, function_name, function_directory, *args, **kwargs):
            SAID.append("function loaded %s" % self.word)

        def pre_invocation(self, logger, context, func_args={}, *args, **kwargs):
            SAID.append("function before %s" % self.word)
            if self.word == "raise":
                raise ValueError("hook failed")

        def post_invocation(self, logger, context, func_args={}, func_ret=None, *args, **kwargs):
            SAID.append("function after %s" % self.word)
    """)

SOURCE = """\
    import hooks
    hooks.Single(__file__, {word!r})

    @app.route()
    def plain(req: func.HttpRequest) -> str:
        return "plain"

    @app.route()
    async def waits(req: func.HttpRequest, context) -> str:
        return context.tracer

    @app.route()
    def fails(req: func.HttpRequest) -> str:
        raise KeyError("x")

    @app.route()
    def said(req: func.HttpRequest) -> str:
        import json
        return json.dumps(hooks.SAID)
    """


class ExtensionTest(WorkerTest):
    def start(self, word="one", **environment):
        source = "import azure.functions as func\napp = func.FunctionApp()\n" + textwrap.dedent(SOURCE).format(word=word)
        root = self.folder({"function_app.py": source, "hooks.py": EXTENSION})
        from harness import Worker

        worker = Worker(root, environment=dict(environment, AzureWebJobsScriptRoot=root))
        self.addCleanup(worker.close)
        self.assertEqual(worker.load()["problems"], [])
        return worker

    def test_the_order_of_hooks(self):
        worker = self.start()
        answer = worker.call("plain")
        self.assertIn("from the hook", answer.messages("warning"))
        self.assertEqual(worker.call_async("waits").text(), "a tracer")
        said = worker.call("said").json()
        self.assertEqual(said[:4], ["init", "function loaded one", "app loaded plain", "function loaded one"])
        calls = [entry for entry in said if "loaded" not in entry][1:]
        self.assertEqual(calls, [
            "app before plain ['req']", "function before one", "function after one", "app after 'plain' a tracer",
            "app before waits ['context', 'req']", "function before one", "function after one",
            "app after 'a tracer' a tracer",
            "app before said ['req']", "function before one"])

    def test_a_failing_hook_is_logged_and_fails_nothing(self):
        worker = self.start("raise")
        answer = worker.call("plain")
        self.assertEqual(answer.text(), "plain")
        self.assertIn("hook failed", answer.messages("error")[0])

    def test_a_failing_function_has_no_hooks_after_it(self):
        worker = self.start()
        self.assertEqual(worker.call("fails").error["kind"], "KeyError")
        self.assertFalse([entry for entry in worker.call("said").json() if "after" in entry])

    def test_the_setting_turns_them_off(self):
        worker = self.start(PYTHON_ENABLE_WORKER_EXTENSIONS="0")
        self.assertEqual(worker.call("said").json(), ["init"])


if __name__ == "__main__":
    unittest.main()
