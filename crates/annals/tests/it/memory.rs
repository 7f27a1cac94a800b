use std::sync::Arc;

use annals::store::{MemoryStore, Store, conformance};
use annals::{Annals, Clock, ErrorKind, StoreError};

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::run(async || Arc::new(MemoryStore::new(Clock::system())) as Arc<dyn Store>).await;
}

#[tokio::test]
async fn stores_are_apart_and_found_again() {
    let annals = Annals::in_memory();
    let (one, two) = (annals.store("one").await.unwrap(), annals.store("two").await.unwrap());
    super::account::open(&one, "1", "C1", &[]).await;
    assert!(two.head().await.unwrap().is_none());
    assert!(annals.store("one").await.unwrap().head().await.unwrap().is_some());
}

#[tokio::test]
async fn a_name_that_no_store_can_have_is_refused() {
    for name in ["", "a b", "a/b", "ü"] {
        let error = Annals::in_memory().store(name).await.unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{name}");
        assert_eq!(error.kind(), ErrorKind::Input);
    }
}
