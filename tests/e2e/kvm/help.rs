//! Help, `--version`, the manual page and shell completions, which are tested in the shells.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tests::environment::launcher;
use tests::files::Scratch;
use tests::{End, Pty, Running, lguest, program};

use super::probe;

fn run(words: &[&str]) -> Output {
    Command::new(launcher()).args(words).output().unwrap()
}

fn printed(words: &[&str]) -> String {
    let output = run(words);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_has_a_screen_for_each_topic() {
    let all = printed(&["--help"]);
    assert_eq!((printed(&["-h"]), printed(&["help"])), (all.clone(), all.clone()));
    assert!(all.lines().count() <= 24, "{all}");
    let (_, topics) = all.split_once("lguest help TOPIC\n").unwrap();
    let (topics, _) = topics.split_once("Commands:").unwrap();
    assert!(topics.split_whitespace().count() >= 8, "{topics}");
    for topic in topics.split_whitespace() {
        assert!(!printed(&["help", topic]).is_empty());
    }
    assert!(printed(&["help", "disks"]).contains("--block <FILE"));
    assert_eq!(printed(&["help", "stop"]), printed(&["stop", "--help"]));
    let output = run(&["help", "disk"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is it \"disks\"?"));
}

#[test]
fn colour_is_for_terminals() {
    let launcher = launcher();
    let launcher = launcher.to_str().unwrap();
    let on_terminal = |words: &[&str]| {
        let mut running = program(words, Path::new("/"), Pty::new(24, 80));
        assert_eq!(running.wait(), End::Status(0));
        running.expect("512 vmlinuz");
        running.text().contains('\x1b')
    };
    for words in [vec!["--help"], vec!["help"], vec!["help", "launch"]] {
        assert!(on_terminal(&[&["env", "TERM=xterm", launcher], &words[..]].concat()), "{words:?}");
        let without = ["env", "TERM=xterm", "NO_COLOR=1", launcher];
        assert!(!on_terminal(&[&without, &words[..]].concat()), "{words:?}");
        assert!(!printed(&words).contains('\x1b'), "{words:?}");
    }
}

#[test]
fn the_version_tells_the_commit() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&top).args(words).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    let version = printed(&["--version"]);
    let plain = format!("lguest {}", env!("CARGO_PKG_VERSION"));
    match (git(&["describe", "--always", "--match=v*"]), git(&["log", "-1", "--format=%cs"])) {
        (Some(commit), Some(date)) => {
            let version = version.replace("-dirty", "");
            assert_eq!(version, format!("{plain} ({commit} {date})\n"));
        }
        _ => assert!(version.starts_with(&plain), "{version}"),
    }
}

#[test]
fn the_manual_page_has_no_formatting_errors() {
    let scratch = Scratch::new();
    let page = scratch.file("lguest.1", printed(&["generate", "man"]));
    let groff = Command::new("groff").args(["-man", "-Tutf8", "-z", "-ww"]).arg(&page).output();
    let groff = groff.unwrap();
    let said = String::from_utf8(groff.stderr).unwrap();
    assert_eq!((groff.status.code(), said.as_str()), (Some(0), ""));
    let shown = Command::new("groff").args(["-man", "-Tascii", "-P-cbou"]).arg(&page).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    for words in ["--block <FILE", "lguest stop [OPTIONS] NAME", "EXIT STATUS", "--print-config"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

/// Starts a shell on a terminal, with lguest and its completions.
fn shell(scratch: &Scratch, words: &[&str], prompt: &str) -> Running {
    let mut line = vec!["env".to_string()];
    let path = std::env::var("PATH").unwrap();
    line.push(format!("PATH={}:{path}", scratch.path().join("bin").display()));
    line.push(format!("XDG_RUNTIME_DIR={}", scratch.path().display()));
    line.extend(["TERM=dumb".into(), "HISTFILE=".into(), format!("PS1={prompt}")]);
    // The shells also print on stderr.
    line.extend(["sh", "-c", "exec 2>&1; exec \"$@\"", "sh"].map(Into::into));
    line.extend(words.iter().map(ToString::to_string));
    let line: Vec<_> = line.iter().map(String::as_str).collect();
    program(&line, scratch.path(), Pty::new(24, 80))
}

/// Returns a directory with lguest and the completions, and a running guest called web.
fn with_guest(shell: &str) -> (Scratch, Running) {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("bin")).unwrap();
    symlink(launcher(), scratch.path().join("bin/lguest")).unwrap();
    let _ = scratch.file("completions", printed(&["generate", shell]));
    let guest = probe("console").option("--detach").option("--name=web");
    let mut guest = guest.runtime(Some(scratch.path())).piped();
    assert_eq!(guest.wait(), End::Status(0));
    (scratch, guest)
}

#[test]
fn bash_completes_options_and_guests() {
    let (scratch, guest) = with_guest("bash");
    let mut bash = shell(&scratch, &["bash", "--norc", "--noprofile", "-i"], "ready$ ");
    bash.expect("ready$ ");
    bash.send(". ./completions\n");
    bash.expect("ready$ ");
    bash.send("lguest --vers\t");
    bash.expect("lguest --version ");
    bash.send("\n");
    bash.expect(concat!("lguest ", env!("CARGO_PKG_VERSION")));
    bash.expect("ready$ ");
    // The option completes file names.
    bash.send("lguest 64 kernel --blo\tcompl\t");
    bash.expect("--block completions");
    bash.send("\x15lguest stop w\t");
    bash.expect("lguest stop web");
    bash.send("\nexit $?\n");
    assert_eq!(bash.wait(), End::Status(0));
    assert_eq!(guest.family(), []);
}

#[test]
fn fish_completes_options_and_guests() {
    let (scratch, guest) = with_guest("fish");
    for (line, completed) in [("lguest --blo", "--block"), ("lguest stop ", "web")] {
        let script = format!("source completions; complete -C '{line}'");
        let mut fish = shell(&scratch, &["fish", "--no-config", "-c", &script], "");
        fish.expect(completed);
        assert_eq!(fish.wait(), End::Status(0));
    }
    lguest(scratch.path(), &["kill", "web"]).well();
    assert_eq!(guest.family(), []);
}

#[test]
fn zsh_completes_options_and_guests() {
    let (scratch, _guest) = with_guest("zsh");
    let mut zsh = shell(&scratch, &["zsh", "-f", "-i"], "ready$ ");
    zsh.expect("ready$ ");
    zsh.send("autoload -U compinit && compinit -D -u && . ./completions; PS1='again$ '\n");
    zsh.expect("again$ ");
    zsh.send("lguest --print-c\t\n");
    zsh.expect("--print-config");
    zsh.expect("again$ ");
    zsh.send("lguest 64 compl\t--block\n");
    zsh.expect("64 completions ");
    zsh.expect("again$ ");
    zsh.send("lguest stop w\t\n");
    zsh.expect("stop web");
    zsh.send("exit\n");
    let _ = zsh.wait();
    assert!(!lguest(scratch.path(), &["list"]).well().contains("web"));
}
