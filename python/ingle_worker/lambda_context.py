"""The context object of a Lambda handler (facts of the Lambda runtime, section 1.7)."""

import json
import os
import sys
import time


# Of W3C's trace context, what is handed over.
_TRACE = ("traceparent", "tracestate", "baggage")


def standing(arn):
    """The attributes that are the same for each call in a process. Reading five variables costs more than all else of a context."""
    return {
        "log_group_name": os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "function_name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME"),
        "memory_limit_in_mb": os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        "function_version": os.environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
        "invoked_function_arn": arn,
        "tenant_id": None,
    }


class CognitoIdentity:
    """Who called through Amazon Cognito: nobody, here."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self):
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None

    def __repr__(self):
        return "CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None])"


class _Named:
    """An object whose attributes are the known members of another."""

    __slots__ = ()

    def __init__(self, members):
        for name in self.__slots__:
            setattr(self, name, members.get(name))

    def __repr__(self):
        return "%s([%s])" % (type(self).__name__, ",".join("%s=%s" % (name, getattr(self, name)) for name in self.__slots__))


class Client(_Named):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Named):
    """What the caller says of itself, in `X-Amz-Client-Context`."""

    __slots__ = ("custom", "env", "client")

    def __init__(self, members):
        super().__init__(members)
        if isinstance(self.client, dict):
            self.client = Client(self.client)


class LambdaContext:
    """Mirrors `awslambdaric.lambda_context.LambdaContext`."""

    def __init__(self, request_id, standing, deadline, client_context=None):
        self.aws_request_id = request_id
        self.__dict__.update(standing)
        self._w3c = {}
        self.client_context = None
        if client_context is not None:
            self._take(json.loads(client_context[1]))
        self.identity = CognitoIdentity()
        self._deadline = deadline

    def _take(self, sent):
        # Trace context is not for the handler to see among what the client says of itself.
        trace = sent.pop("w3c", None)
        if isinstance(trace, dict):
            self._w3c = {name: trace[name] for name in _TRACE if isinstance(trace.get(name), str)}
        self.client_context = ClientContext(sent)

    def w3c(self):
        """The trace context that the caller has handed over."""
        return dict(self._w3c)

    def get_remaining_time_in_millis(self):
        """Milliseconds until the invocation is ended; 0 when the time is up."""
        return max(int((self._deadline - time.time()) * 1000), 0)

    def log(self, message):
        """Writes to the log."""
        sys.stdout.write(str(message))

    def __repr__(self):
        names = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
                 "function_version", "invoked_function_arn", "client_context", "identity", "tenant_id")
        return "LambdaContext([%s])" % ",".join("%s=%s" % (name, getattr(self, name)) for name in names)
