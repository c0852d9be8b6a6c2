//! Every HTTP door: function routes and the admin API.
//!
//! Nobody below this room sees HTTP server types, and this room runs nothing itself: it hands events to an
//! [`ingle_types::event::Invoker`].
//!
//! | to find | look in |
//! |---|---|
//! | the steps of one request | [`service`] |
//! | which function answers | [`route`], [`site`] |
//! | what a function sees, what its answer becomes | [`request`], [`response`], [`failure`] |
//! | bodies in pieces | [`exchange`] |
//! | events of requests that nobody sent | [`samples`] |
//! | the same for handlers of AWS Lambda, and which of several answers | `lambda`, [`apis`] |
//! | what stands in front of routes of AWS | [`front`] |
//! | keys, and who needs none | [`auth`] |
//! | the doors that Azure's tools know | `azure` |
//! | limits and cross-origin rules | [`limits`], [`cors`] |
//! | the admin API and what it shows | [`admin`], [`state`], [`blobs`] |
//! | whether a client is still there | `caller` |
//! | a clock that is moved by hand, for tests | [`moved`] |
//! | which of several apps a request is for | [`hosts`] |
//! | clients of AWS in functions of a project | [`aws`] |
//! | topics of a project | [`topics`] |
//! | listening and stopping | [`server`] |
//! | mapping templates | `vtl` |
//! | patterns with `*` and `?` | `wildcard` |

pub mod admin;
pub mod apis;
pub mod auth;
pub mod aws;
mod azure;
pub mod blobs;
mod caller;
pub mod cors;
pub mod exchange;
pub mod failure;
pub mod front;
pub mod hosts;
mod lambda;
pub mod limits;
pub mod moved;
pub mod request;
pub mod response;
pub mod route;
pub mod samples;
pub mod server;
pub mod service;
pub mod site;
pub mod state;
pub mod topics;
mod vtl;
mod wildcard;
