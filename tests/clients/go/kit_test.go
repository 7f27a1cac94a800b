// Package clients tests a Kafka broker with franz-go and its admin package.
//
// The broker's address comes from ANNALS_KAFKA. Tests run side by side and name their own topics and groups.
package clients

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Writing systems, a combining mark, right-to-left text, a letter outside the basic plane, and a NUL.
const unicode = "Grüße, Ἀθήνα, 東京, عربى, e\u0301, 🦀, \x00 end"

// patience is how long a test waits for anything.
const patience = 60 * time.Second

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func fresh(prefix string) string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // It never fails.
	return prefix + "-" + hex.EncodeToString(random[:])
}

// client connects to the broker and closes with the test.
func client(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	options = append([]kgo.Opt{kgo.SeedBrokers(os.Getenv("ANNALS_KAFKA"))}, options...)
	c, err := kgo.NewClient(options...)
	ok(t, err)
	t.Cleanup(c.Close)
	return c
}

func admin(t *testing.T) *kadm.Client {
	t.Helper()
	return kadm.NewClient(client(t))
}

// makeTopic creates a topic with a fresh name; config alternates between keys and values.
func makeTopic(t *testing.T, partitions int32, config ...string) string {
	t.Helper()
	name := fresh("topic")
	settings := map[string]*string{}
	for i := 0; i < len(config); i += 2 {
		settings[config[i]] = &config[i+1]
	}
	_, err := admin(t).CreateTopic(limited(t), partitions, 1, settings, name)
	ok(t, err)
	return name
}

func numbers(from, to int) []string {
	var texts []string
	for i := from; i < to; i++ {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

// send sends all values and waits for every acknowledgement.
func send(t *testing.T, topic string, values []string, options ...kgo.Opt) {
	t.Helper()
	var records []*kgo.Record
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(value)})
	}
	ok(t, client(t, options...).ProduceSync(limited(t), records...).FirstErr())
}

// poll reads count records; fails if they do not come.
func poll(t *testing.T, c *kgo.Client, count int) []*kgo.Record {
	t.Helper()
	ctx := limited(t)
	var records []*kgo.Record
	for len(records) < count {
		fetches := c.PollRecords(ctx, count-len(records))
		for _, failure := range fetches.Errors() {
			t.Fatalf("%d of %d records, then %s/%d: %v", len(records), count, failure.Topic, failure.Partition, failure.Err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// readFrom starts a reader of one partition at offset.
func readFrom(t *testing.T, topic string, partition int32, offset kgo.Offset, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	places := map[string]map[int32]kgo.Offset{topic: {partition: offset}}
	return client(t, append(options, kgo.ConsumePartitions(places))...)
}

// readAll reads every record of a topic, from the beginning to the end as it is now.
func readAll(t *testing.T, topic string) []*kgo.Record {
	t.Helper()
	a := admin(t)
	starts, err := a.ListStartOffsets(limited(t), topic)
	ok(t, err)
	ends, err := a.ListEndOffsets(limited(t), topic)
	ok(t, err)
	count := 0
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		count += int(end.Offset - start.Offset)
	})
	c := client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	return poll(t, c, count)
}

func values(records []*kgo.Record) []string {
	var texts []string
	for _, record := range records {
		texts = append(texts, string(record.Value))
	}
	return texts
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
