//! The tables of fields against the decoder: neither can change without the other.

use std::ops::RangeInclusive;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proptest::prelude::{any, prop};
use proptest::{prop_assert, proptest};

use super::*;
use crate::shape::{Field, Kind};

/// The client's side of an API.
pub(super) struct Client {
    /// A default request.
    default: fn(i16) -> Bytes,
    /// Decodes a request to its last byte and encodes it again.
    again: fn(Bytes, i16) -> Result<Bytes, String>,
}

impl Client {
    pub(super) const fn of<T: Message>() -> Self {
        Self {
            default: |version| encode(&T::default(), version).expect("a default request encodes"),
            again: |mut body, version| {
                let request = T::decode(&mut body, version).map_err(|error| error.to_string())?;
                assert!(!body.has_remaining(), "{} bytes left", body.remaining());
                encode(&request, version)
            },
        }
    }

    pub(super) const fn of_api<A: Api>() -> Self {
        Self {
            default: |version| A::encode(&A::Request::default(), version).expect("a default request encodes"),
            again: |body, version| A::encode(&A::decode(body, version)?, version),
        }
    }
}

pub(super) fn encode(message: &impl Encodable, version: i16) -> Result<Bytes, String> {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer, version).map_err(|error| error.to_string())?;
    Ok(buffer.freeze())
}

fn served(api: &Entry) -> RangeInclusive<i16> {
    api.served_from..=api.versions.1
}

fn call(api: &'static Entry, version: i16, body: Bytes) -> Call {
    Call { api, version, correlation_id: 0, body }
}

/// Builds a request from a table: `count` elements in each array, everything present, nothing zero.
struct Builder {
    version: i16,
    flexible: bool,
    count: usize,
    out: BytesMut,
}

impl Builder {
    fn build(api: &Entry, version: i16, count: usize) -> Bytes {
        let flexible = api.is_flexible(version);
        let mut builder = Self { version, flexible, count, out: BytesMut::new() };
        builder.fields(api.shape.fields);
        builder.out.freeze()
    }

    fn fields(&mut self, fields: &'static [Field]) {
        let present = || fields.iter().filter(|field| field.is_in(self.version));
        let (tagged, plain): (Vec<_>, Vec<_>) = present().partition(|field| field.tag.is_some());
        plain.iter().for_each(|field| self.kind(&field.kind));
        if self.flexible {
            self.length(tagged.len(), 0);
            tagged.iter().for_each(|field| self.tagged(field));
        }
    }

    fn tagged(&mut self, field: &'static Field) {
        let before = self.out.split();
        self.kind(&field.kind);
        let value = std::mem::replace(&mut self.out, before);
        self.length(field.tag.expect("tagged") as usize, 0);
        self.length(value.len(), 0);
        self.out.put(value);
    }

    fn kind(&mut self, kind: &'static Kind) {
        match kind {
            Kind::Fixed(size) => {
                self.out.put_bytes(0, size - 1);
                self.out.put_u8(1);
            }
            Kind::String => {
                if self.flexible {
                    self.length(3, 1);
                } else {
                    self.out.put_i16(3);
                }
                self.out.put_slice(b"abc");
            }
            Kind::Bytes => {
                self.prefix(4);
                self.out.put_slice(b"\0\xff\x80\x01");
            }
            Kind::Array(element) => {
                self.prefix(self.count);
                (0..self.count).for_each(|_| self.kind(element));
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::OptionStruct(fields) => {
                self.out.put_i8(1);
                self.fields(fields);
            }
        }
    }

    fn prefix(&mut self, length: usize) {
        if self.flexible { self.length(length, 1) } else { self.out.put_i32(length as i32) }
    }

    fn length(&mut self, length: usize, plus: usize) {
        assert!(length + plus < 0x80, "one byte is enough here");
        self.out.put_u8((length + plus) as u8);
    }
}

#[test]
fn apis_are_in_order_and_have_names() {
    assert!(APIS.is_sorted_by_key(|api| api.key as i16));
    for api in APIS {
        assert_eq!(api.name, format!("{:?}", api.key));
    }
}

#[test]
fn default_requests_of_every_version_fit_their_tables() {
    for api in APIS {
        for version in served(api) {
            let body = (api.client.default)(version);
            let walked = shape::check(&api.shape, version, &body).map(|walked| walked.len);
            assert_eq!(walked, Ok(body.len()), "{} {version}", api.name);
        }
    }
}

#[test]
fn requests_built_from_the_tables_are_decoded_to_the_last_byte() {
    for api in APIS {
        for version in served(api) {
            for count in [0, 1, 3] {
                let body = Builder::build(api, version, count);
                let walked = shape::check(&api.shape, version, &body).map(|walked| walked.len);
                assert_eq!(walked, Ok(body.len()), "{} {version}", api.name);
                let again = (api.client.again)(body.clone(), version);
                assert_eq!(again, Ok(body), "{} version {version}, arrays of {count}", api.name);
            }
        }
    }
}

#[test]
fn a_request_that_is_cut_anywhere_is_refused_before_it_is_decoded() {
    for api in APIS {
        for version in served(api) {
            let body = Builder::build(api, version, 2);
            for end in 0..body.len() {
                assert!(
                    call(api, version, body.slice(..end)).check().is_err(),
                    "{} {version} at {end}",
                    api.name
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        for api in APIS {
            for version in served(api) {
                let call = call(api, version, bytes.clone());
                if call.check().is_ok() {
                    let _ = (api.decodes)(&call);
                }
            }
        }
    }

    #[test]
    fn requests_with_changed_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for api in APIS {
            for version in served(api) {
                let mut bytes = Builder::build(api, version, 2).to_vec();
                if bytes.is_empty() {
                    continue;
                }
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let call = call(api, version, bytes.into());
                if let Ok(decoded_bytes) = call.check() {
                    prop_assert!(decoded_bytes < 1 << 20);
                    let _ = (api.decodes)(&call);
                }
            }
        }
    }
}
