//! Who asks: passed into every broker call, so that rights, limits and logs have one place.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The name that a client has proven, or [`Principal::anonymous`] where nothing had to be proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// A user by name.
    pub fn user(name: &str) -> Self {
        Self(name.into())
    }

    /// Whoever connects where no authentication is configured.
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User:{}", self.0)
    }
}

/// One client, as seen by one request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The proven identity.
    pub principal: Principal,
    /// What the client calls itself. Free text: good for logs and quotas, never for rights.
    pub client_id: Option<Arc<str>>,
    /// The address at the other end of the connection.
    pub peer: SocketAddr,
}

impl Caller {
    /// The server itself.
    pub fn internal() -> Self {
        let peer = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { principal: Principal::user("annals"), client_id: None, peer }
    }
}
