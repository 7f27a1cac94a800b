//! Commands on one side, questions on the other.

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

use std::path::Path;

use annals::projection::SqliteModel;
use annals::testing::given;
use annals::{Annals, Clock, EventStore, ManualClock, Time};
use annals_example_order_read_models::{
    Command, Item, Order, OrderEvent, Queries, ReadModels, Refusal, Status, Summary,
};

async fn shop() -> (EventStore, ManualClock) {
    let (clock, hand) = Clock::manual(time("2025-01-15T10:30:00Z").unix_ms(), 1);
    let store = Annals::in_memory_with(clock).store("shop").events::<OrderEvent>().await.unwrap();
    (store, hand)
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn create(customer: &str, items: &[(&str, u32, u64)]) -> Command {
    let item = |&(name, quantity, cents): &(&str, u32, u64)| Item { name: name.to_owned(), quantity, cents };
    Command::Create { customer: customer.to_owned(), items: items.iter().map(item).collect() }
}

/// Two days of a small shop.
async fn two_days(store: &EventStore, hand: &ManualClock) {
    let days = [
        ("2025-01-15T10:30:00Z", "1", create("Ada", &[("Book", 1, 2_500), ("Pen", 5, 100)])),
        ("2025-01-15T11:00:00Z", "2", create("Ben", &[("Lamp", 1, 15_000)])),
        ("2025-01-15T12:00:00Z", "1", Command::Pay),
        ("2025-01-15T12:30:00Z", "2", Command::Pay),
        ("2025-01-16T08:00:00Z", "1", Command::Ship),
        ("2025-01-16T09:00:00Z", "2", Command::Cancel),
        ("2025-01-16T10:00:00Z", "3", create("Ada", &[("Chair", 2, 7_000)])),
        ("2025-01-16T10:05:00Z", "3", Command::Pay),
    ];
    for (at, id, command) in days {
        hand.jump_to(time(at).unix_ms());
        store.execute::<Order>(id, command).await.unwrap();
    }
}

fn check(path: &Path) {
    let queries = Queries::open(path).unwrap();
    let summary = |customer: &str, status: &str, items, total| {
        Some(Summary { customer: customer.to_owned(), status: status.to_owned(), items, total })
    };
    assert_eq!(queries.order("1").unwrap(), summary("Ada", "SHIPPED", 6, 3_000));
    assert_eq!(queries.order("2").unwrap(), summary("Ben", "CANCELLED", 1, 15_000));
    assert_eq!(queries.order("3").unwrap(), summary("Ada", "PAID", 2, 14_000));
    assert_eq!(queries.order("4").unwrap(), None);
    assert_eq!(queries.of_customer("Ada").unwrap(), ["3", "1"]);
    assert_eq!(queries.of_customer("Ben").unwrap(), ["2"]);
    let revenue = queries.revenue().unwrap();
    assert_eq!(revenue, [("2025-01-15".to_owned(), 2, 18_000), ("2025-01-16".to_owned(), 1, -1_000)]);
}

#[tokio::test]
async fn three_read_models_follow_the_orders() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("read-models.db");
    let (store, hand) = shop().await;
    let projection = store.project(SqliteModel::new(&path, ReadModels));
    two_days(&store, &hand).await;
    projection.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
    check(&path);
}

#[tokio::test]
async fn read_models_can_be_made_later_and_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let (store, hand) = shop().await;
    two_days(&store, &hand).await;
    for name in ["first.db", "second.db"] {
        let path = directory.path().join(name);
        let projection = store.project(SqliteModel::new(&path, ReadModels));
        projection.ready().await.unwrap();
        check(&path);
    }
}

#[tokio::test]
async fn who_writes_can_read_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("read-models.db");
    let (store, _) = shop().await;
    let projection = store.project(SqliteModel::new(&path, ReadModels));
    for number in 0..20 {
        let id = number.to_string();
        let done = store.execute::<Order>(&id, create("Ada", &[("Pen", 1, 100)])).await.unwrap();
        projection.wait_for(done.position.unwrap()).await.unwrap();
        assert!(Queries::open(&path).unwrap().order(&id).unwrap().is_some());
    }
}

#[test]
fn the_rules() {
    let created = || OrderEvent::OrderCreated { customer: "Ada".into(), items: vec![], total: 500 };
    let paid = || OrderEvent::OrderPaid { amount: 500 };
    let shipped = || OrderEvent::OrderShipped {};
    given::<Order>([]).when(create("Ada", &[])).then_error(Refusal::Empty);
    given::<Order>([created()]).when(Command::Pay).then([paid()]);
    // Only pending orders are paid, only paid ones are shipped, and what is shipped is not cancelled.
    given::<Order>([created(), paid()]).when(Command::Pay).then_error(Refusal::Status(Status::Paid));
    given::<Order>([created()]).when(Command::Ship).then_error(Refusal::Status(Status::Pending));
    let late = given::<Order>([created(), paid(), shipped()]).when(Command::Cancel);
    late.then_error(Refusal::Status(Status::Shipped));
    given::<Order>([created(), paid()])
        .when(Command::Cancel)
        .then([OrderEvent::OrderCancelled { refund: 500 }]);
}
