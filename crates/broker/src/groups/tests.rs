//! Groups over a journal in memory: what members and operators see, restarts, crashes, a disk that fails.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::Clock;
use annals_journal::{FaultFiles, Files};
use annals_topics::batch::{BatchBuilder, BatchOptions, NewRecord, Producer};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::QUEUED_BYTES_MAX;
use crate::api::Caller;
use crate::api::groups::{
    DeleteGroupError, GroupState, Heartbeat, JoinError, JoinGroup, Joined, LeavingMember, MemberError,
    SyncGroup,
};
use crate::api::offsets::{
    CommitError, CommitOffset, CommitOffsets, DeleteOffsetError, DeleteOffsetsError, FetchOffsets,
    GroupMember, PartitionOffsetError,
};
use crate::api::produce::{Acks, ProducePartition, ProduceRequest};
use crate::api::topics::{CreateTopics, NewTopic, TopicRef};
use crate::{Broker, Options, ProduceTicket};

/// A batch of `count` records with this timestamp.
pub(crate) fn batch(count: usize, timestamp_ms: i64, options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for _ in 0..count {
        builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::at(timestamp_ms) }).unwrap();
    }
    builder.build().unwrap().encode()
}

/// A broker that runs over files in memory.
pub(crate) struct World {
    pub(crate) files: FaultFiles,
    pub(crate) broker: Broker,
    pub(crate) caller: Caller,
    tasks: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl World {
    pub(crate) fn open(files: &FaultFiles) -> Self {
        let mut options = Options::default();
        options.groups.initial_rebalance_delay = Duration::from_millis(1);
        let journal = annals_journal::Options {
            segment_bytes: 1 << 20,
            tail_cache_bytes: 1 << 20,
            ..annals_journal::Options::default()
        };
        let broker =
            Broker::open(options, journal, Arc::new(files.clone()) as Arc<dyn Files>, Clock::system());
        let broker = broker.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        let running = broker.clone();
        tasks.spawn(async move {
            running
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self { files: files.clone(), broker, caller: Caller::internal(), tasks, stop: Some(stop) }
    }

    pub(crate) fn new() -> Self {
        Self::open(&FaultFiles::new())
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        while self.tasks.join_next().await.is_some() {}
    }

    pub(crate) async fn reopen(mut self) -> Self {
        self.stop().await;
        self.broker.close();
        Self::open(&self.files)
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic { name: topic.into(), partitions: Some(partitions), configs: Vec::new() };
        let request =
            CreateTopics { topics: vec![topic], validate_only: false, timeout: Duration::from_secs(5) };
        for created in self.broker.create_topics(&self.caller, request).await {
            created.unwrap();
        }
    }

    /// Appends a batch of `count` records with this timestamp.
    pub(crate) async fn produce(&self, topic: &str, partition: i32, count: usize, timestamp_ms: i64) {
        let records = batch(count, timestamp_ms, BatchOptions::default());
        self.send(topic, partition, records).await.durable().await.remove(0).unwrap();
    }

    /// Appends a batch of an idempotent producer, and does not wait until it is durable.
    pub(crate) async fn produce_as(
        &self,
        producer_id: i64,
        sequence: i32,
        topic: &str,
        count: usize,
    ) -> ProduceTicket {
        let producer = Some(Producer { id: producer_id, epoch: 0, base_sequence: sequence });
        let records = batch(count, 1_700_000_000_000, BatchOptions { producer, ..BatchOptions::default() });
        self.send(topic, 0, records).await
    }

    pub(crate) async fn send(&self, topic: &str, partition: i32, records: Bytes) -> ProduceTicket {
        let part = ProducePartition { topic: TopicRef::Name(topic.into()), partition, records };
        let request =
            ProduceRequest { acks: Acks::All, timeout: Duration::from_secs(5), partitions: vec![part] };
        self.broker.produce(&self.caller, request).await
    }

    async fn join(&self, group: &str, member: &str) -> Result<Joined, JoinError> {
        self.broker.join_group(&self.caller, join_request(group, member)).await
    }

    /// Joins and syncs a group of one.
    async fn join_alone(&self, group: &str, assignment: &'static [u8]) -> Joined {
        let joined = self.join(group, "").await.unwrap();
        let synced = self.broker.sync_group(&self.caller, sync_request(group, &joined, assignment)).await;
        assert_eq!(synced.unwrap().assignment, assignment);
        joined
    }

    async fn heartbeat(&self, group: &str, joined: &Joined) -> Result<(), MemberError> {
        let (generation, member_id) = (joined.generation, Arc::clone(&joined.member_id));
        let beat = Heartbeat { group: group.into(), generation, member_id, instance_id: None };
        self.broker.heartbeat(&self.caller, beat).await
    }

    pub(crate) async fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), CommitError> {
        let request = commit_request(group, None, vec![to_commit(topic, partition, offset)]);
        self.broker.commit_offsets(&self.caller, request).await.remove(0)
    }

    async fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let topics = Some(vec![(TopicRef::Name(topic.into()), vec![partition])]);
        let request = FetchOffsets { group: group.into(), member: None, topics, require_stable: true };
        let mut topics = self.broker.fetch_offsets(&self.caller, request).await.unwrap();
        let found = topics.remove(0).partitions.remove(0);
        found.result.unwrap().map(|committed| committed.offset)
    }

    async fn all_committed(&self, group: &str) -> Vec<(String, i32, i64)> {
        let request = FetchOffsets { group: group.into(), member: None, topics: None, require_stable: false };
        let topics = self.broker.fetch_offsets(&self.caller, request).await.unwrap();
        let mut all = Vec::new();
        for topic in topics {
            let TopicRef::Name(name) = &topic.topic else { panic!("asked for by name: {topic:?}") };
            for partition in topic.partitions {
                all.push((name.to_string(), partition.partition, partition.result.unwrap().unwrap().offset));
            }
        }
        all
    }

    fn waiting(&self) -> usize {
        self.broker.inner.groups.lock().waiting.len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

fn join_request(group: &str, member: &str) -> JoinGroup {
    JoinGroup {
        group: group.into(),
        member_id: member.into(),
        instance_id: None,
        require_known_member_id: false,
        supports_skipping_assignment: true,
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"wants"))],
        reason: None,
    }
}

fn sync_request(group: &str, joined: &Joined, assignment: &'static [u8]) -> SyncGroup {
    SyncGroup {
        group: group.into(),
        generation: joined.generation,
        member_id: Arc::clone(&joined.member_id),
        instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments: vec![(Arc::clone(&joined.member_id), Bytes::from_static(assignment))],
    }
}

fn to_commit(topic: &str, partition: i32, offset: i64) -> CommitOffset {
    let topic = TopicRef::Name(topic.into());
    CommitOffset {
        topic,
        partition,
        offset,
        leader_epoch: Some(0),
        metadata: "note".into(),
        expires_at_ms: None,
    }
}

fn commit_request(group: &str, member: Option<GroupMember>, offsets: Vec<CommitOffset>) -> CommitOffsets {
    CommitOffsets { group: group.into(), member, offsets }
}

fn member_of(joined: &Joined, generation: i32) -> Option<GroupMember> {
    Some(GroupMember { generation, member_id: Arc::clone(&joined.member_id), instance_id: None })
}

#[tokio::test]
async fn members_and_commits_survive_a_restart() {
    let world = World::new();
    world.create("orders", 2).await;
    let joined = world.join_alone("billing", b"all of it").await;
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (1, &joined.member_id, 1));
    let offsets = vec![to_commit("orders", 1, 41), to_commit("orders", 0, 7)];
    let request = commit_request("billing", member_of(&joined, 1), offsets);
    assert_eq!(world.broker.commit_offsets(&world.caller, request).await, [Ok(()), Ok(())]);

    let world = world.reopen().await;
    assert_eq!(world.all_committed("billing").await, [("orders".into(), 0, 7), ("orders".into(), 1, 41)]);
    assert_eq!(world.heartbeat("billing", &joined).await, Ok(()), "the generation goes on");
    let described =
        world.broker.describe_groups(&world.caller, vec!["billing".into()]).await.remove(0).unwrap();
    assert_eq!((described.state, &*described.protocol), (GroupState::Stable, "range"));
    let member = &described.members[0];
    assert_eq!((&member.member_id, &*member.assignment), (&joined.member_id, &b"all of it"[..]));
    assert_eq!(&*member.client_host, "/127.0.0.1");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_failure() {
    let world = World::new();
    world.create("orders", 1).await;
    for offset in 1..=20 {
        world.commit("billing", "orders", 0, offset).await.unwrap();
    }
    let after = World::open(&world.files.crash_keeping_only_synced());
    assert_eq!(after.committed("billing", "orders", 0).await, Some(20));
}

#[tokio::test]
async fn a_second_member_makes_the_first_join_again() {
    let world = World::new();
    let first = world.join_alone("billing", b"all").await;
    let second = world.join("billing", "");
    let again = async {
        while world.heartbeat("billing", &first).await != Err(MemberError::RebalanceInProgress) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.join("billing", &first.member_id).await
    };
    let (second, again) = tokio::join!(second, again);
    let (second, again) = (second.unwrap(), again.unwrap());
    assert_eq!((second.generation, again.generation), (2, 2));
    assert_eq!(again.members.len() + second.members.len(), 2, "the leader alone learns who the members are");
    let left = LeavingMember { member_id: second.member_id, instance_id: None, reason: Some("done".into()) };
    let stranger = LeavingMember { member_id: "stranger".into(), instance_id: None, reason: None };
    let left = world.broker.leave_group(&world.caller, "billing".into(), vec![left, stranger]).await;
    assert_eq!(left, Ok(vec![Ok(()), Err(MemberError::UnknownMember("stranger".into()))]));
    assert!(world.broker.inner.groups.rebalances.get() >= 2);
}

#[tokio::test]
async fn errors_name_what_is_wrong() {
    let world = World::new();
    world.create("orders", 1).await;
    let short = JoinGroup { session_timeout: Duration::from_millis(1), ..join_request("billing", "") };
    let refused = world.broker.join_group(&world.caller, short).await;
    assert_eq!(refused, Err(JoinError::InvalidSessionTimeout(Duration::from_millis(1))));
    assert_eq!(world.join("", "").await, Err(JoinError::InvalidGroup("".into())));
    let known = JoinGroup { require_known_member_id: true, ..join_request("billing", "") };
    let refused = world.broker.join_group(&world.caller, known).await;
    assert!(matches!(refused, Err(JoinError::MemberIdRequired(_))), "{refused:?}");

    let joined = world.join_alone("billing", b"all").await;
    let stale = Joined { generation: 9, ..joined.clone() };
    assert_eq!(world.heartbeat("billing", &stale).await, Err(MemberError::IllegalGeneration(9)));
    let nobody = Joined { member_id: "nobody".into(), ..joined.clone() };
    assert_eq!(world.heartbeat("billing", &nobody).await, Err(MemberError::UnknownMember("nobody".into())));
    let request = commit_request("billing", member_of(&joined, 9), vec![to_commit("orders", 0, 1)]);
    let refused = world.broker.commit_offsets(&world.caller, request).await;
    assert_eq!(
        refused,
        [Err(CommitError::IllegalGeneration { group: "billing".into(), current: 1, got: 9 })]
    );
}

#[tokio::test]
async fn each_offset_of_a_commit_has_its_own_outcome() {
    let world = World::new();
    world.create("orders", 1).await;
    world.create("bills", 1).await;
    let long = CommitOffset { metadata: "x".repeat(5000), ..to_commit("orders", 0, 1) };
    let by_id = CommitOffset { topic: TopicRef::Id(annals_clock::Uuid::from_u128(9)), ..to_commit("", 0, 1) };
    let offsets = vec![
        to_commit("bills", 0, 3),
        long,
        to_commit("orders", 0, 2),
        to_commit("orders", 1, 1),
        by_id,
        to_commit("no", 0, 1),
    ];
    let request = commit_request("billing", None, offsets);
    let results = world.broker.commit_offsets(&world.caller, request).await;
    let unknown =
        |topic: &str, partition| Err(CommitError::UnknownPartition { topic: topic.into(), partition });
    let expected = [
        Ok(()),
        Err(CommitError::MetadataTooLarge { size_bytes: 5000, size_bytes_max: 4096 }),
        Ok(()),
        unknown("orders", 1),
        Err(CommitError::UnknownTopicId(annals_clock::Uuid::from_u128(9))),
        unknown("no", 0),
    ];
    assert_eq!(results, expected);
    assert_eq!(world.all_committed("billing").await, [("bills".into(), 0, 3), ("orders".into(), 0, 2)]);
    assert_eq!(world.waiting(), 0);
}

#[tokio::test]
async fn offsets_are_found_by_name_and_by_id() {
    let world = World::new();
    world.create("orders", 2).await;
    world.commit("billing", "orders", 0, 5).await.unwrap();
    let id = world.broker.inner.state.table.topic(&TopicRef::Name("orders".into())).unwrap().topic.id;
    let stranger = annals_clock::Uuid::from_u128(9);
    let topics = vec![(TopicRef::Id(id), vec![1, 0]), (TopicRef::Id(stranger), vec![0])];
    let request =
        FetchOffsets { group: "billing".into(), member: None, topics: Some(topics), require_stable: false };
    let found = world.broker.fetch_offsets(&world.caller, request).await.unwrap();
    let offset = |index: usize| {
        let result = found[0].partitions[index].result.clone().unwrap();
        result.map(|committed| (committed.offset, committed.leader_epoch, committed.metadata))
    };
    assert_eq!((offset(0), offset(1)), (None, Some((5, Some(0), "note".to_owned()))));
    let refused = found[1].partitions[0].result.clone();
    assert_eq!(refused, Err(PartitionOffsetError::UnknownTopicId(stranger)));
    assert_eq!(world.committed("nobody", "orders", 0).await, None);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_place_behind() {
    let world = World::new();
    let first = world.join_alone("billing", b"all").await;
    // It waits for the first member, which does not come.
    let waits = tokio::time::timeout(Duration::from_millis(20), world.join("billing", "")).await;
    assert!(waits.is_err());
    assert_eq!(world.waiting(), 0);
    assert_eq!(world.heartbeat("billing", &first).await, Err(MemberError::RebalanceInProgress));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_share_a_sync() {
    let world = World::new();
    world.create("orders", 50).await;
    world.files.delay_syncs(Duration::from_millis(20));
    let before = world.files.operations();
    let mut commits = JoinSet::new();
    for partition in 0..50 {
        let (broker, caller) = (world.broker.clone(), world.caller.clone());
        let request = commit_request("billing", None, vec![to_commit("orders", partition, 1)]);
        commits.spawn(async move { broker.commit_offsets(&caller, request).await });
    }
    while let Some(committed) = commits.join_next().await {
        assert_eq!(committed.unwrap(), [Ok(())]);
    }
    let operations = world.files.operations() - before;
    assert!(operations < 50, "50 commits took {operations} writes and syncs");
    assert_eq!(world.all_committed("billing").await.len(), 50);
}

#[tokio::test]
async fn a_failed_sync_is_told_and_reads_go_on() {
    let world = World::new();
    world.create("orders", 1).await;
    world.commit("billing", "orders", 0, 5).await.unwrap();
    world.files.wait_for_spare();
    world.files.fail_syncs(true);
    let refused = world.commit("billing", "orders", 0, 6).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    let joined = world.join("other", "").await.unwrap();
    let refused = world.broker.sync_group(&world.caller, sync_request("other", &joined, b"all")).await;
    let Err(MemberError::Unavailable(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("sync"), "the reason is told: {reason}");
    assert_eq!(world.committed("billing", "orders", 0).await, Some(5), "what is not durable is not told");
}

#[tokio::test]
async fn groups_and_offsets_are_deleted_for_good() {
    let world = World::new();
    world.create("orders", 2).await;
    world.commit("batch", "orders", 0, 5).await.unwrap();
    world.commit("batch", "orders", 1, 6).await.unwrap();
    let joined = world.join_alone("billing", b"all").await;
    let names = |world: &World| {
        let (broker, caller) = (world.broker.clone(), world.caller.clone());
        async move {
            let groups = broker.list_groups(&caller).await;
            groups.into_iter().map(|group| (group.group.to_string(), group.state)).collect::<Vec<_>>()
        }
    };
    let expected = [("batch".to_owned(), GroupState::Empty), ("billing".to_owned(), GroupState::Stable)];
    assert_eq!(names(&world).await, expected);

    let partitions = vec![("orders".into(), 1), ("orders".into(), 7)];
    let deleted = world.broker.delete_offsets(&world.caller, "batch".into(), partitions).await.unwrap();
    let unknown = DeleteOffsetError::UnknownPartition { topic: "orders".into(), partition: 7 };
    assert_eq!(deleted, [Ok(()), Err(unknown)]);
    assert_eq!(world.all_committed("batch").await, [("orders".into(), 0, 5)]);
    let refused = world.broker.delete_offsets(&world.caller, "no".into(), vec![("orders".into(), 0)]).await;
    assert_eq!(refused, Err(DeleteOffsetsError::UnknownGroup("no".into())));

    let groups = ["no", "batch", "billing"].map(Arc::from).to_vec();
    let deleted = world.broker.delete_groups(&world.caller, groups).await;
    let expected = [
        Err(DeleteGroupError::UnknownGroup("no".into())),
        Ok(()),
        Err(DeleteGroupError::NotEmpty("billing".into())),
    ];
    assert_eq!(deleted, expected);
    let world = world.reopen().await;
    assert_eq!(names(&world).await, [("billing".to_owned(), GroupState::Stable)]);
    assert_eq!(world.heartbeat("billing", &joined).await, Ok(()));
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_with_it() {
    let world = World::new();
    world.create("orders", 1).await;
    world.create("bills", 1).await;
    world.commit("billing", "orders", 0, 5).await.unwrap();
    world.commit("billing", "bills", 0, 6).await.unwrap();
    let topic = TopicRef::Name("orders".into());
    world.broker.delete_topics(&world.caller, vec![topic]).await.remove(0).unwrap();
    world.create("orders", 1).await;
    assert_eq!(world.committed("billing", "orders", 0).await, None, "the new topic has no offsets");
    let world = world.reopen().await;
    assert_eq!(world.all_committed("billing").await, [("bills".into(), 0, 6)]);
    let stored: Vec<_> = world
        .broker
        .inner
        .groups
        .look(|groups| groups.offsets().group("billing").map(|offset| offset.topic.to_owned()).collect());
    assert_eq!(stored, ["bills"]);
}

#[tokio::test]
async fn offsets_of_topics_that_went_unnoticed_are_forgotten() {
    let world = World::new();
    world.create("orders", 1).await;
    world.commit("billing", "orders", 0, 5).await.unwrap();
    let stored = |world: &World| world.broker.inner.groups.look(|groups| groups.offsets().len());
    assert_eq!(stored(&world), 1);
    world.broker.inner.groups.forget_missing_topics(&crate::table::Table::default());
    while stored(&world) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let world = world.reopen().await;
    assert_eq!(stored(&world), 0);
}

#[tokio::test]
async fn offsets_of_a_subscribed_topic_stay() {
    let world = World::new();
    world.create("orders", 1).await;
    world.create("bills", 1).await;
    // ConsumerProtocolSubscription version 0: the topics ["orders"], no user data.
    let wants = Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff");
    let request = JoinGroup { protocols: vec![("range".into(), wants)], ..join_request("billing", "") };
    let joined = world.broker.join_group(&world.caller, request).await.unwrap();
    world.broker.sync_group(&world.caller, sync_request("billing", &joined, b"all")).await.unwrap();
    let partitions = vec![("orders".into(), 0), ("bills".into(), 0)];
    let deleted = world.broker.delete_offsets(&world.caller, "billing".into(), partitions).await;
    assert_eq!(deleted, Ok(vec![Err(DeleteOffsetError::Subscribed("orders".into())), Ok(())]));
}

#[tokio::test]
async fn nobody_waits_for_a_broker_that_stops() {
    let mut world = World::new();
    let _first = world.join_alone("billing", b"all").await;
    let (broker, caller) = (world.broker.clone(), world.caller.clone());
    let mut second = JoinSet::new();
    second.spawn(async move { broker.join_group(&caller, join_request("billing", "")).await });
    while world.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
    let refused = second.join_next().await.unwrap().unwrap();
    assert_eq!(refused, Err(JoinError::Unavailable("the server is shutting down".into())));
    let refused = world.join("billing", "").await;
    assert_eq!(refused, Err(JoinError::Unavailable("the server is shutting down".into())));
    let refused = world.commit("billing", "orders", 0, 1).await;
    assert_eq!(refused, Err(CommitError::Unavailable("the server is shutting down".into())));
}

#[tokio::test]
async fn a_stalled_disk_makes_commits_fail_and_members_stay() {
    let world = World::new();
    world.create("orders", 1).await;
    let joined = world.join_alone("billing", b"all").await;
    world.broker.inner.groups.lock().queued_bytes = QUEUED_BYTES_MAX + 1;
    let refused = world.commit("other", "orders", 0, 1).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert_eq!(world.heartbeat("billing", &joined).await, Ok(()));
    world.broker.inner.groups.lock().queued_bytes = 0;
    assert_eq!(world.commit("other", "orders", 0, 1).await, Ok(()));
}

#[tokio::test]
async fn a_silent_member_is_removed_when_its_session_ends() {
    let files = FaultFiles::new();
    let (clock, hand) = Clock::manual(1_700_000_000_000, 7);
    let journal = annals_journal::Options { segment_bytes: 1 << 20, ..Default::default() };
    let broker = Broker::open(Options::default(), journal, Arc::new(files), clock).unwrap();
    let mut tasks = JoinSet::new();
    let running = broker.clone();
    tasks.spawn(async move { running.run(std::future::pending()).await });
    let caller = Caller::internal();
    let join = broker.join_group(&caller, join_request("billing", ""));
    // The clock stands still: the first generation's delay passes when its hand is moved.
    let moved = async {
        while broker.inner.groups.look(|groups| groups.list().count()) == 0 {
            tokio::task::yield_now().await;
        }
        hand.advance(Duration::from_secs(1));
    };
    let (joined, ()) = tokio::join!(join, moved);
    let joined = joined.unwrap();
    broker.sync_group(&caller, sync_request("billing", &joined, b"all")).await.unwrap();
    hand.advance(Duration::from_secs(60));
    // The task sleeps by the real clock; a request's deadline wakes it.
    broker.inner.groups.earlier.notify_one();
    loop {
        let described = broker.describe_groups(&caller, vec!["billing".into()]).await;
        match &described[0] {
            Ok(group) if group.state == GroupState::Stable => tokio::task::yield_now().await,
            _ => break,
        }
    }
    let beat = Heartbeat {
        group: "billing".into(),
        generation: joined.generation,
        member_id: Arc::clone(&joined.member_id),
        instance_id: None,
    };
    let refused = broker.heartbeat(&caller, beat).await;
    assert_eq!(refused, Err(MemberError::UnknownMember(joined.member_id)));
    tasks.abort_all();
}
