//! Class exchange.

use annals_broker::api::queues::rights::exchange_needs;

use super::effect::Ask;
use super::{Around, Awaited, Channel, id, without_breaks};
use crate::backend::translate::{headers, name};
use crate::methods::exchange;
use crate::reply::{Exception, Named, access_refused, precondition_failed};
use crate::rights::Right;
use crate::wire::table::Table;
use crate::wire::text::Text;

/// The types of exchanges that there are.
const KINDS: [&str; 5] = ["direct", "fanout", "topic", "headers", "x-delayed-message"];

impl<L: Clone> Channel<L> {
    pub(super) fn declare_exchange(
        &mut self,
        declare: exchange::Declare,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        let exchange = without_breaks(declare.exchange.clone());
        if !declare.passive && !KINDS.contains(&declare.kind.as_str()) {
            return Err(precondition_failed(format!("unknown exchange type '{}'", declare.kind)));
        }
        check_not_default(&exchange)?;
        if !declare.passive {
            around.rights.check_exchange(Right::Configure, &exchange)?;
            check_arguments(&declare.arguments, &exchange, around)?;
        }
        let ok = (!declare.no_wait).then(|| exchange::DeclareOk {}.into());
        let ask = Ask::DeclareExchange(exchange::Declare { exchange, ..declare });
        self.ask(id!(exchange::Declare), ask, Awaited::Ok(ok));
        Ok(())
    }

    pub(super) fn delete_exchange(
        &mut self,
        mut delete: exchange::Delete,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        delete.exchange = without_breaks(delete.exchange);
        check_not_default(&delete.exchange)?;
        if delete.exchange.starts_with("amq.") {
            let shown = Named::exchange(&delete.exchange, &around.rights.vhost);
            return Err(access_refused(format!("deletion of system {shown} not allowed")));
        }
        around.rights.check_exchange(Right::Configure, &delete.exchange)?;
        let ok = (!delete.no_wait).then(|| exchange::DeleteOk {}.into());
        self.ask(id!(exchange::Delete), Ask::DeleteExchange(delete), Awaited::Ok(ok));
        Ok(())
    }

    pub(super) fn bind_exchange(
        &mut self,
        bind: exchange::Bind,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        let (source, destination) = between_exchanges(&bind.source, &bind.destination, around)?;
        let ok = (!bind.no_wait).then(|| exchange::BindOk {}.into());
        let ask = Ask::BindExchange(exchange::Bind { source, destination, ..bind });
        self.ask(id!(exchange::Bind), ask, Awaited::Ok(ok));
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        unbind: exchange::Unbind,
        around: Around<'_>,
    ) -> Result<(), Exception> {
        let (source, destination) = between_exchanges(&unbind.source, &unbind.destination, around)?;
        let ok = (!unbind.no_wait).then(|| exchange::UnbindOk {}.into());
        let ask = Ask::UnbindExchange(exchange::Unbind { source, destination, ..unbind });
        self.ask(id!(exchange::Unbind), ask, Awaited::Ok(ok));
        Ok(())
    }
}

/// Checks both ends of a binding between exchanges, and completes their names.
fn between_exchanges(
    source: &Text,
    destination: &Text,
    around: Around<'_>,
) -> Result<(Text, Text), Exception> {
    let (source, destination) = (without_breaks(source.clone()), without_breaks(destination.clone()));
    around.rights.check_exchange(Right::Write, &destination)?;
    check_not_default(&destination)?;
    check_not_default(&source)?;
    around.rights.check_exchange(Right::Read, &source)?;
    Ok((source, destination))
}

/// The default exchange is as it is.
pub(super) fn check_not_default(exchange: &str) -> Result<(), Exception> {
    if exchange.is_empty() {
        return Err(access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

/// Who names an alternate exchange, or a topic to join, must be allowed to use it.
fn check_arguments(arguments: &Table, exchange: &Text, around: Around<'_>) -> Result<(), Exception> {
    let needs = exchange_needs(&name(exchange), &headers(arguments)).map_err(|error| {
        let shown = Named::exchange(exchange, &around.rights.vhost);
        precondition_failed(format!("{error} in {shown}"))
    })?;
    around.rights.check_all(&needs)
}
