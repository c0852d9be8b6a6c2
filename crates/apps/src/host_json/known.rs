//! The keys of host.json, with effect or without (facts 6.1).

/// Paths of all keys; `.*` at the end stands for keys that the user or an extension chooses.
const KEYS: &[&str] = &[
    "$schema",
    "version",
    "functionTimeout",
    "functions",
    "retry.strategy",
    "retry.maxRetryCount",
    "retry.delayInterval",
    "retry.minimumInterval",
    "retry.maximumInterval",
    "watchDirectories",
    "watchFiles",
    "logging.logLevel.*",
    "logging.console.isEnabled",
    "logging.console.disableColors",
    "logging.fileLoggingMode",
    "logging.applicationInsights.*",
    "aggregator.batchSize",
    "aggregator.flushTimeout",
    "telemetryMode",
    "healthMonitor.enabled",
    "healthMonitor.healthCheckInterval",
    "healthMonitor.healthCheckWindow",
    "healthMonitor.healthCheckThreshold",
    "healthMonitor.counterThreshold",
    "singleton.lockPeriod",
    "singleton.listenerLockPeriod",
    "singleton.listenerLockRecoveryPollingInterval",
    "singleton.lockAcquisitionTimeout",
    "singleton.lockAcquisitionPollingInterval",
    "concurrency.dynamicConcurrencyEnabled",
    "concurrency.snapshotPersistenceEnabled",
    "concurrency.maximumFunctionConcurrency",
    "concurrency.totalAvailableMemoryBytes",
    "concurrency.cpuThreshold",
    "extensionBundle.id",
    "extensionBundle.version",
    "customHandler.*",
    "managedDependency.enabled",
    "sendCanceledInvocationsToWorker",
    "metadataProviderTimeout",
    "extensions.http.routePrefix",
    "extensions.http.maxOutstandingRequests",
    "extensions.http.maxConcurrentRequests",
    "extensions.http.dynamicThrottlesEnabled",
    "extensions.http.hsts.isEnabled",
    "extensions.http.hsts.maxAge",
    "extensions.http.hsts.includeSubDomains",
    "extensions.http.hsts.preload",
    "extensions.http.hsts.excludedHosts",
    "extensions.http.customHeaders.*",
    "extensions.http.enableChunkedRequestBinding",
    "extensions.queues.maxPollingInterval",
    "extensions.queues.visibilityTimeout",
    "extensions.queues.batchSize",
    "extensions.queues.maxDequeueCount",
    "extensions.queues.newBatchThreshold",
    "extensions.queues.messageEncoding",
    "extensions.timers.catchUp",
    "extensions.blobs.maxDegreeOfParallelism",
    "extensions.blobs.poisonBlobThreshold",
    "extensions.eventHubs.*",
    "extensions.serviceBus.*",
    "extensions.kafka.*",
    "extensions.cosmosDB.*",
    "extensions.sendGrid.*",
    "extensions.signalR.*",
    "extensions.durableTask.*",
    "extensions.rabbitMQ.*",
    "extensions.eventGrid.*",
    "extensions.tables.*",
    "extensions.sql.*",
    "extensions.mysql.*",
    "extensions.openai.*",
    "extensions.dapr.*",
    "extensions.mcp.*",
    "extensions.warmup.*",
    "extensions.webPubSub.*",
    "extensions.redis.*",
    "extensions.twilioSms.*",
];

pub(super) enum Found {
    /// A value, or a group with free keys: nothing below is checked.
    Leaf,
    Group,
    Nothing,
}

/// Finds a path with dots between its keys, without regard to case.
pub(super) fn look_up(path: &str) -> Found {
    let mut is_group = false;
    for key in KEYS {
        let (whole, free) = match key.strip_suffix(".*") {
            Some(stem) => (stem, true),
            None => (*key, false),
        };
        if whole.eq_ignore_ascii_case(path) {
            return Found::Leaf;
        }
        is_group |= is_below(whole, path) || (free && is_below(path, whole));
    }
    if is_group { Found::Group } else { Found::Nothing }
}

/// Whether `path` starts with the keys of `group`.
fn is_below(path: &str, group: &str) -> bool {
    let start = path.get(..group.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(group)) && path[group.len()..].starts_with('.')
}

/// The keys that may stand right below a path (`""` for the top).
pub(super) fn names_below(path: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let rest = if path.is_empty() {
            key
        } else {
            if !is_below(key, path) {
                return None;
            }
            &key[path.len() + 1..]
        };
        rest.split('.').next().filter(|name| *name != "*")
    })
}
