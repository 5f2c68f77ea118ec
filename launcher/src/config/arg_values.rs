//! The values of options before they have a meaning: what a command line and a configuration file
//! have in common. [`super::read`] puts the two together; [`super::toml`] reads and writes the
//! file. clap defines the options, so a new option needs nothing here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// How an option takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The option takes no value.
    Switch,
    /// The option is given once, with a value. The value may be left out if it is optional.
    Once { optional: bool },
    /// The option may be repeated, with a value each time.
    Often,
    /// Positional words, in any number.
    Words,
}

impl Shape {
    pub(crate) fn of(arg: &Arg) -> Self {
        match arg.get_action() {
            ArgAction::Append if arg.is_positional() => Self::Words,
            ArgAction::Append => Self::Often,
            ArgAction::Set => {
                let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
                Self::Once { optional: optional && !arg.is_positional() }
            }
            _ => Self::Switch,
        }
    }
}

/// The key of an option in a file: the name that it has on the command line.
pub(crate) fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// The options that a file may have. Those about the file itself and about help are left out.
pub(crate) fn options(definition: &Command) -> impl Iterator<Item = &Arg> {
    let about = ["config", "print-config", "help", "version"];
    definition.get_arguments().filter(move |arg| !about.contains(&key(arg)))
}

/// The values of the options that were given, by their keys. A switch has a single value, None; so
/// has an option whose value was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ArgValues(BTreeMap<String, Vec<Option<OsString>>>);

impl ArgValues {
    /// Read the values from the words of a command line.
    ///
    /// # Errors
    /// When the command line is not well-formed, whatever the values mean.
    pub(crate) fn from_words(
        definition: &Command,
        words: &[OsString],
    ) -> Result<(Self, ArgMatches), clap::Error> {
        let matches = skeleton(definition).try_get_matches_from(words)?;
        let mut args = Self::default();
        for arg in options(definition) {
            let id = arg.get_id().as_str();
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let occurrences = matches.get_raw_occurrences(id).into_iter().flatten();
            let values = match Shape::of(arg) {
                Shape::Switch => vec![None],
                Shape::Words => occurrences.flatten().map(|word| Some(word.into())).collect(),
                _ => occurrences.map(|mut values| values.next().map(Into::into)).collect(),
            };
            args.set(key(arg), values);
        }
        Ok((args, matches))
    }

    pub(crate) fn set(&mut self, key: &str, values: Vec<Option<OsString>>) {
        self.0.insert(key.into(), values);
    }

    /// The values of an option; an empty slice if it was not given.
    pub(crate) fn get(&self, key: &str) -> &[Option<OsString>] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Remove all options but these.
    pub(crate) fn keep_only(&mut self, keys: &[&str]) {
        self.0.retain(|key, _| keys.contains(&key.as_str()));
    }

    /// Merge `other` below these values. An option that can be given only once keeps its value; a
    /// repeated option gets the values of `other` first.
    pub(crate) fn over(mut self, other: Self, definition: &Command) -> Self {
        for (key, mut values) in other.0 {
            let often = options(definition)
                .any(|arg| self::key(arg) == key && Shape::of(arg) == Shape::Often);
            if let (true, Some(own)) = (often, self.0.get_mut(&key)) {
                values.append(own);
                *own = values;
            } else {
                self.0.entry(key).or_insert(values);
            }
        }
        self
    }

    /// The values as words of a command line: options, "--" and the positional words.
    pub(crate) fn words(&self, definition: &Command) -> Vec<OsString> {
        let (mut words, mut plain) = (Vec::new(), Vec::new());
        for arg in options(definition) {
            for value in self.get(key(arg)) {
                match (arg.get_long(), value) {
                    (None, value) => plain.extend(value.clone()),
                    (Some(long), None) => words.push(format!("--{long}").into()),
                    (Some(long), Some(value)) => words.push(assignment(long, value)),
                }
            }
        }
        words.push("--".into());
        words.append(&mut plain);
        words
    }
}

fn assignment(long: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{long}="));
    word.push(value);
    word
}

/// A definition without any meaning: no option is required, and every value is accepted.
fn skeleton(definition: &Command) -> Command {
    let bare = definition.get_arguments().map(|arg| {
        let mut bare = Arg::new(arg.get_id().clone()).action(arg.get_action().clone());
        bare = match arg.get_long() {
            Some(long) => bare.long(long.to_string()).visible_aliases(aliases(arg)),
            None => bare,
        };
        if let Some(short) = arg.get_short() {
            bare = bare.short(short);
        }
        if Shape::of(arg) == Shape::Switch {
            return bare;
        }
        if let Some(count) = arg.get_num_args() {
            bare = bare.num_args(count);
        }
        bare.value_parser(clap::value_parser!(OsString))
            .require_equals(arg.is_require_equals_set())
            .allow_hyphen_values(arg.is_allow_hyphen_values_set())
            .trailing_var_arg(arg.is_trailing_var_arg_set())
    });
    Command::new(definition.get_name().to_string())
        .args(bare)
        .subcommands(definition.get_subcommands().cloned())
        .args_conflicts_with_subcommands(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
}

fn aliases(arg: &Arg) -> Vec<String> {
    arg.get_all_aliases().into_iter().flatten().map(ToString::to_string).collect()
}
