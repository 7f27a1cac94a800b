//! The histories of a few accounts, day by day.

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

use annals::store::{Read, Revision, StreamName};
use annals::testing::given;
use annals::{Annals, Clock, EventStore, ManualClock, SnapshotPolicy, Time};
use annals_example_bank_account::{Account, AccountEvent, Command, Dollars, Refusal, large_transactions};

/// A bank in memory, and the hand of its clock.
async fn bank() -> (EventStore, ManualClock) {
    let (clock, hand) = Clock::manual(0, 1);
    let store = Annals::in_memory_with(clock).store("bank").events::<AccountEvent>().await.unwrap();
    (store, hand)
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn open(initial_deposit: Dollars) -> Command {
    Command::Open { customer_id: "C123".into(), initial_deposit }
}

fn deposit(amount: Dollars) -> Command {
    Command::Deposit { amount, branch: "Downtown".into() }
}

fn withdraw(amount: Dollars) -> Command {
    Command::Withdraw { amount, atm_id: "ATM-456".into(), location: "NYC".into() }
}

/// Carries out commands, each at its time.
async fn history(store: &EventStore, hand: &ManualClock, id: &str, commands: Vec<(&str, Command)>) {
    for (at, command) in commands {
        hand.jump_to(time(at).unix_ms());
        store.execute::<Account>(id, command).await.unwrap();
    }
}

async fn balance(store: &EventStore, id: &str) -> Dollars {
    store.load::<Account>(id).await.unwrap().state.balance
}

/// The account 123 of January 2025.
async fn account_123() -> EventStore {
    let (store, hand) = bank().await;
    let commands = vec![
        ("2025-01-01T09:00:00Z", open(0)),
        ("2025-01-05T09:00:00Z", deposit(1000)),
        ("2025-01-08T09:00:00Z", withdraw(200)),
        ("2025-01-10T09:00:00Z", deposit(500)),
        ("2025-01-12T09:00:00Z", withdraw(300)),
        ("2025-01-15T09:00:00Z", deposit(100)),
    ];
    history(&store, &hand, "123", commands).await;
    store
}

#[tokio::test]
async fn replaying_the_events_gives_the_balance() {
    let store = account_123().await;
    let mut balances = Vec::new();
    for revision in 0..5_u64 {
        let loaded = store.load::<Account>("123").at_revision(revision).await.unwrap();
        balances.push(loaded.state.balance);
    }
    assert_eq!(balances, [0, 1000, 800, 1300, 1000]);
}

#[tokio::test]
async fn the_balance_on_a_day_in_the_past() {
    let store = account_123().await;
    let at = |day: &str| time(&format!("{day}T23:59:59.999Z"));
    let tenth = store.load::<Account>("123").at_time(&at("2025-01-10")).await.unwrap();
    assert_eq!((tenth.state.balance, tenth.version()), (1300, 4));
    let twelfth = store.load::<Account>("123").at_time(&at("2025-01-12")).await.unwrap();
    assert_eq!(twelfth.state.balance, 1000);
    assert_eq!(balance(&store, "123").await, 1100);
    let before = store.load::<Account>("123").at_time(&at("2024-12-31")).await.unwrap();
    assert_eq!(before.state.customer_id, None);
}

#[tokio::test]
async fn loading_begins_at_the_last_snapshot() {
    let bank = Annals::in_memory().store("bank");
    let store = bank.snapshots::<Account>(SnapshotPolicy::every_events(100)).await.unwrap();
    let mut commands = vec![open(0)];
    // After 100 events there are 5,000 dollars, after 200 there are 7,500.
    commands.extend((0..98).map(|_| deposit(50)));
    commands.extend([deposit(100), deposit(200), withdraw(300)]);
    commands.extend((0..97).map(|_| deposit(25)));
    commands.extend([deposit(175), deposit(100)]);
    for command in commands {
        store.execute::<Account>("123", command).await.unwrap();
    }
    let hundredth = store.load::<Account>("123").at_revision(99).await.unwrap();
    assert_eq!((hundredth.version(), hundredth.state.balance, hundredth.events_read), (100, 5000, 0));
    let two_hundredth = store.load::<Account>("123").at_revision(199).await.unwrap();
    assert_eq!(
        (two_hundredth.version(), two_hundredth.state.balance, two_hundredth.events_read),
        (200, 7500, 0)
    );
    let now = store.load::<Account>("123").await.unwrap();
    assert_eq!((now.version(), now.state.balance), (201, 7600));
    assert_eq!(now.events_read, 1, "the snapshot and the one event behind it");
}

/// The account 987654 of the first quarter of 2025.
async fn account_987654() -> EventStore {
    let (store, hand) = bank().await;
    let commands = vec![
        ("2025-01-01T10:00:00Z", open(10_000)),
        ("2025-01-05T14:30:00Z", Command::CreditInterest { amount: 150, rate: 0.015 }),
        ("2025-01-10T09:15:00Z", withdraw(2000)),
        ("2025-01-15T16:45:00Z", deposit(5000)),
        ("2025-01-20T11:00:00Z", Command::RaiseFraudAlert { reason: "Unusual pattern".into() }),
        ("2025-01-21T10:30:00Z", Command::ClearFraudAlert { verified_by: "Agent-789".into() }),
        ("2025-02-10T12:00:00Z", deposit(15_000)),
        ("2025-03-01T08:00:00Z", Command::CreditInterest { amount: 140, rate: 0.005 }),
        ("2025-03-05T15:20:00Z", withdraw(12_000)),
        ("2025-04-01T09:00:00Z", deposit(20_000)),
    ];
    history(&store, &hand, "987654", commands).await;
    store
}

#[tokio::test]
async fn transactions_over_10_000_in_the_first_quarter() {
    let store = account_987654().await;
    let account = StreamName::of("account", "987654").unwrap();
    let (since, until) = (time("2025-01-01T00:00:00Z"), time("2025-03-31T23:59:59.999Z"));
    let found = large_transactions(&store, account, &since, &until, 10_000).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.revision, Time::from_unix_ms(one.recorded_ms), one.name.as_str(), one.amount))
        .collect();
    // The opening with 10,000 is no deposit, and 5,000 are below: the seventh and the ninth event are what is left.
    let expected = [
        (Revision(6), time("2025-02-10T12:00:00.000Z"), "DepositMade", 15_000),
        (Revision(8), time("2025-03-05T15:20:00.000Z"), "WithdrawalMade", 12_000),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_alert_can_be_investigated_as_it_was_then() {
    let store = account_987654().await;
    let night = store.load::<Account>("987654").at_time(&time("2025-01-21T00:00:00Z")).await.unwrap();
    assert_eq!((night.state.suspended.as_deref(), night.state.balance), (Some("Unusual pattern"), 13_150));
    let history =
        store.read::<AccountEvent>(Read::stream(StreamName::of("account", "987654").unwrap())).await.unwrap();
    let names: Vec<_> = history.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names[4..6], ["FraudAlertRaised", "FraudAlertCleared"]);
    let customer = Read::all().matching(annals::store::Query::tags([annals::Tag::new("customer:C123")]));
    assert_eq!(store.read::<AccountEvent>(customer).await.unwrap().len(), 1);
}

#[test]
fn the_rules() {
    let opened = || AccountEvent::AccountOpened { customer_id: "C123".into(), initial_deposit: 100 };
    let alert = || AccountEvent::FraudAlertRaised { reason: "Unusual pattern".into() };
    given::<Account>([]).when(deposit(1)).then_error(Refusal::NotOpen);
    given::<Account>([]).when(open(100)).then([opened()]);
    given::<Account>([opened()]).when(open(100)).then_error(Refusal::AlreadyOpen);
    given::<Account>([opened()])
        .when(withdraw(101))
        .then_error(Refusal::Overdrawn { amount: 101, balance: 100 });
    let suspended = Refusal::Suspended { reason: "Unusual pattern".into() };
    given::<Account>([opened(), alert()]).when(withdraw(1)).then_error(suspended);
    let cleared = AccountEvent::FraudAlertCleared { verified_by: "Agent-789".into() };
    let clear = Command::ClearFraudAlert { verified_by: "Agent-789".into() };
    given::<Account>([opened(), alert()]).when(clear.clone()).then([cleared]);
    given::<Account>([opened()]).when(clear).then_error(Refusal::NotSuspended);
}
