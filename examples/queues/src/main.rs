//! Runs the stories, and one side of request and reply for programs in other languages.
//!
//! `STORY [URI]`, or `request URI SUBJECT BODY`, or `respond URI SUBJECT`, which answers with Fibonacci numbers.

#![expect(clippy::print_stdout, reason = "it is a program for people")]

use std::process::ExitCode;

use annals_example_queues::{Error, request_reply, tell};

const URI: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments).await {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[&str]) -> Result<Vec<String>, Error> {
    match *arguments {
        ["request", uri, subject, body] => Ok(vec![request_reply::ask(uri, subject, body).await?]),
        ["respond", uri, subject] => {
            let _responder = request_reply::fibonacci_responder(uri, subject).await?;
            println!("ready");
            std::future::pending().await
        }
        [story] => tell(story, URI).await,
        [story, uri] => tell(story, uri).await,
        _ => Err("say which story, and where".into()),
    }
}
