//! The library against a server that fails in every way: what is repeated, and what is said in the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::client::{ClientError, ClientOptions};
use annals::store::{
    Append, AppendError, Expected, InvalidAppend, Position, Read, ReadError, Revision, StreamName,
};
use annals::{Annals, ErrorKind, EventStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::account::AccountEvent;

/// What the server does with a request.
#[derive(Clone, PartialEq)]
enum Say {
    Answer(u16, String),
    HangUp,
    Nothing,
}

fn ok(body: &str) -> Say {
    Say::Answer(200, body.to_owned())
}

fn problem(status: u16, name: &str, members: &str) -> Say {
    let body = format!(
        r#"{{"type":"urn:annals:problem:{name}","title":"T","status":{status},"detail":"it says {name}"{members}}}"#
    );
    Say::Answer(status, body)
}

/// A server that says one thing after the other, and the last one from then on.
struct Fake {
    address: String,
    /// Request lines and bodies.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _task: JoinSet<()>,
}

async fn fake(says: Vec<Say>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (seen, says) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(Mutex::new(VecDeque::from(says))));
    let noted = Arc::clone(&seen);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(serve(stream, Arc::clone(&says), Arc::clone(&noted)));
        }
    });
    Fake { address, seen, _task: task }
}

async fn serve(
    mut stream: TcpStream,
    says: Arc<Mutex<VecDeque<Say>>>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) {
    let mut bytes = Vec::new();
    while let Some(request) = request(&mut stream, &mut bytes).await {
        seen.lock().unwrap().push(request);
        let say = {
            let mut says = says.lock().unwrap();
            if says.len() > 1 { says.pop_front().unwrap() } else { says[0].clone() }
        };
        match say {
            Say::HangUp => return,
            Say::Nothing => std::future::pending().await,
            Say::Answer(status, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}

async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            let length = length.unwrap_or(0);
            if body.len() >= length {
                bytes.drain(..head.len() + 4 + length);
                return Some((head.lines().next().unwrap().to_owned(), body[..length].to_owned()));
            }
        }
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(30);
/// For an answer that never comes. Others take less.
const SHORT: Duration = Duration::from_secs(2);

const STORE: &str = r#"{"name":"bank","id":"7","start":0,"end":0,"streams":0,"indexed":0}"#;
const APPENDED: &str = r#"{"first_position":7,"last_position":7,"streams":[{"stream":"account-1","last_revision":3}],"repeated":false}"#;

fn options(request_timeout: Duration, retry_ms: u64) -> ClientOptions {
    ClientOptions { connect_timeout: LONG, request_timeout, retry_for: Duration::from_millis(retry_ms) }
}

/// A store on a server that says this after it has said that the store is there.
async fn store(says: Vec<Say>, retry_ms: u64) -> (Fake, EventStore) {
    let timeout = if says.contains(&Say::Nothing) { SHORT } else { LONG };
    let fake = fake([vec![ok(r#"{"stores":[]}"#), ok(STORE)], says].concat()).await;
    let annals = Annals::connect_with(&fake.address, options(timeout, retry_ms)).await.unwrap();
    let store = annals.store("bank").await.unwrap();
    fake.seen.lock().unwrap().clear();
    (fake, store)
}

async fn append(store: &EventStore) -> Result<annals::store::Appended, AppendError> {
    let event = AccountEvent::Opened { customer: "C1".into() };
    let events = store.encode(&[event], &Default::default()).unwrap();
    let stream = StreamName::new("account-1").unwrap();
    store.raw().append(Append::to(stream, Expected::Exact(Revision(2)), events)).await
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_ids() {
    let busy = problem(503, "recovering", "");
    let (fake, store) =
        store(vec![Say::HangUp, Say::Nothing, busy, Say::Answer(201, APPENDED.into())], 20_000).await;
    let done = append(&store).await.unwrap();
    assert_eq!((done.position, done.revisions[0].1), (Position(7), Revision(3)));
    let seen = fake.seen.lock().unwrap();
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(seen[0].0.starts_with("POST /stores/bank/append ") && seen[0].1.contains(r#""id":"#));
    assert!(seen.iter().all(|request| *request == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn without_an_answer_the_outcome_is_unknown() {
    for (say, retry_ms) in [(Say::HangUp, 0), (Say::HangUp, 300), (Say::Nothing, 0)] {
        let (_fake, store) = store(vec![say], retry_ms).await;
        let error = append(&store).await.unwrap_err();
        assert!(matches!(error, AppendError::Unknown { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().ends_with("repeat it with the same event ids"), "{error}");
    }
    // It was lost once, and what came later does not take that back.
    let (_fake, store) = store(vec![Say::HangUp, problem(503, "disk-full", "")], 300).await;
    assert!(matches!(append(&store).await, Err(AppendError::Unknown { .. })));
}

#[tokio::test]
async fn a_refusal_has_its_own_error() {
    let conflict = r#","stream":"account-1","expected":2,"actual":5,"actual_state":"exists""#;
    let expected = AppendError::Conflict {
        stream: "account-1".into(),
        expected: Expected::Exact(Revision(2)),
        actual: Some(Revision(5)),
    };
    let refused = async |say| append(&store(vec![say], 0).await.1).await.unwrap_err();
    assert_eq!(refused(problem(409, "wrong-expected-revision", conflict)).await, expected);
    let missing = r#","stream":"account-1","expected":"exists","actual":null,"actual_state":"missing""#;
    let gone = refused(problem(409, "wrong-expected-revision", missing)).await;
    assert!(matches!(gone, AppendError::Conflict { expected: Expected::Exists, actual: None, .. }));
    let condition = refused(problem(409, "condition-failed", r#","condition":0,"position":9"#)).await;
    assert_eq!(condition, AppendError::Condition { position: Position(9) });
    let ended = refused(problem(410, "stream-tombstoned", r#","stream":"account-1""#)).await;
    assert_eq!(ended, AppendError::Tombstoned { stream: "account-1".into() });
    let invalid = InvalidAppend::Refused { reason: "it says too-large".into() };
    assert_eq!(refused(problem(413, "too-large", "")).await, invalid.into());
    let kinds = [
        (409, "id-taken", ErrorKind::Input),
        (503, "disk-full", ErrorKind::Retry),
        (404, "unknown-store", ErrorKind::Unavailable),
        (503, "unavailable", ErrorKind::Retry),
    ];
    for (status, name, kind) in kinds {
        assert_eq!(refused(problem(status, name, "")).await.kind(), kind, "{name}");
    }
    let unknown =
        [problem(503, "unavailable", ""), problem(504, "timeout", ""), Say::Answer(502, "?".into()), ok("?")];
    for say in unknown {
        let error = refused(say).await;
        assert!(matches!(error, AppendError::Unknown { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_read_is_repeated_or_fails_with_what_helps() {
    let page = ok(r#"{"events":[],"next":null,"end":3}"#);
    let (_fake, there) = store(vec![Say::HangUp, problem(503, "storage", ""), page], 20_000).await;
    let read = there.raw().read(Read::all()).await.unwrap();
    assert_eq!((read.events.len(), read.looked_to), (0, Some(Position(2))));
    let refused = async |say| store(vec![say], 0).await.1.raw().read(Read::all()).await.unwrap_err();
    assert!(matches!(refused(problem(500, "corrupt", "")).await, ReadError::Corrupt { .. }));
    assert!(matches!(refused(problem(503, "storage", "")).await, ReadError::Busy { .. }));
    assert!(matches!(refused(problem(400, "invalid-request", "")).await, ReadError::Invalid { .. }));
    assert!(matches!(refused(Say::HangUp).await, ReadError::Busy { .. }));
    // A stream that is not there has no events.
    let (_fake, there) = store(vec![problem(404, "unknown-stream", "")], 0).await;
    let stream = Read::stream(StreamName::new("account-1").unwrap());
    assert_eq!(there.raw().read(stream).await.unwrap().events, []);
}

#[tokio::test]
async fn what_is_no_server_is_told_at_once() {
    let something_else = fake(vec![ok("<html>Hello</html>")]).await;
    let error = Annals::connect_with(&something_else.address, options(LONG, 0)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
    for address in ["localhost:7117", "https://localhost:7117"] {
        let error = Annals::connect(address).await.unwrap_err();
        assert!(matches!(error, ClientError::Address { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Input);
    }
}
