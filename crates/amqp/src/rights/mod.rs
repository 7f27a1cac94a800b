//! What a user may do on a connection: the broker's permissions ([`annals_broker::access`]), refused in RabbitMQ's words.

pub(crate) mod sasl;

#[cfg(test)]
pub(crate) use annals_broker::access::User;
pub(crate) use annals_broker::access::{Access, LoginError, Permission, Right};
use annals_broker::api::queues::rights::{Need, Object};

use crate::reply::{Exception, Named, access_refused};

/// A user in a virtual host.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    pub(crate) user: String,
    pub(crate) vhost: String,
    permission: Permission,
}

impl Rights {
    pub(crate) fn new(user: &str, vhost: &str, permission: Permission) -> Self {
        Self { user: user.to_owned(), vhost: vhost.to_owned(), permission }
    }

    /// Checks that the user has a right to a queue.
    pub(crate) fn check_queue(&self, right: Right, name: &str) -> Result<(), Exception> {
        self.check(right, name, Named::queue(name, &self.vhost))
    }

    /// Checks that the user has a right to an exchange.
    pub(crate) fn check_exchange(&self, right: Right, name: &str) -> Result<(), Exception> {
        // As RabbitMQ does: patterns see the default exchange under this name.
        let known_as = if name.is_empty() { "amq.default" } else { name };
        self.check(right, known_as, Named::exchange(known_as, &self.vhost))
    }

    /// Checks that the user has all of these.
    pub(crate) fn check_all(&self, needs: &[Need]) -> Result<(), Exception> {
        needs.iter().try_for_each(|Need { right, object, name }| match object {
            Object::Queue => self.check_queue(*right, &name.as_str()),
            Object::Exchange => self.check_exchange(*right, &name.as_str()),
        })
    }

    fn check(&self, right: Right, name: &str, shown: Named<'_>) -> Result<(), Exception> {
        if self.permission.allows(right, name) {
            return Ok(());
        }
        Err(access_refused(format!("{right} access to {shown} refused for user '{}'", self.user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_the_patterns() {
        let permission = Permission::parse("^mine", "", "mine|^amq\\.default$").expect("patterns");
        let rights = Rights::new("u", "/", permission);
        assert_eq!(rights.check_queue(Right::Configure, "mine.1"), Ok(()));
        assert_eq!(rights.check_queue(Right::Read, "also mine"), Ok(()));
        assert_eq!(rights.check_exchange(Right::Read, ""), Ok(()));
        let refused = rights.check_exchange(Right::Write, "mine").expect_err("nothing may be written to");
        assert_eq!(
            refused.to_string(),
            "ACCESS_REFUSED - write access to exchange 'mine' in vhost '/' refused for user 'u'"
        );
        let refused = rights.check_queue(Right::Configure, "not mine").expect_err("not at the beginning");
        assert!(refused.to_string().contains("configure access to queue 'not mine' in vhost '/'"));
    }
}
