//! Power failures at random moments of random operations: what the broker acknowledged is there in its next life.
//!
//! Each seed lives several lives on the same files. A life does random operations (idempotent producers with retries,
//! topics that come and go, commits, cuts at the front, a compacted topic); it ends in the middle of some of them, at a
//! random write to the disk, and only what was synced is sure to survive. A model of a few lines knows what was
//! acknowledged and what is open. `ANNALS_TEST_SEEDS=N` runs N seeds instead of 200.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod flips;
mod model;
mod slow;
mod world;

use annals_broker::api::produce::ProduceError;
use annals_journal::{FaultFiles, verify};

use model::{Dice, Model};
use world::World;

const LIVES: u64 = 4;
const OPERATIONS: u64 = 25;

#[test]
fn acknowledged_operations_survive_power_failures() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, seeds) = (number("ANNALS_TEST_SEED", 0), number("ANNALS_TEST_SEEDS", 200));
    let (mut done, mut open) = (0, 0);
    for seed in first..first + seeds {
        // Shown when the test fails.
        println!("seed {seed}");
        let (acknowledged, left_open) = block_on(live(seed));
        done += acknowledged;
        open += left_open;
    }
    println!("{seeds} seeds: {done} operations acknowledged, {open} open at a power failure");
    println!("figure: seeds={seeds}");
    println!("figure: operations acknowledged={done}");
    println!("figure: open at a power failure={open}");
    assert!(open > seeds / 2, "power failed in the middle of operations");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Several lives on the same files. Returns how many operations were acknowledged, and how many left open.
async fn live(seed: u64) -> (u64, u64) {
    let (mut dice, mut model) = (Dice(seed), Model::default());
    let mut files = FaultFiles::new();
    for life in 0..LIVES {
        let mut world = World::open(&files);
        model.begin_life(&world).await;
        if dice.below(4) > 0 {
            files.stop_after(files.operations() + dice.below(60));
        }
        for _ in 0..OPERATIONS {
            if !model.operate(&world, &mut dice).await {
                break;
            }
        }
        model.leave_in_flight(&world, &mut dice).await;
        let end = dice.below(4);
        println!("end of life {life}: {end} {:?}", annals_journal::Files::list(&files));
        let after = match end {
            0 => files.crash_keeping_only_synced(),
            1 => files.kill(),
            _ => files.crash(seed * LIVES + life),
        };
        world.stop().await;
        check_files(&after);
        files = after;
    }
    let mut world = World::open(&files);
    model.begin_life(&world).await;
    assert!(world.broker.damage().iter().all(|damage| !damage.data_lost), "{:?}", world.broker.damage());
    world.stop().await;
    (model.acknowledged, model.left_open)
}

/// What a power failure leaves behind is no damage.
fn check_files(files: &FaultFiles) {
    let report = verify(files, |_, _| {}).unwrap();
    println!("found {:?}, {:?}, {:?}", report.segments, report.cut, report.logs);
    // An index that was being written is built again.
    assert!(report.damage.iter().all(|damage| !damage.data_lost), "{:?}", report.damage);
}

#[tokio::test]
async fn a_failed_sync_refuses_writes_and_leaves_reads() {
    let files = FaultFiles::new();
    let world = World::open(&files);
    world.create("orders", 1, &[]).await.unwrap();
    let producer = world.producer().await.unwrap();
    assert_eq!(world.produce("orders", 0, Some((producer, 0)), &["kept"]).await, Ok(0));
    files.wait_for_spare();
    files.fail_syncs(true);
    for _ in 0..3 {
        let refused = world.produce("orders", 0, Some((producer, 1)), &["lost"]).await;
        assert!(matches!(refused, Err(ProduceError::Unavailable(_))), "{refused:?}");
    }
    let reason = world.broker.stopped().unwrap();
    assert!(reason.contains("injected sync failure"), "{reason}");
    assert_eq!(world.values("orders", 0).await, ["kept"]);
    assert!(world.create("more", 1, &[]).await.is_err());
    assert!(world.commit("group", "orders", 0, 1).await.is_err());
    // Syncs work again, but the journal does not believe it: what it had written may be gone.
    files.fail_syncs(false);
    let refused = world.produce("orders", 0, Some((producer, 1)), &["lost"]).await;
    assert!(matches!(refused, Err(ProduceError::Unavailable(_))), "{refused:?}");
    let world = World::open(&files.crash_keeping_only_synced());
    assert_eq!(world.values("orders", 0).await, ["kept"]);
    assert_eq!(world.produce("orders", 0, Some((producer, 1)), &["again"]).await, Ok(1));
}
