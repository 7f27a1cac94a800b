//! One request: what is known of it before it is sent, and its reply.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::body::{Body, JsonError};
use super::client::Client;
use super::context::Context;
use super::error::RequestError;
use super::failure::Failure;
use super::responder::Call;
use super::transport::{Message, Sent};
use super::{BODY_BYTES_MAX, TEXT_BYTES_MAX, is_subject};

/// A request that is sent when it is awaited; see [`Client::request`].
#[must_use = "a request is sent by awaiting it"]
pub struct Request {
    client: Client,
    subject: String,
    body: Body,
    deadline: Duration,
    context: Context,
    headers: BTreeMap<String, String>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn new(client: Client, subject: String, body: Body, deadline: Duration) -> Self {
        Self { client, subject, body, deadline, context: Context::default(), headers: BTreeMap::new() }
    }

    /// Says what it belongs to. Without a correlation id of its own it is correlated by its id.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Says that it is made because of another one, which is being answered.
    pub fn caused_by(self, call: &Call) -> Self {
        let context = call.caused();
        self.context(context)
    }

    /// Adds a header. Those of [`Context`] are set by [`Request::context`] and win.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    async fn run(self) -> Result<Reply, RequestError> {
        let subject = self.subject.clone();
        if !is_subject(&subject) {
            return Err(RequestError::Subject { subject: subject.chars().take(40).collect() });
        }
        if self.body.bytes().len() > BODY_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: self.body.bytes().len() });
        }
        let mut texts = self.headers.keys().map(String::as_str).chain(self.body.content_type());
        if let Some(text) = texts.find(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(RequestError::TooLong { text: text.chars().take(40).collect() });
        }
        let (client, deadline) = (self.client.clone(), self.deadline);
        match tokio::time::timeout(deadline, self.exchange()).await {
            Ok(reply) => reply,
            Err(_) => {
                client.counters().timed_out.count();
                Err(RequestError::Deadline { subject, deadline })
            }
        }
    }

    async fn exchange(self) -> Result<Reply, RequestError> {
        let Self { client, subject, body, deadline, context, headers } = self;
        let started = client.clock().monotonic();
        // Nobody closes the semaphore.
        let _room = client.room().acquire().await.ok();
        let unavailable = |reason| RequestError::Unavailable { subject: subject.clone(), reason };
        let session = client.session().await.map_err(unavailable)?;
        let id = client.clock().uuid_v7().to_string();
        let ticket = session.wait_for(&id).map_err(unavailable)?;
        let mut message = message(id, body, context, headers);
        let passed = client.clock().monotonic().saturating_sub(started);
        message.expires = Some(deadline.saturating_sub(passed));
        match session.outgoing().send(&subject, message).await.map_err(unavailable)? {
            Sent::Queued => client.counters().sent.count(),
            Sent::NoQueue => return Err(RequestError::NoResponder { subject }),
            Sent::Refused => return Err(RequestError::Refused { subject }),
        }
        match ticket.reply().await {
            Ok(message) => reply(&client, subject, message),
            Err(reason) => Err(RequestError::Interrupted { subject, reason }),
        }
    }
}

impl IntoFuture for Request {
    type Output = Result<Reply, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn message(id: String, body: Body, mut context: Context, headers: BTreeMap<String, String>) -> Message {
    let (body, content_type) = body.into_parts();
    context.correlation_id.get_or_insert_with(|| id.clone());
    let correlation_id = Some(id.clone());
    let mut message =
        Message { id: Some(id), correlation_id, content_type, headers, body, ..Message::default() };
    context.write(&mut message);
    message
}

fn reply(client: &Client, subject: String, message: Message) -> Result<Reply, RequestError> {
    let context = Context::read(&message);
    let Message { mut headers, content_type, body, .. } = message;
    headers.retain(|name, _| !Context::owns(name));
    let body = Body::of(body, content_type);
    if let Some(failure) = Failure::from_body(&body) {
        client.counters().failed.count();
        return Err(RequestError::Failed { subject, failure });
    }
    client.counters().replied.count();
    Ok(Reply { body, context, headers })
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    body: Body,
    context: Context,
    headers: BTreeMap<String, String>,
}

impl Reply {
    /// Its content.
    pub fn bytes(&self) -> &Bytes {
        self.body.bytes()
    }

    /// What its content is, if the responder says so.
    pub fn content_type(&self) -> Option<&str> {
        self.body.content_type()
    }

    /// Its content as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Its content as a value.
    ///
    /// # Errors
    /// [`JsonError`] if it is none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        self.body.parse()
    }

    /// What it belongs to: the correlation id is that of the request, the causation id is the request's id.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its other headers.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }
}
