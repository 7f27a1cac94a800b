use annals::store::{AppendError, Expected, Metadata, Read, Revision};
use annals::{ErrorKind, ExecuteError, LoadError};

use super::account::{Account, AccountEvent, Command, Refusal, open, store};

#[tokio::test]
async fn a_command_is_decided_stored_and_told() {
    let store = store().await;
    let opened = store.execute::<Account>("1", Command::Open("C1")).await.unwrap();
    assert_eq!((opened.revision, opened.duplicate), (Some(Revision(0)), false));
    let paid = store.execute::<Account>("1", Command::DepositEach(vec![5, 6])).await.unwrap();
    assert_eq!((paid.revision, paid.state.balance, paid.events.len()), (Some(Revision(2)), 11, 2));
    assert_eq!(paid.position, store.head().await.unwrap());
    let loaded = store.load::<Account>("1").await.unwrap();
    assert_eq!((loaded.state.balance, loaded.version(), loaded.events_read), (11, 3, 3));
}

#[tokio::test]
async fn a_refused_command_leaves_nothing() {
    let store = store().await;
    open(&store, "1", "C1", &[10]).await;
    let before = store.head().await.unwrap();
    let refused = store.execute::<Account>("1", Command::Withdraw(11)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Input);
    assert!(matches!(refused, ExecuteError::Rejected(Refusal::Overdrawn(10))));
    assert_eq!(refused.to_string(), "only 10 left");
    assert_eq!(store.head().await.unwrap(), before);
}

#[tokio::test]
async fn a_command_without_events_is_fine() {
    let store = store().await;
    open(&store, "1", "C1", &[]).await;
    let nothing = store.execute::<Account>("1", Command::DepositEach(vec![])).await.unwrap();
    assert_eq!((nothing.revision, nothing.position), (Some(Revision(0)), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_were_slower_decide_again() {
    let store = store().await;
    open(&store, "1", "C1", &[100]).await;
    let mut tellers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tellers.spawn(async move {
            store.execute::<Account>("1", Command::Withdraw(10)).retries(1000).await.is_ok()
        });
    }
    let served = tellers.join_all().await.into_iter().filter(|served| *served).count();
    assert_eq!((served, store.load::<Account>("1").await.unwrap().state.balance), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_its_effect_once() {
    let store = store().await;
    open(&store, "1", "C1", &[100]).await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        attempts.spawn(async move {
            store
                .execute::<Account>("1", Command::Withdraw(60))
                .idempotency_key("atm/1")
                .retries(1000)
                .await
                .unwrap()
        });
    }
    let done = attempts.join_all().await;
    assert_eq!(done.iter().filter(|done| !done.duplicate).count(), 1);
    assert!(done.iter().all(|one| one.revision == Some(Revision(2)) && one.position == done[0].position));
    assert_eq!(store.load::<Account>("1").await.unwrap().state.balance, 40);
    // Another key, or the same key on another account, is another command.
    store.execute::<Account>("1", Command::Withdraw(10)).idempotency_key("atm/2").await.unwrap();
    open(&store, "2", "C1", &[100]).await;
    let other = store.execute::<Account>("2", Command::Withdraw(60)).idempotency_key("atm/1").await.unwrap();
    assert!(!other.duplicate);
}

#[tokio::test]
async fn keys_have_limits() {
    let store = store().await;
    for key in ["", "a\n", &"k".repeat(240)] {
        let refused =
            store.execute::<Account>("1", Command::Open("C1")).idempotency_key(key).await.unwrap_err();
        assert!(matches!(refused, ExecuteError::Key { .. }), "{key:?}");
    }
}

#[tokio::test]
async fn who_insists_on_what_it_saw_is_told_of_changes() {
    let store = store().await;
    open(&store, "1", "C1", &[100]).await;
    let seen = Expected::Exact(Revision(1));
    store.execute::<Account>("1", Command::Withdraw(1)).expecting(seen).await.unwrap();
    let late = store.execute::<Account>("1", Command::Withdraw(1)).expecting(seen).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let ExecuteError::Append(AppendError::Conflict { expected, actual, .. }) = &late else {
        panic!("{late}")
    };
    assert_eq!((*expected, *actual), (seen, Some(Revision(2))));
    assert_eq!(late.to_string(), "stream account-1 is not as expected: wanted revision 1, found revision 2");
}

#[tokio::test]
async fn an_id_must_make_a_name() {
    let store = store().await;
    let refused = store.execute::<Account>("", Command::Open("C1")).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Load(LoadError::Name(_))));
    assert_eq!(refused.kind(), ErrorKind::Input);
}

#[tokio::test]
async fn metadata_and_tags_are_stored_beside_the_events() {
    let store = store().await;
    let metadata = Metadata { correlation_id: Some("c".into()), ..Metadata::default() };
    store.execute::<Account>("1", Command::Open("C1")).metadata(metadata.clone()).await.unwrap();
    let events = store.read::<AccountEvent>(Read::all()).await.unwrap();
    assert_eq!((&events[0].metadata, events[0].tags[0].as_str()), (&metadata, "customer:C1"));
    assert_eq!((events[0].name.as_str(), events[0].stream.as_str()), ("AccountOpened", "account-1"));
}
