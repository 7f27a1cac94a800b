//! What serde is told about an enum: the name under which it knows a variant, and what this crate cannot work with.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, LitStr, Result};

/// Refuses attributes of an enum that change how variants are told apart.
pub(crate) fn check_container(attributes: &[Attribute]) -> Result<()> {
    each_serde(attributes, |meta| {
        let named = |name: &str| meta.path.is_ident(name);
        if named("tag") || named("content") || named("untagged") {
            return Err(meta.error(
                "an event enum keeps serde's default form: Annals stores the variant's name beside the data",
            ));
        }
        if named("rename_all") {
            return Err(meta.error(
                "events are named by `#[event(name = \"…\")]`; fields are renamed by `rename_all_fields`",
            ));
        }
        skip_value(&meta)
    })
}

/// The name by which serde knows a variant.
pub(crate) fn variant_name(variant: &syn::Variant) -> Result<String> {
    use syn::ext::IdentExt;
    let mut name = variant.ident.unraw().to_string();
    each_serde(&variant.attrs, |meta| {
        if !meta.path.is_ident("rename") {
            return skip_value(&meta);
        }
        if !meta.input.peek(syn::Token![=]) {
            return Err(meta.error("an event needs one name for both ways: use `rename = \"…\"`"));
        }
        name = meta.value()?.parse::<LitStr>()?.value();
        Ok(())
    })?;
    Ok(name)
}

fn each_serde(
    attributes: &[Attribute],
    mut visit: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut ours = attributes.iter().filter(|attribute| attribute.path().is_ident("serde"));
    ours.try_for_each(|attribute| attribute.parse_nested_meta(&mut visit))
}

/// Takes what stands behind an attribute that says nothing to us.
fn skip_value(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(syn::Token![=]) {
        meta.value()?.parse::<syn::Lit>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        content.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}
