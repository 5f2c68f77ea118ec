//! The configuration file: TOML with a key for each option. It is read into [`ArgValues`], and
//! written from them. clap checks each value as it is read, so that an error names its line.

use std::ffi::OsString;
use std::fmt::Write;

use clap::{Arg, Command};
use toml::Spanned;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::arg_values::{ArgValues, Shape, key, options};
use super::{nearest, refusal};

/// Read the values from the text of a file.
///
/// # Errors
/// One line: the number of the line, and what is wrong there.
pub(crate) fn read(text: &str, definition: &Command) -> Result<ArgValues, String> {
    let line = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let words = error.message().lines().collect::<Vec<_>>().join(", ");
        format!("{}: {words}", line(at))
    })?;
    let mut args = ArgValues::default();
    // The order of the file, so that the first error is reported.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let at = line(name.span().start);
        let name = name.get_ref().as_ref();
        let arg = options(definition).find(|arg| key(arg) == name);
        let arg = arg.ok_or_else(|| format!("{at}: {}", unknown(name, definition)))?;
        let values = values(arg, value)
            .map_err(|(place, error)| format!("{}: {name}: {error}", line(place)))?;
        if !values.is_empty() {
            args.set(name, values);
        }
    }
    Ok(args)
}

/// The message about an unknown key.
fn unknown(name: &str, definition: &Command) -> String {
    if ["config", "print-config"].contains(&name) {
        return format!("{name} is only for the command line");
    }
    match nearest(name, options(definition).map(key)) {
        Some(near) => format!("there is no option {name:?}: is it {near:?}?"),
        None => format!("there is no option {name:?}: lguest --help tells which there are"),
    }
}

/// A byte offset in the file, and what is wrong there.
type ValueError = (usize, String);

fn values(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<Option<OsString>>, ValueError> {
    let shape = Shape::of(arg);
    let wanted = |what: &str| {
        let is = value.get_ref().type_str();
        Err((value.span().start, format!("this is {what}, not a value of type {is}")))
    };
    match (shape, value.get_ref()) {
        (Shape::Switch | Shape::Once { optional: true }, DeValue::Boolean(on)) => {
            Ok(if *on { vec![None] } else { Vec::new() })
        }
        (Shape::Switch, _) => wanted("a switch: true or false"),
        (Shape::Often | Shape::Words, DeValue::Array(items)) => {
            items.iter().map(|item| single(arg, item)).collect()
        }
        (Shape::Words, _) => wanted("an array of words"),
        (_, value_of) if text(value_of).is_some() => Ok(vec![single(arg, value)?]),
        (Shape::Often, _) => wanted("a string, or an array of strings"),
        (Shape::Once { optional: true }, _) => wanted("a string or true"),
        (Shape::Once { .. }, _) => wanted("a string or a number"),
    }
}

fn single(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Option<OsString>, ValueError> {
    let at = value.span().start;
    let Some(text) = text(value.get_ref()) else {
        let is = value.get_ref().type_str();
        return Err((at, format!("what is in the array are strings, not of type {is}")));
    };
    if text.contains('\0') {
        return Err((at, "no option has a byte 0 in it".into()));
    }
    try_alone(arg, &text).map_err(|error| (at, error))?;
    Ok(Some(text.into()))
}

/// A string or a number, as the user would type it on the command line.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let value = i128::from_str_radix(&digits, number.radix()).ok();
            Some(value.map_or(digits, |value| value.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        _ => None,
    }
}

/// Check that the option accepts this value.
fn try_alone(arg: &Arg, text: &str) -> Result<(), String> {
    let plain = Arg::new("value").value_parser(arg.get_value_parser().clone());
    let alone = Command::new("lguest").no_binary_name(true).arg(plain.allow_hyphen_values(true));
    let alone = alone.disable_help_flag(true).disable_version_flag(true);
    let Err(error) = alone.try_get_matches_from(["--", text]) else { return Ok(()) };
    Err(refusal::sentence(&error).replace(" for '[value]'", ""))
}

/// Write a file with these values.
///
/// # Errors
/// When a value cannot be written in TOML.
pub(crate) fn write(args: &ArgValues, definition: &Command) -> Result<String, String> {
    let mut file = String::new();
    let (words, named): (Vec<_>, Vec<_>) = options(definition).partition(|arg| arg.is_positional());
    for arg in words.into_iter().chain(named) {
        let key = key(arg);
        let values: Vec<_> = args.get(key).iter().map(utf_8).collect::<Result<_, _>>()?;
        let text = match (Shape::of(arg), values.as_slice()) {
            (_, []) => continue,
            (_, [None, ..]) => "true".into(),
            (Shape::Often | Shape::Words, values) => list(values.iter().flatten()),
            (_, [Some(value), ..]) => number(value).unwrap_or_else(|| string(value)),
        };
        // Cannot fail: a String grows.
        let _ = writeln!(file, "{key} = {text}");
    }
    Ok(file)
}

fn utf_8(value: &Option<OsString>) -> Result<Option<&str>, String> {
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().map(Some);
    text.ok_or_else(|| format!("{} is not UTF-8, as all of a TOML file is", value.display()))
}

/// The text as a number, if the number is written as this same text.
fn number(text: &str) -> Option<String> {
    text.parse().ok().map(|number: i64| number.to_string()).filter(|number| number == text)
}

fn string(text: &str) -> String {
    Value::String(text.into()).to_string()
}

fn list<'a>(values: impl Iterator<Item = &'a &'a str>) -> String {
    let values: Vec<_> = values.map(|value| string(value)).collect();
    match values.as_slice() {
        [one] => format!("[{one}]"),
        several => format!("[\n    {},\n]", several.join(",\n    ")),
    }
}

#[cfg(test)]
mod tests;
