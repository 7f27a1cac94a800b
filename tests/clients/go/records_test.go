package clients

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func stampedRecords(t *testing.T, topic string, timesMs ...int64) {
	t.Helper()
	c := client(t)
	for i, timeMs := range timesMs {
		record := &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i)), Timestamp: time.UnixMilli(timeMs)}
		ok(t, c.ProduceSync(limited(t), record).FirstErr())
	}
}

func TestEveryCompressionAndAcksReadsBack(t *testing.T) {
	t.Parallel()
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	levels := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("%d:%s", i, strings.Repeat("repetition ", 20)))
	}
	for codecName, codec := range codecs {
		for level, acks := range levels {
			t.Run(codecName+"-acks-"+level, func(t *testing.T) {
				t.Parallel()
				options := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks)}
				if level != "all" {
					options = append(options, kgo.DisableIdempotentWrite())
				}
				topic := makeTopic(t, 1)
				send(t, topic, want, options...)
				// With acks 0 nobody said that the records have arrived yet.
				eventually(t, "all records are there", func() bool { return len(readAll(t, topic)) == 200 })
				if found := values(readAll(t, topic)); !slices.Equal(found, want) {
					t.Fatalf("other values than were sent: %v", found)
				}
			})
		}
	}
}

func TestKeysHeadersTimestampsAndNullsAreKept(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 1, "retention.ms", "-1")
	headers := []kgo.RecordHeader{
		{Key: "trace", Value: []byte("1")}, {Key: "trace", Value: []byte("2")}, {Key: "empty", Value: []byte{}},
		{Key: "null"}, {Key: "ünï", Value: []byte(unicode)},
	}
	full := &kgo.Record{
		Topic: topic, Key: []byte("k"), Value: []byte(unicode), Headers: headers, Timestamp: time.UnixMilli(1_234_567_890_123),
	}
	tombstone := &kgo.Record{Topic: topic, Key: []byte("tombstone")}
	empty := &kgo.Record{Topic: topic, Value: []byte{}}
	ok(t, client(t).ProduceSync(limited(t), full, tombstone, empty).FirstErr())

	found := readAll(t, topic)
	if string(found[0].Key) != "k" || string(found[0].Value) != unicode || !found[0].Timestamp.Equal(full.Timestamp) {
		t.Errorf("got %+v", found[0])
	}
	same := func(a, b kgo.RecordHeader) bool {
		return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
	}
	if !slices.EqualFunc(found[0].Headers, headers, same) {
		t.Errorf("headers are %v", found[0].Headers)
	}
	if string(found[1].Key) != "tombstone" || found[1].Value != nil {
		t.Errorf("a null value, got %+v", found[1])
	}
	if found[2].Key != nil || found[2].Value == nil || len(found[2].Value) != 0 {
		t.Errorf("a null key and an empty value, got %+v", found[2])
	}
}

func TestOrderIsKeptForEachKey(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 4)
	c := client(t, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	var records []*kgo.Record
	for i := range 20_000 {
		key := []byte(fmt.Sprintf("key-%d", i%97))
		records = append(records, &kgo.Record{Topic: topic, Key: key, Value: []byte(strconv.Itoa(i))})
	}
	ok(t, c.ProduceSync(limited(t), records...).FirstErr())

	lastSeen, partitions := map[string]int{}, map[int32]bool{}
	found := readAll(t, topic)
	for _, record := range found {
		number, err := strconv.Atoi(string(record.Value))
		ok(t, err)
		if before, seen := lastSeen[string(record.Key)]; seen && number <= before {
			t.Fatalf("%s went from %d back to %d", record.Key, before, number)
		}
		lastSeen[string(record.Key)] = number
		partitions[record.Partition] = true
	}
	if len(found) != 20_000 || len(partitions) != 4 {
		t.Fatalf("%d records in %d partitions", len(found), len(partitions))
	}
}

func TestLargeMessagesPassAndTooLargeOnesAreRefused(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 1)
	c := client(t, kgo.ProducerBatchMaxBytes(10_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	ok(t, c.ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: make([]byte, 950_000)}).FirstErr())
	err := c.ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: make([]byte, 2_000_000)}).FirstErr()
	refused(t, kerr.MessageTooLarge, err)
	if found := readAll(t, topic); len(found) != 1 || len(found[0].Value) != 950_000 {
		t.Fatalf("only the first is there, got %d records", len(found))
	}
}

func TestCompactedTopicRefusesARecordWithoutAKey(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 1, "cleanup.policy", "compact")
	err := client(t).ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: []byte("no key")}).FirstErr()
	refused(t, kerr.InvalidRecord, err)
	ok(t, client(t).ProduceSync(limited(t), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}).FirstErr())
}

func TestTopicIsMadeByItsFirstRecord(t *testing.T) {
	t.Parallel()
	topic := fresh("auto")
	send(t, topic, []string{"first"}, kgo.AllowAutoTopicCreation())
	if found := values(readAll(t, topic)); !slices.Equal(found, []string{"first"}) {
		t.Fatalf("got %v", found)
	}
}

func TestReadingStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 1, "retention.ms", "-1")
	var records []*kgo.Record
	for i := range 100 {
		at := time.UnixMilli(int64(1000 + 10*i))
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i)), Timestamp: at})
	}
	ok(t, client(t).ProduceSync(limited(t), records...).FirstErr())

	places := []struct {
		name   string
		offset kgo.Offset
		first  int
	}{
		{"beginning", kgo.NewOffset().AtStart(), 0},
		{"offset", kgo.NewOffset().At(57), 57},
		{"before the end", kgo.NewOffset().AtEnd().Relative(-3), 97},
		{"time", kgo.NewOffset().AfterMilli(1565), 57},
		{"out of range", kgo.NewOffset().At(5000), 0},
	}
	for _, place := range places {
		reset := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
		c := readFrom(t, topic, 0, place.offset, reset)
		if found := values(poll(t, c, 100-place.first)); !slices.Equal(found, numbers(place.first, 100)) {
			t.Errorf("%s: got %v", place.name, found)
		}
	}
}

func TestSeekAndPause(t *testing.T) {
	t.Parallel()
	topic := makeTopic(t, 1)
	send(t, topic, numbers(0, 10))
	c := readFrom(t, topic, 0, kgo.NewOffset().AtStart())
	poll(t, c, 10)
	c.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 4}}})
	if found := values(poll(t, c, 6)); !slices.Equal(found, numbers(4, 10)) {
		t.Fatalf("4 to 9 after the seek, got %v", found)
	}
	c.PauseFetchTopics(topic)
	send(t, topic, numbers(10, 11))
	ctx, cancel := contextOf(time.Second)
	defer cancel()
	if paused := c.PollFetches(ctx).Records(); len(paused) != 0 {
		t.Fatalf("silence while paused, got %v", values(paused))
	}
	c.ResumeFetchTopics(topic)
	if found := values(poll(t, c, 1)); !slices.Equal(found, numbers(10, 11)) {
		t.Fatalf("10 after the pause, got %v", found)
	}
}
