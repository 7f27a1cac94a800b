//! The methods of AMQP 0-9-1 and RabbitMQ's additions to them: one file for each class.
//!
//! A method is the list of its fields; the macro `method` makes its codec from that, and [`Method`] lists all of them.
//! Reserved fields are there too, so that what is read and written again has the same bytes.
//!
//! Source: amqp0-9-1.xml, and RabbitMQ's amqp0-9-1.extended.xml.

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::Malformed;
use crate::wire::cursor::{Cursor, Pen};

/// A method's fields, one after another.
pub(crate) trait Fields: Sized {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed>;
    fn write(&self, pen: &mut Pen<'_>);
}

/// Makes a method of its number within its class and its fields.
macro_rules! method {
    ($(#[$doc:meta])* $name:ident = $id:literal { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }

        impl $name {
            pub(crate) const ID: u16 = $id;
        }

        impl crate::methods::Fields for $name {
            fn read(_cursor: &mut crate::wire::cursor::Cursor) -> Result<Self, crate::wire::Malformed> {
                Ok(Self { $($field: crate::wire::cursor::Field::read(_cursor)?,)* })
            }

            fn write(&self, _pen: &mut crate::wire::cursor::Pen<'_>) {
                $(crate::wire::cursor::Field::write(&self.$field, _pen);)*
            }
        }
    };
}

pub(crate) mod access;
pub(crate) mod basic;
pub(crate) mod channel;
pub(crate) mod confirm;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod queue;
pub(crate) mod tx;

/// A method's class and its number within it. Zeros where an error has no method.
pub(crate) type MethodId = (u16, u16);

/// Makes the enumeration of all methods from their classes, names and written names.
macro_rules! methods {
    ($($variant:ident = $module:ident::$name:ident, $text:literal;)*) => {
        /// Any method.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($variant($module::$name),)*
        }

        impl Method {
            /// Reads the payload of a method frame.
            pub(crate) fn read(payload: Bytes) -> Result<Self, Malformed> {
                let mut cursor = Cursor::new(payload);
                let id = (cursor.u16()?, cursor.u16()?);
                let method = match id {
                    $(($module::CLASS, $module::$name::ID) => Self::$variant(Fields::read(&mut cursor)?),)*
                    (class, method) => return Err(Malformed::Method(class, method)),
                };
                cursor.finish()?;
                Ok(method)
            }

            /// Writes the payload of a method frame.
            pub(crate) fn write(&self, out: &mut BytesMut) {
                let (class, method) = self.id();
                out.put_u16(class);
                out.put_u16(method);
                let mut pen = Pen::new(out);
                match self {
                    $(Self::$variant(fields) => fields.write(&mut pen),)*
                }
            }

            /// Its class and its number.
            pub(crate) fn id(&self) -> MethodId {
                match self {
                    $(Self::$variant(_) => ($module::CLASS, $module::$name::ID),)*
                }
            }

            /// Its name as in the specification.
            #[cfg(test)]
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $text,)*
                }
            }
        }

        $(
            impl From<$module::$name> for Method {
                fn from(method: $module::$name) -> Self {
                    Self::$variant(method)
                }
            }
        )*

        /// Every method without anything in it.
        #[cfg(test)]
        pub(crate) fn all() -> Vec<Method> {
            vec![$(Method::$variant($module::$name::default()),)*]
        }
    };
}

methods! {
    ConnectionStart = connection::Start, "connection.start";
    ConnectionStartOk = connection::StartOk, "connection.start-ok";
    ConnectionSecure = connection::Secure, "connection.secure";
    ConnectionSecureOk = connection::SecureOk, "connection.secure-ok";
    ConnectionTune = connection::Tune, "connection.tune";
    ConnectionTuneOk = connection::TuneOk, "connection.tune-ok";
    ConnectionOpen = connection::Open, "connection.open";
    ConnectionOpenOk = connection::OpenOk, "connection.open-ok";
    ConnectionClose = connection::Close, "connection.close";
    ConnectionCloseOk = connection::CloseOk, "connection.close-ok";
    ConnectionBlocked = connection::Blocked, "connection.blocked";
    ConnectionUnblocked = connection::Unblocked, "connection.unblocked";
    ConnectionUpdateSecret = connection::UpdateSecret, "connection.update-secret";
    ConnectionUpdateSecretOk = connection::UpdateSecretOk, "connection.update-secret-ok";
    ChannelOpen = channel::Open, "channel.open";
    ChannelOpenOk = channel::OpenOk, "channel.open-ok";
    ChannelFlow = channel::Flow, "channel.flow";
    ChannelFlowOk = channel::FlowOk, "channel.flow-ok";
    ChannelClose = channel::Close, "channel.close";
    ChannelCloseOk = channel::CloseOk, "channel.close-ok";
    AccessRequest = access::Request, "access.request";
    AccessRequestOk = access::RequestOk, "access.request-ok";
    ExchangeDeclare = exchange::Declare, "exchange.declare";
    ExchangeDeclareOk = exchange::DeclareOk, "exchange.declare-ok";
    ExchangeDelete = exchange::Delete, "exchange.delete";
    ExchangeDeleteOk = exchange::DeleteOk, "exchange.delete-ok";
    ExchangeBind = exchange::Bind, "exchange.bind";
    ExchangeBindOk = exchange::BindOk, "exchange.bind-ok";
    ExchangeUnbind = exchange::Unbind, "exchange.unbind";
    ExchangeUnbindOk = exchange::UnbindOk, "exchange.unbind-ok";
    QueueDeclare = queue::Declare, "queue.declare";
    QueueDeclareOk = queue::DeclareOk, "queue.declare-ok";
    QueueBind = queue::Bind, "queue.bind";
    QueueBindOk = queue::BindOk, "queue.bind-ok";
    QueuePurge = queue::Purge, "queue.purge";
    QueuePurgeOk = queue::PurgeOk, "queue.purge-ok";
    QueueDelete = queue::Delete, "queue.delete";
    QueueDeleteOk = queue::DeleteOk, "queue.delete-ok";
    QueueUnbind = queue::Unbind, "queue.unbind";
    QueueUnbindOk = queue::UnbindOk, "queue.unbind-ok";
    BasicQos = basic::Qos, "basic.qos";
    BasicQosOk = basic::QosOk, "basic.qos-ok";
    BasicConsume = basic::Consume, "basic.consume";
    BasicConsumeOk = basic::ConsumeOk, "basic.consume-ok";
    BasicCancel = basic::Cancel, "basic.cancel";
    BasicCancelOk = basic::CancelOk, "basic.cancel-ok";
    BasicPublish = basic::Publish, "basic.publish";
    BasicReturn = basic::Return, "basic.return";
    BasicDeliver = basic::Deliver, "basic.deliver";
    BasicGet = basic::Get, "basic.get";
    BasicGetOk = basic::GetOk, "basic.get-ok";
    BasicGetEmpty = basic::GetEmpty, "basic.get-empty";
    BasicAck = basic::Ack, "basic.ack";
    BasicReject = basic::Reject, "basic.reject";
    BasicRecoverAsync = basic::RecoverAsync, "basic.recover-async";
    BasicRecover = basic::Recover, "basic.recover";
    BasicRecoverOk = basic::RecoverOk, "basic.recover-ok";
    BasicNack = basic::Nack, "basic.nack";
    ConfirmSelect = confirm::Select, "confirm.select";
    ConfirmSelectOk = confirm::SelectOk, "confirm.select-ok";
    TxSelect = tx::Select, "tx.select";
    TxSelectOk = tx::SelectOk, "tx.select-ok";
    TxCommit = tx::Commit, "tx.commit";
    TxCommitOk = tx::CommitOk, "tx.commit-ok";
    TxRollback = tx::Rollback, "tx.rollback";
    TxRollbackOk = tx::RollbackOk, "tx.rollback-ok";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::Table;
    use crate::wire::value::Value;

    fn bytes(method: &Method) -> Bytes {
        let mut out = BytesMut::new();
        method.write(&mut out);
        out.freeze()
    }

    #[test]
    fn every_method_comes_back_and_every_cut_is_noticed() {
        for method in all() {
            let whole = bytes(&method);
            assert_eq!(Method::read(whole.clone()).as_ref(), Ok(&method), "{}", method.name());
            for len in 0..whole.len() {
                assert!(Method::read(whole.slice(..len)).is_err(), "{} cut at {len}", method.name());
            }
            let longer = [&whole[..], b"\0"].concat();
            assert_eq!(Method::read(longer.into()), Err(Malformed::Rest(1)), "{}", method.name());
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let declare = queue::Declare {
            queue: "q".into(),
            durable: true,
            auto_delete: true,
            arguments: Table::from_entries([("x-max-length", Value::I32(5))]),
            ..Default::default()
        };
        let golden = b"\0\x32\0\x0a\0\0\x01q\x0a\0\0\0\x12\x0cx-max-lengthI\0\0\0\x05";
        assert_eq!(bytes(&declare.into()), &golden[..]);
        let publish = basic::Publish {
            exchange: "x".into(),
            routing_key: "k".into(),
            mandatory: true,
            ..Default::default()
        };
        assert_eq!(bytes(&publish.into()), &b"\0\x3c\0\x28\0\0\x01x\x01k\x01"[..]);
        let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        assert_eq!(bytes(&tune.into()), &b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c"[..]);
        let nack = basic::Nack { delivery_tag: 258, multiple: true, requeue: true };
        assert_eq!(bytes(&nack.into()), &b"\0\x3c\0\x78\0\0\0\0\0\0\x01\x02\x03"[..]);
    }

    #[test]
    fn a_method_that_nobody_knows_is_named() {
        assert_eq!(Method::read(Bytes::from_static(b"\0\x3c\x03\xe7")), Err(Malformed::Method(60, 999)));
    }
}
