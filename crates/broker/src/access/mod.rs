//! Who may do what: users, virtual hosts, and what each user may do in each of them.
//!
//! A permission is three regular expressions over the names of exchanges and queues: what may be configured, written to and
//! read from. Which of them an operation needs is RabbitMQ's table: declaring needs configure; publishing needs write on
//! the exchange; binding needs write on what is bound and read on the exchange; everything that looks at messages
//! needs read on the queue.
//!
//! Users come from the settings of the server; nobody changes them while it runs. One whom the settings do not restrict may do
//! everything in every virtual host, also in those that are made later, and administers the server.
//!
//! Source: RabbitMQ's documentation of access control.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

pub use pattern::{Pattern, PatternError};

use crate::Broker;

/// The virtual host that is there from the beginning.
pub const DEFAULT_VHOST: &str = "/";
/// The user that is there from the beginning, whose password is the same, and who may come from this machine only.
pub const DEFAULT_USER: &str = "guest";

/// The users and virtual hosts of a server.
///
/// ```
/// use annals_broker::access::{Access, Permission, User};
///
/// let mut access = Access::default();
/// access.vhosts.insert("shop".to_owned());
/// let permission = Permission::parse("^$", "^orders$", ".*")?;
/// let clerk = User::new("secret").with("shop", permission);
/// access.users.insert("clerk".to_owned(), clerk);
/// # Ok::<(), annals_broker::access::PatternError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Access {
    /// The virtual hosts that there are.
    pub vhosts: BTreeSet<String>,
    /// The users by name.
    pub users: BTreeMap<String, User>,
}

impl Default for Access {
    /// The virtual host `/`, and the user `guest`, who may do everything and come from this machine only.
    fn default() -> Self {
        let guest = User::new(DEFAULT_USER).from_loopback_only().unrestricted();
        Self {
            vhosts: BTreeSet::from([DEFAULT_VHOST.to_owned()]),
            users: BTreeMap::from([(DEFAULT_USER.to_owned(), guest)]),
        }
    }
}

/// A user.
#[derive(Clone)]
pub struct User {
    password: String,
    loopback_only: bool,
    permissions: BTreeMap<String, Permission>,
    /// In virtual hosts that `permissions` does not name.
    elsewhere: Option<Permission>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { password: _, loopback_only, permissions, elsewhere } = self;
        f.debug_struct("User")
            .field("loopback_only", loopback_only)
            .field("permissions", permissions)
            .field("elsewhere", elsewhere)
            .finish_non_exhaustive()
    }
}

impl User {
    /// A user who may connect from anywhere, and do nothing yet.
    pub fn new(password: impl Into<String>) -> Self {
        Self {
            password: password.into(),
            loopback_only: false,
            permissions: BTreeMap::new(),
            elsewhere: None,
        }
    }

    /// Lets the user connect from this machine only.
    #[must_use]
    pub fn from_loopback_only(mut self) -> Self {
        self.loopback_only = true;
        self
    }

    /// Whether the user may connect from this machine only.
    pub fn is_loopback_only(&self) -> bool {
        self.loopback_only
    }

    /// Lets the user do this in a virtual host.
    #[must_use]
    pub fn with(mut self, vhost: impl Into<String>, permission: Permission) -> Self {
        self.permissions.insert(vhost.into(), permission);
        self
    }

    /// Lets the user do everything in every virtual host.
    #[must_use]
    pub fn unrestricted(mut self) -> Self {
        self.elsewhere = Some(Permission::all());
        self
    }

    /// Whether the user administers the server: nothing restricts what the user may do.
    pub fn is_administrator(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// What the settings name: virtual hosts, and what the user may do in each.
    pub fn permissions(&self) -> impl Iterator<Item = (&str, &Permission)> {
        self.permissions.iter().map(|(vhost, permission)| (vhost.as_str(), permission))
    }

    /// What the user may do in a virtual host; `None` if nothing at all.
    pub fn permission(&self, vhost: &str) -> Option<&Permission> {
        self.permissions.get(vhost).or(self.elsewhere.as_ref())
    }

    /// The password as RabbitMQ stores it (`rabbit_password_hashing_sha256`): a salt, and the SHA-256 of salt and password.
    pub fn salted_password(&self, salt: [u8; 4]) -> Vec<u8> {
        let salted = [&salt[..], self.password.as_bytes()].concat();
        let digest = ring::digest::digest(&ring::digest::SHA256, &salted);
        [&salt[..], digest.as_ref()].concat()
    }

    /// Compares in a time that does not tell where the difference is.
    fn has_password(&self, password: &[u8]) -> bool {
        let own = self.password.as_bytes();
        let differences = own.iter().zip(password).fold(0, |all, (own, given)| all | (own ^ given));
        own.len() == password.len() && differences == 0
    }
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug)]
pub struct Permission {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

impl Permission {
    /// Everything.
    pub fn all() -> Self {
        let all = Pattern::everything;
        Self { configure: all(), write: all(), read: all() }
    }

    /// Regular expressions over names. An empty one matches nothing but the empty name.
    ///
    /// # Errors
    /// [`PatternError`] if one is no regular expression.
    pub fn parse(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self { configure: configure.parse()?, write: write.parse()?, read: read.parse()? })
    }

    /// Whether a right to the exchange or queue of this name is given. The default exchange is called `amq.default` here.
    pub fn allows(&self, right: Right, name: &str) -> bool {
        self.pattern(right).matches(name)
    }

    /// The names that a right is given to.
    pub fn pattern(&self, right: Right) -> &Pattern {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }
}

/// What an operation does with an exchange or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Declares and deletes it.
    Configure,
    /// Publishes to it, or binds it.
    Write,
    /// Looks at its messages, or binds something to it.
    Read,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// Why nobody is let in. The client learns no more than that it is so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or another password.
    #[error("user '{0}' - invalid credentials")]
    Credentials(String),
    /// From another machine.
    #[error("user '{0}' can only connect via localhost")]
    Remote(String),
}

impl Access {
    /// Lets a user in who comes from `peer` with this password.
    ///
    /// # Errors
    /// [`LoginError`]. Whoever asked is not to be told which.
    pub fn login(&self, name: &str, password: &[u8], peer: IpAddr) -> Result<(), LoginError> {
        let user = self.users.get(name).filter(|user| user.has_password(password));
        let user = user.ok_or_else(|| LoginError::Credentials(name.to_owned()))?;
        if user.loopback_only && !peer.to_canonical().is_loopback() {
            return Err(LoginError::Remote(name.to_owned()));
        }
        Ok(())
    }

    /// What a user may do in a virtual host; `None` if nothing at all.
    pub fn permission(&self, user: &str, vhost: &str) -> Option<&Permission> {
        self.users.get(user)?.permission(vhost)
    }
}

impl Broker {
    /// Who may do what.
    pub fn access(&self) -> &Access {
        &self.inner.options.access
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_default_user_comes_from_this_machine_only() {
        let access = Access::default();
        assert_eq!(access.login("guest", b"guest", HERE), Ok(()));
        assert_eq!(access.login("guest", b"guest", "::ffff:127.0.0.1".parse().expect("an address")), Ok(()));
        let remote = access.login("guest", b"guest", [10, 0, 0, 1].into());
        assert_eq!(remote, Err(LoginError::Remote("guest".to_owned())));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_look_the_same() {
        let access = Access::default();
        for (user, password) in [("guest", "gues"), ("guest", "guest2"), ("guest", "guesT"), ("nobody", "")] {
            let refused = access.login(user, password.as_bytes(), HERE);
            assert_eq!(refused, Err(LoginError::Credentials(user.to_owned())));
        }
    }

    #[test]
    fn one_who_is_not_restricted_may_do_everything_everywhere() {
        let read_only = Permission::parse("", "", ".*").expect("patterns");
        let user = User::new("secret").with("shop", read_only).unrestricted();
        assert!(user.permission("new").is_some_and(|may| may.allows(Right::Configure, "anything")));
        assert!(user.permission("shop").is_some_and(|may| !may.allows(Right::Write, "x")));
        assert!(User::new("secret").permission("/").is_none());
    }

    #[test]
    fn a_password_is_stored_as_rabbitmq_stores_it() {
        // The guest of a RabbitMQ 3.10.8, as it tells its users.
        let stored = User::new("guest").salted_password([0x8f, 0xc8, 0x4f, 0xa3]);
        let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "8fc84fa3be7ceecb2acf87833ffd06af333042db5225d402bd96b5d82b2b83b28d9d334a");
    }
}
