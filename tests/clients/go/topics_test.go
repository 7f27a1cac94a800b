package clients

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func refused(t *testing.T, want, err error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("want %v, got %v", want, err)
	}
}

func TestTopicIsCreatedListedAndDeleted(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 3)
	listed, err := a.ListTopics(limited(t), topic)
	ok(t, err)
	if found := listed[topic].Partitions; len(found) != 3 || found[2].Leader != found[2].ISR[0] {
		t.Fatalf("three partitions with leaders, got %v", found)
	}
	_, err = a.DeleteTopic(limited(t), topic)
	ok(t, err)
	eventually(t, "the topic is gone", func() bool {
		all, err := a.ListTopics(limited(t))
		ok(t, err)
		return !all.Has(topic)
	})
}

func TestImpossibleTopicsAreRefused(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1)
	_, err := a.CreateTopic(limited(t), 1, 1, nil, topic)
	refused(t, kerr.TopicAlreadyExists, err)
	_, err = a.CreateTopic(limited(t), 1, 1, nil, "not a name")
	refused(t, kerr.InvalidTopicException, err)
	_, err = a.CreateTopic(limited(t), 0, 1, nil, fresh("topic"))
	refused(t, kerr.InvalidPartitions, err)
	_, err = a.CreateTopic(limited(t), 1, 1, map[string]*string{"no.such": kadm.StringPtr("1")}, fresh("topic"))
	refused(t, kerr.InvalidConfig, err)
	_, err = a.DeleteTopic(limited(t), fresh("topic"))
	refused(t, kerr.UnknownTopicOrPartition, err)
	validated, err := a.ValidateCreateTopics(limited(t), 1, 1, nil, topic+"-not-made")
	ok(t, err)
	ok(t, validated.Error())
	all, err := a.ListTopics(limited(t))
	ok(t, err)
	if all.Has(topic + "-not-made") {
		t.Fatal("a topic that was only validated is there")
	}
}

func topicConfig(t *testing.T, topic, key string) string {
	t.Helper()
	described, err := admin(t).DescribeTopicConfigs(limited(t), topic)
	ok(t, err)
	config, err := described.On(topic, nil)
	ok(t, err)
	for _, entry := range config.Configs {
		if entry.Key == key {
			return entry.MaybeValue()
		}
	}
	t.Fatalf("no config %s", key)
	return ""
}

func TestConfigsAreAlteredOneByOne(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1, "retention.ms", "86400000", "max.message.bytes", "2000000")
	changed, err := a.AlterTopicConfigs(limited(t), []kadm.AlterConfig{
		{Op: kadm.DeleteConfig, Name: "retention.ms"},
		{Op: kadm.SetConfig, Name: "retention.bytes", Value: kadm.StringPtr("5000000")},
		{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
	}, topic)
	ok(t, err)
	ok(t, changed[0].Err)
	want := map[string]string{"retention.ms": "604800000", "retention.bytes": "5000000", "max.message.bytes": "2000000"}
	for key, value := range want {
		if found := topicConfig(t, topic, key); found != value {
			t.Errorf("%s is %s, want %s", key, found, value)
		}
	}
	policies := strings.Split(topicConfig(t, topic, "cleanup.policy"), ",")
	slices.Sort(policies)
	if !slices.Equal(policies, []string{"compact", "delete"}) {
		t.Errorf("cleanup.policy is %v", policies)
	}
	changed, err = a.AlterTopicConfigs(limited(t), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "cleanup.policy", Value: kadm.StringPtr("shred")},
	}, topic)
	ok(t, err)
	refused(t, kerr.InvalidConfig, changed[0].Err)
}

func TestPartitionsAreAddedAndNeverRemoved(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1)
	answers, err := a.UpdatePartitions(limited(t), 4, topic)
	ok(t, err)
	ok(t, answers.Error())
	eventually(t, "four partitions", func() bool {
		listed, err := a.ListTopics(limited(t), topic)
		ok(t, err)
		return len(listed[topic].Partitions) == 4
	})
	answers, err = a.UpdatePartitions(limited(t), 2, topic)
	ok(t, err)
	refused(t, kerr.InvalidPartitions, answers.Error())
}

func TestDeletedRecordsAreGoneAndTheRestStays(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1)
	send(t, topic, numbers(0, 10))
	var before kadm.Offsets
	before.AddOffset(topic, 0, 7, -1)
	deleted, err := a.DeleteRecords(limited(t), before)
	ok(t, err)
	if mark := deleted[topic][0]; mark.Err != nil || mark.LowWatermark != 7 {
		t.Fatalf("low watermark 7, got %+v", mark)
	}
	if found := values(readAll(t, topic)); !slices.Equal(found, numbers(7, 10)) {
		t.Fatalf("7 to 9, got %v", found)
	}
	before.AddOffset(topic, 0, 99, -1)
	deleted, err = a.DeleteRecords(limited(t), before)
	ok(t, err)
	refused(t, kerr.OffsetOutOfRange, deleted[topic][0].Err)
}

func TestOffsetsAreListedByKindAndTime(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1, "retention.ms", "-1")
	stampedRecords(t, topic, 1000, 2000, 5000, 3000)
	check := func(kind string, want int64, listed kadm.ListedOffsets, err error) {
		t.Helper()
		ok(t, err)
		if found, _ := listed.Lookup(topic, 0); found.Err != nil || found.Offset != want {
			t.Errorf("%s: want offset %d, got %+v", kind, want, found)
		}
	}
	listed, err := a.ListStartOffsets(limited(t), topic)
	check("earliest", 0, listed, err)
	listed, err = a.ListEndOffsets(limited(t), topic)
	check("latest", 4, listed, err)
	listed, err = a.ListMaxTimestampOffsets(limited(t), topic)
	check("max timestamp", 2, listed, err)
	listed, err = a.ListOffsetsAfterMilli(limited(t), 1500, topic)
	check("between", 1, listed, err)
	listed, err = a.ListOffsetsAfterMilli(limited(t), 9000, topic)
	check("after the last", 4, listed, err)
}

func TestTheBrokerDescribesItself(t *testing.T) {
	t.Parallel()
	a, topic := admin(t), makeTopic(t, 1)
	send(t, topic, numbers(0, 3), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	metadata, err := a.BrokerMetadata(limited(t))
	ok(t, err)
	if metadata.Cluster == "" || len(metadata.Brokers) != 1 || metadata.Controller != metadata.Brokers[0].NodeID {
		t.Errorf("a cluster of one, got %+v", metadata)
	}
	var one kadm.TopicsSet
	one.Add(topic, 0)
	producers, err := a.DescribeProducers(limited(t), one)
	ok(t, err)
	if found := producers[topic].Partitions[0].ActiveProducers.Sorted(); len(found) != 1 || found[0].LastSequence != 2 {
		t.Errorf("one producer at sequence 2, got %+v", found)
	}
	folders, err := a.DescribeAllLogDirs(limited(t), one)
	ok(t, err)
	var size int64
	folders.Each(func(folder kadm.DescribedLogDir) { size += folder.Topics.Size() })
	if size <= 0 {
		t.Errorf("a size above zero, got %+v", folders)
	}
}
