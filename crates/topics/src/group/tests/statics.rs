//! Static members (KIP-345, KIP-814).

use std::sync::Arc;

use super::{GROUP, World, request, static_request, with_protocols};
use crate::group::{Caller, HeartbeatError, JoinError, JoinRequest, Joined, State, SyncError, WriteError};

fn caller<'a>(joined: &'a Joined, instance_id: &'a str) -> Caller<'a> {
    Caller { instance_id: Some(instance_id), ..super::caller(joined) }
}

/// A static leader `i` and a static follower `j`, stable, with assignments `a` and `b`.
fn two_statics(world: &mut World) -> (Joined, Joined) {
    let first = world.join(&static_request("", "i")).unwrap();
    world.sync(&first, &[]).unwrap();
    let follower = world.send_join(&static_request("", "j"));
    let leader = world.join(&static_request(&first.member_id, "i")).unwrap();
    let follower = world.join_answer(follower).unwrap().unwrap();
    world.sync(&leader, &[(&leader.member_id, "a"), (&follower.member_id, "b")]).unwrap();
    world.sync(&follower, &[]).unwrap();
    (leader, follower)
}

#[test]
fn a_static_member_needs_no_second_join() {
    let mut world = World::new();
    let request = JoinRequest { require_known_member_id: true, ..static_request("", "i") };
    let joined = world.join(&request).unwrap();
    assert!(joined.member_id.starts_with("i-"));
    assert_eq!(joined.members[0].instance_id, Some(Arc::from("i")));
}

#[test]
fn a_follower_that_restarts_gets_a_new_id_and_its_old_assignment() {
    let mut world = World::new();
    let (leader, old) = two_statics(&mut world);
    let new = world.join(&static_request("", "j")).unwrap();
    assert_ne!(new.member_id, old.member_id);
    assert_eq!((new.generation, &new.leader), (old.generation, &leader.member_id));
    assert!(!new.skip_assignment && new.members.is_empty());
    assert_eq!(world.state(), State::Stable);
    assert_eq!(world.sync(&new, &[]).unwrap(), "b");
    assert_eq!(world.groups.heartbeat(caller(&old, "j"), world.now()), Err(HeartbeatError::FencedInstanceId));
    assert_eq!(world.groups.heartbeat(caller(&leader, "i"), world.now()), Ok(()));
}

/// KIP-814.
#[test]
fn a_leader_that_restarts_is_told_to_skip_the_assignment() {
    let mut world = World::new();
    let (old, _) = two_statics(&mut world);
    let new = world.join(&static_request("", "i")).unwrap();
    assert_eq!((&new.leader, new.skip_assignment, new.members.len()), (&new.member_id, true, 2));
    assert_eq!(world.sync(&new, &[]).unwrap(), "a");
    assert_eq!((world.state(), new.generation), (State::Stable, old.generation));
}

#[test]
fn a_leader_that_cannot_skip_is_not_told_that_it_leads() {
    let mut world = World::new();
    let (old, _) = two_statics(&mut world);
    let request = JoinRequest { supports_skip_assignment: false, ..static_request("", "i") };
    let new = world.join(&request).unwrap();
    assert_eq!((&new.leader, new.skip_assignment, new.members.len()), (&old.member_id, false, 0));
}

#[test]
fn a_new_id_is_durable_before_the_member_hears_of_it() {
    let mut world = World::new();
    let (_, old) = two_statics(&mut world);
    world.is_slow = true;
    let waiting = world.send_join(&static_request("", "j"));
    assert_eq!(world.join_answer(waiting), None);
    world.write_one();
    let new = world.join_answer(waiting).unwrap().unwrap();
    world.restart();
    assert_eq!(world.groups.heartbeat(caller(&new, "j"), world.now()), Ok(()));
    assert_eq!(world.groups.heartbeat(caller(&old, "j"), world.now()), Err(HeartbeatError::FencedInstanceId));
}

#[test]
fn a_new_id_that_cannot_be_stored_is_taken_back() {
    let mut world = World::new();
    let (_, old) = two_statics(&mut world);
    world.fails = Some(WriteError::Unavailable);
    let result = world.join(&static_request("", "j"));
    assert_eq!(result, Err(JoinError::NotStored(WriteError::Unavailable)));
    assert_eq!(world.groups.heartbeat(caller(&old, "j"), world.now()), Ok(()));
    assert_eq!(world.state(), State::Stable);
}

#[test]
fn a_new_id_that_is_taken_back_does_not_come_back_by_a_later_write() {
    let mut world = World::new();
    let (_, old) = two_statics(&mut world);
    world.is_slow = true;
    let failing = world.send_join(&static_request("", "j"));
    let leader = world.send_join(&static_request("", "i"));
    world.fails = Some(WriteError::Unavailable);
    world.write_one();
    world.fails = None;
    while world.write_one() {}
    assert!(world.join_answer(failing).unwrap().is_err() && world.join_answer(leader).unwrap().is_ok());
    world.restart();
    assert_eq!(world.groups.heartbeat(caller(&old, "j"), world.now()), Ok(()));
}

#[test]
fn a_member_whose_new_id_took_long_to_store_still_times_out_later() {
    let mut world = World::new();
    let first = world.join(&static_request("", "i")).unwrap();
    world.sync(&first, &[]).unwrap();
    world.is_slow = true;
    let waiting = world.send_join(&static_request("", "i"));
    world.advance_secs(30);
    world.is_slow = false;
    world.write_one();
    assert!(world.join_answer(waiting).unwrap().is_ok(), "it is not to blame for a slow journal");
    world.advance_secs(10);
    assert_eq!(world.state(), State::Empty);
}

#[test]
fn a_rebalance_meanwhile_keeps_the_returning_member_waiting() {
    let mut world = World::new();
    let (leader, _) = two_statics(&mut world);
    world.is_slow = true;
    let returning = world.send_join(&static_request("", "j"));
    let other = world.send_join(&static_request("", "k"));
    world.is_slow = false;
    world.write_one();
    assert_eq!(world.join_answer(returning), None);
    let leader = world.join(&static_request(&leader.member_id, "i")).unwrap();
    let returning = world.join_answer(returning).unwrap().unwrap();
    assert_eq!((returning.generation, leader.members.len()), (leader.generation, 3));
    assert!(world.join_answer(other).is_some());
}

#[test]
fn a_return_with_other_protocols_rebalances_if_the_vote_changes() {
    let mut world = World::new();
    let joined = world.join(&static_request("", "i")).unwrap();
    world.sync(&joined, &[]).unwrap();
    let other = with_protocols(static_request("", "i"), &["sticky", "range"]);
    assert_eq!(world.join(&other).unwrap().generation, joined.generation + 1);
}

#[test]
fn a_return_while_the_leader_assigns_starts_over_and_fences_the_waiting() {
    let mut world = World::new();
    let first = world.join(&static_request("", "i")).unwrap();
    world.sync(&first, &[]).unwrap();
    let follower = world.send_join(&static_request("", "j"));
    world.join(&static_request(&first.member_id, "i")).unwrap();
    let old = world.join_answer(follower).unwrap().unwrap();
    let waiting = world.send_sync(&old, &[]);
    let returning = world.send_join(&static_request("", "j"));
    assert_eq!(world.sync_answer(waiting), Some(Err(SyncError::FencedInstanceId)));
    assert_eq!(world.state(), State::PreparingRebalance);
    let returning_again = world.send_join(&static_request("", "j"));
    assert_eq!(world.join_answer(returning), Some(Err(JoinError::FencedInstanceId)));
    world.join(&static_request(&first.member_id, "i")).unwrap();
    assert!(world.join_answer(returning_again).unwrap().is_ok());
}

#[test]
fn a_static_member_keeps_its_place_through_a_rebalance_until_its_session_ends() {
    let mut world = World::new();
    let (leader, _) = two_statics(&mut world);
    let quick =
        JoinRequest { rebalance_timeout: std::time::Duration::from_secs(5), ..static_request("", "j") };
    let follower = world.join(&quick).unwrap();
    let quick = JoinRequest {
        rebalance_timeout: std::time::Duration::from_secs(5),
        ..static_request(&leader.member_id, "i")
    };
    let rejoin = world.send_join(&quick);
    world.advance_secs(5);
    let joined = world.join_answer(rejoin).unwrap().unwrap();
    assert_eq!(joined.members.len(), 2, "the absent static member is still counted");
    world.sync(&joined, &[(&follower.member_id, "b")]).unwrap();
    world.advance_secs(5);
    assert_eq!(world.member_count(), 1, "but it has to sync in time");
}

#[test]
fn a_member_that_returns_before_its_sync_still_has_to_sync_in_time() {
    let mut world = World::new();
    let first = world.join(&static_request("", "i")).unwrap();
    world.sync(&first, &[]).unwrap();
    let follower = world.send_join(&static_request("", "j"));
    let leader = world.join(&static_request(&first.member_id, "i")).unwrap();
    assert!(world.join_answer(follower).unwrap().is_ok());
    world.sync(&leader, &[]).unwrap();
    let returned = world.join(&static_request("", "j")).unwrap();
    for _ in 0..12 {
        assert_eq!(world.state(), State::Stable);
        world.advance_secs(5);
        let now = world.now();
        let _ = world.groups.heartbeat(caller(&leader, "i"), now);
        let _ = world.groups.heartbeat(caller(&returned, "j"), now);
    }
    assert_eq!((world.state(), world.member_count()), (State::PreparingRebalance, 1));
}

#[test]
fn an_instance_id_must_match_its_member() {
    let mut world = World::new();
    let (leader, _) = two_statics(&mut world);
    let fenced = world.join(&static_request("x", "i"));
    assert_eq!(fenced, Err(JoinError::FencedInstanceId));
    assert_eq!(world.join(&static_request(&leader.member_id, "nobody")), Err(JoinError::UnknownMember));
    assert_eq!(world.join(&request("x")), Err(JoinError::UnknownMember));
    assert_eq!(world.groups.describe(GROUP).unwrap().members.len(), 2);
}

#[test]
fn nobody_rejoining_leaves_the_group_waiting_for_its_static_members() {
    let mut world = World::new();
    let (leader, follower) = two_statics(&mut world);
    let dynamic = world.send_join(&request(""));
    let joined = world.leave_waiting(dynamic);
    assert!(joined.is_none());
    for _ in 0..14 {
        world.advance_secs(5);
        let now = world.now();
        let _ = world.groups.heartbeat(caller(&leader, "i"), now);
        let _ = world.groups.heartbeat(caller(&follower, "j"), now);
    }
    assert_eq!((world.state(), world.member_count()), (State::PreparingRebalance, 2));
    let first = world.send_join(&static_request(&leader.member_id, "i"));
    world.join(&static_request(&follower.member_id, "j")).unwrap();
    assert_eq!(world.join_answer(first).unwrap().unwrap().members.len(), 2);
}

impl World {
    /// The member that waits with `waiter` leaves; its id is read from the description.
    fn leave_waiting(&mut self, waiter: crate::group::Waiter) -> Option<Joined> {
        let members = self.groups.describe(GROUP).unwrap().members;
        let dynamic = members.iter().find(|member| member.instance_id.is_none()).unwrap().member_id.clone();
        assert_eq!(self.leave(&dynamic, None), [Ok(())]);
        self.join_answer(waiter).and_then(Result::ok)
    }
}
