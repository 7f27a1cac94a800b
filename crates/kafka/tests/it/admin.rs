//! What operators ask, in every version that is served.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeQuorumRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
    OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::messages::{describe_quorum_request, incremental_alter_configs_request};
use kafka_protocol::protocol::StrBytes;

use crate::harness::{Client, World};
use crate::records::{batch, create, produce};

const TOPIC: i8 = 2;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn new_topic(topic: &str, setting: &str) -> CreatableTopic {
    let config = CreatableTopicConfig::default().with_name(text(setting)).with_value(Some(text("60000")));
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config])
}

#[tokio::test]
async fn topics_are_created_grown_and_deleted_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    for version in 2..=7 {
        let created = format!("t{version}");
        let topics = vec![new_topic(&created, "retention.ms"), new_topic("bad", "retention.sm")];
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1000);
        let tried = client.ask(version, &request.clone().with_validate_only(true)).await;
        assert_eq!(tried.topics[0].error_code, 0);
        let results = client.ask(version, &request).await.topics;
        assert_eq!((results[0].error_code, results[1].error_code), (0, 40), "version {version}");
        let why = "topic bad: unknown topic configuration retention.sm; the nearest known is retention.ms";
        assert_eq!(results[1].error_message.as_deref(), Some(why));
        if version >= 5 {
            assert_eq!((results[0].num_partitions, results[0].replication_factor), (2, 1));
            let mut configs = results[0].configs.iter().flatten();
            let retention = configs.find(|config| &*config.name == "retention.ms").expect("told");
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("60000"), 1));
        }
        assert_eq!(client.ask(version, &request).await.topics[0].error_code, 36, "there already");
    }
    for version in 0..=3 {
        let grow =
            |topic: &str, count| CreatePartitionsTopic::default().with_name(name(topic)).with_count(count);
        let topics = vec![grow("t7", 3 + i32::from(version)), grow("t6", 1), grow("no", 5)];
        let results =
            client.ask(version, &CreatePartitionsRequest::default().with_topics(topics)).await.results;
        let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 37, 3], "version {version}");
        let to_node = |node| CreatePartitionsAssignment::default().with_broker_ids(vec![node]);
        let topics = vec![grow("t7", 99).with_assignments(Some(vec![to_node(1.into())]))];
        let request = CreatePartitionsRequest::default().with_topics(topics);
        let results = client.ask(version, &request).await.results;
        assert_eq!(results[0].error_code, 39, "one place for many");
    }
    for version in 1..=6 {
        let request = DeleteTopicsRequest::default().with_timeout_ms(1000);
        let (doomed, no) = (name(&format!("t{}", version + 1)), name("no"));
        let request = match version {
            6.. => {
                let state = |topic| DeleteTopicState::default().with_name(Some(topic));
                request.with_topics(vec![state(doomed), state(no)])
            }
            _ => request.with_topic_names(vec![doomed, no]),
        };
        let codes: Vec<_> =
            client.ask(version, &request).await.responses.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 3], "version {version}");
    }
}

#[tokio::test]
async fn a_topic_is_deleted_by_its_id() {
    let world = World::start().await;
    let mut client = world.client().await;
    let id = create(&mut client, "t").await;
    let state = DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![state]);
    let deleted = client.ask(6, &request).await.responses.remove(0);
    assert_eq!((deleted.error_code, deleted.name, deleted.topic_id), (0, Some(name("t")), id));
    assert_eq!(client.ask(6, &request).await.responses[0].error_code, 100);
}

async fn retention(
    client: &mut Client,
    version: i16,
    topic: &str,
) -> Result<DescribeConfigsResourceResult, i16> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    let mut result = client.ask(version, &request).await.results.remove(0);
    if result.error_code == 0 { Ok(result.configs.remove(0)) } else { Err(result.error_code) }
}

#[tokio::test]
async fn settings_are_shown_and_changed_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    for version in 0..=2 {
        let value = format!("{}", 1000 + i32::from(version));
        let config =
            AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text(&value)));
        let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_configs(vec![config]);
        let resources = ["t", "no"].map(|topic| resource.clone().with_resource_name(text(topic)));
        let request = AlterConfigsRequest::default().with_resources(resources.to_vec());
        let codes: Vec<_> =
            client.ask(version, &request).await.responses.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 3], "version {version}");
        for version in 1..=4 {
            let shown = retention(&mut client, version, "t").await.expect("there");
            assert_eq!((shown.value.as_deref(), shown.config_source), (Some(&*value), 1));
            let synonyms: Vec<_> =
                shown.synonyms.iter().map(|synonym| (&*synonym.name, synonym.source)).collect();
            assert_eq!(synonyms, [("retention.ms", 1), ("log.retention.ms", 5)], "version {version}");
            assert_eq!(shown.config_type, if version >= 3 { 5 } else { 0 });
            assert_eq!(retention(&mut client, version, "no").await.err(), Some(3));
        }
    }
    for version in 0..=1 {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_config_operation(i8::try_from(version).expect("small"))
            .with_value((version == 0).then(|| text("5")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(client.ask(version, &request).await.responses[0].error_code, 0);
        let shown = retention(&mut client, 4, "t").await.expect("there");
        let expected = if version == 0 { ("5", 1) } else { ("604800000", 5) };
        assert_eq!((shown.value.as_deref(), shown.config_source), (Some(expected.0), expected.1));
    }
}

#[tokio::test]
async fn records_are_deleted_and_epochs_end_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    client.ask(9, &produce(-1, "t", batch(&[0, 1, 2, 3, 4]))).await;
    for version in 0..=2 {
        let at =
            |index, offset| DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![
            at(0, i64::from(version) + 1),
            at(0, 100),
            at(9, 0),
        ]);
        let results = client.ask(version, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
        let results = results.topics[0].partitions.iter();
        let results: Vec<_> = results.map(|result| (result.error_code, result.low_watermark)).collect();
        assert_eq!(results, [(0, i64::from(version) + 1), (1, -1), (3, -1)], "version {version}");
    }
    for version in 2..=4 {
        let of = |epoch| OffsetForLeaderPartition::default().with_leader_epoch(epoch);
        let partitions = vec![of(0), of(1), of(0).with_current_leader_epoch(1), of(0).with_partition(9)];
        let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(partitions);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let ends = client.ask(version, &request).await.topics.remove(0).partitions;
        let ends: Vec<_> =
            ends.iter().map(|end| (end.error_code, end.leader_epoch, end.end_offset)).collect();
        assert_eq!(ends, [(0, 0, 5), (0, -1, -1), (75, -1, -1), (3, -1, -1)], "version {version}");
    }
}

#[tokio::test]
async fn the_server_is_described_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    client.ask(9, &produce(-1, "t", batch(&[0]))).await;
    for version in 0..=2 {
        let described = client.ask(version, &DescribeClusterRequest::default()).await;
        let broker = &described.brokers[0];
        assert_eq!((described.controller_id.0, broker.broker_id.0), (1, 1), "version {version}");
        assert_eq!(broker.port, i32::from(world.address.port()));
        assert_eq!(described.cluster_authorized_operations, i32::MIN);
    }
    for version in 1..=4 {
        let dirs = client.ask(version, &DescribeLogDirsRequest::default().with_topics(None)).await.results;
        let topic = &dirs[0].topics[0];
        assert_eq!((&topic.name, topic.partitions[0].partition_index), (&name("t"), 0));
        assert!(topic.partitions[0].partition_size > 0, "version {version}");
    }
    for version in 0..=2 {
        let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 9]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let results = client.ask(version, &request).await.replica_election_results;
        let codes: Vec<_> = results[0].partition_result.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [84, 3], "version {version}");
        if version >= 1 {
            let refused = client.ask(version, &request.with_election_type(7)).await;
            assert_eq!(refused.error_code, 42);
            assert_eq!(refused.replica_election_results[0].partition_result[1].error_code, 42);
        }
    }
    let moving = client.ask(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
    let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
    let producers = client.ask(0, &DescribeProducersRequest::default().with_topics(vec![topic])).await;
    let codes: Vec<_> = producers.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, 3]);
    let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(100);
    let described = client.ask(0, &request).await;
    assert_eq!((described.topics.len(), described.topics[0].partitions.len()), (1, 1));
    assert!(described.next_cursor.is_none());
}

#[tokio::test]
async fn replicas_stay_on_the_one_node_and_in_its_directory() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    let move_to = |index, nodes: Option<&[i32]>| {
        let replicas = nodes.map(|nodes| nodes.iter().map(|&node| node.into()).collect());
        ReassignablePartition::default().with_partition_index(index).with_replicas(replicas)
    };
    for version in 0..=1 {
        let partitions = vec![
            move_to(0, Some(&[1])),
            move_to(0, Some(&[0, 1])),
            move_to(0, Some(&[])),
            move_to(0, None),
            move_to(9, Some(&[1])),
        ];
        let known = ReassignableTopic::default().with_name(name("t")).with_partitions(partitions);
        let unknown =
            ReassignableTopic::default().with_name(name("no")).with_partitions(vec![move_to(0, None)]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![known, unknown]);
        let answer = client.ask(version, &request).await;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<_> = partitions.map(|partition| partition.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![0, 39, 39, 85, 3, 3]), "version {version}");
    }
    let dirs = client.ask(4, &DescribeLogDirsRequest::default().with_topics(None)).await.results;
    for version in 1..=2 {
        let topic = |topic: &str| {
            AlterReplicaLogDirTopic::default().with_name(name(topic)).with_partitions(vec![0, 9])
        };
        let dir = |path: &StrBytes| {
            AlterReplicaLogDir::default().with_path(path.clone()).with_topics(vec![topic("t"), topic("no")])
        };
        let dirs = vec![dir(&dirs[0].log_dir), dir(&text("/elsewhere"))];
        let results =
            client.ask(version, &AlterReplicaLogDirsRequest::default().with_dirs(dirs)).await.results;
        let partitions = results.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<_> = partitions.map(|partition| partition.error_code).collect();
        assert_eq!(codes, [0, 3, 3, 3, 57, 57, 57, 57], "version {version}");
    }
}

#[tokio::test]
async fn the_metadata_have_one_voter() {
    let world = World::start().await;
    let mut client = world.client().await;
    let mut before = 0;
    for (version, topic) in (0..).zip(["t0", "t1", "t2"]) {
        create(&mut client, topic).await;
        let partition = |index| describe_quorum_request::PartitionData::default().with_partition_index(index);
        let topic = |topic: &str| {
            describe_quorum_request::TopicData::default()
                .with_topic_name(name(topic))
                .with_partitions(vec![partition(0), partition(1)])
        };
        let topics = vec![topic("__cluster_metadata"), topic("t0")];
        let answer = client.ask(version, &DescribeQuorumRequest::default().with_topics(topics)).await;
        let partitions: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let codes: Vec<_> = partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![0, 3, 3, 3]), "version {version}");
        let [voter] = &partitions[0].current_voters[..] else { panic!("{partitions:?}") };
        assert_eq!(
            (partitions[0].leader_id, partitions[0].leader_epoch, voter.replica_id),
            (1.into(), 0, 1.into())
        );
        assert_eq!(voter.log_end_offset, partitions[0].high_watermark);
        assert!(partitions[0].high_watermark > before, "a topic was created");
        before = partitions[0].high_watermark;
        assert_eq!(voter.last_fetch_timestamp > 0, version >= 1);
        assert_eq!(answer.nodes.len(), usize::from(version >= 2));
    }
}

#[tokio::test]
async fn what_has_settings_is_listed() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    assert!(client.ask(0, &ListConfigResourcesRequest::default()).await.config_resources.is_empty());
    let mut list = async |kinds: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec());
        let answer = client.ask(1, &request).await;
        let resources = answer.config_resources.iter();
        let found = resources.map(|found| (found.resource_type, found.resource_name.to_string()));
        (answer.error_code, found.collect::<Vec<_>>())
    };
    let (topic, broker) = ((TOPIC, "t".to_owned()), (4, "1".to_owned()));
    assert_eq!(list(&[]).await, (0, vec![topic.clone(), broker.clone()]));
    assert_eq!(list(&[TOPIC]).await, (0, vec![topic]));
    assert_eq!(list(&[4, 8, 16, 32]).await, (0, vec![broker]));
    assert_eq!(list(&[4, 5]).await, (35, vec![]), "an unknown type");
}

#[tokio::test]
async fn the_server_shows_where_clients_reach_it() {
    let world = World::start().await;
    let mut client = world.client().await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(Some(vec![text("advertised.listeners")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let mut shown =
        client.ask(4, &request.clone().with_include_synonyms(true)).await.results.remove(0).configs;
    let expected = format!("PLAINTEXT://{}", world.address);
    assert_eq!((shown[0].value.as_deref(), shown[0].config_source), (Some(&*expected), 4));
    assert!(shown[0].read_only);
    assert_eq!(shown.remove(0).synonyms[0].value.as_deref(), Some(&*expected));
    let shown = client.ask(4, &request).await.results.remove(0).configs;
    assert!(shown[0].synonyms.is_empty());
}
