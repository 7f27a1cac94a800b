//! The conversation on channel 0: who the client is, which limits hold, which virtual host; and how it ends.
//!
//! A state machine: methods in, replies out. What it must be told is which users and virtual hosts there are ([`Entrance`]); it tells when the
//! connection is open ([`Step::Open`]) and when it is over ([`Step::End`]).
//!
//! The server calls itself RabbitMQ to its clients, of a version whose behaviour it has, and says under `platform` what it
//! is: some clients look at the product to know what `basic.qos` means (kombu does), and would misjudge another name.
//!
//! Source: AMQP 0-9-1, section 2.2.4 and class connection; RabbitMQ's documentation of connections and of authentication
//! failures.

use std::net::IpAddr;

use crate::methods::{Method, connection};
use crate::options::Limits;
use crate::reply::{Exception, access_refused, channel_error, not_allowed};
use crate::rights::sasl::{self, Credentials, MECHANISMS};
use crate::rights::{Access, LoginError, Rights};
use crate::wire::frame::FRAME_BYTES_MIN;
use crate::wire::table::Table;
use crate::wire::text::Text;
use crate::wire::value::Value;

/// The version of RabbitMQ whose behaviour clients find.
const VERSION: &str = "4.1.0";

/// What clients may rely on.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// Channel 0.
#[derive(Debug)]
pub(crate) struct Handshake {
    state: State,
    limits: Limits,
    peer: IpAddr,
    pub(crate) client: Client,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Tuning {
        user: String,
    },
    Opening {
        user: String,
    },
    Running {
        user: String,
    },
    /// We have said that it is over, and wait for the client to say so too.
    Closed,
}

impl State {
    /// As RabbitMQ names it in an error.
    fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Tuning { .. } => "tuning",
            Self::Opening { .. } => "opening",
            Self::Running { .. } => "running",
            Self::Closed => "closed",
        }
    }
}

/// What a client told about itself, and what it agreed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) properties: Table,
    /// How it proved who it is.
    pub(crate) mechanism: Text,
    capabilities: Table,
    /// The largest frame, in both directions.
    pub(crate) frame_bytes_max: usize,
    /// Channels at the same time.
    pub(crate) channel_max: u16,
    /// Seconds; 0 for no heartbeats.
    pub(crate) heartbeat_s: u16,
}

impl Client {
    /// Whether the client knows how to bear this.
    pub(crate) fn can(&self, capability: &str) -> bool {
        self.capabilities.is_true(capability)
    }

    /// What the client wants to be called.
    pub(crate) fn name(&self) -> Option<String> {
        self.properties.get_string("connection_name")
    }
}

/// Who may come in, and where to.
pub(crate) struct Entrance<'a> {
    pub(crate) access: &'a Access,
    /// Whether there is a virtual host of this name.
    pub(crate) has_vhost: &'a dyn Fn(&str) -> bool,
}

/// What follows from a method.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing.
    Go,
    /// This is to be said.
    Reply(Method),
    /// The user may work in the virtual host; this is to be said.
    Open(Box<Rights>, Method),
    /// Everything that belongs to the connection is to end, then this is to be said, then the socket to be closed.
    Close(Method),
    /// The socket is to be closed.
    End,
}

/// Why a connection does not come about or ends, and how.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The client is told.
    Told(Exception),
    /// It is not, and has to wait: whoever tries passwords shall not be quick about it.
    Silent(Exception),
}

impl Handshake {
    pub(crate) fn new(limits: Limits, peer: IpAddr) -> Self {
        let client = Client { frame_bytes_max: FRAME_BYTES_MIN, ..Client::default() };
        Self { state: State::Starting, limits, peer, client }
    }

    /// The server's first word.
    pub(crate) fn start() -> Method {
        let capabilities = Table::from_entries(CAPABILITIES.map(|name| (name, Value::Bool(true))));
        let platform = concat!("Annals ", env!("CARGO_PKG_VERSION"));
        let server_properties = Table::from_entries([
            ("capabilities", Value::Table(capabilities)),
            ("cluster_name", Value::string("annals")),
            ("copyright", Value::string("The authors of Annals")),
            ("information", Value::string("Licensed under MIT or Apache-2.0")),
            ("platform", Value::string(platform)),
            ("product", Value::string("RabbitMQ")),
            ("version", Value::string(VERSION)),
        ]);
        let (mechanisms, locales) = (MECHANISMS.into(), "en_US".into());
        connection::Start { version_major: 0, version_minor: 9, server_properties, mechanisms, locales }
            .into()
    }

    /// Whether channels may be opened.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// From now on nothing is taken but the client's word that it has understood.
    pub(crate) fn closed(&mut self) {
        self.state = State::Closed;
    }

    /// Takes a method of channel 0.
    pub(crate) fn method(&mut self, method: Method, entrance: &Entrance<'_>) -> Result<Step, Refusal> {
        let id = method.id();
        self.take(method, entrance).map_err(|refusal| match refusal {
            Refusal::Told(error) => Refusal::Told(error.by(id)),
            Refusal::Silent(error) => Refusal::Silent(error.by(id)),
        })
    }

    fn take(&mut self, method: Method, entrance: &Entrance<'_>) -> Result<Step, Refusal> {
        match (&self.state, method) {
            (State::Starting, Method::ConnectionStartOk(start_ok)) => self.start_ok(start_ok, entrance),
            (State::Tuning { user }, Method::ConnectionTuneOk(tune_ok)) => {
                let user = user.clone();
                self.tune_ok(&tune_ok).map_err(Refusal::Told)?;
                self.state = State::Opening { user };
                Ok(Step::Go)
            }
            (State::Opening { user }, Method::ConnectionOpen(open)) => {
                let user = user.clone();
                let rights = rights(&user, &open.virtual_host, entrance).map_err(Refusal::Told)?;
                self.state = State::Running { user };
                Ok(Step::Open(Box::new(rights), connection::OpenOk::default().into()))
            }
            // A secret that never expires is never replaced: RabbitMQ takes any for its own users, and looks at none.
            (State::Running { .. }, Method::ConnectionUpdateSecret(_)) => {
                Ok(Step::Reply(connection::UpdateSecretOk {}.into()))
            }
            (State::Closed, Method::ConnectionCloseOk(_)) => Ok(Step::End),
            (State::Closed, Method::ConnectionClose(_)) => Ok(Step::Reply(connection::CloseOk {}.into())),
            (State::Closed, _) => Ok(Step::Go),
            (State::Running { .. }, Method::ConnectionClose(_)) => {
                self.state = State::Closed;
                Ok(Step::Close(connection::CloseOk {}.into()))
            }
            (state, _) => {
                let text = format!("unexpected method in connection state {}", state.name());
                let error = channel_error(text);
                Err(if self.is_running() { Refusal::Told(error) } else { Refusal::Silent(error) })
            }
        }
    }

    fn start_ok(&mut self, start_ok: connection::StartOk, entrance: &Entrance<'_>) -> Result<Step, Refusal> {
        let connection::StartOk { client_properties, mechanism, response, locale: _ } = start_ok;
        if let Some(Value::Table(capabilities)) = client_properties.get("capabilities") {
            self.client.capabilities = capabilities;
        }
        self.client.properties =
            Table::from_wire(bytes::Bytes::copy_from_slice(client_properties.as_bytes())).unwrap_or_default();
        let Credentials { user, password } = sasl::read(&mechanism, &response).map_err(Refusal::Silent)?;
        entrance.access.login(&user, &password, self.peer).map_err(|why| self.refuse(&mechanism, &why))?;
        self.state = State::Tuning { user };
        self.client.mechanism = mechanism.detached();
        let Limits { channel_max, frame_bytes_max, heartbeat_s, .. } = self.limits;
        Ok(Step::Reply(
            connection::Tune { channel_max, frame_max: frame_bytes_max, heartbeat: heartbeat_s }.into(),
        ))
    }

    /// Tells a client that it is not let in, but not why, if it can bear being told.
    fn refuse(&self, mechanism: &Text, why: &LoginError) -> Refusal {
        tracing::warn!(peer = %self.peer, "{mechanism} login refused: {why}");
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        );
        let error = access_refused(text).by_none();
        if self.client.can("authentication_failure_close") {
            Refusal::Told(error)
        } else {
            Refusal::Silent(error)
        }
    }

    fn tune_ok(&mut self, agreed: &connection::TuneOk) -> Result<(), Exception> {
        let Limits { channel_max, frame_bytes_max, .. } = self.limits;
        let frame_bytes_min = u32::try_from(FRAME_BYTES_MIN).unwrap_or(u32::MAX);
        check("frame_max", agreed.frame_max, frame_bytes_min, frame_bytes_max)?;
        check("channel_max", u32::from(agreed.channel_max), 1, u32::from(channel_max))?;
        self.client.frame_bytes_max = agreed.frame_max as usize;
        self.client.channel_max = agreed.channel_max;
        self.client.heartbeat_s = agreed.heartbeat;
        Ok(())
    }
}

/// A limit of 0 is none at all.
fn check(field: &str, agreed: u32, min: u32, max: u32) -> Result<(), Exception> {
    let detail = if agreed == 0 && field == "channel_max" { " (no limit)" } else { "" };
    let (word, limit, bound) = if agreed != 0 && agreed < min {
        ("lower", "minimum", min)
    } else if agreed == 0 || agreed > max {
        ("higher", "maximum", max)
    } else {
        return Ok(());
    };
    let text =
        format!("negotiated {field} = {agreed}{detail} is {word} than the {limit} allowed value ({bound})");
    // The method to blame is the one that the limits came with.
    Err(not_allowed(text).by((connection::CLASS, connection::Tune::ID)))
}

/// What a user may do in a virtual host, if it is there and the user may enter it.
fn rights(user: &str, vhost: &Text, entrance: &Entrance<'_>) -> Result<Rights, Exception> {
    if !(entrance.has_vhost)(vhost.as_str()) {
        return Err(not_allowed(format!("vhost {vhost} not found")));
    }
    match entrance.access.permission(user, vhost) {
        Some(permission) => Ok(Rights::new(user, vhost, permission.clone())),
        None => Err(not_allowed(format!("access to vhost '{vhost}' refused for user '{user}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{Permission, User};

    impl Handshake {
        /// Takes a method where there are the virtual hosts that `access` names.
        fn take_from(&mut self, method: Method, access: &Access) -> Result<Step, Refusal> {
            let has_vhost = |name: &str| access.vhosts.contains(name);
            self.method(method, &Entrance { access, has_vhost: &has_vhost })
        }
    }

    fn handshake() -> Handshake {
        Handshake::new(Limits::default(), [127, 0, 0, 1].into())
    }

    fn start_ok(password: &str, can_be_told: bool) -> Method {
        let capabilities = Table::from_entries([("authentication_failure_close", Value::Bool(can_be_told))]);
        connection::StartOk {
            client_properties: Table::from_entries([
                ("capabilities", Value::Table(capabilities)),
                ("connection_name", Value::string("mine")),
            ]),
            mechanism: "PLAIN".into(),
            response: format!("\0guest\0{password}").into(),
            locale: "en_US".into(),
        }
        .into()
    }

    fn tune_ok(channel_max: u16, frame_max: u32) -> Method {
        connection::TuneOk { channel_max, frame_max, heartbeat: 10 }.into()
    }

    fn open(virtual_host: &'static str) -> Method {
        connection::Open { virtual_host: virtual_host.into(), ..Default::default() }.into()
    }

    fn told(result: Result<Step, Refusal>) -> String {
        match result {
            Err(Refusal::Told(error)) => error.to_string(),
            other => panic!("not told: {other:?}"),
        }
    }

    fn until_tuned() -> Handshake {
        let mut handshake = handshake();
        let step = handshake.take_from(start_ok("guest", true), &Access::default());
        let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        assert!(matches!(step, Ok(Step::Reply(Method::ConnectionTune(found))) if found == tune));
        handshake
    }

    fn until_open() -> Handshake {
        let mut handshake = until_tuned();
        assert!(matches!(handshake.take_from(tune_ok(100, 8192), &Access::default()), Ok(Step::Go)));
        handshake
    }

    #[test]
    fn a_client_comes_in() {
        let (mut handshake, access) = (until_open(), Access::default());
        let Client { frame_bytes_max, channel_max, heartbeat_s, .. } = handshake.client;
        assert_eq!((frame_bytes_max, channel_max, heartbeat_s), (8192, 100, 10));
        assert_eq!(handshake.client.name().as_deref(), Some("mine"));
        let step = handshake.take_from(open("/"), &access);
        assert!(matches!(step, Ok(Step::Open(rights, Method::ConnectionOpenOk(_))) if rights.vhost == "/"));
        assert!(handshake.is_running());
        let close = Method::from(connection::Close::default());
        assert!(matches!(handshake.take_from(close, &access), Ok(Step::Close(Method::ConnectionCloseOk(_)))));
    }

    #[test]
    fn a_wrong_password_is_told_to_those_who_can_bear_it() {
        let expected = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see \
                        the broker logfile.";
        assert_eq!(told(handshake().take_from(start_ok("wrong", true), &Access::default())), expected);
        let silent = handshake().take_from(start_ok("wrong", false), &Access::default());
        assert!(matches!(silent, Err(Refusal::Silent(_))));
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        let refuse = |channel_max, frame_max| {
            told(until_tuned().take_from(tune_ok(channel_max, frame_max), &Access::default()))
        };
        assert_eq!(
            refuse(0, 131_072),
            "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"
        );
        assert_eq!(
            refuse(10, 1000),
            "NOT_ALLOWED - negotiated frame_max = 1000 is lower than the minimum allowed value (4096)"
        );
        assert_eq!(
            refuse(10, 131_073),
            "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"
        );
    }

    #[test]
    fn a_virtual_host_has_to_be_there_and_open_to_the_user() {
        let mut access = Access::default();
        access.vhosts.insert("other".to_owned());
        let guest = |vhost: &str| User::new("guest").with(vhost, Permission::all());
        access.users.insert("guest".to_owned(), guest("/"));
        assert_eq!(
            told(until_open().take_from(open("nowhere"), &access)),
            "NOT_ALLOWED - vhost nowhere not found"
        );
        assert_eq!(
            told(until_open().take_from(open("other"), &access)),
            "NOT_ALLOWED - access to vhost 'other' refused for user 'guest'"
        );
        access.users.insert("guest".to_owned(), guest("other"));
        assert!(until_open().take_from(open("other"), &access).is_ok());
    }

    #[test]
    fn methods_out_of_turn_are_refused() {
        let access = Access::default();
        let silent = handshake().take_from(open("/"), &access);
        assert!(matches!(silent, Err(Refusal::Silent(_))));
        let mut running = until_open();
        running.take_from(open("/"), &access).expect("in turn");
        assert_eq!(
            told(running.take_from(open("/"), &access)),
            "CHANNEL_ERROR - unexpected method in connection state running"
        );
        running.closed();
        assert!(matches!(running.take_from(open("/"), &access), Ok(Step::Go)));
        assert!(matches!(running.take_from(connection::CloseOk {}.into(), &access), Ok(Step::End)));
    }

    #[test]
    fn a_new_secret_has_to_be_right() {
        let (mut running, access) = (until_open(), Access::default());
        running.take_from(open("/"), &access).expect("in turn");
        let update = |secret: &'static str| {
            Method::from(connection::UpdateSecret { new_secret: secret.into(), reason: "expired".into() })
        };
        for secret in ["guest", "another"] {
            let step = running.take_from(update(secret), &access);
            assert!(matches!(step, Ok(Step::Reply(Method::ConnectionUpdateSecretOk(_)))));
        }
    }
}
