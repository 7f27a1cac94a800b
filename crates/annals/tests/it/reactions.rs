use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::projection::{Phase, ProjectionOptions, Reaction, ReactionError, StartAt, WaitError};
use annals::store::{Read, StreamName};
use annals::{Annals, Envelope, EventStore};

use super::account::{Account, AccountEvent, Command, open, store};

type Sent = Arc<Mutex<Vec<String>>>;

/// Writes a mail for each account that is opened.
struct Welcome {
    sent: Sent,
}

impl Reaction for Welcome {
    type Event = AccountEvent;
    const NAME: &'static str = "welcome";

    async fn react(&mut self, event: &Envelope<AccountEvent>) -> Result<(), ReactionError> {
        if let AccountEvent::Opened { customer } = &event.event {
            self.sent.lock().unwrap().push(customer.clone());
        }
        Ok(())
    }
}

async fn head(store: &EventStore) -> annals::store::Position {
    store.head().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_reaction_happens_once_over_restarts_and_rebuilds() {
    let store = store().await;
    let sent = Sent::default();
    for (id, customer) in [("1", "C1"), ("2", "C2"), ("3", "C3")] {
        open(&store, id, customer, &[1, 2]).await;
        let welcome = store.react(Welcome { sent: Arc::clone(&sent) });
        welcome.wait_for(head(&store).await).await.unwrap();
        welcome.stop().await;
    }
    assert_eq!(*sent.lock().unwrap(), ["C1", "C2", "C3"]);
    // A read model that is made anew has nothing to do with it.
    let mut total = store.live::<super::live::Total>();
    total.rebuild().await.unwrap();
    assert_eq!(sent.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_last_place_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let annals = Annals::open(directory.path()).await.unwrap();
    let store = annals.store("bank").await.unwrap();
    for id in ["1", "2", "3"] {
        open(&store, id, "C1", &[]).await;
        let welcome = store.react(Welcome { sent: Sent::default() });
        welcome.wait_for(head(&store).await).await.unwrap();
        welcome.stop().await;
    }
    let places = Read::stream(StreamName::new("~reaction-welcome").unwrap());
    let places = store.raw().read(places).await.unwrap().events;
    assert_eq!(places.iter().map(|place| place.revision.0).collect::<Vec<_>>(), [2]);
    annals.close().await;
}

struct FromNow(Sent);

impl Reaction for FromNow {
    type Event = AccountEvent;
    const NAME: &'static str = "from-now";
    const START: StartAt = StartAt::Now;

    async fn react(&mut self, event: &Envelope<AccountEvent>) -> Result<(), ReactionError> {
        self.0.lock().unwrap().push(event.name.clone());
        Ok(())
    }
}

#[tokio::test]
async fn now_is_the_first_start_and_not_the_last() {
    let store = store().await;
    open(&store, "1", "C1", &[]).await;
    let sent = Sent::default();
    let reaction = store.react(FromNow(Arc::clone(&sent)));
    reaction.wait_for(head(&store).await).await.unwrap();
    reaction.stop().await;
    store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    let reaction = store.react(FromNow(Arc::clone(&sent)));
    reaction.wait_for(head(&store).await).await.unwrap();
    assert_eq!(*sent.lock().unwrap(), ["MoneyDeposited"]);
}

/// Fails a few times at each deposit, then pays the interest as a command.
struct Interest {
    store: EventStore,
    calls: Arc<AtomicUsize>,
}

impl Reaction for Interest {
    type Event = AccountEvent;
    const NAME: &'static str = "interest";

    async fn react(&mut self, event: &Envelope<AccountEvent>) -> Result<(), ReactionError> {
        let AccountEvent::Deposited { amount: 100, .. } = event.event else { return Ok(()) };
        let id = event.stream.id().unwrap_or_default();
        let command = self.store.execute::<Account>(id, Command::Deposit(1));
        command
            .idempotency_key(event.id.clone())
            .await
            .map_err(|error| ReactionError::Wrong(error.into()))?;
        // The command is carried out, and yet this fails: what a lost connection looks like.
        if self.calls.fetch_add(1, Ordering::SeqCst) % 3 < 2 {
            return Err(ReactionError::Later("no line".into()));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_command_with_the_events_id_has_its_effect_once() {
    let store = store().await;
    open(&store, "1", "C1", &[100, 100, 5]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let options = ProjectionOptions { pause: Duration::from_millis(1), ..Default::default() };
    let reaction = store.react_with(Interest { store: store.clone(), calls: Arc::clone(&calls) }, options);
    reaction.wait_for(head(&store).await).await.unwrap();
    assert_eq!(
        (calls.load(Ordering::SeqCst), store.load::<Account>("1").await.unwrap().state.balance),
        (6, 207)
    );
}

struct Wrong;

impl Reaction for Wrong {
    type Event = AccountEvent;
    const NAME: &'static str = "wrong";

    async fn react(&mut self, _: &Envelope<AccountEvent>) -> Result<(), ReactionError> {
        Err(ReactionError::Wrong("no address".into()))
    }
}

#[tokio::test]
async fn what_is_wrong_stops_it_with_its_error() {
    let store = store().await;
    open(&store, "1", "C1", &[]).await;
    let reaction = store.react(Wrong);
    let WaitError::Stopped(error) = reaction.wait_for(head(&store).await).await.unwrap_err();
    assert_eq!(error.unwrap().to_string(), "the projection failed at position 0");
    assert_eq!(reaction.status().phase, Phase::Stopped);
}
