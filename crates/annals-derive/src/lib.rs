//! `#[derive(Event)]` of the crate `annals`: which types of event a Rust type stands for.
//!
//! The macro reads attributes and nothing else; what is written and read is left to serde. It follows serde's externally
//! tagged form of an enum, since the library puts the variant's name into the envelope instead of the data. What would
//! break that (`#[serde(tag)]`, `untagged`, renamed variants by a rule) is refused where it stands.

mod attributes;
mod expand;
mod serde_names;

use proc_macro::TokenStream;

/// Implements `annals::Event` for an enum, one event type for each variant, or for a struct, which is one event type.
///
/// | Attribute | Where | Says |
/// |---|---|---|
/// | `#[event(name = "MoneyDeposited")]` | variant, struct | the name under which it is stored; without it, the Rust name |
/// | `#[event(version = 2)]` | variant, struct | the version that is written; without it, 1 |
/// | `#[event(reads = 1)]` | variant, struct | the oldest version that this very type reads as it is; without it, `version` |
/// | `#[event(tag)]`, `#[event(tag = "account")]` | field | the event carries the tag `FIELD:VALUE` or `account:VALUE` |
/// | `#[event(encrypt_for)]`, `#[event(encrypt_for = "person")]` | field | the event's data is encrypted with the key of the subject `FIELD:VALUE` or `person:VALUE` |
/// | `#[event(encrypt_for = Self::subject)]` | enum, struct | so does this `fn(&Self) -> Option<String>` for every value; `None`: it is not encrypted |
/// | `#[event(shredded = Self::shredded_as)]` | enum, struct | this `fn(&EventType, &Recorded) -> Option<Self>` gives what stands in for an event whose key was shredded |
///
/// A field of type `Option` gives a tag if there is a value, one of type `Vec` one for each item; the rest must implement
/// `Display`. A field that names a subject has one value. Of a variant that holds a struct, as `Placed(OrderPlaced)` does, only
/// the variant's own attributes count and not those inside of the struct.
///
/// ```
/// use annals::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// enum AccountEvent {
///     #[event(name = "AccountOpened")]
///     Opened {
///         #[event(tag = "customer")]
///         customer_id: String,
///     },
///     #[event(name = "MoneyDeposited", version = 2)]
///     Deposited { amount: u64 },
/// }
///
/// let opened = AccountEvent::Opened { customer_id: "C123".into() };
/// assert_eq!((opened.event_type().name, opened.event_type().version), ("AccountOpened", 1));
/// assert_eq!(opened.tags()[0].as_str(), "customer:C123");
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let expanded = syn::parse(input).and_then(|input| expand::expand(&input));
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
