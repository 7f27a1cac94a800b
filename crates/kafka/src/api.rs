//! What every API of the protocol has in common, and how one becomes a row of the registration table.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::close::Close;
use crate::connection::Reply;
use crate::context::Context;
use crate::rope::Rope;
use crate::shape::{self, Shape};

/// One API: one file in [`crate::apis`].
pub(crate) trait Api: 'static {
    const KEY: ApiKey;
    const NAME: &'static str;
    /// The versions that are served.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version that clients are told, where it is not the first that is served.
    const ADVERTISED_FROM: i16 = *Self::VERSIONS.start();
    /// The request's fields.
    const SHAPE: &'static Shape;
    /// Whether a client may use it before it has proven its identity.
    const BEFORE_AUTHENTICATION: bool = false;

    type Request: Message;

    /// Decodes a body that fits the shape.
    fn decode(body: &mut Bytes, version: i16) -> Result<Self::Request, String> {
        Self::Request::decode(body, version).map_err(|error| error.to_string())
    }

    /// Answers a request. The reply holds the body of the response, without its header.
    fn handle(
        context: &mut Context,
        request: Self::Request,
        version: i16,
    ) -> impl Future<Output = Result<Reply, Close>> + Send;

    /// The response as a reply. The version decides which of its fields are written.
    fn reply(response: &impl Encodable, version: i16) -> Result<Reply, Close> {
        Self::encode(response, version).map(Reply::Now)
    }

    /// The response as bytes.
    fn encode(response: &impl Encodable, version: i16) -> Result<Rope, Close> {
        let mut body = BytesMut::new();
        let encoded = response.encode(&mut body, version);
        encoded.map_err(|error| Close::Unencodable { api: Self::NAME, version, reason: error.to_string() })?;
        Ok(Rope::from(body.freeze()))
    }
}

/// A request as the decoder gives it. In tests it can be encoded too, so that tests can act as clients.
#[cfg(not(test))]
pub(crate) trait Message: Decodable + Send + 'static {}
#[cfg(not(test))]
impl<T: Decodable + Send + 'static> Message for T {}
#[cfg(test)]
pub(crate) trait Message: Decodable + Encodable + Default + Send + 'static {}
#[cfg(test)]
impl<T: Decodable + Encodable + Default + Send + 'static> Message for T {}

/// A row of the registration table: an [`Api`] without its types.
pub(crate) struct Entry {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) advertised_min: i16,
    pub(crate) before_authentication: bool,
    pub(crate) shape: &'static Shape,
    pub(crate) decode: fn(Bytes, i16) -> Result<(), Close>,
    pub(crate) run: Run,
    /// What the encoder makes of a default request, and of one that was decoded from bytes.
    #[cfg(test)]
    pub(crate) client: tests::Client,
}

/// Decodes a body that fits the shape, and answers it.
type Run = for<'a> fn(&'a mut Context, Bytes, i16) -> BoxFuture<'a, Result<Reply, Close>>;

impl Entry {
    pub(crate) const fn of<T: Api>() -> Self {
        Self {
            key: T::KEY as i16,
            name: T::NAME,
            min: *T::VERSIONS.start(),
            max: *T::VERSIONS.end(),
            advertised_min: T::ADVERTISED_FROM,
            before_authentication: T::BEFORE_AUTHENTICATION,
            shape: T::SHAPE,
            decode: |body, version| decode::<T>(body, version).map(drop),
            run: run::<T>,
            #[cfg(test)]
            client: tests::Client::of::<T>(),
        }
    }

    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.shape.flexible_from
    }

    /// Checks a body against the shape; returns about how many bytes it takes when decoded.
    pub(crate) fn check(&self, version: i16, body: &[u8]) -> Result<usize, Close> {
        let checked = shape::check(self.shape, version, body);
        checked.map_err(|source| Close::Malformed { api: self.name, version, source })
    }
}

fn decode<T: Api>(mut body: Bytes, version: i16) -> Result<T::Request, Close> {
    T::decode(&mut body, version).map_err(|reason| Close::Undecodable { api: T::NAME, version, reason })
}

fn run<T: Api>(context: &mut Context, body: Bytes, version: i16) -> BoxFuture<'_, Result<Reply, Close>> {
    match decode::<T>(body, version) {
        Ok(request) => T::handle(context, request, version).boxed(),
        Err(close) => std::future::ready(Err(close)).boxed(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::protocol::Encodable;

    use super::Api;

    /// The client's side of an API.
    pub(crate) struct Client {
        pub(crate) default: fn(i16) -> Result<Bytes, String>,
        pub(crate) decode_and_encode: fn(Bytes, i16) -> Result<Bytes, String>,
    }

    impl Client {
        pub(crate) const fn of<T: Api>() -> Self {
            Self {
                default: |version| encode(&T::Request::default(), version),
                decode_and_encode: |mut body, version| {
                    let request = T::decode(&mut body, version)?;
                    assert!(body.is_empty(), "{} v{version}: {} bytes left", T::NAME, body.len());
                    encode(&request, version)
                },
            }
        }
    }

    pub(crate) fn encode(message: &impl Encodable, version: i16) -> Result<Bytes, String> {
        let mut buffer = BytesMut::new();
        message.encode(&mut buffer, version).map_err(|error| error.to_string())?;
        Ok(buffer.freeze())
    }
}
