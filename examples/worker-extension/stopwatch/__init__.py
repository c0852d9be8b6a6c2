"""Two worker extensions, as a package would bring them."""

import time

import azure.functions as func


class Stopwatch(func.AppExtensionBase):
    """Measures every function of the app."""

    @classmethod
    def init(cls):
        cls.started = {}
        cls.unit = "ms"

    @classmethod
    def configure(cls, unit="ms"):
        cls.unit = unit

    @classmethod
    def post_function_load_app_level(cls, function_name, function_directory, *args, **kwargs):
        print("watching %s" % function_name)

    @classmethod
    def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
        cls.started[context.invocation_id] = time.perf_counter()

    @classmethod
    def post_invocation_app_level(cls, logger, context, func_args=None, func_ret=None, *args, **kwargs):
        seconds = time.perf_counter() - cls.started.pop(context.invocation_id)
        logger.info("%s took %.1f %s", context.function_name, seconds * 1000, cls.unit)


class Announce(func.FuncExtensionBase):
    """Says what one function gets and gives."""

    def __init__(self, file_path, word):
        super().__init__(file_path)
        self.word = word

    def pre_invocation(self, logger, context, func_args=None, *args, **kwargs):
        logger.info("%s: %s", self.word, ", ".join(sorted(func_args)))
        if func_args["req"].params.get("dish") == "nothing":
            raise ValueError("nothing to announce")

    def post_invocation(self, logger, context, func_args=None, func_ret=None, *args, **kwargs):
        logger.info("%s: %s", self.word, func_ret.status_code)
