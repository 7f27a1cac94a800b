//! Class tx: publishes and settlements that wait for a commit, and then happen as one.
//!
//! RabbitMQ promises no more than that they happen one after another; here they are one group in the journal.

use super::effect::{Ask, Transaction};
use super::{Awaited, Channel, Uncommitted, id};
use crate::methods::tx;
use crate::reply::{Exception, precondition_failed};

impl<L> Default for Uncommitted<L> {
    fn default() -> Self {
        Self { transaction: empty(), settled: Vec::new() }
    }
}

fn empty<L>() -> Transaction<L> {
    Transaction { publishes: Vec::new(), settlements: Vec::new() }
}

impl<L: Clone> Channel<L> {
    pub(super) fn select_transactions(&mut self) -> Result<(), Exception> {
        if self.confirms.is_some() {
            return Err(precondition_failed("cannot switch from confirm to tx mode"));
        }
        self.transaction.get_or_insert_default();
        self.send(tx::SelectOk {});
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Exception> {
        let uncommitted = self.transaction.as_mut().ok_or_else(not_transactional)?;
        // What was settled stays known until the answer is there: if it fails, the deliveries go back.
        let transaction = std::mem::replace(&mut uncommitted.transaction, empty());
        self.ask(id!(tx::Commit), Ask::Commit(transaction), Awaited::Commit);
        Ok(())
    }

    pub(super) fn committed(&mut self) {
        self.transaction = Some(Uncommitted::default());
        self.send(tx::CommitOk {});
    }

    pub(super) fn rollback(&mut self) -> Result<(), Exception> {
        if self.transaction.is_none() {
            return Err(not_transactional());
        }
        self.forget_transaction();
        self.send(tx::RollbackOk {});
        Ok(())
    }

    /// Publishes are forgotten, and what was settled is not.
    pub(super) fn forget_transaction(&mut self) {
        if let Some(uncommitted) = &mut self.transaction {
            let Uncommitted { transaction: _, settled } = std::mem::take(uncommitted);
            self.unacked.put_back(settled);
        }
    }
}

fn not_transactional() -> Exception {
    precondition_failed("channel is not transactional")
}
