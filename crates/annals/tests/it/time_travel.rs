use std::time::Duration;

use annals::Time;

use super::account::{Account, Command, with_clock};

#[tokio::test]
async fn the_state_as_of_a_revision_or_a_time() {
    let (annals, hand) = with_clock();
    let store = annals.store("bank").await.unwrap();
    store.execute::<Account>("1", Command::Open("C1")).await.unwrap();
    let mut balances = vec![0];
    for amount in [100, 20, 3] {
        hand.advance(Duration::from_secs(60));
        store.execute::<Account>("1", Command::Deposit(amount)).await.unwrap();
        balances.push(balances.last().unwrap() + amount);
    }
    for (revision, balance) in balances.iter().enumerate() {
        let loaded = store.load::<Account>("1").at_revision(revision as u64).await.unwrap();
        assert_eq!((loaded.state.balance, loaded.events_read), (*balance, revision + 1));
        let at = Time::from_unix_ms(1_700_000_000_000 + revision as i64 * 60_000);
        assert_eq!(store.load::<Account>("1").at_time(&at).await.unwrap().state.balance, *balance);
    }
    assert_eq!(store.load::<Account>("1").at_revision(99).await.unwrap().state.balance, 123);
    let before = store.load::<Account>("1").at_time(&Time::from_unix_ms(1_699_999_999_999)).await.unwrap();
    assert!(!before.exists());
}

#[tokio::test]
async fn nothing_is_a_state_too() {
    let (annals, _) = with_clock();
    let store = annals.store("bank").await.unwrap();
    let loaded = store.load::<Account>("1").await.unwrap();
    assert_eq!((loaded.version(), loaded.exists(), loaded.state.balance), (0, false, 0));
}
