use clap::ArgAction;

use super::super::{Config, definition};
use super::*;

mod random;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// Read `lguest --config FILE` and these words.
fn with(text: &str, more: &[&str]) -> Result<ParsedCommand, Refusal> {
    let file = file(text);
    let config = ["lguest", "--config", file.path().to_str().unwrap()];
    read(definition(), words(&[&config, more].concat()))
}

fn launch(parsed: Result<ParsedCommand, Refusal>) -> Config {
    match parsed.unwrap() {
        ParsedCommand::Run(line) => line.launch.unwrap(),
        ParsedCommand::Print(text) => panic!("{text}"),
    }
}

fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::Line(error) => error.to_string(),
        Refusal::Merged(error, file) => format!("{}: {error}", file.display()),
        Refusal::Words(text) => text,
    }
}

const WHOLE: &str = "memory = 512\nkernel = 'vmlinuz'\narguments = ['a']\n";

#[test]
fn a_file_can_replace_the_command_line() {
    let config = launch(with(WHOLE, &[]));
    assert_eq!((config.memory, config.kernel), (512 << 20, "vmlinuz".into()));
    assert_eq!((config.arguments, config.cpus), (words(&["a"]), 1));
}

#[test]
fn the_command_line_wins_for_options_given_once() {
    let text = format!("{WHOLE}cpus = 4\nname = 'web'\nno-reboot = true\nrng = '/dev/hwrng'");
    let config = launch(with(&text, &["--cpus=2", "--no-reboot", "--rng"]));
    assert_eq!((config.cpus, config.no_reboot), (2, true));
    assert_eq!(config.name.unwrap().as_str(), "web");
    assert_eq!(config.rng, Some("/dev/urandom".into()));
}

#[test]
fn values_of_repeated_options_come_from_the_file_first() {
    let text = format!("{WHOLE}block = ['a', 'b']\ninitrd = 'i'");
    let config = launch(with(&text, &["--block", "c", "--initrd=j", "--block=d"]));
    let disks: Vec<_> = config.block.iter().map(|disk| disk.path.to_str().unwrap()).collect();
    assert_eq!(disks, ["a", "b", "c", "d"]);
    assert_eq!(config.initrd, [PathBuf::from("i"), "j".into()]);
}

#[test]
fn words_of_the_command_line_take_the_place_of_the_files() {
    let config = launch(with(WHOLE, &["1G"]));
    assert_eq!((config.memory, config.kernel.to_str()), (1 << 30, Some("vmlinuz")));
    assert_eq!(config.arguments, words(&["a"]));
    let config = launch(with(WHOLE, &["1G", "other", "b", "--", "--c"]));
    assert_eq!((config.memory, config.kernel.to_str()), (1 << 30, Some("other")));
    assert_eq!(config.arguments, words(&["b", "--c"]));
    // A positional word may have the name of another command.
    let config = launch(with(WHOLE, &["1G", "list", "list"]));
    assert_eq!((config.kernel.to_str(), config.arguments), (Some("list"), words(&["list"])));
}

#[test]
fn an_argument_missing_in_both_is_reported() {
    let error = text(with("memory = 512", &[]).unwrap_err());
    assert!(
        error.ends_with(": there is no kernel = ... in it, nor KERNEL after lguest"),
        "{error}"
    );
    let error = text(with("kernel = 'vmlinuz'", &[]).unwrap_err());
    assert!(error.contains("no memory = ...") && error.contains("MEM"), "{error}");
    let error =
        text(read(definition(), words(&["lguest", "--config", "/nowhere/file"])).unwrap_err());
    assert!(error.starts_with("/nowhere/file: ") && error.contains("No such file"), "{error}");
}

#[test]
fn an_error_names_the_file_or_the_option() {
    let error = text(with(&format!("{WHOLE}cpus = 65"), &[]).unwrap_err());
    assert!(error.contains(":4: cpus: invalid value '65'"), "{error}");
    // An error of the command line names the option as it is written there.
    let error = text(with(WHOLE, &["--cpus=65"]).unwrap_err());
    assert!(error.contains("'65' for '--cpus <N>'"), "{error}");
    // clap cannot read this line at all.
    let error = text(with(WHOLE, &["--blok=a"]).unwrap_err());
    assert!(error.contains("--blok") && error.contains("--block"), "{error}");
}

#[test]
fn other_commands_take_no_file() {
    let file = file(WHOLE);
    let config = format!("--config={}", file.path().display());
    assert!(read(definition(), words(&["lguest", &config, "list"])).is_err());
    assert!(
        matches!(read(definition(), words(&["lguest", "list"])), Ok(ParsedCommand::Run(line)) if line.command.is_some())
    );
}

fn printed(all: &[&str]) -> String {
    match read(definition(), words(all)).unwrap() {
        ParsedCommand::Print(text) => text,
        ParsedCommand::Run(line) => panic!("{line:?}"),
    }
}

#[test]
fn the_printed_file_is_readable() {
    let line = "lguest 512 vmlinuz --cpus 4 --block a.img --rng --console stdio --console file=a,,b \
        --print-config --no-reboot root=/dev/vda rw";
    let text = printed(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        text,
        "memory = 512\nkernel = \"vmlinuz\"\narguments = [\n    \"root=/dev/vda\",\n    \"rw\",\n]\n\
         cpus = 4\nblock = [\"a.img\"]\nconsole = [\n    \"stdio\",\n    \"file=a,,b\",\n]\n\
         rng = true\nno-reboot = true\n"
    );
    // The printed file gives the same launch, and prints the same file again.
    let file = file(&text);
    let config = format!("--config={}", file.path().display());
    assert_eq!(printed(&["lguest", &config, "--print-config"]), text);
}

#[test]
fn an_invalid_launch_is_not_printed() {
    assert!(read(definition(), words(&["lguest", "--print-config", "512"])).is_err());
    assert!(
        read(definition(), words(&["lguest", "--print-config", "512", "k", "--cpus=65"])).is_err()
    );
}

#[test]
fn a_file_can_have_every_option() {
    let definition = definition();
    for arg in options(&definition) {
        let takes =
            matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue | ArgAction::Append);
        assert!(takes, "{arg:?}: {:?}", arg.get_action());
        assert!(arg.is_positional() || arg.get_long().is_some(), "{arg:?} has no long name");
        assert!(arg.get_value_delimiter().is_none(), "{arg:?} splits its values");
        let most = arg.get_num_args().map_or(1, |count| count.max_values());
        assert!(most <= 1 || arg.is_positional(), "{arg:?} has several values at a time");
    }
}
