//! Rates: how fast what is counted grows.
//!
//! RabbitMQ takes samples all the time. Here a rate is how much something has grown between two requests that show it, which are at
//! least [`SPAN`] apart: whoever watches a queue sees its rates, and nothing is sampled for nobody. The first look finds 0.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// How far apart two looks are that a rate is made of: as far as RabbitMQ's samples.
const SPAN: Duration = Duration::from_secs(5);
/// A look that nobody came back to is forgotten.
const KEPT: Duration = Duration::from_secs(600);
/// So many looks are kept whatever their age.
const LOOKS_MIN: usize = 1024;

/// What a rate that is not known is shown as.
pub(super) fn no_rate() -> Value {
    json!({"rate": 0.0})
}

/// The looks at everything that somebody watches.
#[derive(Default)]
pub(crate) struct Rates(Mutex<Looks>);

#[derive(Default)]
struct Looks {
    of: HashMap<String, Look>,
    /// With so many it is time to see whether some are old.
    crowded: usize,
}

struct Look {
    at: Duration,
    counts: Vec<(String, f64)>,
    rates: Vec<(String, f64)>,
}

impl Rates {
    /// Puts rates into `described`, in RabbitMQ's form: `x_details.rate` for a member `x`, also in its `message_stats`.
    pub(super) fn put(&self, now: Duration, of: String, described: &mut Value) {
        let counts = counted(described);
        let looks = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.forget(now);
        let look =
            looks.of.entry(of).or_insert_with(|| Look { at: now, counts: counts.clone(), rates: Vec::new() });
        look.see(now, counts);
        for (pointer, rate) in &look.rates {
            if let Some(shown) = described.pointer_mut(pointer) {
                *shown = json!(rate);
            }
        }
    }
}

impl Looks {
    fn forget(&mut self, now: Duration) {
        if self.of.len() >= self.crowded.max(LOOKS_MIN) {
            self.of.retain(|_, look| now.saturating_sub(look.at) < KEPT);
            self.crowded = self.of.len() * 2;
        }
    }
}

impl Look {
    fn see(&mut self, now: Duration, counts: Vec<(String, f64)>) {
        let span = now.saturating_sub(self.at);
        if span < SPAN {
            return;
        }
        let before: HashMap<_, _> = std::mem::take(&mut self.counts).into_iter().collect();
        let rate = |(pointer, count): &(String, f64)| {
            let growth = count - before.get(pointer)?;
            // Counters that fell are of a successor with the same name, or of fewer queues.
            let is_level = pointer.contains("/messages");
            Some((pointer.clone(), if is_level { growth } else { growth.max(0.0) } / span.as_secs_f64()))
        };
        self.rates = counts.iter().filter_map(rate).collect();
        (self.at, self.counts) = (now, counts);
    }
}

/// What is counted in an object, by the pointer to its rate.
fn counted(described: &Value) -> Vec<(String, f64)> {
    let mut counts = Vec::new();
    for base in ["", "/message_stats"] {
        let members = described.pointer(base).and_then(Value::as_object);
        for (name, _) in members.into_iter().flatten().filter(|(_, value)| value.get("rate").is_some()) {
            let counted = name
                .strip_suffix("_details")
                .and_then(|counted| described.pointer(base)?.get(counted)?.as_f64());
            counts.extend(counted.map(|count| (format!("{base}/{name}/rate"), count)));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(published: u64, ready: u64) -> Value {
        json!({
            "name": "q",
            "messages": ready,
            "messages_details": no_rate(),
            "message_stats": {"publish": published, "publish_details": no_rate()},
        })
    }

    fn look(rates: &Rates, at_s: u64, published: u64, ready: u64) -> (f64, f64) {
        let mut shown = queue(published, ready);
        rates.put(Duration::from_secs(at_s), "q".to_owned(), &mut shown);
        let rate = |pointer| shown.pointer(pointer).and_then(Value::as_f64).unwrap();
        (rate("/message_stats/publish_details/rate"), rate("/messages_details/rate"))
    }

    #[test]
    fn rates_are_between_looks_that_are_far_enough_apart() {
        let rates = Rates::default();
        assert_eq!(look(&rates, 100, 50, 5), (0.0, 0.0), "the first");
        assert_eq!(look(&rates, 102, 60, 5), (0.0, 0.0), "too early");
        assert_eq!(look(&rates, 110, 150, 0), (10.0, -0.5));
        assert_eq!(look(&rates, 112, 999, 9), (10.0, -0.5), "too early for another");
        assert_eq!(look(&rates, 120, 150, 0), (0.0, 0.0), "nothing happens any more");
        assert_eq!(look(&rates, 130, 10, 10), (0.0, 1.0), "another queue of that name");
    }

    #[test]
    fn what_nobody_looks_at_any_more_is_forgotten() {
        let rates = Rates::default();
        for (at_s, name) in [(0, "early"), (1_000, "late")] {
            for number in 0..LOOKS_MIN {
                rates.put(Duration::from_secs(at_s), format!("{name} {number}"), &mut queue(1, 1));
            }
        }
        let looks = rates.0.lock().unwrap();
        assert!(looks.of.keys().all(|name| name.starts_with("late")), "{}", looks.of.len());
    }
}
