//! What a restart finds.

use std::time::Duration;

use super::{GROUP, World, caller, request, static_request};
use crate::group::{ApplyError, GroupCoordinator, HeartbeatError, JoinRequest, Options, State};

#[test]
fn a_stable_group_goes_on_after_a_restart() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let before = world.groups.describe(GROUP).unwrap();
    world.restart();
    assert_eq!(world.groups.describe(GROUP).unwrap(), before);
    assert_eq!((world.heartbeat(&leader), world.heartbeat(&follower)), (Ok(()), Ok(())));
    assert_eq!(world.sync(&follower, &[]).unwrap(), "b");
    let again = world.join(&request(&follower.member_id)).unwrap();
    assert_eq!(
        (again.generation, world.state()),
        (follower.generation, State::Stable),
        "unchanged: no rebalance"
    );
}

#[test]
fn members_have_a_whole_session_after_a_restart() {
    let mut world = World::new();
    let joined = world.one_member();
    world.now += Duration::from_secs(3600);
    world.restart();
    world.advance(Duration::from_millis(9_999));
    assert_eq!(world.heartbeat(&joined), Ok(()));
    world.advance_secs(10);
    assert_eq!(world.heartbeat(&joined), Err(HeartbeatError::UnknownMember));
}

#[test]
fn a_rebalance_that_a_restart_interrupts_leaves_the_last_stored_generation() {
    let mut world = World::new();
    let joined = world.one_member();
    world.send_join(&request(""));
    world.join(&request(&joined.member_id)).unwrap();
    world.restart();
    assert_eq!((world.state(), world.member_count()), (State::Stable, 1));
    assert_eq!(world.heartbeat(&joined), Ok(()));
}

#[test]
fn an_empty_group_keeps_its_generation() {
    let mut world = World::new();
    let joined = world.one_member();
    world.leave(&joined.member_id, None);
    world.restart();
    assert_eq!(world.state(), State::Empty);
    assert_eq!(world.join(&request("")).unwrap().generation, 3);
}

#[test]
fn a_static_member_is_known_after_a_restart() {
    let mut world = World::new();
    let old = world.join(&static_request("", "i")).unwrap();
    world.sync(&old, &[(&old.member_id, "a")]).unwrap();
    world.restart();
    let new = world.join(&static_request("", "i")).unwrap();
    assert!(new.skip_assignment && new.generation == old.generation);
    assert_eq!(world.sync(&new, &[]).unwrap(), "a");
}

#[test]
fn the_log_in_order_gives_the_same_as_its_compaction() {
    let mut world = World::new();
    let joined = world.one_member();
    let first = world.log.clone();
    world.leave(&joined.member_id, None);
    world.one_member();
    let mut groups = GroupCoordinator::new(Options::default());
    for (key, value) in first.iter().chain(&world.log) {
        groups.apply(key, Some(value)).unwrap();
    }
    groups.finish_loading(world.now());
    assert_eq!(groups.describe(GROUP), world.groups.describe(GROUP));
    for key in world.log.keys() {
        let mut groups = GroupCoordinator::new(Options::default());
        groups.apply(key, Some(&world.log[key])).unwrap();
        groups.apply(key, None).unwrap();
        assert_eq!(groups.list().count(), 0);
    }
}

#[test]
fn records_that_cannot_be_read_change_nothing() {
    let mut groups = GroupCoordinator::new(Options::default());
    assert!(matches!(groups.apply(b"", None), Err(ApplyError::Key(_))));
    assert!(matches!(groups.apply(b"\x7fx", Some(b"")), Err(ApplyError::Key(_))));
    assert!(matches!(groups.apply(b"\x11g", Some(b"\x09")), Err(ApplyError::Value(_))));
    assert!(matches!(groups.apply(b"\x21\x01g\x01t\x00", Some(b"")), Err(ApplyError::Value(_))));
    assert_eq!(groups.list().count(), 0);
}

#[test]
fn a_group_is_described_with_its_members() {
    let mut world = World::new();
    let joined = world.one_member();
    let group = world.groups.describe(GROUP).unwrap();
    assert_eq!(
        (group.state.name(), group.protocol_type.as_ref(), group.protocol.as_ref()),
        ("Stable", "consumer", "range")
    );
    let member = &group.members[0];
    assert_eq!(
        (&member.member_id, member.client_id.as_ref(), member.assignment.as_ref()),
        (&joined.member_id, "app", b"a".as_slice())
    );
    assert!(!member.metadata.is_empty());
    world.send_join(&JoinRequest { client_id: "late", ..request("") });
    let group = world.groups.describe(GROUP).unwrap();
    assert_eq!((group.state, group.protocol.as_ref()), (State::PreparingRebalance, ""));
    assert!(group.members.iter().all(|member| member.metadata.is_empty()));
    assert_eq!(world.heartbeat(&joined), Err(HeartbeatError::RebalanceInProgress));
    assert!(world.groups.heartbeat(caller(&joined), world.now()).is_err());
}
