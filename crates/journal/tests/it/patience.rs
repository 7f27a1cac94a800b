//! Groups that need not be on disk at once, and groups that may wait for others.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use annals_clock::Clock;
use annals_journal::{
    Durability, EntryHeader, FaultFiles, Files, Group, Idle, Journal, LogId, Machine, Observer, Options,
    Payload, Purpose, Sequence, Ticket,
};

use crate::rewrite::eventually;
use crate::world::{append, block_on, one, open_with, payload, read_all, small, start};

/// Long enough for a test to fail if anything waits for it.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn asynchronous_groups_are_synced_within_the_interval() {
    let files = FaultFiles::new();
    let options =
        Options { durability: Durability::Async, async_interval: Duration::from_millis(30), ..small() };
    let journal = open_with(&files, options).start(Arc::new(Idle)).unwrap();
    append(&journal, one(1, 0, 100)).unwrap();
    eventually("synced", || !read_all(&start(&files.crash_keeping_only_synced()), 1).is_empty());
    // A group may ask for more than the journal's own durability.
    let mut group = Group::new().with_durability(Durability::Sync);
    group.push(LogId(1), 1, 1, 0, payload(LogId(1), 1, 100));
    append(&journal, group).unwrap();
    assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0, 1]);
}

#[test]
fn what_asynchronous_groups_replace_stays_until_they_are_on_disk() {
    let options = Options { durability: Durability::Async, async_interval: NEVER, ..small() };
    let files = FaultFiles::new();
    let journal = open_with(&files, options.clone()).start(Arc::new(Idle)).unwrap();
    for offset in 0..40 {
        append(&journal, one(1, offset, 40_000)).unwrap();
    }
    let segments = || files.list().unwrap().into_iter().filter(|name| name.ends_with(".segment")).count();
    eventually("there are sealed segments", || segments() > 2);
    let mut trim = Group::new();
    trim.trim(LogId(1), 40);
    append(&journal, trim).unwrap();
    eventually("the dead segments are gone", || segments() <= 2);
    // The power fails before the next sync would be due: where the entries are gone, the trim is there.
    let journal = open_with(&files.crash_keeping_only_synced(), options).start(Arc::new(Idle)).unwrap();
    let facts = journal.log(LogId(1)).expect("the trim is there");
    assert_eq!(facts.offsets, 40..40);
}

#[test]
fn settling_makes_asynchronous_groups_durable() {
    let files = FaultFiles::new();
    let options = Options { async_interval: NEVER, ..small() };
    let journal = open_with(&files, options.clone()).start(Arc::new(Idle)).unwrap();
    append(&journal, one(1, 0, 100).with_durability(Durability::Async)).unwrap();
    assert!(read_all(&start(&files.crash_keeping_only_synced()), 1).is_empty());
    block_on(journal.settle()).unwrap();
    assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0]);
    journal.stop("a test");
    block_on(journal.settle()).expect("nothing is left to do");

    // Where that is the promise anyway, nobody waits.
    let files = FaultFiles::new();
    let options = Options { durability: Durability::Async, ..options };
    let journal = open_with(&files, options).start(Arc::new(Idle)).unwrap();
    append(&journal, one(1, 0, 100)).unwrap();
    files.fail_syncs(true);
    block_on(journal.settle()).unwrap();
    files.fail_syncs(false);
}

/// Holds what is applied until it may go on.
struct Gate {
    entered: SyncSender<()>,
    may_go: Mutex<Receiver<()>>,
}

impl Machine for Gate {
    fn apply(&self, _: &EntryHeader, _: &Payload, _: Sequence) {
        self.entered.send(()).unwrap();
        self.may_go.lock().unwrap().recv().unwrap();
    }

    fn summary(&self, _: LogId) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn settling_includes_what_is_being_applied() {
    let files = FaultFiles::new();
    let options = Options { async_interval: NEVER, ..small() };
    let ((entered, has_entered), (go, may_go)) = (sync_channel(1), sync_channel(1));
    let gate = Gate { entered, may_go: Mutex::new(may_go) };
    let journal = open_with(&files, options).start(Arc::new(gate)).unwrap();
    let permit = block_on(journal.admit(4096, Purpose::Data)).unwrap();
    let ticket = journal.submit(permit, one(1, 0, 100).with_durability(Durability::Async));
    has_entered.recv().unwrap();
    std::thread::scope(|scope| {
        // Whoever sees what it says may ask, before it is acknowledged.
        let settled = scope.spawn(|| block_on(journal.settle()));
        std::thread::sleep(Duration::from_millis(30));
        go.send(()).unwrap();
        settled.join().unwrap().unwrap();
    });
    assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0]);
    ticket.wait().unwrap();
}

fn submit(journal: &Journal, offset: u64, linger: Duration) -> Ticket {
    let permit = block_on(journal.admit(4096, Purpose::Data)).unwrap();
    journal.submit(permit, one(1, offset, 100).with_linger(linger))
}

/// Submits a group that lingers for ever, and sees that it does.
fn linger(journal: &Journal, offset: u64) -> Ticket {
    let mut ticket = submit(journal, offset, NEVER);
    std::thread::sleep(Duration::from_millis(30));
    let state = Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop()));
    assert!(state.is_pending(), "it was written at once");
    ticket
}

#[test]
fn a_group_that_lingers_is_written_with_the_next_that_does_not() {
    let files = FaultFiles::new();
    let journal = start(&files);
    let first = linger(&journal, 0);
    let second = linger(&journal, 1);
    append(&journal, one(2, 0, 100)).unwrap();
    assert_eq!((first.wait().unwrap().0 + 1, second.wait().unwrap().0 + 1), (2, 3));
    assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0, 1]);
}

#[test]
fn a_group_that_lingers_alone_is_written_when_its_time_is_over() {
    let files = FaultFiles::new();
    submit(&start(&files), 0, Duration::from_millis(60)).wait().unwrap();
    assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0]);
}

#[test]
fn a_group_that_lingers_alone_is_written_when_somebody_is_in_a_hurry() {
    for hurry in [Journal::hurry, Journal::roll, Journal::close] {
        let files = FaultFiles::new();
        let journal = start(&files);
        let ticket = linger(&journal, 0);
        hurry(&journal);
        ticket.wait().unwrap();
        assert_eq!(read_all(&start(&files.crash_keeping_only_synced()), 1), [0]);
    }
}

#[test]
fn a_group_that_lingers_is_given_back_when_the_journal_stops() {
    let journal = start(&FaultFiles::new());
    let ticket = linger(&journal, 0);
    journal.stop("a test");
    assert!(ticket.wait().is_err());
}

/// Counts the syncs that carried groups.
#[derive(Default)]
struct Syncs(AtomicUsize);

impl Observer for Syncs {
    fn synced(&self, _took: Duration, _bytes: usize, groups: usize) {
        self.0.fetch_add(usize::from(groups > 0), Ordering::Relaxed);
    }
}

/// How many syncs it takes on a slow disk until each client has made its appends, one after the other.
fn syncs_of(clients: u64, appends: u64) -> u64 {
    let (files, syncs) = (FaultFiles::new(), Arc::new(Syncs::default()));
    let opened =
        Journal::open(small(), Arc::new(files.clone()), Clock::system(), Arc::clone(&syncs) as _).unwrap();
    let journal = opened.start(Arc::new(Idle)).unwrap();
    files.delay_syncs(Duration::from_millis(40));
    std::thread::scope(|scope| {
        for client in 0..clients {
            let journal = &journal;
            scope.spawn(move || {
                for offset in 0..appends {
                    append(journal, one(client, offset, 100)).unwrap();
                }
            });
        }
    });
    syncs.0.load(Ordering::Relaxed) as u64
}

#[test]
fn on_a_slow_disk_clients_that_wait_for_each_append_share_every_sync() {
    const APPENDS: u64 = 12;
    // In two camps it would be twice as many as appends of one client, every time. Where processors are busy, some may come late.
    let mut found = Vec::new();
    while found.last().is_none_or(|&syncs| syncs >= APPENDS * 3 / 2) {
        assert!(found.len() < 20, "{found:?} syncs for {APPENDS} appends of each client");
        found.push(syncs_of(16, APPENDS));
    }
}
