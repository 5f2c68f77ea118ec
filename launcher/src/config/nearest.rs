//! Suggests the name that a user may have mistyped.

/// The least similarity of a name that is suggested. clap uses this value, too.
const NEAR: f64 = 0.7;

/// The name of `names` that is most similar to `name`, if it is similar enough.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|other| (strsim::jaro(name, other), other));
    let near = near.filter(|(near, _)| *near > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, name)| name)
}
