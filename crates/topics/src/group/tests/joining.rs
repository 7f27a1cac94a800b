//! JoinGroup.

use std::time::Duration;

use super::{GROUP, World, caller, name, protocol, request, with_protocols};
use crate::group::{GroupCoordinator, JoinError, JoinRequest, Now, Options, Response, State, Waiter};

#[test]
fn a_lone_member_leads_generation_one() {
    let mut world = World::new();
    let joined = world.join(&request("")).unwrap();
    assert_eq!((joined.generation, &joined.leader), (1, &joined.member_id));
    assert_eq!((joined.protocol_type, joined.protocol), (name("consumer"), name("range")));
    assert_eq!(joined.members.len(), 1);
    assert!(!joined.skip_assignment);
    assert!(joined.member_id.starts_with("app-"), "ids begin with the client id, for operators");
    assert_eq!(world.state(), State::CompletingRebalance);
}

/// KIP-134.
#[test]
fn the_first_generation_waits_for_members_that_start_together() {
    let mut world = World::with(Options::default());
    let first = world.send_join(&request(""));
    world.advance(Duration::from_millis(60));
    let second = world.send_join(&request(""));
    world.advance(Duration::from_millis(60));
    assert_eq!(world.join_answer(first), None, "the second member has extended the delay");
    world.advance(Duration::from_millis(80));
    let (first, second) =
        (world.join_answer(first).unwrap().unwrap(), world.join_answer(second).unwrap().unwrap());
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!(first.members.len() + second.members.len(), 2, "only the leader learns the members");
}

/// KIP-134: the extension ends with the rebalance timeout.
#[test]
fn the_initial_delay_ends_even_if_members_keep_coming() {
    let mut world = World::with(Options::default());
    let quick = JoinRequest { rebalance_timeout: Duration::from_millis(250), ..request("") };
    let first = world.send_join(&quick);
    for _ in 0..5 {
        world.advance(Duration::from_millis(60));
        world.send_join(&quick);
    }
    assert!(world.join_answer(first).is_some(), "250 ms are over");
}

/// KIP-394.
#[test]
fn a_member_is_told_its_id_before_it_is_let_in() {
    let mut world = World::new();
    let unknown = JoinRequest { require_known_member_id: true, ..request("") };
    let Err(JoinError::MemberIdRequired { member_id }) = world.join(&unknown) else { panic!() };
    assert_eq!((world.state(), world.member_count()), (State::Empty, 0));
    let known = JoinRequest { require_known_member_id: true, ..request(&member_id) };
    assert_eq!(world.join(&known).unwrap().member_id, member_id);
}

/// KIP-394: the id is kept for the session timeout, and a rebalance waits for it.
#[test]
fn a_promised_id_holds_up_a_rebalance_until_it_is_used_or_expires() {
    let mut world = World::new();
    let first = world.one_member();
    let unknown = JoinRequest { require_known_member_id: true, ..request("") };
    let Err(JoinError::MemberIdRequired { member_id }) = world.join(&unknown) else { panic!() };
    assert_eq!(world.state(), State::Stable, "a promise alone causes no rebalance");
    let rejoin = world.send_join(&request(&first.member_id));
    assert_eq!(world.join_answer(rejoin), None, "one more may come");
    world.advance_secs(10);
    assert_eq!(world.join_answer(rejoin).unwrap().unwrap().generation, 2);
    assert_eq!(world.join(&request(&member_id)), Err(JoinError::UnknownMember));
}

#[test]
fn a_group_of_which_only_an_id_was_promised_is_forgotten_with_it() {
    let mut world = World::new();
    let unknown = JoinRequest { require_known_member_id: true, ..request("") };
    let _ = world.join(&unknown);
    assert_eq!(world.groups.list().count(), 1);
    world.advance_secs(11);
    assert_eq!(world.groups.list().count(), 0);
    assert!(world.log.is_empty());
}

#[test]
fn an_unknown_member_id_is_refused() {
    let mut world = World::new();
    assert_eq!(world.join(&request("x")), Err(JoinError::UnknownMember));
    assert_eq!(world.groups.list().count(), 0);
    world.one_member();
    assert_eq!(world.join(&request("x")), Err(JoinError::UnknownMember));
}

#[test]
fn bounds_of_requests() {
    let mut world = World::new();
    assert_eq!(world.join(&JoinRequest { group_id: "", ..request("") }), Err(JoinError::InvalidGroupId));
    for secs in [5, 1801] {
        let session_timeout = Duration::from_secs(secs);
        let result = world.join(&JoinRequest { session_timeout, ..request("") });
        assert!(matches!(result, Err(JoinError::InvalidSessionTimeout { .. })), "{result:?}");
    }
    let result = world.join(&JoinRequest { protocol_type: "", ..request("") });
    assert_eq!(result, Err(JoinError::InconsistentProtocol));
    assert_eq!(world.join(&with_protocols(request(""), &[])), Err(JoinError::InconsistentProtocol));
    assert_eq!(world.groups.list().count(), 0, "refused joins leave no group behind");
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut world = World::new();
    let first = world.one_member();
    let second = world.send_join(&request(""));
    assert_eq!((world.join_answer(second), world.state()), (None, State::PreparingRebalance));
    let first = world.join(&request(&first.member_id)).unwrap();
    let second = world.join_answer(second).unwrap().unwrap();
    assert_eq!((first.generation, second.generation), (2, 2));
    assert_eq!((&first.leader, &second.leader), (&first.member_id, &first.member_id));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
}

/// KIP-62.
#[test]
fn who_does_not_join_again_within_the_rebalance_timeout_is_out() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let rejoin = world.send_join(&request(&leader.member_id));
    for _ in 0..12 {
        assert_eq!(world.join_answer(rejoin), None);
        world.advance_secs(5);
        let _ = world.heartbeat(&follower);
    }
    let joined = world.join_answer(rejoin).unwrap().unwrap();
    assert_eq!((joined.generation, joined.members.len()), (leader.generation + 1, 1));
    assert_eq!(world.heartbeat(&follower), Err(crate::group::HeartbeatError::UnknownMember));
}

/// KIP-62: the group waits as long as its most patient member asks for.
#[test]
fn the_longest_rebalance_timeout_counts() {
    let mut world = World::new();
    let patient = JoinRequest { rebalance_timeout: Duration::from_secs(300), ..request("") };
    let first = world.join(&patient).unwrap();
    world.sync(&first, &[]).unwrap();
    let second = world.send_join(&request(""));
    for _ in 0..40 {
        world.advance_secs(5);
        let _ = world.heartbeat(&first);
    }
    assert_eq!(world.join_answer(second), None, "200 s are less than 300 s");
    for _ in 0..20 {
        world.advance_secs(5);
        let _ = world.heartbeat(&first);
    }
    assert!(world.join_answer(second).unwrap().is_ok());
}

#[test]
fn an_absent_leader_loses_the_lead() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let changed = with_protocols(request(&follower.member_id), &["range"]);
    let rejoin = world.send_join(&changed);
    for _ in 0..12 {
        world.advance_secs(5);
        let _ = world.heartbeat(&leader);
    }
    let joined = world.join_answer(rejoin).unwrap().unwrap();
    assert_eq!((&joined.leader, joined.members.len()), (&follower.member_id, 1));
}

#[test]
fn the_protocol_with_most_votes_wins_if_all_support_it() {
    let mut world = World::with(Options::default());
    let ballots: [&[&str]; 3] = [&["a", "b"], &["b", "a"], &["c", "b", "a"]];
    let waiters = ballots.map(|names| world.send_join(&with_protocols(request(""), names)));
    world.advance_secs(1);
    for waiter in waiters {
        assert_eq!(world.join_answer(waiter).unwrap().unwrap().protocol, name("b"));
    }
}

#[test]
fn a_member_that_shares_no_protocol_is_refused() {
    let mut world = World::new();
    world.one_member();
    let alien = with_protocols(request(""), &["other"]);
    assert_eq!(world.join(&alien), Err(JoinError::InconsistentProtocol));
    let alien = JoinRequest { protocol_type: "connect", ..request("") };
    assert_eq!(world.join(&alien), Err(JoinError::InconsistentProtocol));
    assert_eq!(world.state(), State::Stable);
}

#[test]
fn an_empty_group_may_change_its_protocol_type() {
    let mut world = World::new();
    let joined = world.one_member();
    world.leave(&joined.member_id, None);
    let connect = JoinRequest { protocol_type: "connect", ..with_protocols(request(""), &["x"]) };
    assert_eq!(world.join(&connect).unwrap().protocol_type, name("connect"));
}

#[test]
fn a_follower_that_rejoins_unchanged_gets_the_current_generation() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    let again = world.join(&request(&follower.member_id)).unwrap();
    assert_eq!((again.generation, &again.leader), (leader.generation, &leader.member_id));
    assert!(again.members.is_empty() && !again.skip_assignment);
    assert_eq!(world.state(), State::Stable);
    assert_eq!(world.sync(&again, &[]).unwrap(), "b");
}

#[test]
fn a_follower_with_new_metadata_or_a_leader_causes_a_rebalance() {
    let mut world = World::new();
    let (leader, follower) = world.two_members();
    world.send_join(&with_protocols(request(&follower.member_id), &["range"]));
    assert_eq!(world.state(), State::PreparingRebalance);

    let mut world = World::new();
    let (leader_again, _) = world.two_members();
    assert_eq!(leader_again.member_id, leader.member_id, "the same inputs give the same ids");
    world.send_join(&request(&leader_again.member_id));
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn a_join_repeated_before_the_sync_is_answered_again() {
    let mut world = World::new();
    let joined = world.join(&request("")).unwrap();
    assert_eq!(world.join(&request(&joined.member_id)).unwrap(), joined);
    let changed = JoinRequest { protocols: vec![protocol("range")], ..request(&joined.member_id) };
    assert_eq!(world.join(&changed).unwrap().generation, joined.generation + 1);
}

#[test]
fn a_second_join_of_a_waiting_member_takes_the_place_of_the_first() {
    let mut world = World::new();
    let (leader, _) = world.two_members();
    let lost = world.send_join(&request(&leader.member_id));
    let again = world.send_join(&request(&leader.member_id));
    assert_eq!(world.join_answer(lost), Some(Err(JoinError::Superseded)));
    world.advance_secs(10);
    assert!(world.join_answer(again).unwrap().is_ok());
}

/// KIP-389.
#[test]
fn a_full_group_takes_nobody_else() {
    let options =
        Options { group_size_max: 2, initial_rebalance_delay: Duration::ZERO, ..Options::default() };
    let mut world = World::with(options);
    let (leader, _) = world.two_members();
    let full = Err(JoinError::GroupMaxSizeReached { limit: 2 });
    assert_eq!(world.join(&request("")), full);
    assert_eq!(world.state(), State::Stable);
    world.send_join(&request(&leader.member_id));
    world.send_join(&request(""));
    assert_eq!(world.join(&request("")), full, "while the group rebalances those count who have joined");
}

#[test]
fn ids_are_not_promised_without_bound() {
    let mut world = World::with(Options { group_size_max: 3, ..Options::default() });
    let unknown = JoinRequest { require_known_member_id: true, ..request("") };
    for _ in 0..3 {
        assert!(matches!(world.join(&unknown), Err(JoinError::MemberIdRequired { .. })));
    }
    assert_eq!(world.join(&unknown), Err(JoinError::GroupMaxSizeReached { limit: 3 }));
}

#[test]
fn nothing_is_served_while_loading() {
    let mut groups = GroupCoordinator::new(Options::default());
    let now = Now { elapsed: Duration::ZERO, wall_ms: 0 };
    let output = groups.join(&request(""), Waiter(1), now);
    assert_eq!(output.replies[0].response, Response::Join(Err(JoinError::CoordinatorLoading)));
    let mut world = World::new();
    let joined = world.one_member();
    assert_eq!(groups.heartbeat(caller(&joined), now), Ok(()), "a restart causes no rebalance");
    assert!(groups.describe(GROUP).is_err() && groups.fetch_all(GROUP).is_err());
    assert_eq!(groups.next_deadline(), None);
}
