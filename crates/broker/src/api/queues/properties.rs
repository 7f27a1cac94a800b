//! What the properties of a message ask of the broker, and what is wrong with them: the same whatever protocol brings it.
//!
//! Reasons are written as RabbitMQ writes them. Source: RabbitMQ's documentation of TTL, validated user ids and sender-selected
//! distribution (`CC`, `BCC`).

use super::arguments::{EXPIRY_MS_MAX, type_name};
use super::{Headers, Text, Value};

/// A property that no message can have, or not from this publisher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// The time to live is none.
    #[error("invalid expiration '{text}': {reason}")]
    Expiration {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The publisher says to be somebody else.
    #[error("user_id property set to '{claimed}' but authenticated user was '{user}'")]
    User {
        /// Who it says to be.
        claimed: String,
        /// Who it is.
        user: String,
    },
    /// Further keys come as a list.
    #[error("invalid message: {{unacceptable_type_in_header,\"{header}\",{kind}}}")]
    Keys {
        /// `CC` or `BCC`.
        header: &'static str,
        /// What RabbitMQ calls the type of what came.
        kind: &'static str,
    },
}

/// Whoever says who they are must not lie.
///
/// # Errors
/// [`PropertyError::User`] if they do.
pub fn check_user(claimed: Option<&[u8]>, user: &str) -> Result<(), PropertyError> {
    match claimed {
        Some(claimed) if claimed != user.as_bytes() => {
            let claimed = String::from_utf8_lossy(claimed).into_owned();
            Err(PropertyError::User { claimed, user: user.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Reads a time to live in milliseconds: digits and nothing else.
///
/// # Errors
/// [`PropertyError::Expiration`] if it is none, or longer than [`EXPIRY_MS_MAX`].
pub fn expiration_ms(text: &[u8]) -> Result<u64, PropertyError> {
    let text = String::from_utf8_lossy(text);
    parse_expiration(&text)
        .map_err(|reason| PropertyError::Expiration { text: text.clone().into_owned(), reason })
}

fn parse_expiration(text: &str) -> Result<u64, String> {
    let unsigned = text.strip_prefix('-').or_else(|| text.strip_prefix('+')).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err("no_integer".to_owned());
    }
    let rest = &unsigned[digits..];
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{rest}\"}}"));
    }
    let number = unsigned.parse::<u64>().unwrap_or(u64::MAX);
    if text.starts_with('-') && number > 0 {
        return Err(format!("{{value_negative,{text}}}"));
    }
    if number > EXPIRY_MS_MAX {
        return Err(format!("{{value_too_large,{unsigned}}}"));
    }
    Ok(number)
}

/// Takes further keys out of the headers: those that receivers may see (`CC`) stay, those that they may not (`BCC`) do not.
///
/// # Errors
/// [`PropertyError::Keys`] if they are no list.
pub fn take_keys(headers: &mut Headers) -> Result<Vec<Text>, PropertyError> {
    let mut keys = Vec::new();
    for header in ["CC", "BCC"] {
        match headers.get(header) {
            None => {}
            Some(Value::List(values)) => {
                // What is no text is passed over, as RabbitMQ does.
                keys.extend(values.iter().filter_map(Value::as_text).cloned());
            }
            Some(other) => return Err(PropertyError::Keys { header, kind: type_name(other) }),
        }
    }
    headers.remove("BCC");
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_digits() {
        let read = |text: &[u8]| {
            expiration_ms(text).map_err(|error| match error {
                PropertyError::Expiration { reason, .. } => reason,
                other => other.to_string(),
            })
        };
        assert_eq!(read(b"60000"), Ok(60_000));
        assert_eq!(read(b"0"), Ok(0));
        assert_eq!(read(b"abc"), Err("no_integer".to_owned()));
        assert_eq!(read(b""), Err("no_integer".to_owned()));
        assert_eq!(read(b"10s"), Err("{leftover_string,\"s\"}".to_owned()));
        assert_eq!(read(b"-1"), Err("{value_negative,-1}".to_owned()));
        assert_eq!(read(b"315360000000"), Ok(EXPIRY_MS_MAX), "ten years");
        assert_eq!(read(b"315360000001"), Err("{value_too_large,315360000001}".to_owned()));
    }

    #[test]
    fn further_keys_are_taken_out_of_the_headers() {
        let list = |keys: [&str; 1]| Value::List(keys.into_iter().map(Value::from).collect());
        let mut headers: Headers = [("CC", list(["a"])), ("BCC", list(["b"]))].into_iter().collect();
        assert_eq!(take_keys(&mut headers), Ok(vec!["a".into(), "b".into()]));
        assert!(headers.get("CC").is_some() && headers.get("BCC").is_none());
        let mut wrong: Headers = [("CC", Value::from("a"))].into_iter().collect();
        let text = "invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
        assert_eq!(take_keys(&mut wrong).map_err(|error| error.to_string()), Err(text.to_owned()));
    }

    #[test]
    fn nobody_is_somebody_else() {
        assert_eq!(check_user(Some(b"guest"), "guest"), Ok(()));
        assert_eq!(check_user(None, "guest"), Ok(()));
        assert!(matches!(check_user(Some(b"root"), "guest"), Err(PropertyError::User { .. })));
    }
}
