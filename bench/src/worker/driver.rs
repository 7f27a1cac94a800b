//! A closed loop: so many clients, each with one append under way, and streams of its own that it appends to in turn. Each
//! append names the revision that the client saw last.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::{Appended, Pace, process};

/// Who appends.
pub(super) trait Client: Send + 'static {
    /// Appends one event to a stream, on the condition that it gets this revision.
    fn append(&mut self, stream: u64, revision: u64) -> impl Future<Output = Result<()>> + Send;
}

/// What all clients look at.
#[derive(Default)]
struct Shared {
    measuring: AtomicBool,
    stopped: AtomicBool,
    appended: AtomicU64,
}

/// Appends with all clients until the time is up. All streams have `revision` events before.
pub(super) async fn run<C: Client>(clients: Vec<C>, pace: Pace, revision: u64) -> Result<Appended> {
    let (clock, shared) = (Clock::system(), Arc::new(Shared::default()));
    let count = clients.len() as u64;
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let own: Vec<_> =
            (number as u64..pace.streams.max(count)).step_by(count as usize).map(|s| (s, revision)).collect();
        tasks.spawn(work(client, own, clock.clone(), Arc::clone(&shared)));
    }
    let failed = tokio::select! {
        ended = tasks.join_next() => ended,
        () = tokio::time::sleep(Duration::from_millis(pace.warm_up_ms)) => None,
    };
    if let Some(ended) = failed {
        ended??;
    }
    let before = (clock.monotonic(), shared.appended.load(Ordering::Relaxed), process::cpu_us()?);
    shared.measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(pace.lasting_ms)).await;
    let after = (clock.monotonic(), shared.appended.load(Ordering::Relaxed), process::cpu_us()?);
    shared.measuring.store(false, Ordering::Relaxed);
    shared.stopped.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        times.extend(ended??);
    }
    times.sort_unstable();
    let appended = (after.1 - before.1) as f64;
    let (resident_mib, resident_peak_mib) = process::resident_mib()?;
    Ok(Appended {
        per_s: appended / (after.0 - before.0).as_secs_f64(),
        all: shared.appended.load(Ordering::Relaxed),
        p50_ms: percentile(&times, 0.5).context("nothing was appended")?,
        p99_ms: percentile(&times, 0.99).context("nothing was appended")?,
        cpu_us: (after.2 - before.2) / appended.max(1.0),
        resident_mib,
        resident_peak_mib,
    })
}

/// Appends until it is stopped. Returns how long each took while it was measured, in microseconds.
async fn work<C: Client>(
    mut client: C,
    mut own: Vec<(u64, u64)>,
    clock: Clock,
    shared: Arc<Shared>,
) -> Result<Vec<u32>> {
    let mut times = Vec::new();
    let count = own.len();
    for at in (0..count).cycle() {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let (stream, revision) = &mut own[at];
        let began = clock.monotonic();
        client.append(*stream, *revision).await?;
        *revision += 1;
        shared.appended.fetch_add(1, Ordering::Relaxed);
        if shared.measuring.load(Ordering::Relaxed) {
            times.push(u32::try_from((clock.monotonic() - began).as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok(times)
}

/// In milliseconds.
fn percentile(sorted_us: &[u32], share: f64) -> Option<f64> {
    let at = (sorted_us.len() as f64 * share) as usize;
    sorted_us.get(at.min(sorted_us.len().checked_sub(1)?)).map(|us| f64::from(*us) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(Arc<std::sync::Mutex<Vec<(u64, u64)>>>);

    impl Client for Counter {
        async fn append(&mut self, stream: u64, revision: u64) -> Result<()> {
            self.0.lock().unwrap().push((stream, revision));
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_stream_gets_its_revisions_in_order() {
        // On a busy machine the time may be up before the last stream's turn, or before anything is measured.
        for _ in 0..20 {
            if revisions_are_in_order().await == 5 {
                return;
            }
        }
        panic!("some stream is never appended to");
    }

    /// Returns how many of the five streams were appended to; 0 if nothing was measured.
    async fn revisions_are_in_order() -> usize {
        let seen = Arc::new(std::sync::Mutex::default());
        let clients = (0..2).map(|_| Counter(Arc::clone(&seen))).collect();
        let pace = Pace { in_flight: 2, streams: 5, warm_up_ms: 5, lasting_ms: 60 };
        let appended = run(clients, pace, 3).await;
        let seen = seen.lock().unwrap();
        let revisions_of = |stream| {
            let revisions: Vec<u64> =
                seen.iter().filter(|(of, _)| *of == stream).map(|(_, revision)| *revision).collect();
            let expected: Vec<u64> = (3..).take(revisions.len()).collect();
            assert_eq!(revisions, expected, "stream {stream}");
            revisions.len()
        };
        let streams = (0..5).filter(|stream| revisions_of(*stream) > 0).count();
        let Ok(appended) = appended else { return 0 };
        assert_eq!(seen.len() as u64, appended.all);
        assert!(appended.p50_ms >= 1.0 && appended.p99_ms >= appended.p50_ms);
        streams
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let times: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(percentile(&times, 0.5), Some(51.0));
        assert_eq!(percentile(&times, 0.99), Some(100.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
