//! A ping in a trace of `--trace`, and its picture in docs/ping.md, which
//! tests/bench/ping_picture.py draws from a trace. `make picture` keeps the result.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::calls::quiet_guest;
use super::*;
use tests::files::Scratch;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ping_picture.py");

/// The text in the picture about its origin.
const WHERE: &str = "Linux 6.1 as lguest starts it, in an emulated machine (see docs/ping.md)";

/// Runs the script on this trace, and returns what it printed.
fn picture(trace: &Path, svg: &Path) -> String {
    let made = Command::new("python3").arg(SCRIPT).args([trace, svg]).arg(WHERE).output().unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{errors}");
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn a_ping_is_drawn_from_its_trace() {
    let scratch = Scratch::new();
    let (trace, svg) = (scratch.path().join("trace.json"), scratch.path().join("ping.svg"));
    let options = [format!("--trace={}", trace.display())];
    let Some((network, mut guest)) = quiet_guest(&[], &options) else { return };
    network.ping(20, "", GUEST);
    assert_eq!(guest.power_off(), tests::End::Status(0));

    let said = picture(&trace, &svg);

    let lines: Vec<_> = said.lines().collect();
    let calls: Vec<_> = lines.iter().filter_map(|line| line.split("  ").last()).collect();
    let begin = ["readv(tap)", "write(irqfd)", "read(doorbell)", "writev(tap)"];
    assert_eq!(calls.len(), begin.len() + 1, "{said}");
    for (call, begin) in calls.iter().zip(begin) {
        assert!(call.starts_with(begin), "{call} does not begin with {begin}: {said}");
    }
    // Other pings may have exits of the guest that have other reasons.
    assert!(
        calls[begin.len()].starts_with("4 system calls, 0 returns of a vCPU; the median of "),
        "{said}"
    );
    let drawn = fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
    assert_eq!(drawn.matches("<circle ").count(), begin.len());
    if let Some(keep) = env::var_os("LGUEST_TEST_PICTURE") {
        for file in [&trace, &svg] {
            fs::copy(file, Path::new(&keep).join(file.file_name().unwrap())).unwrap();
        }
    }
}
