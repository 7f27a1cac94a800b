//! The code that stands for one type: a table of its event types, and which row and which tags a value has.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Member, Result, Type};

use crate::attributes::{FieldSays, Naming, Whole};
use crate::serde_names;

/// One event type: an enum's variant, or a struct.
struct Row {
    naming: Naming,
    /// The name by which serde knows the variant; none for a struct.
    variant: Option<String>,
    /// `Self::Opened`, or `Self` for a struct.
    path: TokenStream,
    tags: Vec<TagField>,
    subject: Option<SubjectField>,
}

/// A field that gives tags.
struct TagField {
    key: String,
    member: Member,
    many: bool,
}

/// The field that says for whose key an event is encrypted.
struct SubjectField {
    key: String,
    member: Member,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let (rows, whole) = rows(input)?;
    check_names(&rows)?;
    let (encrypt_for, shredded) = (encrypt_for(&rows, &whole)?, shredded(&whole));
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

            #encrypt_for
            #shredded
        }
    })
}

fn rows(input: &DeriveInput) -> Result<(Vec<Row>, Whole)> {
    match &input.data {
        Data::Struct(data) => {
            let (naming, whole) = Naming::of_struct(&input.attrs, &input.ident)?;
            let (tags, subject) = fields_say(&data.fields)?;
            Ok((vec![Row { naming, variant: None, path: quote!(Self), tags, subject }], whole))
        }
        Data::Enum(data) if !data.variants.is_empty() => {
            serde_names::check_container(&input.attrs)?;
            let rows = data.variants.iter().map(variant_row).collect::<Result<_>>()?;
            Ok((rows, Whole::of_enum(&input.attrs)?))
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
    let (tags, subject) = fields_say(&variant.fields)?;
    Ok(Row {
        naming: Naming::of_variant(&variant.attrs, ident)?,
        variant: Some(serde_names::variant_name(variant)?),
        path: quote!(Self::#ident),
        tags,
        subject,
    })
}

fn fields_say(fields: &Fields) -> Result<(Vec<TagField>, Option<SubjectField>)> {
    let (mut tags, mut subject) = (Vec::new(), None);
    for (index, field) in fields.iter().enumerate() {
        let (says, member, many) = (FieldSays::read(field)?, member(index, field), gives_many(&field.ty));
        if let Some(key) = says.encrypt_for {
            check_subject(field, many, subject.is_some())?;
            subject = Some(SubjectField { key, member: member.clone() });
        }
        if let Some(key) = says.tag {
            tags.push(TagField { key, member, many });
        }
    }
    Ok((tags, subject))
}

/// An event that is not encrypted although its type says so would be found out too late.
fn check_subject(field: &Field, many: bool, has_one: bool) -> Result<()> {
    let wrong = if has_one {
        "the data of an event is encrypted with one key: mark one field"
    } else if many {
        "`encrypt_for` needs a field that always has one value; where there is none, nothing would be encrypted. Name a function at the type: `#[event(encrypt_for = Self::subject)]`"
    } else {
        return Ok(());
    };
    Err(Error::new(field.span(), wrong))
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

/// The method that names the subject, if anything does.
fn encrypt_for(rows: &[Row], whole: &Whole) -> Result<Option<TokenStream>> {
    let by_fields = rows.iter().any(|row| row.subject.is_some());
    let body = match &whole.encrypt_for {
        Some(function) if by_fields => {
            let text = "either fields say for whose key an event is encrypted, or a function for all of them";
            return Err(Error::new(function.span(), text));
        }
        Some(function) => quote! {
            let subject: fn(&Self) -> ::std::option::Option<::std::string::String> = #function;
            subject(self)
        },
        None if by_fields => {
            let arms = rows.iter().map(subject_arm);
            quote!(match self { #(#arms)* })
        }
        None => return Ok(None),
    };
    Ok(Some(quote! {
        fn encrypt_for(&self) -> ::std::option::Option<::std::string::String> { #body }
    }))
}

fn subject_arm(Row { path, subject, .. }: &Row) -> TokenStream {
    match subject {
        Some(SubjectField { key, member }) => quote! {
            #path { #member: subject, .. } => ::std::option::Option::Some(::std::format!("{}:{}", #key, subject)),
        },
        None => quote!(#path { .. } => ::std::option::Option::None,),
    }
}

/// The method that gives what stands in for a shredded event, if anything does.
fn shredded(whole: &Whole) -> Option<TokenStream> {
    let function = whole.shredded.as_ref()?;
    Some(quote! {
        fn shredded(
            event_type: &::annals::EventType,
            recorded: &::annals::store::Recorded,
        ) -> ::std::option::Option<Self> {
            let stand_in: fn(
                &::annals::EventType,
                &::annals::store::Recorded,
            ) -> ::std::option::Option<Self> = #function;
            stand_in(event_type, recorded)
        }
    })
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
    fn a_field_or_a_function_names_the_subject() {
        assert!(!expanded("enum E { A { #[event(tag)] a: u8 } }").contains("encrypt_for"));
        let code = expanded("enum E { A { #[event(tag = \"x\", encrypt_for)] a: u8 }, B }");
        assert!(code.contains("(\"{}:{}\" , \"a\" , subject)"), "{code}");
        let code =
            expanded("#[event(name = \"T\", encrypt_for = Self::who, shredded = gone)] struct S { a: u8 }");
        assert!(code.contains("= Self :: who ;") && code.contains("= gone ;"), "{code}");
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
            ("#[event(name = \"A\")] enum E { A }", "belongs to its variants"),
            ("enum E { #[event(encrypt_for = f)] A }", "use `name`, `version` or `reads`"),
            ("enum E { A { #[event(encrypt_for)] a: Option<u8> } }", "always has one value"),
            ("enum E { A { #[event(encrypt_for)] a: u8, #[event(encrypt_for)] b: u8 } }", "mark one field"),
            ("#[event(encrypt_for = f)] enum E { A { #[event(encrypt_for)] a: u8 } }", "or a function"),
            ("enum E { A(#[event(encrypt_for)] u8) }", "needs `encrypt_for = \"key\"`"),
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
