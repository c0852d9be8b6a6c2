//! The words: ids, specs of app, function, trigger and binding, [`event::Event`], [`event::Invocation`],
//! [`outcome::Outcome`], [`outcome::Blame`], and the ports [`event::Invoker`] and [`clock::Clock`].
//!
//! Plain values and pure functions. This room does no input or output, starts nothing, and knows no runtime,
//! no file format and no wire. A type comes down here only when a second room needs it.
//!
//! | to find | look in |
//! |---|---|
//! | names and identifiers | [`ids`] |
//! | values between binding and function | [`datum`] |
//! | what starts an invocation and how it ends | [`event`], [`outcome`] |
//! | HTTP bodies in pieces | [`exchange`] |
//! | what an app is | [`spec`] |
//! | what stands in front of a route | [`front`] |
//! | rules of load balancers | [`balancer`] |
//! | keys of callers of APIs, and usage plans | [`usage`] |
//! | binding expressions `%SETTING%` and `{name}` | [`expression`] |
//! | filters over tables | [`filter`] |
//! | names of blobs and their patterns | [`blob`] |
//! | attributes and filters of topics | [`topic`] |
//! | queues as clients of SQS know them | [`queue`] |
//! | patterns over events of AWS | [`pattern`] |
//! | when a timer fires | [`schedule`] |
//! | findings about a user's files | [`problem`] |
//! | accounts in the cloud, and what is in trouble with them | [`account`], [`health`] |
//! | what an app measures and traces, as it says in CloudWatch's and X-Ray's formats | [`metrics`], [`spans`] |
//! | keys of callers out of logs | [`mask`] |
//! | wall time, fault injection | [`clock`], [`faults`] |

pub mod account;
pub mod balancer;
pub mod blob;
pub mod caller;
pub mod clock;
pub mod datum;
pub mod event;
pub mod exchange;
pub mod expression;
pub mod faults;
pub mod filter;
pub mod front;
pub mod health;
pub mod ids;
pub mod local_file;
pub mod log;
pub mod log_levels;
pub mod mask;
pub mod metrics;
pub mod outcome;
pub mod pattern;
pub mod problem;
pub mod queue;
pub mod schedule;
pub mod spans;
pub mod spec;
pub mod topic;
pub mod usage;
