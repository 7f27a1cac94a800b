//! The three styles, and what each of them is good at.

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

use std::sync::atomic::Ordering;

use annals::store::Read;
use annals::testing::given;
use annals::{Annals, EventStore};
use annals_example_coffee_shop::Drink::{self, Cappuccino, Coffee};
use annals_example_coffee_shop::notification::{Barista, Counter};
use annals_example_coffee_shop::sourcing::{NotOrdered, Tab, TabCommand, TabEvent, work};
use annals_example_coffee_shop::state_transfer::{CounterEvent, call_out, heard_last};

async fn shop() -> EventStore {
    Annals::in_memory().store("shop").await.unwrap()
}

#[tokio::test]
async fn with_notifications_two_baristas_work_independently_and_call_back() {
    let (store, counter) = (shop().await, Counter::default());
    let (mut one, mut two) = (Barista::new(&store, Coffee), Barista::new(&store, Cappuccino));
    counter.order(&store, "Alex", Coffee).await.unwrap();
    counter.order(&store, "Alex", Cappuccino).await.unwrap();
    let made = async |barista: &mut Barista| -> Vec<(String, Drink)> {
        let orders = barista.work(&counter).await.unwrap();
        orders.into_iter().map(|order| (order.customer, order.drink)).collect()
    };
    assert_eq!(made(&mut one).await, [("Alex".to_owned(), Coffee)]);
    assert_eq!(made(&mut two).await, [("Alex".to_owned(), Cappuccino)]);
    assert_eq!(counter.questions.load(Ordering::Relaxed), 4, "each barista asks about each event");
    let stored = store.raw().read(Read::all()).await.unwrap();
    assert_eq!(&stored.events[1].data[..], br#"{"order":2}"#, "an event says little");
}

#[tokio::test]
async fn with_state_in_the_event_the_second_one_is_enough() {
    let store = shop().await;
    call_out(&store, "Alex", &[Coffee]).await.unwrap();
    call_out(&store, "Alex", &[Coffee, Cappuccino]).await.unwrap();
    let whole = CounterEvent::OrderChanged { customer: "Alex".into(), drinks: vec![Coffee, Cappuccino] };
    assert_eq!(heard_last(&store).await.unwrap(), Some(whole));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_cashier_as_store_baristas_work_in_parallel() {
    let store = shop().await;
    let order = async |customer: &str, drink| {
        store.execute::<Tab>(customer, TabCommand::Order(drink)).await.unwrap().state.ordered
    };
    assert_eq!(order("Alex", Coffee).await, [Coffee]);
    assert_eq!(
        order("Alex", Cappuccino).await,
        [Coffee, Cappuccino],
        "the cashier remembers the first order"
    );
    for number in 0..20 {
        order(&format!("Guest {number}"), Coffee).await;
    }
    let (one, two) = (work(store.clone(), "Kim".into()), work(store.clone(), "Robin".into()));
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap().len() + two.unwrap().len(), 22, "every drink is made once");
    let mut alex = store.load::<Tab>("Alex").await.unwrap().state;
    alex.served.sort();
    assert_eq!(alex.served, [Coffee, Cappuccino]);
}

#[test]
fn nothing_is_served_that_nobody_has_ordered() {
    let ordered = || TabEvent::DrinkOrdered { drink: Coffee };
    let served = || TabEvent::DrinkServed { drink: Coffee };
    given::<Tab>([ordered()]).when(TabCommand::Serve(Coffee)).then([served()]);
    given::<Tab>([ordered()]).when(TabCommand::Serve(Cappuccino)).then_error(NotOrdered(Cappuccino));
    given::<Tab>([ordered(), served()]).when(TabCommand::Serve(Coffee)).then_error(NotOrdered(Coffee));
}
