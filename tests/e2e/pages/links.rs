//! Every link leads to an existing place.

use std::path::Path;

use tests::documents::Page;

use super::pages;

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    for path in pages().into_iter().chain(super::FOR_CONTRIBUTORS.map(String::from)) {
        for (number, line) in Page::read(&path).prose {
            for target in targets(&line) {
                check(&path, target)
                    .unwrap_or_else(|why| panic!("{path}:{number}: {target}: {why}"));
            }
        }
    }
}

/// Returns the targets of links: the text in the parentheses of `[text](target)`.
pub(super) fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn check(path: &str, target: &str) -> Result<(), String> {
    // A test does not fetch pages from the web.
    if target.starts_with("https://") {
        return Ok(());
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let linked = match file {
        "" => path.into(),
        _ => Path::new(path).parent().unwrap().join(file),
    };
    if !Page::root().join(&linked).exists() {
        return Err("the file does not exist".into());
    }
    if heading.is_empty() || headings(linked.to_str().unwrap()).contains(&heading.to_string()) {
        return Ok(());
    }
    Err("the file has no such heading".into())
}

/// Returns the anchors that GitHub makes of the headings.
fn headings(path: &str) -> Vec<String> {
    let prose = Page::read(path).prose;
    let titles = prose.iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): &(usize, String)| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
    };
    titles.map(anchor).collect()
}
