//! A group's whole life, in every version that is served.

use std::time::Duration;

use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::harness::{Client, World};
use crate::records::create;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn join_request(version: i16, name: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(b"topics".as_slice().into());
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(if version == 0 { -1 } else { 10_000 })
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins a group of one, with the id that the group asks for where it does.
async fn join(client: &mut Client, version: i16, name: &str) -> JoinGroupResponse {
    let mut request = join_request(version, name);
    let response = client.ask(version, &request).await;
    if response.error_code != 79 {
        return response;
    }
    assert!(version >= 4 && !response.member_id.is_empty());
    request.member_id = response.member_id;
    client.ask(version, &request).await
}

async fn sync(client: &mut Client, version: i16, name: &str, joined: &JoinGroupResponse) {
    let share = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(b"share".as_slice().into());
    let mut request = SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![share]);
    if version >= 5 {
        request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    let synced = client.ask(version, &request).await;
    assert_eq!((synced.error_code, &*synced.assignment), (0, b"share".as_slice()), "version {version}");
    let named = (version >= 5).then_some("range");
    assert_eq!(synced.protocol_name.as_deref(), named, "version {version}");
}

async fn heartbeat(client: &mut Client, version: i16, name: &str, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    client.ask(version, &request).await.error_code
}

async fn leave(client: &mut Client, version: i16, name: &str, joined: &JoinGroupResponse) {
    let request = LeaveGroupRequest::default().with_group_id(group(name));
    let member = joined.member_id.clone();
    let request = match version {
        3.. => request.with_members(vec![MemberIdentity::default().with_member_id(member)]),
        _ => request.with_member_id(member),
    };
    let left = client.ask(version, &request).await;
    assert_eq!(left.error_code, 0, "version {version}");
    assert!(left.members.iter().all(|member| member.error_code == 0), "version {version}");
    let again = client.ask(version, &request).await;
    let code = if version >= 3 { again.members[0].error_code } else { again.error_code };
    assert_eq!(code, 25, "no member any more, version {version}");
}

#[tokio::test]
async fn members_come_stay_and_go_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    for version in 0..=9 {
        let name = format!("g{version}");
        let joined = join(&mut client, version, &name).await;
        assert_eq!((joined.error_code, joined.members.len()), (0, 1), "version {version}");
        assert_eq!(joined.leader, joined.member_id);
        sync(&mut client, version.min(5), &name, &joined).await;
        assert_eq!(heartbeat(&mut client, version.min(4), &name, &joined).await, 0);
        let stale = joined.clone().with_generation_id(joined.generation_id + 1);
        assert_eq!(heartbeat(&mut client, version.min(4), &name, &stale).await, 22);
        leave(&mut client, version.min(5), &name, &joined).await;
    }
}

#[tokio::test]
async fn groups_are_found_described_listed_and_deleted_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        let request = match version {
            4.. => request.with_coordinator_keys(vec![text("g")]),
            _ => request.with_key(text("g")),
        };
        let found = client.ask(version, &request).await;
        let found = match found.coordinators.first() {
            Some(found) => (found.error_code, found.node_id.0, found.port),
            None => (found.error_code, found.node_id.0, found.port),
        };
        assert_eq!(found, (0, 1, i32::from(world.address.port())), "version {version}");
    }
    let joined = join(&mut client, 5, "g").await;
    sync(&mut client, 5, "g", &joined).await;
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default().with_groups(vec![group("g"), group("none")]);
        let described = client.ask(version, &request).await.groups;
        assert_eq!((&*described[0].group_state, &*described[0].protocol_data), ("Stable", "range"));
        assert_eq!(&*described[0].members[0].member_assignment, b"share".as_slice());
        assert_eq!(
            (&*described[0].members[0].client_id, &*described[0].members[0].client_host),
            ("test", "/127.0.0.1")
        );
        let expected = if version >= 6 { 69 } else { 0 };
        assert_eq!(
            (described[1].error_code, &*described[1].group_state),
            (expected, "Dead"),
            "version {version}"
        );
    }
    for version in 0..=5 {
        let listed = client.ask(version, &ListGroupsRequest::default()).await.groups;
        assert_eq!(listed[0].group_id, group("g"));
        assert_eq!(&*listed[0].group_state, if version >= 4 { "Stable" } else { "" });
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("none")]);
        let codes: Vec<_> =
            client.ask(version, &request).await.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [68, 69], "version {version}");
    }
}

fn commit(version: i16, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(if version >= 6 { 0 } else { -1 })
        .with_committed_metadata(Some(text("note")));
    let known =
        OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition.clone()]);
    let unknown = OffsetCommitRequestTopic::default().with_name(topic("no")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group("simple"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![known, unknown])
}

/// A request of version 10 in bytes: header with client id "test", no tagged fields, then the body.
fn frame_of_version_10(key: u8, body: &[u8]) -> Vec<u8> {
    let rest = [&[0, key, 0, 10, 0, 0, 0, 7, 0, 4][..], b"test\0", body].concat();
    [&(rest.len() as u32).to_be_bytes()[..], &rest].concat()
}

/// Commits an offset for partition 0 of a topic by its id; the error code of the answer.
async fn commit_by_id(client: &mut Client, id: Uuid, offset: i64) -> i16 {
    let body = [
        &b"\x07simple\xff\xff\xff\xff\x01\x00"[..], // group, no generation, no member id, no instance id
        b"\x02",                                    // one topic
        id.as_bytes(),
        b"\x02\0\0\0\0", // one partition, the first
        &offset.to_be_bytes(),
        b"\0\0\0\0\x05note\0\0\0", // epoch, metadata, no tagged fields
    ];
    client.send_bytes(&frame_of_version_10(8, &body.concat())).await;
    let response: OffsetCommitResponse = client.receive(7, 10).await;
    assert_eq!(response.topics[0].topic_id, id);
    response.topics[0].partitions[0].error_code
}

/// Asks for partitions 0 and 7 of topics by their ids, or for all.
async fn offsets_by_id(client: &mut Client, ids: Option<&[Uuid]>) -> OffsetFetchResponseGroup {
    let mut body = b"\x02\x07simple\x00\xff\xff\xff\xff".to_vec(); // one group, no member id, no epoch
    body.push(ids.map_or(0, |ids| ids.len() as u8 + 1));
    for id in ids.unwrap_or_default() {
        body.extend_from_slice(id.as_bytes());
        body.extend_from_slice(b"\x03\0\0\0\0\0\0\0\x07\0");
    }
    body.extend_from_slice(b"\0\0\0"); // no tagged fields, unstable offsets too
    client.send_bytes(&frame_of_version_10(9, &body)).await;
    let response: OffsetFetchResponse = client.receive(7, 10).await;
    response.groups.into_iter().next().expect("one group")
}

#[tokio::test]
async fn offsets_are_committed_and_told_by_topic_id() {
    let world = World::start().await;
    let mut client = world.client().await;
    let id = create(&mut client, "t").await;
    let unknown = Uuid::from_u128(77);
    assert_eq!(commit_by_id(&mut client, id, 42).await, 0);
    assert_eq!(commit_by_id(&mut client, unknown, 42).await, 100);
    assert_eq!(commit_by_id(&mut client, Uuid::nil(), 42).await, 100);

    let group = offsets_by_id(&mut client, Some(&[id, unknown])).await;
    assert_eq!((&**group.group_id, group.error_code), ("simple", 0));
    assert_eq!(group.topics.iter().map(|topic| topic.topic_id).collect::<Vec<_>>(), [id, unknown]);
    let of = |topic: usize| {
        let partitions = group.topics[topic].partitions.iter();
        partitions.map(|at| (at.partition_index, at.committed_offset, at.error_code)).collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (vec![(0, 42, 0), (7, -1, 0)], vec![(0, -1, 100), (7, -1, 100)]));

    let all = offsets_by_id(&mut client, None).await;
    assert_eq!((all.topics.len(), all.topics[0].topic_id, all.topics[0].partitions.len()), (1, id, 1));
    // By name, another client sees the same.
    assert_eq!(told(client.ask(9, &offsets(9, true)).await), [(0, 42, "note".to_owned())]);
}

fn offsets(version: i16, is_all: bool) -> OffsetFetchRequest {
    if version >= 8 {
        let wanted =
            OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0, 7]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group("simple"));
        let group = group.with_topics((!is_all).then(|| vec![wanted]));
        return OffsetFetchRequest::default().with_groups(vec![group]);
    }
    let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0, 7]);
    OffsetFetchRequest::default().with_group_id(group("simple")).with_topics((!is_all).then(|| vec![wanted]))
}

/// Partition, offset and metadata of all that was told.
fn told(response: OffsetFetchResponse) -> Vec<(i32, i64, String)> {
    let metadata = |text: Option<StrBytes>| text.map(|text| text.to_string()).unwrap_or_default();
    let old = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let old = old.map(|at| (at.partition_index, at.committed_offset, metadata(at.metadata)));
    let new = response.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| topic.partitions);
    let new = new.map(|at| (at.partition_index, at.committed_offset, metadata(at.metadata)));
    old.chain(new).collect()
}

#[tokio::test]
async fn offsets_are_committed_told_and_deleted_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    for version in 2..=9 {
        let committed = client.ask(version, &commit(version, i64::from(version))).await;
        let codes: Vec<_> = committed.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
        assert_eq!(codes, [0, 3], "version {version}");
    }
    let committed = || (0, 9, "note".to_owned());
    for version in 1..=9 {
        let response = client.ask(version, &offsets(version, false)).await;
        assert_eq!(told(response), [committed(), (7, -1, String::new())], "version {version}");
        if version >= 2 {
            let response = client.ask(version, &offsets(version, true)).await;
            assert_eq!(told(response), [committed()], "version {version}");
        }
    }
    let partitions = vec![OffsetDeleteRequestPartition::default()];
    let delete = OffsetDeleteRequest::default().with_group_id(group("simple")).with_topics(vec![
        OffsetDeleteRequestTopic::default().with_name(topic("t")).with_partitions(partitions),
    ]);
    let deleted = client.ask(0, &delete).await;
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(told(client.ask(8, &offsets(8, true)).await), []);
    assert_eq!(client.ask(0, &delete.clone().with_group_id(group("none"))).await.error_code, 69);
    assert_eq!(client.ask(0, &delete.with_group_id(group(""))).await.error_code, 24);
}

#[tokio::test]
async fn members_that_wait_are_sent_away_when_the_server_ends() {
    let mut world = World::start().await;
    let (mut leader, mut follower, mut late) =
        (world.client().await, world.client().await, world.client().await);
    let leading = join(&mut leader, 3, "g").await;
    let following = follower.send(3, &join_request(3, "g")).await;
    let again = join_request(3, "g").with_member_id(leading.member_id);
    while leader.ask(3, &again).await.members.len() < 2 {}
    let following: JoinGroupResponse = follower.receive(following, 3).await;
    // The one waits for the leader to bring the assignment, the other for both to join again.
    let sync = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(following.generation_id)
        .with_member_id(following.member_id);
    let syncing = follower.send(3, &sync).await;
    join(&mut leader, 3, "h").await;
    let joining = late.send(3, &join_request(3, "h")).await;
    assert!(follower.is_silent_for(Duration::from_millis(100)).await);
    assert!(late.is_silent_for(Duration::from_millis(100)).await);
    let before = world.clock.monotonic();
    world.stop().await;
    assert!(world.clock.monotonic() - before < Duration::from_secs(30), "nobody is waited for");
    let synced: SyncGroupResponse = follower.receive(syncing, 3).await;
    let joined: JoinGroupResponse = late.receive(joining, 3).await;
    assert_eq!((synced.error_code, joined.error_code), (16, 16), "look for the coordinator");
    assert!(follower.is_closed().await && late.is_closed().await);
}
