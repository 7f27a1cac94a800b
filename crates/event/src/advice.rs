//! Advice on the name of an event type: an event is something that happened, so its name should say so.
//!
//! The last part of a type name, versions and the word "event" aside, should end in a verb in the past: `OrderPlaced`,
//! `com.example.order.placed.v2`, `user_signed_up`. A small list of English decides, so this can be wrong in both directions;
//! it advises and never refuses, and nothing but a person's eyes may depend on it.

use std::fmt;

use crate::lexicon::{is_past, participle};

/// Words that may follow the verb: `UserSignedUp`, `RequestTimedOut`.
const PARTICLES: &[&str] =
    &["away", "back", "down", "forward", "in", "off", "on", "out", "over", "through", "together", "up"];

/// A note that a type name does not read like something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    type_name: String,
    suggestion: Option<String>,
}

impl Advice {
    /// The whole type name that would read better, where there is a simple one.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event type {:?} does not end in a verb in the past", self.type_name)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ": did you mean {suggestion:?}?"),
            None => f.write_str(": name what happened, for example \"OrderPlaced\""),
        }
    }
}

/// Advises on `type_name` if it does not read like something that happened.
///
/// ```
/// use annals_event::past_tense_advice;
///
/// assert_eq!(past_tense_advice("OrderPlaced"), None);
/// assert_eq!(past_tense_advice("com.example.object.deleted.v2"), None);
/// let advice = past_tense_advice("com.shop.PlaceOrder").unwrap();
/// assert_eq!(advice.suggestion(), Some("com.shop.OrderPlaced"));
/// ```
pub fn past_tense_advice(type_name: &str) -> Option<Advice> {
    let (before, segment, after) = last_segment(type_name)?;
    let name = Name::split(segment);
    if name.words.is_empty() || name.is_past() {
        return None;
    }
    let suggestion = name.in_the_past().map(|better| format!("{before}{better}{after}"));
    Some(Advice { type_name: crate::error::excerpt(type_name), suggestion })
}

/// Splits a type name around its last segment that is no version and not just "event".
fn last_segment(type_name: &str) -> Option<(&str, &str, &str)> {
    let mut end = type_name.len();
    loop {
        let start = type_name[..end].rfind(['.', '/', ':']).map_or(0, |at| at + 1);
        let segment = &type_name[start..end];
        if !segment.is_empty() && !is_version(segment) && !segment.eq_ignore_ascii_case("event") {
            return Some((&type_name[..start], segment, &type_name[end..]));
        }
        end = start.checked_sub(1)?;
    }
}

/// `v1`, `V2`, `3`.
fn is_version(word: &str) -> bool {
    let digits = word.strip_prefix(['v', 'V']).unwrap_or(word);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The words of one segment, what joined them, and what stands after them and does not count.
struct Name<'a> {
    words: Vec<&'a str>,
    separator: &'static str,
    suffix: &'a str,
}

impl<'a> Name<'a> {
    fn split(segment: &'a str) -> Self {
        let separator =
            ["_", "-", " "].into_iter().find(|separator| segment.contains(separator)).unwrap_or("");
        let mut words =
            if separator.is_empty() { camel_words(segment) } else { segment.split(separator).collect() };
        let mut length = segment.len();
        while let Some(&last) = words.last() {
            let dispensable = is_version(last) || (last.eq_ignore_ascii_case("event") && words.len() > 1);
            if !dispensable && !last.is_empty() {
                break;
            }
            words.pop();
            length = length.saturating_sub(last.len() + if words.is_empty() { 0 } else { separator.len() });
        }
        Self { words, separator, suffix: segment.get(length..).unwrap_or_default() }
    }

    fn is_past(&self) -> bool {
        let words: Vec<String> = self.words.iter().map(|word| word.to_lowercase()).collect();
        match words.as_slice() {
            [.., verb, last] if PARTICLES.contains(&last.as_str()) || last.ends_with("ly") => {
                is_past(verb) || is_past(last)
            }
            [.., last] => is_past(last),
            [] => false,
        }
    }

    /// The name with its verb in the past and at the end, if a verb is found at either end. One at the beginning
    /// comes first: in `CreateReport` the report is no verb.
    fn in_the_past(&self) -> Option<String> {
        let (first, rest) = self.words.split_first()?;
        let lower = first.to_lowercase();
        let past = if is_past(&lower) { Some(lower) } else { participle(&lower) };
        if let Some(past) = past.filter(|_| !rest.is_empty()) {
            return Some(self.join(rest, &past));
        }
        let (last, start) = self.words.split_last()?;
        participle(&last.to_lowercase()).map(|past| self.join(start, &past))
    }

    /// Writes `words` and `past` in the manner in which this name is written.
    fn join(&self, words: &[&str], past: &str) -> String {
        let words = words.iter().copied().chain([past]);
        let style = Style::of(self);
        let words: Vec<String> = words.enumerate().map(|(index, word)| style.write(index, word)).collect();
        words.join(self.separator) + self.suffix
    }
}

/// How upper and lower case are used in a name.
#[derive(Clone, Copy)]
enum Style {
    /// `PlaceOrder`
    Capitals,
    /// `placeOrder`
    LowerFirst,
    /// `place_order`
    Lower,
    /// `PLACE_ORDER`
    Upper,
}

impl Style {
    fn of(name: &Name<'_>) -> Self {
        let starts_upper = |word: &&str| word.starts_with(char::is_uppercase);
        let any_lower = name.words.iter().any(|word| word.contains(char::is_lowercase));
        match name.words.first().is_some_and(starts_upper) {
            true if !any_lower => Self::Upper,
            true => Self::Capitals,
            false if name.words.iter().any(starts_upper) => Self::LowerFirst,
            false => Self::Lower,
        }
    }

    fn write(self, index: usize, word: &str) -> String {
        match self {
            Self::Upper => word.to_uppercase(),
            Self::Lower => word.to_lowercase(),
            Self::LowerFirst if index == 0 => word.to_lowercase(),
            Self::Capitals | Self::LowerFirst => {
                let mut characters = word.chars();
                characters
                    .next()
                    .map(|first| first.to_uppercase().chain(characters).collect())
                    .unwrap_or_default()
            }
        }
    }
}

/// Splits `OrderPlacedV2` into `Order`, `Placed`, `V2`, and `SMSSent` into `SMS`, `Sent`.
fn camel_words(segment: &str) -> Vec<&str> {
    let characters: Vec<(usize, char)> = segment.char_indices().collect();
    let mut starts = vec![0];
    for (index, pair) in characters.windows(2).enumerate() {
        let [(_, before), (at, here)] = *pair else { continue };
        let next_is_lower = characters.get(index + 2).is_some_and(|(_, next)| next.is_lowercase());
        if here.is_uppercase() && (!before.is_uppercase() || next_is_lower) {
            starts.push(at);
        }
    }
    let ends = starts.iter().copied().skip(1).chain([segment.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &segment[start..end]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn suggestion(type_name: &str) -> Option<String> {
        past_tense_advice(type_name).expect(type_name).suggestion().map(str::to_owned)
    }

    #[test]
    fn what_happened_needs_no_advice() {
        let names = "MoneyDeposited OrderPlaced OrderCreated MoneyWithdrawn PaymentProcessed OrderShipped
            InventoryReserved DepositMade AccountCreated WithdrawalMade OrderPaid AccountOpened PaymentFailed
            OrderDelivered OrderCancelled VideoWatched UserRegistered ShippingScheduled ServiceStarted RideMatched
            PaymentReceived OrderConfirmed InterestCredited HealthCheckPassed FraudAlertRaised FraudAlertCleared
            EmailSent DriverLocationUpdated CustomerCreated com.github.pull_request.opened
            com.example.object.deleted.v2 com.example.order.placed com.shop.order.sold OrderPlacedV2
            OrderPlacedEvent order_placed_v2 order-placed ORDER_PLACED UserSignedUp user.signed_up
            RequestTimedOut PasswordReset SMSSent com.shop.order.placed.event.v1 io.shop:order/taken
            UploadFinishedSuccessfully OrderCanceled orderBegun";
        for name in names.split_whitespace() {
            assert_eq!(past_tense_advice(name), None, "{name}");
        }
    }

    #[test]
    fn commands_are_turned_into_what_they_cause() {
        let cases = [
            ("PlaceOrder", "OrderPlaced"),
            ("CreateOrder", "OrderCreated"),
            ("ProcessPayment", "PaymentProcessed"),
            ("ReserveInventory", "InventoryReserved"),
            ("ReleaseInventory", "InventoryReleased"),
            ("ShipOrder", "OrderShipped"),
            ("PayOrder", "OrderPaid"),
            ("CancelOrder", "OrderCancelled"),
            ("com.shop.PlaceOrder.v1", "com.shop.OrderPlaced.v1"),
            ("com.shop.order.place", "com.shop.order.placed"),
            ("place_order", "order_placed"),
            ("PLACE_ORDER_V2", "ORDER_PLACED_V2"),
            ("place-customer-order", "customer-order-placed"),
            ("placeOrder", "orderPlaced"),
            ("PlaceOrderEvent", "OrderPlacedEvent"),
            ("sendSMS", "smsSent"),
            ("SendSMS", "SMSSent"),
            ("FailedPayment", "PaymentFailed"),
            ("CreateReport", "ReportCreated"),
            ("SendInvoice", "InvoiceSent"),
            ("PaymentRefund", "PaymentRefunded"),
            ("BuyTicketV3", "TicketBoughtV3"),
        ];
        for (name, expected) in cases {
            assert_eq!(suggestion(name).as_deref(), Some(expected), "{name}");
            assert_eq!(past_tense_advice(expected), None, "{expected}");
        }
    }

    #[test]
    fn names_without_a_verb_get_advice_without_a_suggestion() {
        for name in
            ["Order", "InventoryUnavailable", "com.example.notification.sms", "NewsFeed", "SpeedNeed", "é"]
        {
            assert_eq!(suggestion(name), None, "{name}");
        }
    }

    #[test]
    fn names_without_words_get_no_advice() {
        for name in ["", ".", "v1", "1.0", "event", "com...", "_"] {
            let advice = past_tense_advice(name);
            assert!(name == "com..." || advice.is_none(), "{name}: {advice:?}");
        }
    }

    #[test]
    fn advice_reads_well() {
        let advice = past_tense_advice("PlaceOrder").unwrap();
        let expected =
            "event type \"PlaceOrder\" does not end in a verb in the past: did you mean \"OrderPlaced\"?";
        assert_eq!(advice.to_string(), expected);
    }

    proptest! {
        #[test]
        fn any_name_is_looked_at(name in ".{0,40}") {
            let _ = past_tense_advice(&name);
        }

        #[test]
        fn a_suggestion_satisfies_the_advice(name in "[a-z]{0,3}\\.?(Ship|Pay|place_|ORDER_)?(Order|Ünit|user|V2|-)?(Event|_v1|\\.v1)?") {
            if let Some(better) = past_tense_advice(&name).and_then(|advice| advice.suggestion) {
                prop_assert_eq!(past_tense_advice(&better), None, "{} -> {}", name, better);
            }
        }
    }
}
