//! What a request or a reply says.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes, and what they are.
///
/// ```
/// use annals::rpc::Body;
/// assert_eq!(Body::from("30").content_type(), Some("text/plain; charset=utf-8"));
/// assert_eq!(Body::from(vec![1, 2]).content_type(), None);
/// let order = Body::json(&serde_json::json!({"order": 7}))?;
/// assert_eq!((order.bytes().as_ref(), order.content_type()), (&br#"{"order":7}"#[..], Some("application/json")));
/// # Ok::<(), annals::rpc::JsonError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    content_type: Option<String>,
}

/// A value that is not what was expected.
#[derive(Debug, thiserror::Error)]
#[error("the body is not the JSON that was expected: {0}")]
pub struct JsonError(#[from] serde_json::Error);

impl Body {
    /// `value` as JSON.
    ///
    /// # Errors
    /// [`JsonError`] if it cannot be written so, such as a map whose keys are no text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        let bytes = serde_json::to_vec(value)?;
        Ok(Self { bytes: bytes.into(), content_type: Some("application/json".to_owned()) })
    }

    /// The same bytes as something else: a media type, at most 255 bytes long.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What they are.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    pub(super) fn of(bytes: Bytes, content_type: Option<String>) -> Self {
        Self { bytes, content_type }
    }

    pub(super) fn into_parts(self) -> (Bytes, Option<String>) {
        (self.bytes, self.content_type)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        Ok(serde_json::from_slice(&self.bytes)?)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, content_type: None }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self { bytes: text.into(), content_type: Some("text/plain; charset=utf-8".to_owned()) }
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Nothing: that it was done is all there is to say.
impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::default()
    }
}
