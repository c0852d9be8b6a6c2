//! `ingle send topic`: something is published by hand.

use clap::Args;
use http::Method;

use crate::cli::Place;
use crate::client::Client;
use crate::commands::state::{payload, show};
use crate::exit::{CommandError, USAGE};
use crate::printer::Style;

#[derive(Args, Debug)]
pub(crate) struct TopicArguments {
    name: String,
    /// The message; `@file` reads a file, `@-` standard input
    message: String,
    #[arg(long)]
    subject: Option<String>,
    /// `NAME=VALUE`, for filters of subscriptions
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    #[command(flatten)]
    at: Place,
}

pub(crate) async fn send(arguments: TopicArguments, style: Style) -> Result<u8, CommandError> {
    let mut query = vec![("name".to_owned(), arguments.name.clone())];
    query.extend(arguments.subject.clone().map(|subject| ("subject".to_owned(), subject)));
    for attribute in &arguments.attribute {
        let Some((name, value)) = attribute.split_once('=') else {
            let message = format!("--attribute {attribute:?} is no NAME=VALUE");
            return Err(CommandError::new(USAGE, "E0703", message));
        };
        query.push((format!("a.{name}"), value.to_owned()));
    }
    let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let body = payload(&arguments.message)?;
    // A topic keeps nothing, so without a server nobody would hear of it.
    let client = Client::of(&arguments.at).await?;
    show(&client.request(Method::POST, "/v1/topics/messages", &query, body).await?, style);
    Ok(0)
}
