//! Settings of a Zappa stage that have an effect here, and why the others have none.

/// Keys of a stage that are applied, or that say nothing about how it runs.
pub(super) const APPLIED: [&str; 13] = [
    "app_function",
    "django_settings",
    "events",
    "environment_variables",
    "aws_environment_variables",
    "timeout_seconds",
    "memory_size",
    "runtime",
    "project_name",
    "aws_region",
    "extends",
    "lambda_description",
    // An app is WSGI or ASGI by how it can be called.
    "app_type",
];

pub(super) const APPLIED_OF_EVENT: [&str; 9] = [
    "function",
    "expression",
    "expressions",
    "name",
    "description",
    "kwargs",
    "enabled",
    "event_source",
    "event_pattern",
];

/// Whether a key without effect starts or guards something at AWS.
pub(super) fn is_missing(key: &str) -> bool {
    let guards = ["authorizer", "api_key_required", "iam_authorization", "cognito"];
    key == "websocket_handler_module" || guards.contains(&key)
}

/// Why a key has no effect.
pub(super) fn why_not_applied(key: &str) -> &'static str {
    match key {
        "keep_warm"
        | "keep_warm_expression"
        | "lambda_concurrency"
        | "provisioned_concurrency"
        | "snap_start" => "workers are decided about by `[workers]` in ingle.toml",
        "authorizer" | "api_key_required" | "api_key" | "iam_authorization" | "cognito" => {
            "callers are not asked who they are"
        }
        "exception_handler" => "exceptions are logged, and not handed to it",
        "cors" => "the app answers requests of other origins itself",
        "remote_env" | "remote_env_bucket" | "remote_env_file" => {
            "variables are not read from S3; write them in environment_variables"
        }
        "role_name" | "role_arn" | "manage_roles" | "attach_policy" | "extra_permissions"
        | "assume_policy" => "functions have no role at AWS here",
        "vpc_config" => "what a function may reach is decided by `egress` in ingle.toml",
        "log_level"
        | "xray_tracing"
        | "cloudwatch_log_level"
        | "cloudwatch_metrics_enabled"
        | "cloudwatch_data_trace" => "logs and traces are Ingle's own",
        "layers" => "its content is not in this folder; name what it has in requirements.txt",
        "lambda_handler" => "the web app takes its requests itself",
        "websocket_handler_module" => "websockets are not served",
        "domain" | "base_path" | "certificate" | "certificate_arn" | "function_url_enabled" => {
            "the app is at the root of every name"
        }
        "async_source" | "async_resources" | "async_response_table" => {
            "tasks of zappa.asynchronous run at once, in their request"
        }
        "binary_support" | "additional_text_mimetypes" => "bodies are sent as they are",
        _ => "it is for the deployment to AWS",
    }
}
