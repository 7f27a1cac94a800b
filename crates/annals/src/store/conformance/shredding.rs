//! Keys of subjects.

use super::{all, append, event, stream};
use crate::store::{
    Append, AppendError, EVENT_BYTES_MAX, Expected, InvalidAppend, NewEvent, Read, Recorded,
    SUBJECT_BYTES_MAX, Store,
};

fn of(subject: &str) -> NewEvent {
    NewEvent { encrypt_for: Some(subject.to_owned()), ..event("Told") }
}

/// Of each event whether it is encrypted, whether it is shredded, and whether it has data.
fn seen(events: &[Recorded]) -> Vec<(bool, bool, bool)> {
    events.iter().map(|event| (event.encrypted, event.shredded, !event.data.is_empty())).collect()
}

pub(super) async fn what_is_encrypted_is_readable_until_it_is_shredded(store: &dyn Store) {
    const PLAIN: (bool, bool, bool) = (false, false, true);
    const SECRET: (bool, bool, bool) = (true, false, true);
    const SHREDDED: (bool, bool, bool) = (true, true, false);
    let ada = of("ada");
    let first = vec![ada.clone(), event("Seen"), of("bob")];
    append(store, "a-1", Expected::NoStream, first.clone()).await;
    append(store, "a-2", Expected::NoStream, vec![of("ada")]).await;
    let events = all(store, Read::all()).await;
    assert_eq!(seen(&events), [SECRET, PLAIN, SECRET, SECRET]);
    assert_eq!(events[0].data, ada.data);
    assert!(store.shred("ada").await.unwrap());
    assert!(!store.shred("ada").await.unwrap() && !store.shred("eve").await.unwrap());
    let events = all(store, Read::all()).await;
    assert_eq!(seen(&events), [SHREDDED, PLAIN, SECRET, SHREDDED]);
    assert_eq!((&events[0].id, &events[0].name, events[0].version), (&ada.id, &ada.name, ada.version));
    // There is a new key, and the old one is not needed to know what was stored before.
    append(store, "a-2", Expected::Any, vec![of("ada")]).await;
    assert_eq!(seen(&all(store, Read::stream(stream("a-2"))).await), [SHREDDED, SECRET]);
    assert!(append(store, "a-1", Expected::NoStream, first).await.duplicate);
    let mut large = of("bob");
    large.data = format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX - 2)).into();
    append(store, "a-3", Expected::NoStream, vec![large.clone()]).await;
    assert_eq!(all(store, Read::stream(stream("a-3"))).await[0].data, large.data);
    for wrong in [String::new(), "a\nb".to_owned(), "a".repeat(SUBJECT_BYTES_MAX + 1)] {
        let refused = store.append(Append::to(stream("a-3"), Expected::Any, vec![of(&wrong)])).await;
        let subject = InvalidAppend::Subject { len: wrong.len() };
        assert_eq!(refused, Err(AppendError::Invalid(subject)));
    }
}
