//! `lguest --help`, which fits a screen, and `lguest help TOPIC`, which tells the rest: made
//! from clap's definition and the few words of [`topics`].

mod overview;
mod topics;

use clap::Command;
use clap::builder::StyledStr;

pub(crate) use overview::overview;
use topics::Topic;

/// How near a name must be to be suggested; clap has the same.
const NEAR: f64 = 0.7;

/// What `lguest help TOPIC` prints: a topic, or the help of a command, or the topic of an
/// option.
///
/// # Errors
/// When there is nothing of that name, with the nearest that there is.
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

/// Of these, the name that somebody meant who said this one.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|other| (strsim::jaro(name, other), other));
    let near = near.filter(|(near, _)| *near > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
