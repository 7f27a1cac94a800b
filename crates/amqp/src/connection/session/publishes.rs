//! Publishes on their way: together to the broker, then to the disk, then to whoever is told of them.
//!
//! Those that come one after another for one exchange go to the broker together. If it refuses them, one of them may be why, and
//! each goes again alone: the others fare as if there had been no others. What becomes of publishes is awaited in the order in
//! which they were made.
//!
//! Invariant: behind an error that closes a channel, nothing of it is published.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::Session;
use crate::backend::{Backend, Fate, Published};
use crate::channel::REPLY_TO;
use crate::channel::effect::Publish;
use crate::channel::publishing::Outcome;
use crate::methods::Method;
use crate::reply::Exception;
use crate::wire::outbound::Outbound;

/// Publishes that go to the broker together, and the bytes of their bodies.
pub(super) const BATCH_MAX: usize = 512;
/// The same in bytes of bodies.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Of how many queues together their messages may be, as far as can be told from those before them: a few milliseconds of
/// work, after which others have their turn.
const BATCH_COPIES: u64 = 16 * 1024;
/// So many of one batch that others have their turn after it.
const TURN_COPIES: u64 = 2 * 1024;

/// Publishes of one channel to one exchange.
pub(super) struct Batch {
    channel: u16,
    pub(super) publishes: Vec<Publish>,
    body_bytes: usize,
}

/// What comes to its end in the order in which it began.
pub(super) enum Unsafe<T> {
    /// Publishes on their way to the disk, with the numbers by which their publisher knows them, if it wants to know.
    Publishes { channel: u16, generation: u64, numbers: Option<RangeInclusive<u64>>, count: usize, ticket: T },
    /// A question that is not asked before the publishes in front of it are there.
    Question(oneshot::Sender<()>),
}

impl<B: Backend> Session<B> {
    /// Puts a publish to those that go to the broker together.
    pub(super) async fn publish(
        &mut self,
        channel: u16,
        publish: Publish,
        out: &mut Outbound,
    ) -> Result<(), Exception> {
        self.publishes = true;
        let to_reply = publish.exchange.is_empty() && publish.routing_key.starts_with(REPLY_TO);
        if to_reply
            || self.batch.as_ref().is_some_and(|batch| !batch.takes(channel, &publish, self.batch_max))
        {
            self.flush(out).await?;
            // What went before has closed the channel.
            if self.channels.get(&channel).is_none_or(|slot| slot.machine.is_closing()) {
                return Ok(());
            }
        }
        if to_reply {
            if self.replies.send(&publish) {
                // It is where it belongs: nothing has to be waited for.
                let generation = self.channels.get(&channel).map_or(0, |slot| slot.generation);
                let numbers = publish.number.map(|number| number..=number);
                self.publishes_ended(channel, generation, numbers, Outcome::Safe);
            } else {
                let mandatory = Some(&publish).filter(|publish| publish.mandatory);
                self.settled_at_once(channel, publish.number, mandatory, Fate::Unroutable);
            }
            return Ok(());
        }
        let empty = || Batch { channel, publishes: Vec::new(), body_bytes: 0 };
        let batch = self.batch.get_or_insert_with(empty);
        batch.body_bytes += publish.content.body.len();
        batch.publishes.push(publish);
        Ok(())
    }

    pub(super) async fn flush_publishes(&mut self, out: &mut Outbound) -> Result<(), Exception> {
        let Some(Batch { channel, publishes, .. }) = self.batch.take() else { return Ok(()) };
        match self.backend.publish(&publishes).await {
            Ok(published) => self.accepted(channel, &publishes, published, out).await,
            // Nothing of it was published, and one of them may be why.
            Err(_) => self.publish_singly(channel, &publishes, out).await,
        }
    }

    /// Publishes as if each had come alone.
    async fn publish_singly(
        &mut self,
        channel: u16,
        publishes: &[Publish],
        out: &mut Outbound,
    ) -> Result<(), Exception> {
        for publish in publishes.chunks(1) {
            match self.backend.publish(publish).await {
                Ok(published) => self.accepted(channel, publish, published, out).await?,
                // The channel is closed by it: what comes behind is passed over.
                Err(error) => {
                    if publish.iter().any(|publish| publish.number.is_some()) {
                        self.confirm_all(out).await;
                    }
                    return Box::pin(self.failed(channel, error.by((60, 40)), out)).await;
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of all that was published, and tells the publishers.
    async fn confirm_all(&mut self, out: &mut Outbound) {
        while !self.unsafe_publishes.is_empty() {
            let outcome = First(self.unsafe_publishes.front_mut()).await;
            self.safe(outcome);
        }
        self.confirm(out);
    }

    /// The broker has publishes of a channel, and says what became of each so far.
    async fn accepted(
        &mut self,
        channel: u16,
        publishes: &[Publish],
        published: Published<B::Ticket>,
        out: &mut Outbound,
    ) -> Result<(), Exception> {
        let Published { fates, copies, ticket } = published;
        let number = |publish: Option<&Publish>| publish.and_then(|publish| publish.number);
        let numbers = number(publishes.first()).zip(number(publishes.last()));
        let numbers = numbers.map(|(first, last)| first..=last);
        let count = publishes.len();
        self.batch_max = batch_max(count, copies);
        if copies >= TURN_COPIES {
            tokio::task::yield_now().await;
        }
        for (publish, fate) in publishes.iter().zip(fates).filter(|(_, fate)| *fate != Fate::Queued) {
            // Those that were to arrive go back.
            let mandatory = Some(publish).filter(|publish| publish.mandatory);
            self.settled_at_once(channel, publish.number, mandatory, fate);
        }
        let generation = self.channels.get(&channel).map_or(0, |slot| slot.generation);
        match ticket {
            Some(ticket) => {
                self.unsafe_count += count;
                let publishes = Unsafe::Publishes { channel, generation, numbers, count, ticket };
                self.unsafe_publishes.push_back(publishes);
            }
            None => self.publishes_ended(channel, generation, numbers, Outcome::Safe),
        }
        Box::pin(self.carry_out(channel, out)).await
    }

    /// What is known of a publish before anything is written. `mandatory` goes back if no queue wants it.
    fn settled_at_once(
        &mut self,
        channel: u16,
        number: Option<u64>,
        mandatory: Option<&Publish>,
        fate: Fate,
    ) {
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        if let (Fate::Unroutable, Some(publish)) = (fate, mandatory) {
            slot.machine.unroutable(publish);
        }
        let Some(number) = number else { return };
        note(&mut self.to_confirm, channel);
        match fate {
            Fate::Unroutable => slot.machine.published(number, Outcome::Safe),
            Fate::Refused => slot.machine.published(number, Outcome::Failed),
            // The ticket tells.
            Fate::Queued => {}
        }
    }

    fn publishes_ended(
        &mut self,
        channel: u16,
        generation: u64,
        numbers: Option<RangeInclusive<u64>>,
        outcome: Outcome,
    ) {
        let Some(numbers) = numbers else { return };
        let slot = self.channels.get_mut(&channel).filter(|slot| slot.generation == generation);
        let Some(slot) = slot else { return };
        numbers.for_each(|number| slot.machine.published(number, outcome));
        note(&mut self.to_confirm, channel);
    }

    /// The first publish has come to its end, and perhaps others with it.
    pub(super) fn safe(&mut self, outcome: Outcome) {
        let mut next = Some(outcome);
        while let Some(outcome) = next {
            match self.unsafe_publishes.pop_front() {
                Some(Unsafe::Publishes { channel, generation, numbers, count, ticket: _ }) => {
                    self.unsafe_count -= count;
                    self.publishes_ended(channel, generation, numbers, outcome);
                }
                Some(Unsafe::Question(go)) => {
                    // Nobody asks any more if it fails.
                    let _ = go.send(());
                }
                None => break,
            }
            next = First(self.unsafe_publishes.front_mut()).now_or_never();
        }
    }

    /// Tells publishers what they have not been told.
    pub(crate) fn confirm(&mut self, out: &mut Outbound) {
        for channel in self.to_confirm.drain(..) {
            let Some(slot) = self.channels.get_mut(&channel) else { continue };
            slot.machine.confirm(|method| match method {
                Method::BasicAck(ack) => out.ack(channel, ack.delivery_tag, ack.multiple),
                method => out.method(channel, &method),
            });
        }
    }
}

/// How many messages may go together that are like these, which have so many copies.
fn batch_max(count: usize, copies: u64) -> usize {
    let fitting = (BATCH_COPIES * count as u64).checked_div(copies);
    fitting.and_then(|count| usize::try_from(count).ok()).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX)
}

impl Batch {
    /// Whether a further publish may go with these.
    fn takes(&self, channel: u16, publish: &Publish, count_max: usize) -> bool {
        let same = self.publishes.last().is_none_or(|last| last.exchange == publish.exchange);
        let bytes = self.body_bytes + publish.content.body.len();
        same && self.channel == channel && self.publishes.len() < count_max && bytes <= BATCH_BYTES_MAX
    }
}

/// Adds a channel, unless it was the last one that was added.
fn note(channels: &mut Vec<u16>, channel: u16) {
    if channels.last() != Some(&channel) {
        channels.push(channel);
    }
}

/// The end of the first of those that wait, or for ever.
pub(super) struct First<'a, T>(pub(super) Option<&'a mut Unsafe<T>>);

impl<T: Future<Output = Outcome> + Unpin> Future for First<'_, T> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            Some(Unsafe::Publishes { ticket, .. }) => Pin::new(ticket).poll(context),
            Some(Unsafe::Question(_)) => Poll::Ready(Outcome::Safe),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_queues_a_message_goes_to_the_fewer_go_together() {
        assert_eq!(batch_max(512, 512), BATCH_MAX);
        assert_eq!(batch_max(1, 0), BATCH_MAX, "nobody took it");
        assert_eq!(batch_max(512, 512 * 1000), 16);
        assert_eq!(batch_max(10, 10 * 1000), 16);
        assert_eq!(batch_max(1, 100_000), 1);
    }
}
