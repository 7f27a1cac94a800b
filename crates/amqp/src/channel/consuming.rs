//! Consumers, their limits, and single messages.
//!
//! A delivery is leased from the queue by the broker; the channel gives it a tag and remembers it until it is settled. How
//! many a consumer may have unsettled is what `basic.qos` said when the consumer came; the limit of the whole channel
//! counts all of its consumers, as it stands now. The broker keeps to both.

use super::effect::{Ask, Consume, Effect};
use super::{Around, Awaited, Channel, REPLY_TO, ReplyConsumer, chosen_name, id};
use crate::methods::basic;
use crate::reply::{Exception, not_allowed, not_implemented, precondition_failed};
use crate::rights::Right;
use crate::wire::text::Text;

impl<L: Clone> Channel<L> {
    pub(super) fn qos(&mut self, qos: &basic::Qos) -> Result<(), Exception> {
        if qos.prefetch_size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({})", qos.prefetch_size)));
        }
        if qos.global {
            self.effects.push_back(Effect::Window(qos.prefetch_count));
        } else {
            self.prefetch = qos.prefetch_count;
            // As RabbitMQ does: the one takes the place of the other.
            self.effects.push_back(Effect::Window(0));
        }
        self.send(basic::QosOk {});
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        mut consume: basic::Consume,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        if self.consumers.contains_key(&consume.consumer_tag) {
            return Err(not_allowed(format!("attempt to reuse consumer tag '{}'", consume.consumer_tag)));
        }
        if consume.queue.as_str() == REPLY_TO {
            return self.consume_replies(consume, around);
        }
        consume.queue = self.expand_queue(consume.queue)?;
        around.rights.check_queue(Right::Read, &consume.queue)?;
        consume.consumer_tag = tag(consume.consumer_tag, around);
        let (tag, no_wait) = (consume.consumer_tag.detached(), consume.no_wait);
        let key = self.next_consumer;
        self.next_consumer = self.next_consumer.wrapping_add(1);
        let prefetch = self.prefetch;
        let ask = Ask::Consume(Consume { key, consume, prefetch });
        self.ask(id!(basic::Consume), ask, Awaited::Consume { tag, key, no_wait });
        Ok(())
    }

    pub(super) fn consuming(&mut self, tag: Text, key: u32, no_wait: bool) {
        self.send_unless(no_wait, basic::ConsumeOk { consumer_tag: tag.clone() });
        self.consumers.insert(tag, key);
    }

    /// Replies come without a queue, straight from whoever publishes them.
    fn consume_replies(&mut self, consume: basic::Consume, around: Around<'_>) -> Result<(), Exception> {
        if !consume.no_ack {
            return Err(precondition_failed("reply consumer cannot acknowledge"));
        }
        if self.reply_consumer.is_some() {
            return Err(precondition_failed("reply consumer already set"));
        }
        let tag = tag(consume.consumer_tag, around).detached();
        let address = chosen_name(&format!("{REPLY_TO}."), around.clock);
        self.reply_consumer = Some(ReplyConsumer { tag: tag.clone(), address: address.clone() });
        self.effects.push_back(Effect::Replies(Some(address)));
        self.send_unless(consume.no_wait, basic::ConsumeOk { consumer_tag: tag });
        Ok(())
    }

    pub(super) fn cancel(&mut self, cancel: basic::Cancel) -> Result<(), Exception> {
        let basic::Cancel { consumer_tag, no_wait } = cancel;
        if self.reply_consumer.as_ref().is_some_and(|consumer| consumer.tag == consumer_tag) {
            self.reply_consumer = None;
            self.effects.push_back(Effect::Replies(None));
            self.send_unless(no_wait, basic::CancelOk { consumer_tag });
            return Ok(());
        }
        match self.consumers.remove(&consumer_tag) {
            Some(key) => {
                let ok = (!no_wait).then(|| basic::CancelOk { consumer_tag }.into());
                self.ask(id!(basic::Cancel), Ask::Cancel(key), Awaited::Ok(ok));
            }
            // The specification says to take no notice.
            None => self.send_unless(no_wait, basic::CancelOk { consumer_tag }),
        }
        Ok(())
    }

    /// The broker has ended a consumer: its queue is gone.
    pub(crate) fn consumer_gone(&mut self, tag: &Text) {
        self.consumers.remove(tag);
    }

    /// The tag of the consumer of replies.
    pub(crate) fn reply_consumer(&self) -> Option<&Text> {
        self.reply_consumer.as_ref().map(|consumer| &consumer.tag)
    }

    pub(super) fn get(&mut self, mut get: basic::Get, around: Around<'_>) -> Result<(), Exception> {
        get.queue = self.expand_queue(get.queue)?;
        around.rights.check_queue(Right::Read, &get.queue)?;
        let awaited = Awaited::Get { no_ack: get.no_ack };
        self.ask(id!(basic::Get), Ask::Get(get), awaited);
        Ok(())
    }

    /// The message that was asked for; returns the tag that it is delivered with.
    pub(crate) fn got(&mut self, lease: L) -> u64 {
        let no_ack = matches!(self.awaited.take(), Some((_, Awaited::Get { no_ack: true })));
        self.deliver(lease, no_ack)
    }

    /// A message goes to the client; returns the tag that it is delivered with.
    pub(crate) fn deliver(&mut self, lease: L, no_ack: bool) -> u64 {
        let tag = self.deliver_reply();
        if !no_ack {
            self.unacked.push(tag, lease);
        }
        tag
    }

    /// A message goes to a consumer and cannot be settled; returns its tag.
    pub(crate) fn deliver_reply(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }
}

/// The tag that a client chose, or one that the server chooses.
fn tag(tag: Text, around: Around<'_>) -> Text {
    if tag.is_empty() { chosen_name("amq.ctag-", around.clock) } else { tag }
}
