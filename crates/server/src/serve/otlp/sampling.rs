//! Which requests get a span.
//!
//! Decided before a span is built, so that a request that is not sampled costs a random number. Everything else,
//! log lines above all, is settled once for each place in the code: it never comes here.

use annals_clock::Clock;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{DynFilterFn, LevelFilter};
use tracing_subscriber::layer::Filter;

/// Lets a share of the requests through: 0 none, 1 all.
pub(super) fn sample<S: Subscriber>(ratio: f64) -> impl Filter<S> {
    let clock = Clock::system();
    DynFilterFn::new(move |metadata: &Metadata<'_>, _: &_| {
        is_request(metadata) && is_sampled(clock.random(), ratio)
    })
    .with_callsite_filter(
        |metadata| if is_request(metadata) { Interest::sometimes() } else { Interest::never() },
    )
    .with_max_level_hint(LevelFilter::TRACE)
}

fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == annals_kafka::SPANS
}

/// Whether a random number falls into the share.
fn is_sampled(random: u64, ratio: f64) -> bool {
    // The upper 53 bits are what a float can hold: a number from 0 to just below 1.
    let (drawn, all) = ((random >> 11) as f64, (1_u64 << 53) as f64);
    drawn / all < ratio
}

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn the_share_is_none_all_or_as_large_as_asked() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!is_sampled(random, 0.0), "{random}");
            assert!(is_sampled(random, 1.0), "{random}");
        }
        let evenly = (0..1024).map(|step| step << 54);
        assert_eq!(evenly.filter(|random| is_sampled(*random, 0.25)).count(), 256);
    }
}
