//! The exit statuses of a launch, in words: for help and the manual page. What they are is
//! [`crate::exit`]'s.

/// Each status, and what it tells.
pub(crate) const STATUSES: &[(&str, &str)] = &[
    ("0", "power-off by the guest (or its reset, with --no-reboot), or lguest stop"),
    ("N", "the guest wrote N to port 0x501; with --exec, its command's status"),
    ("1", "the host or the launcher failed"),
    ("2", "the command line is wrong, or a file named by --config"),
    ("101", "the guest's kernel panicked (told by pvpanic, or its words)"),
    ("102", "the guest crashed: triple fault, KVM internal error"),
    ("103", "what --fail-on forbids was printed, or the kernel failed"),
    ("104", "the guest ended before all that --expect wants was seen"),
    ("124", "it was not over within --timeout"),
    ("130", "three ^C"),
    ("137", "lguest kill, or SIGKILL"),
    ("128+N", "the launcher was sent signal N"),
];

/// A line for each.
pub(super) fn text() -> String {
    let lines: Vec<_> =
        STATUSES.iter().map(|(status, text)| format!("  {status:<6} {text}")).collect();
    lines.join("\n")
}
