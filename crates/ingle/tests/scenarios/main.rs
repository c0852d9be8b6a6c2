//! Stories through the real binary: each starts `ingle` in a folder of its own and talks to it as its users do.
//!
//! `INGLE_BINARY` names the program; without it, what was built last is taken. A story runs on the oldest and on the
//! newest Python, unless it is about something that Python has no part in.
#![expect(clippy::unwrap_used, reason = "a story that can't go on ends")]

mod authorizers;
mod azure_doors;
mod azure_storage;
mod bad_input;
mod blobs;
mod broken;
mod builders;
mod cancel;
mod chalice;
mod changes;
mod command_line;
mod concurrency;
mod courtesy;
mod crash;
mod debugger;
mod documents;
mod durability;
mod environment;
mod errors;
mod event_grid;
mod examples;
mod extensions;
mod first_calls;
mod gvisor;
mod hot_keys;
mod http;
mod imports;
mod keys;
mod lambda;
mod lambda_events;
mod lambda_logs;
mod large_blobs;
mod limits;
mod log_levels;
mod logs;
mod loops;
mod malformed;
mod memory;
mod middleware;
mod order;
mod overload;
mod payloads;
mod places;
mod poison;
mod processes;
mod project;
mod reload;
mod restaurant;
mod retries;
mod scaling;
mod settings;
mod several;
mod sources;
mod stopping;
mod streaming;
mod tables;
mod templates;
mod testing;
mod timers;
mod validation;
mod warming;
mod web;
