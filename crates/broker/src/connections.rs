//! The connections of clients: who is here, and a way to ask each how it is doing or to make it end.
//!
//! A front-end enters a connection when it knows who came, and keeps the [`Desk`] for as long as the connection lasts. What
//! changes (bytes, channels, windows) stays with the connection's own task: it is asked when somebody looks, so that
//! nobody pays for it otherwise. A connection that is too busy to answer is listed without its report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::Broker;
use crate::api::Caller;
use crate::api::connections::{Connection, ConnectionInfo, ConnectionReport};
use crate::api::queues::OwnerId;

/// Questions that wait for one connection. Those beyond are not asked.
const QUESTIONS_MAX: usize = 4;
/// How long connections may take to say how they are doing.
const PATIENCE: Duration = Duration::from_secs(1);

/// All connections that have come in.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<BTreeMap<OwnerId, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    info: Arc<ConnectionInfo>,
    questions: mpsc::Sender<ConnectionQuestion>,
}

/// What a connection is asked.
#[derive(Debug)]
pub enum ConnectionQuestion {
    /// To say how it is doing.
    Report(oneshot::Sender<ConnectionReport>),
    /// To end, for this reason.
    Close(String),
}

/// Where a connection is asked. Dropping it takes the connection off the list.
#[derive(Debug)]
pub struct Desk {
    broker: Broker,
    owner: OwnerId,
    questions: mpsc::Receiver<ConnectionQuestion>,
}

impl Desk {
    /// The next question. Cancel safe.
    pub async fn next(&mut self) -> ConnectionQuestion {
        match self.questions.recv().await {
            Some(question) => question,
            // The list holds a sender for as long as the desk is there.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.broker.inner.connections.lock().remove(&self.owner);
    }
}

impl Connections {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<OwnerId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> Vec<Entry> {
        self.lock().values().cloned().collect()
    }
}

impl Broker {
    /// Enters a connection that has come in.
    pub fn enter_connection(&self, info: ConnectionInfo) -> Desk {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        let (owner, info) = (info.owner, Arc::new(info));
        self.inner.connections.lock().insert(owner, Entry { info, questions: sender });
        Desk { broker: self.clone(), owner, questions }
    }

    /// What is known of all connections, without asking any of them.
    pub fn connection_infos(&self, _caller: &Caller) -> Vec<Arc<ConnectionInfo>> {
        self.inner.connections.lock().values().map(|entry| Arc::clone(&entry.info)).collect()
    }

    /// All connections, in the order in which they came in, and how they are doing.
    pub async fn connections(&self, _caller: &Caller) -> Vec<Connection> {
        join_all(self.inner.connections.entries().into_iter().map(ask)).await
    }

    /// Has a connection end. Its client is told `reason`. Returns whether it was there; it may take a moment to go.
    pub async fn close_connection(&self, _caller: &Caller, owner: OwnerId, reason: &str) -> bool {
        let entry = self.inner.connections.lock().get(&owner).cloned();
        let Some(entry) = entry else { return false };
        // One that is gone meanwhile has ended too.
        let _ = entry.questions.send_timeout(ConnectionQuestion::Close(reason.to_owned()), PATIENCE).await;
        true
    }
}

async fn ask(entry: Entry) -> Connection {
    let (sender, answer) = oneshot::channel();
    let asked = entry.questions.try_send(ConnectionQuestion::Report(sender)).is_ok();
    let report = if asked { timeout(PATIENCE, answer).await.ok().and_then(Result::ok) } else { None };
    Connection { info: entry.info, report }
}

#[cfg(test)]
mod tests {
    use annals_clock::Clock;
    use annals_journal::FaultFiles;
    use annals_queues::{Headers, Value};

    use super::*;
    use crate::Options;

    fn info(owner: OwnerId, port: u16) -> ConnectionInfo {
        ConnectionInfo {
            owner,
            protocol: "AMQP 0-9-1",
            user: "guest".to_owned(),
            vhost: "/".into(),
            peer: ([127, 0, 0, 1], port).into(),
            local: ([127, 0, 0, 1], 5672).into(),
            connected_ms: 5,
            mechanism: "PLAIN".to_owned(),
            client_properties: Headers::from_iter([("connection_name", Value::from("mine"))]),
            channel_max: 2047,
            frame_bytes_max: 131_072,
            heartbeat_s: 60,
        }
    }

    #[tokio::test]
    async fn a_connection_is_there_until_its_desk_is_dropped_and_is_asked_meanwhile() {
        let files = Arc::new(FaultFiles::new());
        let broker = Broker::open(Options::default(), Default::default(), files, Clock::system()).unwrap();
        let caller = Caller::internal();
        let (first, second) = (broker.new_owner(), broker.new_owner());
        let mut desk = broker.enter_connection(info(first, 1000));
        let silent = broker.enter_connection(info(second, 2000));
        let answering = async {
            let ConnectionQuestion::Report(answer) = desk.next().await else { panic!("not a report") };
            answer.send(ConnectionReport { received_bytes: 7, ..Default::default() }).unwrap();
        };
        let (listed, ()) = tokio::join!(broker.connections(&caller), answering);
        let seen: Vec<_> = listed
            .iter()
            .map(|one| (one.info.name(), one.report.as_ref().map(|report| report.received_bytes)))
            .collect();
        let expected = [
            ("127.0.0.1:1000 -> 127.0.0.1:5672".to_owned(), Some(7)),
            ("127.0.0.1:2000 -> 127.0.0.1:5672".to_owned(), None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(listed[0].info.client_name().as_deref(), Some("mine"));

        assert!(broker.close_connection(&caller, first, "go").await);
        let question = desk.next().await;
        assert!(matches!(&question, ConnectionQuestion::Close(reason) if reason == "go"), "{question:?}");
        drop((desk, silent));
        assert!(broker.connection_infos(&caller).is_empty());
        assert!(!broker.close_connection(&caller, first, "go").await);
        broker.close();
    }
}
