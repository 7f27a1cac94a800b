//! SyncGroup.

use std::time::Duration;

use super::{World, caller, request};
use crate::group::{HeartbeatError, State, SyncError, SyncRequest, WriteError};

#[test]
fn followers_wait_for_the_leader() {
    let mut world = World::new();
    let first = world.one_member();
    let second = world.send_join(&request(""));
    let first = world.join(&request(&first.member_id)).unwrap();
    let second = world.join_answer(second).unwrap().unwrap();
    let waiting = world.send_sync(&second, &[]);
    assert_eq!(world.sync_answer(waiting), None);
    assert_eq!(world.sync(&first, &[(&second.member_id, "b")]).unwrap(), "", "left out by itself");
    assert_eq!(world.sync_answer(waiting).unwrap().unwrap().assignment, "b");
    assert_eq!(world.state(), State::Stable);
    assert_eq!(world.sync(&second, &[]).unwrap(), "b", "asking again is harmless");
}

#[test]
fn an_assignment_is_durable_before_anybody_hears_of_it() {
    let mut world = World::new();
    let joined = world.join(&request("")).unwrap();
    world.is_slow = true;
    let waiting = world.send_sync(&joined, &[(&joined.member_id, "a")]);
    assert_eq!((world.sync_answer(waiting), world.state()), (None, State::CompletingRebalance));
    assert!(world.write_one());
    assert_eq!(world.sync_answer(waiting).unwrap().unwrap().assignment, "a");
    assert_eq!(world.state(), State::Stable);
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_the_rebalance_over() {
    let mut world = World::new();
    let joined = world.join(&request("")).unwrap();
    world.fails = Some(WriteError::Unavailable);
    let result = world.sync(&joined, &[(&joined.member_id, "a")]);
    assert_eq!(result, Err(SyncError::NotStored(WriteError::Unavailable)));
    assert_eq!(world.state(), State::PreparingRebalance);
    world.fails = None;
    let again = world.join(&request(&joined.member_id)).unwrap();
    assert_eq!(again.generation, 2);
    assert_eq!(world.sync(&again, &[(&joined.member_id, "a")]).unwrap(), "a");
}

#[test]
fn a_member_that_joins_while_the_assignment_is_stored_makes_it_void() {
    let mut world = World::new();
    let joined = world.join(&request("")).unwrap();
    world.is_slow = true;
    let waiting = world.send_sync(&joined, &[(&joined.member_id, "a")]);
    let second = world.send_join(&request(""));
    assert_eq!(world.sync_answer(waiting), Some(Err(SyncError::RebalanceInProgress)));
    assert!(world.write_one());
    assert_eq!(world.state(), State::PreparingRebalance, "a late write of an old generation changes nothing");
    assert_eq!(world.join(&request(&joined.member_id)).unwrap().generation, 2);
    assert!(world.join_answer(second).unwrap().is_ok());
}

#[test]
fn a_sync_must_come_from_a_member_of_the_generation() {
    let mut world = World::new();
    let (leader, _) = world.two_members();
    let mut wrong = leader.clone();
    wrong.generation += 1;
    assert_eq!(world.sync(&wrong, &[]), Err(SyncError::IllegalGeneration));
    wrong.member_id = "x".into();
    assert_eq!(world.sync(&wrong, &[]), Err(SyncError::UnknownMember));
    world.send_join(&request(&leader.member_id));
    assert_eq!(world.sync(&leader, &[]), Err(SyncError::RebalanceInProgress));
}

/// KIP-559.
#[test]
fn a_sync_for_another_protocol_is_refused() {
    let mut world = World::new();
    let joined = world.one_member();
    let good = SyncRequest {
        caller: caller(&joined),
        protocol_type: Some("consumer"),
        protocol: Some("range"),
        assignments: Vec::new(),
    };
    let other_type = SyncRequest { protocol_type: Some("connect"), ..good.clone() };
    let other_name = SyncRequest { protocol: Some("sticky"), ..good.clone() };
    for (request, is_good) in [(good, true), (other_type, false), (other_name, false)] {
        let waiter = world.send_sync_request(&request);
        let answer = world.sync_answer(waiter).unwrap();
        assert_eq!(answer.is_ok(), is_good, "{answer:?}");
        assert!(is_good || answer == Err(SyncError::InconsistentProtocol));
    }
}

/// Kafka since 3.0 (KAFKA-13214): a member that never syncs must not hold up the group for ever.
#[test]
fn members_that_do_not_sync_in_time_are_removed() {
    let mut world = World::new();
    let first = world.one_member();
    let second = world.send_join(&request(""));
    let first = world.join(&request(&first.member_id)).unwrap();
    let silent = world.join_answer(second).unwrap().unwrap();
    world.sync(&first, &[]).unwrap();
    for _ in 0..11 {
        world.advance_secs(5);
        world.heartbeat(&first).unwrap();
        world.heartbeat(&silent).unwrap();
    }
    world.advance_secs(5);
    assert_eq!(world.heartbeat(&silent), Err(HeartbeatError::UnknownMember));
    assert_eq!(world.heartbeat(&first), Err(HeartbeatError::RebalanceInProgress));
    let again = world.join(&request(&first.member_id)).unwrap();
    assert_eq!(again.members.len(), 1);
}

#[test]
fn a_leader_that_never_syncs_loses_its_place() {
    let mut world = World::new();
    let first = world.one_member();
    let second = world.send_join(&request(""));
    let leader = world.join(&request(&first.member_id)).unwrap();
    let follower = world.join_answer(second).unwrap().unwrap();
    let waiting = world.send_sync(&follower, &[]);
    for _ in 0..12 {
        world.advance_secs(5);
        let _ = world.heartbeat(&leader);
    }
    assert_eq!(world.sync_answer(waiting), Some(Err(SyncError::RebalanceInProgress)));
    let alone = world.join(&request(&follower.member_id)).unwrap();
    assert_eq!((&alone.leader, alone.members.len()), (&follower.member_id, 1));
    world.advance(Duration::ZERO);
}
