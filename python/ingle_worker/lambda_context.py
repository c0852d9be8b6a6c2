"""The context object of a Lambda handler (facts of the Lambda runtime, section 1.7)."""

import os
import sys
import time


class CognitoIdentity:
    """Who called through Amazon Cognito: nobody, here."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self):
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None

    def __repr__(self):
        return "CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None])"


class LambdaContext:
    """Mirrors `awslambdaric.lambda_context.LambdaContext`."""

    def __init__(self, request_id, settings, deadline):
        self.aws_request_id = request_id
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = settings["arn"]
        self.tenant_id = None
        self.client_context = None
        self.identity = CognitoIdentity()
        self._deadline = deadline

    def w3c(self):
        """The trace context that a caller has handed over; none, here."""
        return {}

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
