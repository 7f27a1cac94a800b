//! LeaveGroup and DeleteGroups.

use super::{GROUP, World, request, static_request};
use crate::group::{
    DeleteGroupError, DescribeError, Event, JoinError, JoinRequest, LeaveError, Leaver, MemberError,
    Response, State, WriteError,
};

#[test]
fn the_last_member_leaves_an_empty_group() {
    let mut world = World::new();
    let joined = world.one_member();
    assert_eq!(world.leave(&joined.member_id, None), [Ok(())]);
    assert_eq!(world.state(), State::Empty);
    assert_eq!(world.join(&request("")).unwrap().generation, 3, "the empty generation counts");
}

#[test]
fn the_others_rebalance_when_a_member_leaves() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    world.leave(&leader.member_id, None);
    let joined = world.join(&request(&follower.member_id)).unwrap();
    assert_eq!((&joined.leader, joined.members.len()), (&follower.member_id, 1));
}

#[test]
fn a_member_that_leaves_while_it_waits_is_answered() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let waiting = world.send_join(&request(&leader.member_id));
    world.leave(&leader.member_id, None);
    assert_eq!(world.join_answer(waiting), Some(Err(JoinError::UnknownMember)));
    assert!(world.join(&request(&follower.member_id)).is_ok());
}

/// KIP-345: an administrator removes static members by their instance ids, several at once.
#[test]
fn static_members_are_removed_by_instance_id() {
    let mut world = World::new();
    let joined = world.join(&static_request("", "i")).unwrap();
    world.sync(&joined, &[]).unwrap();
    let leaver = |member_id, instance_id| Leaver { member_id, instance_id, reason: Some("admin") };
    let leavers =
        [leaver("", Some("nobody")), leaver("x", Some("i")), leaver("", Some("i")), leaver("", None)];
    let (left, output) = world.groups.leave(GROUP, &leavers, world.now());
    world.take(output);
    let unknown = Err(MemberError::UnknownMember);
    assert_eq!(left, Ok(vec![unknown, Err(MemberError::FencedInstanceId), Ok(()), unknown]));
    assert_eq!(world.state(), State::Empty);
}

/// KIP-800.
#[test]
fn the_reason_is_shown_to_the_operator_but_not_without_bound() {
    let mut world = World::new();
    let joined = world.one_member();
    let reason = "ü".repeat(200);
    let leaver = Leaver { member_id: &joined.member_id, instance_id: None, reason: Some(&reason) };
    let (_, output) = world.groups.leave(GROUP, &[leaver], world.now());
    let Event::MemberRemoved { reason, .. } = &output.events[0] else { panic!("{output:?}") };
    assert_eq!(*reason, format!("left; client reason: {}", "ü".repeat(127)));
    world.take(output);
}

#[test]
fn leaving_what_is_not_there() {
    let mut world = World::new();
    assert_eq!(world.leave("x", None), [Err(MemberError::UnknownMember)]);
    let (left, _output) = world.groups.leave("", &[], world.now());
    assert_eq!(left, Err(LeaveError::InvalidGroupId));
}

#[test]
fn a_promised_id_can_be_given_back() {
    let mut world = World::new();
    let first = world.one_member();
    let unknown = JoinRequest { require_known_member_id: true, ..request("") };
    let Err(JoinError::MemberIdRequired { member_id }) = world.join(&unknown) else { panic!() };
    let waiting = world.send_join(&request(&first.member_id));
    assert_eq!(world.leave(&member_id, None), [Ok(())]);
    assert!(world.join_answer(waiting).unwrap().is_ok(), "nobody is waited for any more");
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let mut world = World::new();
    let joined = world.one_member();
    assert_eq!(world.delete(), Err(DeleteGroupError::NonEmptyGroup));
    world.leave(&joined.member_id, None);
    assert_eq!(world.delete(), Ok(()));
    assert_eq!(world.delete(), Err(DeleteGroupError::GroupIdNotFound));
    assert_eq!(world.groups.describe(GROUP), Err(DescribeError::GroupIdNotFound));
    assert!(world.log.is_empty());
}

#[test]
fn a_group_is_closed_while_it_is_deleted_and_opens_if_that_fails() {
    let mut world = World::new();
    let joined = world.one_member();
    world.leave(&joined.member_id, None);
    world.is_slow = true;
    let waiter = world.waiter();
    let output = world.groups.delete_group(GROUP, waiter);
    world.take(output);
    assert_eq!(world.join(&request("")), Err(JoinError::CoordinatorNotAvailable));
    world.fails = Some(WriteError::Unavailable);
    world.write_one();
    let failed = Err(DeleteGroupError::NotStored(WriteError::Unavailable));
    assert_eq!(world.answers.remove(&waiter), Some(Response::DeleteGroup(failed)));
    assert_eq!(world.state(), State::Empty);
    assert!(world.join(&request("")).is_ok());
}

impl World {
    pub(super) fn delete(&mut self) -> Result<(), DeleteGroupError> {
        let waiter = self.waiter();
        let output = self.groups.delete_group(GROUP, waiter);
        self.take(output);
        match self.answers.remove(&waiter) {
            Some(Response::DeleteGroup(result)) => result,
            other => panic!("{other:?}"),
        }
    }
}
