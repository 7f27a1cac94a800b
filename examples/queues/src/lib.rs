//! The patterns of message brokers, each as a story that can be run and is a test.
//!
//! All but the last half of [`request_reply`] is written with `lapin`, a client for AMQP 0-9-1 that knows nothing of Annals:
//! the same program runs against RabbitMQ.
//!
//! ```sh
//! annals serve --data-dir data                                       # in another terminal; or RabbitMQ
//! cargo run -p annals-example-queues -- topics                       # on amqp://guest:guest@127.0.0.1:5672/%2f
//! cargo run -p annals-example-queues -- dead-letters amqp://guest:guest@rabbit.example:5672/%2f
//! ```

mod broker;
pub mod dead_letters;
pub mod pub_sub;
pub mod request_reply;
pub mod routing;
pub mod topics;
pub mod work_queue;

/// What goes wrong in a story.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The names of the stories.
pub const STORIES: [&str; 6] =
    ["work-queue", "pub-sub", "routing", "topics", "dead-letters", "request-reply"];

/// Runs one story against the server at `uri` and returns what happened, a line for each thing.
///
/// # Errors
/// If there is no such story, or the server does not answer.
pub async fn tell(story: &str, uri: &str) -> Result<Vec<String>, Error> {
    match story {
        "work-queue" => work_queue::story(uri).await,
        "pub-sub" => pub_sub::story(uri).await,
        "routing" => routing::story(uri).await,
        "topics" => topics::story(uri).await,
        "dead-letters" => dead_letters::story(uri).await,
        "request-reply" => request_reply::story(uri).await,
        _ => Err(format!("there is no story {story}; there are {}", STORIES.join(", ")).into()),
    }
}
