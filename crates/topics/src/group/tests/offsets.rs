//! Committed offsets: fencing, limits, deletion and retention.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{GROUP, World, caller, request, static_request};
use crate::group::{
    Caller, CommitError, CommitRequest, DeleteOffsetsError, GroupSubscribedToTopic, JoinRequest, Joined,
    Options, Response, State, TopicOffsetsDeleted, Waiter, WriteError,
};
use crate::offsets::{PartitionCommit, PartitionCommitError, TopicCommit, TopicCommitted};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn nobody() -> Caller<'static> {
    Caller { group_id: GROUP, generation: -1, member_id: "", instance_id: None }
}

fn topic(name: &str, partition: i32, offset: i64) -> TopicCommit {
    let partitions = vec![PartitionCommit { partition, offset, leader_epoch: 3, metadata: "note".into() }];
    TopicCommit { topic: name.into(), topic_id: None, partitions }
}

impl World {
    fn send_commit(&mut self, request: &CommitRequest<'_>) -> Waiter {
        let waiter = self.waiter();
        let output = self.groups.commit(request, waiter, self.now());
        self.take(output);
        waiter
    }

    fn commit_answer(&mut self, waiter: Waiter) -> Option<Result<Vec<TopicCommitted>, CommitError>> {
        self.answers.remove(&waiter).map(|response| match response {
            Response::Commit(result) => result,
            other => panic!("{other:?} is no answer to a commit"),
        })
    }

    fn commit(
        &mut self,
        caller: Caller<'_>,
        commit: TopicCommit,
    ) -> Result<Vec<TopicCommitted>, CommitError> {
        let waiter = self.send_commit(&CommitRequest { caller, retention: None, topics: vec![commit] });
        self.commit_answer(waiter).unwrap()
    }

    fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        self.groups.fetch(GROUP, topic, None, partition).unwrap().map(|committed| committed.offset)
    }

    fn delete_offsets(&mut self, topic: &str) -> Result<Vec<TopicOffsetsDeleted>, DeleteOffsetsError> {
        let waiter = self.waiter();
        let output = self.groups.delete_offsets(GROUP, &[(topic.into(), vec![0, 1])], waiter);
        self.take(output);
        match self.answers.remove(&waiter) {
            Some(Response::DeleteOffsets(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn keep_alive(&mut self, joined: &Joined, span: Duration) {
        for _ in 0..span.as_secs() / 600 {
            // Every ten minutes instead of every few seconds: the session timeout is half an hour.
            self.advance_secs(600);
            self.heartbeat(joined).unwrap();
        }
    }

    fn lasting_member(&mut self) -> Joined {
        let joined =
            self.join(&JoinRequest { session_timeout: Duration::from_secs(1800), ..request("") }).unwrap();
        self.sync(&joined, &[]).unwrap();
        joined
    }
}

#[test]
fn a_consumer_in_no_group_commits_and_finds_it_again() {
    let mut world = World::new();
    let outcome = world.commit(nobody(), topic("t", 2, 41)).unwrap();
    assert_eq!(outcome[0].partitions, [(2, Ok(()))]);
    let found = world.groups.fetch(GROUP, "t", None, 2).unwrap().unwrap();
    assert_eq!((found.offset, found.leader_epoch, found.metadata.as_ref()), (41, Some(3), "note"));
    assert_eq!(world.committed("t", 0), None);
    let listed: Vec<_> =
        world.groups.list().map(|group| (group.group_id, group.protocol_type, group.state)).collect();
    assert_eq!(listed, [(GROUP, "", State::Empty)]);
    world.restart();
    assert_eq!((world.committed("t", 2), world.state()), (Some(41), State::Empty));
}

#[test]
fn a_commit_is_seen_and_answered_when_it_is_durable() {
    let mut world = World::new();
    world.is_slow = true;
    let waiter = world.send_commit(&CommitRequest {
        caller: nobody(),
        retention: None,
        topics: vec![topic("t", 0, 5)],
    });
    assert_eq!((world.commit_answer(waiter), world.committed("t", 0)), (None, None));
    world.write_one();
    assert!(world.commit_answer(waiter).unwrap().is_ok());
    assert_eq!(world.committed("t", 0), Some(5));
    world.fails = Some(WriteError::TooLarge);
    world.is_slow = false;
    assert_eq!(world.commit(nobody(), topic("t", 0, 6)), Err(CommitError::NotStored(WriteError::TooLarge)));
    assert_eq!(world.committed("t", 0), Some(5));
}

#[test]
fn members_commit_in_their_generation_only() {
    let mut world = World::new();
    let joined = world.one_member();
    assert!(world.commit(caller(&joined), topic("t", 0, 1)).is_ok());
    assert_eq!(world.commit(nobody(), topic("t", 0, 9)), Err(CommitError::UnknownMember));
    let old = Caller { generation: 0, ..caller(&joined) };
    assert_eq!(world.commit(old, topic("t", 0, 9)), Err(CommitError::IllegalGeneration));
    let stranger = Caller { member_id: "x", ..caller(&joined) };
    assert_eq!(world.commit(stranger, topic("t", 0, 9)), Err(CommitError::UnknownMember));
    let elsewhere = Caller { group_id: "other", ..caller(&joined) };
    assert_eq!(world.commit(elsewhere, topic("t", 0, 9)), Err(CommitError::GroupIdNotFound));
    assert_eq!(world.committed("t", 0), Some(1));
}

#[test]
fn a_commit_is_taken_while_members_join_but_not_while_the_leader_assigns() {
    let mut world = World::new();
    let joined = world.one_member();
    world.send_join(&request(""));
    assert_eq!(world.state(), State::PreparingRebalance);
    assert!(
        world.commit(caller(&joined), topic("t", 0, 1)).is_ok(),
        "what was read may be saved before it moves"
    );
    let again = world.join(&request(&joined.member_id)).unwrap();
    assert_eq!(world.commit(caller(&again), topic("t", 0, 2)), Err(CommitError::RebalanceInProgress));
}

#[test]
fn a_fenced_static_member_cannot_commit() {
    let mut world = World::new();
    let old = world.join(&static_request("", "i")).unwrap();
    world.sync(&old, &[]).unwrap();
    world.join(&static_request("", "i")).unwrap();
    let old = Caller { instance_id: Some("i"), ..caller(&old) };
    assert_eq!(world.commit(old, topic("t", 0, 1)), Err(CommitError::FencedInstanceId));
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let mut world = World::new();
    let joined = world.one_member();
    for offset in 0..5 {
        world.advance_secs(9);
        assert!(world.commit(caller(&joined), topic("t", 0, offset)).is_ok());
    }
}

#[test]
fn metadata_has_a_limit_for_each_partition() {
    let mut world = World::new();
    let sized = |partition, length: usize| PartitionCommit {
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: "x".repeat(length).into(),
    };
    let commit =
        TopicCommit { topic: "t".into(), topic_id: None, partitions: vec![sized(0, 4096), sized(1, 4097)] };
    let outcome = world.commit(nobody(), commit).unwrap();
    let too_large = PartitionCommitError::MetadataTooLarge { length: 4097, limit: 4096 };
    assert_eq!(outcome[0].partitions, [(0, Ok(())), (1, Err(too_large))]);
    assert_eq!((world.committed("t", 0), world.committed("t", 1)), (Some(1), None));
}

#[test]
fn a_commit_for_a_topic_made_anew_drops_the_offsets_of_the_old_one() {
    let mut world = World::new();
    let id = |id, commit| TopicCommit { topic_id: Some(Uuid::from_u128(id)), ..commit };
    world.commit(nobody(), id(1, topic("t", 0, 10))).unwrap();
    world.commit(nobody(), id(1, topic("t", 1, 11))).unwrap();
    world.commit(nobody(), id(2, topic("t", 0, 3))).unwrap();
    assert_eq!((world.committed("t", 0), world.committed("t", 1)), (Some(3), None));
    world.restart();
    assert_eq!((world.committed("t", 0), world.committed("t", 1)), (Some(3), None));
}

/// KIP-496.
#[test]
fn offsets_of_a_subscribed_topic_are_not_deleted() {
    let mut world = World::new();
    assert_eq!(world.delete_offsets("t"), Err(DeleteOffsetsError::GroupIdNotFound));
    let joined = world.one_member();
    world.commit(caller(&joined), topic("t", 0, 1)).unwrap();
    world.commit(caller(&joined), topic("u", 0, 1)).unwrap();
    let refused: TopicOffsetsDeleted = (Arc::from("t"), Err(GroupSubscribedToTopic));
    assert_eq!(world.delete_offsets("t"), Ok(vec![refused]));
    assert_eq!(world.delete_offsets("u"), Ok(vec![("u".into(), Ok(()))]));
    assert_eq!((world.committed("t", 0), world.committed("u", 0)), (Some(1), None));
    world.leave(&joined.member_id, None);
    assert_eq!(world.delete_offsets("t"), Ok(vec![("t".into(), Ok(()))]));
    assert_eq!(world.committed("t", 0), None);
}

#[test]
fn what_an_unreadable_subscription_reads_may_be_anything() {
    let mut world = World::new();
    let mut unreadable = request("");
    for protocol in &mut unreadable.protocols {
        protocol.metadata = vec![1].into();
    }
    let joined = world.join(&unreadable).unwrap();
    world.sync(&joined, &[]).unwrap();
    assert_eq!(world.delete_offsets("u"), Ok(vec![("u".into(), Err(GroupSubscribedToTopic))]));
}

#[test]
fn offsets_of_a_group_of_another_kind_need_it_to_be_empty() {
    let mut world = World::new();
    let joined = world.join(&JoinRequest { protocol_type: "connect", ..request("") }).unwrap();
    world.sync(&joined, &[]).unwrap();
    assert_eq!(world.delete_offsets("t"), Err(DeleteOffsetsError::NonEmptyGroup));
}

#[test]
fn deleting_a_group_deletes_its_offsets_even_those_on_their_way() {
    let mut world = World::new();
    world.commit(nobody(), topic("t", 0, 1)).unwrap();
    world.is_slow = true;
    world.send_commit(&CommitRequest { caller: nobody(), retention: None, topics: vec![topic("u", 7, 1)] });
    let waiter = world.waiter();
    let output = world.groups.delete_group(GROUP, waiter);
    world.take(output);
    while world.write_one() {}
    assert_eq!(world.answers.remove(&waiter), Some(Response::DeleteGroup(Ok(()))));
    assert!(world.log.is_empty() && world.groups.offsets().is_empty());
    assert_eq!(world.groups.list().count(), 0);
}

#[test]
fn a_deleted_topic_takes_all_groups_offsets_with_it() {
    let mut world = World::new();
    world.commit(nobody(), topic("t", 0, 1)).unwrap();
    world.commit(Caller { group_id: "h", ..nobody() }, topic("t", 1, 1)).unwrap();
    world.commit(nobody(), topic("u", 0, 1)).unwrap();
    let output = world.groups.topic_deleted("t");
    world.take(output);
    assert_eq!(world.groups.offsets().topics().collect::<Vec<_>>(), ["u"]);
    world.restart();
    assert_eq!((world.committed("t", 0), world.committed("u", 0)), (None, Some(1)));
}

/// KIP-211: seven days after the group has become empty, not after the commit.
#[test]
fn offsets_outlive_the_last_member_by_the_retention() {
    let mut world = World::new();
    let joined = world.lasting_member();
    world.commit(caller(&joined), topic("t", 0, 1)).unwrap();
    world.keep_alive(&joined, 8 * DAY);
    assert_eq!(world.committed("t", 0), Some(1), "a topic that is read does not expire");
    world.leave(&joined.member_id, None);
    world.advance(6 * DAY);
    world.restart();
    assert_eq!(world.committed("t", 0), Some(1));
    world.advance(DAY + Duration::from_secs(601));
    assert_eq!(world.committed("t", 0), None);
    assert_eq!(world.groups.list().count(), 0, "an empty group without offsets goes too");
    assert!(world.log.is_empty());
}

/// KIP-211.
#[test]
fn a_topic_that_nobody_reads_any_more_expires_by_its_own_age() {
    let mut world = World::new();
    let joined = world.lasting_member();
    world.commit(caller(&joined), topic("t", 0, 1)).unwrap();
    world.commit(caller(&joined), topic("unread", 0, 1)).unwrap();
    world.keep_alive(&joined, 7 * DAY + Duration::from_secs(1200));
    assert_eq!((world.committed("t", 0), world.committed("unread", 0)), (Some(1), None));
    assert_eq!(world.state(), State::Stable);
}

/// KIP-211: consumers that are in no group keep their offsets alive by committing.
#[test]
fn offsets_without_a_group_expire_by_their_own_age() {
    let mut world = World::new();
    world.commit(nobody(), topic("old", 0, 1)).unwrap();
    world.advance(4 * DAY);
    world.commit(nobody(), topic("new", 0, 1)).unwrap();
    world.advance(4 * DAY);
    assert_eq!((world.committed("old", 0), world.committed("new", 0)), (None, Some(1)));
    world.advance(4 * DAY);
    assert_eq!(world.groups.list().count(), 0);
}

#[test]
fn an_explicit_retention_counts_instead() {
    let mut world = World::new();
    let retention = Some(Duration::from_secs(3600));
    world.send_commit(&CommitRequest { caller: nobody(), retention, topics: vec![topic("t", 0, 1)] });
    world.advance_secs(3500);
    assert_eq!(world.committed("t", 0), Some(1));
    world.advance_secs(800);
    assert_eq!(world.committed("t", 0), None);
}

#[test]
fn one_tick_removes_only_so_much() {
    let options = Options { expired_per_tick_max: 1, ..Options::default() };
    let mut world = World::with(options);
    for group_id in ["a", "b", "c"] {
        world.commit(Caller { group_id, ..nobody() }, topic("t", 0, 1)).unwrap();
    }
    world.now = 7 * DAY;
    for left in [2, 1, 0] {
        let output = world.groups.tick(world.now());
        world.take(output);
        assert_eq!(world.groups.list().count(), left);
        world.now = world.groups.next_deadline().unwrap();
    }
}

#[test]
fn a_fresh_commit_on_its_way_is_not_lost_to_retention() {
    let mut world = World::new();
    world.commit(nobody(), topic("t", 0, 1)).unwrap();
    world.now = 7 * DAY;
    world.is_slow = true;
    world.send_commit(&CommitRequest { caller: nobody(), retention: None, topics: vec![topic("t", 0, 2)] });
    let output = world.groups.tick(world.now());
    world.take(output);
    while world.write_one() {}
    assert_eq!(world.committed("t", 0), Some(2));
}
