//! `umadb-bench serve ...` is UmaDB's own server. `umadb-bench append URL IN_FLIGHT STREAMS WARM_UP_MS LASTING_MS` appends to
//! it what the other stores of the benchmark get: one event of 256 bytes on the condition that its stream has none behind the
//! one that the client saw last. A stream is a tag here. Prints one JSON object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};
use uuid::Uuid;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connections that the appends under way share.
const CONNECTIONS: usize = 8;

#[derive(Default)]
struct Shared {
    measuring: AtomicBool,
    stopped: AtomicBool,
    appended: AtomicU64,
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => {
            let own = arguments[..1].iter().chain(&arguments[2..]).cloned();
            let options = umadb::parse_cli_options(own).map_err(|error| error.to_string())?;
            umadb::start_server_with_cli_options(options).map_err(|error| error.to_string().into())
        }
        Some("append") => {
            let number = |at: usize| arguments.get(at).ok_or("too few arguments")?.parse::<u64>().map_err(Error::from);
            let url = arguments.get(2).ok_or("too few arguments")?.clone();
            let work = append(url, number(3)?, number(4)?, [number(5)?, number(6)?]);
            tokio::runtime::Runtime::new()?.block_on(work)
        }
        _ => Err("umadb-bench serve|append".into()),
    }
}

async fn append(url: String, in_flight: u64, streams: u64, [warm_up, lasting]: [u64; 2]) -> Result<(), Error> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Arc::new(UmaDbClient::new(url.clone()).connect_async().await?));
    }
    let shared = Arc::new(Shared::default());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..in_flight {
        let own = (task..streams).step_by(in_flight as usize).map(|stream| (stream, None)).collect();
        let client = Arc::clone(&connections[task as usize % CONNECTIONS]);
        tasks.spawn(work(client, own, Arc::clone(&shared)));
    }
    tokio::time::sleep(Duration::from_millis(warm_up)).await;
    let (began, before) = (Instant::now(), shared.appended.load(Ordering::Relaxed));
    shared.measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(lasting)).await;
    let (took, after) = (began.elapsed(), shared.appended.load(Ordering::Relaxed));
    shared.stopped.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    times.sort_unstable();
    let percentile = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, |us| *us as f64 / 1e3);
    println!(
        r#"{{"per_s":{},"all":{},"p50_ms":{},"p99_ms":{},"cpu_us":0.0,"resident_mib":0.0,"resident_peak_mib":0.0}}"#,
        (after - before) as f64 / took.as_secs_f64(),
        shared.appended.load(Ordering::Relaxed),
        percentile(0.5),
        percentile(0.99),
    );
    Ok(())
}

async fn work(
    client: Arc<AsyncUmaDbClient>,
    mut own: Vec<(u64, Option<u64>)>,
    shared: Arc<Shared>,
) -> Result<Vec<u128>, Error> {
    let mut times = Vec::new();
    for at in (0..own.len()).cycle() {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let (stream, seen) = &mut own[at];
        let tag = format!("account-{stream}");
        let event = DcbEvent::new().event_type("MoneyDeposited").tags([tag.as_str()]);
        let event = event.data(vec![b'x'; 256]).uuid(Uuid::now_v7());
        let query = DcbQuery::new().item(DcbQueryItem::new().tags([tag.as_str()]));
        let condition = DcbAppendCondition::new(query).after(*seen);
        let began = Instant::now();
        *seen = Some(client.append(vec![event], Some(condition), None).await?);
        shared.appended.fetch_add(1, Ordering::Relaxed);
        if shared.measuring.load(Ordering::Relaxed) {
            times.push(began.elapsed().as_micros());
        }
    }
    Ok(times)
}
