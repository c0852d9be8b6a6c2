//! Read a folder into one resolved [`ingle_types::spec::AppSpec`], and prepare its Python environment.
//!
//! Three steps: [`read`] looks at the files and runs nothing; [`choose_interpreter`] and [`prepare_environment`]
//! find the Python and install what the app requires; [`resolve`] turns what the source declares into functions
//! that can run. Whatever is wrong in the files of an app is a [`ingle_types::problem::Problem`] with its place and
//! a way to mend it, and never the reason to stop reading. This room never writes into the app's folder and never
//! shows the value of a setting.
//!
//! | to find | look in |
//! |---|---|
//! | which kind of app a folder is | [`read`], `kinds`, `detect` |
//! | host.json, local.settings.json, function.json, .funcignore | the modules of these names |
//! | JSON with line numbers | [`json_place`] |
//! | bindings and their properties | `bindings` |
//! | duplicate names, filters, conflicts of routes | `resolve` |
//! | Python and its packages | `interpreter`, `environment`, `requirements` |
//! | web apps of WSGI and ASGI | `web` |
//! | functions of the Functions Framework, actions of OpenWhisk | `functions_framework`, `openwhisk` |
//! | ready zips with code | [`archive`] |
//! | projects of SAM, the Serverless Framework, Chalice and Zappa | [`project`] |

pub mod archive;
mod bench;
mod bindings;
mod debugger;
mod detect;
mod encoding;
mod environment;
mod error;
mod folder;
pub mod funcignore;
mod function_json;
mod functions_framework;
mod host_json;
mod ingle_toml;
mod interpreter;
pub mod json_place;
mod kinds;
mod lambda;
mod local_settings;
mod openwhisk;
pub mod project;
pub mod python_names;
mod requirements;
mod resolve;
mod retry;
pub mod suggest;
mod web;

pub use debugger::prepare_debugger;
pub use environment::{Environment, Failures, Progress, Site, prepare_environment};
pub use error::Error;
pub use folder::{AppFolder, ReadOptions, read};
pub use ingle_toml::memory_size;
pub use interpreter::{Interpreter, choose_interpreter};
pub use lambda::{PAYLOAD_BYTES_MAX, variables as lambda_variables};
pub use requirements::{Requirements, RequirementsSource};
pub use resolve::resolve;

#[cfg(test)]
mod tests;
