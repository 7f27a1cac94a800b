//! The code that stands for one type: a table of its event types, and which row and which tags a value has.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Member, Result, Type};

use crate::attributes::{Naming, tag_key};
use crate::serde_names;

/// One event type: an enum's variant, or a struct.
struct Row {
    naming: Naming,
    /// The name by which serde knows the variant; none for a struct.
    variant: Option<String>,
    /// `Self::Opened`, or `Self` for a struct.
    path: TokenStream,
    tags: Vec<TagField>,
}

/// A field that gives tags.
struct TagField {
    key: String,
    member: Member,
    many: bool,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let rows = rows(input)?;
    check_names(&rows)?;
    let ident = &input.ident;
    let (generics, arguments, wheres) = input.generics.split_for_impl();
    let types = rows.iter().map(event_type);
    let numbers = rows.iter().enumerate().map(|(index, Row { path, .. })| quote!(#path { .. } => #index,));
    let tags = rows.iter().map(tags_arm);
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::annals::Event for #ident #arguments #wheres {
            const TYPES: &'static [::annals::EventType] = &[#(#types),*];

            fn event_type(&self) -> &'static ::annals::EventType {
                let index: usize = match self { #(#numbers)* };
                &<Self as ::annals::Event>::TYPES[index]
            }

            fn tags(&self) -> ::std::vec::Vec<::annals::Tag> {
                match self { #(#tags)* }
            }
        }
    })
}

fn rows(input: &DeriveInput) -> Result<Vec<Row>> {
    match &input.data {
        Data::Struct(data) => {
            let naming = Naming::read(&input.attrs, &input.ident)?;
            let tags = tag_fields(&data.fields)?;
            Ok(vec![Row { naming, variant: None, path: quote!(Self), tags }])
        }
        Data::Enum(data) if !data.variants.is_empty() => {
            serde_names::check_container(&input.attrs)?;
            data.variants.iter().map(variant_row).collect()
        }
        Data::Enum(_) => Err(Error::new(input.ident.span(), "an event enum needs at least one variant")),
        Data::Union(_) => Err(Error::new(input.ident.span(), "a union is no event: use an enum or a struct")),
    }
}

fn variant_row(variant: &syn::Variant) -> Result<Row> {
    if matches!(&variant.fields, Fields::Unnamed(fields) if fields.unnamed.len() != 1) {
        return Err(Error::new(
            variant.ident.span(),
            "an event's fields need names, or a struct of their own: `Placed(OrderPlaced)`",
        ));
    }
    let ident = &variant.ident;
    Ok(Row {
        naming: Naming::read(&variant.attrs, ident)?,
        variant: Some(serde_names::variant_name(variant)?),
        path: quote!(Self::#ident),
        tags: tag_fields(&variant.fields)?,
    })
}

fn tag_fields(fields: &Fields) -> Result<Vec<TagField>> {
    let mut tags = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if let Some(key) = tag_key(field)? {
            tags.push(TagField { key, member: member(index, field), many: gives_many(&field.ty) });
        }
    }
    Ok(tags)
}

fn member(index: usize, field: &Field) -> Member {
    field.ident.clone().map_or_else(|| Member::from(index), Member::Named)
}

/// Whether a field's type is an `Option` or a `Vec`, by its last name: a macro sees no types.
fn gives_many(field_type: &Type) -> bool {
    let Type::Path(path) = field_type else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|segment| segment.ident == "Option" || segment.ident == "Vec")
}

fn check_names(rows: &[Row]) -> Result<()> {
    let mut seen = HashSet::new();
    match rows.iter().find(|row| !seen.insert(row.naming.name.as_str())) {
        None => Ok(()),
        Some(row) => {
            let text = format!("two events of one type are named {:?}", row.naming.name);
            Err(Error::new(row.naming.span, text))
        }
    }
}

fn event_type(row: &Row) -> TokenStream {
    let Naming { name, version, reads, .. } = &row.naming;
    let variant = match &row.variant {
        Some(variant) => quote!(::std::option::Option::Some(#variant)),
        None => quote!(::std::option::Option::None),
    };
    quote!(::annals::EventType { name: #name, version: #version, reads: #reads, variant: #variant })
}

fn tags_arm(row: &Row) -> TokenStream {
    let path = &row.path;
    if row.tags.is_empty() {
        return quote!(#path { .. } => ::std::vec::Vec::new(),);
    }
    let bindings: Vec<_> = (0..row.tags.len()).map(|index| format_ident!("tag_{index}")).collect();
    let members = row.tags.iter().map(|tag| &tag.member);
    let pushes = row.tags.iter().zip(&bindings).map(|(tag, binding)| {
        let key = &tag.key;
        if tag.many {
            quote!(tags.extend(#binding.iter().map(|value| ::annals::Tag::of(#key, value)));)
        } else {
            quote!(tags.push(::annals::Tag::of(#key, #binding));)
        }
    });
    quote! {
        #path { #(#members: #bindings,)* .. } => {
            let mut tags = ::std::vec::Vec::new();
            #(#pushes)*
            tags
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn expanded(code: &str) -> String {
        expand(&syn::parse_str(code).unwrap()).unwrap().to_string()
    }

    fn refusal(code: &str) -> String {
        expand(&syn::parse_str(code).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn names_and_versions_have_defaults() {
        let code =
            expanded("enum E { Opened, #[event(name = \"Paid\", version = 3, reads = 2)] P { a: u8 } }");
        assert!(code.contains("name : \"Opened\" , version : 1u32 , reads : 1u32"), "{code}");
        assert!(code.contains("name : \"Paid\" , version : 3u32 , reads : 2u32"), "{code}");
    }

    #[test]
    fn the_name_that_serde_uses_is_found() {
        let code = expanded("enum E { #[serde(rename = \"o\", alias = \"x\")] Opened, r#Type }");
        assert!(code.contains("Some (\"o\")") && code.contains("Some (\"Type\")"), "{code}");
    }

    #[test]
    fn harmless_attributes_of_serde_are_passed_over() {
        expanded(
            "#[serde(deny_unknown_fields, rename_all_fields = \"camelCase\", bound(serialize = \"T: X\"))] enum E { A }",
        );
    }

    #[test]
    fn mistakes_are_told_where_they_stand() {
        let cases = [
            ("enum E {}", "at least one variant"),
            ("union U { a: u8 }", "a union is no event"),
            ("enum E { A(u8, u8) }", "fields need names"),
            ("enum E { #[event(name = \"\")] A }", "needs a name"),
            ("enum E { #[event(name = \"$a\")] A }", "kept for Annals"),
            ("enum E { #[event(name = \"a b\")] A }", "neither spaces"),
            ("enum E { #[event(version = 0)] A }", "count from 1"),
            ("enum E { #[event(version = 2, reads = 3)] A }", "older version than 2"),
            ("enum E { #[event(nam = \"x\")] A }", "use `name`, `version` or `reads`"),
            ("enum E { A, #[event(name = \"A\")] B }", "two events of one type are named \"A\""),
            ("enum E { A { #[event(tags)] a: u8 } }", "use `tag`"),
            ("enum E { A { #[event(tag = \"a:b\")] a: u8 } }", "nor colons"),
            ("enum E { A(#[event(tag)] u8) }", "needs `tag = \"key\"`"),
            ("#[serde(tag = \"type\")] enum E { A }", "default form"),
            ("#[serde(untagged)] enum E { A }", "default form"),
            ("#[serde(rename_all = \"camelCase\")] enum E { A }", "rename_all_fields"),
            ("enum E { #[serde(rename(serialize = \"a\"))] A }", "one name for both ways"),
        ];
        for (code, expected) in cases {
            let refusal = refusal(code);
            assert!(refusal.contains(expected), "{code}: {refusal}");
        }
    }
}
