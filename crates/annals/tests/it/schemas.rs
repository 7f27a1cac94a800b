//! Programs that start one after the other on the same store.

use annals::schema::{Compatibility, SchemaError};
use annals::{Annals, ErrorKind, Event, RawEvent, StoreError, Upcasters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program of its own, with its own idea of the event.
macro_rules! program {
    ($name:ident, $(#[$attribute:meta])* { $($fields:tt)* }) => {
        mod $name {
            use super::*;

            #[derive(Event, JsonSchema, Serialize, Deserialize)]
            pub(super) enum OrderEvent {
                $(#[$attribute])*
                OrderPlaced { $($fields)* },
            }
        }
    };
}

program!(first, { id: String, total: u32 });
program!(with_default, { id: String, total: u32, #[serde(default)] note: Option<String> });
program!(with_required, { id: String, total: u32, currency: String });
program!(narrower, { id: String, total: u16 });
program!(wider, { id: String, total: u64 });
program!(without_total, { id: String });
program!(second_version, #[event(version = 2)] { id: String, cents: u64 });
program!(second_reads_first, #[event(version = 2, reads = 1)] { id: String, total: u32, #[serde(default)] note: String });

async fn start<E: Event + JsonSchema>(annals: &Annals, mode: Compatibility) -> Result<(), SchemaError> {
    match annals.store("shop").compatibility(mode).events::<E>().await {
        Ok(_) => Ok(()),
        Err(StoreError::Schema(error)) => {
            assert_eq!(error.kind(), ErrorKind::Input);
            Err(error)
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether each of `$then` may start in the mode after `$first`, all of them on stores of their own.
macro_rules! assert_modes {
    ($($mode:ident: $first:ident then $then:ident $fits:literal;)*) => {$(
        let annals = Annals::in_memory();
        start::<$first::OrderEvent>(&annals, Compatibility::$mode).await.unwrap();
        let second = start::<$then::OrderEvent>(&annals, Compatibility::$mode).await;
        assert_eq!(second.is_ok(), $fits, "{} {}: {second:?}", stringify!($mode), stringify!($then));
    )*};
}

#[tokio::test]
async fn each_mode_asks_for_its_own() {
    assert_modes! {
        Backward: first then first true;
        Backward: first then with_default true;
        Backward: first then with_required false;
        Backward: first then narrower false;
        Backward: first then wider true;
        Backward: first then without_total true;
        Forward: first then with_default true;
        Forward: first then with_required true;
        Forward: first then narrower true;
        Forward: first then wider false;
        Forward: first then without_total false;
        Full: first then with_default true;
        Full: first then wider false;
        Full: first then narrower false;
        Full: first then with_required false;
        None: first then with_required true;
        Backward: first then second_reads_first true;
        Full: first then second_reads_first true;
        Backward: first then second_version false;
    }
}

#[tokio::test]
async fn transitive_modes_look_at_all_of_them() {
    // Without the total, then with it again: the last one alone would do, the first one has it too, the middle one not.
    for (mode, fits) in [(Compatibility::Forward, true), (Compatibility::ForwardTransitive, false)] {
        let annals = Annals::in_memory();
        start::<first::OrderEvent>(&annals, mode).await.unwrap();
        start::<without_total::OrderEvent>(&annals, Compatibility::None).await.unwrap();
        // Programs of the first kind cannot read it without a total.
        let third = start::<without_total_noted::OrderEvent>(&annals, mode).await;
        assert_eq!(third.is_ok(), fits, "{mode}: {third:?}");
    }
}

program!(without_total_noted, { id: String, #[serde(default)] note: Option<String> });

#[tokio::test]
async fn the_refusal_says_what_and_what_to_do() {
    let annals = Annals::in_memory();
    start::<first::OrderEvent>(&annals, Compatibility::default()).await.unwrap();
    let refused = start::<with_required::OrderEvent>(&annals, Compatibility::default()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "event OrderPlaced version 1 does not go with version 1, which is registered (compatibility BACKWARD_TRANSITIVE): \
         currency is required but not always there; \
         give new fields a default, or write version 2 and add an upcaster from 1"
    );
    // The refused program has left nothing behind.
    start::<first::OrderEvent>(&annals, Compatibility::FullTransitive).await.unwrap();
}

#[tokio::test]
async fn a_new_version_needs_an_upcaster() {
    let annals = Annals::in_memory();
    start::<first::OrderEvent>(&annals, Compatibility::default()).await.unwrap();
    let refused = start::<second_version::OrderEvent>(&annals, Compatibility::default()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "event OrderPlaced version 1 is registered, the program knows version 2, and no upcaster leads from 1 to there: add one"
    );
    let cents = Upcasters::new().upcast("OrderPlaced", 1, |mut event: RawEvent| {
        event.data["cents"] = (event.data["total"].as_u64().unwrap_or(0) * 100).into();
        event
    });
    annals.store("shop").upcasters(cents).events::<second_version::OrderEvent>().await.unwrap();
    // From now on the first program is too old.
    let older = start::<first::OrderEvent>(&annals, Compatibility::default()).await.unwrap_err();
    assert!(matches!(older, SchemaError::Older { stored: 2, known: 1, .. }), "{older}");
}

#[tokio::test]
async fn two_programs_that_start_together_are_both_registered() {
    let annals = Annals::in_memory();
    let open = || annals.store("shop").events::<first::OrderEvent>();
    let (one, two) = tokio::join!(open(), open());
    one.unwrap();
    two.unwrap();
}
