//! Heartbeats and session timeouts.

use std::time::Duration;

use super::{GROUP, World, caller, request, with_protocols};
use crate::group::{Caller, HeartbeatError, JoinError, JoinRequest, Options, State};

#[test]
fn heartbeats_keep_a_member() {
    let mut world = World::new();
    let joined = world.one_member();
    for _ in 0..10 {
        world.advance(Duration::from_millis(9_999));
        assert_eq!(world.heartbeat(&joined), Ok(()));
    }
    world.advance_secs(10);
    assert_eq!(world.heartbeat(&joined), Err(HeartbeatError::UnknownMember));
    assert_eq!(world.state(), State::Empty);
}

#[test]
fn a_heartbeat_must_come_from_a_member_of_the_generation() {
    let mut world = World::new();
    assert_eq!(
        world.groups.heartbeat(Caller { group_id: "", ..nobody() }, world.now()),
        Err(HeartbeatError::InvalidGroupId)
    );
    assert_eq!(world.groups.heartbeat(nobody(), world.now()), Err(HeartbeatError::UnknownMember));
    let mut joined = world.one_member();
    joined.generation = 0;
    assert_eq!(world.heartbeat(&joined), Err(HeartbeatError::IllegalGeneration));
}

fn nobody() -> Caller<'static> {
    Caller { group_id: GROUP, generation: 1, member_id: "x", instance_id: None }
}

#[test]
fn a_rebalance_is_heard_of_by_heartbeat_which_still_counts() {
    let mut world = World::new();
    let joined = world.one_member();
    world.send_join(&request(""));
    for _ in 0..5 {
        world.advance_secs(9);
        assert_eq!(world.heartbeat(&joined), Err(HeartbeatError::RebalanceInProgress));
    }
    assert_eq!(world.member_count(), 2);
}

#[test]
fn a_silent_member_makes_the_others_rebalance() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    world.advance_secs(5);
    world.heartbeat(&leader).unwrap();
    world.advance_secs(5);
    assert_eq!(world.heartbeat(&leader), Err(HeartbeatError::RebalanceInProgress));
    assert_eq!(world.heartbeat(&follower), Err(HeartbeatError::UnknownMember));
    assert_eq!(world.join(&request(&leader.member_id)).unwrap().members.len(), 1);
}

#[test]
fn a_member_that_waits_for_a_join_needs_no_heartbeat() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let waiting = world.send_join(&request(&leader.member_id));
    for _ in 0..5 {
        world.advance_secs(9);
        let _ = world.heartbeat(&follower);
    }
    assert_eq!(world.join_answer(waiting), None);
    world.join(&request(&follower.member_id)).unwrap();
    let joined = world.join_answer(waiting).unwrap().unwrap();
    assert_eq!(joined.members.len(), 2);
    world.advance_secs(9);
    assert_eq!(world.heartbeat(&joined), Ok(()), "its session began anew with the answer");
}

/// New members cannot send heartbeats while they wait, and Kafka gives up on them after five minutes.
#[test]
fn a_new_member_is_given_up_after_five_minutes() {
    let mut world = World::new();
    let slow = JoinRequest { rebalance_timeout: Duration::from_secs(3_000), ..request("") };
    let first = world.join(&slow).unwrap();
    world.sync(&first, &[]).unwrap();
    let waiting = world.send_join(&request(""));
    for _ in 0..60 {
        world.advance_secs(5);
        let _ = world.heartbeat(&first);
    }
    assert_eq!(world.join_answer(waiting), Some(Err(JoinError::UnknownMember)));
    assert_eq!(world.member_count(), 1);
}

#[test]
fn the_last_absent_member_that_times_out_ends_the_wait() {
    let mut world = World::new();
    let (leader, _) = world.two_members();
    let waiting = world.send_join(&request(&leader.member_id));
    world.advance_secs(10);
    assert_eq!(world.join_answer(waiting).unwrap().unwrap().members.len(), 1, "after 10 s, not after 60 s");
}

#[test]
fn a_session_timeout_may_change_with_a_join() {
    let mut world = World::new();
    let joined = world.one_member();
    let longer = JoinRequest { session_timeout: Duration::from_secs(30), ..request(&joined.member_id) };
    let joined = world.join(&longer).unwrap();
    world.sync(&joined, &[]).unwrap();
    world.advance_secs(29);
    assert_eq!(world.heartbeat(&joined), Ok(()));
}

#[test]
fn deadlines_are_announced() {
    let mut world = World::new();
    world.one_member();
    assert_eq!(world.groups.next_deadline(), Some(Duration::from_secs(10)));
    let mut world = World::with(Options::default());
    world.send_join(&request(""));
    assert_eq!(world.groups.next_deadline(), Some(Duration::from_millis(100)));
}

#[test]
fn a_member_with_a_rebalance_timeout_of_nothing_does_no_harm() {
    let mut world = World::new();
    let hasty = JoinRequest { rebalance_timeout: Duration::ZERO, instance_id: Some("i"), ..request("") };
    let joined = world.join(&hasty).unwrap();
    world.advance_secs(5);
    assert_eq!(
        world.groups.heartbeat(Caller { instance_id: Some("i"), ..caller(&joined) }, world.now()),
        Err(HeartbeatError::UnknownMember)
    );
    let changed =
        JoinRequest { rebalance_timeout: Duration::ZERO, ..with_protocols(request(""), &["range"]) };
    assert!(world.join(&changed).is_ok());
}
