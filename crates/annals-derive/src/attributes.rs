//! The `#[event(…)]` attributes of a variant, a struct or a field, checked where they stand.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Error, LitInt, LitStr, Result};

/// Longer names are refused by the store.
const NAME_BYTES_MAX: usize = 200;

/// What one event type is called and which versions of it the Rust type reads.
pub(crate) struct Naming {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) reads: u32,
    /// Where to point if the name is wrong.
    pub(crate) span: Span,
}

impl Naming {
    /// Reads the attributes of the variant or struct `ident`.
    pub(crate) fn read(attributes: &[Attribute], ident: &syn::Ident) -> Result<Self> {
        let (mut name, mut version, mut reads) = (None, None, None);
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    name = Some(meta.value()?.parse::<LitStr>()?);
                } else if meta.path.is_ident("version") {
                    version = Some(meta.value()?.parse::<LitInt>()?);
                } else if meta.path.is_ident("reads") {
                    reads = Some(meta.value()?.parse::<LitInt>()?);
                } else {
                    return Err(meta.error("unknown attribute: use `name`, `version` or `reads`"));
                }
                Ok(())
            })?;
        }
        let span = name.as_ref().map_or_else(|| ident.span(), LitStr::span);
        let name = name.map_or_else(|| ident.to_string(), |name| name.value());
        check_name(&name, span)?;
        let version = version.as_ref().map_or(Ok(1), version_number)?;
        let reads = read_from(reads.as_ref(), version)?;
        Ok(Self { name, version, reads, span })
    }
}

fn check_name(name: &str, span: Span) -> Result<()> {
    let wrong = if name.is_empty() {
        "an event needs a name"
    } else if name.len() > NAME_BYTES_MAX {
        "the name of an event has at most 200 bytes"
    } else if name.starts_with(['$', '~']) {
        "names that start with `$` or `~` are kept for Annals"
    } else if name.chars().any(|character| character.is_control() || character.is_whitespace()) {
        "the name of an event has neither spaces nor control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(span, wrong))
}

fn version_number(literal: &LitInt) -> Result<u32> {
    match literal.base10_parse() {
        Ok(0) => Err(Error::new(literal.span(), "versions count from 1")),
        other => other,
    }
}

fn read_from(literal: Option<&LitInt>, version: u32) -> Result<u32> {
    let Some(literal) = literal else { return Ok(version) };
    let reads = version_number(literal)?;
    if reads > version {
        return Err(Error::new(
            literal.span(),
            format!("`reads` names an older version than {version}, the one that is written"),
        ));
    }
    Ok(reads)
}

/// The key of the tag that a field gives, if it gives one.
pub(crate) fn tag_key(field: &syn::Field) -> Result<Option<String>> {
    let mut key = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("tag") {
                return Err(meta.error("unknown attribute of a field: use `tag` or `tag = \"key\"`"));
            }
            key = Some(if meta.input.peek(syn::Token![=]) {
                checked_key(&meta.value()?.parse()?)?
            } else {
                field_name(field)?
            });
            Ok(())
        })?;
    }
    Ok(key)
}

fn checked_key(key: &LitStr) -> Result<String> {
    let text = key.value();
    let valid = |character: char| !character.is_whitespace() && !character.is_control() && character != ':';
    if text.is_empty() || text.starts_with('$') || !text.chars().all(valid) {
        return Err(Error::new(
            key.span(),
            "the key of a tag has neither spaces nor colons and does not start with `$`",
        ));
    }
    Ok(text)
}

fn field_name(field: &syn::Field) -> Result<String> {
    use syn::ext::IdentExt;
    let nameless = || Error::new(field.span(), "a field without a name needs `tag = \"key\"`");
    field.ident.as_ref().map(|ident| ident.unraw().to_string()).ok_or_else(nameless)
}
