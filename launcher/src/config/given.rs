//! What a user gave, option by option, before it has a meaning: what a command line and a
//! configuration file have in common. [`super::read`] puts the two together; [`super::toml`]
//! reads and writes the file. Which options there are is clap's to say, so that one that is
//! new needs nothing here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// How an option is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Without a value.
    Switch,
    /// Once, with a value; or without, if that may be left out.
    Once { optional: bool },
    /// As often as one likes, with a value each.
    Often,
    /// Words without an option's name, as many as one likes.
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

/// What an option is called in a file: as on the command line.
pub(crate) fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// The options that a file may have: not those which are about the file, or about help.
pub(crate) fn options(definition: &Command) -> impl Iterator<Item = &Arg> {
    let about = ["config", "print-config", "help", "version"];
    definition.get_arguments().filter(move |arg| !about.contains(&key(arg)))
}

/// The values of the options that were given, by their keys. A switch has a single
/// value, None; so has an option whose value was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given(BTreeMap<String, Vec<Option<OsString>>>);

impl Given {
    /// From the words of a command line.
    ///
    /// # Errors
    /// When it is not well-formed, whatever the values mean.
    pub(crate) fn from_words(
        definition: &Command,
        words: &[OsString],
    ) -> Result<(Self, ArgMatches), clap::Error> {
        let matches = skeleton(definition).try_get_matches_from(words)?;
        let mut given = Self::default();
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
            given.set(key(arg), values);
        }
        Ok((given, matches))
    }

    pub(crate) fn set(&mut self, key: &str, values: Vec<Option<OsString>>) {
        self.0.insert(key.into(), values);
    }

    /// The values of an option; none if it was not given.
    pub(crate) fn get(&self, key: &str) -> &[Option<OsString>] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// This and, below it, `other`: where an option can only be given once, this one wins;
    /// else `other` comes first.
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

    /// As words of a command line: options, "--" and what has no option's name.
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

/// The options without any meaning: none is required, and every value is accepted.
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
