package clients

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func contextOf(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// member is a client in a group that knows what it was given.
type member struct {
	*kgo.Client
	lock       sync.Mutex
	partitions map[int32]bool
	changes    int
}

func join(t *testing.T, group, topic string, options ...kgo.Opt) *member {
	t.Helper()
	m := &member{partitions: map[int32]bool{}}
	change := func(held bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.lock.Lock()
			defer m.lock.Unlock()
			for _, partition := range changed[topic] {
				m.changes++
				if m.partitions[partition] = held; !held {
					delete(m.partitions, partition)
				}
			}
		}
	}
	m.Client = client(t, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}, options...)...)
	return m
}

func (m *member) share() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	var share []int32
	for partition := range m.partitions {
		share = append(share, partition)
	}
	slices.Sort(share)
	return share
}

func (m *member) changeCount() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.changes
}

// settle waits until the members share all partitions among them, each with at least one.
func settle(t *testing.T, partitions int, members ...*member) {
	t.Helper()
	eventually(t, "the members share the partitions", func() bool {
		var all []int32
		for _, m := range members {
			share := m.share()
			if len(share) == 0 {
				return false
			}
			all = append(all, share...)
		}
		slices.Sort(all)
		return len(all) == partitions && len(slices.Compact(all)) == partitions
	})
}

func TestMembersShareThePartitions(t *testing.T) {
	t.Parallel()
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	for name, balancer := range balancers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic, group := makeTopic(t, 4), fresh("group")
			first := join(t, group, topic, kgo.Balancers(balancer))
			settle(t, 4, first)
			second := join(t, group, topic, kgo.Balancers(balancer))
			settle(t, 4, first, second)
			if len(first.share()) != 2 {
				t.Errorf("two each, got %v and %v", first.share(), second.share())
			}
			second.Close()
			settle(t, 4, first)
		})
	}
}

func TestStaticMemberComesBackToItsPartitions(t *testing.T) {
	t.Parallel()
	topic, group := makeTopic(t, 4), fresh("group")
	stays := join(t, group, topic, kgo.InstanceID("stays"))
	leaves := join(t, group, topic, kgo.InstanceID("leaves"))
	settle(t, 4, stays, leaves)
	share, changes := leaves.share(), stays.changeCount()
	leaves.Close()
	returns := join(t, group, topic, kgo.InstanceID("leaves"))
	eventually(t, "the same share", func() bool { return slices.Equal(returns.share(), share) })
	if now := stays.changeCount(); now != changes {
		t.Errorf("the other member noticed: %d changes, then %d", changes, now)
	}
}

func TestStaticMemberIsRemovedByAnAdministrator(t *testing.T) {
	t.Parallel()
	topic, group := makeTopic(t, 4), fresh("group")
	stays := join(t, group, topic, kgo.InstanceID("stays"))
	leaves := join(t, group, topic, kgo.InstanceID("leaves"))
	settle(t, 4, stays, leaves)
	leaves.Close()
	answer, err := admin(t).LeaveGroup(limited(t), kadm.LeaveGroup(group).InstanceIDs("leaves"))
	ok(t, err)
	ok(t, answer.Error())
	settle(t, 4, stays)
}

func TestRestartedConsumerGoesOnWhereItCommitted(t *testing.T) {
	t.Parallel()
	topic, group := makeTopic(t, 1), fresh("group")
	send(t, topic, numbers(0, 10))
	first := join(t, group, topic)
	ok(t, first.CommitRecords(limited(t), poll(t, first.Client, 4)...))
	poll(t, first.Client, 2)
	first.Close()
	second := join(t, group, topic)
	if found := values(poll(t, second.Client, 6)); !slices.Equal(found, numbers(4, 10)) {
		t.Fatalf("4 to 9, got %v", found)
	}
}

func TestOffsetsAndMetadataOfAGroup(t *testing.T) {
	t.Parallel()
	a, topic, group := admin(t), makeTopic(t, 2), fresh("group")
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "note: ünï"})
	offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 7, LeaderEpoch: -1})
	ok(t, a.CommitAllOffsets(limited(t), group, offsets))
	found, err := a.FetchOffsets(limited(t), group)
	ok(t, err)
	first, _ := found.Lookup(topic, 0)
	second, _ := found.Lookup(topic, 1)
	if first.At != 3 || first.Metadata != "note: ünï" || second.At != 7 {
		t.Errorf("got %+v and %+v", first, second)
	}
	var one kadm.TopicsSet
	one.Add(topic, 0)
	answer, err := a.DeleteOffsets(limited(t), group, one)
	ok(t, err)
	ok(t, answer.Error())
	found, err = a.FetchOffsets(limited(t), group)
	ok(t, err)
	if _, present := found.Lookup(topic, 0); present {
		t.Errorf("the deleted offset is there: %+v", found)
	}
}

func TestGroupsAreListedDescribedAndDeleted(t *testing.T) {
	t.Parallel()
	a, topic, group := admin(t), makeTopic(t, 2), fresh("group")
	only := join(t, group, topic, kgo.ClientID("who-i-am"), kgo.Balancers(kgo.RoundRobinBalancer()))
	settle(t, 2, only)
	listed, err := a.ListGroups(limited(t))
	ok(t, err)
	if !slices.Contains(listed.Groups(), group) {
		t.Errorf("%s is not in the list", group)
	}
	described, err := a.DescribeGroups(limited(t), group)
	ok(t, err)
	d := described[group]
	if d.State != "Stable" || d.Protocol != "roundrobin" || len(d.Members) != 1 || d.Members[0].ClientID != "who-i-am" {
		t.Errorf("got %+v", d)
	}
	_, err = a.DeleteGroup(limited(t), group)
	refused(t, kerr.NonEmptyGroup, err)
	only.Close()
	eventually(t, "the group is deleted", func() bool {
		_, err = a.DeleteGroup(limited(t), group)
		if err != nil && !errors.Is(err, kerr.NonEmptyGroup) {
			t.Fatal(err)
		}
		return err == nil
	})
	_, err = a.DeleteGroup(limited(t), group)
	refused(t, kerr.GroupIDNotFound, err)
}

func TestLagOfAGroup(t *testing.T) {
	t.Parallel()
	a, topic, group := admin(t), makeTopic(t, 1), fresh("group")
	send(t, topic, numbers(0, 10))
	only := join(t, group, topic)
	ok(t, only.CommitRecords(limited(t), poll(t, only.Client, 4)...))
	lags, err := a.Lag(limited(t), group)
	ok(t, err)
	if total := lags[group].Lag.Total(); total != 6 {
		t.Errorf("a lag of 6, got %d", total)
	}
}
