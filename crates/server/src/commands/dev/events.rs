//! Events of a small shop: people look at pages, put things into carts, order and pay.
//!
//! An order and its payment share a correlation id, and the payment names the order as its cause, so that the
//! samples show what the envelope is for.

use annals_clock::Clock;
use annals_event::{Event, InvalidEvent};
use serde_json::json;

const PRODUCTS: [(&str, u64); 6] = [
    ("coffee", 890),
    ("teapot", 2_450),
    ("lamp", 4_900),
    ("notebook", 650),
    ("chair", 12_900),
    ("headphones", 7_900),
];
const CITIES: [&str; 5] = ["Lisbon", "Oslo", "Nairobi", "Osaka", "Quito"];
const PAGES: [&str; 4] = ["/", "/search", "/sale", "/cart"];

/// One event, and the topic it belongs to.
pub(crate) struct Sample {
    pub(crate) topic: &'static str,
    pub(crate) event: Event,
}

/// Invents events.
pub(crate) struct Shop {
    clock: Clock,
    orders: u64,
}

impl Shop {
    /// A shop that opens now.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), orders: 0 }
    }

    /// What happens next: a click, or an order with its payment.
    pub(crate) fn next(&mut self) -> Result<Vec<Sample>, InvalidEvent> {
        match self.pick(10) {
            0..=6 => Ok(vec![self.click()?]),
            _ => self.order(),
        }
    }

    fn click(&mut self) -> Result<Sample, InvalidEvent> {
        let customer = self.customer();
        let (kind, data) = match self.pick(4) {
            0 => {
                let (product, cents) = PRODUCTS[self.pick(PRODUCTS.len())];
                ("CartItemAdded", json!({"customer": customer, "product": product, "price_cents": cents}))
            }
            _ => ("PageViewed", json!({"customer": customer, "page": PAGES[self.pick(PAGES.len())]})),
        };
        let event =
            Event::builder("/shop/web", kind).subject(customer.as_str()).partition_key(customer.as_str());
        Ok(Sample {
            topic: "clicks",
            event: event.time_ms(self.clock.now_ms()).json(&data).build(&self.clock)?,
        })
    }

    fn order(&mut self) -> Result<Vec<Sample>, InvalidEvent> {
        self.orders += 1;
        let order = format!("order-{}-{}", std::process::id(), self.orders);
        let (product, cents) = PRODUCTS[self.pick(PRODUCTS.len())];
        let quantity = 1 + self.pick(3) as u64;
        let placed = json!({
            "order": order, "customer": self.customer(), "city": CITIES[self.pick(CITIES.len())],
            "items": [{"product": product, "quantity": quantity}], "total_cents": cents * quantity,
        });
        let placed =
            Event::builder("/shop/orders", "OrderPlaced").json(&placed).correlation_id(order.as_str());
        let placed =
            placed.subject(order.as_str()).partition_key(order.as_str()).time_ms(self.clock.now_ms());
        let placed = placed.build(&self.clock)?;
        let payment = self.payment(&order, cents * quantity, &placed)?;
        Ok(vec![Sample { topic: "orders", event: placed }, Sample { topic: "payments", event: payment }])
    }

    fn payment(&mut self, order: &str, cents: u64, placed: &Event) -> Result<Event, InvalidEvent> {
        let kind = if self.pick(20) == 0 { "PaymentDeclined" } else { "PaymentCaptured" };
        let data = json!({"order": order, "amount_cents": cents, "method": "card"});
        let event = Event::builder("/shop/payments", kind).subject(order).partition_key(order).json(&data);
        event.caused_by(placed).time_ms(self.clock.now_ms()).build(&self.clock)
    }

    fn customer(&self) -> String {
        format!("customer-{}", 1 + self.pick(200))
    }

    /// A number below `limit`.
    fn pick(&self, limit: usize) -> usize {
        (self.clock.random() % limit.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use annals_clock::Clock;

    use super::Shop;

    #[test]
    fn all_samples_are_in_the_past_tense_and_orders_cause_payments() {
        let (clock, _hand) = Clock::manual(1_767_268_800_000, 7);
        let mut shop = Shop::new(&clock);
        let mut orders = 0;
        for _ in 0..200 {
            let samples = shop.next().unwrap();
            for sample in &samples {
                let name = sample.event.type_name();
                assert!(annals_event::past_tense_advice(name).is_none(), "{name}");
            }
            if let [placed, payment] = &samples[..] {
                orders += 1;
                assert_eq!(payment.event.causation_id(), Some(placed.event.id()));
                assert_eq!(payment.event.correlation_id(), placed.event.correlation_id());
            }
        }
        assert!((30..90).contains(&orders), "{orders}");
    }
}
