//! What a user may have meant who mistyped a name.

/// How near a name must be to be suggested; clap has the same.
const NEAR: f64 = 0.7;

/// Of `names`, the one that is most like `name`, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|other| (strsim::jaro(name, other), other));
    let near = near.filter(|(near, _)| *near > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, name)| name)
}
