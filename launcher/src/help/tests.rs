use std::collections::BTreeMap;

use super::*;

/// The lines of help on a terminal with 80 columns.
fn lines(mut command: Command) -> Vec<String> {
    command = command.term_width(80);
    command.render_help().to_string().lines().map(Into::into).collect()
}

#[test]
fn the_overview_fits_a_screen() {
    let text = definition().render_help().to_string();
    assert!(text.lines().count() <= 24, "{text}");
    for line in text.lines() {
        assert!(line.len() <= 80, "{line}");
    }
    for words in ["lguest help TOPIC", "MEM KERNEL", "--initrd FILE", "  launch disks ", "  check "]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_overview_shows_options_that_exist() {
    let (definition, text) = (definition(), overview(&definition()).to_string());
    let shown: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  --")).collect();
    assert_eq!(shown.len(), 9, "{text}");
    for line in shown {
        let (option, rest) = line.split_once(' ').unwrap();
        let arg = definition.get_arguments().find(|arg| arg.get_long() == Some(option)).unwrap();
        let value = arg.get_action().takes_values();
        let value = arg.get_value_names().filter(|_| value).map_or("", |names| &names[0]);
        let help = rest.trim_start().strip_prefix(value).unwrap();
        assert!(help.starts_with(' ') || value.is_empty(), "{line}");
        assert!(help.trim().len() > 10 && !help.ends_with('.'), "{line}");
    }
}

#[test]
fn every_option_has_one_topic() {
    let definition = definition();
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for topic in topics::all(&definition) {
        for arg in topic.options(&definition) {
            topics.entry(arg.get_id().to_string()).or_default().push(topic.name.clone());
        }
    }
    for arg in definition.get_arguments().filter(|arg| !topics::is_about_help(arg)) {
        let of = topics.get(arg.get_id().as_str());
        assert_eq!(of.map(Vec::len), Some(1), "{arg:?}: {of:?}");
    }
}

#[test]
fn every_command_has_one_topic() {
    let definition = definition();
    let topics = topics::all(&definition);
    for command in definition.get_subcommands() {
        let name = command.get_name();
        let of = topics.iter().flat_map(|topic| topic.commands(&definition));
        let count = of.filter(|of| of.get_name() == name).count();
        let wanted = usize::from(name != "help" && !command.is_hide_set());
        assert_eq!(count, wanted, "{name}");
    }
}

#[test]
fn each_topic_stays_within_its_number_of_lines() {
    let definition = definition();
    for topic in topics::all(&definition) {
        let lines = lines(topic.command(&definition));
        // These topics describe more.
        let most =
            if ["launch", "consoles", "config", "tests", "exec"].contains(&topic.name.as_str()) {
                40
            } else {
                24
            };
        assert!(lines.len() <= most, "{}: {}\n{}", topic.name, lines.len(), lines.join("\n"));
        for line in &lines {
            assert!(line.len() <= 80, "{}: {line}", topic.name);
        }
    }
}

#[test]
fn help_is_found_by_topic_command_and_option() {
    let definition = definition();
    let find = |name| about(name, &definition).map(|text| text.to_string());
    assert!(find("disks").unwrap().contains("--block <FILE"));
    assert!(find("stop").unwrap().contains("--grace <TIME>"));
    assert_eq!(find("--block"), find("disks"));
    assert_eq!(find("block"), find("disks"));
    assert!(find("disk").unwrap_err().contains(r#"is it "disks"?"#));
    assert!(find("status").unwrap().contains("  102    the guest crashed"));
}

#[test]
fn an_option_may_conflict_with_one_of_another_topic() {
    let definition = definition().mut_arg("block", |arg| arg.conflicts_with("detach"));
    let disks = about("disks", &definition).map(|text| text.to_string()).unwrap();
    assert!(disks.contains("--block <FILE") && !disks.contains("--detach"), "{disks}");
    assert!(!disks.contains("Arguments:") && !disks.contains("Launch:"), "{disks}");
}
