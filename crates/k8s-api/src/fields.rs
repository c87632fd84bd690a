//! Reading an object field by field, so that what is wrong with one field hides nothing about the others.

use std::collections::BTreeMap;

use cofide_core::closest;
use serde_json::{Map, Value};

use crate::Problem;

/// An object as far as it could be read. What could not be read, or was not there, has its default value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read<T> {
    pub object: T,
    /// Fields of the wrong type and fields that do not exist.
    pub problems: Vec<Problem>,
}

/// A value that a field can have. Nothing (`null`, as an empty YAML value is read) counts as absent.
pub(crate) trait Field: Default {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self;
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn wrong_type(path: &str, expected: &str, value: &Value) -> Problem {
    Problem::new(path, format!("must be {expected}, not {}", kind_of(value)))
}

impl Field for String {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        match value {
            Value::String(text) => return text.clone(),
            Value::Number(_) | Value::Bool(_) => {
                problems.push(wrong_type(path, "a text", value).remedy(format!("put it in quotes: \"{value}\"")));
            }
            other => problems.push(wrong_type(path, "a text", other)),
        }
        Self::new()
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Field for $integer {
            fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
                let number = match value {
                    Value::Number(number) => number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX)),
                    Value::String(text) if text.parse::<i64>().is_ok() => {
                        problems.push(wrong_type(path, "a number", value).remedy(format!("write {text} without quotes")));
                        return Self::default();
                    }
                    other => {
                        problems.push(wrong_type(path, "a number", other));
                        return Self::default();
                    }
                };
                match number.map(Self::try_from) {
                    Some(Ok(number)) => return number,
                    Some(Err(_)) => problems.push(Problem::new(path, format!("{value} is out of range"))),
                    None => problems.push(Problem::new(path, format!("must be a whole number, not {value}"))),
                }
                Self::default()
            }
        }
    )*};
}
integers!(i32, i64);

impl<T: Field> Field for Option<T> {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        Some(T::read(value, path, problems))
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        let Value::Array(items) = value else {
            problems.push(wrong_type(path, "a list", value).remedy("begin each entry with \"- \" on a line of its own"));
            return Self::new();
        };
        items.iter().enumerate().map(|(index, item)| T::read(item, &format!("{path}[{index}]"), problems)).collect()
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        let Value::Object(entries) = value else {
            problems.push(wrong_type(path, "a map", value));
            return Self::new();
        };
        entries.iter().map(|(key, value)| (key.clone(), T::read(value, &format!("{path}[{key:?}]"), problems))).collect()
    }
}

/// The fields of one map, which are asked for by name; what nobody asked for does not exist.
pub(crate) struct Fields<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(crate) fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub(crate) fn get<T: Field>(&mut self, field: &'static str) -> T {
        self.known.push(field);
        match self.map.get(field) {
            None | Some(Value::Null) => T::default(),
            Some(value) => T::read(value, &self.path(field), self.problems),
        }
    }

    /// As [`Fields::get`], for a field whose default value could also have been written.
    pub(crate) fn require<T: Field>(&mut self, field: &'static str, remedy: &str) -> T {
        if matches!(self.map.get(field), None | Some(Value::Null)) {
            self.problems.push(Problem::new(self.path(field), "must be set").remedy(remedy));
        }
        self.get(field)
    }

    /// Leaves a field unread.
    pub(crate) fn ignore(&mut self, field: &'static str) {
        self.known.push(field);
    }

    /// Reports what was not asked for. `elsewhere` says of fields that exist in another place where they belong.
    pub(crate) fn finish(self, elsewhere: &[(&str, &str)]) {
        for field in self.map.keys().filter(|field| !self.known.contains(&field.as_str())) {
            let path = self.path(field);
            let problem = Problem::new(&path, "unknown field");
            let belongs = elsewhere.iter().find(|(name, _)| name == field).map(|(_, place)| place);
            self.problems.push(match (belongs, closest(field, self.known.iter().copied())) {
                (Some(place), _) => problem.remedy(format!("it belongs into {place}; check the indentation")),
                (None, Some(meant)) => problem.remedy(format!("did you mean {meant}?")),
                (None, None) => problem.remedy(format!("known are {}", self.known.join(", "))),
            });
        }
    }
}

/// Reads a map with `read`, then reports the fields that it did not ask for.
pub(crate) fn map<T: Default>(
    value: &Value,
    path: &str,
    problems: &mut Vec<Problem>,
    elsewhere: &[(&str, &str)],
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> T {
    let Value::Object(map) = value else {
        problems.push(wrong_type(path, "a map", value));
        return T::default();
    };
    let mut fields = Fields { path, map, known: Vec::new(), problems };
    let object = read(&mut fields);
    fields.finish(elsewhere);
    object
}
