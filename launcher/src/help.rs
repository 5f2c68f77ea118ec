//! `lguest --help`, which fits a screen, and `lguest help TOPIC`, which has the rest. Both are made
//! from clap's definition ([`crate::config::definition`]) and the texts of [`topics`].

mod overview;
mod topics;

use clap::Command;
use clap::builder::StyledStr;

use crate::config::{self, nearest};
pub(crate) use overview::overview;
use topics::Topic;

/// The definition of the command line, with the overview as its help.
pub(crate) fn definition() -> Command {
    let definition = config::definition();
    let overview = overview(&definition);
    definition.override_help(overview)
}

/// The text of `lguest help TOPIC`: a topic, the help of a command, or the topic of an option.
///
/// # Errors
/// When the name is unknown: the message has the most similar topic.
pub(crate) fn about(name: &str, definition: &Command) -> Result<StyledStr, String> {
    let topics = topics::all(definition);
    if let Some(topic) = topics.iter().find(|topic| topic.name == name) {
        return Ok(topic.command(definition).render_help());
    }
    let mut definition = definition.clone();
    definition.build();
    if let Some(command) = definition.find_subcommand_mut(name) {
        return Ok(command.render_help());
    }
    let option = name.trim_start_matches('-');
    let of_option = |topic: &&Topic| {
        topic.options(&definition).any(|arg| arg.get_long().is_some_and(|long| long == option))
    };
    if let Some(topic) = topics.iter().find(of_option) {
        return Ok(topic.command(&definition).render_help());
    }
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let nearest = nearest(name, names.iter().copied());
    let nearest = nearest.map_or_else(String::new, |near| format!(", is it {near:?}?"));
    Err(format!("no help on {name:?}{nearest} (the topics are {})", names.join(", ")))
}

#[cfg(test)]
mod tests;
