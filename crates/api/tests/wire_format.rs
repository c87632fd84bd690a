//! What clients of other versions rely on: every field of Connect's API and of the plan with its number and type, every value of an
//! enum, every method. A line that changes or goes breaks a client that was built before; lines may come.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fmt::Write;

use cofide_api::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Of SPIFFE and SPIRE the files are theirs.
const OURS: [&str; 2] = ["proto.", "cofide."];

#[test]
fn no_field_has_another_number_than_its_clients_know() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let mut text = String::new();
    for file in files.iter().filter(|file| OURS.iter().any(|package| file.package().starts_with(package))) {
        for service in &file.service {
            for method in &service.method {
                let (input, output) = (method.input_type(), method.output_type());
                writeln!(text, "{}.{}.{}: {input} -> {output}", file.package(), service.name(), method.name()).unwrap();
            }
        }
        file.message_type.iter().for_each(|message| list_message(&mut text, file.package(), message));
        file.enum_type.iter().for_each(|values| list_enum(&mut text, file.package(), values));
    }
    insta::assert_snapshot!(text);
}

fn list_message(text: &mut String, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    for field in &message.field {
        writeln!(text, "{name}.{} = {}: {}", field.name(), field.number(), kind(field)).unwrap();
    }
    message.nested_type.iter().for_each(|nested| list_message(text, &name, nested));
    message.enum_type.iter().for_each(|values| list_enum(text, &name, values));
}

fn list_enum(text: &mut String, parent: &str, values: &EnumDescriptorProto) {
    for value in &values.value {
        writeln!(text, "{parent}.{}.{} = {}", values.name(), value.name(), value.number()).unwrap();
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    let kind = match field.type_name() {
        "" => format!("{:?}", field.r#type()).to_lowercase(),
        named => named.trim_start_matches('.').to_owned(),
    };
    let label = format!("{:?}", field.label()).to_lowercase();
    format!("{label} {kind}")
}
