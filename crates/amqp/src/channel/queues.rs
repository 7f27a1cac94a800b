//! Class queue.

use annals_broker::api::queues::arguments::named_by_clients;
use annals_broker::api::queues::rights::queue_needs;

use super::effect::Ask;
use super::exchanges::check_not_default;
use super::{Around, Awaited, Channel, REPLY_TO, chosen_name, id, without_breaks};
use crate::backend::broker::reserved;
use crate::backend::translate::{headers, name};
use crate::methods::queue;
use crate::reply::{Exception, Named, not_found, precondition_failed};
use crate::rights::Right;
use crate::wire::table::Table;
use crate::wire::text::Text;

impl<L: Clone> Channel<L> {
    pub(super) fn declare_queue(
        &mut self,
        declare: queue::Declare,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        let mut queue = without_breaks(declare.queue.clone());
        let awaited = |queue: &Text| Awaited::Declare { queue: queue.clone(), no_wait: declare.no_wait };
        if queue.starts_with(REPLY_TO) {
            let (ask, awaited) = (Ask::FindReplies(queue.clone()), awaited(&queue));
            self.ask(id!(queue::Declare), ask, awaited);
            return Ok(());
        }
        if !declare.passive {
            if queue.is_empty() {
                check_chosen_name(&declare.arguments)?;
                queue = chosen_name("amq.gen-", around.clock);
            } else if queue.starts_with("amq.") {
                return Err(reserved("queue", &queue));
            }
            around.rights.check_queue(Right::Configure, &queue)?;
            check_dead_letter(&declare.arguments, &queue, around)?;
        }
        let awaited = awaited(&queue);
        self.ask(id!(queue::Declare), Ask::DeclareQueue(queue::Declare { queue, ..declare }), awaited);
        Ok(())
    }

    pub(super) fn queue_declared(&mut self, queue: Text, no_wait: bool, counts: (u32, u32)) {
        self.last_queue = queue.detached();
        let (message_count, consumer_count) = counts;
        self.send_unless(no_wait, queue::DeclareOk { queue, message_count, consumer_count });
    }

    pub(super) fn bind_queue(&mut self, bind: queue::Bind, around: Around<'_>) -> Result<(), Exception> {
        let routing_key = self.expand_routing_key(&bind.queue, bind.routing_key.clone())?;
        let (queue, exchange) = self.binding_ends(&bind.queue, &bind.exchange, around)?;
        let ok = (!bind.no_wait).then(|| queue::BindOk {}.into());
        let ask = Ask::BindQueue(queue::Bind { queue, exchange, routing_key, ..bind });
        self.ask(id!(queue::Bind), ask, Awaited::Ok(ok));
        Ok(())
    }

    pub(super) fn unbind_queue(
        &mut self,
        unbind: queue::Unbind,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        let routing_key = self.expand_routing_key(&unbind.queue, unbind.routing_key.clone())?;
        let (queue, exchange) = self.binding_ends(&unbind.queue, &unbind.exchange, around)?;
        let ask = Ask::UnbindQueue(queue::Unbind { queue, exchange, routing_key, ..unbind });
        self.ask(id!(queue::Unbind), ask, Awaited::Ok(Some(queue::UnbindOk {}.into())));
        Ok(())
    }

    pub(super) fn purge_queue(
        &mut self,
        mut purge: queue::Purge,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        purge.queue = self.expand_queue(purge.queue)?;
        around.rights.check_queue(Right::Read, &purge.queue)?;
        let awaited = Awaited::Purge { no_wait: purge.no_wait };
        self.ask(id!(queue::Purge), Ask::PurgeQueue(purge), awaited);
        Ok(())
    }

    pub(super) fn delete_queue(
        &mut self,
        mut delete: queue::Delete,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        delete.queue = without_breaks(self.expand_queue(delete.queue)?);
        around.rights.check_queue(Right::Configure, &delete.queue)?;
        let awaited = Awaited::Delete { no_wait: delete.no_wait };
        self.ask(id!(queue::Delete), Ask::DeleteQueue(delete), awaited);
        Ok(())
    }

    /// An empty name means the queue that the channel declared last.
    pub(super) fn expand_queue(&self, queue: Text) -> Result<Text, Exception> {
        match (queue.is_empty(), self.last_queue.is_empty()) {
            (false, _) => Ok(queue),
            (true, false) => Ok(self.last_queue.clone()),
            (true, true) => Err(not_found("no previously declared queue")),
        }
    }

    /// So does an empty key beside an empty name.
    fn expand_routing_key(&self, queue: &Text, routing_key: Text) -> Result<Text, Exception> {
        if queue.is_empty() && routing_key.is_empty() {
            self.expand_queue(routing_key)
        } else {
            Ok(routing_key)
        }
    }

    /// Checks both ends of a binding, and completes their names.
    fn binding_ends(
        &self,
        queue: &Text,
        exchange: &Text,
        around: Around<'_>,
    ) -> Result<(Text, Text), Exception> {
        let queue = without_breaks(self.expand_queue(queue.clone())?);
        let exchange = without_breaks(exchange.clone());
        around.rights.check_queue(Right::Write, &queue)?;
        check_not_default(&exchange)?;
        around.rights.check_exchange(Right::Read, &exchange)?;
        Ok((queue, exchange))
    }
}

/// The server chooses names for queues that need not be found again.
fn check_chosen_name(arguments: &Table) -> Result<(), Exception> {
    match named_by_clients(&headers(arguments)) {
        Some(kind) => {
            Err(precondition_failed(format!("Cannot declare a server-named queue for type {kind}")))
        }
        None => Ok(()),
    }
}

/// Who names a dead-letter exchange must be allowed to read here and to write there.
fn check_dead_letter(arguments: &Table, queue: &Text, around: Around<'_>) -> Result<(), Exception> {
    let needs = queue_needs(&name(queue), &headers(arguments)).map_err(|error| {
        let shown = Named::queue(queue, &around.rights.vhost);
        precondition_failed(format!("{error} in {shown}"))
    })?;
    around.rights.check_all(&needs)
}
