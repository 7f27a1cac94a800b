//! What becomes of deliveries: acknowledged, given back, rejected.

use super::Channel;
use super::effect::{Effect, Settlement, Verdict};
use crate::methods::basic;
use crate::reply::{Exception, not_implemented};

impl<L: Clone> Channel<L> {
    pub(super) fn ack(&mut self, ack: &basic::Ack) -> Result<(), Exception> {
        self.settle(ack.delivery_tag, ack.multiple, Verdict::Ack)
    }

    pub(super) fn reject(&mut self, reject: &basic::Reject) -> Result<(), Exception> {
        self.settle(reject.delivery_tag, false, against(reject.requeue))
    }

    pub(super) fn nack(&mut self, nack: &basic::Nack) -> Result<(), Exception> {
        self.settle(nack.delivery_tag, nack.multiple, against(nack.requeue))
    }

    /// Gives back all that is not settled.
    pub(super) fn recover(&mut self, requeue: bool) -> Result<(), Exception> {
        if !requeue {
            return Err(not_implemented("requeue=false"));
        }
        let taken = self.unacked.take_all();
        self.give_verdict(taken, Verdict::Requeue);
        Ok(())
    }

    fn settle(&mut self, tag: u64, multiple: bool, verdict: Verdict) -> Result<(), Exception> {
        let taken = self.unacked.take(tag, multiple)?;
        let Some(uncommitted) = &mut self.transaction else {
            self.give_verdict(taken, verdict);
            return Ok(());
        };
        let leases = taken.iter().map(|(_, lease)| lease.clone()).collect();
        uncommitted.transaction.settlements.push(Settlement { verdict, leases });
        uncommitted.settled.extend(taken);
        Ok(())
    }

    fn give_verdict(&mut self, taken: Vec<(u64, L)>, verdict: Verdict) {
        if taken.is_empty() {
            return;
        }
        let leases = taken.into_iter().map(|(_, lease)| lease).collect();
        self.effects.push_back(Effect::Settle(Settlement { verdict, leases }));
    }
}

fn against(requeue: bool) -> Verdict {
    if requeue { Verdict::Requeue } else { Verdict::Reject }
}
