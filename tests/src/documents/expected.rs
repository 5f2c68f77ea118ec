//! Compares the output of a command with what a page shows.

/// The mark that stands for any text.
const ANYTHING: &str = "...";

/// Returns the first line of the output that differs from what is expected, if there is one.
#[must_use]
pub fn differs(expected: &[String], output: &str) -> Option<String> {
    // On a guest's terminal, each line also ends with a carriage return.
    let output: Vec<&str> = output.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = expected.iter().map(|line| line.trim_end()).collect();
    let furthest = furthest(&expected, &output)?;
    Some(match expected.get(furthest) {
        Some(line) => format!("the output does not have this line: {line}"),
        None => "the output continues after the expected lines".into(),
    })
}

/// Returns `None` if all lines match, otherwise the index of the first expected line that cannot
/// match.
fn furthest(expected: &[&str], output: &[&str]) -> Option<usize> {
    // The places in the output that are possible after the expected lines so far.
    let mut places = vec![0];
    for (index, line) in expected.iter().enumerate() {
        let next: Vec<usize> = if *line == ANYTHING {
            places.first().map_or_else(Vec::new, |&first| (first..=output.len()).collect())
        } else {
            let fits = |&&at: &&usize| output.get(at).is_some_and(|said| is_like(line, said));
            places.iter().filter(fits).map(|at| at + 1).collect()
        };
        if next.is_empty() {
            return Some(index);
        }
        places = next;
    }
    if places.contains(&output.len()) { None } else { Some(expected.len()) }
}

/// Whether one line of output matches a pattern.
fn is_like(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(ANYTHING) else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(ANYTHING).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match line.split_once(part) {
            Some((_, after)) => line = after,
            None => return false,
        }
    }
    line.ends_with(end)
}
