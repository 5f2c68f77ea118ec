//! `--config FILE` and `--print-config`: a launch from a file is the same as from a command line.

use std::process::{Command, Output};

use serde_json::Value;
use tests::environment::{launcher, probe, quoted};
use tests::files::Scratch;
use tests::{End, Pty, lguest, program};

use super::wait_for_all;

fn start(scratch: &Scratch, words: &[&str]) -> Output {
    Command::new(launcher()).args(words).current_dir(scratch.path()).output().unwrap()
}

/// Creates a file that starts the probe in this mode.
fn file(scratch: &Scratch, mode: &str, more: &str) -> String {
    let kernel = probe();
    let text = format!(
        "memory = 64\nkernel = \"{}\"\narguments = [\"mode={mode}\"]\n{more}",
        kernel.display()
    );
    scratch.file("guest.toml", text).to_str().unwrap().to_string()
}

#[test]
fn a_file_launches_a_guest() {
    let scratch = Scratch::new();
    let file = file(&scratch, "status=42", "console = \"file=out\"\n");
    let output = start(&scratch, &["--config", &file]);
    assert_eq!((output.status.code(), output.stderr), (Some(42), Vec::new()));
    // Relative names in the file start at the directory in which lguest was started.
    assert!(scratch.path().join("out").exists());
}

#[test]
fn the_command_line_overrides_the_file() {
    let scratch = Scratch::new();
    let file = file(&scratch, "status=42", "");
    let kernel = probe();
    let words = ["--config", &file, "64", kernel.to_str().unwrap(), "mode=status=43"];
    assert_eq!(start(&scratch, &words).status.code(), Some(43));
}

#[test]
fn an_error_in_a_file_is_reported_in_one_line_with_its_place() {
    let scratch = Scratch::new();
    for (more, words) in [
        ("\nblok = \"a\"", ":5: there is no option \"blok\": is it \"block\"?"),
        ("cpus = 65", ":4: cpus: invalid value '65'"),
        ("detach = 1", ":4: detach: this is a switch"),
        ("cpus = ", ":4: "),
    ] {
        let file = file(&scratch, "poweroff", more);
        let output = start(&scratch, &["--config", &file]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with(&format!("lguest: {file}{words}")), "{said}");
    }
    let output = start(&scratch, &["--config", "nowhere.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    // clap reports errors that concern several options, which may come from the file or the command
    // line.
    let file = file(&scratch, "poweroff", "");
    let said =
        String::from_utf8(start(&scratch, &["--config", &file, "--cpus=65"]).stderr).unwrap();
    assert!(said.contains("--cpus") && said.ends_with(&format!("come from {file})\n")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Returns the output of `lguest info`, without what differs between guests.
fn described(scratch: &Scratch, name: &str) -> Value {
    let mut info: Value =
        serde_json::from_str(&lguest(scratch.path(), &["info", name, "--json"]).well()).unwrap();
    let fields = info.as_object_mut().unwrap();
    assert_eq!(fields.remove("name"), Some(name.into()));
    for own in ["pid", "uptime"] {
        assert!(fields.remove(own).is_some(), "{own}");
    }
    info
}

#[test]
fn a_printed_config_starts_the_same_guest() {
    let scratch = Scratch::new();
    let _ = scratch.file("a,b.img", vec![0; 4096]);
    let _ = scratch.file("c.img", vec![0; 8192]);
    let (launcher, kernel) = (launcher(), probe());
    let (launcher, kernel) = (quoted(&launcher), quoted(&kernel));
    let line = format!(
        "{launcher} 64 {kernel} --cpus 2 --block a,,b.img,ro,serial='x y' --block=c.img,ro --rng \
         --console null --console sock,name=second mode=consoles wait=halt 'a=\"b c\"' -- -- --word"
    );
    let script = format!(
        "export XDG_RUNTIME_DIR={}; set -e
         {launcher} --detach --name=first {}
         {launcher} --detach --name=second --config <({launcher} --print-config {})",
        scratch.path().display(),
        line.trim_start_matches(&launcher),
        line.trim_start_matches(&launcher),
    );
    let mut shell = program(&["bash", "-c", &script], scratch.path(), Pty::new(24, 80));
    assert_eq!(shell.wait(), End::Status(0), "{}", shell.stderr());
    // The output includes the number of unread bytes.
    for name in ["first", "second"] {
        wait_for_all(scratch.path(), name, 2);
    }
    let (first, second) = (described(&scratch, "first"), described(&scratch, "second"));
    assert_eq!(first, second);
    let line = first.get("command_line").and_then(Value::as_str).unwrap();
    assert!(line.contains("a=\"b c\"") && line.contains("--word"), "{line}");
    for name in ["first", "second"] {
        lguest(scratch.path(), &["kill", name]).well();
    }
}
