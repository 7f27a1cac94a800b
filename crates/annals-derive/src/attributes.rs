//! The `#[event(…)]` attributes of a variant, a struct or a field, checked where they stand.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, LitInt, LitStr, Result};

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
    /// Reads the attributes of the variant `ident`.
    pub(crate) fn of_variant(attributes: &[Attribute], ident: &syn::Ident) -> Result<Self> {
        Self::read(attributes, ident, |_| Ok(false))
    }

    /// Reads the attributes of the struct `ident`, which is a type as a whole as well.
    pub(crate) fn of_struct(attributes: &[Attribute], ident: &syn::Ident) -> Result<(Self, Whole)> {
        let mut whole = Whole::default();
        let naming = Self::read(attributes, ident, |meta| whole.take(meta))?;
        Ok((naming, whole))
    }

    /// Leaves to `other` what it takes.
    fn read(
        attributes: &[Attribute],
        ident: &syn::Ident,
        mut other: impl FnMut(&ParseNestedMeta<'_>) -> Result<bool>,
    ) -> Result<Self> {
        let (mut name, mut version, mut reads) = (None, None, None);
        each_event(attributes, |meta| {
            if meta.path.is_ident("name") {
                name = Some(meta.value()?.parse::<LitStr>()?);
            } else if meta.path.is_ident("version") {
                version = Some(meta.value()?.parse::<LitInt>()?);
            } else if meta.path.is_ident("reads") {
                reads = Some(meta.value()?.parse::<LitInt>()?);
            } else if !other(&meta)? {
                return Err(meta.error("unknown attribute: use `name`, `version` or `reads`"));
            }
            Ok(())
        })?;
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

/// What is said of a type as a whole: by functions, where no field can say it.
#[derive(Default)]
pub(crate) struct Whole {
    /// Names the subject of a value.
    pub(crate) encrypt_for: Option<Expr>,
    /// Gives what stands in for a shredded event.
    pub(crate) shredded: Option<Expr>,
}

impl Whole {
    /// Takes an attribute, if it is one of these.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        let place = if meta.path.is_ident("encrypt_for") {
            &mut self.encrypt_for
        } else if meta.path.is_ident("shredded") {
            &mut self.shredded
        } else {
            return Ok(false);
        };
        *place = Some(meta.value()?.parse()?);
        Ok(true)
    }

    /// Reads the attributes of an enum.
    pub(crate) fn of_enum(attributes: &[Attribute]) -> Result<Self> {
        let mut whole = Self::default();
        each_event(attributes, |meta| {
            if whole.take(&meta)? {
                return Ok(());
            }
            Err(meta.error("unknown attribute of an enum: use `encrypt_for` or `shredded`, the rest belongs to its variants"))
        })?;
        Ok(whole)
    }
}

/// What the attributes of a field say.
#[derive(Default)]
pub(crate) struct FieldSays {
    /// The key of the tag that it gives.
    pub(crate) tag: Option<String>,
    /// The kind of the subject that it names.
    pub(crate) encrypt_for: Option<String>,
}

impl FieldSays {
    pub(crate) fn read(field: &syn::Field) -> Result<Self> {
        let mut says = Self::default();
        each_event(&field.attrs, |meta| {
            if meta.path.is_ident("tag") {
                says.tag = Some(key(field, &meta, "tag")?);
            } else if meta.path.is_ident("encrypt_for") {
                says.encrypt_for = Some(key(field, &meta, "encrypt_for")?);
            } else {
                return Err(meta.error("unknown attribute of a field: use `tag` or `encrypt_for`"));
            }
            Ok(())
        })?;
        Ok(says)
    }
}

fn each_event(
    attributes: &[Attribute],
    mut visit: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut ours = attributes.iter().filter(|attribute| attribute.path().is_ident("event"));
    ours.try_for_each(|attribute| attribute.parse_nested_meta(&mut visit))
}

/// The key that stands behind an attribute of a field; without one, the field's name.
fn key(field: &syn::Field, meta: &ParseNestedMeta<'_>, attribute: &str) -> Result<String> {
    if meta.input.peek(syn::Token![=]) {
        checked_key(&meta.value()?.parse()?)
    } else {
        field_name(field, attribute)
    }
}

fn checked_key(key: &LitStr) -> Result<String> {
    let text = key.value();
    let valid = |character: char| !character.is_whitespace() && !character.is_control() && character != ':';
    if text.is_empty() || text.starts_with('$') || !text.chars().all(valid) {
        return Err(Error::new(
            key.span(),
            "the key of a tag or subject has neither spaces nor colons and does not start with `$`",
        ));
    }
    Ok(text)
}

fn field_name(field: &syn::Field, attribute: &str) -> Result<String> {
    use syn::ext::IdentExt;
    let nameless =
        || Error::new(field.span(), format!("a field without a name needs `{attribute} = \"key\"`"));
    field.ident.as_ref().map(|ident| ident.unraw().to_string()).ok_or_else(nameless)
}
