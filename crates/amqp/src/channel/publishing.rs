//! Publishing: what is checked before a message goes to its exchange, and what its publisher is told.

use annals_broker::api::queues::properties::{PropertyError, check_user, expiration_ms};

use super::confirms::{Confirm, End};
use super::effect::{Ask, Effect, Publish, returned};
use super::{Around, Awaited, Channel, REPLY_TO, id};
use crate::methods::{Method, basic};
use crate::reply::{Exception, not_implemented, precondition_failed, syntax_error};
use crate::rights::Right;
use crate::wire::outbound::{Content, PutProperties};
use crate::wire::properties::Properties;

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is as safe as its queues promise.
    Safe,
    /// A queue would not have it, or it could not be written.
    Failed,
}

impl<L: Clone> Channel<L> {
    pub(super) fn publish(
        &mut self,
        publish: basic::Publish,
        content: Content,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        if publish.immediate {
            return Err(not_implemented("immediate=true"));
        }
        around.rights.check_exchange(Right::Write, &publish.exchange)?;
        let malformed = |error: crate::wire::Malformed| syntax_error(error.to_string());
        let properties = Properties::read(&content.properties).map_err(malformed)?;
        check_properties(&properties, &around.rights.user)
            .map_err(|error| precondition_failed(error.to_string()))?;
        let reply_to = match (properties.reply_to, &self.reply_consumer) {
            (Some(name), Some(consumer)) if name == REPLY_TO.as_bytes() => Some(consumer.address.clone()),
            (Some(name), None) if name == REPLY_TO.as_bytes() => {
                return Err(precondition_failed("fast reply consumer does not exist"));
            }
            _ => None,
        };
        let number = self.confirms.as_mut().map(super::confirms::Confirms::begin);
        let basic::Publish { exchange, routing_key, mandatory, .. } = publish;
        let publish = Publish { number, mandatory, exchange, routing_key, content, reply_to };
        match &mut self.transaction {
            Some(uncommitted) => {
                // A publish that can never be committed is refused now, and the channel with it.
                let exchange = publish.exchange.clone();
                uncommitted.transaction.publishes.push(publish);
                if !exchange.is_empty() {
                    self.ask(id!(basic::Publish), Ask::Publishable(exchange), Awaited::Ok(None));
                }
            }
            None => self.effects.push_back(Effect::Publish(publish)),
        }
        Ok(())
    }

    /// No queue gets a message whose publisher wanted to know: it goes back.
    pub(crate) fn unroutable(&mut self, publish: &Publish) {
        let (method, content) = returned(publish, publish.properties());
        self.effects.push_back(Effect::SendMessage(method, content));
    }

    /// A publish has come to its end.
    pub(crate) fn published(&mut self, number: u64, outcome: Outcome) {
        let end = match outcome {
            Outcome::Safe => End::Safe,
            Outcome::Failed => End::Failed,
        };
        if let Some(confirms) = &mut self.confirms {
            confirms.end(number, end);
        }
    }

    /// Tells the publisher what it has not been told.
    pub(crate) fn confirm(&mut self, mut tell: impl FnMut(Method)) {
        let Some(confirms) = &mut self.confirms else { return };
        while let Some(Confirm { end, number, multiple }) = confirms.next() {
            tell(match end {
                End::Safe => basic::Ack { delivery_tag: number, multiple }.into(),
                End::Failed => basic::Nack { delivery_tag: number, multiple, requeue: false }.into(),
            });
        }
    }

    /// Publishes of which the publisher has not been told the end.
    #[cfg(test)]
    pub(crate) fn unconfirmed(&self) -> usize {
        self.confirms.as_ref().map_or(0, super::confirms::Confirms::open)
    }
}

impl Publish {
    /// The properties as others are to see them.
    pub(crate) fn properties(&self) -> bytes::Bytes {
        let Some(reply_to) = &self.reply_to else { return self.content.properties.clone() };
        // They were read once; what cannot be read stays as it is.
        let Ok(properties) = Properties::read(&self.content.properties) else {
            return self.content.properties.clone();
        };
        let mut out = bytes::BytesMut::new();
        Properties { reply_to: Some(reply_to.as_bytes()), ..properties }.put(&mut out);
        out.freeze()
    }
}

fn check_properties(properties: &Properties<'_>, user: &str) -> Result<(), PropertyError> {
    properties.expiration.map_or(Ok(0), expiration_ms)?;
    check_user(properties.user_id, user)
}
